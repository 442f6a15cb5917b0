// Tensor-core building blocks on mma.sync: fragments, ldmatrix, asynchronous copies, the shared-memory swizzle.
//
// Fragment layout (of mma.m16n8k16, kept on every target). Lane l has group g = l / 4 and pair t = l % 4:
//   A 16x16, 4 registers of 2 elems:  a0 (row g, cols 2t)  a1 (row g+8, cols 2t)  a2 (row g, cols 2t+8)  a3 (row g+8, cols 2t+8)
//   B 16x8,  2 registers of 2 elems:  b0 (rows 2t, col g)  b1 (rows 2t+8, col g)
//   C 16x8,  4 floats:                c0 c1 (row g, cols 2t, 2t+1)  c2 c3 (row g+8, cols 2t, 2t+1)
// Hence two neighbouring C tiles (16x16), packed, are one A fragment: P of attention never leaves registers.

// c += a * b, products and sums in fp32; c has 4 floats.
__device__ __forceinline__ void mma_m16n8k16(float* c, const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
#if ELEM_BF16
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#elif __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    // Turing multiplies 8 deep: the left and the right half of A with the upper and the lower half of B.
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(b0));
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[2]), "r"(a[3]), "r"(b1));
#endif
}

// ---- ldmatrix: 8x8 matrices of elems. Lane l gives the shared address of row l % 8 of matrix l / 8; every row is 16 bytes.
// Lane l receives of each matrix: row l / 4, columns 2(l % 4) and the next; transposed: column l / 4, those rows.

__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], uint32_t address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}

__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], uint32_t address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}

// ---- 16-byte copies from global to shared memory ----------------------------------------------------------
// valid = false writes zeros and does not touch the source. Order of use: copy16 ..., copy_commit, copy_wait<groups still
// allowed in flight>, __syncthreads. Turing has no asynchronous copy: copy16 is done when it returns.

__device__ __forceinline__ void copy16(uint32_t shared, const void* global, bool valid)
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;"
                 :: "r"(shared), "l"(__cvta_generic_to_global(global)), "r"(valid ? 16 : 0) : "memory");
#else
    const uint4 x = valid ? *reinterpret_cast<const uint4*>(global) : make_uint4(0, 0, 0, 0);
    asm volatile("st.shared.v4.u32 [%0], {%1,%2,%3,%4};" :: "r"(shared), "r"(x.x), "r"(x.y), "r"(x.z), "r"(x.w) : "memory");
#endif
}

__device__ __forceinline__ void copy_commit()
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

template <int IN_FLIGHT>
__device__ __forceinline__ void copy_wait()
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" :: "n"(IN_FLIGHT) : "memory");
#endif
}

// From shared memory; the address is a multiple of 16.
__device__ __forceinline__ uint4 load_shared4(uint32_t address)
{
    uint4 x;
    asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w) : "r"(address) : "memory");
    return x;
}

// ---- swizzled tiles -------------------------------------------------------------------------------------------
// A tile in shared memory holds rows of ROW elems (a multiple of 16) without padding; its 16-byte chunks are permuted
// within the row so that eight consecutive rows of one chunk column fall into eight different groups of four banks:
// ldmatrix, 16-byte rows and 4-byte stores of C fragments have no bank conflict. Chunks change places within groups of
// 2, 4 or 8, the largest power of two that divides a row's chunks.

template <int ROW>
__device__ __forceinline__ int swizzle_mask(int row)
{
    static_assert(ROW % 16 == 0, "rows of a multiple of 16 elems");
    return ROW % 64 == 0 ? row & 7 : ROW % 32 == 0 ? (row >> 1) & 3 : (row >> 2) & 1;
}

// Byte offset of chunk `chunk` (8 elems) of row `row`.
template <int ROW>
__device__ __forceinline__ uint32_t swizzle(int row, int chunk)
{
    return row * (ROW * 2) + ((chunk ^ swizzle_mask<ROW>(row)) << 4);
}

// One lane's ldmatrix addresses in a tile. The XOR of the swizzle only meets bits that are constant per lane,
// so a walk over the tile costs no address arithmetic beyond four precomputed registers.
template <int ROW>
struct lane_address
{
    uint32_t row_start, mask;

    __device__ __forceinline__ lane_address(uint32_t tile, int row, int half)
        : row_start(tile + row * (ROW * 2)), mask((half ^ swizzle_mask<ROW>(row)) << 4) {}

    // `rows` below (a multiple of 8), columns 16 * step and on.
    __device__ __forceinline__ uint32_t at(int rows, int step) const
    {
        return row_start + rows * (ROW * 2) + step / 4 * 128 + ((step % 4 * 32) ^ mask);
    }
};

// ldmatrix_x4 at (m, k / 16) of a tile stored [m][k] gives an A fragment 16x16;
// ldmatrix_x4_trans at (k, n / 16) of a tile stored [k][n] gives two B fragments 16x8: {r0, r1} and, 8 columns on, {r2, r3}.
template <int ROW>
__device__ __forceinline__ lane_address<ROW> lane_rows_first(uint32_t tile)
{
    const int lane = threadIdx.x % WARP_SIZE;
    return lane_address<ROW>(tile, lane % 16, lane / 16);
}

// ldmatrix_x4 at (n, k / 16) of a tile stored [n][k] gives two B fragments 16x8: {r0, r1} and, for n + 8, {r2, r3}.
template <int ROW>
__device__ __forceinline__ lane_address<ROW> lane_columns_first(uint32_t tile)
{
    const int lane = threadIdx.x % WARP_SIZE;
    return lane_address<ROW>(tile, lane % 8 + lane / 16 * 8, lane / 8 % 2);
}

// Two neighbouring elems of a C fragment; column is even.
template <int ROW>
__device__ __forceinline__ void store_pair(uint32_t tile, int row, int column, float lo, float hi)
{
    asm volatile("st.shared.u32 [%0], %1;" :: "r"(tile + swizzle<ROW>(row, column / 8) + column % 8 * 2), "r"(pack2(lo, hi)) : "memory");
}

// How THREADS threads walk a ROWS x ROW tile in 16-byte chunks. One pass covers a multiple of 8 rows, and side by side are whole groups of
// chunks that change places, so that the swizzled address of a thread's later chunks is its first one plus a constant.
template <int ROWS, int ROW, int THREADS>
struct tile_walk
{
    static constexpr int CHUNKS = ROW / 8, POWER = CHUNKS & -CHUNKS, WIDTH = POWER < THREADS / 8 ? POWER : THREADS / 8, HEIGHT = THREADS / WIDTH;
    static_assert(THREADS % WIDTH == 0 && CHUNKS % WIDTH == 0 && HEIGHT % 8 == 0, "passes of whole rows");
    int row, chunk;
    __device__ __forceinline__ tile_walk() : row(threadIdx.x / WIDTH), chunk(threadIdx.x % WIDTH) {}
    __device__ __forceinline__ bool inside(int pass) const { return ROWS % HEIGHT == 0 || row + pass * HEIGHT < ROWS; }
};

// Starts the copy of a ROWS x ROW tile; rows from valid_rows on become zeros.
template <int ROWS, int ROW, int THREADS>
__device__ __forceinline__ void copy_tile(uint32_t tile, const elem* source, int pitch, int valid_rows)
{
    const tile_walk<ROWS, ROW, THREADS> walk;
    tile += swizzle<ROW>(walk.row, walk.chunk);
    source += (int64)walk.row * pitch + walk.chunk * 8;
#pragma unroll
    for (int pass = 0; pass * walk.HEIGHT < ROWS; pass++, source += (int64)walk.HEIGHT * pitch)
#pragma unroll
        for (int chunk = 0; chunk < walk.CHUNKS; chunk += walk.WIDTH)
            if (walk.inside(pass))
                copy16(tile + pass * walk.HEIGHT * ROW * 2 + chunk * 16, source + chunk * 8, walk.row + pass * walk.HEIGHT < valid_rows);
}

// Writes the first valid_rows rows of a tile to global memory.
template <int ROWS, int ROW, int THREADS>
__device__ __forceinline__ void store_tile(elem* target, int pitch, uint32_t tile, int valid_rows)
{
    const tile_walk<ROWS, ROW, THREADS> walk;
    tile += swizzle<ROW>(walk.row, walk.chunk);
    target += (int64)walk.row * pitch + walk.chunk * 8;
#pragma unroll
    for (int pass = 0; pass * walk.HEIGHT < ROWS; pass++, target += (int64)walk.HEIGHT * pitch)
#pragma unroll
        for (int chunk = 0; chunk < walk.CHUNKS; chunk += walk.WIDTH)
            if (walk.inside(pass) && walk.row + pass * walk.HEIGHT < valid_rows)
                *reinterpret_cast<uint4*>(target + chunk * 8) = load_shared4(tile + pass * walk.HEIGHT * ROW * 2 + chunk * 16);
}
