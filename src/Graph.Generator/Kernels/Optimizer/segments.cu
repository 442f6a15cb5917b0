// What the optimizer's kernels share: the table of adapter matrices and the block of run-time scalars.

// One trainable matrix, 64 bytes; Graph.Runtime/Optimizers/AdamSegment.cs has the same layout. Pointers are 16-byte aligned.
// p, m and v are contiguous [rows, cols]; grad and copy are rectangles of pitched matrices (pitches in elements).
// Work is cut into chunks of CHUNK elements that never cross a segment: one block each, first_chunk is the number of chunks before this segment.
struct Segment
{
    float* p;               //  0  master weights
    float* m;               //  8  first moment
    float* v;               // 16  second moment
    const float* grad;      // 24
    elem* copy;             // 32  what the GEMMs read: p rounded once
    int rows, cols;         // 40, 44
    int grad_pitch;         // 48
    int copy_pitch;         // 52
    int first_chunk;        // 56
    int unused;             // 60
};

#define CHUNK 4096
#define THREADS 256

// Run-time scalars, all fp32; ScalarBlock of Graph.Runtime/Optimizers/AdamSegment.cs has the same layout.
struct Scalars
{
    float lora_scale, inv_labels;                       // inv_labels multiplies dlogits: loss_weight times loss_scale
    float loss_weight;                                  // 1 / labels of the step
    float lr, beta1, one_minus_beta1, beta2, one_minus_beta2, eps, weight_decay;
    float bias_correction1, sqrt_bias_correction2;      // 1 - beta1^step, sqrt(1 - beta2^step)
    float clip;                                         // largest gradient norm; 0 or less: no clipping
    float growth_steps;                                 // steps in a row that are not skipped, after which loss_scale doubles; 0: it stays
    float grad_norm, clip_coefficient, loss_sum;        // written by gradient_norm and loss_sum
    float skipped;                                      // 1 when the gradient norm is not finite, else 0
    float loss_scale, good_steps;                       // kept from step to step: a power of two, and the steps since it changed or one was skipped
};

// The segment of a chunk and the chunk's elements [first, last) in it: the last segment that starts at or before the chunk. A warp looks at 32 segments at once,
// so hundreds take two loads one after the other; every lane calls it.
__device__ __forceinline__ Segment find_segment(const Segment* __restrict__ segments, int count, int chunk, int& first, int& last)
{
    const int lane = threadIdx.x % WARP_SIZE;
    int low = 0;
    for (int left = count; left > 1;)
    {
        const int stride = (left + WARP_SIZE - 1) / WARP_SIZE, behind = lane * stride;
        const uint32_t starts = __ballot_sync(FULL_MASK, behind < left && segments[low + behind].first_chunk <= chunk);
        const int last_start = (31 - __clz(starts)) * stride; // lane 0's segment always starts at or before the chunk
        low += last_start;
        left = min(stride, left - last_start);
    }
    const Segment segment = segments[low];
    first = (chunk - segment.first_chunk) * CHUNK;
    last = min(first + CHUNK, segment.rows * segment.cols);
    return segment;
}
