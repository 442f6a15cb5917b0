// o = softmax(score(q k^T)) v and lse = log2 of the softmax's denominator, for one tile of TILE_Q queries of one head.
//
//   o, q [T, N*D]   k, v [T, K*D]   lse f32 [T, N]   doc_start i32 [T]; every pitch of elem tensors is a multiple of 8
//   grid (ceil(T / TILE_Q), N), block WARPS * 32, dynamic shared memory (TILE_Q + 2 TILE_K) * D * 2 bytes
//
// A warp owns TILE_Q / WARPS rows. S and P live in its registers; P, packed, is the A operand of P V.
// BOUNDED 1: |score| <= 50, so exp2(score) and its sums stay in the range of fp32 and bf16: no row maximum, no rescaling of o.
// BOUNDED 0: online softmax. Both sum P in fp32 and round it to elem for the product with v.
extern "C" __global__ void __launch_bounds__(WARPS * 32, MIN_BLOCKS)
KERNEL_NAME(elem* __restrict__ o, int o_pitch, float* __restrict__ lse, int lse_pitch,
            const elem* __restrict__ q, int q_pitch, const elem* __restrict__ k, int k_pitch,
            const elem* __restrict__ v, int v_pitch, const int* __restrict__ doc_start, int rows)
{
    constexpr int THREADS = WARPS * 32, D = HEAD_DIM;
    constexpr int WARP_ROWS = TILE_Q / WARPS, M_TILES = WARP_ROWS / 16, N_TILES = TILE_K / 8;
    static_assert(WARP_ROWS % 16 == 0 && TILE_K % 16 == 0 && D % 16 == 0, "tiles of whole fragments");

    extern __shared__ __align__(128) uint8_t shared[];
    const uint32_t q_tile = shared_address(shared), k_tile = q_tile + TILE_Q * D * 2, v_tile = k_tile + TILE_K * D * 2;
    const int warp = threadIdx.x / WARP_SIZE, lane = threadIdx.x % WARP_SIZE, warp_row = warp * WARP_ROWS;

    const query_tile block(rows);
    const int head = block.head, kv_head = head / GROUP, q0 = block.q0, q_last = block.q_last;
    q += (int64)q0 * q_pitch + head * D;
    k += kv_head * D;
    v += kv_head * D;

    const int first_key = first_visible(doc_start, q0), latest_first_key = first_visible(doc_start, q_last);
    const int first_tile = first_key / TILE_K;

    const int thread_row = q0 + warp_row + lane / 4;
    int first[M_TILES][2]; // visible key of each of the thread's rows
#pragma unroll
    for (int m = 0; m < M_TILES; m++) first_visible(first[m], doc_start, thread_row + m * 16, rows);

    float out[M_TILES][D / 2] = {}, sum[M_TILES][2] = {};
#if !BOUNDED
    float peak[M_TILES][2];
#pragma unroll
    for (int m = 0; m < M_TILES; m++) peak[m][0] = peak[m][1] = -INF;
#endif

    const lane_address<D> q_lane = lane_rows_first<D>(q_tile + warp_row * D * 2);
    const lane_address<D> k_lane = lane_columns_first<D>(k_tile), v_lane = lane_rows_first<D>(v_tile);

    int tile = q_last / TILE_K;
    copy_tile<TILE_Q, D, THREADS>(q_tile, q, q_pitch, rows - q0);
    copy_tile<TILE_K, D, THREADS>(k_tile, k + (int64)tile * TILE_K * k_pitch, k_pitch, rows - tile * TILE_K);
    copy_commit();

    for (; tile >= first_tile; tile--)
    {
        const int k0 = tile * TILE_K;
        copy_wait<0>();
        __syncthreads(); // k of this tile has arrived; every warp is done with v of the tile before
        copy_tile<TILE_K, D, THREADS>(v_tile, v + (int64)k0 * v_pitch, v_pitch, rows - k0);
        copy_commit();

        // S = q k^T
        float s[M_TILES][N_TILES * 4] = {};
        multiply_columns<D / 16>(s, q_lane, k_lane);

        // P = exp2(score), 0 where masked. Only tiles on the diagonal, the window's or a document's edge have masked entries.
        const bool edge = k0 + TILE_K - 1 > q0 || k0 < latest_first_key;
        const float ahead = (float)(thread_row - k0 - lane % 4 * 2); // the distance of the thread's first pair; exact below 2^24
        uint32_t p[M_TILES][TILE_K / 16][4];
#pragma unroll
        for (int m = 0; m < M_TILES; m++)
        {
#pragma unroll
            for (int n = 0; n < N_TILES; n++)
#pragma unroll
                for (int i = 0; i < 4; i++)
                {
                    const float score = score_log2(s[m][n * 4 + i], ahead + (m * 16 + i / 2 * 8 - n * 8 - i % 2), head);
                    s[m][n * 4 + i] = BOUNDED ? fast_exp2(score) : score;
                }
            if (edge) mask_unseen(s[m], thread_row + m * 16, k0 + lane % 4 * 2, first[m], BOUNDED ? 0.0f : -INF);
#if !BOUNDED
#pragma unroll
            for (int half = 0; half < 2; half++)
            {
                const float rescale = move_reference<0>(s[m], half, peak[m][half], sum[m][half]);
#pragma unroll
                for (int n = 0; n < D / 8; n++)
                {
                    out[m][n * 4 + half * 2] *= rescale;
                    out[m][n * 4 + half * 2 + 1] *= rescale;
                }
            }
#endif
#pragma unroll
            for (int n = 0; n < N_TILES; n++)
            {
                sum[m][0] += s[m][n * 4] + s[m][n * 4 + 1];
                sum[m][1] += s[m][n * 4 + 2] + s[m][n * 4 + 3];
                p[m][n / 2][n % 2 * 2] = pack2(s[m][n * 4], s[m][n * 4 + 1]);
                p[m][n / 2][n % 2 * 2 + 1] = pack2(s[m][n * 4 + 2], s[m][n * 4 + 3]);
            }
        }

        copy_wait<0>();
        __syncthreads(); // v has arrived; every warp is done with k
        if (tile > first_tile)
            copy_tile<TILE_K, D, THREADS>(k_tile, k + (int64)(k0 - TILE_K) * k_pitch, k_pitch, TILE_K);
        copy_commit();

        // out += P v
#pragma unroll
        for (int step = 0; step < TILE_K / 16; step++)
#pragma unroll
            for (int n = 0; n < D / 16; n++)
            {
                uint32_t b[4];
                ldmatrix_x4_trans(b, v_lane.at(step * 16, n));
#pragma unroll
                for (int m = 0; m < M_TILES; m++)
                {
                    mma_m16n8k16(out[m] + n * 8, p[m][step], b[0], b[1]);
                    mma_m16n8k16(out[m] + n * 8 + 4, p[m][step], b[2], b[3]);
                }
            }
    }

    // The warp's rows of q are read by no other warp: they become its staging rows of o.
#pragma unroll
    for (int m = 0; m < M_TILES; m++)
#pragma unroll
        for (int half = 0; half < 2; half++)
        {
            const float total = quad_sum(sum[m][half]);
            const int local = warp_row + m * 16 + half * 8 + lane / 4, row = q0 + local;
            const float scale = 1.0f / total;
#pragma unroll
            for (int n = 0; n < D / 8; n++)
                store_pair<D>(q_tile, local, n * 8 + lane % 4 * 2, out[m][n * 4 + half * 2] * scale, out[m][n * 4 + half * 2 + 1] * scale);
#if BOUNDED
            const float log_sum = fast_log2(total);
#else
            const float log_sum = peak[m][half] + fast_log2(total);
#endif
            if (lane % 4 == 0 && row < rows) lse[(int64)row * lse_pitch + head] = log_sum;
        }
    __syncthreads();
    store_tile<TILE_Q, D, THREADS>(o + (int64)q0 * o_pitch + head * D, o_pitch, q_tile, rows - q0);
}
