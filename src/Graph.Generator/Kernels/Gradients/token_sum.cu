// d[c] += sum over the tokens t and heads h of x[t, h * COLUMNS + c], in fp32 and in a fixed order: what a vector that all rows share has of each of them.
// A block has WIDTH columns, a thread 8 of them of every LINES-th token. Then 8 neighbouring lines are added up, and what that leaves, one after the other.
// Set by the emitter: KERNEL_NAME, COLUMNS (a multiple of 8), HEADS, WIDTH, LINES (a multiple of 8).
// Launch: one block of LINES * WIDTH / 8 threads for each WIDTH columns, side by side in y.

extern "C" __global__ void __launch_bounds__(LINES * WIDTH / 8)
KERNEL_NAME(float* __restrict__ d, const elem* __restrict__ x, int x_pitch, int rows)
{
    __shared__ float sums[LINES][WIDTH];
    const int part = threadIdx.x % (WIDTH / 8) * 8, line = threadIdx.x / (WIDTH / 8), first = blockIdx.y * WIDTH + part;
    float sum[8] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    if (first < COLUMNS)
        for (int head = 0; head < HEADS; head++)
        {
            const elem* const from = x + head * COLUMNS + first;
#pragma unroll 4
            for (int t = line; t < rows; t += LINES)
            {
                float value[8];
                load8(from + (int64)t * x_pitch, value);
#pragma unroll
                for (int i = 0; i < 8; i++) sum[i] += value[i];
            }
        }
#pragma unroll
    for (int i = 0; i < 8; i++) sums[line][part + i] = sum[i];
    __syncthreads();
    const int own = threadIdx.x % WIDTH, eight = threadIdx.x / WIDTH, column = blockIdx.y * WIDTH + own;
    float total = 0.0f;
#pragma unroll
    for (int l = 0; l < 8; l++) total += sums[eight * 8 + l][own];
    __syncthreads();
    sums[eight][own] = total;
    __syncthreads();
    if (eight > 0 || column >= COLUMNS) return;
    total = 0.0f;
#pragma unroll
    for (int l = 0; l < LINES / 8; l++) total += sums[l][own];
    d[column] += total;
}
