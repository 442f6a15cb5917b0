// AdamW over every adapter matrix in one launch, as torch.optim.AdamW does it, in fp32:
//   g = clip_coefficient * grad
//   p = p * (1 - lr * weight_decay)
//   m = m + (1 - beta1) * (g - m)        v = beta2 * v + (1 - beta2) * g^2
//   p = p - lr / bias_correction1 * m / (sqrt(v) / sqrt_bias_correction2 + eps)        copy = p rounded
// A step whose gradient norm is not finite (skipped) writes nothing. cast_adapters writes copy = p rounded alone, after p was uploaded.
// Launch: grid chunks, block THREADS.

__device__ __forceinline__ void adamw_element(float& p, float& m, float& v, float grad, const Scalars& s)
{
    const float g = s.clip_coefficient * grad;
    p *= 1.0f - s.lr * s.weight_decay;
    m += s.one_minus_beta1 * (g - m);
    v = s.beta2 * v + s.one_minus_beta2 * g * g;
    p -= s.lr / s.bias_correction1 * (m / (sqrtf(v) / s.sqrt_bias_correction2 + s.eps));
}

extern "C" __global__ void __launch_bounds__(THREADS)
adamw(const Segment* __restrict__ segments, int segment_count, const Scalars* __restrict__ scalars, int chunks)
{
    const Scalars s = *scalars;
    if (s.skipped != 0.0f) return;

    int first, last;
    const Segment segment = find_segment(segments, segment_count, blockIdx.x, first, last);
    if (segment.cols % 4 == 0)
        for (int i = first + threadIdx.x * 4; i < last; i += THREADS * 4)
        {
            const int row = i / segment.cols, col = i % segment.cols;
            float4 p = *reinterpret_cast<const float4*>(segment.p + i);
            float4 m = *reinterpret_cast<const float4*>(segment.m + i);
            float4 v = *reinterpret_cast<const float4*>(segment.v + i);
            const float4 grad = *reinterpret_cast<const float4*>(segment.grad + (int64)row * segment.grad_pitch + col);
            adamw_element(p.x, m.x, v.x, grad.x, s);
            adamw_element(p.y, m.y, v.y, grad.y, s);
            adamw_element(p.z, m.z, v.z, grad.z, s);
            adamw_element(p.w, m.w, v.w, grad.w, s);
            *reinterpret_cast<float4*>(segment.p + i) = p;
            *reinterpret_cast<float4*>(segment.m + i) = m;
            *reinterpret_cast<float4*>(segment.v + i) = v;
            *reinterpret_cast<uint2*>(segment.copy + (int64)row * segment.copy_pitch + col) = make_uint2(pack2(p.x, p.y), pack2(p.z, p.w));
        }
    else
        for (int i = first + threadIdx.x; i < last; i += THREADS)
        {
            const int row = i / segment.cols, col = i % segment.cols;
            float p = segment.p[i], m = segment.m[i], v = segment.v[i];
            adamw_element(p, m, v, segment.grad[(int64)row * segment.grad_pitch + col], s);
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
