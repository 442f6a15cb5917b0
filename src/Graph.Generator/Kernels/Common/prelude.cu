// Prelude of every kernel. NVRTC compiles the text without toolkit headers, so conversions are PTX.
// Set by the emitter before this file:
//   ELEM_BF16   1: elem is bfloat16 (sm_80 and later), 0: elem is IEEE half (any target)

typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef int int32_t;
typedef long long int64;            // not int64_t: its base type differs between compilers
typedef unsigned long long uint64;

#define WARP_SIZE 32
#define FULL_MASK 0xffffffffu
#define LOG2_E 1.4426950408889634f
#define LN_2 0.6931471805599453f
#define INF __int_as_float(0x7f800000)

// ---- elem: the stored activation type -------------------------------------------------------------

struct alignas(2) elem { uint16_t bits; };

__device__ __forceinline__ float to_float(elem x)
{
#if ELEM_BF16
    return __uint_as_float((uint32_t)x.bits << 16);
#else
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
#endif
}

// Round to nearest, ties to even.
__device__ __forceinline__ elem to_elem(float x)
{
    elem y;
#if ELEM_BF16
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
#else
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
#endif
    return y;
}

// The value a reader of the stored tensor sees.
__device__ __forceinline__ float round_elem(float x) { return to_float(to_elem(x)); }

// Two elems in one register, lo at the lower address.
__device__ __forceinline__ uint32_t pack2(float lo, float hi)
{
    uint32_t pair;
#if ELEM_BF16
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(hi), "f"(lo));
#elif __CUDA_ARCH__ >= 800
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(hi), "f"(lo));
#else
    pair = (uint32_t)to_elem(lo).bits | (uint32_t)to_elem(hi).bits << 16;
#endif
    return pair;
}

__device__ __forceinline__ float unpack_lo(uint32_t pair)
{
    return to_float(elem{(uint16_t)(pair & 0xffffu)});
}

__device__ __forceinline__ float unpack_hi(uint32_t pair)
{
#if ELEM_BF16
    return __uint_as_float(pair & 0xffff0000u);
#else
    return to_float(elem{(uint16_t)(pair >> 16)});
#endif
}

// ---- 8 values at once: p is 16-byte aligned --------------------------------------------------------

__device__ __forceinline__ void unpack8(uint4 packed, float (&x)[8])
{
    x[0] = unpack_lo(packed.x); x[1] = unpack_hi(packed.x);
    x[2] = unpack_lo(packed.y); x[3] = unpack_hi(packed.y);
    x[4] = unpack_lo(packed.z); x[5] = unpack_hi(packed.z);
    x[6] = unpack_lo(packed.w); x[7] = unpack_hi(packed.w);
}

__device__ __forceinline__ uint4 pack8(const float (&x)[8])
{
    return make_uint4(pack2(x[0], x[1]), pack2(x[2], x[3]), pack2(x[4], x[5]), pack2(x[6], x[7]));
}

__device__ __forceinline__ void load8(const elem* p, float (&x)[8])
{
    unpack8(*reinterpret_cast<const uint4*>(p), x);
}

__device__ __forceinline__ void store8(elem* p, const float (&x)[8])
{
    *reinterpret_cast<uint4*>(p) = pack8(x);
}

// ---- special functions -----------------------------------------------------------------------------

// Relative error 2^-11.
__device__ __forceinline__ float fast_tanh(float x)
{
    float y;
    asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// Relative error 2^-22; subnormal results are zero.
__device__ __forceinline__ float fast_exp2(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ float fast_exp(float x) { return fast_exp2(x * LOG2_E); }

// Absolute error 2^-22 near 1, relative elsewhere.
__device__ __forceinline__ float fast_log2(float x)
{
    float y;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// ---- reductions: a fixed tree, so the same bits every time ------------------------------------------

__device__ __forceinline__ float warp_sum(float x)
{
#pragma unroll
    for (int step = WARP_SIZE / 2; step > 0; step >>= 1) x += __shfl_xor_sync(FULL_MASK, x, step);
    return x;
}

__device__ __forceinline__ float warp_max(float x)
{
#pragma unroll
    for (int step = WARP_SIZE / 2; step > 0; step >>= 1) x = fmaxf(x, __shfl_xor_sync(FULL_MASK, x, step));
    return x;
}

// Every thread of the block receives the result. blockDim.x is a multiple of 32; scratch holds 32 floats in
// shared memory and is free again on return.
__device__ __forceinline__ float block_sum(float x, float* scratch)
{
    const int warp = threadIdx.x / WARP_SIZE, lane = threadIdx.x % WARP_SIZE;
    x = warp_sum(x);
    if (lane == 0) scratch[warp] = x;
    __syncthreads();
    x = warp_sum(lane < blockDim.x / WARP_SIZE ? scratch[lane] : 0.0f);
    __syncthreads();
    return x;
}

__device__ __forceinline__ float block_max(float x, float* scratch)
{
    const int warp = threadIdx.x / WARP_SIZE, lane = threadIdx.x % WARP_SIZE;
    x = warp_max(x);
    if (lane == 0) scratch[warp] = x;
    __syncthreads();
    x = warp_max(scratch[lane < blockDim.x / WARP_SIZE ? lane : 0]);
    __syncthreads();
    return x;
}

// ---- addresses ---------------------------------------------------------------------------------------

// The 32-bit shared-window address that ldmatrix, cp.async and st.shared take.
__device__ __forceinline__ uint32_t shared_address(const void* p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}
