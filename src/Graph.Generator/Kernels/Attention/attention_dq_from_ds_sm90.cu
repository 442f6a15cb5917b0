// dq = dS k for a tile of 64 queries of two heads that share a kv head, from the dS^T that the kernel of dk and dv left (score_gradients.cu); for sm_90a, head dim 64, 128 or 256.
//
//   dq [T, N*D]   k [T, K*D]   doc_start i32 [T]; pitches are multiples of 8
//   grid (ceil(T / 64), N / 2), block 384, dynamic shared memory STAGES (2 * 64 * 64 + 64 D) * 2 + 16 STAGES bytes
//
// Two warpgroups own a head's 64 rows each, dq (64 x D) in registers; the third copies, dS^T in bulk and k as it lies. Both operands have the keys, the product's k, along their rows.
extern "C" __global__ void __launch_bounds__(384, 1)
KERNEL_NAME(elem* __restrict__ dq, int dq_pitch, const elem* __restrict__ k, int k_pitch, const int* __restrict__ doc_start, const elem* __restrict__ ds, int ds_tiles, int rows)
{
    constexpr int D = HEAD_DIM;
    constexpr uint32_t DS_BYTES = TILE_K * TILE_Q * 2, STAGE_BYTES = 2 * DS_BYTES + TILE_K * D * 2;
    static_assert(TILE_Q == DS_TILE && TILE_K == DS_TILE && GROUP % 2 == 0 && WARPS == 12 && STAGES * STAGE_BYTES >= 2 * TILE_Q * D * 2, "a head per warpgroup and one that copies; stages become staging tiles");

    extern __shared__ __align__(1024) uint8_t shared[];
    const uint32_t stages = shared_address(shared), full = stages + STAGES * STAGE_BYTES, empty = full + STAGES * 8;
    const int group = warp_uniform(threadIdx.x / GROUP_THREADS), thread = threadIdx.x % GROUP_THREADS, lane = thread % WARP_SIZE;

    // A block has a pair of heads.
    const query_tile block(rows);
    const int pair = block.head, kv_head = pair / (GROUP / 2), q_tile = block.tile, q0 = block.q0;
    const int first_tile = first_visible(doc_start, q0) / TILE_K, rounds = q_tile - first_tile + 1;

    // Every copying thread arrives when its part of k is there, the first one also for dS^T, whose bytes are counted.
    if (threadIdx.x == 0)
    {
        init_stages<STAGES>(full, GROUP_THREADS + 1, 2 * GROUP_THREADS / WARP_SIZE);
        barrier_init_fence();
    }
    __syncthreads();

    if (group == 2)
    {
        become_copier<40>();
        const elem* const ds_first = ds + score_gradients_tile(pair * 2, q_tile, first_tile, rows, ds_tiles);
        const int64 next_head = score_gradients_tile(1, 0, 0, rows, ds_tiles);
        int stage = 0, phase = 1;
        for (int round = 0; round < rounds; round++)
        {
            const uint32_t ds_tile = stages + stage * STAGE_BYTES, arrived = full + stage * 8;
            const int k0 = (first_tile + round) * TILE_K;
            barrier_wait(empty + stage * 8, phase);
            if (thread == 0)
            {
                const elem* const source = ds_first + (int64)round * (TILE_K * TILE_Q);
                barrier_expect(arrived, 2 * DS_BYTES);
                copy_bulk(ds_tile, source, DS_BYTES, arrived);
                copy_bulk(ds_tile + DS_BYTES, source + next_head, DS_BYTES, arrived);
            }
            copy_panels<TILE_K, D, GROUP_THREADS>(ds_tile + 2 * DS_BYTES, k + (int64)k0 * k_pitch + kv_head * D, k_pitch, rows - k0, thread);
            barrier_arrive_after_copies(arrived);
            if (++stage == STAGES) { stage = 0; phase ^= 1; }
        }
        copy_commit();
        copy_wait<0>();
        return;
    }
    become_consumer<232>();

    float sum[D / 2] = {};
    hold(sum);
    int stage = 0, phase = 0;
    for (int round = 0; round < rounds; round++)
    {
        const uint32_t ds_tile = stages + stage * STAGE_BYTES + group * DS_BYTES, k_tile = stages + stage * STAGE_BYTES + 2 * DS_BYTES;
        barrier_wait_copies(full + stage * 8, phase);
        wgmma_fence();
#pragma unroll
        for (int step = 0; step < TILE_K / 16; step++) wgmma_rows(sum, panel_rows<TILE_K>(ds_tile, step), panel_rows<TILE_K>(k_tile, step));
        wgmma_commit();
        wgmma_wait<1>(); // the round before is multiplied
        if (round > 0 && lane == 0) barrier_arrive(empty + (stage == 0 ? STAGES - 1 : stage - 1) * 8);
        if (++stage == STAGES) { stage = 0; phase ^= 1; }
    }
    wgmma_wait<0>();
    hold(sum);

    // The stages become staging tiles when both groups have read the last of them.
    groups_sync(1);
    const uint32_t staging = stages + group * (TILE_Q * D * 2);
    stage_panels<TILE_Q, D>(staging, thread / WARP_SIZE * 16 + lane / 4, sum);
    group_sync(2 + group);
    store_panels<TILE_Q, D, GROUP_THREADS>(dq + (int64)q0 * dq_pitch + (pair * 2 + group) * D, dq_pitch, staging, rows - q0, thread);
}
