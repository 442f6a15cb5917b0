// D = alpha A B on tensor cores, row-major, for sm_90a: gemm.cu's wide products of elems on TMA and wgmma.
//   LAYOUT 0 (nt)  D[m,n] = alpha * sum_k A[m,k] B[n,k]
//   LAYOUT 1 (nn)  D[m,n] = alpha * sum_k A[m,k] B[k,n]
// Sums in fp32 over k in order, one rounding. n and every pitch are multiples of 8 elems; past an operand's end TMA reads zeros and writes nothing, so m, n and k are free otherwise.
//
//   a_map: boxes of 64 (k) x 128 (m)     b_map: boxes of 64 (k) x 128 (n), in nn 64 (n) x 64 (k)     d_map: boxes of 64 (n) x 64 (m); all with the 128-byte swizzle: panel tiles (wgmma.cu)
//   grid: as many blocks as there are multiprocessors, each walks tiles; block 384, dynamic shared memory STAGES * 48 KB + 32 KB + 128 bytes
//
// row_count: null, or only the first *row_count - first_row rows of D are wanted. Tiles wholly behind them are left as they are; the others are computed whole.
//
// Two warpgroups multiply 64 rows x 256 columns of a tile each; a warp of the third keeps STAGES k-blocks of 64 in flight, across the borders of tiles, so the next tile's operands arrive while
// this one's sums are written.
//
// EPILOGUE 1: a row kernel without reductions works on D's rounded elements while they are in shared memory. Its text is printed before this one:
//   struct Epilogue                                            where its outputs lie
//   void epilogue(arguments, beside, row, column, x [, y])     its outputs for 8 columns of a row; x is D there; PAIRED 1: x and y are the same columns of D's left and right half, of which a tile
//                                                              then holds 128 + 128
// BESIDE: matrices that it reads besides D. Their boxes of 64 columns x 64 rows follow a tile's k-blocks through the same stages, so they are there when the sums are; `beside` is where the first
// one's 16 bytes are, the others' are BOX_BYTES on.
// store_d 0: nothing else reads D, so it is not written.

// d += a b^T, 64 x 256 x 16, a with k along its columns; B_ROWS: b has k along its rows.
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

__device__ __forceinline__ void barrier_expect(uint32_t barrier, uint32_t bytes)
{
    asm volatile("{.reg .b64 state; mbarrier.arrive.expect_tx.shared::cta.b64 state, [%0], %1;}" :: "r"(barrier), "r"(bytes) : "memory");
}

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

// All but the last IN_FLIGHT boxes that this thread stored have been read from shared memory.
template <int IN_FLIGHT>
__device__ __forceinline__ void store_wait() { asm volatile("cp.async.bulk.wait_group.read %0;" :: "n"(IN_FLIGHT) : "memory"); }

// Four 8 x 8 matrices; lanes 8 i .. 8 i + 7 give the addresses of matrix i's rows.
__device__ __forceinline__ void stmatrix_x4(uint32_t address, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" :: "r"(address), "r"(a), "r"(b), "r"(c), "r"(d) : "memory");
}

#if BESIDE
struct alignas(64) Beside { tensor_map maps[BESIDE]; };
#endif

#define RASTER 8 // row tiles that blocks running at the same time share

extern "C" __global__ void __launch_bounds__(384, 1)
KERNEL_NAME(const __grid_constant__ tensor_map a_map, const __grid_constant__ tensor_map b_map, const __grid_constant__ tensor_map d_map, int m, int n, int k, float alpha,
            const int* __restrict__ row_count, int first_row
#if EPILOGUE
            , int store_d, const Epilogue arguments
#endif
#if BESIDE
            , const __grid_constant__ Beside beside
#endif
            )
{
    constexpr uint32_t A_BYTES = TILE_M * TILE_K * 2, STAGE_BYTES = A_BYTES + TILE_N * TILE_K * 2, PANEL_BYTES = 64 * 64 * 2, STAGING_BYTES = 2 * PANEL_BYTES;
    constexpr int SLICES = PAIRED ? 2 : 4;
    static_assert(TILE_M == 128 && TILE_N == 256 && TILE_K == 64, "two warpgroups of 64 x 256 sums, panels of 128 bytes");
#if BESIDE
    static_assert(BOX_BYTES == 2 * PANEL_BYTES && BESIDE * BOX_BYTES <= STAGE_BYTES, "a slice of every matrix beside D fits a stage");
#endif

    extern __shared__ __align__(1024) uint8_t shared[];
    const uint32_t stages = shared_address(shared), staging = stages + STAGES * STAGE_BYTES, full = staging + 2 * STAGING_BYTES, empty = full + STAGES * 8;
    const int group = threadIdx.x / GROUP_THREADS, thread = threadIdx.x % GROUP_THREADS, lane = thread % WARP_SIZE;
    const int wanted = row_count ? min(m, max(*row_count - first_row, 0)) : m;
    const int m_tiles = (wanted + TILE_M - 1) / TILE_M, n_tiles = (n + TILE_N - 1) / TILE_N, tiles = m_tiles * n_tiles, blocks = (k + TILE_K - 1) / TILE_K;

    // Columns of RASTER row tiles, one column of tiles after the other: what runs at the same time shares rows of A and of B in the L2 cache.
    auto place = [&](int tile, int& row, int& column)
    {
        const int band = tile / (RASTER * n_tiles), first = band * RASTER, height = min(RASTER, m_tiles - first), rest = tile - first * n_tiles;
        row = (first + rest % height) * TILE_M;
        column = rest / height * TILE_N;
    };
    // Where the 64 columns of a slice of a tile begin in what the epilogue reads and writes, and those of panel i in D.
    auto slice_column = [&](int column, int slice) { return (PAIRED ? column / 2 : column) + slice * 64; };
    auto panel_column = [&](int column, int i) { return PAIRED ? i / 2 * (n / 2) + column / 2 + i % 2 * 64 : column + i * 64; };

    if (threadIdx.x == 0)
    {
#pragma unroll
        for (int i = 0; i < STAGES; i++)
        {
            barrier_init(full + i * 8, 1);
            barrier_init(empty + i * 8, 2 * GROUP_THREADS / WARP_SIZE);
        }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();

    if (group == 2)
    {
        become_copier<40>();
        if (thread != 0) return;
        int stage = 0, phase = 1; // a barrier that no phase of has ended counts as ended with parity 1
        for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x)
        {
            int row, column;
            place(tile, row, column);
            for (int block = 0; block < blocks; block++)
            {
                const uint32_t a_tile = stages + stage * STAGE_BYTES, b_tile = a_tile + A_BYTES, arrived = full + stage * 8;
                barrier_wait(empty + stage * 8, phase);
                barrier_expect(arrived, STAGE_BYTES);
                copy_box(a_tile, a_map, block * TILE_K, row, arrived);
#pragma unroll
                for (int i = 0; i < 4; i += LAYOUT == 0 ? 2 : 1) // nt: a box has two panels' columns
                {
                    if (LAYOUT == 0) copy_box(b_tile + i * 64 * 128, b_map, block * TILE_K, panel_column(column, i), arrived);
                    else copy_box(b_tile + i * 64 * 128, b_map, panel_column(column, i), block * TILE_K, arrived);
                }
                if (++stage == STAGES) { stage = 0; phase ^= 1; }
            }
#if BESIDE
            for (int slice = 0; slice < SLICES; slice++)
            {
                const uint32_t arrived = full + stage * 8;
                barrier_wait(empty + stage * 8, phase);
                barrier_expect(arrived, BESIDE * BOX_BYTES);
#pragma unroll
                for (int i = 0; i < BESIDE; i++)
#pragma unroll
                    for (int half = 0; half < 2; half++)
                        copy_box(stages + stage * STAGE_BYTES + i * BOX_BYTES + half * PANEL_BYTES, beside.maps[i], slice_column(column, slice), row + half * 64, arrived);
                if (++stage == STAGES) { stage = 0; phase ^= 1; }
            }
#endif
        }
        return;
    }
    become_consumer<232>();

    float sum[TILE_N / 2];
    const uint32_t own_staging = staging + group * STAGING_BYTES;
    int stage = 0, phase = 0;
    auto release = [&](int at) { if (lane == 0) barrier_arrive(empty + at * 8); };
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x)
    {
#pragma unroll
        for (int i = 0; i < TILE_N / 2; i++) sum[i] = 0.0f;
        hold(sum);
        for (int block = 0; block < blocks; block++)
        {
            const uint32_t a_tile = stages + stage * STAGE_BYTES + group * 64 * 128, b_tile = stages + stage * STAGE_BYTES + A_BYTES;
            barrier_wait(full + stage * 8, phase);
            wgmma_fence();
#pragma unroll
            for (int step = 0; step < TILE_K / 16; step++)
                wgmma_tile<LAYOUT == 1>(sum, panel_columns<TILE_M>(a_tile, step), LAYOUT == 1 ? panel_rows<TILE_K>(b_tile, step) : panel_columns<TILE_N>(b_tile, step));
            wgmma_commit();
            wgmma_wait<1>(); // the k-block before is multiplied
            if (block > 0) release(stage == 0 ? STAGES - 1 : stage - 1);
            if (++stage == STAGES) { stage = 0; phase ^= 1; }
        }
        wgmma_wait<0>();
        hold(sum);
        release(stage == 0 ? STAGES - 1 : stage - 1);

        // The sums leave through two panels of shared memory, 64 columns of D at a time (PAIRED: 64 of either half), and are on their way while the next tile is multiplied.
        int row, column;
        place(tile, row, column);
        row += group * 64;
        const int warp_row = thread / WARP_SIZE * 16 + lane % 16, own_chunk = lane / 16;
#pragma unroll
        for (int slice = 0; slice < SLICES; slice++)
        {
#pragma unroll
            for (int half = 0; half <= PAIRED; half++)
            {
                const int panel = slice + half * 2;
                const uint32_t target = own_staging + (PAIRED ? half : slice % 2) * PANEL_BYTES;
                if (thread == 0) store_wait<1>();
                group_sync(1 + group); // what was here has left, and every thread has read it
#pragma unroll
                for (int i = 0; i < 8; i += 2)
                {
                    const float* s = sum + panel * 32 + i * 4;
                    stmatrix_x4(target + panel_offset<64>(warp_row, i + own_chunk),
                                pack2(s[0] * alpha, s[1] * alpha), pack2(s[2] * alpha, s[3] * alpha), pack2(s[4] * alpha, s[5] * alpha), pack2(s[6] * alpha, s[7] * alpha));
                }
                shared_fence();
                group_sync(1 + group);
#if EPILOGUE
                if (thread == 0 && store_d) store_box(d_map, panel_column(column, panel), row, target);
#else
                if (thread == 0) store_box(d_map, panel_column(column, panel), row, target);
#endif
            }
#if EPILOGUE
            const uint32_t staged = own_staging + (PAIRED ? 0 : slice % 2) * PANEL_BYTES;
#if BESIDE
            barrier_wait(full + stage * 8, phase);
            const uint32_t own_beside = stages + stage * STAGE_BYTES + group * PANEL_BYTES;
#else
            const uint32_t own_beside = 0;
#endif
            const int chunk = thread % 8, first_column = slice_column(column, slice) + chunk * 8;
#pragma unroll
            for (int i = 0; i < 4; i++)
            {
                const int r = thread / 8 + i * 16;
                if (row + r >= m || first_column >= (PAIRED ? n / 2 : n)) continue;
                float x[8];
                unpack8(load_shared4(staged + panel_offset<64>(r, chunk)), x);
#if PAIRED
                float y[8];
                unpack8(load_shared4(staged + PANEL_BYTES + panel_offset<64>(r, chunk)), y);
                epilogue(arguments, own_beside + panel_offset<64>(r, chunk), row + r, first_column, x, y);
#else
                epilogue(arguments, own_beside + panel_offset<64>(r, chunk), row + r, first_column, x);
#endif
            }
#if BESIDE
            __syncwarp();
            release(stage);
            if (++stage == STAGES) { stage = 0; phase ^= 1; }
#endif
#endif
        }
    }
    if (thread == 0) store_wait<0>(); // shared memory goes with the block
}
