// Cross entropy of one chunk of rows, one block per row: logits [rows, VOCAB] become their own gradient in place.
//   z = logit(s)    lse = log sum exp z    loss = lse - z[label]    dlogits = (exp(z - lse) - onehot(label)) * dz/ds * inv_labels
// A negative label (-100) gives loss 0 and gradient 0, and its row is not read. loss is the row's own, not divided by the number of labels.
// Everything is fp32 between the load and the one rounding of a gradient.
//
// Literals: VOCAB (a multiple of 8), THREADS, KERNEL_NAME, and
//   BOUND   proven bound of |z|, at most 60: VOCAB * e^60 is far from fp32's end, so no maximum is taken; 0: unknown, a running maximum is kept.
//   CACHED  elems of a row kept in shared memory between the two passes: a multiple of 8, at most VOCAB.
// Holes, printed by the compiler from the model's own formula (natural units):
//   float logit(float s)
//   void logit_and_derivative(float s, float& z, float& dz)
// Launch: grid rows, block THREADS, dynamic shared memory 2 * CACHED bytes.

#define CHUNKS (VOCAB / 8)              // 16-byte chunks of a row
#define CACHED_CHUNKS (CACHED / 8)
#define AHEAD 4                         // chunks a thread asks for before it uses the first

static_assert(VOCAB % 8 == 0 && CACHED % 8 == 0 && CACHED <= VOCAB, "rows are read 16 bytes at a time");
static_assert(BOUND >= 0 && BOUND <= 60, "exp(z) and its sum stay inside fp32");

// Sum of exp(z - max) with the maximum it refers to; max stays 0 where a bound makes it needless.
struct ExpSum
{
    float max, sum;

    __device__ __forceinline__ void add(float z)
    {
#if BOUND
        sum += fast_exp(z);
#else
        if (z > max)
        {
            sum *= fast_exp(max - z);
            max = z;
        }
        sum += fast_exp(z - max);
#endif
    }
};

extern "C" __global__ void __launch_bounds__(THREADS, 1)
KERNEL_NAME(elem* __restrict__ logits, int pitch, float* __restrict__ loss, const int* __restrict__ labels,
            const float* __restrict__ inv_labels, int rows)
{
    extern __shared__ uint4 cached[];
    __shared__ float scratch[WARP_SIZE];

    const int label = labels[blockIdx.x];
    elem* const row_elems = logits + (int64)blockIdx.x * pitch;
    uint4* const row = reinterpret_cast<uint4*>(row_elems);

    if (label < 0)
    {
        if (threadIdx.x == 0) loss[blockIdx.x] = 0.0f;
        for (int i = threadIdx.x; i < CHUNKS; i += THREADS) row[i] = make_uint4(0, 0, 0, 0);
        return;
    }

    // Read before any thread writes a gradient: the sums below hold a barrier.
    const float label_logit = to_float(row_elems[label]);

    // Pass 1: the log-sum-exp.
#if BOUND
    ExpSum exps = {0.0f, 0.0f};
#else
    ExpSum exps = {-3.0e38f, 0.0f};
#endif
    for (int first = threadIdx.x; first < CHUNKS; first += THREADS * AHEAD)
    {
        uint4 packed[AHEAD];
#pragma unroll
        for (int a = 0; a < AHEAD; a++)
            if (first + a * THREADS < CHUNKS) packed[a] = row[first + a * THREADS];
#pragma unroll
        for (int a = 0; a < AHEAD; a++)
        {
            const int i = first + a * THREADS;
            if (i >= CHUNKS) break;
            if (i < CACHED_CHUNKS) cached[i] = packed[a];
            float s[8];
            unpack8(packed[a], s);
#pragma unroll
            for (int e = 0; e < 8; e++) exps.add(logit(s[e]));
        }
    }
#if BOUND
    const float lse = logf(block_sum(exps.sum, scratch));
#else
    const float max = block_max(exps.max, scratch);
    const float lse = max + logf(block_sum(exps.sum * fast_exp(exps.max - max), scratch));
#endif
    if (threadIdx.x == 0) loss[blockIdx.x] = lse - logit(label_logit);

    // Pass 2, backwards: the end of the row was read last and is still in L2, its beginning is in shared memory.
    const float inv = inv_labels[0];
    // This thread's last chunk; none when the row has fewer chunks than the block threads (a division of a negative number would round up to 0).
    const int last = threadIdx.x < CHUNKS ? (CHUNKS - 1 - (int)threadIdx.x) / THREADS * THREADS + (int)threadIdx.x : -1;
    for (int first = last; first >= 0; first -= THREADS * AHEAD)
    {
        uint4 packed[AHEAD];
#pragma unroll
        for (int a = 0; a < AHEAD; a++)
        {
            const int i = first - a * THREADS;
            if (i >= 0) packed[a] = i < CACHED_CHUNKS ? cached[i] : row[i];
        }
#pragma unroll
        for (int a = 0; a < AHEAD; a++)
        {
            const int i = first - a * THREADS;
            if (i < 0) break;
            float s[8];
            unpack8(packed[a], s);
#pragma unroll
            for (int e = 0; e < 8; e++)
            {
                float z, dz;
                logit_and_derivative(s[e], z, dz);
                s[e] = fast_exp(z - lse) * dz * inv;
            }
            row[i] = pack8(s);
        }
    }
    // The thread that wrote the label's chunk writes the label's own gradient over it.
    if (label / 8 % THREADS == threadIdx.x)
    {
        float z, dz;
        logit_and_derivative(label_logit, z, dz);
        row_elems[label] = to_elem((fast_exp(z - lse) - 1.0f) * dz * inv);
    }
}
