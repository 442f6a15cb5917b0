// How rank_gradients.cu cuts dY and rank_sum.cu finds its sums again. Columns are cut into tiles of TILE_N that never cross a linear; `width` neighbouring tile columns of a linear
// (fewer at its end) make a stripe; tokens are cut into units of UNIT, and these into steps of TILE_T. A unit has `slots` blocks, to which its tiles, in order of stripe, step and column, are dealt evenly;
// a step is the block's that has its last tile. What a unit's sums are does not depend on other tokens. Literals: TILE_T, TILE_N, UNIT.

// The columns [start, end) of dY that belong to linear i; empty from the last linear on.
struct Linears { int start[4], end[4]; };

__device__ __forceinline__ int tiles_of(const Linears& linears, int i) { return (linears.end[i] - linears.start[i] + TILE_N - 1) / TILE_N; }

__device__ __forceinline__ int stripes_of(const Linears& linears, int width)
{
    int stripes = 0;
#pragma unroll
    for (int i = 0; i < 4; i++) stripes += (tiles_of(linears, i) + width - 1) / width;
    return stripes;
}

// A unit of the `rows` tokens: its first token, how many it has, their steps, and how many of its `slots` blocks have one.
struct Unit
{
    int token, tokens, steps, blocks;

    __device__ __forceinline__ Unit(int index, int rows, int tile_columns, int width, int slots)
    {
        token = index * UNIT;
        tokens = min(UNIT, rows - token);
        steps = (tokens + TILE_T - 1) / TILE_T;
        blocks = max(1, min(slots, tile_columns * steps / width));
    }
};

// The stripe that holds a tile column, these being numbered through the linears.
struct Stripe
{
    int index;                  // among all stripes
    int tile, tiles;            // its first tile column, and how many it has
    int linear, column, end;    // its first column, and where its linear ends

    __device__ __forceinline__ Stripe(const Linears& linears, int width, int tile_column)
    {
        int first = 0, count = tiles_of(linears, 0), next = count, stripes = (count + width - 1) / width;
        index = linear = 0; column = linears.start[0]; end = linears.end[0];
#pragma unroll
        for (int i = 1; i < 4; i++)
        {
            const int more = tiles_of(linears, i);
            if (tile_column >= next && more > 0)
            {
                linear = i; first = next; count = more; index = stripes;
                column = linears.start[i]; end = linears.end[i];
            }
            next += more;
            stripes += (more + width - 1) / width;
        }
        const int local = (tile_column - first) / width;
        index += local;
        tile = first + local * width;
        tiles = min(width, count - local * width);
        column += local * width * TILE_N;
    }
};
