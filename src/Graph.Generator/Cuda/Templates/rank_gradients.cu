// Both products of a group of linears that read dY [rows, columns], from one read of it; R is the rank of one linear:
//   dB[n, r] = sum over t of dY[t, n] S[t, r]        G[t, r] = sum over n of dY[t, n] B[n, r]
// B is block-diagonal: the columns of linear i meet only its own RANK columns of S, G and B, which start at i * RANK. So nothing off the diagonal is computed.
//
// Columns are cut into stripes of STRIPE that never cross a linear, tokens into steps of TILE_T. The (stripe, step) pairs in this order are dealt evenly to the
// blocks of the grid, so a block works on one stripe after the other. What it has of dB goes to `partials`, at slot stripe + block, which grows with either;
// what a stripe has of G goes to `g_partials` [stripe, rows, RANK]. rank_sum.cu adds both up in order: the same bits every time.
//
// Literals: KERNEL_NAME, RANK (16 or 32), TILE_T (32), WARPS (8), STAGES.
// Launch: at most stripes * ceil(rows / TILE_T) blocks, block WARPS * 32, dynamic shared memory STAGES * STAGE_BYTES + 2 * SUMS * 4. Pitches and the linears' columns are multiples of 8.

#define THREADS (WARPS * WARP_SIZE)
#define STRIPE (WARPS * 64)
#define STAGE_BYTES (TILE_T * (STRIPE + RANK) * 2)
#define QUARTERS (WARPS / 2)                    // for G, a warp has 16 tokens and this share of the stripe
#define QUARTER (STRIPE / QUARTERS)
#define SUMS (QUARTERS * TILE_T * RANK)         // floats of G's sums of one step; two steps are in shared memory

static_assert(TILE_T == 32 && STRIPE % 64 == 0, "two tiles of 16 tokens; swizzled rows");

// The columns [start, end) of dY that belong to linear i; empty from the last linear on.
struct Linears { int start[4], end[4]; };

struct Stripe
{
    int linear, column, end;
    __device__ __forceinline__ Stripe(const Linears& linears, int stripe)
    {
        linear = 0;
#pragma unroll
        for (int i = 0; i < 3; i++)
        {
            const int stripes = (linears.end[i] - linears.start[i] + STRIPE - 1) / STRIPE;
            if (linear == i && stripe >= stripes) { stripe -= stripes; linear = i + 1; }
        }
        column = linears.start[0]; end = linears.end[0];
#pragma unroll
        for (int i = 1; i < 4; i++)
            if (linear == i) { column = linears.start[i]; end = linears.end[i]; }
        column += stripe * STRIPE;
    }
};

extern "C" __global__ void __launch_bounds__(THREADS)
KERNEL_NAME(float* __restrict__ partials, float* __restrict__ g_partials, const elem* __restrict__ dy, int dy_pitch, const elem* __restrict__ s, int s_pitch,
            const elem* __restrict__ b, int b_pitch, const Linears linears, int stripes, int rows)
{
    extern __shared__ __align__(1024) uint8_t stages[];
    const uint32_t shared = shared_address(stages);
    float* g_sums = reinterpret_cast<float*>(stages + STAGES * STAGE_BYTES);
    const int warp = threadIdx.x / WARP_SIZE, lane = threadIdx.x % WARP_SIZE;
    const int down_row = lane % 16, down_chunk = lane / 16, along_row = lane % 8 + lane / 16 * 8, along_chunk = lane / 8 % 2;
    const int steps = (rows + TILE_T - 1) / TILE_T;
    const int64 units = (int64)stripes * steps;
    int unit = (int)(blockIdx.x * units / gridDim.x);
    const int last = (int)((blockIdx.x + 1) * units / gridDim.x);

    while (unit < last)
    {
        const int stripe = unit / steps, first_step = unit - stripe * steps, count = min(last - unit, steps - first_step);
        const Stripe place(linears, stripe);
        unit += count;

        auto fetch = [&](int step)
        {
            if (step < count)
            {
                const uint32_t tile = shared + step % STAGES * STAGE_BYTES;
                const int token = (first_step + step) * TILE_T;
#pragma unroll
                for (int i = 0; i < TILE_T * STRIPE / 8 / THREADS; i++)
                {
                    const int row = i * 4 + threadIdx.x / (STRIPE / 8), chunk = threadIdx.x % (STRIPE / 8), column = place.column + chunk * 8;
                    copy16(tile + swizzle<STRIPE>(row, chunk), dy + (int64)(token + row) * dy_pitch + column, token + row < rows && column < place.end);
                }
                for (int i = threadIdx.x; i < TILE_T * RANK / 8; i += THREADS)
                {
                    const int row = i / (RANK / 8), chunk = i % (RANK / 8);
                    copy16(tile + TILE_T * STRIPE * 2 + swizzle<RANK>(row, chunk), s + (int64)(token + row) * s_pitch + place.linear * RANK + chunk * 8, token + row < rows);
                }
            }
            copy_commit();
        };
#pragma unroll
        for (int step = 0; step < STAGES - 1; step++) fetch(step);

        // B of this warp's share, as fragments that stay: G is 16 tokens of the step, summed over a quarter of the stripe.
        const int half_tile = warp % 2 * 16, quarter = warp / 2;
        uint32_t b_fragment[QUARTER / 16][RANK / 8][2];
#pragma unroll
        for (int k = 0; k < QUARTER / 16; k++)
#pragma unroll
            for (int h = 0; h < 2; h++)
            {
                const int n = place.column + quarter * QUARTER + k * 16 + h * 8 + lane % 4 * 2;
                const elem* row = b + (int64)n * b_pitch + place.linear * RANK + lane / 4;
#pragma unroll
                for (int j = 0; j < RANK / 8; j++)
                    b_fragment[k][j][h] = n < place.end ? (uint32_t)row[j * 8].bits | (uint32_t)row[j * 8 + b_pitch].bits << 16 : 0;
            }
        auto store_g = [&](int step)
        {
            const float* sums = g_sums + step % 2 * SUMS;
            const int token = (first_step + step) * TILE_T;
            float* out = g_partials + ((int64)stripe * rows + token) * RANK;
            for (int i = threadIdx.x * 2; i < TILE_T * RANK; i += THREADS * 2)
            {
                float2 total = make_float2(0.0f, 0.0f);
#pragma unroll
                for (int q = 0; q < QUARTERS; q++)
                {
                    const float2 more = *reinterpret_cast<const float2*>(sums + q * (TILE_T * RANK) + i);
                    total.x += more.x; total.y += more.y;
                }
                if (token + i / RANK < rows) *reinterpret_cast<float2*>(out + i) = total;
            }
        };

        float sum[4][RANK / 8][4] = {};
        for (int step = 0; step < count; step++)
        {
            copy_wait<STAGES - 2>();
            __syncthreads();
            fetch(step + STAGES - 1);
            if (step > 0) store_g(step - 1);
            const uint32_t tile = shared + step % STAGES * STAGE_BYTES, s_tile = tile + TILE_T * STRIPE * 2;
#pragma unroll
            for (int k = 0; k < TILE_T / 16; k++)
            {
                uint32_t s_fragment[RANK / 16][4];
#pragma unroll
                for (int j = 0; j < RANK / 16; j++) ldmatrix_x4_trans(s_fragment[j], s_tile + swizzle<RANK>(k * 16 + down_row, j * 2 + down_chunk));
#pragma unroll
                for (int i = 0; i < 4; i++)
                {
                    uint32_t dy_fragment[4];
                    ldmatrix_x4_trans(dy_fragment, tile + swizzle<STRIPE>(k * 16 + along_row, warp * 8 + i * 2 + along_chunk));
#pragma unroll
                    for (int j = 0; j < RANK / 8; j++) mma_m16n8k16(sum[i][j], dy_fragment, s_fragment[j / 2][j % 2 * 2], s_fragment[j / 2][j % 2 * 2 + 1]);
                }
            }
            float g[RANK / 8][4] = {};
#pragma unroll
            for (int k = 0; k < QUARTER / 16; k++)
            {
                uint32_t dy_fragment[4];
                ldmatrix_x4(dy_fragment, tile + swizzle<STRIPE>(half_tile + down_row, quarter * (QUARTER / 8) + k * 2 + down_chunk));
#pragma unroll
                for (int j = 0; j < RANK / 8; j++) mma_m16n8k16(g[j], dy_fragment, b_fragment[k][j][0], b_fragment[k][j][1]);
            }
            float* sums = g_sums + step % 2 * SUMS + quarter * (TILE_T * RANK);
#pragma unroll
            for (int j = 0; j < RANK / 8; j++)
#pragma unroll
                for (int half = 0; half < 2; half++)
                    *reinterpret_cast<float2*>(sums + (half_tile + half * 8 + lane / 4) * RANK + j * 8 + lane % 4 * 2) = make_float2(g[j][half * 2], g[j][half * 2 + 1]);
        }
        copy_wait<0>();
        __syncthreads();
        store_g(count - 1);

        float* out = partials + (int64)(stripe + blockIdx.x) * (STRIPE * RANK);
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int j = 0; j < RANK / 8; j++)
#pragma unroll
                for (int half = 0; half < 2; half++)
                    *reinterpret_cast<float2*>(out + (warp * 64 + i * 16 + half * 8 + lane / 4) * RANK + j * 8 + lane % 4 * 2) = make_float2(sum[i][j][half * 2], sum[i][j][half * 2 + 1]);
        __syncthreads();        // the next stripe's copies and sums overwrite
    }
}
