// Row kernels with reductions: one block holds a row, 8 neighbouring columns a thread.

// 8 elems as they are stored; p is 16-byte aligned.
__device__ __forceinline__ uint4 packed8(const elem* p)
{
    return *reinterpret_cast<const uint4*>(p);
}

// The sum of x over the block, in the order of block_sum and with one barrier instead of two. Every thread receives it and every thread must call.
// Calls must take turns between two scratch arrays of 32 floats. Then no call overwrites what another warp still reads: a warp writes an array again two calls later, after
// the barrier of the call between, and a warp arrives at that barrier after it has read the array.
__device__ __forceinline__ float row_block_sum(float x, float (&scratch)[WARP_SIZE])
{
    const int warp = threadIdx.x / WARP_SIZE, lane = threadIdx.x % WARP_SIZE;
    x = warp_sum(x);
    if (lane == 0) scratch[warp] = x;
    __syncthreads();
    return warp_sum(lane < blockDim.x / WARP_SIZE ? scratch[lane] : 0.0f);
}

