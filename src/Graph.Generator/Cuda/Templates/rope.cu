// Rotary position embedding in place on x [rows, HEADS * HEAD_DIM]: the pairs (i, i + HEAD_DIM/2) of every head turn by
//   angle(t, i) = positions[t] * f_i,    f_i = 1 / THETA^(2i / HEAD_DIM)
// INVERSE 1 turns back, which is the backward pass. f and the angle are rounded to fp32 as transformers does; sine and cosine of that
// fp32 angle are right to 2^-22 for positions up to 2^20; products in fp32, one rounding.
//
// Literals: HEADS, HEAD_DIM, THETA (double), INVERSE, TILE_ROWS (tokens per block), TILE_HEADS (heads per block), KERNEL_NAME.
// Launch: grid (ceil(rows / TILE_ROWS), ceil(HEADS / TILE_HEADS)), block THREADS. A thread has 8 pairs of one token in TILE_HEADS heads: it asks for all of them, then
// computes its sines, which takes about as long as the loads.

#define HALF (HEAD_DIM / 2)
#define THREADS_PER_ROW (HALF / 8)
#define THREADS (TILE_ROWS * THREADS_PER_ROW)

static_assert(HEAD_DIM % 16 == 0, "a thread moves 8 neighbouring elems of each half");

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

// Four blocks per multiprocessor: for more, the compiler would save registers and move loads behind the sines.
extern "C" __global__ void __launch_bounds__(THREADS, 4)
KERNEL_NAME(elem* __restrict__ x, int pitch, const int* __restrict__ positions, int rows)
{
    // All heads of a tile of tokens before the next tile: blocks at work together share pages of memory.
    const int order = blockIdx.y * gridDim.x + blockIdx.x;
    const int row = order / gridDim.y * TILE_ROWS + threadIdx.x / THREADS_PER_ROW;
    const int first_head = order % gridDim.y * TILE_HEADS;
    const int pair = threadIdx.x % THREADS_PER_ROW * 8;
    if (row >= rows) return;

    elem* const head = x + (int64)row * pitch + first_head * HEAD_DIM + pair;
    uint4 packed[TILE_HEADS][2];
#pragma unroll
    for (int h = 0; h < TILE_HEADS; h++)
        if (HEADS % TILE_HEADS == 0 || first_head + h < HEADS)
        {
            packed[h][0] = *reinterpret_cast<const uint4*>(head + h * HEAD_DIM);
            packed[h][1] = *reinterpret_cast<const uint4*>(head + h * HEAD_DIM + HALF);
        }

    const float position = (float)positions[row];
    float sine[8], cosine[8];
#pragma unroll
    for (int e = 0; e < 8; e++)
    {
        sine_cosine(position * frequencies.f[pair + e], sine[e], cosine[e]);
        if (INVERSE) sine[e] = -sine[e];
    }

#pragma unroll
    for (int h = 0; h < TILE_HEADS; h++)
        if (HEADS % TILE_HEADS == 0 || first_head + h < HEADS)
        {
            float first[8], second[8], turned_first[8], turned_second[8];
            unpack8(packed[h][0], first);
            unpack8(packed[h][1], second);
#pragma unroll
            for (int e = 0; e < 8; e++)
            {
                turned_first[e] = first[e] * cosine[e] - second[e] * sine[e];
                turned_second[e] = second[e] * cosine[e] + first[e] * sine[e];
            }
            store8(head + h * HEAD_DIM, turned_first);
            store8(head + h * HEAD_DIM + HALF, turned_second);
        }
}
