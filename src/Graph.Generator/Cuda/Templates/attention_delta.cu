// delta[t, n] = sum over d of do[t, n, d] * o[t, n, d], in fp32.
//
//   delta f32 [T, N]   o, do [T, N*D]; pitches of o and do are multiples of 8
//   grid (ceil(T / TILE_Q), N), block WARPS * 32, no shared memory
//   D / 8 lanes share one (t, n): one 16-byte load each from o and do. A thread asks for all its rows before it adds up the first.
extern "C" __global__ void __launch_bounds__(WARPS * 32)
KERNEL_NAME(float* __restrict__ delta, int delta_pitch, const elem* __restrict__ o, int o_pitch,
            const elem* __restrict__ d_o, int d_o_pitch, int rows)
{
    constexpr int D = HEAD_DIM, LANES = D / 8, STRIDE = WARPS * 32 / LANES, ROWS = TILE_Q / STRIDE;
    static_assert(LANES <= 32 && TILE_Q % STRIDE == 0, "a head row fits a warp and the block covers its tile");

    // All heads of a tile before the next tile: blocks at work together share pages of memory.
    const int order = blockIdx.y * gridDim.x + blockIdx.x;
    const int head = order % gridDim.y, part = threadIdx.x % LANES;
    const int first = order / gridDim.y * TILE_Q + threadIdx.x / LANES;

    uint4 x_packed[ROWS], y_packed[ROWS];
#pragma unroll
    for (int i = 0; i < ROWS; i++)
    {
        const int row = first + i * STRIDE;
        x_packed[i] = y_packed[i] = make_uint4(0, 0, 0, 0);
        if (row < rows)
        {
            x_packed[i] = *reinterpret_cast<const uint4*>(o + (int64)row * o_pitch + head * D + part * 8);
            y_packed[i] = *reinterpret_cast<const uint4*>(d_o + (int64)row * d_o_pitch + head * D + part * 8);
        }
    }

#pragma unroll
    for (int i = 0; i < ROWS; i++)
    {
        const int row = first + i * STRIDE;
        float x[8], y[8], sum = 0.0f;
        unpack8(x_packed[i], x);
        unpack8(y_packed[i], y);
#pragma unroll
        for (int j = 0; j < 8; j++) sum += x[j] * y[j];
#pragma unroll
        for (int step = LANES / 2; step > 0; step >>= 1) sum += __shfl_xor_sync(FULL_MASK, sum, step);
        if (part == 0 && row < rows) delta[(int64)row * delta_pitch + head] = sum;
    }
}
