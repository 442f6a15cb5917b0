// o = softmax(score(q k^T)) v and lse = log2 of the softmax's denominator, for one tile of TILE_Q queries of one head: attention_forward.cu on wgmma,
// for sm_90a, head dim 64, 128 or 256.
//
//   o, q [T, N*D]   k, v [T, K*D]   lse f32 [T, N]   doc_start i32 [T]; every pitch of elem tensors is a multiple of 8
//   grid (ceil(T / TILE_Q), N), block WARPS * 32, dynamic shared memory (TILE_Q + 4 TILE_K) * D * 2 + 64 bytes
//
// Warpgroups own 64 rows each: S (64 x TILE_K), P and o (64 x D) are in registers; the last one copies. q, k and v are panel tiles (wgmma.cu), k and v in two stages.
// The block copies the tiles that any of its rows sees; a group multiplies those that its own rows see and passes the others on. That its tiles are among the block's follows from doc_start never decreasing:
// else a group would wait for a tile that nobody copies.
// A group has S of the next tile and P v of this one in flight together, and its exponentials run under P v and under the other groups' products.
//
// BOUNDED 1: |score| <= 50, so exp2(score) and its sums stay in the range of fp32 and bf16: no row maximum, no rescaling of o.
// BOUNDED 0: online softmax. P = exp2(score - reference); a row's reference moves up to its maximum when that is more than SLACK above it, so P stays below
// 2^SLACK and o is rarely rescaled.
// The scale waits until P v of the tile before is summed, and a warp none of whose references moved goes on at once. o / sum and reference + log2(sum) do not
// depend on the reference.

// 2^x for |x| < 126 on the multiply-add units, relative error 7.5e-5 (P is rounded to 2^-9). With head dim 64 or 128 and a bounded score, a quarter of the
// exponentials: the special-function units alone cannot keep up with products this short.
__device__ __forceinline__ float polynomial_exp2(float x)
{
    const float shifted = x + 12582912.0f; // 1.5 * 2^23: the low bits hold round(x)
    const float f = x - (shifted - 12582912.0f);
    const float power = fmaf(fmaf(fmaf(0.05517166f, f, 0.24261112f), f, 0.69326099f), f, 0.99992807f);
    return __uint_as_float(__float_as_uint(power) + (__float_as_uint(shifted) << 23));
}

extern "C" __global__ void __launch_bounds__(WARPS * 32, 1)
KERNEL_NAME(elem* __restrict__ o, int o_pitch, float* __restrict__ lse, int lse_pitch,
            const elem* __restrict__ q, int q_pitch, const elem* __restrict__ k, int k_pitch,
            const elem* __restrict__ v, int v_pitch, const int* __restrict__ doc_start, int rows)
{
    constexpr int D = HEAD_DIM, GROUPS = TILE_Q / 64, POLYNOMIALS = BOUNDED && D <= 128 ? 1 : 0; // of 4 exponentials
    constexpr uint32_t KV_BYTES = TILE_K * D * 2;
    static_assert(TILE_Q % 64 == 0 && TILE_K == 64 && WARPS == 4 * (GROUPS + 1) && STAGES == 2, "warpgroups of 64 rows and one that copies");

    extern __shared__ __align__(1024) uint8_t shared[];
    const uint32_t q_tile = shared_address(shared), k_tiles = q_tile + TILE_Q * D * 2, v_tiles = k_tiles + 2 * KV_BYTES;
    const uint32_t k_full = v_tiles + 2 * KV_BYTES, v_full = k_full + 16, k_empty = v_full + 16, v_empty = k_empty + 16;
    const int group = warp_uniform(threadIdx.x / GROUP_THREADS), thread = threadIdx.x % GROUP_THREADS, warp = threadIdx.x / WARP_SIZE, lane = thread % WARP_SIZE;

    const query_tile block(rows);
    const int head = block.head, kv_head = head / GROUP, q0 = block.q0, q_last = block.q_last;

    const int first_key = first_visible(doc_start, q0);
    const int last_tile = q_last / TILE_K, rounds = last_tile - first_key / TILE_K + 1;

    constexpr int HALF = GROUP_THREADS / 2, READS = GROUPS * GROUP_THREADS / WARP_SIZE;
    if (threadIdx.x == 0) init_stages<2>(k_full, HALF, HALF, READS, READS);
    __syncthreads();

    if (group == GROUPS)
    {
        become_copier<(GROUPS == 2 ? 40 : 24)>();
        // Half of the warps copy q and k, the others v: none waits for a stage of the other kind.
        const bool keys = thread < HALF;
        const elem* const source = (keys ? k : v) + kv_head * D;
        const int pitch = keys ? k_pitch : v_pitch;
        if (keys) copy_panels<TILE_Q, D, HALF>(q_tile, q + (int64)q0 * q_pitch + head * D, q_pitch, rows - q0, thread);
        copy_rounds<2>(rounds, keys ? k_full : v_full, keys ? k_empty : v_empty, [&](int round, int stage)
        {
            const int k0 = (last_tile - round) * TILE_K;
            copy_panels<TILE_K, D, HALF>((keys ? k_tiles : v_tiles) + stage * KV_BYTES, source + (int64)k0 * pitch, pitch, rows - k0, thread % HALF);
        });
        return;
    }
    become_consumer<(GROUPS == 2 ? 232 : 160)>();

    // The rounds of the tiles that the group's rows see; the bounds are as the block's. A group of a block that rows do not fill may have none, and takes the last one's.
    const int own_first = min(q0 + group * 64, q_last), own_last = min(own_first + 63, q_last);
    const int own_first_key = first_visible(doc_start, own_first), latest_first_key = first_visible(doc_start, own_last);
    const int begin = last_tile - own_last / TILE_K, end = last_tile - own_first_key / TILE_K + 1;

    const int local_row = warp * 16 + lane / 4;
    int first[2]; // visible key of each of the thread's rows
    first_visible(first, doc_start, q0 + local_row, rows);

    float out[D / 2] = {}, s[TILE_K / 2], sum[2] = {};
#if !BOUNDED
    constexpr int SLACK = 8;
    float reference[2] = {-INF, -INF}, rescale[2];
#endif
    uint32_t p[TILE_K / 16][4];
    const uint32_t q_rows = q_tile + group * 64 * 128; // the group's rows of every panel
    uint32_t own[D == 256 ? 4 : 2][4]; // columns of q that stay in registers: as many as are left
    barrier_wait(k_full, 0);
    load_own<TILE_Q>(own, q_tile, warp * 16);

    auto scores = [&](int round)
    {
        const int stage = round % 2;
        barrier_wait(k_full + stage * 8, round / 2 % 2);
        wgmma_fence();
        wgmma_scores<D, TILE_Q, TILE_K>(s, own, q_rows, k_tiles + stage * KV_BYTES);
    };
    // P = exp2(score), 0 where masked. Only tiles on the diagonal, the window's or a document's edge have masked entries.
    auto exponentials = [&](int round)
    {
        const int k0 = (last_tile - round) * TILE_K;
        const float ahead = (float)(q0 + local_row - k0 - lane % 4 * 2); // the distance of the thread's first pair; exact below 2^24
        warp_arrive(k_empty + round % 2 * 8);
#pragma unroll
        for (int i = 0; i < TILE_K / 2; i++)
        {
            const float score = score_log2(s[i], distance_of(ahead, i), head);
            s[i] = !BOUNDED ? score : i % 4 < POLYNOMIALS ? polynomial_exp2(score) : fast_exp2(score);
        }
        if (k0 + TILE_K - 1 > own_first || k0 < latest_first_key)
            mask_unseen(s, q0 + local_row, k0 + lane % 4 * 2, first, BOUNDED ? 0.0f : -INF);
#if !BOUNDED
#pragma unroll
        for (int half = 0; half < 2; half++) rescale[half] = move_reference<SLACK>(s, half, reference[half], sum[half]);
#endif
#pragma unroll
        for (int n = 0; n < TILE_K / 8; n++)
        {
            sum[0] += s[n * 4] + s[n * 4 + 1];
            sum[1] += s[n * 4 + 2] + s[n * 4 + 3];
        }
    };
    auto products = [&](int round)
    {
        const int stage = round % 2;
#pragma unroll
        for (int i = 0; i < TILE_K / 4; i++) p[i / 4][i % 4] = pack2(s[i * 2], s[i * 2 + 1]);
        barrier_wait(v_full + stage * 8, round / 2 % 2);
        wgmma_fence();
        return v_tiles + stage * KV_BYTES;
    };

    // A stage is passed on when it is full: then its round before is behind every group, and none arrives for two rounds in one phase.
    auto pass = [&](int round)
    {
        const int stage = round % 2 * 8, parity = round / 2 % 2;
        barrier_wait(k_full + stage, parity);
        barrier_wait(v_full + stage, parity);
        warp_arrive(k_empty + stage);
        warp_arrive(v_empty + stage);
    };

    for (int round = 0; round < begin; round++) pass(round);
    scores(begin);
    wgmma_wait<0>();
    hold(s);
    exponentials(begin);
    for (int round = begin; round + 1 < end; round++)
    {
        const uint32_t v_tile = products(round);
        scores(round + 1);
        wgmma_sums<TILE_K>(out, p, v_tile);
        wgmma_wait<1>();
        hold(s);
        exponentials(round + 1);
        wgmma_wait<0>();
        hold(out);
#if !BOUNDED
        if (__any_sync(FULL_MASK, rescale[0] != 1.0f || rescale[1] != 1.0f))
#pragma unroll
            for (int i = 0; i < D / 2; i++) out[i] *= rescale[i / 2 % 2];
#endif
        warp_arrive(v_empty + round % 2 * 8);
    }
    const uint32_t v_tile = products(end - 1);
    wgmma_sums<TILE_K>(out, p, v_tile);
    wgmma_wait<0>();
    hold(out);
    warp_arrive(v_empty + (end - 1) % 2 * 8);
    for (int round = end; round < rounds; round++) pass(round);

    // Each group reads its own rows of q alone: they become its staging tile.
    float scale[2];
#pragma unroll
    for (int half = 0; half < 2; half++)
    {
        const float total = quad_sum(sum[half]);
        const int row = q0 + local_row + half * 8;
        if (lane % 4 == 0 && row < rows)
#if BOUNDED
            lse[(int64)row * lse_pitch + head] = fast_log2(total);
#else
            lse[(int64)row * lse_pitch + head] = reference[half] + fast_log2(total);
#endif
        scale[half] = 1.0f / total;
    }
    stage_panels<TILE_Q, D>(q_tile, local_row, out, scale[0], scale[1]);
    group_sync(1 + group);
    store_panels<TILE_Q, D, GROUP_THREADS, 64>(o + (int64)(q0 + group * 64) * o_pitch + head * D, o_pitch, q_rows, rows - q0 - group * 64, thread);
}
