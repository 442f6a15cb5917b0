// Dropout of an adapter's input and its gradient: an element stays, times 1 / (1 - p), where a random number is not below p * 2^32, else it is 0.
// The number is a function of seed, micro-batch, adapter, token and column alone (Philox 4x32, 10 rounds, as in Salmon et al., "Parallel random numbers: as easy as 1, 2, 3"), so the forward, a
// recomputation, the backward, the CPU and a run that goes on see the same mask, and none is stored.
//   adapter_dropout:      to = dropped(from)
//   adapter_dropout_add:  to += dropped(from)
// Launch: ceil(rows / ROWS) blocks of ROWS warps, a warp a row; a lane has 8 neighbouring columns at a time. Columns and pitches are multiples of 8.

// Graph.Runtime/Planning/AdapterDropout.cs has the same layout.
struct Dropped
{
    uint32_t adapter;       // its number in the model
    uint32_t threshold;     // p * 2^32
    float scale;            // 1 / (1 - p)
    int columns;
};

__device__ __forceinline__ uint4 philox(uint4 counter, uint32_t key0, uint32_t key1)
{
#pragma unroll
    for (int round = 0; round < 10; round++)
    {
        const uint32_t high0 = __umulhi(0xD2511F53u, counter.x), low0 = 0xD2511F53u * counter.x;
        const uint32_t high1 = __umulhi(0xCD9E8D57u, counter.z), low1 = 0xCD9E8D57u * counter.z;
        counter = make_uint4(high1 ^ counter.y ^ key0, low1, high0 ^ counter.w ^ key1, low0);
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return counter;
}

// key: seed, then the number of the micro-batch, low word first.
template <bool ADD>
__device__ __forceinline__ void drop(elem* __restrict__ to, int to_pitch, const elem* __restrict__ from, int from_pitch, const Dropped* __restrict__ dropped, const uint32_t* __restrict__ key, int rows)
{
    const int row = blockIdx.x * ROWS + threadIdx.x / WARP_SIZE;
    if (row >= rows) return;
    const Dropped d = *dropped;
    const uint32_t seed = key[0], low = key[1], high = key[2];
    for (int column = threadIdx.x % WARP_SIZE * 8; column < d.columns; column += WARP_SIZE * 8)
    {
        const uint4 a = philox(make_uint4(column / 4, row, d.adapter, low), seed, high), b = philox(make_uint4(column / 4 + 1, row, d.adapter, low), seed, high);
        const uint32_t random[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
        elem* const target = to + (int64)row * to_pitch + column;
        float value[8], sum[8];
        load8(from + (int64)row * from_pitch + column, value);
        if (ADD) load8(target, sum);
#pragma unroll
        for (int i = 0; i < 8; i++)
        {
            const float kept = random[i] < d.threshold ? 0.0f : value[i] * d.scale;
            value[i] = ADD ? sum[i] + kept : kept;
        }
        store8(target, value);
    }
}

extern "C" __global__ void __launch_bounds__(ROWS * WARP_SIZE)
adapter_dropout(elem* __restrict__ to, int to_pitch, const elem* __restrict__ from, int from_pitch, const Dropped* __restrict__ dropped, const uint32_t* __restrict__ key, int rows)
{
    drop<false>(to, to_pitch, from, from_pitch, dropped, key, rows);
}

extern "C" __global__ void __launch_bounds__(ROWS * WARP_SIZE)
adapter_dropout_add(elem* __restrict__ to, int to_pitch, const elem* __restrict__ from, int from_pitch, const Dropped* __restrict__ dropped, const uint32_t* __restrict__ key, int rows)
{
    drop<true>(to, to_pitch, from, from_pitch, dropped, key, rows);
}
