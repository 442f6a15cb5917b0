// Tensor-core building blocks on wgmma (sm_90a): a warpgroup, four warps, multiplies 64 rows at once and reads its operands from shared memory.
//
// C 64 x n, n / 2 floats per thread: warp w of the group holds rows 16 w and on in the fragments of mma.m16n8k16 (mma.cu), 8 columns after 8 columns.
// A 64 x 16 in registers: warp w's 16 rows, one A fragment of mma.m16n8k16.
//
// A panel tile of ROWS x ROW elems is ROW / 64 panels of ROWS x 64, one after the other: 128 bytes per row, whose eight 16-byte chunks are permuted
// by the row's last three bits. That is the 128-byte swizzle of the hardware; a tile starts at a multiple of 1024 bytes.

template <int ROWS>
__device__ __forceinline__ uint32_t panel_offset(int row, int chunk)
{
    return chunk / 8 * (ROWS * 128) + row * 128 + ((chunk % 8 ^ row % 8) << 4);
}

// What wgmma is told of a tile: its address in units of 16 bytes (bits 0-13), the step between panels (16-29) and between groups of 8 rows (1024 bytes; 32-45),
// the 128-byte swizzle (62). The upper half is the same for every tile, and an operand further on is one addition to the lower half.
__device__ __forceinline__ uint64 panel_descriptor(uint32_t low)
{
    uint64 descriptor;
    asm("mov.b64 %0, {%1, %2};" : "=l"(descriptor) : "r"(low), "n"(64 | 1 << 30));
    return descriptor;
}

// Columns of the tile are the product's k: 16 of them are 32 bytes on; the next panel follows after four.
template <int ROWS>
__device__ __forceinline__ uint64 panel_columns(uint32_t tile, int step)
{
    return panel_descriptor((tile >> 4 | 1 << 16) + (step / 4 * (ROWS * 128) + step % 4 * 32) / 16);
}

// Rows of the tile are the product's k (a transposed operand): 16 of them are 2048 bytes on.
template <int ROWS>
__device__ __forceinline__ uint64 panel_rows(uint32_t tile, int step)
{
    return panel_descriptor((tile >> 4 | ROWS * 8 << 16) + step * 2048 / 16);
}

// Order of use: shared memory is written, shared_fence, __syncthreads, wgmma_fence, wgmma ..., wgmma_commit, wgmma_wait<groups still in flight>,
// hold(registers). Until then the accumulators and the A registers of a group in flight are not touched.
__device__ __forceinline__ void shared_fence() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

template <int IN_FLIGHT>
__device__ __forceinline__ void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" :: "n"(IN_FLIGHT) : "memory"); }

// Reads of the registers stay behind this point.
template <int COUNT>
__device__ __forceinline__ void hold(float (&d)[COUNT])
{
#pragma unroll
    for (int i = 0; i < COUNT; i++) asm volatile("" : "+f"(d[i]) :: "memory");
}

// ---- roles: some warpgroups multiply, the last one copies; they meet only at barriers in shared memory (8 bytes each) ---------------------

constexpr int GROUP_THREADS = 128;

// A value that all threads of a warp agree on, told to the compiler: what follows from it is computed once per warp.
__device__ __forceinline__ int warp_uniform(int x) { return __shfl_sync(FULL_MASK, x, 0); }

// Registers that the copying group gives go to the others: 3 * 168 = 2 * 232 + 40 = 2 * 240 + 24 = 2 * 192 + 120, 4 * 128 >= 3 * 160 + 24.
template <int REGISTERS>
__device__ __forceinline__ void become_consumer() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" :: "n"(REGISTERS)); }

template <int REGISTERS>
__device__ __forceinline__ void become_copier() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" :: "n"(REGISTERS)); }

// A phase ends after this many arrivals; phases are numbered by parity.
__device__ __forceinline__ void barrier_init(uint32_t barrier, int arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" :: "r"(barrier), "r"(arrivals) : "memory");
}

// Copies that count their bytes see the barriers that are initialised so far.
__device__ __forceinline__ void barrier_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

__device__ __forceinline__ void barrier_arrive(uint32_t barrier)
{
    asm volatile("{.reg .b64 state; mbarrier.arrive.shared::cta.b64 state, [%0];}" :: "r"(barrier) : "memory");
}

// Arrives; the phase also waits for this many bytes.
__device__ __forceinline__ void barrier_expect(uint32_t barrier, uint32_t bytes)
{
    asm volatile("{.reg .b64 state; mbarrier.arrive.expect_tx.shared::cta.b64 state, [%0], %1;}" :: "r"(barrier), "r"(bytes) : "memory");
}

// Returns when the phase of this parity has ended.
__device__ __forceinline__ void barrier_wait(uint32_t barrier, uint32_t parity)
{
    asm volatile("{\n.reg .pred ended;\nAGAIN:\nmbarrier.try_wait.parity.shared::cta.b64 ended, [%0], %1;\n@!ended bra AGAIN;\n}" :: "r"(barrier), "r"(parity) : "memory");
}

// __syncthreads for one warpgroup; id from 1.
__device__ __forceinline__ void group_sync(int id) { asm volatile("bar.sync %0, 128;" :: "r"(id) : "memory"); }

// All but the last IN_FLIGHT boxes or pieces that this thread stored have been read from shared memory.
template <int IN_FLIGHT>
__device__ __forceinline__ void store_wait() { asm volatile("cp.async.bulk.wait_group.read %0;" :: "n"(IN_FLIGHT) : "memory"); }

// Four 8 x 8 matrices; lanes 8 i .. 8 i + 7 give the addresses of matrix i's rows.
__device__ __forceinline__ void stmatrix_x4(uint32_t address, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" :: "r"(address), "r"(a), "r"(b), "r"(c), "r"(d) : "memory");
}
