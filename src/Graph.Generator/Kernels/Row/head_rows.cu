// Row kernels whose rows are parts of a warp.

// The sum of x over LANES neighbouring threads, a power of two; each of them receives it. All threads of the warp must call.
template <int LANES>
__device__ __forceinline__ float lanes_sum(float x)
{
#pragma unroll
    for (int step = LANES / 2; step > 0; step >>= 1) x += __shfl_xor_sync(FULL_MASK, x, step);
    return x;
}

