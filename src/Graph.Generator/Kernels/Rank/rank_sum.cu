// Adds up what rank_gradients.cu left, in order:
//   g = alpha * sum over the stripes of a linear                    g [rows, R]
//   for each unit of tokens, in order: d += sum over its blocks that worked on a column's stripe       d [columns, R], the diagonal blocks only
//
// Literals: KERNEL_NAME, RANK, TILE_T, TILE_N, UNIT.
// Launch: g_blocks + tile_columns * TILE_N * RANK / 4 * parts / 256 blocks of 256 threads; g_blocks = linears * ceil(rows * RANK / 4 / 256). A thread adds four neighbouring floats;
// of d, `parts` (1, 2 or 4) threads of a warp have a unit each at a time, so that many units are not one long chain of loads; they change no bit.
// width, slots: as rank_gradients was launched. May be launched before that has ended.

#define THREADS 256
#define TILE_SUMS (TILE_N * RANK)

__device__ __forceinline__ void add(float4& total, const float4& more)
{
    total.x += more.x; total.y += more.y; total.z += more.z; total.w += more.w;
}

// From L2: the lines of this multiprocessor's own cache may be older than the sums.
__device__ __forceinline__ float4 load(const float* from)
{
    float4 x;
    asm volatile("ld.global.cg.v4.f32 {%0,%1,%2,%3}, [%4];" : "=f"(x.x), "=f"(x.y), "=f"(x.z), "=f"(x.w) : "l"(__cvta_generic_to_global(from)) : "memory");
    return x;
}

// `count` vectors, `stride` floats apart; eight are on their way before the first is added.
__device__ __forceinline__ float4 sum_of(const float* from, int64 stride, int count)
{
    float4 total = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    for (int p = 0; p < count; p += 8)
    {
        float4 more[8];
#pragma unroll
        for (int k = 0; k < 8; k++) more[k] = p + k < count ? load(from + (p + k) * stride) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll
        for (int k = 0; k < 8; k++) add(total, more[k]);
    }
    return total;
}

extern "C" __global__ void __launch_bounds__(THREADS)
KERNEL_NAME(float* __restrict__ d, int d_pitch, elem* __restrict__ g, int g_pitch, const float* partials, const float* g_partials,
            const Linears linears, int tile_columns, int width, int slots, int g_blocks, int parts, int rows, float alpha)
{
    if (blockIdx.x < g_blocks)
    {
        const int per_linear = (rows * (RANK / 4) + THREADS - 1) / THREADS, linear = blockIdx.x / per_linear;
        const int64 i = ((int64)(blockIdx.x - linear * per_linear) * THREADS + threadIdx.x) * 4;
        if (i >= (int64)rows * RANK) return;
        int first = 0, count = 0;
#pragma unroll
        for (int l = 0; l < 4; l++)
        {
            const int stripes = (tiles_of(linears, l) + width - 1) / width;
            if (l < linear) first += stripes;
            if (l == linear) count = stripes;
        }
        const int64 of_stripe = (int64)rows * RANK;
        asm volatile("griddepcontrol.wait;" ::: "memory");
        const float4 total = sum_of(g_partials + first * of_stripe + i, of_stripe, count);
        *reinterpret_cast<uint2*>(g + i / RANK * g_pitch + linear * RANK + i % RANK) = make_uint2(pack2(alpha * total.x, alpha * total.y), pack2(alpha * total.z, alpha * total.w));
        return;
    }
    // A warp has 32 / parts neighbouring vectors; TILE_SUMS / 4 of them are a tile column.
    const int warp = (blockIdx.x - g_blocks) * (THREADS / WARP_SIZE) + threadIdx.x / WARP_SIZE, lane = threadIdx.x % WARP_SIZE, vectors = WARP_SIZE / parts;
    const int i = warp * vectors + lane % vectors, part = lane / vectors, tile = i / (TILE_SUMS / 4), local = i % (TILE_SUMS / 4) / (RANK / 4), rank = i % (RANK / 4) * 4;
    const Stripe stripe(linears, width, tile);
    const int column = stripe.column + (tile - stripe.tile) * TILE_N + local;
    const bool writes = part == 0 && column < stripe.end;
    float4* to = reinterpret_cast<float4*>(d + (int64)column * d_pitch + stripe.linear * RANK + rank);
    float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (writes) sum = *to;

    asm volatile("griddepcontrol.wait;" ::: "memory");
    const int of_block = width * TILE_SUMS, units = (rows + UNIT - 1) / UNIT;
    const int64 of_unit = (int64)(stripes_of(linears, width) + slots) * of_block;
    partials += (int64)stripe.index * of_block + (tile - stripe.tile) * TILE_SUMS + local * RANK + rank;
    for (int base = 0; base < units; base += parts)
    {
        float4 total = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        if (base + part < units && column < stripe.end)
        {
            // The blocks that had a step of this stripe: block c took the tiles from c * tiles / blocks on, and the step that this lies in.
            const Unit unit(base + part, rows, tile_columns, width, slots);
            const int64 tiles = (int64)tile_columns * unit.steps, before = (int64)stripe.tile * unit.steps;
            const int first = (int)(((before + stripe.tiles) * unit.blocks - 1) / tiles), last = (int)(((before + (int64)stripe.tiles * unit.steps) * unit.blocks - 1) / tiles);
            total = sum_of(partials + (base + part) * of_unit + (int64)first * of_block, of_block, last + 1 - first);
        }
        for (int u = 0; u < parts && base + u < units; u++)
        {
            const int from = lane % vectors + u * vectors;
            add(sum, make_float4(__shfl_sync(~0u, total.x, from), __shfl_sync(~0u, total.y, from), __shfl_sync(~0u, total.z, from), __shfl_sync(~0u, total.w, from)));
        }
    }
    if (writes) *to = sum;
}
