// Norm of all adapter gradients and what clipping makes of it, as torch.nn.utils.clip_grad_norm_, in fp32, the same bits every time:
//   grad_norm = sqrt(sum of squares)        clip_coefficient = min(1, clip / (grad_norm + 1e-6)), or 1 where clip <= 0
//   skipped = 1 where grad_norm is not finite
// Gradients are loss_scale times those of the loss. It is a power of two, and is divided out of the norm and, in clip_coefficient, of every gradient: without overflow the bits are those of scale 1.
// The scale then follows torch.amp.GradScaler: half after a skipped step (1 at least), twice after growth_steps others in a row.
// Stage 1 sums each chunk of the segment table (real elements only, no padding), stage 2 the chunks in a fixed order.

// Launch: grid chunks, block THREADS.
extern "C" __global__ void __launch_bounds__(THREADS)
gradient_norm_partials(float* __restrict__ partials, const Segment* __restrict__ segments, int segment_count, int chunks)
{
    __shared__ float scratch[WARP_SIZE];
    int first, last;
    const Segment segment = find_segment(segments, segment_count, blockIdx.x, first, last);
    float squares = 0.0f;
    if (segment.cols % 4 == 0)
        for (int i = first + threadIdx.x * 4; i < last; i += THREADS * 4)
        {
            const int row = i / segment.cols, col = i % segment.cols;
            const float4 g = *reinterpret_cast<const float4*>(segment.grad + (int64)row * segment.grad_pitch + col);
            squares += g.x * g.x + g.y * g.y + (g.z * g.z + g.w * g.w);
        }
    else
        for (int i = first + threadIdx.x; i < last; i += THREADS)
        {
            const float g = segment.grad[(int64)(i / segment.cols) * segment.grad_pitch + i % segment.cols];
            squares += g * g;
        }
    squares = block_sum(squares, scratch);
    if (threadIdx.x == 0) partials[blockIdx.x] = squares;
}

// Launch: one block of THREADS.
extern "C" __global__ void __launch_bounds__(THREADS)
gradient_norm(Scalars* __restrict__ scalars, const float* __restrict__ partials, int chunks)
{
    __shared__ float scratch[WARP_SIZE];
    float squares = 0.0f;
    for (int i = threadIdx.x; i < chunks; i += THREADS) squares += partials[i];
    squares = block_sum(squares, scratch);
    if (threadIdx.x == 0)
    {
        const float scale = scalars->loss_scale, norm = sqrtf(squares) / scale, clip = scalars->clip, growth_steps = scalars->growth_steps;
        const bool finite = norm <= 3.402823466e38f;        // false for infinity and NaN
        scalars->grad_norm = norm;
        scalars->clip_coefficient = (clip > 0.0f && finite ? fminf(1.0f, clip / (norm + 1e-6f)) : 1.0f) / scale;
        scalars->skipped = finite ? 0.0f : 1.0f;
        if (growth_steps > 0.0f)
        {
            const float good = finite ? scalars->good_steps + 1.0f : 0.0f;
            const bool grows = good >= growth_steps;
            scalars->loss_scale = !finite ? fmaxf(0.5f * scale, 1.0f) : grows ? fminf(2.0f * scale, 1.70141183e38f) : scale;
            scalars->good_steps = grows ? 0.0f : good;
        }
    }
}
