// AdamW (adamw.cu) whose moments are 8-bit codes, quantised in blocks of 256 neighbouring elements of a matrix: value = map[code] * scale, scale the block's largest |value|.
// A moment of n elements is at segment.m (segment.v): the codes of all blocks, the last one filled up with zeros, then one fp32 scale a block. The step computes with the
// new moments in fp32; they are rounded to codes afterwards, to the nearest of the map. What is above 0 in v keeps a code above 0: a root of 0 would make the next step a leap.
// Launch: grid chunks, block ADAMW_8BIT_THREADS. A warp has a quantised block, a lane two vectors of 4 of it, 128 elements apart, so that a warp's loads and stores lie side by side;
// gradients and copies are read and written one by one where columns are no multiple of 4. Two blocks fit an SM: the loads of one are on their way while the other computes.

#define QUANTISED 256
#define LEAST 1.17549435e-38f // the smallest normal number, whose inverse is finite
#define DECADES 7
#define LEAST_BINADE 103    // exponent bits of 2^-24: no border is below
#define BINADES 25
#define PER_LANE (4 * VECTORS)
#define ADAMW_8BIT_THREADS (CHUNK / PER_LANE)
static_assert(PER_LANE * WARP_SIZE == QUANTISED, "a warp has a quantised block");

// |value| from a power of two to the next: the border between two decades in it, or 2, and how many borders lie below.
struct alignas(8) Binade
{
    float border;
    int lower;
};

// The dynamic map of bitsandbytes for 8 bits: decade i of 7 has n = 2^i (unsigned: 2^(i+1)) values 10^(i-6) * (0.1 + 0.9 * (j + 0.5) / n), with either sign for m; 0 and 1.
struct DynamicMap
{
    float value[2][QUANTISED];      // ascending; of m, of v
    Binade binade[2][BINADES];      // from 2^(i - 24) on
    float2 line[2][DECADES + 1];    // of decade i - 1 (0: below all): a value's place in it, counted from n on, is x * line.x + line.y, less 0.001

    constexpr DynamicMap() : value(), binade(), line()
    {
        int count = 0;
        float below[2] = {0.0f, 0.0f}, border[2][DECADES] = {};      // between a decade's least value and the one below it
        double decade = 1e6; // divides
        value[0][127] = value[1][0] = 0.0f;
        for (int i = 0, n = 1; i < DECADES; i++, n *= 2, decade /= 10.0)
        {
            for (int map = 0; map < 2; map++)
            {
                const int steps = map ? 2 * n : n;
                border[map][i] = 0.5f * (below[map] + (float)((0.1 + 0.45 / steps) / decade));
                below[map] = (float)((1.0 - 0.45 / steps) / decade);
                line[map][i + 1].x = (float)(steps * decade / 0.9);
                line[map][i + 1].y = (float)(steps - steps / 9.0 - 0.001);
            }
            for (int j = 0; j < n; j++, count++)
            {
                const float magnitude = (float)((0.1 + 0.9 * (j + 0.5) / n) / decade);
                value[0][128 + count] = magnitude;
                value[0][126 - count] = -magnitude;
                for (int h = 0; h < 2; h++) value[1][1 + 2 * count + h] = (float)((0.1 + 0.9 * (2 * j + h + 0.5) / (2 * n)) / decade);
            }
        }
        value[0][255] = value[1][255] = 1.0f;
        float from = 1.0f / (1 << 24);
        for (int i = 0; i < BINADES; i++, from *= 2.0f)
            for (int map = 0; map < 2; map++)
            {
                int lower = 0;
                while (lower < DECADES && border[map][lower] < from) lower++;
                binade[map][i].border = lower < DECADES && border[map][lower] < 2.0f * from ? border[map][lower] : 2.0f;
                binade[map][i].lower = lower;
            }
    }
};

__device__ constexpr DynamicMap dynamic_map;

// What is looked up by an element's own index, in shared memory.
struct Lookup
{
    float map[2][QUANTISED], middle[2][QUANTISED];      // middle: between a code's value and the next one's; of the last code, infinity
    float2 line[2][DECADES + 1];
    Binade binade[2][BINADES];
};

// The code nearest to x, |x| at most 1 but for rounding; of two that are equally near the lower one. The exponent and one border tell the decade. Its values are evenly spaced and so
// are the borders of what is nearest to each: a product and a sum give |x|'s place or, because of the 0.001, the one before, and one look at the middle says which.
template <int MAP> // 0: of m, with either sign; 1: of v
__device__ __forceinline__ uint32_t nearest(const Lookup& lookup, float x)
{
    const float size = fabsf(x);
    const Binade binade = lookup.binade[MAP][max((int)(__float_as_uint(size) >> 23) - LEAST_BINADE, 0)];
    const int decades = binade.lower + (size > binade.border);
    const float2 line = lookup.line[MAP][decades];
    const int first = (1 + MAP) << decades >> 1, place = max(min((int)(size * line.x + line.y), 2 * first - 1), first);
    if (MAP == 1) return place - 1 + (x > lookup.middle[1][place - 1]);
    const int code = x < 0.0f ? 126 - place : 127 + place;      // of a negative x the one after: its middle is below it
    return max(code, 0) + (code >= 0 && x > lookup.middle[0][max(code, 0)]);
}

// The largest |value| of a warp's block.
__device__ __forceinline__ float largest(const float (&x)[PER_LANE])
{
    float most = 0.0f;
#pragma unroll
    for (int e = 0; e < PER_LANE; e++) most = fmaxf(most, fabsf(x[e]));
    return warp_max(most);
}

__device__ __forceinline__ void unpack4(float4 vector, float* x)
{
    x[0] = vector.x;
    x[1] = vector.y;
    x[2] = vector.z;
    x[3] = vector.w;
}

extern "C" __global__ void __launch_bounds__(ADAMW_8BIT_THREADS, 2)
adamw_8bit(const Segment* __restrict__ segments, int segment_count, const Scalars* __restrict__ scalars, int chunks)
{
    __shared__ Lookup lookup;
    {
        const int map = threadIdx.x / QUANTISED, code = threadIdx.x % QUANTISED;
        const float value = dynamic_map.value[map][code];
        lookup.map[map][code] = value;
        lookup.middle[map][code] = code < QUANTISED - 1 ? 0.5f * (value + dynamic_map.value[map][code + 1]) : INF;
        if (code <= DECADES) lookup.line[map][code] = dynamic_map.line[map][code];
        if (code < BINADES) lookup.binade[map][code] = dynamic_map.binade[map][code];
    }
    __syncthreads();
    const Scalars s = *scalars;
    if (s.skipped != 0.0f) return;
    const Step step = {s.clip_coefficient, 1.0f - s.lr * s.weight_decay, s.lr / s.bias_correction1, 1.0f / s.sqrt_bias_correction2, s.eps, s.one_minus_beta1, s.beta2, s.one_minus_beta2};

    int first, last;
    const Segment segment = find_segment(segments, segment_count, blockIdx.x, first, last);
    const int block = (first + threadIdx.x / WARP_SIZE * QUANTISED) / QUANTISED, start = block * QUANTISED + threadIdx.x % WARP_SIZE * 4;
    if (block * QUANTISED >= last) return;
    const int64 codes = (int64)((segment.rows * segment.cols + QUANTISED - 1) / QUANTISED) * QUANTISED;
    uint8_t* const m_codes = reinterpret_cast<uint8_t*>(segment.m);
    uint8_t* const v_codes = reinterpret_cast<uint8_t*>(segment.v);
    float* const m_scale = reinterpret_cast<float*>(m_codes + codes) + block;
    float* const v_scale = reinterpret_cast<float*>(v_codes + codes) + block;
    const bool vectors = segment.cols % 4 == 0;

    const float m_old = *m_scale, v_old = *v_scale;
    uint32_t m_read[VECTORS], v_read[VECTORS];
    float p[PER_LANE], grad[PER_LANE], m[PER_LANE], v[PER_LANE];
#pragma unroll
    for (int k = 0; k < VECTORS; k++)
    {
        const int i = start + k * WARP_SIZE * 4;
        m_read[k] = *reinterpret_cast<const uint32_t*>(m_codes + i);
        v_read[k] = *reinterpret_cast<const uint32_t*>(v_codes + i);
        if (vectors && i < last)
        {
            const int row = i / segment.cols;
            unpack4(*reinterpret_cast<const float4*>(segment.p + i), p + 4 * k);
            unpack4(*reinterpret_cast<const float4*>(segment.grad + (int64)row * segment.grad_pitch + (i - row * segment.cols)), grad + 4 * k);
        }
        else
#pragma unroll
            for (int e = 0; e < 4; e++)
            {
                const bool inside = i + e < last;
                p[4 * k + e] = inside ? segment.p[i + e] : 0.0f;
                grad[4 * k + e] = inside ? segment.grad[(int64)((i + e) / segment.cols) * segment.grad_pitch + (i + e) % segment.cols] : 0.0f;
            }
    }
#pragma unroll
    for (int k = 0; k < VECTORS; k++)
    {
        const int i = start + k * WARP_SIZE * 4;
#pragma unroll
        for (int e = 0; e < 4; e++)
        {
            const int at = 4 * k + e;
            const bool inside = i + e < last;
            m[at] = inside ? lookup.map[0][m_read[k] >> 8 * e & 255] * m_old : 0.0f;
            v[at] = inside ? lookup.map[1][v_read[k] >> 8 * e & 255] * v_old : 0.0f;
            adamw_element(p[at], m[at], v[at], grad[at], step);
        }
        if (vectors && i < last)
        {
            const int row = i / segment.cols;
            *reinterpret_cast<float4*>(segment.p + i) = make_float4(p[4 * k], p[4 * k + 1], p[4 * k + 2], p[4 * k + 3]);
            *reinterpret_cast<uint2*>(segment.copy + (int64)row * segment.copy_pitch + (i - row * segment.cols)) =
                make_uint2(pack2(p[4 * k], p[4 * k + 1]), pack2(p[4 * k + 2], p[4 * k + 3]));
        }
        else
#pragma unroll
            for (int e = 0; e < 4; e++)
                if (i + e < last)
                {
                    segment.p[i + e] = p[4 * k + e];
                    segment.copy[(int64)((i + e) / segment.cols) * segment.copy_pitch + (i + e) % segment.cols] = to_elem(p[4 * k + e]);
                }
    }

    const float m_new = largest(m), v_new = largest(v), m_inverse = 1.0f / fmaxf(m_new, LEAST), v_inverse = 1.0f / fmaxf(v_new, LEAST);
#pragma unroll
    for (int k = 0; k < VECTORS; k++)
    {
        const int i = start + k * WARP_SIZE * 4;
        uint32_t m_written = 0, v_written = 0;
#pragma unroll
        for (int e = 0; e < 4; e++)
        {
            const int at = 4 * k + e;
            const bool inside = i + e < last;
            if (inside && m_new > 0.0f) m_written |= nearest<0>(lookup, m[at] * m_inverse) << 8 * e;
            if (inside && v_new > 0.0f) v_written |= max(nearest<1>(lookup, v[at] * v_inverse), v[at] > 0.0f ? 1u : 0u) << 8 * e;
        }
        *reinterpret_cast<uint32_t*>(m_codes + i) = m_written;
        *reinterpret_cast<uint32_t*>(v_codes + i) = v_written;
    }
    if (threadIdx.x % WARP_SIZE == 0)
    {
        *m_scale = m_new;
        *v_scale = v_new;
    }
}
