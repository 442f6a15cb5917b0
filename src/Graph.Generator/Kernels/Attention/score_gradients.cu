// Where dS^T lies between the kernel that makes dk and dv, which has it in its registers, and attention_dq_from_ds_sm90.cu: tiles of 64 keys x 64 queries, 8 KB each, as wgmma takes them from shared
// memory (a panel of wgmma.cu), and how they leave. Per head, a tile of queries after the other, each with its key tiles in order: the last ds_tiles ones up to its own. Tiles without a visible pair are not read.

constexpr int DS_TILE = 64;

__device__ __forceinline__ int64 score_gradients_tile(int head, int q_tile, int k_tile, int rows, int ds_tiles)
{
    // The first ds_tiles tiles of queries have 1, 2, 3, ... tiles of keys, the others ds_tiles.
    auto before = [&](int64 tile) { return tile < ds_tiles ? tile * (tile + 1) / 2 : (int64)ds_tiles * (ds_tiles + 1) / 2 + (tile - ds_tiles) * ds_tiles; };
    const int q_tiles = (rows + DS_TILE - 1) / DS_TILE;
    return (head * before(q_tiles) + before(q_tile) + k_tile - max(0, q_tile - ds_tiles + 1)) * (DS_TILE * DS_TILE);
}

// A warp has 16 keys of a tile, which lie together: it sends its own, and waits for none but its own of two rounds before. place: this round's of the warp's two in shared memory, which the caller takes in turns; part: which 16 keys.
constexpr uint32_t DS_WARP_BYTES = 16 * DS_TILE * 2;

__device__ __forceinline__ void send_score_gradients(elem* tile, uint32_t place, int part, const uint32_t (&pairs)[DS_TILE / 16][4])
{
    const int lane = threadIdx.x % WARP_SIZE;
    if (lane == 0) store_wait<1>();
    __syncwarp();
#pragma unroll
    for (int step = 0; step < DS_TILE / 16; step++) stmatrix_x4(place + panel_offset<16>(lane % 16, step * 2 + lane / 16), pairs[step][0], pairs[step][1], pairs[step][2], pairs[step][3]);
    shared_fence();
    __syncwarp();
    if (lane == 0) store_bulk(tile + part * (DS_WARP_BYTES / 2), place, DS_WARP_BYTES);
}

// A round without such a tile ends a group of stores, too, or the count of two rounds would be wrong.
__device__ __forceinline__ void send_nothing()
{
    if (threadIdx.x % WARP_SIZE == 0) asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}
