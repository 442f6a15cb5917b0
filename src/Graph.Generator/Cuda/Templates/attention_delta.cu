// delta[t, n] = sum over d of do[t, n, d] * o[t, n, d], in fp32.
//
//   delta f32 [T, N]   o, do [T, N*D]; pitches of o and do are multiples of 8
//   grid (ceil(T / TILE_Q), N), block WARPS * 32, no shared memory
//   D / 8 lanes share one (t, n): one 16-byte load each from o and do.
extern "C" __global__ void __launch_bounds__(WARPS * 32)
KERNEL_NAME(float* __restrict__ delta, int delta_pitch, const elem* __restrict__ o, int o_pitch,
            const elem* __restrict__ d_o, int d_o_pitch, int rows)
{
    constexpr int D = HEAD_DIM, LANES = D / 8, STRIDE = WARPS * 32 / LANES;
    static_assert(LANES <= 32 && TILE_Q % STRIDE == 0, "a head row fits a warp and the block covers its tile");
    const int head = blockIdx.y, part = threadIdx.x % LANES;

#pragma unroll
    for (int i = 0; i < TILE_Q / STRIDE; i++)
    {
        const int row = blockIdx.x * TILE_Q + i * STRIDE + threadIdx.x / LANES;
        float sum = 0.0f;
        if (row < rows)
        {
            float x[8], y[8];
            load8(o + (int64)row * o_pitch + head * D + part * 8, x);
            load8(d_o + (int64)row * d_o_pitch + head * D + part * 8, y);
#pragma unroll
            for (int j = 0; j < 8; j++) sum += x[j] * y[j];
        }
#pragma unroll
        for (int step = LANES / 2; step > 0; step >>= 1) sum += __shfl_xor_sync(FULL_MASK, sum, step);
        if (part == 0 && row < rows) delta[(int64)row * delta_pitch + head] = sum;
    }
}
