// dv = P^T do and dk = dS^T q for one tile of TILE_K keys of one kv head: attention_dkdv.cu on wgmma, for sm_90a and head dim 64 or 128.
//
//   dk, dv, k, v [T, K*D]   q, do [T, N*D]   lse, delta f32 [T, N]   doc_start, doc_end i32 [T]; pitches of elem tensors are multiples of 8
//   ds: null, or room for dS^T in tiles of 64 x 64 (score_gradients.cu), which attention_dq_from_ds_sm90.cu multiplies; a query has at most ds_tiles of them
//   grid (ceil(T / TILE_K), K), block 384, dynamic shared memory (2 TILE_K D + 6 TILE_Q D + 2 TILE_K TILE_Q) * 2 + 24 TILE_Q + 48 bytes
//
// Everything is transposed (rows are keys). Two warpgroups own 64 keys each: S^T, dP^T, P^T, dS^T (64 x TILE_Q), dk and dv (64 x D) are in registers; the third
// copies q, do, lse and delta in three stages. The exponentials of one group run under the products of the other.
extern "C" __global__ void __launch_bounds__(384, 1)
KERNEL_NAME(elem* __restrict__ dk, int dk_pitch, elem* __restrict__ dv, int dv_pitch, const elem* __restrict__ q, int q_pitch,
            const elem* __restrict__ k, int k_pitch, const elem* __restrict__ v, int v_pitch, const elem* __restrict__ d_o, int d_o_pitch,
            const float* __restrict__ lse, int lse_pitch, const float* __restrict__ delta, int delta_pitch,
            const int* __restrict__ doc_start, const int* __restrict__ doc_end, elem* __restrict__ ds, int ds_tiles, int rows)
{
    constexpr int D = HEAD_DIM;
    constexpr uint32_t KV_BYTES = TILE_K * D * 2, Q_BYTES = TILE_Q * D * 2;
    static_assert(D <= 128 && TILE_K == 128 && TILE_Q == DS_TILE && WARPS == 12 && STAGES == 3, "two warpgroups of 64 keys and one that copies");

    extern __shared__ __align__(1024) uint8_t shared[];
    const uint32_t k_tile = shared_address(shared), v_tile = k_tile + KV_BYTES, q_tiles = v_tile + KV_BYTES, do_tiles = q_tiles + 3 * Q_BYTES;
    const uint32_t ds_stages = do_tiles + 3 * Q_BYTES, lse_rows = ds_stages + 2 * TILE_K * TILE_Q * 2, delta_rows = lse_rows + 3 * TILE_Q * 4, full = delta_rows + 3 * TILE_Q * 4, empty = full + 24;
    const int group = warp_uniform(threadIdx.x / GROUP_THREADS), thread = threadIdx.x % GROUP_THREADS, warp = threadIdx.x / WARP_SIZE, lane = thread % WARP_SIZE;

    const key_tile block(doc_end, rows);
    const int kv_head = block.kv_head, k0 = block.k0, rounds = block.rounds;

    if (threadIdx.x == 0) init_stages<3>(full, GROUP_THREADS, 2 * GROUP_THREADS);
    __syncthreads();

    int tile = block.first_tile;
    if (group == 2)
    {
        become_copier<24>();
        int head = kv_head * GROUP;
        copy_panels<TILE_K, D, GROUP_THREADS>(k_tile, k + (int64)k0 * k_pitch + kv_head * D, k_pitch, rows - k0, thread);
        copy_panels<TILE_K, D, GROUP_THREADS>(v_tile, v + (int64)k0 * v_pitch + kv_head * D, v_pitch, rows - k0, thread);
        copy_rounds<3>(rounds, full, empty, [&](int, int stage)
        {
            const int row0 = tile * TILE_Q, row = min(row0 + thread, rows - 1);
            copy_panels<TILE_Q, D, GROUP_THREADS>(q_tiles + stage * Q_BYTES, q + (int64)row0 * q_pitch + head * D, q_pitch, rows - row0, thread);
            copy_panels<TILE_Q, D, GROUP_THREADS>(do_tiles + stage * Q_BYTES, d_o + (int64)row0 * d_o_pitch + head * D, d_o_pitch, rows - row0, thread);
            if (thread < TILE_Q)
            {
                copy4(lse_rows + (stage * TILE_Q + thread) * 4, lse + (int64)row * lse_pitch + head);
                copy4(delta_rows + (stage * TILE_Q + thread) * 4, delta + (int64)row * delta_pitch + head);
            }
            block.next(tile, head);
        });
        return;
    }
    become_consumer<240>();

    const int earliest_end = end_of_readers(doc_end, k0), local_row = warp * 16 + lane / 4;
    int span[2]; // of the thread's keys
    span_of(span, doc_end, k0 + local_row, rows);

    float dk_sum[D / 2] = {}, dv_sum[D / 2] = {}, s[TILE_Q / 2], dp[TILE_Q / 2];
    hold(dk_sum);
    hold(dv_sum);
    uint32_t a[TILE_Q / 16][4];
    const uint32_t k_rows = k_tile + group * 64 * 128, v_rows = v_tile + group * 64 * 128; // the group's rows of every panel

    int stage = 0, head = kv_head * GROUP;
    for (int round = 0; round < rounds; round++)
    {
        const uint32_t q_tile = q_tiles + stage * Q_BYTES, do_tile = do_tiles + stage * Q_BYTES;
        const int q0 = tile * TILE_Q;
        barrier_wait(full + stage * 8, round / 3 % 2);
        wgmma_fence();
        wgmma_scores<D, TILE_K, TILE_Q>(s, k_rows, q_tile);
        wgmma_scores<D, TILE_K, TILE_Q>(dp, v_rows, do_tile);
        wgmma_wait<2>(); // the sums of the round before are done with its q and do
        if (round > 0) barrier_arrive(empty + (stage == 0 ? 2 : stage - 1) * 8); // every thread for itself: it has read its lse and delta
        wgmma_wait<1>();
        hold(s);

        // P dscore/ds is rounded to elem: with 32 registers of it the products would not stay in flight.
        uint32_t slopes[TILE_Q / 16][4];
        const int ahead = q0 + lane % 4 * 2 - k0 - local_row;
        const float distance = (float)ahead;
#pragma unroll
        for (int n = 0; n < TILE_Q / 8; n++)
        {
            const float2 row_lse = load_shared2(lse_rows + (stage * TILE_Q + n * 8 + lane % 4 * 2) * 4);
            float p[4], p_slope[4];
            probabilities_and_slopes(p, p_slope, s + n * 4, distance, n * 8, head, row_lse);
            slopes[n / 2][n % 2 * 2] = pack2(p_slope[0], p_slope[1]);
            slopes[n / 2][n % 2 * 2 + 1] = pack2(p_slope[2], p_slope[3]);
            a[n / 2][n % 2 * 2] = pack2(p[0], p[1]);
            a[n / 2][n % 2 * 2 + 1] = pack2(p[2], p[3]);
        }
        if (q0 < k0 + TILE_K - 1 || q0 + TILE_Q > earliest_end)
        {
            clear_unseen(a, ahead, span);
            clear_unseen(slopes, ahead, span);
        }
        wgmma_fence();
        wgmma_sums<TILE_Q>(dv_sum, a, do_tile);
        wgmma_wait<1>();
        hold(dp);

        // dS = P dscore/ds (dP - delta), in place; its operand takes the registers of P, so dv is awaited.
#pragma unroll
        for (int n = 0; n < TILE_Q / 8; n++)
        {
            const float2 row_delta = load_shared2(delta_rows + (stage * TILE_Q + n * 8 + lane % 4 * 2) * 4);
#pragma unroll
            for (int half = 0; half < 2; half++)
            {
                uint32_t& pair = slopes[n / 2][n % 2 * 2 + half];
                pair = score_gradient(pair, dp[n * 4 + half * 2], dp[n * 4 + half * 2 + 1], row_delta.x, row_delta.y);
            }
        }
        wgmma_wait<0>();
        hold(dv_sum);
#pragma unroll
        for (int i = 0; i < TILE_Q / 4; i++) a[i / 4][i % 4] = slopes[i / 4][i % 4];
        const int ds_tile = k0 / DS_TILE + group;
        if (ds && ds_tile <= tile && tile - ds_tile < ds_tiles) send_score_gradients(ds + score_gradients_tile(head, tile, ds_tile, rows, ds_tiles), ds_stages + (round % 2 * 8 + warp) * DS_WARP_BYTES, warp % 4, a);
        else send_nothing();
        wgmma_fence();
        wgmma_sums<TILE_Q>(dk_sum, a, q_tile);
        stage = stage == 2 ? 0 : stage + 1;
        block.next(tile, head);
    }

    // Each group reads its own rows of k and v alone: they become the staging tiles of its sums.
    wgmma_wait<0>();
    hold(dk_sum);
    hold(dv_sum);
    store_wait<0>(); // shared memory goes with the block
    stage_panels<TILE_K, D>(k_tile, local_row, dk_sum);
    stage_panels<TILE_K, D>(v_tile, local_row, dv_sum);
    group_sync(1 + group);
    const int own0 = k0 + group * 64;
    store_panels<TILE_K, D, GROUP_THREADS, 64>(dk + (int64)own0 * dk_pitch + kv_head * D, dk_pitch, k_rows, rows - own0, thread);
    store_panels<TILE_K, D, GROUP_THREADS, 64>(dv + (int64)own0 * dv_pitch + kv_head * D, dv_pitch, v_rows, rows - own0, thread);
}
