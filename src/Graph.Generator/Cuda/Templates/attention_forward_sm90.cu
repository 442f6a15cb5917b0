// o = softmax(score(q k^T)) v and lse = log2 of the softmax's denominator, for one tile of TILE_Q queries of one head: attention_forward.cu on wgmma,
// for sm_90a, head dim 256 and a bounded score (|score| <= 50: no row maximum, no rescaling of o).
//
//   o, q [T, N*D]   k, v [T, K*D]   lse f32 [T, N]   doc_start i32 [T]; every pitch of elem tensors is a multiple of 8
//   grid (ceil(T / TILE_Q), N), block WARPS * 32, dynamic shared memory (TILE_Q + 2 STAGES TILE_K) * D * 2 bytes
//   k is visible to q when doc_start[q] <= k <= q and q - k < WINDOW (0: no window); doc_start never decreases.
//
// A warpgroup owns 64 rows: S (64 x TILE_K), P and o (64 x D) are in its registers; q, k and v are panel tiles (wgmma.cu).
// S of the next tile and P v of this one are in flight together, and the exponentials of the next tile run under P v.
extern "C" __global__ void __launch_bounds__(WARPS * 32, 1)
KERNEL_NAME(elem* __restrict__ o, int o_pitch, float* __restrict__ lse, int lse_pitch,
            const elem* __restrict__ q, int q_pitch, const elem* __restrict__ k, int k_pitch,
            const elem* __restrict__ v, int v_pitch, const int* __restrict__ doc_start, int rows)
{
    constexpr int THREADS = WARPS * 32, D = HEAD_DIM, N_TILES = TILE_K / 8;
    constexpr uint32_t KV_BYTES = TILE_K * D * 2;
    static_assert(BOUNDED && D == 256 && TILE_K == 64 && TILE_Q == WARPS * 16 && STAGES == 2, "the tile of the wgmma shapes below");

    extern __shared__ __align__(1024) uint8_t shared[];
    const uint32_t q_tile = shared_address(shared), k_tiles = q_tile + TILE_Q * D * 2, v_tiles = k_tiles + STAGES * KV_BYTES;
    const int warp = threadIdx.x / WARP_SIZE, lane = threadIdx.x % WARP_SIZE, group = warp / 4;

    // Late queries see the most keys. All heads of the last tile start first, so the short tiles fill the tail.
    const int order = blockIdx.y * gridDim.x + blockIdx.x;
    const int head = order % gridDim.y, kv_head = head / GROUP;
    const int q0 = (gridDim.x - 1 - order / gridDim.y) * TILE_Q;
    const int q_last = min(q0 + TILE_Q, rows) - 1;
    q += (int64)q0 * q_pitch + head * D;
    k += kv_head * D;
    v += kv_head * D;

    // Both bounds grow with the query: the first row has the first visible key, the last row the last first key.
    const int first_key = WINDOW ? max(doc_start[q0], q0 - WINDOW + 1) : doc_start[q0];
    const int latest_first_key = WINDOW ? max(doc_start[q_last], q_last - WINDOW + 1) : doc_start[q_last];
    const int first_tile = first_key / TILE_K;

    // The first visible key of each of the thread's rows. Key k is visible to row r when (unsigned)(k - first) <= r - first:
    // one comparison for both ends.
    const int local_row = warp * 16 + lane / 4;
    int first[2];
#pragma unroll
    for (int half = 0; half < 2; half++)
    {
        const int row = q0 + local_row + half * 8;
        const int start = row < rows ? doc_start[row] : row;
        first[half] = WINDOW ? max(start, row - WINDOW + 1) : start;
    }

    float out[D / 2], s[TILE_K / 2], sum[2] = {};
#pragma unroll
    for (int i = 0; i < D / 2; i++) out[i] = 0.0f;

    // P = exp2(score), 0 where masked. Only tiles on the diagonal, the window's or a document's edge have masked entries.
    auto exponentials = [&](int k0)
    {
#pragma unroll
        for (int i = 0; i < TILE_K / 2; i++) s[i] = fast_exp2(score_log2(s[i]));
        if (k0 + TILE_K - 1 > q0 || k0 < latest_first_key)
        {
#pragma unroll
            for (int i = 0; i < TILE_K / 2; i++)
            {
                const int half = i / 2 % 2, row = q0 + local_row + half * 8, key = k0 + i / 4 * 8 + lane % 4 * 2 + i % 2;
                if ((uint32_t)(key - first[half]) > (uint32_t)(row - first[half])) s[i] = 0.0f;
            }
        }
#pragma unroll
        for (int n = 0; n < N_TILES; n++)
        {
            sum[0] += s[n * 4] + s[n * 4 + 1];
            sum[1] += s[n * 4 + 2] + s[n * 4 + 3];
        }
    };
    const uint32_t q_rows = q_tile + group * 64 * 128; // the group's rows of every panel
    auto scores = [&](uint32_t k_tile)
    {
#pragma unroll
        for (int step = 0; step < D / 16; step++) wgmma_m64n64k16(s, panel_columns<TILE_Q>(q_rows, step), panel_columns<TILE_K>(k_tile, step), step > 0);
        wgmma_commit();
    };

    int tile = q_last / TILE_K, stage = 0;
    copy_panels<TILE_Q, D, THREADS>(q_tile, q, q_pitch, rows - q0);
    copy_panels<TILE_K, D, THREADS>(k_tiles, k + (int64)tile * TILE_K * k_pitch, k_pitch, rows - tile * TILE_K);
    copy_commit();
    copy_panels<TILE_K, D, THREADS>(v_tiles, v + (int64)tile * TILE_K * v_pitch, v_pitch, rows - tile * TILE_K);
    if (tile > first_tile) copy_panels<TILE_K, D, THREADS>(k_tiles + KV_BYTES, k + (int64)(tile - 1) * TILE_K * k_pitch, k_pitch, TILE_K);
    copy_commit();
    copy_wait<1>();
    shared_fence();
    __syncthreads(); // q and the first k have arrived
    wgmma_fence();
    scores(k_tiles);
    wgmma_wait<0>();
    hold(s);
    exponentials(tile * TILE_K);

    for (; tile >= first_tile; tile--, stage ^= 1)
    {
        uint32_t p[TILE_K / 16][4];
#pragma unroll
        for (int i = 0; i < TILE_K / 4; i++) p[i / 4][i % 4] = pack2(s[i * 2], s[i * 2 + 1]);

        copy_wait<0>();
        shared_fence();
        __syncthreads(); // v of this tile and k of the next have arrived; every warp is done with k of this and v of the tile before
        if (tile > first_tile) copy_panels<TILE_K, D, THREADS>(v_tiles + (stage ^ 1) * KV_BYTES, v + (int64)(tile - 1) * TILE_K * v_pitch, v_pitch, TILE_K);
        if (tile > first_tile + 1) copy_panels<TILE_K, D, THREADS>(k_tiles + stage * KV_BYTES, k + (int64)(tile - 2) * TILE_K * k_pitch, k_pitch, TILE_K);
        copy_commit();

        const bool more = tile > first_tile;
        wgmma_fence();
        // The last round multiplies the k it already has, so that every round is the same code; its S is not used.
        scores(k_tiles + (more ? stage ^ 1 : stage) * KV_BYTES);
#pragma unroll
        for (int step = 0; step < TILE_K / 16; step++) wgmma_m64n256k16(out, p[step], panel_rows<TILE_K>(v_tiles + stage * KV_BYTES, step));
        wgmma_commit();
        wgmma_wait<1>();
        hold(s);
        if (more) exponentials((tile - 1) * TILE_K);
        wgmma_wait<0>();
        hold(out);
    }

    __syncthreads(); // q is no longer read: its tile becomes the staging tile of o
#pragma unroll
    for (int half = 0; half < 2; half++)
    {
        float total = sum[half];
        total += __shfl_xor_sync(FULL_MASK, total, 1);
        total += __shfl_xor_sync(FULL_MASK, total, 2);
        const int local = local_row + half * 8, row = q0 + local;
        const float scale = 1.0f / total;
#pragma unroll
        for (int n = 0; n < D / 8; n++)
            asm volatile("st.shared.u32 [%0], %1;" :: "r"(q_tile + panel_offset<TILE_Q>(local, n) + lane % 4 * 4),
                         "r"(pack2(out[n * 4 + half * 2] * scale, out[n * 4 + half * 2 + 1] * scale)) : "memory");
        if (lane % 4 == 0 && row < rows) lse[(int64)row * lse_pitch + head] = fast_log2(total);
    }
    __syncthreads();
    store_panels<TILE_Q, D, THREADS>(o + (int64)q0 * o_pitch + head * D, o_pitch, q_tile, rows - q0);
}
