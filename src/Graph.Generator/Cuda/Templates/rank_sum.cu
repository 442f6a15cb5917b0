// Adds up what rank_gradients.cu left, in order:
//   g = alpha * sum over the stripes of a linear                    g [rows, R]
//   d += sum over the blocks that worked on a column's stripe       d [columns, R], the diagonal blocks only
//
// Literals: KERNEL_NAME, RANK, STRIPE, TILE_T.
// Launch: g_blocks + stripes * STRIPE * RANK / 4 / 256 blocks of 256 threads; g_blocks = linears * ceil(rows * RANK / 4 / 256). A thread adds four neighbouring floats.
// partial_blocks: the grid of rank_gradients.

#define THREADS 256

struct Linears { int start[4], end[4]; };

__device__ __forceinline__ int stripes_of(const Linears& linears, int i) { return (linears.end[i] - linears.start[i] + STRIPE - 1) / STRIPE; }

__device__ __forceinline__ void add(float4& total, const float4& more)
{
    total.x += more.x; total.y += more.y; total.z += more.z; total.w += more.w;
}

extern "C" __global__ void __launch_bounds__(THREADS)
KERNEL_NAME(float* __restrict__ d, int d_pitch, elem* __restrict__ g, int g_pitch, const float* __restrict__ partials, const float* __restrict__ g_partials,
            const Linears linears, int stripes, int partial_blocks, int g_blocks, int rows, float alpha)
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
            if (l < linear) first += stripes_of(linears, l);
            if (l == linear) count = stripes_of(linears, l);
        }
        const float* from = g_partials + (int64)first * rows * RANK + i;
        float4 total = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll 8
        for (int p = 0; p < count; p++) add(total, *reinterpret_cast<const float4*>(from + (int64)p * rows * RANK));
        *reinterpret_cast<uint2*>(g + i / RANK * g_pitch + linear * RANK + i % RANK) = make_uint2(pack2(alpha * total.x, alpha * total.y), pack2(alpha * total.z, alpha * total.w));
        return;
    }
    const int i = (blockIdx.x - g_blocks) * THREADS + threadIdx.x, stripe = i / (STRIPE * RANK / 4), local = i % (STRIPE * RANK / 4) / (RANK / 4), rank = i % (RANK / 4) * 4;
    int linear = 0, start = linears.start[0], end = linears.end[0], before = 0;
#pragma unroll
    for (int l = 1; l < 4; l++)
    {
        const int next = before + stripes_of(linears, l - 1);
        if (linear == l - 1 && stripe >= next) { linear = l; start = linears.start[l]; end = linears.end[l]; before = next; }
    }
    const int column = start + (stripe - before) * STRIPE + local;
    if (column >= end) return;

    // The blocks that had a step of this stripe: block c took the steps from c * units / blocks on.
    const int steps = (rows + TILE_T - 1) / TILE_T;
    const int64 units = (int64)stripes * steps, unit = (int64)stripe * steps;
    const int first = (int)(((unit + 1) * partial_blocks - 1) / units), last = (int)(((unit + steps) * partial_blocks - 1) / units);
    const float* from = partials + (int64)(stripe + first) * (STRIPE * RANK) + local * RANK + rank;
    float4 total = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll 4
    for (int c = 0; c <= last - first; c++) add(total, *reinterpret_cast<const float4*>(from + (int64)c * (STRIPE * RANK)));
    float4* to = reinterpret_cast<float4*>(d + (int64)column * d_pitch + linear * RANK + rank);
    float4 sum = *to;
    add(sum, total);
    *to = sum;
}
