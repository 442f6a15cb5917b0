// Cross entropy of one chunk of rows: cross_entropy.cu for sm_90a and a bounded logit. A cluster of CLUSTER blocks has a row, each block its part in shared memory, so the
// row is read once and written once, and the three blocks of a multiprocessor belong to three rows: one copies while another computes.
//   z = logit(s)    lse = log sum exp z    loss = lse - z[label]    dlogits = (exp(z - lse) - onehot(label)) * dz/ds * inv_labels
// A negative label (-100) gives loss 0 and gradient 0, and its row is not read. loss is the row's own, not divided by the number of labels.
// Everything is fp32 between the load and the one rounding of a gradient.
//
// Literals: VOCAB (a multiple of 8), BLOCK_THREADS, CLUSTER (at most 8), BOUND (of |z|, at most 60: no maximum is taken), KERNEL_NAME.
// Holes, printed by the compiler from the model's own formula:
//   float logit_log2(float s)                                                z in units of log2
//   void logit_log2_and_derivative(float s, float& z, float& dz)             dz in natural units
// Launch: grid (rows, CLUSTER), block BLOCK_THREADS, dynamic shared memory 16 * BLOCK_CHUNKS bytes.

#define CHUNKS (VOCAB / 8)              // 16-byte chunks of a row
#define BLOCK_CHUNKS ((CHUNKS + CLUSTER - 1) / CLUSTER)
#define THREAD_CHUNKS ((BLOCK_CHUNKS + BLOCK_THREADS - 1) / BLOCK_THREADS)

// Tanh and exp, twice per element, keep the special-function units (16 a clock) busy for as long as the memory takes, so some of 8 exponentials are computed on the
// multiply-add units: 4 leave 24 clocks of the former per 128 elements of a multiprocessor, and 24 of the instructions' issue.
// polynomial_exp2 needs |z - lse| < 126 in units of log2.
#define POLYNOMIALS (2 * BOUND * LOG2_E + 20 < 126 ? 4 : 0)

static_assert(VOCAB % 8 == 0 && CLUSTER <= 8 && BLOCK_THREADS >= WARP_SIZE, "rows are read 16 bytes at a time; a warp sends a block's sum to the others");
static_assert(BOUND > 0 && BOUND <= 60, "exp(z) and its sum stay inside fp32");

// 2^x for |x| < 126, relative error 2^-22, as fast_exp2: attention_forward_sm90.cu's is coarser because its P is rounded at once, while these are summed and meet fast_exp2's.
__device__ __forceinline__ float polynomial_exp2(float x)
{
    const float shifted = x + 12582912.0f; // 1.5 * 2^23: the low bits hold round(x)
    const float f = x - (shifted - 12582912.0f);
    const float power = fmaf(fmaf(fmaf(fmaf(fmaf(0.00132779393f, f, 0.00967575796f), f, 0.0555070974f), f, 0.240221143f), f, 0.693146944f), f, 1.00000012f);
    return __uint_as_float(__float_as_uint(power) + (__float_as_uint(shifted) << 23));
}

// An element's exponential is computed in the same way in both passes.
__device__ __forceinline__ float exp2_of(int e, float x)
{
    return e < POLYNOMIALS ? polynomial_exp2(x) : fast_exp2(x);
}

// The two halves of a barrier of the cluster: every thread arrives, then waits.
__device__ __forceinline__ void cluster_arrive() { asm volatile("barrier.cluster.arrive.release;" ::: "memory"); }
__device__ __forceinline__ void cluster_wait() { asm volatile("barrier.cluster.wait.acquire;" ::: "memory"); }

// Writes to the same variable of another block of the cluster.
__device__ __forceinline__ void store_remote(const float* p, int block, float x)
{
    uint32_t address;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(shared_address(p)), "r"(block));
    asm volatile("st.shared::cluster.f32 [%0], %1;" :: "r"(address), "f"(x) : "memory");
}

// Sum of exp z over the thread's chunks, from the first copied to the last: LEFT copies may still be under way.
template <int LEFT>
__device__ __forceinline__ float sum_of_exponentials(const uint4* part, int count, float sum)
{
    copy_wait<LEFT>();
    const int i = threadIdx.x + (THREAD_CHUNKS - 1 - LEFT) * BLOCK_THREADS;
    if (i < count)
    {
        float s[8];
        unpack8(part[i], s);
#pragma unroll
        for (int e = 0; e < 8; e++) sum += exp2_of(e, logit_log2(s[e]));
    }
    if constexpr (LEFT > 0) return sum_of_exponentials<LEFT - 1>(part, count, sum);
    else return sum;
}

extern "C" __global__ void __cluster_dims__(1, CLUSTER, 1) __launch_bounds__(BLOCK_THREADS, 3)
KERNEL_NAME(elem* __restrict__ logits, int pitch, float* __restrict__ loss, const int* __restrict__ labels,
            const float* __restrict__ inv_labels, int rows)
{
    extern __shared__ uint4 part[];
    __shared__ float scratch[WARP_SIZE];
    __shared__ float sums[CLUSTER];

    // The cluster is the grid's column, so a block's rank in it is blockIdx.y. With a small vocabulary the last blocks have nothing to do but to take part in the sum.
    const int label = labels[blockIdx.x];
    const float inv = inv_labels[0];
    const int first = blockIdx.y * BLOCK_CHUNKS, count = min(BLOCK_CHUNKS, CHUNKS - first);
    elem* const elems = logits + (int64)blockIdx.x * pitch + first * 8;
    uint4* const row = reinterpret_cast<uint4*>(elems);

    // The whole cluster has the same label, so all of its blocks return or none.
    if (label < 0)
    {
        if (blockIdx.y == 0 && threadIdx.x == 0) loss[blockIdx.x] = 0.0f;
        for (int i = threadIdx.x; i < count; i += BLOCK_THREADS) row[i] = make_uint4(0, 0, 0, 0);
        return;
    }

    // A thread reads only what it copied itself, so the copies need no barrier.
#pragma unroll
    for (int c = 0; c < THREAD_CHUNKS; c++)
    {
        const int i = threadIdx.x + c * BLOCK_THREADS;
        if (i < count) copy16(shared_address(part + i), row + i, true);
        copy_commit();
    }
    cluster_arrive();

    // Pass 1: the log-sum-exp. Blocks send their sums to each other, and every thread adds them in the order of the blocks.
    const float block = block_sum(sum_of_exponentials<THREAD_CHUNKS - 1>(part, count, 0.0f), scratch);
    cluster_wait();                     // all blocks have started, so their shared memory may be written
    if (threadIdx.x < CLUSTER) store_remote(sums + blockIdx.y, threadIdx.x, block);
    cluster_arrive();
    cluster_wait();                     // all sums are here, and no block writes to another from now on
    float sum = 0.0f;
#pragma unroll
    for (int b = 0; b < CLUSTER; b++) sum += sums[b];
    const float lse = log2f(sum);

    // Pass 2: the gradient.
#pragma unroll 2
    for (int i = threadIdx.x; i < count; i += BLOCK_THREADS)
    {
        float s[8];
        unpack8(part[i], s);
#pragma unroll
        for (int e = 0; e < 8; e++)
        {
            float z, dz;
            logit_log2_and_derivative(s[e], z, dz);
            s[e] = exp2_of(e, z - lse) * (dz * inv);
        }
        row[i] = pack8(s);
    }

    // The thread that wrote the label's chunk writes the label's own gradient over it.
    const int label_elem = label - first * 8;
    if (label_elem >= 0 && label_elem / 8 < count && label_elem / 8 % BLOCK_THREADS == threadIdx.x)
    {
        float z, dz;
        logit_log2_and_derivative(to_float(reinterpret_cast<const elem*>(part)[label_elem]), z, dz);
        loss[blockIdx.x] = (lse - z) * LN_2;
        elems[label_elem] = to_elem((fast_exp2(z - lse) - 1.0f) * (dz * inv));
    }
}
