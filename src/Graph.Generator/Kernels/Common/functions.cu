// Functions of expressions that few models use; after the prelude, in kernels that call them.

// 1 / (1 + e^-x), relative error 2^-21. Where e^-x is infinite the result is 0, so no x of any size gives NaN.
__device__ __forceinline__ float fast_sigmoid(float x)
{
    return __fdividef(1.0f, 1.0f + fast_exp(-x));
}

// max(x, 0), and NaN for NaN, which fmaxf would hide.
__device__ __forceinline__ float positive_part(float x)
{
    return x < 0.0f ? 0.0f : x;
}

// 1 where x > 0, else 0: the slope of positive_part.
__device__ __forceinline__ float is_positive(float x)
{
    return x > 0.0f ? 1.0f : 0.0f;
}

