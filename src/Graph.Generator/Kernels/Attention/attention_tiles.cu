// What attention's kernels share: which tile a block has, and which keys a query sees.
//
// k is visible to q when doc_start[q] <= k <= q and q - k < WINDOW (0: no window), which is k <= q < doc_end[k] read from the key's side. doc_start and doc_end
// never decrease, and so the bounds below grow with the token: of a tile of queries the first row has the first visible key and the last row the latest first
// key, of a tile of keys the first one loses its readers first.

// The first key that a query sees.
__device__ __forceinline__ int first_visible(const int* doc_start, int q)
{
    return WINDOW ? max(doc_start[q], q - WINDOW + 1) : doc_start[q];
}

// The same of a row that may be past the end, which sees itself.
__device__ __forceinline__ int first_visible(const int* doc_start, int q, int rows)
{
    const int start = q < rows ? doc_start[q] : q;
    return WINDOW ? max(start, q - WINDOW + 1) : start;
}

// first <= key <= q, in one comparison.
__device__ __forceinline__ bool is_visible(int key, int q, int first) { return (uint32_t)(key - first) <= (uint32_t)(q - first); }

// One past the last query that sees a key.
__device__ __forceinline__ int end_of_readers(const int* doc_end, int key)
{
    return WINDOW ? min(doc_end[key], key + WINDOW) : doc_end[key];
}

// How many queries see a key: q does when (unsigned)(q - key) < span. 0 past the end.
__device__ __forceinline__ int span_of(const int* doc_end, int key, int rows)
{
    const int reach = key < rows ? doc_end[key] - key : 0;
    return WINDOW ? min(reach, WINDOW) : reach;
}

// Of a thread's rows, which lie 8 apart.
template <int COUNT>
__device__ __forceinline__ void first_visible(int (&first)[COUNT], const int* doc_start, int row, int rows)
{
#pragma unroll
    for (int i = 0; i < COUNT; i++) first[i] = first_visible(doc_start, row + i * 8, rows);
}

template <int COUNT>
__device__ __forceinline__ void span_of(int (&span)[COUNT], const int* doc_end, int key, int rows)
{
#pragma unroll
    for (int i = 0; i < COUNT; i++) span[i] = span_of(doc_end, key + i * 8, rows);
}

// Late queries see the most keys. All heads of the last tile start first, so the short tiles fill the tail.
struct query_tile
{
    int head, tile, q0, q_last;

    __device__ __forceinline__ explicit query_tile(int rows)
    {
        const int order = blockIdx.y * gridDim.x + blockIdx.x;
        head = order % gridDim.y;
        tile = gridDim.x - 1 - order / gridDim.y;
        q0 = (gridDim.x - 1 - order / gridDim.y) * TILE_Q;
        q_last = min(q0 + TILE_Q, rows) - 1;
    }
};

// A block's tile of keys, and the tiles of queries that see any of them: the block walks those of each of the kv head's query heads in turn. Early keys are seen by the most queries: all heads of the
// first tile start first.
struct key_tile
{
    int kv_head, k0, first_tile, end_tile, rounds;

    __device__ __forceinline__ key_tile(const int* doc_end, int rows)
    {
        const int order = blockIdx.y * gridDim.x + blockIdx.x;
        kv_head = order % gridDim.y;
        k0 = order / gridDim.y * TILE_K;
        first_tile = k0 / TILE_Q;
        end_tile = (end_of_readers(doc_end, min(k0 + TILE_K, rows) - 1) + TILE_Q - 1) / TILE_Q;
        rounds = GROUP * (end_tile - first_tile);
    }

    // The next tile of queries, or the first one of the next head.
    __device__ __forceinline__ void next(int& tile, int& head) const
    {
        if (++tile == end_tile) { tile = first_tile; head++; }
    }
};
