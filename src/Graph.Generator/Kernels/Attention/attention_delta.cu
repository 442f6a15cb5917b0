// delta[t, n] = sum over d of do[t, n, d] * o[t, n, d], in fp32.
//
//   delta f32 [T, N]   o, do [T, N*D]; pitches of o and do are multiples of 8
//   grid (ceil(T / TILE_Q), N), block WARPS * 32, no shared memory
//   LANES lanes share one (t, n), as many as 8 and a power of two that divides its 16-byte chunks; a lane has every LANES-th. A thread asks for all its rows before it adds up the first.
//   The order of a sum is that of attention_delta_epilogue.cu in gemm_sm90.cu, so both give the same bits: 8 products of a chunk, chunks from left to right, lanes.
//   Eight blocks a multiprocessor leave a thread the registers for that: for more, the compiler would load half and add it up before the rest.
extern "C" __global__ void __launch_bounds__(WARPS * 32, 8)
KERNEL_NAME(float* __restrict__ delta, int delta_pitch, const elem* __restrict__ o, int o_pitch,
            const elem* __restrict__ d_o, int d_o_pitch, int rows)
{
    constexpr int D = HEAD_DIM, POWER = D / 8 & -(D / 8), LANES = POWER < 8 ? POWER : 8, CHUNKS = D / 8 / LANES, STRIDE = WARPS * 32 / LANES, ROWS = TILE_Q / STRIDE;
    static_assert(CHUNKS * LANES * 8 == D && TILE_Q % STRIDE == 0, "lanes share a head's columns evenly and the block covers its tile");

    // All heads of a tile before the next tile: blocks at work together share pages of memory.
    const int order = blockIdx.y * gridDim.x + blockIdx.x;
    const int head = order % gridDim.y, part = threadIdx.x % LANES;
    const int first = order / gridDim.y * TILE_Q + threadIdx.x / LANES;

    uint4 x_packed[ROWS][CHUNKS], y_packed[ROWS][CHUNKS];
#pragma unroll
    for (int i = 0; i < ROWS; i++)
#pragma unroll
        for (int c = 0; c < CHUNKS; c++)
        {
            const int row = first + i * STRIDE, column = head * D + (c * LANES + part) * 8;
            x_packed[i][c] = y_packed[i][c] = make_uint4(0, 0, 0, 0);
            if (row < rows)
            {
                x_packed[i][c] = *reinterpret_cast<const uint4*>(o + (int64)row * o_pitch + column);
                y_packed[i][c] = *reinterpret_cast<const uint4*>(d_o + (int64)row * d_o_pitch + column);
            }
        }

#pragma unroll
    for (int i = 0; i < ROWS; i++)
    {
        const int row = first + i * STRIDE;
        float sum = 0.0f;
#pragma unroll
        for (int c = 0; c < CHUNKS; c++)
        {
            float x[8], y[8], chunk_sum = 0.0f;
            unpack8(x_packed[i][c], x);
            unpack8(y_packed[i][c], y);
#pragma unroll
            for (int j = 0; j < 8; j++) chunk_sum += x[j] * y[j];
            sum += chunk_sum;
        }
#pragma unroll
        for (int distance = LANES / 2; distance > 0; distance /= 2) sum += __shfl_xor_sync(FULL_MASK, sum, distance);
        if (part == 0 && row < rows) delta[(int64)row * delta_pitch + head] = sum;
    }
}
