// Cross entropy of one chunk of rows whose sums of exponentials the product has made, tile by tile: logits [rows, VOCAB] become their own gradient in place, each read once and written once.
//   z = logit(s)    lse = log sum of a row's sums    loss = lse - z[label]    dlogits = (exp(z - lse) - onehot(label)) * dz/ds * inv_labels
// A row with a negative label has loss 0 and keeps its logits: it is one behind the last token that has a label, and nothing reads it. loss is the row's own, not divided by the number of labels.
// Everything is fp32 between the load and the one rounding of a gradient.
//
// Literals: VOCAB (a multiple of 8), THREADS, PARTS (blocks of a row), THREAD_CHUNKS (16-byte chunks of a thread: PARTS * THREADS * THREAD_CHUNKS cover a row), SUMS (of a row), MIN_BLOCKS (of a multiprocessor), KERNEL_NAME.
// Hole: void logit_log2_and_derivative(float s, float& z, float& dz), z in units of log2, dz in natural ones.
// Launch: grid (rows, PARTS), block THREADS.

#define CHUNKS (VOCAB / 8)
#define PART_CHUNKS (THREADS * THREAD_CHUNKS)

static_assert(VOCAB % 8 == 0 && (int64)PARTS * PART_CHUNKS >= CHUNKS, "rows are read 16 bytes at a time");

extern "C" __global__ void __launch_bounds__(THREADS, MIN_BLOCKS)
KERNEL_NAME(elem* __restrict__ logits, int pitch, float* __restrict__ loss, const int* __restrict__ labels,
            const float* __restrict__ inv_labels, const float* __restrict__ sums, int sums_pitch, int rows)
{
    __shared__ float scratch[WARP_SIZE];

    // All parts of a row before the next row: blocks at work together share pages of memory.
    const int order = blockIdx.y * gridDim.x + blockIdx.x, t = order / PARTS, part = order % PARTS;
    const int label = labels[t], first = part * PART_CHUNKS + threadIdx.x;
    if (label < 0)
    {
        if (part == 0 && threadIdx.x == 0) loss[t] = 0.0f;
        return;
    }
    elem* const elems = logits + (int64)t * pitch;
    uint4* const row = reinterpret_cast<uint4*>(elems);

    // All of the thread's chunks are on their way while the row's sums are added up, in the same order by every block of the row.
    uint4 packed[THREAD_CHUNKS];
#pragma unroll
    for (int c = 0; c < THREAD_CHUNKS; c++)
        if (first + c * THREADS < CHUNKS) packed[c] = row[first + c * THREADS];
    const float inv = inv_labels[0];
    float sum = 0.0f;
    for (int i = threadIdx.x; i < SUMS; i += THREADS) sum += sums[(int64)t * sums_pitch + i];
    const float lse = log2f(block_sum(sum, scratch));

    // The thread that has the label's chunk takes 1 from the label's probability.
    const int label_chunk = label / 8;
#pragma unroll
    for (int c = 0; c < THREAD_CHUNKS; c++)
    {
        const int i = first + c * THREADS;
        if (i >= CHUNKS) break;
        float s[8];
        unpack8(packed[c], s);
#pragma unroll
        for (int e = 0; e < 8; e++)
        {
            float z, dz;
            logit_log2_and_derivative(s[e], z, dz);
            s[e] = fast_exp2(z - lse) * (dz * inv);
        }
        row[i] = pack8(s);
        if (i == label_chunk)
        {
            unpack8(packed[c], s);
            float own = 0.0f;
#pragma unroll
            for (int e = 0; e < 8; e++) own = e == label % 8 ? s[e] : own;
            float z, dz;
            logit_log2_and_derivative(own, z, dz);
            loss[t] = (lse - z) * LN_2;
            elems[label] = to_elem((fast_exp2(z - lse) - 1.0f) * (dz * inv));
        }
    }
}
