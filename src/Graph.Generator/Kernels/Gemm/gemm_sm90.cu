// D = alpha A B on tensor cores, row-major, for sm_90a: gemm.cu's wide products of elems on TMA and wgmma.
//   LAYOUT 0 (nt)  D[m,n] = alpha * (sum_k A[m,k] B[n,k] + sum_k A2[m,k] B2[n,k])
//   LAYOUT 1 (nn)  D[m,n] = alpha * (sum_k A[m,k] B[k,n] + sum_k A2[m,k] B2[k,n])
// Two k-segments with operands of their own, in one accumulation: a linear and its adapter, Y = x W^T + S B^T and dX = dY W + G A. k2 = 0: there is one.
// Sums in fp32 over k in order, one rounding. n and every pitch are multiples of 8 elems; past an operand's end TMA reads zeros and writes nothing, so m, n and k are free otherwise.
//
//   a_map, a2_map: boxes of 64 (k) x 128 (m)     b_map, b2_map: boxes of 64 (k) x TILE_N / 2 (n), in nn 64 (n) x 64 (k)     d_map: boxes of 64 (n) x 64 (m); all with the 128-byte swizzle: panel tiles (wgmma.cu)
//   PANELS: panels of a multiplying warpgroup's sums in shared memory, a divisor of TILE_N / 64
//   grid: as many blocks as there are multiprocessors, each walks tiles; block and dynamic shared memory as GemmTiles says
//
// row_count: null, or only the first *row_count - first_row rows of D are wanted. Tiles wholly behind them are left as they are; the others are computed whole.
//
// Two warpgroups multiply 64 rows x TILE_N columns of a tile each; a warp of the third keeps STAGES k-blocks of 64 in flight, across the borders of tiles, so
// the next tile's operands arrive while this one's sums are written. TILE_N is 256, or 192, which makes other counts of tiles: an element of D is the sum of
// the same steps in the same order.
//
// EPILOGUE 1: work on D's rounded elements, tile by tile, done by the other three warps of the third warpgroup while the next tile is multiplied: the sums wait in a tile's worth of shared memory,
// for which one k-block of the pipeline makes room. The work's text is printed before this one:
//   struct Epilogue                                       where its arguments lie
//   struct Beside, load_beside(arguments, row, column)    what it reads besides D for 8 columns of a row, asked for some hundred instructions before
//   epilogue(arguments, beside, row, column, x [, y])     its outputs for those 8 columns, x being D's. PAIR p: y is the panel of 64 columns p panels further on. HALVES: x and y are the same columns
//                                                         of D's left and right half, of which a tile then holds 128 + 128. SUMS: it returns a part of a sum, and
//   store_sum(arguments, row, index, sum)                 takes what columns SUMS * index and the SUMS - 1 behind it give
// store_d 0: D is not written, because nothing else reads it or because the epilogue does it.

// d += a b^T, 64 x n x 16, n twice the number of sums a thread holds, a with k along its columns; B_ROWS: b has k along its rows.
template <bool B_ROWS>
__device__ __forceinline__ void wgmma_tile(float (&d)[96], uint64 a, uint64 b)
{
    asm volatile("{.reg .pred p; setp.ne.b32 p, %98, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n192k16.f32.bf16.bf16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
                 "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,"
                 "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95}, %96, %97, p, 1, 1, 0, %99;}"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
                   "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),
                   "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]),
                   "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63]),
                   "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), "+f"(d[71]), "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), "+f"(d[77]), "+f"(d[78]), "+f"(d[79]),
                   "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87]), "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), "+f"(d[91]), "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95])
                 : "l"(a), "l"(b), "r"(1), "n"(B_ROWS ? 1 : 0));
}

template <bool B_ROWS>
__device__ __forceinline__ void wgmma_tile(float (&d)[128], uint64 a, uint64 b)
{
    asm volatile("{.reg .pred p; setp.ne.b32 p, %130, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
                 "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,"
                 "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95,"
                 "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127}, %128, %129, p, 1, 1, 0, %131;}"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
                   "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),
                   "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]),
                   "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63]),
                   "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), "+f"(d[71]), "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), "+f"(d[77]), "+f"(d[78]), "+f"(d[79]),
                   "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87]), "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), "+f"(d[91]), "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95]),
                   "+f"(d[96]), "+f"(d[97]), "+f"(d[98]), "+f"(d[99]), "+f"(d[100]), "+f"(d[101]), "+f"(d[102]), "+f"(d[103]), "+f"(d[104]), "+f"(d[105]), "+f"(d[106]), "+f"(d[107]), "+f"(d[108]), "+f"(d[109]), "+f"(d[110]), "+f"(d[111]),
                   "+f"(d[112]), "+f"(d[113]), "+f"(d[114]), "+f"(d[115]), "+f"(d[116]), "+f"(d[117]), "+f"(d[118]), "+f"(d[119]), "+f"(d[120]), "+f"(d[121]), "+f"(d[122]), "+f"(d[123]), "+f"(d[124]), "+f"(d[125]), "+f"(d[126]), "+f"(d[127])
                 : "l"(a), "l"(b), "r"(1), "n"(B_ROWS ? 1 : 0));
}

struct alignas(64) tensor_map { uint8_t opaque[128]; };

__device__ __forceinline__ void copy_box(uint32_t target, const tensor_map& map, int column, int row, uint32_t barrier)
{
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];"
                 :: "r"(target), "l"((uint64)&map), "r"(column), "r"(row), "r"(barrier) : "memory");
}

__device__ __forceinline__ void store_box(const tensor_map& map, int column, int row, uint32_t source)
{
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%1, %2}], [%3];" :: "l"((uint64)&map), "r"(column), "r"(row), "r"(source) : "memory");
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}

#define RASTER 8 // row tiles that blocks running at the same time share

extern "C" __global__ void __launch_bounds__(384, 1)
KERNEL_NAME(const __grid_constant__ tensor_map a_map, const __grid_constant__ tensor_map b_map, const __grid_constant__ tensor_map a2_map, const __grid_constant__ tensor_map b2_map,
            const __grid_constant__ tensor_map d_map, int m, int n, int k, int k2, float alpha,
            const int* __restrict__ row_count, int first_row
#if EPILOGUE
            , int store_d, const __grid_constant__ Epilogue arguments
#endif
            )
{
    constexpr uint32_t A_BYTES = TILE_M * TILE_K * 2, STAGE_BYTES = A_BYTES + TILE_N * TILE_K * 2, PANEL_BYTES = 64 * 64 * 2;
    constexpr int TILE_COLUMNS = HALVES ? TILE_N / 2 : TILE_N; // of D, or of each of its halves
    constexpr int B_BOX = LAYOUT == 0 ? TILE_N / 2 : 64; // columns of a tile in a box of B
    static_assert(TILE_M == 128 && (TILE_N == 256 || TILE_N == 192 && !EPILOGUE) && TILE_K == 64, "two warpgroups of 64 x TILE_N sums, panels of 128 bytes");
    static_assert(EPILOGUE ? PANELS == TILE_N / 64 : TILE_N / 64 % PANELS == 0, "an epilogue has all of a tile's panels; else a tile begins with the panel that was stored longest ago");
    static_assert(SUMS == 0 || SUMS % 64 == 0 && TILE_N % SUMS == 0 && PAIR == 0, "a sum has panels of one tile");

    extern __shared__ __align__(1024) uint8_t shared[];
    const uint32_t stages = shared_address(shared), staging = stages + STAGES * STAGE_BYTES, full = staging + 2 * PANELS * PANEL_BYTES, empty = full + STAGES * 8;
#if EPILOGUE
    const uint32_t staged = empty + STAGES * 8, drained = staged + 8;
    constexpr int EPILOGUE_WARPS = GROUP_THREADS / WARP_SIZE - 1;
#endif
    const int group = threadIdx.x / GROUP_THREADS, thread = threadIdx.x % GROUP_THREADS, lane = thread % WARP_SIZE;
    const int wanted = row_count ? min(m, max(*row_count - first_row, 0)) : m;
    const int columns = HALVES ? n / 2 : n;
    const int m_tiles = (wanted + TILE_M - 1) / TILE_M, n_tiles = (columns + TILE_COLUMNS - 1) / TILE_COLUMNS, tiles = m_tiles * n_tiles;

    // Columns of RASTER row tiles, one column of tiles after the other: what runs at the same time shares rows of A and of B in the L2 cache.
    auto place = [&](int tile, int& row, int& column)
    {
        const int band = tile / (RASTER * n_tiles), first = band * RASTER, height = min(RASTER, m_tiles - first), rest = tile - first * n_tiles;
        row = (first + rest % height) * TILE_M;
        column = rest / height * TILE_COLUMNS;
    };
    // Where the 64 columns of a tile's panel begin in D.
    auto panel_column = [&](int column, int panel) { return HALVES ? panel / 2 * columns + column + panel % 2 * 64 : column + panel * 64; };

    if (threadIdx.x == 0)
    {
#pragma unroll
        for (int i = 0; i < STAGES; i++)
        {
            barrier_init(full + i * 8, 1);
            barrier_init(empty + i * 8, 2 * GROUP_THREADS / WARP_SIZE);
        }
#if EPILOGUE
        barrier_init(staged, 2 * GROUP_THREADS / WARP_SIZE);
        barrier_init(drained, EPILOGUE_WARPS);
#endif
        barrier_init_fence();
    }
    __syncthreads();

    if (group == 2) become_copier<EPILOGUE ? 120 : 40>();
    if (group == 2 && thread < WARP_SIZE)
    {
        if (lane != 0) return;
        int stage = 0, phase = 1; // a barrier that no phase of has ended counts as ended with parity 1
        for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x)
        {
            int row, column;
            place(tile, row, column);
#pragma unroll 1
            for (int segment = 0; segment < 2; segment++)
            {
                const tensor_map& a = segment == 0 ? a_map : a2_map;
                const tensor_map& b = segment == 0 ? b_map : b2_map;
                for (int at = 0; at < (segment == 0 ? k : k2); at += TILE_K)
                {
                    const uint32_t a_tile = stages + stage * STAGE_BYTES, b_tile = a_tile + A_BYTES, arrived = full + stage * 8;
                    barrier_wait(empty + stage * 8, phase);
                    barrier_expect(arrived, STAGE_BYTES);
                    copy_box(a_tile, a, at, row, arrived);
#pragma unroll
                    for (int i = 0; i < TILE_N; i += B_BOX)
                    {
                        const int first = HALVES ? panel_column(column, i / 64) : column + i; // of a narrow tile, a box begins within a panel
                        if (LAYOUT == 0) copy_box(b_tile + i * 128, b, at, first, arrived);
                        else copy_box(b_tile + i * 128, b, first, at, arrived);
                    }
                    if (++stage == STAGES) { stage = 0; phase ^= 1; }
                }
            }
        }
        return;
    }

#if EPILOGUE
    if (group == 2)
    {
        // A warp has four rows at a time, 8 columns of a panel a thread; the next rows' Beside are on their way while these are worked on.
        constexpr int ITEMS = PAIR ? 2 : 4, UNITS = TILE_M / 4;
        const int warp = thread / WARP_SIZE - 1, chunk = lane % 8;
        auto panel_of = [](int item) { return PAIR == 1 ? item * 2 : item; };
        auto ask = [&](int row, int column, int unit, int item, Beside& next)
        {
            row += unit * 4 + lane / 8;
            column += panel_of(item) * 64 + chunk * 8;
            if (row < m && column < columns) next = load_beside(arguments, row, column);
        };
        int next_row = m, next_column = 0;
        if (blockIdx.x < tiles) place(blockIdx.x, next_row, next_column);
        Beside next[ITEMS];
#pragma unroll
        for (int item = 0; item < ITEMS; item++) ask(next_row, next_column, warp, item, next[item]);

        int phase = 0;
        for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x)
        {
            const int tile_row = next_row, tile_column = next_column;
            if (tile + gridDim.x < tiles) place(tile + gridDim.x, next_row, next_column);
            else next_row = m;
            barrier_wait(staged, phase);
            phase ^= 1;
            if (store_d && thread == WARP_SIZE)
                for (int i = 0; i < 8; i++) store_box(d_map, panel_column(tile_column, i % 4), tile_row + i / 4 * 64, staging + i * PANEL_BYTES);
            for (int unit = warp; unit < UNITS; unit += EPILOGUE_WARPS)
            {
                const int tile_half = unit / (UNITS / 2), panel_row = unit % (UNITS / 2) * 4 + lane / 8, row = tile_row + unit * 4 + lane / 8;
                const bool last = unit + EPILOGUE_WARPS >= UNITS;
#if SUMS
                float sum = 0.0f;
#endif
#pragma unroll
                for (int item = 0; item < ITEMS; item++)
                {
                    const int panel = panel_of(item), column = tile_column + panel * 64 + chunk * 8;
                    const uint32_t at = staging + (tile_half * PANELS + panel) * PANEL_BYTES + panel_offset<64>(panel_row, chunk);
                    const Beside own = next[item];
                    ask(last ? next_row : tile_row, last ? next_column : tile_column, last ? warp : unit + EPILOGUE_WARPS, item, next[item]);
                    if (row < m && column < columns)
                    {
                        float x[8];
                        unpack8(load_shared4(at), x);
#if PAIR
                        float y[8];
                        unpack8(load_shared4(at + PAIR * PANEL_BYTES), y);
                        epilogue(arguments, own, row, column, x, y);
#elif SUMS
                        sum += epilogue(arguments, own, row, column, x);
#else
                        epilogue(arguments, own, row, column, x);
#endif
                    }
#if SUMS
                    if ((panel + 1) % (SUMS / 64) > 0) continue;
                    // The sum's last panel. The eight threads of a row are neighbours; of a tile that D does not fill, the last sums may have no columns.
#pragma unroll
                    for (int distance = 4; distance > 0; distance /= 2) sum += __shfl_xor_sync(FULL_MASK, sum, distance);
                    const int first = tile_column + (panel + 1) * 64 - SUMS;
                    if (chunk == 0 && row < m && first < columns) store_sum(arguments, row, first / SUMS, sum);
                    sum = 0.0f;
#endif
                }
            }
            if (thread == WARP_SIZE) store_wait<0>(); // shared memory is free when D has left, too
            __syncwarp();
            if (lane == 0) barrier_arrive(drained);
        }
        return;
    }
#else
    if (group == 2) return;
#endif
    become_consumer<EPILOGUE ? 192 : 232>();

    float sum[TILE_N / 2];
    int stage = 0, phase = 0;
#if EPILOGUE
    int drained_phase = 1;
#endif
    auto release = [&](int at) { if (lane == 0) barrier_arrive(empty + at * 8); };
    // The first steps of a k-block; of a whole block they are a constant, which leaves no branches.
    auto multiply = [&](int steps, bool follows)
    {
        const uint32_t a_tile = stages + stage * STAGE_BYTES + group * 64 * 128, b_tile = stages + stage * STAGE_BYTES + A_BYTES;
        barrier_wait(full + stage * 8, phase);
        wgmma_fence();
#pragma unroll
        for (int step = 0; step < TILE_K / 16; step++)
            if (step < steps)
                wgmma_tile<LAYOUT == 1>(sum, panel_columns<TILE_M>(a_tile, step), LAYOUT == 1 ? panel_rows<TILE_K>(b_tile, step) : panel_columns<TILE_N>(b_tile, step));
        wgmma_commit();
        wgmma_wait<1>(); // the k-block before is multiplied
        if (follows) release(stage == 0 ? STAGES - 1 : stage - 1);
        if (++stage == STAGES) { stage = 0; phase ^= 1; }
    };
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x)
    {
#pragma unroll
        for (int i = 0; i < TILE_N / 2; i++) sum[i] = 0.0f;
        hold(sum);
        bool follows = false;
#pragma unroll // a segment that is a variable is one register too many beside some epilogues
        for (int segment = 0; segment < 2; segment++)
        {
            const int depth = segment == 0 ? k : k2;
            for (int at = 0; at + TILE_K <= depth; at += TILE_K)
            {
                multiply(TILE_K / 16, follows);
                follows = true;
            }
            // The last block of a segment has steps of 16 columns; further ones would add products of zeros, and sums are the same without them.
            if (depth % TILE_K > 0)
            {
                multiply((depth % TILE_K + 15) / 16, follows);
                follows = true;
            }
        }
        wgmma_wait<0>();
        hold(sum);
        release(stage == 0 ? STAGES - 1 : stage - 1);

#if EPILOGUE
        barrier_wait(drained, drained_phase);
        drained_phase ^= 1;
#endif
        // The sums leave through panels of shared memory, 64 columns of D each. Without an epilogue there are PANELS of them in turn, which TMA takes on their
        // way while the next tile is multiplied.
        int row, column;
        place(tile, row, column);
        row += group * 64;
        const int warp_row = thread / WARP_SIZE * 16 + lane % 16, own_chunk = lane / 16;
#pragma unroll
        for (int panel = 0; panel < TILE_N / 64; panel++)
        {
            const uint32_t target = staging + (group * PANELS + panel % PANELS) * PANEL_BYTES;
#if !EPILOGUE
            if (thread == 0) store_wait<PANELS - 1>();
            group_sync(1 + group); // what was here has left
#endif
#pragma unroll
            for (int i = 0; i < 8; i += 2)
            {
                const float* s = sum + panel * 32 + i * 4;
                stmatrix_x4(target + panel_offset<64>(warp_row, i + own_chunk),
                            pack2(s[0] * alpha, s[1] * alpha), pack2(s[2] * alpha, s[3] * alpha), pack2(s[4] * alpha, s[5] * alpha), pack2(s[6] * alpha, s[7] * alpha));
            }
            shared_fence();
#if !EPILOGUE
            group_sync(1 + group);
            if (thread == 0) store_box(d_map, panel_column(column, panel), row, target);
#endif
        }
#if EPILOGUE
        __syncwarp();
        if (lane == 0) barrier_arrive(staged);
#endif
    }
#if !EPILOGUE
    if (thread == 0) store_wait<0>(); // shared memory goes with the block
#endif
}
