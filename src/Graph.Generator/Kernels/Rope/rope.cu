// Rotary position embedding in place on x [rows, HEADS * HEAD_DIM]: the pairs (i, i + HEAD_DIM/2) of every head turn by
//   angle(t, i) = positions[t] * f_i        (rotation.cu)
// INVERSE 1 turns back, which is the backward pass. Products in fp32, one rounding.
//
// Literals: HEADS, INVERSE, TILE_ROWS (tokens per block), TILE_HEADS (heads per block), KERNEL_NAME, and rotation.cu's.
// Launch: grid (ceil(rows / TILE_ROWS), ceil(HEADS / TILE_HEADS)), block THREADS. A thread has 8 pairs of one token in TILE_HEADS heads: it asks for all of them, then
// computes its sines, which takes about as long as the loads.

#define THREADS_PER_ROW (HALF / 8)
#define THREADS (TILE_ROWS * THREADS_PER_ROW)

static_assert(HEAD_DIM % 16 == 0, "a thread moves 8 neighbouring elems of each half");

// Four blocks per multiprocessor: for more, the compiler would save registers and move loads behind the sines.
extern "C" __global__ void __launch_bounds__(THREADS, 4)
KERNEL_NAME(elem* __restrict__ x, int pitch, const int* __restrict__ positions, const float* __restrict__ table, int rows)
{
    // All heads of a tile of tokens before the next tile: blocks at work together share pages of memory.
    const int order = blockIdx.y * gridDim.x + blockIdx.x;
    const int row = order / gridDim.y * TILE_ROWS + threadIdx.x / THREADS_PER_ROW;
    const int first_head = order % gridDim.y * TILE_HEADS;
    const int pair = threadIdx.x % THREADS_PER_ROW * 8;
    if (row >= rows) return;

    elem* const head = x + (int64)row * pitch + first_head * HEAD_DIM + pair;
    uint4 packed[TILE_HEADS][2];
#pragma unroll
    for (int h = 0; h < TILE_HEADS; h++)
        if (HEADS % TILE_HEADS == 0 || first_head + h < HEADS)
        {
            packed[h][0] = *reinterpret_cast<const uint4*>(head + h * HEAD_DIM);
            packed[h][1] = *reinterpret_cast<const uint4*>(head + h * HEAD_DIM + HALF);
        }

    const float position = (float)positions[row];
    float sine[8], cosine[8];
    sines_cosines(table, position, pair, sine, cosine);
    if (INVERSE)
#pragma unroll
        for (int e = 0; e < 8; e++) sine[e] = -sine[e];

#pragma unroll
    for (int h = 0; h < TILE_HEADS; h++)
        if (HEADS % TILE_HEADS == 0 || first_head + h < HEADS)
        {
            float first[8], second[8];
            unpack8(packed[h][0], first);
            unpack8(packed[h][1], second);
            turn(first, second, sine, cosine);
            store8(head + h * HEAD_DIM, first);
            store8(head + h * HEAD_DIM + HALF, second);
        }
}
