// AdamW over every adapter matrix in one launch, as torch.optim.AdamW does it, in fp32:
//   g = clip_coefficient * grad
//   p = p * (1 - lr * weight_decay)
//   m = m + (1 - beta1) * (g - m)        v = beta2 * v + (1 - beta2) * g^2
//   p = p - lr / bias_correction1 * m / (sqrt(v) / sqrt_bias_correction2 + eps)        copy = p rounded
// A step whose gradient norm is not finite (skipped) writes nothing. cast_adapters writes copy = p rounded alone, after p was uploaded.
// Launch: grid chunks, block ADAMW_THREADS (cast_adapters: THREADS). A thread has VECTORS vectors of 4, and all that they need is on its way before the first is computed
// (one element after the other where columns are no multiple of 4).

#define VECTORS 2
#define ADAMW_THREADS (CHUNK / 4 / VECTORS)

// What is the same for every element.
struct Step
{
    float clip, decay, size, inverse_sqrt_correction2, eps, one_minus_beta1, beta2, one_minus_beta2;
};

__device__ __forceinline__ float approximate_sqrt(float x)
{
    float y;
    asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// The square root and the quotient are within 2 units in the last place; the root of a subnormal v is 0, which eps > 0 makes harmless.
__device__ __forceinline__ void adamw_element(float& p, float& m, float& v, float grad, const Step& step)
{
    const float g = step.clip * grad;
    m += step.one_minus_beta1 * (g - m);
    v = step.beta2 * v + step.one_minus_beta2 * g * g;
    p = p * step.decay - step.size * __fdividef(m, approximate_sqrt(v) * step.inverse_sqrt_correction2 + step.eps);
}

extern "C" __global__ void __launch_bounds__(ADAMW_THREADS)
adamw(const Segment* __restrict__ segments, int segment_count, const Scalars* __restrict__ scalars, int chunks)
{
    const Scalars s = *scalars;
    if (s.skipped != 0.0f) return;
    const Step step = {s.clip_coefficient, 1.0f - s.lr * s.weight_decay, s.lr / s.bias_correction1, 1.0f / s.sqrt_bias_correction2, s.eps, s.one_minus_beta1, s.beta2, s.one_minus_beta2};

    int first, last;
    const Segment segment = find_segment(segments, segment_count, blockIdx.x, first, last);
    if (segment.cols % 4 == 0)
    {
        int row[VECTORS], col[VECTORS];
        float4 p[VECTORS], m[VECTORS], v[VECTORS], grad[VECTORS];
#pragma unroll
        for (int k = 0; k < VECTORS; k++)
        {
            const int i = first + (k * ADAMW_THREADS + threadIdx.x) * 4;
            row[k] = i / segment.cols;
            col[k] = i - row[k] * segment.cols;
            if (i >= last) continue;
            p[k] = *reinterpret_cast<const float4*>(segment.p + i);
            m[k] = *reinterpret_cast<const float4*>(segment.m + i);
            v[k] = *reinterpret_cast<const float4*>(segment.v + i);
            grad[k] = *reinterpret_cast<const float4*>(segment.grad + (int64)row[k] * segment.grad_pitch + col[k]);
        }
#pragma unroll
        for (int k = 0; k < VECTORS; k++)
        {
            const int i = first + (k * ADAMW_THREADS + threadIdx.x) * 4;
            if (i >= last) continue;
            adamw_element(p[k].x, m[k].x, v[k].x, grad[k].x, step);
            adamw_element(p[k].y, m[k].y, v[k].y, grad[k].y, step);
            adamw_element(p[k].z, m[k].z, v[k].z, grad[k].z, step);
            adamw_element(p[k].w, m[k].w, v[k].w, grad[k].w, step);
            *reinterpret_cast<float4*>(segment.p + i) = p[k];
            *reinterpret_cast<float4*>(segment.m + i) = m[k];
            *reinterpret_cast<float4*>(segment.v + i) = v[k];
            *reinterpret_cast<uint2*>(segment.copy + (int64)row[k] * segment.copy_pitch + col[k]) = make_uint2(pack2(p[k].x, p[k].y), pack2(p[k].z, p[k].w));
        }
    }
    else
        for (int i = first + threadIdx.x; i < last; i += ADAMW_THREADS)
        {
            const int row = i / segment.cols, col = i - row * segment.cols;
            float p = segment.p[i], m = segment.m[i], v = segment.v[i];
            adamw_element(p, m, v, segment.grad[(int64)row * segment.grad_pitch + col], step);
            segment.p[i] = p;
            segment.m[i] = m;
            segment.v[i] = v;
            segment.copy[(int64)row * segment.copy_pitch + col] = to_elem(p);
        }
}

extern "C" __global__ void __launch_bounds__(THREADS)
cast_adapters(const Segment* __restrict__ segments, int segment_count, int chunks)
{
    int first, last;
    const Segment segment = find_segment(segments, segment_count, blockIdx.x, first, last);
    for (int i = first + threadIdx.x; i < last; i += THREADS)
        segment.copy[(int64)(i / segment.cols) * segment.copy_pitch + i % segment.cols] = to_elem(segment.p[i]);
}
