// What rotary position embedding turns a pair by, and the turning:
//   angle(t, i) = positions[t] * f_i
// table holds the frequencies f, f32[HALF], and behind them the factor of sine and cosine, 1 unless the model's positions are scaled by YaRN. The angle is rounded to fp32
// as transformers does: at position 2^20 it is then within 2^-5 of the exact one, there as here. Sine and cosine of that fp32 angle are right to 2^-22 for positions up to 2^20.
//
// Literals: HEAD_DIM.

#define HALF (HEAD_DIM / 2)

__device__ __forceinline__ void sine_cosine(float angle, float& sine, float& cosine)
{
    // angle - k * pi/2 with pi/2 as a sum of two floats. The first step is exact: both terms are multiples of 2^-24 and the rest is below 1.
    const float k = rintf(angle * 0.636619772f);
    const float r = fmaf(k, 4.37113883e-8f, fmaf(k, -1.57079637f, angle));
    const float r2 = r * r;
    const float s = fmaf(fmaf(fmaf(fmaf(1.0f / 362880, r2, -1.0f / 5040), r2, 1.0f / 120), r2, -1.0f / 6), r2 * r, r);
    const float c = fmaf(fmaf(fmaf(fmaf(fmaf(-1.0f / 3628800, r2, 1.0f / 40320), r2, -1.0f / 720), r2, 1.0f / 24), r2, -0.5f), r2, 1.0f);
    const int quarter = (int)k;
    sine = quarter & 1 ? c : s;
    cosine = quarter & 1 ? s : c;
    if (quarter & 2) sine = -sine;
    if (quarter + 1 & 2) cosine = -cosine;
}

// Of the 8 pairs from `pair` on.
__device__ __forceinline__ void sines_cosines(const float* table, float position, int pair, float (&sine)[8], float (&cosine)[8])
{
    const float4 low = *reinterpret_cast<const float4*>(table + pair), high = *reinterpret_cast<const float4*>(table + pair + 4);
    const float f[8] = { low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w };
    const float factor = table[HALF];
#pragma unroll
    for (int e = 0; e < 8; e++)
    {
        sine_cosine(position * f[e], sine[e], cosine[e]);
        sine[e] *= factor;
        cosine[e] *= factor;
    }
}

__device__ __forceinline__ void turn(float (&first)[8], float (&second)[8], const float (&sine)[8], const float (&cosine)[8])
{
#pragma unroll
    for (int e = 0; e < 8; e++)
    {
        const float x = first[e], y = second[e];
        first[e] = x * cosine[e] - y * sine[e];
        second[e] = y * cosine[e] + x * sine[e];
    }
}

