// dv = P^T do and dk = dS^T q for one tile of TILE_K keys of one kv head: attention_dkdv.cu on wgmma, for sm_90a and head dim 256.
//
//   dk, dv, k, v [T, K*D]   q, do [T, N*D]   lse, delta f32 [T, N]   doc_start, doc_end i32 [T]; pitches of elem tensors are multiples of 8
//   ds: null, or room for dS^T in tiles of TILE_K x TILE_Q (score_gradients.cu), which attention_dq_from_ds_sm90.cu multiplies; a query has at most ds_tiles of them
//   grid (ceil(T / TILE_K), K), block 384, dynamic shared memory (2 TILE_K D + 4 TILE_Q D + 3 TILE_K TILE_Q) * 2 + 16 TILE_Q + 96 bytes
//
// Everything is transposed (rows are keys). Each of the two sums takes 128 registers of a warpgroup, so each of two warpgroups owns one, and half of the work:
//   warpgroup 0:  S^T = k q^T    P^T = exp2(score - lse)             dv += P^T do
//   warpgroup 1:  dP^T = v do^T  dS^T = P^T dscore/ds (dP^T - delta)  dk += dS^T q, and dS^T to ds
// P^T dscore/ds goes from 0 to 1 through shared memory, rounded to elem, thread to the same thread of the other group. P^T and dS^T stay in registers.
// The third warpgroup copies: half of it q with delta, the other half do with lse, in two stages. The groups meet only at barriers, so the exponentials run under products.
extern "C" __global__ void __launch_bounds__(384, 1)
KERNEL_NAME(elem* __restrict__ dk, int dk_pitch, elem* __restrict__ dv, int dv_pitch, const elem* __restrict__ q, int q_pitch,
            const elem* __restrict__ k, int k_pitch, const elem* __restrict__ v, int v_pitch, const elem* __restrict__ d_o, int d_o_pitch,
            const float* __restrict__ lse, int lse_pitch, const float* __restrict__ delta, int delta_pitch,
            const int* __restrict__ doc_start, const int* __restrict__ doc_end, elem* __restrict__ ds, int ds_tiles, int rows)
{
    constexpr int D = HEAD_DIM;
    constexpr uint32_t KV_BYTES = TILE_K * D * 2, Q_BYTES = TILE_Q * D * 2;
    static_assert(D == 256 && TILE_K == 64 && TILE_Q == 64 && TILE_Q == DS_TILE && WARPS == 12 && STAGES == 2, "64 keys, a sum per warpgroup, and one that copies");

    extern __shared__ __align__(1024) uint8_t shared[];
    const uint32_t k_tile = shared_address(shared), v_tile = k_tile + KV_BYTES, q_tiles = v_tile + KV_BYTES, do_tiles = q_tiles + 2 * Q_BYTES;
    const uint32_t slopes = do_tiles + 2 * Q_BYTES, ds_stages = slopes + TILE_K * TILE_Q * 2, lse_rows = ds_stages + 2 * TILE_K * TILE_Q * 2, delta_rows = lse_rows + 2 * TILE_Q * 4;
    const uint32_t q_full = delta_rows + 2 * TILE_Q * 4, do_full = q_full + 16, q_empty = do_full + 16, do_empty = q_empty + 16, slopes_full = do_empty + 16, slopes_empty = slopes_full + 8;
    const int group = warp_uniform(threadIdx.x / GROUP_THREADS), thread = threadIdx.x % GROUP_THREADS, warp = thread / WARP_SIZE, lane = thread % WARP_SIZE;

    const key_tile block(doc_end, rows);
    const int kv_head = block.kv_head, k0 = block.k0, rounds = block.rounds;

    // Of the two groups that read a stage, one's threads arrive and the other's four warps.
    constexpr int HALF = GROUP_THREADS / 2, READS = GROUP_THREADS + GROUP_THREADS / WARP_SIZE;
    if (threadIdx.x == 0)
    {
        init_stages<2>(q_full, HALF, HALF, READS, READS);
        barrier_init(slopes_full, GROUP_THREADS);
        barrier_init(slopes_empty, GROUP_THREADS);
    }
    __syncthreads();

    int tile = block.first_tile;
    if (group == 2)
    {
        become_copier<40>();
        static_assert(HALF == TILE_Q, "a thread copies one row's lse or delta");
        const bool queries = thread < HALF;
        const int own = thread % HALF, pitch = queries ? q_pitch : d_o_pitch, row_pitch = queries ? delta_pitch : lse_pitch;
        const elem* const source = queries ? q : d_o;
        const float* const row_source = queries ? delta : lse;
        int head = kv_head * GROUP;
        copy_panels<TILE_K, D, HALF>(queries ? k_tile : v_tile, (queries ? k + (int64)k0 * k_pitch : v + (int64)k0 * v_pitch) + kv_head * D, queries ? k_pitch : v_pitch, rows - k0, own);
        copy_rounds<2>(rounds, queries ? q_full : do_full, queries ? q_empty : do_empty, [&](int, int stage)
        {
            const int row0 = tile * TILE_Q;
            copy_panels<TILE_Q, D, HALF>((queries ? q_tiles : do_tiles) + stage * Q_BYTES, source + (int64)row0 * pitch + head * D, pitch, rows - row0, own);
            copy4((queries ? delta_rows : lse_rows) + (stage * TILE_Q + own) * 4, row_source + (int64)min(row0 + own, rows - 1) * row_pitch + head);
            block.next(tile, head);
        });
        return;
    }
    become_consumer<232>();

    float sum[D / 2] = {}, s[TILE_Q / 2];
    uint32_t a[TILE_Q / 16][4], own[4][4]; // own: columns of k or v that stay in registers
    const int local_row = warp * 16 + lane / 4;

    if (group == 0)
    {
        const int earliest_end = end_of_readers(doc_end, k0);
        int span[2]; // of the thread's keys
        span_of(span, doc_end, k0 + local_row, rows);

        int head = kv_head * GROUP;
        barrier_wait(q_full, 0);
        load_own<TILE_K>(own, k_tile, warp * 16);
        for (int round = 0; round < rounds; round++)
        {
            const int stage = round % 2, parity = round / 2 % 2, q0 = tile * TILE_Q;
            barrier_wait(q_full + stage * 8, parity);
            wgmma_fence();
            wgmma_scores<D, TILE_K, TILE_Q>(s, own, k_tile, q_tiles + stage * Q_BYTES);
            wgmma_wait<1>(); // dv of the round before is done
            if (round > 0) barrier_arrive(do_empty + (stage ^ 1) * 8); // every thread for itself: it has read its lse
            wgmma_wait<0>();
            hold(s);
            warp_arrive(q_empty + stage * 8);
            barrier_wait(do_full + stage * 8, parity);

            uint32_t slope_pairs[TILE_Q / 16][4];
            const float distance = (float)(q0 + lane % 4 * 2 - k0 - local_row);
#pragma unroll
            for (int n = 0; n < TILE_Q / 8; n++)
            {
                const float2 row_lse = load_shared2(lse_rows + (stage * TILE_Q + n * 8 + lane % 4 * 2) * 4);
                float p[4], p_slope[4];
                probabilities_and_slopes(p, p_slope, s + n * 4, distance, n * 8, head, row_lse);
                a[n / 2][n % 2 * 2] = pack2(p[0], p[1]);
                a[n / 2][n % 2 * 2 + 1] = pack2(p[2], p[3]);
                slope_pairs[n / 2][n % 2 * 2] = pack2(p_slope[0], p_slope[1]);
                slope_pairs[n / 2][n % 2 * 2 + 1] = pack2(p_slope[2], p_slope[3]);
            }
            if (q0 < k0 + TILE_K - 1 || q0 + TILE_Q > earliest_end)
            {
                const int ahead = q0 + lane % 4 * 2 - k0 - local_row;
                clear_unseen(a, ahead, span);
                clear_unseen(slope_pairs, ahead, span);
            }
            if (round > 0) barrier_wait(slopes_empty, (round - 1) % 2);
#pragma unroll
            for (int i = 0; i < TILE_Q / 16; i++)
                store_shared4(slopes + (i * GROUP_THREADS + thread) * 16, slope_pairs[i][0], slope_pairs[i][1], slope_pairs[i][2], slope_pairs[i][3]);
            barrier_arrive(slopes_full);

            wgmma_fence();
            wgmma_sums<TILE_Q>(sum, a, do_tiles + stage * Q_BYTES);
            block.next(tile, head);
        }
    }
    else
    {
        int head = kv_head * GROUP;
        barrier_wait(do_full, 0);
        load_own<TILE_K>(own, v_tile, warp * 16);
        for (int round = 0; round < rounds; round++)
        {
            const int stage = round % 2, parity = round / 2 % 2;
            barrier_wait(do_full + stage * 8, parity);
            wgmma_fence();
            wgmma_scores<D, TILE_K, TILE_Q>(s, own, v_tile, do_tiles + stage * Q_BYTES);
            wgmma_wait<1>(); // dk of the round before is done
            if (round > 0) barrier_arrive(q_empty + (stage ^ 1) * 8); // every thread for itself: it has read its delta
            wgmma_wait<0>();
            hold(s);
            warp_arrive(do_empty + stage * 8);
            barrier_wait(q_full + stage * 8, parity);
            barrier_wait(slopes_full, round % 2);
            uint4 slope_pairs[TILE_Q / 16];
#pragma unroll
            for (int i = 0; i < TILE_Q / 16; i++) slope_pairs[i] = load_shared4(slopes + (i * GROUP_THREADS + thread) * 16);
            barrier_arrive(slopes_empty);

            // dS = P dscore/ds (dP - delta)
#pragma unroll
            for (int n = 0; n < TILE_Q / 8; n++)
            {
                const float2 row_delta = load_shared2(delta_rows + (stage * TILE_Q + n * 8 + lane % 4 * 2) * 4);
                const uint32_t upper = n % 2 ? slope_pairs[n / 2].z : slope_pairs[n / 2].x, lower = n % 2 ? slope_pairs[n / 2].w : slope_pairs[n / 2].y;
                a[n / 2][n % 2 * 2] = score_gradient(upper, s[n * 4], s[n * 4 + 1], row_delta.x, row_delta.y);
                a[n / 2][n % 2 * 2 + 1] = score_gradient(lower, s[n * 4 + 2], s[n * 4 + 3], row_delta.x, row_delta.y);
            }
            // What the product reads is not touched until it is done, so dS^T leaves from copies, under it.
            uint32_t copies[TILE_Q / 16][4];
#pragma unroll
            for (int step = 0; step < TILE_Q / 16; step++)
#pragma unroll
                for (int i = 0; i < 4; i++) asm volatile("mov.b32 %0, %1;" : "=r"(copies[step][i]) : "r"(a[step][i]));
            wgmma_fence();
            wgmma_sums<TILE_Q>(sum, a, q_tiles + stage * Q_BYTES);
            if (ds && tile - k0 / TILE_K < ds_tiles) send_score_gradients(ds + score_gradients_tile(head, tile, k0 / TILE_K, rows, ds_tiles), ds_stages + (stage * 4 + warp) * DS_WARP_BYTES, warp, copies);
            else send_nothing();
            block.next(tile, head);
        }
    }

    // k is read by group 0 alone and v by group 1: each tile becomes the staging tile of its group's sum.
    wgmma_wait<0>();
    hold(sum);
    store_wait<0>(); // shared memory goes with the block
    const uint32_t staging = group == 0 ? k_tile : v_tile;
    stage_panels<TILE_K, D>(staging, local_row, sum);
    group_sync(1 + group);
    if (group == 0) store_panels<TILE_K, D, GROUP_THREADS>(dv + (int64)k0 * dv_pitch + kv_head * D, dv_pitch, staging, rows - k0, thread);
    else store_panels<TILE_K, D, GROUP_THREADS>(dk + (int64)k0 * dk_pitch + kv_head * D, dk_pitch, staging, rows - k0, thread);
}
