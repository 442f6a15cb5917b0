// What rotary position embedding turns a pair by, and the turning:
//   angle(t, i) = positions[t] * f_i,    f_i = 1 / THETA^(2i / HEAD_DIM)
// f and the angle are rounded to fp32 as transformers does; sine and cosine of that fp32 angle are right to 2^-22 for positions up to 2^20.
//
// Literals: HEAD_DIM, THETA (double).

#define HALF (HEAD_DIM / 2)

// f, computed in double precision while compiling.
struct Frequencies
{
    float f[HALF];

    static constexpr double exponential(double x)
    {
        double term = 1.0, sum = 1.0;
        for (int n = 1; n < 12; n++) sum += term *= x / 1024 / n;
        for (int i = 0; i < 10; i++) sum *= sum;
        return sum;
    }

    static constexpr double logarithm(double x)
    {
        double y = 0.0;
        for (int i = 0; i < 40; i++) y += 2.0 * (x - exponential(y)) / (x + exponential(y));      // Halley's steps
        return y;
    }

    constexpr Frequencies() : f()
    {
        const double step = logarithm(THETA) / HALF;
        for (int i = 0; i < HALF; i++) f[i] = 1.0f / (float)exponential(step * i);
    }
};

__device__ constexpr Frequencies frequencies;

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
__device__ __forceinline__ void sines_cosines(float position, int pair, float (&sine)[8], float (&cosine)[8])
{
#pragma unroll
    for (int e = 0; e < 8; e++) sine_cosine(position * frequencies.f[pair + e], sine[e], cosine[e]);
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

