// Matrix product on tensor cores, row-major, pitches in elements:
//   LAYOUT 0 (nt)  D[m,n] = alpha * sum_k A[m,k] B[n,k]
//   LAYOUT 1 (nn)  D[m,n] = alpha * sum_k A[m,k] B[k,n]
//   LAYOUT 2 (tn)  D[m,n] = alpha * sum_k A[k,m] B[k,n]
// Sums in fp32 over k in order, one rounding to D's type; ACCUMULATE 1: D += in fp32 before that rounding.
// BY_UNITS 1, for sums over tokens: D += the sum over the first `unit` of k, then += the next one's, and so on, so cutting k at multiples of unit, itself one of TILE_K, changes no bit.
// Every operand row starts at a multiple of 16 bytes, and n and every operand's row length are multiples of 8 elems. Numbers of rows are free.
//
// Literals: LAYOUT, OUT_F32 (D is fp32, else elem), ACCUMULATE, BY_UNITS (only with ACCUMULATE), TILE_M x TILE_N of D per block, TILE_K per stage, STAGES in shared memory
// (exactly 2 on sm_75), WARP_M x WARP_N of D per warp, MIN_BLOCKS per multiprocessor, KERNEL_NAME.
// Launch: grid (ceil(m / TILE_M), ceil(n / TILE_N)), block THREADS, dynamic shared memory STAGES * STAGE_BYTES.

#define THREADS (TILE_M / WARP_M * (TILE_N / WARP_N) * WARP_SIZE)
#define A_TRANSPOSED (LAYOUT == 2)
#define B_TRANSPOSED (LAYOUT != 0)
#define STEPS (TILE_K / 16)
#define STAGE_BYTES ((TILE_M + TILE_N) * TILE_K * 2)
#define RASTER 8                    // row tiles that blocks running at the same time share

#if OUT_F32
typedef float out_t;
#else
typedef elem out_t;
#endif

static_assert(WARP_M % 16 == 0 && WARP_N % 32 == 0 && TILE_K % 32 == 0, "a warp multiplies 16x32x16 pieces and double-buffers them");
static_assert(STAGES >= 2, "one stage is filled while another is multiplied");

// ---- global to shared --------------------------------------------------------------------------------------

// A block's view of one operand: ROWS x COLS tiles at a moving origin, stored swizzled. Past the operand's end it reads zeros.
// Copies run asynchronously. Turing has none, so there the tile waits in registers between fetch and put.
template <int ROWS, int COLS>
struct TileReader
{
    static constexpr int CHUNKS = COLS / 8;                  // 16-byte chunks of a row
    static constexpr int ROW_STEP = THREADS / CHUNKS;        // rows that all threads cover at once
    static constexpr int COPIES = ROWS / ROW_STEP;
    static_assert(ROWS % ROW_STEP == 0 && ROW_STEP % 8 == 0, "each thread keeps its swizzle phase from copy to copy");

    const elem* source;
    int pitch, rows_left, cols_left;                         // what is left of the operand from this thread's first chunk on
    uint32_t offset;
#if __CUDA_ARCH__ < 800
    uint4 held[COPIES];
#endif

    __device__ __forceinline__ TileReader(const elem* operand, int pitch, int rows, int cols, int row, int col) : pitch(pitch)
    {
        const int thread_row = threadIdx.x / CHUNKS, chunk = threadIdx.x % CHUNKS;
        source = operand + (int64)(row + thread_row) * pitch + col + chunk * 8;
        rows_left = rows - row - thread_row;
        cols_left = cols - col - chunk * 8;
        offset = swizzle<COLS>(thread_row, chunk);
    }

    __device__ __forceinline__ void fetch(uint32_t tile)
    {
#pragma unroll
        for (int i = 0; i < COPIES; i++)
        {
            const bool valid = i * ROW_STEP < rows_left && cols_left > 0;
            const elem* chunk = source + (int64)(i * ROW_STEP) * pitch;
#if __CUDA_ARCH__ >= 800
            copy16(tile + offset + i * ROW_STEP * COLS * 2, chunk, valid);
#else
            held[i] = valid ? *reinterpret_cast<const uint4*>(chunk) : make_uint4(0, 0, 0, 0);
#endif
        }
    }

    __device__ __forceinline__ void put(uint32_t tile)
    {
#if __CUDA_ARCH__ < 800
#pragma unroll
        for (int i = 0; i < COPIES; i++)
            asm volatile("st.shared.v4.u32 [%0], {%1,%2,%3,%4};"
                         :: "r"(tile + offset + i * ROW_STEP * COLS * 2), "r"(held[i].x), "r"(held[i].y), "r"(held[i].z), "r"(held[i].w) : "memory");
#endif
    }

    __device__ __forceinline__ void next_rows() { source += (int64)ROWS * pitch; rows_left -= ROWS; }
    __device__ __forceinline__ void next_cols() { source += COLS; cols_left -= COLS; }
};

#if A_TRANSPOSED
typedef TileReader<TILE_K, TILE_M> ReaderA;
#else
typedef TileReader<TILE_M, TILE_K> ReaderA;
#endif
#if B_TRANSPOSED
typedef TileReader<TILE_K, TILE_N> ReaderB;
#else
typedef TileReader<TILE_N, TILE_K> ReaderB;
#endif

// ---- shared to registers -----------------------------------------------------------------------------------

// A and B of one 16-deep step of a warp's product.
struct Fragments
{
    uint32_t a[WARP_M / 16][4];
    uint32_t b[WARP_N / 16][4];     // two 8-column fragments each

    // The four 8x8 matrices of a 16x16 piece are taken in the order of the fragment's registers. For A these run down the rows first,
    // for B along k first; the transposed load swaps the two, so two lane patterns serve all four cases.
    __device__ __forceinline__ void load(uint32_t tile_a, uint32_t tile_b, int row, int col, int step)
    {
        const int lane = threadIdx.x % WARP_SIZE;
        [[maybe_unused]] const int down_row = lane % 16, down_chunk = lane / 16;
        [[maybe_unused]] const int along_row = lane % 8 + lane / 16 * 8, along_chunk = lane / 8 % 2;
#pragma unroll
        for (int i = 0; i < WARP_M / 16; i++)
#if A_TRANSPOSED
            ldmatrix_x4_trans(a[i], tile_a + swizzle<TILE_M>(step * 16 + along_row, (row + i * 16) / 8 + along_chunk));
#else
            ldmatrix_x4(a[i], tile_a + swizzle<TILE_K>(row + i * 16 + down_row, step * 2 | down_chunk));
#endif
#pragma unroll
        for (int j = 0; j < WARP_N / 16; j++)
#if B_TRANSPOSED
            ldmatrix_x4_trans(b[j], tile_b + swizzle<TILE_N>(step * 16 + down_row, (col + j * 16) / 8 + down_chunk));
#else
            ldmatrix_x4(b[j], tile_b + swizzle<TILE_K>(col + j * 16 + along_row, step * 2 | along_chunk));
#endif
    }

    __device__ __forceinline__ void multiply(float (&sum)[WARP_M / 16][WARP_N / 8][4]) const
    {
#pragma unroll
        for (int i = 0; i < WARP_M / 16; i++)
#pragma unroll
            for (int j = 0; j < WARP_N / 8; j++)
                mma_m16n8k16(sum[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
    }
};

// ---- registers to global -----------------------------------------------------------------------------------

// The four lanes of a quad exchange r as a 4x4 matrix: lane t gives column t and receives row t.
__device__ __forceinline__ void quad_transpose(uint32_t (&r)[4])
{
    const bool odd = threadIdx.x & 1, high = threadIdx.x & 2;
#pragma unroll
    for (int i = 0; i < 4; i += 2)
    {
        const uint32_t other = __shfl_xor_sync(FULL_MASK, odd ? r[i] : r[i + 1], 1);
        (odd ? r[i] : r[i + 1]) = other;
    }
#pragma unroll
    for (int i = 0; i < 2; i++)
    {
        const uint32_t other = __shfl_xor_sync(FULL_MASK, high ? r[i] : r[i + 2], 2);
        (high ? r[i] : r[i + 2]) = other;
    }
}

// One row of four neighbouring C fragments, 32 columns from `col` on: lane t of the quad holds columns 2t and 2t+1 of each.
__device__ __forceinline__ void store_row(out_t* d, const float (&x)[4][2], bool row_valid, int col, int n)
{
    const int t = threadIdx.x % 4;
#if OUT_F32
    // A quad fills whole 32-byte sectors as it is.
#pragma unroll
    for (int j = 0; j < 4; j++)
        if (row_valid && col + j * 8 < n)
        {
            float2* p = reinterpret_cast<float2*>(d + col + j * 8 + t * 2);
            float2 y = make_float2(x[j][0], x[j][1]);
#if ACCUMULATE
            y.x += p->x;
            y.y += p->y;
#endif
            *p = y;
        }
#else
    uint32_t pairs[4];
#pragma unroll
    for (int j = 0; j < 4; j++)
    {
        float lo = x[j][0], hi = x[j][1];
#if ACCUMULATE
        if (row_valid && col + j * 8 < n)
        {
            const uint32_t before = *reinterpret_cast<const uint32_t*>(d + col + j * 8 + t * 2);
            lo += unpack_lo(before);
            hi += unpack_hi(before);
        }
#endif
        pairs[j] = pack2(lo, hi);
    }
    quad_transpose(pairs);
    if (row_valid && col + t * 8 < n)
        *reinterpret_cast<uint4*>(d + col + t * 8) = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
#endif
}

extern "C" __global__ void __launch_bounds__(THREADS, MIN_BLOCKS)
KERNEL_NAME(out_t* __restrict__ d, int d_pitch, const elem* __restrict__ a, int a_pitch, const elem* __restrict__ b, int b_pitch,
            int m, int n, int k, float alpha
#if BY_UNITS
            , int unit
#endif
            )
{
    extern __shared__ __align__(128) uint8_t stages[];
    const uint32_t shared = shared_address(stages);

    // Blocks are numbered so that those running together cover a compact patch of D: RASTER row tiles, column by column.
    const int block = blockIdx.y * gridDim.x + blockIdx.x;
    const int band = block / (RASTER * gridDim.y), in_band = block % (RASTER * gridDim.y);
    const int band_height = min(RASTER, (int)gridDim.x - band * RASTER);
    const int tile_row = (band * RASTER + in_band % band_height) * TILE_M;
    const int tile_col = in_band / band_height * TILE_N;

    const int warp = threadIdx.x / WARP_SIZE, lane = threadIdx.x % WARP_SIZE;
    const int warp_row = warp % (TILE_M / WARP_M) * WARP_M, warp_col = warp / (TILE_M / WARP_M) * WARP_N;

#if A_TRANSPOSED
    ReaderA reader_a(a, a_pitch, k, m, 0, tile_row);
#else
    ReaderA reader_a(a, a_pitch, m, k, tile_row, 0);
#endif
#if B_TRANSPOSED
    ReaderB reader_b(b, b_pitch, k, n, 0, tile_col);
#else
    ReaderB reader_b(b, b_pitch, n, k, tile_col, 0);
#endif

    auto fetch = [&](int slot)
    {
        const uint32_t tile = shared + slot * STAGE_BYTES;
        reader_a.fetch(tile);
        reader_b.fetch(tile + TILE_M * TILE_K * 2);
        copy_commit();
#if A_TRANSPOSED
        reader_a.next_rows();
#else
        reader_a.next_cols();
#endif
#if B_TRANSPOSED
        reader_b.next_rows();
#else
        reader_b.next_cols();
#endif
    };
    auto put = [&](int slot)
    {
        const uint32_t tile = shared + slot * STAGE_BYTES;
        reader_a.put(tile);
        reader_b.put(tile + TILE_M * TILE_K * 2);
    };
    Fragments fragments[2];
    auto load = [&](int slot, int step)
    {
        const uint32_t tile = shared + slot * STAGE_BYTES;
        fragments[step % 2].load(tile, tile + TILE_M * TILE_K * 2, warp_row, warp_col, step);
    };

#if !BY_UNITS
    float sum[WARP_M / 16][WARP_N / 8][4] = {};
#endif

#pragma unroll
    for (int stage = 0; stage < STAGES - 1; stage++)
    {
        fetch(stage);
        put(stage);
    }
    copy_wait<STAGES - 2>();
    __syncthreads();
    load(0, 0);

    int slot = 0, done = 0;
#if BY_UNITS
    // The copies run on into the next unit.
    do
    {
        float sum[WARP_M / 16][WARP_N / 8][4] = {};
        const int end = k - done < unit ? k : done + unit;
#else
    {
        const int end = k;
#endif
        for (; done < end; done += TILE_K)
        {
            const int next_slot = slot + 1 == STAGES ? 0 : slot + 1, free_slot = slot == 0 ? STAGES - 1 : slot - 1;
#pragma unroll
            for (int step = 0; step < STEPS; step++)
            {
                // Fragments run one step ahead of the products, across stages too. The barrier says that the next stage has landed
                // and that no warp reads this one any more, which the coming fetch refills.
                if (step + 1 < STEPS)
                    load(slot, step + 1);
                else
                {
                    put(free_slot);
                    copy_wait<STAGES - 2>();
                    __syncthreads();
                    load(next_slot, 0);
                }
                if (step == 0) fetch(free_slot);
                fragments[step % 2].multiply(sum);
            }
            slot = next_slot;
        }

#pragma unroll
        for (int i = 0; i < WARP_M / 16; i++)
#pragma unroll
            for (int half = 0; half < 2; half++)
            {
                const int row = tile_row + warp_row + i * 16 + half * 8 + lane / 4;
#pragma unroll
                for (int j = 0; j < WARP_N / 8; j += 4)
                {
                    float x[4][2];
#pragma unroll
                    for (int f = 0; f < 4; f++)
                    {
                        x[f][0] = alpha * sum[i][j + f][half * 2];
                        x[f][1] = alpha * sum[i][j + f][half * 2 + 1];
                    }
                    store_row(d + (int64)row * d_pitch, x, row < m, tile_col + warp_col + j * 8, n);
                }
            }
    }
#if BY_UNITS
    while (done < k);
#endif
}
