// Where dS^T lies between the kernel that makes dk and dv, which has it in its registers, and attention_dq_from_ds_sm90.cu: tiles of 64 keys x 64 queries, 8 KB each, as wgmma takes them from shared
// memory (a panel of wgmma.cu). Per head, a tile of queries after the other, each with its key tiles in order: the last ds_tiles ones up to its own. Tiles without a visible pair are not read.

constexpr int DS_TILE = 64;

__device__ __forceinline__ int64 score_gradients_tile(int head, int q_tile, int k_tile, int rows, int ds_tiles)
{
    // The first ds_tiles tiles of queries have 1, 2, 3, ... tiles of keys, the others ds_tiles.
    auto before = [&](int64 tile) { return tile < ds_tiles ? tile * (tile + 1) / 2 : (int64)ds_tiles * (ds_tiles + 1) / 2 + (tile - ds_tiles) * ds_tiles; };
    const int q_tiles = (rows + DS_TILE - 1) / DS_TILE;
    return (head * before(q_tiles) + before(q_tile) + k_tile - max(0, q_tile - ds_tiles + 1)) * (DS_TILE * DS_TILE);
}
