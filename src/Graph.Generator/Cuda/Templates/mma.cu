// Tensor-core building blocks on mma.sync: fragments, ldmatrix, asynchronous copies, the shared-memory swizzle.
//
// Fragment layout (of mma.m16n8k16, kept on every target). Lane l has group g = l / 4 and pair t = l % 4:
//   A 16x16, 4 registers of 2 elems:  a0 (row g, cols 2t)  a1 (row g+8, cols 2t)  a2 (row g, cols 2t+8)  a3 (row g+8, cols 2t+8)
//   B 16x8,  2 registers of 2 elems:  b0 (rows 2t, col g)  b1 (rows 2t+8, col g)
//   C 16x8,  4 floats:                c0 c1 (row g, cols 2t, 2t+1)  c2 c3 (row g+8, cols 2t, 2t+1)
// Hence two neighbouring C tiles (16x16), packed, are one A fragment: P of attention never leaves registers.

// c += a * b, products and sums in fp32.
__device__ __forceinline__ void mma_m16n8k16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
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

__device__ __forceinline__ void mma_m16n8k16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
    mma_m16n8k16(c, a, b[0], b[1]);
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

__device__ __forceinline__ void ldmatrix_x2(uint32_t (&r)[2], uint32_t address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1]) : "r"(address) : "memory");
}

__device__ __forceinline__ void ldmatrix_x2_trans(uint32_t (&r)[2], uint32_t address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1]) : "r"(address) : "memory");
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

// ---- swizzle ------------------------------------------------------------------------------------------------
// Byte offset of 16-byte chunk `chunk` of row `row` in a tile whose rows hold ROW elems (32, or a multiple of 64) without padding.
// Eight consecutive rows of one chunk column fall into eight different groups of four banks, so ldmatrix and
// row-wise 16-byte stores have no bank conflict.
template <int ROW>
__device__ __forceinline__ uint32_t swizzle(int row, int chunk)
{
    static_assert(ROW == 32 || ROW % 64 == 0, "rows of 32 or a multiple of 64 elems");
    return ROW == 32 ? row * 64 + ((chunk ^ ((row >> 1) & 3)) << 4)
                     : row * (ROW * 2) + ((chunk ^ (row & 7)) << 4);
}
