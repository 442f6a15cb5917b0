// Rows of the tokens that have a label, side by side for the head and back. Rows are moved 16 bytes a load, four of them in flight: columns and pitches are multiples of 8.
// Launch: a warp per row, ROWS rows per block of ROWS * 32 threads.

#define IN_FLIGHT 4

// The row's 16-byte pieces; from null: zeros.
__device__ __forceinline__ void move_row(elem* __restrict__ to, const elem* __restrict__ from, int columns, int lane)
{
    const int pieces = columns / 8;
    uint4* target = reinterpret_cast<uint4*>(to);
    const uint4* source = reinterpret_cast<const uint4*>(from);
    for (int first = lane; first < pieces; first += IN_FLIGHT * WARP_SIZE)
    {
        uint4 held[IN_FLIGHT];
#pragma unroll
        for (int i = 0; i < IN_FLIGHT; i++)
            held[i] = from && first + i * WARP_SIZE < pieces ? source[first + i * WARP_SIZE] : make_uint4(0, 0, 0, 0);
#pragma unroll
        for (int i = 0; i < IN_FLIGHT; i++)
            if (first + i * WARP_SIZE < pieces) target[first + i * WARP_SIZE] = held[i];
    }
}

// x_rows[i] = x[tokens[i]], label_rows[i] = labels[tokens[i]]. Where there is no token (-1) the label is -1 and the row of x stays.
extern "C" __global__ void __launch_bounds__(ROWS * WARP_SIZE)
gather_label_rows(elem* __restrict__ x_rows, int x_rows_pitch, int* __restrict__ label_rows, const elem* __restrict__ x, int x_pitch, const int* __restrict__ labels,
                  const int* __restrict__ tokens, int columns, int rows)
{
    const int i = blockIdx.x * ROWS + threadIdx.x / WARP_SIZE, lane = threadIdx.x % WARP_SIZE;
    if (i >= rows) return;
    const int token = tokens[i];
    if (lane == 0) label_rows[i] = token < 0 ? -1 : labels[token];
    if (token >= 0) move_row(x_rows + (int64)i * x_rows_pitch, x + (int64)token * x_pitch, columns, lane);
}

// dx[t] = dx_rows[places[t]], loss[t] = losses[places[t]], zeros where there is no place (-1). dx null: losses alone.
extern "C" __global__ void __launch_bounds__(ROWS * WARP_SIZE)
scatter_label_rows(elem* __restrict__ dx, int dx_pitch, float* __restrict__ loss, const elem* __restrict__ dx_rows, int dx_rows_pitch, const float* __restrict__ losses,
                   const int* __restrict__ places, int columns, int rows)
{
    const int t = blockIdx.x * ROWS + threadIdx.x / WARP_SIZE, lane = threadIdx.x % WARP_SIZE;
    if (t >= rows) return;
    const int place = places[t];
    if (lane == 0) loss[t] = place < 0 ? 0.0f : losses[place];
    if (dx) move_row(dx + (int64)t * dx_pitch, place < 0 ? nullptr : dx_rows + (int64)place * dx_rows_pitch, columns, lane);
}
