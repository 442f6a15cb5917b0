// dq = dS k for one tile of TILE_Q queries of one head: attention_dq.cu on wgmma, for sm_90a, head dim 64, 128 or 256.
//
//   dq, q, do [T, N*D]   k, v [T, K*D]   lse, delta f32 [T, N]   doc_start i32 [T]; every pitch of elem tensors is a multiple of 8
//   grid (ceil(T / TILE_Q), N), block 384, dynamic shared memory (2 TILE_Q D + (2 + V_STAGES) TILE_K D) * 2 + 64 bytes
//
// Two warpgroups own 64 rows each: S, dP, dS (64 x TILE_K) and dq (64 x D) are in registers; the third copies. The exponentials of one group run under the
// products of the other. k has two stages. v of head dim 256 has one, and is short-lived because group 1, the later one, multiplies it before k, group 0 after.
// The keys' order and every rounding are those of the kernel of dk and dv with attention_dq_from_ds_sm90.cu behind it, so that dq has the same bits whether dS was kept or not.
extern "C" __global__ void __launch_bounds__(384, 1)
KERNEL_NAME(elem* __restrict__ dq, int dq_pitch, const elem* __restrict__ q, int q_pitch, const elem* __restrict__ k, int k_pitch,
            const elem* __restrict__ v, int v_pitch, const elem* __restrict__ d_o, int d_o_pitch,
            const float* __restrict__ lse, int lse_pitch, const float* __restrict__ delta, int delta_pitch,
            const int* __restrict__ doc_start, int rows)
{
    constexpr int D = HEAD_DIM, V_STAGES = D <= 128 ? 2 : 1;
    constexpr uint32_t KV_BYTES = TILE_K * D * 2, Q_BYTES = TILE_Q * D * 2;
    static_assert(TILE_Q == 128 && TILE_K % 16 == 0 && WARPS == 12 && STAGES == 2, "two warpgroups of 64 rows and one that copies");

    extern __shared__ __align__(1024) uint8_t shared[];
    const uint32_t q_tile = shared_address(shared), do_tile = q_tile + Q_BYTES, k_tiles = do_tile + Q_BYTES, v_tiles = k_tiles + 2 * KV_BYTES;
    const uint32_t k_full = v_tiles + V_STAGES * KV_BYTES, k_empty = k_full + 16, v_full = k_empty + 16, v_empty = v_full + 16;
    const int group = warp_uniform(threadIdx.x / GROUP_THREADS), thread = threadIdx.x % GROUP_THREADS, warp = threadIdx.x / WARP_SIZE, lane = thread % WARP_SIZE;

    const query_tile block(rows);
    const int head = block.head, kv_head = head / GROUP, q0 = block.q0, q_last = block.q_last;

    const int first_tile = first_visible(doc_start, q0) / TILE_K, rounds = q_last / TILE_K - first_tile + 1;

    constexpr int HALF = GROUP_THREADS / 2, READS = 2 * GROUP_THREADS / WARP_SIZE;
    if (threadIdx.x == 0) init_stages<2>(k_full, HALF, READS, HALF, READS);
    __syncthreads();

    if (group == 2)
    {
        become_copier<24>();
        // Half of the warps copy q and k, the others do and v: none waits for a stage of the other kind.
        const int own = thread % HALF;
        auto tile = [&](uint32_t target, const elem* source, int pitch, int round)
        {
            const int k0 = (first_tile + round) * TILE_K;
            copy_panels<TILE_K, D, HALF>(target, source + (int64)k0 * pitch + kv_head * D, pitch, rows - k0, own);
        };
        if (thread < HALF)
        {
            copy_panels<TILE_Q, D, HALF>(q_tile, q + (int64)q0 * q_pitch + head * D, q_pitch, rows - q0, own);
            copy_rounds<2>(rounds, k_full, k_empty, [&](int round, int stage) { tile(k_tiles + stage * KV_BYTES, k, k_pitch, round); });
        }
        else
        {
            copy_panels<TILE_Q, D, HALF>(do_tile, d_o + (int64)q0 * d_o_pitch + head * D, d_o_pitch, rows - q0, own);
            copy_rounds<V_STAGES>(rounds, v_full, v_empty, [&](int round, int stage) { tile(v_tiles + stage * KV_BYTES, v, v_pitch, round); });
        }
        return;
    }
    become_consumer<240>();

    const int latest_first_key = first_visible(doc_start, q_last), local_row = warp * 16 + lane / 4;
    int first[2]; // visible key of each of the thread's rows
    float row_lse[2], row_delta[2];
#pragma unroll
    for (int half = 0; half < 2; half++)
    {
        const int row = q0 + local_row + half * 8;
        first[half] = first_visible(doc_start, row, rows);
        row_lse[half] = row < rows ? lse[(int64)row * lse_pitch + head] : 0.0f;
        row_delta[half] = row < rows ? delta[(int64)row * delta_pitch + head] : 0.0f;
    }

    float sum[D / 2] = {}, s[TILE_K / 2], dp[TILE_K / 2];
    uint32_t ds[TILE_K / 16][4];
    const uint32_t q_rows = q_tile + group * 64 * 128, do_rows = do_tile + group * 64 * 128; // the group's rows of every panel

    // Two copies of the loop: ptxas keeps products in flight only where it sees every wait on a straight path.
    auto walk = [&](auto which)
    {
        constexpr bool FIRST = which.value;
        const int seen = rounds - (FIRST && (first_tile + rounds - 1) * TILE_K > q0 + 63); // no row of group 0 may see the last tile, whose stage nobody waits for
        for (int round = 0; round < seen; round++)
        {
            const int stage = round % 2, v_stage = round % V_STAGES, k0 = (first_tile + round) * TILE_K;
            const uint32_t k_tile = k_tiles + stage * KV_BYTES, v_tile = v_tiles + v_stage * KV_BYTES;
            auto scores = [&]
            {
                barrier_wait(k_full + stage * 8, round / 2 % 2);
                wgmma_fence();
                wgmma_scores<D, TILE_Q, TILE_K>(s, q_rows, k_tile);
            };
            auto dp_product = [&]
            {
                barrier_wait(v_full + v_stage * 8, round / V_STAGES % 2);
                wgmma_fence();
                wgmma_scores<D, TILE_Q, TILE_K>(dp, do_rows, v_tile);
            };

            if (FIRST)
            {
                scores();
                dp_product();
            }
            else
            {
                dp_product();
                scores();
            }
            wgmma_wait<2>(); // dS k of the round before is done
            if (round > 0) warp_arrive(k_empty + (stage ^ 1) * 8);
            wgmma_wait<1>();
            if (!FIRST)
            {
                warp_arrive(v_empty + v_stage * 8);
                wgmma_wait<0>();
            }
            hold(s);

            // s becomes P dscore/ds, 0 where masked
            probability_slopes(s, q0 + local_row - k0 - lane % 4 * 2, head, row_lse);
            if (k0 + TILE_K - 1 > q0 || k0 < latest_first_key) mask_unseen(s, q0 + local_row, k0 + lane % 4 * 2, first, 0.0f);
            if (FIRST)
            {
                wgmma_wait<0>();
                warp_arrive(v_empty + v_stage * 8);
            }
            hold(dp);

            // dS = P dscore/ds (dP - delta), its first factor rounded to elem
#pragma unroll
            for (int i = 0; i < TILE_K / 4; i++)
            {
                ds[i / 4][i % 4] = score_gradient(pack2(s[i * 2], s[i * 2 + 1]), dp[i * 2], dp[i * 2 + 1], row_delta[i % 2], row_delta[i % 2]);
            }
            wgmma_fence();
            wgmma_sums<TILE_K>(sum, ds, k_tile);
        }
    };
    if (group == 0) walk(constant<true>{});
    else walk(constant<false>{});

    // Each group reads its own rows of q alone: they become its staging tile.
    wgmma_wait<0>();
    hold(sum);
    stage_panels<TILE_Q, D>(q_tile, local_row, sum);
    group_sync(1 + group);
    store_panels<TILE_Q, D, GROUP_THREADS, 64>(dq + (int64)(q0 + group * 64) * dq_pitch + head * D, dq_pitch, q_rows, rows - q0 - group * 64, thread);
}
