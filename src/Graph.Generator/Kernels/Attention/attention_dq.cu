// dq = dS k, with P = exp2(score(s) - lse), dP = do v^T, dS = P (dP - delta) dscore/ds, for one tile of TILE_Q queries of one head.
//
//   dq, q, do [T, N*D]   k, v [T, K*D]   lse, delta f32 [T, N]   doc_start i32 [T]; every pitch of elem tensors is a multiple of 8
//   grid (ceil(T / TILE_Q), N), block WARPS * 32
//   dynamic shared memory (2 TILE_Q D + 2 TILE_K D + TILE_Q TILE_K) * 2 bytes
//
// A warp's share is that of warp_grid (attention_mma.cu): the same rows of S, dP and dq, so each fragment that is read feeds two products.
// dS, rounded to elem, passes through shared memory. v's successor is copied under dS k; a second resident block hides the rest.
extern "C" __global__ void __launch_bounds__(WARPS * 32, MIN_BLOCKS)
KERNEL_NAME(elem* __restrict__ dq, int dq_pitch, const elem* __restrict__ q, int q_pitch, const elem* __restrict__ k, int k_pitch,
            const elem* __restrict__ v, int v_pitch, const elem* __restrict__ d_o, int d_o_pitch,
            const float* __restrict__ lse, int lse_pitch, const float* __restrict__ delta, int delta_pitch,
            const int* __restrict__ doc_start, int rows)
{
    constexpr int THREADS = WARPS * 32, D = HEAD_DIM;
    using warps = warp_grid<TILE_Q, TILE_K>;
    constexpr int M_TILES = warps::M_TILES;

    extern __shared__ __align__(128) uint8_t shared[];
    constexpr uint32_t KV_BYTES = TILE_K * D * 2;
    const uint32_t q_tile = shared_address(shared), do_tile = q_tile + TILE_Q * D * 2, k_tile = do_tile + TILE_Q * D * 2;
    const uint32_t v_tile = k_tile + KV_BYTES, ds_tile = v_tile + KV_BYTES;
    const warps warp(threadIdx.x / WARP_SIZE);
    const int lane = threadIdx.x % WARP_SIZE;

    const query_tile block(rows);
    const int head = block.head, kv_head = head / GROUP, q0 = block.q0, q_last = block.q_last;
    k += kv_head * D;
    v += kv_head * D;

    const int first_key = first_visible(doc_start, q0), latest_first_key = first_visible(doc_start, q_last);
    const int first_tile = first_key / TILE_K;

    const int thread_row = q0 + warp.row + lane / 4;
    int first[M_TILES][2]; // visible key of each of the thread's rows
    float row_lse[M_TILES][2], row_delta[M_TILES][2];
#pragma unroll
    for (int m = 0; m < M_TILES; m++)
#pragma unroll
        for (int half = 0; half < 2; half++)
        {
            const int row = thread_row + m * 16 + half * 8;
            first[m][half] = first_visible(doc_start, row, rows);
            row_lse[m][half] = row < rows ? lse[(int64)row * lse_pitch + head] : 0.0f;
            row_delta[m][half] = row < rows ? delta[(int64)row * delta_pitch + head] : 0.0f;
        }

    float out[M_TILES][warps::SUM_COLUMNS / 2] = {};
    const lane_address<D> q_lane = lane_rows_first<D>(q_tile + warp.row * D * 2), do_lane = lane_rows_first<D>(do_tile + warp.row * D * 2);
    const lane_address<TILE_K> ds_lane = lane_rows_first<TILE_K>(ds_tile + warp.row * TILE_K * 2);

    int tile = q_last / TILE_K;
    copy_tile<TILE_Q, D, THREADS>(q_tile, q + (int64)q0 * q_pitch + head * D, q_pitch, rows - q0);
    copy_tile<TILE_Q, D, THREADS>(do_tile, d_o + (int64)q0 * d_o_pitch + head * D, d_o_pitch, rows - q0);
    copy_tile<TILE_K, D, THREADS>(k_tile, k + (int64)tile * TILE_K * k_pitch, k_pitch, rows - tile * TILE_K);
    copy_tile<TILE_K, D, THREADS>(v_tile, v + (int64)tile * TILE_K * v_pitch, v_pitch, rows - tile * TILE_K);
    copy_commit();

    for (; tile >= first_tile; tile--)
    {
        const int k0 = tile * TILE_K;
        copy_wait<0>();
        __syncthreads(); // k and v have arrived; every warp is done with the tile before

        // S = q k^T
        float s[M_TILES][warps::COLUMNS / 2] = {};
        const lane_address<D> k_lane = lane_columns_first<D>(k_tile + warp.column * D * 2);
        multiply_columns<D / 16>(s, q_lane, k_lane);

        // s becomes P dscore/ds, 0 where masked
        const int key = k0 + warp.column + lane % 4 * 2;
#pragma unroll
        for (int m = 0; m < M_TILES; m++) probability_slopes(s[m], thread_row - key + m * 16, head, row_lse[m]);
        if (k0 + TILE_K - 1 > q0 || k0 < latest_first_key)
        {
#pragma unroll
            for (int m = 0; m < M_TILES; m++) mask_unseen(s[m], thread_row + m * 16, key, first[m], 0.0f);
        }

        // dP = do v^T
        float dp[M_TILES][warps::COLUMNS / 2] = {};
        const lane_address<D> v_lane = lane_columns_first<D>(v_tile + warp.column * D * 2);
        multiply_columns<D / 16>(dp, do_lane, v_lane);

        // dS = P dscore/ds (dP - delta)
#pragma unroll
        for (int m = 0; m < M_TILES; m++)
#pragma unroll
            for (int i = 0; i < warps::COLUMNS / 2; i++) s[m][i] *= dp[m][i] - row_delta[m][i / 2 % 2];
        stage_sums<TILE_K>(ds_tile, warp.row, warp.column, s);
        __syncthreads(); // dS is complete; every warp is done with v
        if (tile > first_tile)
        {
            copy_tile<TILE_K, D, THREADS>(v_tile, v + (int64)(k0 - TILE_K) * v_pitch, v_pitch, TILE_K);
            copy_commit();
        }

        // dq += dS k
        const lane_address<D> k_rows = lane_rows_first<D>(k_tile);
        multiply_rows<TILE_K / 16>(out, ds_lane, k_rows, warp.sum_column / 16);
        if (tile > first_tile)
        {
            __syncthreads(); // every warp is done with k
            copy_tile<TILE_K, D, THREADS>(k_tile, k + (int64)(k0 - TILE_K) * k_pitch, k_pitch, TILE_K);
            copy_commit();
        }
    }

    __syncthreads(); // q is no longer read: its tile becomes the staging tile of dq
    stage_sums<D>(q_tile, warp.row, warp.sum_column, out);
    __syncthreads();
    store_tile<TILE_Q, D, THREADS>(dq + (int64)q0 * dq_pitch + head * D, dq_pitch, q_tile, rows - q0);
}
