// Both products of a group of linears that read dY [rows, columns], from one read of it; R is the rank of one linear:
//   dB[n, r] = sum over t of dY[t, n] S[t, r]        G[t, r] = sum over n of dY[t, n] B[n, r]
// B is block-diagonal: the columns of linear i meet only its own RANK columns of S, G and B, which start at i * RANK. So nothing off the diagonal is computed.
//
// A block walks the steps of a unit of tokens that are its own (rank_stripes.cu), through one stripe after the other; the copies of the tiles ahead do not stop where a stripe ends. What it has of
// a stripe's dB goes to `partials`, to its unit's slot stripe + block, which grows with either; what a stripe has of G goes to `g_partials` [stripe, rows, RANK]. A wide stripe halves
// the sums of G and doubles those of dB. rank_sum.cu adds both up in order: the same bits every time, and for any rows that begin and end with a unit.
//
// Literals: KERNEL_NAME, RANK (16 or 32), TILE_T (32), UNIT, WARPS (8), TILE_N (WARPS * 64), STAGES, MOST_TILES (most tiles of a stripe).
// Launch: units * slots blocks; block WARPS * 32, dynamic shared memory STAGES * STAGE_BYTES + 2 * SUMS * 4.
// Pitches and the linears' columns are multiples of 8.

#define THREADS (WARPS * WARP_SIZE)
#define STAGE_BYTES (TILE_T * (TILE_N + RANK) * 2)
#define QUARTERS (WARPS / 2)                    // for G, a warp has 16 tokens and this share of a tile's columns
#define QUARTER (TILE_N / QUARTERS)
#define SUMS (QUARTERS * TILE_T * RANK)         // floats of G's sums of one step; two steps are in shared memory
#define TILE_SUMS (TILE_N * RANK)               // floats of dB's sums of one tile column

static_assert(TILE_T == 32 && TILE_N == WARPS * 64, "two tiles of 16 tokens; a warp has 64 columns of dB");
static_assert(MOST_TILES * TILE_N * RANK * 2 <= STAGE_BYTES, "B of a stripe passes through one stage");

// As copy16. `policy`: dY leaves L2 before the partial sums do. The product after this reads dY again, but it is mostly gone by then.
__device__ __forceinline__ void copy16_of_dy(uint32_t shared, const elem* global, bool valid, uint64 policy)
{
    asm volatile("cp.async.cg.shared.global.L2::cache_hint.L2::128B [%0], [%1], 16, %2, %3;" :: "r"(shared), "l"(__cvta_generic_to_global(global)), "r"(valid ? 16 : 0), "l"(policy) : "memory");
}

// The tile of this number, or the first one of its step.
__device__ __forceinline__ int64 step_start(const Linears& linears, int width, int steps, int64 tile)
{
    const Stripe stripe(linears, width, (int)(tile / steps));
    return tile - (tile - (int64)stripe.tile * steps) % stripe.tiles;
}

extern "C" __global__ void __launch_bounds__(THREADS)
KERNEL_NAME(float* __restrict__ partials, float* __restrict__ g_partials, const elem* __restrict__ dy, int dy_pitch, const elem* __restrict__ s, int s_pitch,
            const elem* __restrict__ b, int b_pitch, const Linears linears, int tile_columns, int width, int slots, int rows)
{
    // rank_sum may take its place on the multiprocessors; it waits for this grid's end by itself.
    asm volatile("griddepcontrol.launch_dependents;");
    extern __shared__ __align__(1024) uint8_t stages[];
    const uint32_t shared = shared_address(stages);
    float* g_sums = reinterpret_cast<float*>(stages + STAGES * STAGE_BYTES);
    const int warp = threadIdx.x / WARP_SIZE, lane = threadIdx.x % WARP_SIZE;
    const int down_row = lane % 16, down_chunk = lane / 16, along_row = lane % 8 + lane / 16 * 8, along_chunk = lane / 8 % 2;
    const int half_tile = warp % 2 * 16, quarter = warp / 2;
    uint64 policy = 0;
    asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));

    const int unit_index = blockIdx.x / slots, block = blockIdx.x % slots;
    const Unit unit(unit_index, rows, tile_columns, width, slots);
    if (block >= unit.blocks) return;
    const int steps = unit.steps;
    const int64 tiles = (int64)tile_columns * steps;
    const int64 begin = step_start(linears, width, steps, block * tiles / unit.blocks);
    const int64 end = block + 1 == unit.blocks ? tiles : step_start(linears, width, steps, (block + 1) * tiles / unit.blocks);
    dy += (int64)unit.token * dy_pitch;
    s += (int64)unit.token * s_pitch;
    g_partials += (int64)unit.token * RANK;
    partials += (int64)unit_index * (stripes_of(linears, width) + slots) * (width * TILE_SUMS);
    Stripe at(linears, width, (int)(begin / steps));
    int left = (int)(end - begin), step = (int)(begin - (int64)at.tile * steps) / at.tiles;     // tiles; step of the stripe

    // The copies run STAGES - 1 tiles ahead; a stage is filled again after the barrier behind its use.
    Stripe ahead = at;
    int ahead_left = left, ahead_step = step, ahead_tile = 0, fill = 0, use = 0;
    auto fetch = [&]()
    {
        if (ahead_left > 0)
        {
            const uint32_t stage = shared + fill * STAGE_BYTES;
            const int row = threadIdx.x / (TILE_N / 8), chunk = threadIdx.x % (TILE_N / 8), token = ahead_step * TILE_T, column = ahead.column + ahead_tile * TILE_N + chunk * 8;
            const elem* from = dy + (int64)(token + row) * dy_pitch + column;
#pragma unroll
            for (int i = 0; i < TILE_T; i += 4)
                copy16_of_dy(stage + swizzle<TILE_N>(i + row, chunk), from + i * dy_pitch, token + i + row < unit.tokens && column < ahead.end, policy);
            // Only a step's first tile brings S.
            if (ahead_tile == 0)
                for (int i = threadIdx.x; i < TILE_T * RANK / 8; i += THREADS)
                {
                    const int r = i / (RANK / 8), c = i % (RANK / 8);
                    copy16(stage + TILE_T * TILE_N * 2 + swizzle<RANK>(r, c), s + (int64)(token + r) * s_pitch + ahead.linear * RANK + c * 8, token + r < unit.tokens);
                }
            ahead_left--;
            if (++ahead_tile == ahead.tiles)
            {
                ahead_tile = 0;
                if (++ahead_step == steps)
                {
                    ahead_step = 0;
                    ahead = Stripe(linears, width, ahead.tile + ahead.tiles);
                }
            }
        }
        copy_commit();
        fill = fill + 1 == STAGES ? 0 : fill + 1;
    };
    // B of a stripe, zeros beyond its linear, into a stage that nothing is in.
    auto fetch_b = [&](const Stripe& of, uint32_t stage)
    {
        for (int i = threadIdx.x; i < of.tiles * TILE_N * RANK / 8; i += THREADS)
        {
            const int n = i / (RANK / 8), chunk = i % (RANK / 8);
            copy16(stage + swizzle<RANK>(n, chunk), b + (int64)(of.column + n) * b_pitch + of.linear * RANK + chunk * 8, of.column + n < of.end);
        }
        copy_commit();
    };

    fetch_b(at, shared + (STAGES - 1) * STAGE_BYTES);
#pragma unroll
    for (int i = 0; i < STAGES - 1; i++) fetch();
    copy_wait<STAGES - 1>();
    while (true)
    {
        // B of this warp's share, as fragments that stay: G is 16 tokens of the step, summed over a quarter of every tile. The next fetch, after a barrier, overwrites B's stage.
        __syncthreads();
        uint32_t b_fragment[MOST_TILES][QUARTER / 16][RANK / 16][4];
#pragma unroll
        for (int tile = 0; tile < MOST_TILES; tile++)
            if (tile < at.tiles)
#pragma unroll
                for (int k = 0; k < QUARTER / 16; k++)
#pragma unroll
                    for (int j = 0; j < RANK / 16; j++)
                        ldmatrix_x4_trans(b_fragment[tile][k][j], shared + fill * STAGE_BYTES + swizzle<RANK>(tile * TILE_N + quarter * QUARTER + k * 16 + down_row, j * 2 + down_chunk));

        // G of a step: the quarters together.
        auto store_g = [&](int of)
        {
            const float* sums = g_sums + of % 2 * SUMS;
            const int token = of * TILE_T;
            float* out = g_partials + ((int64)at.index * rows + token) * RANK;
            for (int i = threadIdx.x * 2; i < TILE_T * RANK; i += THREADS * 2)
            {
                float2 total = make_float2(0.0f, 0.0f);
#pragma unroll
                for (int q = 0; q < QUARTERS; q++)
                {
                    const float2 more = *reinterpret_cast<const float2*>(sums + q * (TILE_T * RANK) + i);
                    total.x += more.x; total.y += more.y;
                }
                if (token + i / RANK < unit.tokens) *reinterpret_cast<float2*>(out + i) = total;
            }
        };

        float sum[MOST_TILES][4][RANK / 8][4] = {};
        const int first = step, stop = min(steps, step + left / at.tiles);
        for (; step < stop; step++)
        {
            float g[RANK / 8][4] = {};
            uint32_t s_fragment[TILE_T / 16][RANK / 16][4];
#pragma unroll
            for (int tile = 0; tile < MOST_TILES; tile++)
            {
                if (tile >= at.tiles) break;
                copy_wait<STAGES - 2>();
                __syncthreads();
                fetch();
                const uint32_t stage = shared + use * STAGE_BYTES;
                use = use + 1 == STAGES ? 0 : use + 1;
                if (tile == 0)
                {
                    if (step > first) store_g(step - 1);
#pragma unroll
                    for (int k = 0; k < TILE_T / 16; k++)
#pragma unroll
                        for (int j = 0; j < RANK / 16; j++) ldmatrix_x4_trans(s_fragment[k][j], stage + TILE_T * TILE_N * 2 + swizzle<RANK>(k * 16 + down_row, j * 2 + down_chunk));
                }
#pragma unroll
                for (int k = 0; k < TILE_T / 16; k++)
#pragma unroll
                    for (int i = 0; i < 4; i++)
                    {
                        uint32_t dy_fragment[4];
                        ldmatrix_x4_trans(dy_fragment, stage + swizzle<TILE_N>(k * 16 + along_row, warp * 8 + i * 2 + along_chunk));
#pragma unroll
                        for (int j = 0; j < RANK / 8; j++) mma_m16n8k16(sum[tile][i][j], dy_fragment, s_fragment[k][j / 2][j % 2 * 2], s_fragment[k][j / 2][j % 2 * 2 + 1]);
                    }
#pragma unroll
                for (int k = 0; k < QUARTER / 16; k++)
                {
                    uint32_t dy_fragment[4];
                    ldmatrix_x4(dy_fragment, stage + swizzle<TILE_N>(half_tile + down_row, quarter * (QUARTER / 8) + k * 2 + down_chunk));
#pragma unroll
                    for (int j = 0; j < RANK / 8; j++) mma_m16n8k16(g[j], dy_fragment, b_fragment[tile][k][j / 2][j % 2 * 2], b_fragment[tile][k][j / 2][j % 2 * 2 + 1]);
                }
            }
            float* sums = g_sums + step % 2 * SUMS + quarter * (TILE_T * RANK);
#pragma unroll
            for (int j = 0; j < RANK / 8; j++)
#pragma unroll
                for (int half = 0; half < 2; half++)
                    *reinterpret_cast<float2*>(sums + (half_tile + half * 8 + lane / 4) * RANK + j * 8 + lane % 4 * 2) = make_float2(g[j][half * 2], g[j][half * 2 + 1]);
        }
        __syncthreads();

        // The stage that was used last is empty: B of the next stripe comes while this one's sums go.
        left -= (stop - first) * at.tiles;
        const Stripe next(linears, width, at.tile + at.tiles);
        if (left > 0) fetch_b(next, shared + fill * STAGE_BYTES);
        store_g(stop - 1);
        float* out = partials + (int64)(at.index + block) * (width * TILE_SUMS);
#pragma unroll
        for (int tile = 0; tile < MOST_TILES; tile++)
            if (tile < at.tiles)
#pragma unroll
                for (int i = 0; i < 4; i++)
#pragma unroll
                    for (int j = 0; j < RANK / 8; j++)
#pragma unroll
                        for (int half = 0; half < 2; half++)
                            *reinterpret_cast<float2*>(out + tile * TILE_SUMS + (warp * 64 + i * 16 + half * 8 + lane / 4) * RANK + j * 8 + lane % 4 * 2) =
                                make_float2(sum[tile][i][j][half * 2], sum[tile][i][j][half * 2 + 1]);
        if (left == 0) break;
        at = next;
        step = 0;
        copy_wait<0>();
    }
}
