// dq = dS k, with P = exp2(score(s) - lse), dP = do v^T, dS = P (dP - delta) dscore/ds, for one tile of TILE_Q queries of one head.
//
//   dq, q, do [T, N*D]   k, v [T, K*D]   lse, delta f32 [T, N]   doc_start i32 [T]; every pitch of elem tensors is a multiple of 8
//   grid (ceil(T / TILE_Q), N), block WARPS * 32
//   dynamic shared memory (2 TILE_Q D + 2 STAGES TILE_K D + TILE_Q TILE_K) * 2 bytes
//
// Warps form a grid of M_WARPS x N_WARPS. For S and dP a warp owns WARP_ROWS rows and TILE_K / N_WARPS keys; for dq the same rows
// and D / N_WARPS columns, so each fragment that is read feeds two products. dS, rounded to elem, passes through shared memory.
// STAGES 2: the next k and v are copied while this tile computes. STAGES 1: v's successor is copied under dS k; a second
// resident block hides the rest.
extern "C" __global__ void __launch_bounds__(WARPS * 32, MIN_BLOCKS)
KERNEL_NAME(elem* __restrict__ dq, int dq_pitch, const elem* __restrict__ q, int q_pitch, const elem* __restrict__ k, int k_pitch,
            const elem* __restrict__ v, int v_pitch, const elem* __restrict__ d_o, int d_o_pitch,
            const float* __restrict__ lse, int lse_pitch, const float* __restrict__ delta, int delta_pitch,
            const int* __restrict__ doc_start, int rows)
{
    constexpr int THREADS = WARPS * 32, D = HEAD_DIM;
    constexpr int WARP_ROWS = TILE_Q % 32 == 0 && TILE_Q / 32 * (TILE_K / 16) >= WARPS && D % (WARPS / (TILE_Q / 32) * 16) == 0 ? 32 : 16;
    constexpr int M_WARPS = TILE_Q / WARP_ROWS, N_WARPS = WARPS / M_WARPS, M_TILES = WARP_ROWS / 16;
    constexpr int WARP_KEYS = TILE_K / N_WARPS, N_TILES = WARP_KEYS / 8, WARP_COLUMNS = D / N_WARPS;
    static_assert(M_WARPS * N_WARPS == WARPS && WARP_KEYS % 16 == 0 && WARP_COLUMNS % 16 == 0, "tiles of whole fragments");

    extern __shared__ __align__(128) uint8_t shared[];
    constexpr uint32_t KV_BYTES = TILE_K * D * 2;
    const uint32_t q_tile = shared_address(shared), do_tile = q_tile + TILE_Q * D * 2, k_tiles = do_tile + TILE_Q * D * 2;
    const uint32_t v_tiles = k_tiles + STAGES * KV_BYTES, ds_tile = v_tiles + STAGES * KV_BYTES;
    const int warp = threadIdx.x / WARP_SIZE, lane = threadIdx.x % WARP_SIZE;
    const int warp_row = warp / N_WARPS * WARP_ROWS, warp_key = warp % N_WARPS * WARP_KEYS, warp_column = warp % N_WARPS * WARP_COLUMNS;

    const query_tile block(rows);
    const int head = block.head, kv_head = head / GROUP, q0 = block.q0, q_last = block.q_last;
    k += kv_head * D;
    v += kv_head * D;

    const int first_key = first_visible(doc_start, q0), latest_first_key = first_visible(doc_start, q_last);
    const int first_tile = first_key / TILE_K;

    // The first visible key of each of the thread's rows.
    const int thread_row = q0 + warp_row + lane / 4;
    int first[M_TILES][2];
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

    float out[M_TILES][WARP_COLUMNS / 8][4] = {};
    const lane_address<D> q_lane = lane_rows_first<D>(q_tile + warp_row * D * 2), do_lane = lane_rows_first<D>(do_tile + warp_row * D * 2);
    const lane_address<TILE_K> ds_lane = lane_rows_first<TILE_K>(ds_tile + warp_row * TILE_K * 2);

    int tile = q_last / TILE_K, stage = 0;
    copy_tile<TILE_Q, D, THREADS>(q_tile, q + (int64)q0 * q_pitch + head * D, q_pitch, rows - q0);
    copy_tile<TILE_Q, D, THREADS>(do_tile, d_o + (int64)q0 * d_o_pitch + head * D, d_o_pitch, rows - q0);
    copy_tile<TILE_K, D, THREADS>(k_tiles, k + (int64)tile * TILE_K * k_pitch, k_pitch, rows - tile * TILE_K);
    copy_tile<TILE_K, D, THREADS>(v_tiles, v + (int64)tile * TILE_K * v_pitch, v_pitch, rows - tile * TILE_K);
    copy_commit();

    for (; tile >= first_tile; tile--)
    {
        const int k0 = tile * TILE_K;
        const uint32_t k_tile = k_tiles + stage * KV_BYTES, v_tile = v_tiles + stage * KV_BYTES;
        copy_wait<0>();
        __syncthreads(); // k and v have arrived; every warp is done with the tile before
        if (STAGES == 2 && tile > first_tile)
        {
            stage ^= 1;
            copy_tile<TILE_K, D, THREADS>(k_tiles + stage * KV_BYTES, k + (int64)(k0 - TILE_K) * k_pitch, k_pitch, TILE_K);
            copy_tile<TILE_K, D, THREADS>(v_tiles + stage * KV_BYTES, v + (int64)(k0 - TILE_K) * v_pitch, v_pitch, TILE_K);
            copy_commit();
        }

        // S = q k^T
        float s[M_TILES][N_TILES][4] = {};
        const lane_address<D> k_lane = lane_columns_first<D>(k_tile + warp_key * D * 2);
        multiply_columns<D / 16>(s, q_lane, k_lane);

        // s becomes P dscore/ds; the derivative is taken of the unmasked score, so a masked entry is 0 and never inf * 0.
        const bool edge = k0 + TILE_K - 1 > q0 || k0 < latest_first_key;
        const float ahead = (float)(thread_row - k0 - warp_key - lane % 4 * 2); // the distance of the thread's first pair; exact below 2^24
#pragma unroll
        for (int m = 0; m < M_TILES; m++)
#pragma unroll
            for (int n = 0; n < N_TILES; n++)
#pragma unroll
                for (int i = 0; i < 4; i++)
                {
                    float score, slope;
                    score_log2_and_derivative(s[m][n][i], ahead + (m * 16 + i / 2 * 8 - n * 8 - i % 2), head, score, slope);
                    s[m][n][i] = fast_exp2(score - row_lse[m][i / 2]) * slope;
                }
        if (edge)
        {
#pragma unroll
            for (int m = 0; m < M_TILES; m++)
#pragma unroll
                for (int n = 0; n < N_TILES; n++)
#pragma unroll
                    for (int i = 0; i < 4; i++)
                    {
                        const int row = thread_row + m * 16 + i / 2 * 8, key = k0 + warp_key + n * 8 + lane % 4 * 2 + i % 2;
                        if (!is_visible(key, row, first[m][i / 2])) s[m][n][i] = 0.0f;
                    }
        }

        // dP = do v^T
        float dp[M_TILES][N_TILES][4] = {};
        const lane_address<D> v_lane = lane_columns_first<D>(v_tile + warp_key * D * 2);
        multiply_columns<D / 16>(dp, do_lane, v_lane);

        // dS = P dscore/ds (dP - delta)
#pragma unroll
        for (int m = 0; m < M_TILES; m++)
#pragma unroll
            for (int n = 0; n < N_TILES; n++)
#pragma unroll
                for (int half = 0; half < 2; half++)
                    store_pair<TILE_K>(ds_tile, warp_row + m * 16 + half * 8 + lane / 4, warp_key + n * 8 + lane % 4 * 2,
                                       s[m][n][half * 2] * (dp[m][n][half * 2] - row_delta[m][half]),
                                       s[m][n][half * 2 + 1] * (dp[m][n][half * 2 + 1] - row_delta[m][half]));
        __syncthreads(); // dS is complete; every warp is done with v
        if (STAGES == 1 && tile > first_tile)
        {
            copy_tile<TILE_K, D, THREADS>(v_tile, v + (int64)(k0 - TILE_K) * v_pitch, v_pitch, TILE_K);
            copy_commit();
        }

        // dq += dS k
        const lane_address<D> k_rows = lane_rows_first<D>(k_tile);
        multiply_rows<TILE_K / 16>(out, ds_lane, k_rows, warp_column / 16);
        if (STAGES == 1 && tile > first_tile)
        {
            __syncthreads(); // every warp is done with k
            copy_tile<TILE_K, D, THREADS>(k_tile, k + (int64)(k0 - TILE_K) * k_pitch, k_pitch, TILE_K);
            copy_commit();
        }
    }

    __syncthreads(); // q is no longer read: its tile becomes the staging tile of dq
#pragma unroll
    for (int m = 0; m < M_TILES; m++)
#pragma unroll
        for (int n = 0; n < WARP_COLUMNS / 8; n++)
#pragma unroll
            for (int half = 0; half < 2; half++)
                store_pair<D>(q_tile, warp_row + m * 16 + half * 8 + lane / 4, warp_column + n * 8 + lane % 4 * 2,
                              out[m][n][half * 2], out[m][n][half * 2 + 1]);
    __syncthreads();
    store_tile<TILE_Q, D, THREADS>(dq + (int64)q0 * dq_pitch + head * D, dq_pitch, q_tile, rows - q0);
}
