// D[r, c] = D[r, c] + partials[0][r, c] + partials[1][r, c] + ..., in fp32 and from left to right: what a product over tokens has for each unit of them, added to an adapter's gradient.
// So cutting the tokens at multiples of a unit into several launches gives the same bits.
//
//   d f32, pitch d_pitch; partials f32, dense rows of `columns`, one matrix after the other up to `end`; columns, pitch and addresses are multiples of 4 floats
//   rows: vectors of four neighbouring columns, which is what a thread has. It asks for eight units before it adds the first.
// Launch: ceil(rows / THREADS) blocks of THREADS.

extern "C" __global__ void __launch_bounds__(THREADS)
add_units(float* __restrict__ d, int d_pitch, const float* __restrict__ partials, int columns, const float* __restrict__ end, int rows)
{
    const int vector = blockIdx.x * THREADS + threadIdx.x;
    if (vector >= rows) return;
    const int64 at = (int64)vector * 4, size = (int64)rows * 4;
    float4* const to = reinterpret_cast<float4*>(d + at / columns * d_pitch + at % columns);
    float4 sum = *to;
    for (const float* from = partials + at; from < end; from += 8 * size)
    {
        float4 more[8];
#pragma unroll
        for (int u = 0; u < 8; u++)
            if (from + u * size < end) more[u] = *reinterpret_cast<const float4*>(from + u * size);
#pragma unroll
        for (int u = 0; u < 8; u++)
            if (from + u * size < end)
            {
                sum.x += more[u].x; sum.y += more[u].y; sum.z += more[u].z; sum.w += more[u].w;
            }
    }
    *to = sum;
}
