// AdamW (adamw.cu) whose moments are 8-bit codes, quantised in blocks of 256 neighbouring elements of a matrix: value = map[code] * scale, scale the block's largest |value|.
// A moment of n elements is at segment.m (segment.v): the codes of all blocks, the last one filled up with zeros, then one fp32 scale a block. The step computes with the
// new moments in fp32; they are rounded to codes afterwards, to the nearest of the map. What is above 0 in v keeps a code above 0: a root of 0 would make the next step a leap.
// Launch: grid chunks, block ADAMW_8BIT_THREADS. A warp has a quantised block; a lane has every 32nd element of it, so that a warp's loads and stores lie side by side whatever
// the columns are.

#define QUANTISED 256
#define LEAST 1.17549435e-38f // the smallest normal number, whose inverse is finite
#define PER_LANE (QUANTISED / WARP_SIZE)
#define ADAMW_8BIT_THREADS (CHUNK / PER_LANE)

// The dynamic map of bitsandbytes for 8 bits: decade i of 7 has n = 2^i (unsigned: 2^(i+1)) values 10^(i-6) * (0.1 + 0.9 * (j + 0.5) / n), with either sign for m; 0 and 1.
struct DynamicMap
{
    float value[2][QUANTISED];      // ascending; of m, of v

    constexpr DynamicMap() : value()
    {
        int count = 0;
        value[0][127] = value[1][0] = 0.0f;
        for (int i = 0, n = 1; i < 7; i++, n *= 2)
        {
            double decade = 1.0;
            for (int k = i; k < 6; k++) decade *= 10.0;
            for (int j = 0; j < n; j++, count++)
            {
                const float magnitude = (float)((0.1 + 0.9 * (j + 0.5) / n) / decade);
                value[0][128 + count] = magnitude;
                value[0][126 - count] = -magnitude;
                for (int h = 0; h < 2; h++) value[1][1 + 2 * count + h] = (float)((0.1 + 0.9 * (2 * j + h + 0.5) / (2 * n)) / decade);
            }
        }
        value[0][255] = value[1][255] = 1.0f;
    }
};

__device__ constexpr DynamicMap dynamic_map;

// What quantising looks up, in shared memory.
struct Lookup
{
    float map[2][QUANTISED], middle[2][QUANTISED];      // middle: between a code's value and the next one's; of the last code, infinity
    float scale[7];                                     // 10^(6 - i) of decade i
};

// The code nearest to x, |x| at most 1 but for rounding; of two that are equally near the lower one. The decade's powers of ten and its even steps say about which, middles say which.
template <int MAP> // 0: of m, with either sign; 1: of v
__device__ __forceinline__ uint32_t nearest(const Lookup& lookup, float x)
{
    const float size = fabsf(x);
    const int decade = (size > 1e-6f) + (size > 1e-5f) + (size > 1e-4f) + (size > 1e-3f) + (size > 1e-2f) + (size > 1e-1f), steps = (1 + MAP) << decade;
    const int step = min(max((int)((size * lookup.scale[decade] - 0.1f) * (steps / 0.9f)), 0), steps - 1);
    int code = MAP ? steps - 1 + step : x < 0.0f ? 127 - steps - step : 127 + steps + step;
    code = max(code, 0);
    while (x > lookup.middle[MAP][code]) code++;
    while (code > 0 && x <= lookup.middle[MAP][code - 1]) code--;
    return code;
}

// The largest |value| of a warp's block.
__device__ __forceinline__ float largest(const float (&x)[PER_LANE])
{
    float most = 0.0f;
#pragma unroll
    for (int e = 0; e < PER_LANE; e++) most = fmaxf(most, fabsf(x[e]));
    return warp_max(most);
}

extern "C" __global__ void __launch_bounds__(ADAMW_8BIT_THREADS)
adamw_8bit(const Segment* __restrict__ segments, int segment_count, const Scalars* __restrict__ scalars, int chunks)
{
    __shared__ Lookup lookup;
    {
        const int map = threadIdx.x / QUANTISED, code = threadIdx.x % QUANTISED;
        const float value = dynamic_map.value[map][code];
        lookup.map[map][code] = value;
        lookup.middle[map][code] = code < QUANTISED - 1 ? 0.5f * (value + dynamic_map.value[map][code + 1]) : INF;
        if (threadIdx.x < 7)
        {
            float scale = 1.0f;
            for (int i = threadIdx.x; i < 6; i++) scale *= 10.0f;
            lookup.scale[threadIdx.x] = scale;
        }
    }
    __syncthreads();
    const Scalars s = *scalars;
    if (s.skipped != 0.0f) return;
    const Step step = {s.clip_coefficient, 1.0f - s.lr * s.weight_decay, s.lr / s.bias_correction1, 1.0f / s.sqrt_bias_correction2, s.eps, s.one_minus_beta1, s.beta2, s.one_minus_beta2};

    int first, last;
    const Segment segment = find_segment(segments, segment_count, blockIdx.x, first, last);
    const int block = (first + threadIdx.x / WARP_SIZE * QUANTISED) / QUANTISED, start = block * QUANTISED + threadIdx.x % WARP_SIZE;
    if (block * QUANTISED >= last) return;
    const int64 codes = (int64)((segment.rows * segment.cols + QUANTISED - 1) / QUANTISED) * QUANTISED;
    uint8_t* const m_codes = reinterpret_cast<uint8_t*>(segment.m);
    uint8_t* const v_codes = reinterpret_cast<uint8_t*>(segment.v);
    float* const m_scale = reinterpret_cast<float*>(m_codes + codes) + block;
    float* const v_scale = reinterpret_cast<float*>(v_codes + codes) + block;

    const float m_old = *m_scale, v_old = *v_scale;
    float p[PER_LANE], m[PER_LANE], v[PER_LANE], grad[PER_LANE];
    int64 copy[PER_LANE];
#pragma unroll
    for (int e = 0; e < PER_LANE; e++)
    {
        const int i = start + e * WARP_SIZE;
        p[e] = m[e] = v[e] = grad[e] = 0.0f;
        if (i >= last) continue;
        const int row = i / segment.cols, col = i - row * segment.cols;
        copy[e] = (int64)row * segment.copy_pitch + col;
        p[e] = segment.p[i];
        m[e] = lookup.map[0][m_codes[i]] * m_old;
        v[e] = lookup.map[1][v_codes[i]] * v_old;
        grad[e] = segment.grad[(int64)row * segment.grad_pitch + col];
    }
#pragma unroll
    for (int e = 0; e < PER_LANE; e++)
    {
        const int i = start + e * WARP_SIZE;
        if (i >= last) continue;
        adamw_element(p[e], m[e], v[e], grad[e], step);
        segment.p[i] = p[e];
        segment.copy[copy[e]] = to_elem(p[e]);
    }

    const float m_new = largest(m), v_new = largest(v), m_inverse = 1.0f / fmaxf(m_new, LEAST), v_inverse = 1.0f / fmaxf(v_new, LEAST);
#pragma unroll
    for (int e = 0; e < PER_LANE; e++)
    {
        const int i = start + e * WARP_SIZE;
        if (i >= last) continue;
        m_codes[i] = (uint8_t)(m_new > 0.0f ? nearest<0>(lookup, m[e] * m_inverse) : 0);
        v_codes[i] = (uint8_t)(v_new > 0.0f ? max(nearest<1>(lookup, v[e] * v_inverse), v[e] > 0.0f ? 1u : 0u) : 0);
    }
    if (threadIdx.x % WARP_SIZE == 0)
    {
        *m_scale = m_new;
        *v_scale = v_new;
    }
}
