// d[id] += the sum of dy[t] over the tokens t whose id it is, in fp32 and in the tokens' order: the gradient of a table that ids choose rows of. No atomics, so the same bits every time.
// A block has a token, and the whole row of d if the token is the first one of its id; it looks at THREADS ids at a time.
// Set by the emitter: KERNEL_NAME, COLUMNS (a multiple of 8), THREADS.
// Launch: a block of THREADS for each token.

#define PARTS ((COLUMNS + 8 * THREADS - 1) / (8 * THREADS))

extern "C" __global__ void __launch_bounds__(THREADS)
KERNEL_NAME(float* __restrict__ d, int d_pitch, const elem* __restrict__ dy, int dy_pitch, const int* __restrict__ ids, int rows)
{
    __shared__ uint32_t same[THREADS / WARP_SIZE];
    const int t = blockIdx.x, id = ids[t], warp = threadIdx.x / WARP_SIZE, lane = threadIdx.x % WARP_SIZE;
    int earlier = 0;
    for (int u = threadIdx.x; u < t; u += THREADS) earlier |= ids[u] == id;
    if (__syncthreads_or(earlier)) return;

    float sum[PARTS][8];
#pragma unroll
    for (int p = 0; p < PARTS; p++)
#pragma unroll
        for (int i = 0; i < 8; i++) sum[p][i] = 0.0f;
    for (int first = t; first < rows; first += THREADS)
    {
        const int u = first + threadIdx.x;
        const uint32_t found = __ballot_sync(FULL_MASK, u < rows && ids[u] == id);
        if (lane == 0) same[warp] = found;
        __syncthreads();
        for (int w = 0; w < THREADS / WARP_SIZE; w++)
            for (uint32_t left = same[w]; left != 0; left &= left - 1)
            {
                const elem* const row = dy + (int64)(first + w * WARP_SIZE + __ffs(left) - 1) * dy_pitch;
#pragma unroll
                for (int p = 0; p < PARTS; p++)
                {
                    const int column = (p * THREADS + threadIdx.x) * 8;
                    if (column >= COLUMNS) continue;
                    float value[8];
                    load8(row + column, value);
#pragma unroll
                    for (int i = 0; i < 8; i++) sum[p][i] += value[i];
                }
            }
        __syncthreads();
    }
#pragma unroll
    for (int p = 0; p < PARTS; p++)
    {
        const int column = (p * THREADS + threadIdx.x) * 8;
        if (column >= COLUMNS) continue;
        float4* const to = reinterpret_cast<float4*>(d + (int64)id * d_pitch + column);
        float4 low = to[0], high = to[1];
        low.x += sum[p][0]; low.y += sum[p][1]; low.z += sum[p][2]; low.w += sum[p][3];
        high.x += sum[p][4]; high.y += sum[p][5]; high.z += sum[p][6]; high.w += sum[p][7];
        to[0] = low;
        to[1] = high;
    }
}
