// Adds the scaled losses of a micro-batch's rows to the step's loss: loss_sum += sum over rows of loss[t] * loss_weight, in fp32.
// Rows are summed in partials of 256 by a fixed tree and the partials one after the other, so cutting the rows at multiples of 256
// into several launches gives the same bits. The host sets loss_sum to 0 before a step.
// Launch: one block of THREADS.

#define PARTIAL_ROWS 256

extern "C" __global__ void __launch_bounds__(THREADS)
loss_sum(Scalars* __restrict__ scalars, const float* __restrict__ loss, int rows)
{
    __shared__ float partials[THREADS / WARP_SIZE];
    const int warp = threadIdx.x / WARP_SIZE, lane = threadIdx.x % WARP_SIZE;
    const float weight = scalars->loss_weight;
    float total = scalars->loss_sum;
    for (int first = 0; first < rows; first += PARTIAL_ROWS * (THREADS / WARP_SIZE))
    {
        const int start = first + warp * PARTIAL_ROWS;
        float sum = 0.0f;
#pragma unroll
        for (int i = 0; i < PARTIAL_ROWS; i += WARP_SIZE)
            if (start + i + lane < rows) sum += loss[start + i + lane];
        sum = warp_sum(sum);
        if (lane == 0) partials[warp] = sum;
        __syncthreads();
        if (threadIdx.x == 0)
            for (int w = 0; w < THREADS / WARP_SIZE; w++) total += partials[w] * weight;
        __syncthreads();
    }
    if (threadIdx.x == 0) scalars->loss_sum = total;
}
