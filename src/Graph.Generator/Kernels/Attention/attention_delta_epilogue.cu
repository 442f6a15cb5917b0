// Attention's delta as the epilogue of the product that makes do: delta[t, n] = sum over d of do[t, n, d] * o[t, n, d], SUMS (128 or 256) columns a head, in the order and with the bits of attention_delta.cu.

// f32[T, heads], and the forward's output.
struct Epilogue
{
    float* delta; int delta_pitch;
    const elem* o; int o_pitch;
};

struct Beside { uint4 o; };

__device__ __forceinline__ Beside load_beside(const Epilogue& arguments, int64 row, int column)
{
    return { *reinterpret_cast<const uint4*>(arguments.o + row * arguments.o_pitch + column) };
}

__device__ __forceinline__ float epilogue(const Epilogue& arguments, const Beside& beside, int64 row, int column, const float (&d_o)[8])
{
    float o[8], sum = 0.0f;
    unpack8(beside.o, o);
#pragma unroll
    for (int j = 0; j < 8; j++) sum += o[j] * d_o[j];
    return sum;
}

__device__ __forceinline__ void store_sum(const Epilogue& arguments, int64 row, int head, float sum) { arguments.delta[row * arguments.delta_pitch + head] = sum; }

