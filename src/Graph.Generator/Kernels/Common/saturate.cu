// Values of the forward in fp16: beyond its range a value is stored as its largest number, 65504, not as infinity, of which the next norm would make NaN. Gradients are not held inside
// the range: there infinity is what tells that the loss scale is too large. NaN stays NaN.

#define LARGEST_HALF 65504.0f

__device__ __forceinline__ float saturated(float x) { return fabsf(x) > LARGEST_HALF ? copysignf(LARGEST_HALF, x) : x; }

__device__ __forceinline__ uint4 pack8_saturated(const float (&x)[8])
{
    float y[8];
#pragma unroll
    for (int e = 0; e < 8; e++) y[e] = saturated(x[e]);
    return pack8(y);
}

// From here on every elem is rounded so.
#define to_elem(x) to_elem(saturated(x))
#define round_elem(x) round_elem(saturated(x))
#define pack2(lo, hi) pack2(saturated(lo), saturated(hi))
#define pack8(x) pack8_saturated(x)
#define store8(p, x) (*reinterpret_cast<uint4*>(p) = pack8_saturated(x))
