// o = softmax(score(q k^T)) v and lse = log2 of the softmax's denominator, for one tile of TILE_Q queries of one head: attention_forward.cu on wgmma,
// for sm_90a, head dim 128 or 256 and a bounded score (|score| <= 50: no row maximum, no rescaling of o).
//
//   o, q [T, N*D]   k, v [T, K*D]   lse f32 [T, N]   doc_start i32 [T]; every pitch of elem tensors is a multiple of 8
//   grid (ceil(T / TILE_Q), N), block 256, dynamic shared memory (TILE_Q + 4 TILE_K) * D * 2 + 48 bytes
//   k is visible to q when doc_start[q] <= k <= q and q - k < WINDOW (0: no window); doc_start never decreases.
//
// A warpgroup owns 64 rows: S (64 x TILE_K), P and o (64 x D) are in its registers; q, k and v are panel tiles (wgmma.cu).
// The groups meet only at barriers, half a round apart, so the exponentials of one run under the products of the other.
// k and v have two stages, copied by group 1, the later one: each tile as soon as both groups are done with the one that it replaces.
extern "C" __global__ void __launch_bounds__(256, 1)
KERNEL_NAME(elem* __restrict__ o, int o_pitch, float* __restrict__ lse, int lse_pitch,
            const elem* __restrict__ q, int q_pitch, const elem* __restrict__ k, int k_pitch,
            const elem* __restrict__ v, int v_pitch, const int* __restrict__ doc_start, int rows)
{
    constexpr int THREADS = 256, D = HEAD_DIM, GROUP_THREADS = 128, N_TILES = TILE_K / 8;
    constexpr uint32_t KV_BYTES = TILE_K * D * 2;
    static_assert(BOUNDED && TILE_Q == 128 && TILE_K % 16 == 0 && WARPS == 8 && STAGES == 2, "two warpgroups of 64 rows");

    extern __shared__ __align__(1024) uint8_t shared[];
    const uint32_t q_tile = shared_address(shared), k_tiles = q_tile + TILE_Q * D * 2, v_tiles = k_tiles + 2 * KV_BYTES;
    const uint32_t k_full = v_tiles + 2 * KV_BYTES, v_full = k_full + 16, k_empty = v_full + 16, v_empty = k_empty + 8;
    const int group = threadIdx.x / GROUP_THREADS, thread = threadIdx.x % GROUP_THREADS, warp = threadIdx.x / WARP_SIZE, lane = thread % WARP_SIZE;

    // Late queries see the most keys. All heads of the last tile start first, so the short tiles fill the tail.
    const int order = blockIdx.y * gridDim.x + blockIdx.x;
    const int head = order % gridDim.y, kv_head = head / GROUP;
    const int q0 = (gridDim.x - 1 - order / gridDim.y) * TILE_Q;
    const int q_last = min(q0 + TILE_Q, rows) - 1;
    k += kv_head * D;
    v += kv_head * D;

    // Both bounds grow with the query: the first row has the first visible key, the last row the last first key.
    const int first_key = WINDOW ? max(doc_start[q0], q0 - WINDOW + 1) : doc_start[q0];
    const int latest_first_key = WINDOW ? max(doc_start[q_last], q_last - WINDOW + 1) : doc_start[q_last];
    const int last_tile = q_last / TILE_K, rounds = last_tile - first_key / TILE_K + 1;

    if (threadIdx.x == 0)
    {
#pragma unroll
        for (int i = 0; i < 6; i++) barrier_init(k_full + i * 8, GROUP_THREADS);
    }
    copy_panels<TILE_Q, D, THREADS>(q_tile, q + (int64)q0 * q_pitch + head * D, q_pitch, rows - q0);
    copy_panels<TILE_K, D, GROUP_THREADS>(group == 0 ? k_tiles : v_tiles, group == 0 ? k + (int64)last_tile * TILE_K * k_pitch : v + (int64)last_tile * TILE_K * v_pitch,
                                          group == 0 ? k_pitch : v_pitch, rows - last_tile * TILE_K, thread);
    copy_commit();
    if (group == 1 && rounds > 1) copy_panels<TILE_K, D, GROUP_THREADS>(k_tiles + KV_BYTES, k + (int64)(last_tile - 1) * TILE_K * k_pitch, k_pitch, TILE_K, thread);
    copy_commit();

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
    uint32_t p[TILE_K / 16][4];
    const uint32_t q_rows = q_tile + group * 64 * 128; // the group's rows of every panel

    copy_wait<1>();
    shared_fence();
    __syncthreads(); // the barriers stand; q and the first k and v have arrived

    // Two copies of the loop: ptxas keeps products in flight only where it sees every wait on a straight path.
    auto walk = [&](auto which)
    {
        constexpr bool FIRST = which.value;
        for (int round = 0; round < rounds; round++)
        {
            const int stage = round % 2, k0 = (last_tile - round) * TILE_K, parity = (round - 1) / 2 % 2;
            const uint32_t k_tile = k_tiles + stage * KV_BYTES;
            const bool more = round + 1 < rounds;
            if (round > 0) barrier_wait(k_full + stage * 8, parity);
            wgmma_fence();
#pragma unroll
            for (int step = 0; step < D / 16; step++)
                wgmma_columns(s, panel_columns<TILE_Q>(q_rows, step), panel_columns<TILE_K>(k_tile, step), step > 0);
            wgmma_commit();
            wgmma_wait<1>(); // P v of the round before is done
            if (FIRST)
            {
                if (round > 0) barrier_arrive(v_empty);
                wgmma_wait<0>();
                barrier_arrive(k_empty);
            }
            else
            {
                if (round > 0) barrier_wait(v_empty, (round - 1) % 2);
                if (more) copy_panels<TILE_K, D, GROUP_THREADS>(v_tiles + (stage ^ 1) * KV_BYTES, v + (int64)(k0 - TILE_K) * v_pitch, v_pitch, TILE_K, thread);
                copy_commit();
                wgmma_wait<0>();
                if (round + 2 < rounds)
                {
                    barrier_wait(k_empty, round % 2);
                    copy_panels<TILE_K, D, GROUP_THREADS>(k_tile, k + (int64)(k0 - 2 * TILE_K) * k_pitch, k_pitch, TILE_K, thread);
                }
                copy_commit();
                copy_wait<2>(); // k of the next round, whose copy began a round ago
                shared_fence();
                if (more) barrier_arrive(k_full + (stage ^ 1) * 8);
            }
            hold(s);

            // P = exp2(score), 0 where masked. Only tiles on the diagonal, the window's or a document's edge have masked entries.
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
#pragma unroll
            for (int i = 0; i < TILE_K / 4; i++) p[i / 4][i % 4] = pack2(s[i * 2], s[i * 2 + 1]);
            if (round > 0) barrier_wait(v_full + stage * 8, parity);
            wgmma_fence();
#pragma unroll
            for (int step = 0; step < TILE_K / 16; step++) wgmma_rows(out, p[step], panel_rows<TILE_K>(v_tiles + stage * KV_BYTES, step));
            wgmma_commit();
            if (!FIRST && more)
            {
                copy_wait<1>();
                shared_fence();
                barrier_arrive(v_full + (stage ^ 1) * 8);
            }
        }
    };
    if (group == 0) walk(constant<true>{});
    else walk(constant<false>{});

    // Each group reads its own rows of q alone: they become its staging tile.
    wgmma_wait<0>();
    hold(out);
    float scale[2];
#pragma unroll
    for (int half = 0; half < 2; half++)
    {
        float total = sum[half];
        total += __shfl_xor_sync(FULL_MASK, total, 1);
        total += __shfl_xor_sync(FULL_MASK, total, 2);
        const int row = q0 + local_row + half * 8;
        if (lane % 4 == 0 && row < rows) lse[(int64)row * lse_pitch + head] = fast_log2(total);
        scale[half] = 1.0f / total;
    }
    stage_panels<TILE_Q, D>(q_tile, local_row, out, scale[0], scale[1]);
    group_sync(1 + group);
    store_panels<TILE_Q, D, GROUP_THREADS, 64>(o + (int64)(q0 + group * 64) * o_pitch + head * D, o_pitch, q_rows, rows - q0 - group * 64, thread);
}
