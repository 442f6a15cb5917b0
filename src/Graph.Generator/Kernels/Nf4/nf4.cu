// Elements of a weight from NF4 codes, for each block of 64 elements with its absmax:
//   absmax = map[code8] * nested + offset, each operation rounded, or as stored in fp32        element = table[code4] * absmax, rounded once to bf16
// On targets without bf16 the bf16 value is then rounded to half: a weight means the same numbers everywhere.
// Shapes: weight elem[parts under each other, each flattened]; packed: parts, then what they point to. Launch: grid chunks, block THREADS.

// One tensor of the weight, 64 bytes; Graph.Runtime/Planning/Nf4Layout.cs has the same layout. Offsets are bytes from the start of packed, multiples of 128.
struct Part
{
    int64 codes;            //  0  u8, two codes each: the element with the even number is the high half
    int64 absmax;           //  8  u8[blocks], or f32[blocks] where nested is negative
    int64 nested;           // 16  f32 for each NESTED absmax
    int64 map;              // 24  f32[256]: what the codes of absmax stand for
    int64 start, elements;  // 32, 40  in the weight
    int first_chunk;        // 48  chunks of the parts before
    float offset;           // 52
    int64 unused;           // 56
};

#define CHUNK 8192
#define BLOCK 64
#define NESTED 256
#define VECTORS (CHUNK / 8 / THREADS)

__constant__ float table[16] =
{
    -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f, -0.18477343022823334f, -0.09105003625154495f, 0.0f,
    0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f,
};

// What is left of an fp32 value after bf16, where elem is something else.
__device__ __forceinline__ float as_bf16(float x)
{
#if ELEM_BF16
    return x;
#else
    const uint32_t bits = __float_as_uint(x);
    return x != x ? x : __uint_as_float((bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000u);
#endif
}

extern "C" __global__ void __launch_bounds__(THREADS)
dequantize_nf4(elem* __restrict__ weight, const uint8_t* __restrict__ packed, int parts, int chunks)
{
    __shared__ float values[16], absmax[CHUNK / BLOCK];
    const Part* last = reinterpret_cast<const Part*>(packed) + parts - 1;
    while (last->first_chunk > (int)blockIdx.x) last--;
    const Part part = *last;
    const int64 first = (int64)((int)blockIdx.x - part.first_chunk) * CHUNK, left = part.elements - first;
    const int count = left < CHUNK ? (int)left : CHUNK;

    // All codes are on their way before the first is needed. Behind the last code the section has room up to a multiple of 128 bytes.
    const uint8_t* codes = packed + part.codes + first / 2;
    uint32_t held[VECTORS];
#pragma unroll
    for (int k = 0; k < VECTORS; k++)
    {
        const int i = (k * THREADS + threadIdx.x) * 8;
        held[k] = i < count ? *reinterpret_cast<const uint32_t*>(codes + i / 2) : 0;
    }
    if (threadIdx.x < CHUNK / BLOCK && threadIdx.x * BLOCK < count)
    {
        const int64 block = first / BLOCK + threadIdx.x;
        float most;
        if (part.nested < 0) most = reinterpret_cast<const float*>(packed + part.absmax)[block];
        else
        {
            const float code = reinterpret_cast<const float*>(packed + part.map)[packed[part.absmax + block]];
            most = __fadd_rn(__fmul_rn(code, reinterpret_cast<const float*>(packed + part.nested)[block / NESTED]), part.offset);
        }
        absmax[threadIdx.x] = most;
    }
    if (threadIdx.x < 16) values[threadIdx.x] = table[threadIdx.x];
    __syncthreads();

    elem* to = weight + part.start + first;
    const bool aligned = reinterpret_cast<uint64>(to) % 16 == 0;
#pragma unroll
    for (int k = 0; k < VECTORS; k++)
    {
        const int i = (k * THREADS + threadIdx.x) * 8;
        if (i >= count) break;
        const float most = absmax[i / BLOCK];
        float x[8];
#pragma unroll
        for (int j = 0; j < 8; j++) x[j] = as_bf16(__fmul_rn(values[held[k] >> (j / 2 * 8 + (j % 2 == 0 ? 4 : 0)) & 15], most));
        if (aligned && i + 8 <= count) store8(to + i, x);
        else
            for (int j = 0; j < 8 && i + j < count; j++) to[i + j] = to_elem(x[j]);
    }
}
