// dv = P^T do and dk = dS^T q, with P = exp2(score(s) - lse), dP = do v^T, dS = P (dP - delta) dscore/ds, for one tile of TILE_K keys
// of one kv head, summed over the GROUP query heads that read it, in a fixed order: no atomics, the same bits every time.
//
//   dk, dv, k, v [T, K*D]   q, do [T, N*D]   lse, delta f32 [T, N]   doc_start, doc_end i32 [T]; pitches of elem tensors are multiples of 8
//   grid (ceil(T / TILE_K), K), block WARPS * 32
//   dynamic shared memory (2 TILE_K D + 2 STAGES TILE_Q D + 2 TILE_K TILE_Q) * 2 bytes
//
// Everything is transposed (rows are keys), so P^T and dS^T are left operands as stored. A warp's share is that of warp_grid (attention_mma.cu): the same keys of S^T, dP^T, dk
// and dv, which stay in registers. P^T and dS^T, rounded to elem, pass through shared memory.
// STAGES 2: the next q and do are copied while this tile computes. STAGES 1: each is copied as soon as its last product is done.
extern "C" __global__ void __launch_bounds__(WARPS * 32, MIN_BLOCKS)
KERNEL_NAME(elem* __restrict__ dk, int dk_pitch, elem* __restrict__ dv, int dv_pitch, const elem* __restrict__ q, int q_pitch,
            const elem* __restrict__ k, int k_pitch, const elem* __restrict__ v, int v_pitch, const elem* __restrict__ d_o, int d_o_pitch,
            const float* __restrict__ lse, int lse_pitch, const float* __restrict__ delta, int delta_pitch,
            const int* __restrict__ doc_start, const int* __restrict__ doc_end, int rows)
{
    constexpr int THREADS = WARPS * 32, D = HEAD_DIM;
    using warps = warp_grid<TILE_K, TILE_Q>;
    constexpr int M_TILES = warps::M_TILES, N_TILES = warps::COLUMNS / 8;

    extern __shared__ __align__(128) uint8_t shared[];
    constexpr uint32_t Q_BYTES = TILE_Q * D * 2;
    const uint32_t k_tile = shared_address(shared), v_tile = k_tile + TILE_K * D * 2, q_tiles = v_tile + TILE_K * D * 2;
    const uint32_t do_tiles = q_tiles + STAGES * Q_BYTES, p_tile = do_tiles + STAGES * Q_BYTES, ds_tile = p_tile + TILE_K * TILE_Q * 2;
    const warps warp(threadIdx.x / WARP_SIZE);
    const int lane = threadIdx.x % WARP_SIZE;

    const key_tile block(doc_end, rows);
    const int kv_head = block.kv_head, k0 = block.k0, earliest_end = end_of_readers(doc_end, k0);
    int span[M_TILES][2]; // of each of the thread's keys
#pragma unroll
    for (int m = 0; m < M_TILES; m++) span_of(span[m], doc_end, k0 + warp.row + m * 16 + lane / 4, rows);

    float dk_sum[M_TILES][warps::SUM_COLUMNS / 2] = {}, dv_sum[M_TILES][warps::SUM_COLUMNS / 2] = {};
    const lane_address<D> k_lane = lane_rows_first<D>(k_tile + warp.row * D * 2), v_lane = lane_rows_first<D>(v_tile + warp.row * D * 2);
    const lane_address<TILE_Q> p_lane = lane_rows_first<TILE_Q>(p_tile + warp.row * TILE_Q * 2), ds_lane = lane_rows_first<TILE_Q>(ds_tile + warp.row * TILE_Q * 2);

    int tile = block.first_tile, head = kv_head * GROUP, stage = 0;
    copy_tile<TILE_K, D, THREADS>(k_tile, k + (int64)k0 * k_pitch + kv_head * D, k_pitch, rows - k0);
    copy_tile<TILE_K, D, THREADS>(v_tile, v + (int64)k0 * v_pitch + kv_head * D, v_pitch, rows - k0);
    copy_tile<TILE_Q, D, THREADS>(q_tiles, q + (int64)tile * TILE_Q * q_pitch + head * D, q_pitch, rows - tile * TILE_Q);
    copy_tile<TILE_Q, D, THREADS>(do_tiles, d_o + (int64)tile * TILE_Q * d_o_pitch + head * D, d_o_pitch, rows - tile * TILE_Q);
    copy_commit();

    for (int left = block.rounds; left > 0; left--)
    {
        const int q0 = tile * TILE_Q, score_head = head;
        const uint32_t q_tile = q_tiles + stage * Q_BYTES, do_tile = do_tiles + stage * Q_BYTES;

        // lse and delta of this thread's queries: asked for here, needed after the first product.
        float lse_of[N_TILES][2], delta_of[N_TILES][2];
#pragma unroll
        for (int n = 0; n < N_TILES; n++)
#pragma unroll
            for (int i = 0; i < 2; i++)
            {
                const int row = min(q0 + warp.column + n * 8 + lane % 4 * 2 + i, rows - 1);
                lse_of[n][i] = lse[(int64)row * lse_pitch + head];
                delta_of[n][i] = delta[(int64)row * delta_pitch + head];
            }

        block.next(tile, head);
        const elem* const next_q = q + (int64)tile * TILE_Q * q_pitch + head * D;
        const elem* const next_do = d_o + (int64)tile * TILE_Q * d_o_pitch + head * D;

        copy_wait<0>();
        __syncthreads(); // q and do have arrived; every warp is done with the tile before and with P and dS
        if (STAGES == 2 && left > 1)
        {
            stage ^= 1;
            copy_tile<TILE_Q, D, THREADS>(q_tiles + stage * Q_BYTES, next_q, q_pitch, rows - tile * TILE_Q);
            copy_tile<TILE_Q, D, THREADS>(do_tiles + stage * Q_BYTES, next_do, d_o_pitch, rows - tile * TILE_Q);
            copy_commit();
        }

        // S^T = k q^T
        float s[M_TILES][N_TILES * 4] = {};
        const lane_address<D> q_lane = lane_columns_first<D>(q_tile + warp.column * D * 2);
        multiply_columns<D / 16>(s, k_lane, q_lane);

        // P goes to shared memory, s becomes P dscore/ds. Both are set to 0 where masked: the derivative there may be inf.
        const bool edge = q0 < k0 + TILE_K - 1 || q0 + TILE_Q > earliest_end;
        const float ahead = (float)(q0 + warp.column + lane % 4 * 2 - k0 - warp.row - lane / 4); // the distance of the thread's first pair; exact below 2^24
#pragma unroll
        for (int m = 0; m < M_TILES; m++)
#pragma unroll
            for (int n = 0; n < N_TILES; n++)
#pragma unroll
                for (int half = 0; half < 2; half++)
                {
                    const int row = warp.row + m * 16 + half * 8 + lane / 4, column = warp.column + n * 8 + lane % 4 * 2;
                    float p[2];
#pragma unroll
                    for (int i = 0; i < 2; i++)
                    {
                        float score, slope;
                        score_log2_and_derivative(s[m][n * 4 + half * 2 + i], ahead + (n * 8 + i - m * 16 - half * 8), score_head, score, slope);
                        p[i] = fast_exp2(score - lse_of[n][i]);
                        s[m][n * 4 + half * 2 + i] = p[i] * slope;
                        if (edge && (uint32_t)(q0 + column + i - k0 - row) >= (uint32_t)span[m][half]) p[i] = s[m][n * 4 + half * 2 + i] = 0.0f;
                    }
                    store_pair<TILE_Q>(p_tile, row, column, p[0], p[1]);
                }

        // dP^T = v do^T
        float dp[M_TILES][N_TILES * 4] = {};
        const lane_address<D> do_lane = lane_columns_first<D>(do_tile + warp.column * D * 2);
        multiply_columns<D / 16>(dp, v_lane, do_lane);

        // dS = P dscore/ds (dP - delta)
#pragma unroll
        for (int m = 0; m < M_TILES; m++)
#pragma unroll
            for (int n = 0; n < N_TILES; n++)
#pragma unroll
                for (int half = 0; half < 2; half++)
                    store_pair<TILE_Q>(ds_tile, warp.row + m * 16 + half * 8 + lane / 4, warp.column + n * 8 + lane % 4 * 2,
                                       s[m][n * 4 + half * 2] * (dp[m][n * 4 + half * 2] - delta_of[n][0]),
                                       s[m][n * 4 + half * 2 + 1] * (dp[m][n * 4 + half * 2 + 1] - delta_of[n][1]));
        __syncthreads(); // P and dS are complete

        // dv += P^T do
        const lane_address<D> do_rows = lane_rows_first<D>(do_tile), q_rows = lane_rows_first<D>(q_tile);
        multiply_rows<TILE_Q / 16>(dv_sum, p_lane, do_rows, warp.sum_column / 16);
        if (STAGES == 1 && left > 1)
        {
            __syncthreads(); // every warp is done with do
            copy_tile<TILE_Q, D, THREADS>(do_tile, next_do, d_o_pitch, rows - tile * TILE_Q);
            copy_commit();
        }

        // dk += dS^T q
        multiply_rows<TILE_Q / 16>(dk_sum, ds_lane, q_rows, warp.sum_column / 16);
        if (STAGES == 1 && left > 1)
        {
            __syncthreads(); // every warp is done with q
            copy_tile<TILE_Q, D, THREADS>(q_tile, next_q, q_pitch, rows - tile * TILE_Q);
            copy_commit();
        }
    }

    __syncthreads(); // k and v are no longer read: their tiles become the staging tiles of dk and dv
    stage_sums<D>(k_tile, warp.row, warp.sum_column, dk_sum);
    stage_sums<D>(v_tile, warp.row, warp.sum_column, dv_sum);
    __syncthreads();
    store_tile<TILE_K, D, THREADS>(dk + (int64)k0 * dk_pitch + kv_head * D, dk_pitch, k_tile, rows - k0);
    store_tile<TILE_K, D, THREADS>(dv + (int64)k0 * dv_pitch + kv_head * D, dv_pitch, v_tile, rows - k0);
}
