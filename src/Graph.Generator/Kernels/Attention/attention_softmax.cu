// What attention's kernels do to scores, on both kinds of tensor cores. s: a thread's C fragments of 16 rows (mma.cu), 8 columns after 8 columns; s[i] is i / 2 % 2 * 8 rows
// and i / 4 * 8 + i % 2 columns from s[0], whose query is `row` and whose key is `key`.

// Entries whose key their row does not see become `masked`.
template <int COUNT>
__device__ __forceinline__ void mask_unseen(float (&s)[COUNT], int row, int key, const int* first, float masked)
{
#pragma unroll
    for (int i = 0; i < COUNT; i++)
        if (!is_visible(key + i / 4 * 8 + i % 2, row + i / 2 % 2 * 8, first[i / 2 % 2])) s[i] = masked;
}

// The distance of s[i]'s pair; ahead: that of s[0]'s, exact below 2^24.
__device__ __forceinline__ float distance_of(float ahead, int i) { return ahead + (i / 2 % 2 * 8 - i / 4 * 8 - i % 2); }

// s becomes P dscore/ds, P = exp2(score - lse). The derivative is taken of the unmasked score, so an entry that is masked after this is 0 and never inf * 0.
// distance: that of s[0]'s pair.
template <int COUNT>
__device__ __forceinline__ void probability_slopes(float (&s)[COUNT], int distance, int head, const float* lse)
{
    const float ahead = (float)distance;
#pragma unroll
    for (int i = 0; i < COUNT; i++)
    {
        float score, slope;
        score_log2_and_derivative(s[i], distance_of(ahead, i), head, score, slope);
        s[i] = fast_exp2(score - lse[i / 2 % 2]) * slope;
    }
}

// Four neighbouring lanes share a row.
__device__ __forceinline__ float quad_sum(float x)
{
    x += __shfl_xor_sync(FULL_MASK, x, 1);
    x += __shfl_xor_sync(FULL_MASK, x, 2);
    return x;
}

// Online softmax of a row: its reference moves up to the row's maximum when that is more than SLACK above it, s becomes exp2(s - reference), and what was summed before is worth the factor
// that is returned.
template <int SLACK, int COUNT>
__device__ __forceinline__ float move_reference(float (&s)[COUNT], int half, float& reference, float& sum)
{
    float high = SLACK ? -INF : reference;
#pragma unroll
    for (int n = 0; n < COUNT / 4; n++) high = fmaxf(high, fmaxf(s[n * 4 + half * 2], s[n * 4 + half * 2 + 1]));
    high = fmaxf(high, __shfl_xor_sync(FULL_MASK, high, 1));
    high = fmaxf(high, __shfl_xor_sync(FULL_MASK, high, 2));
    const float moved = SLACK == 0 || high > reference + SLACK ? high : reference;
    // A row that has seen no key yet keeps sum 0 and out 0; 0 as its reference avoids inf - inf.
    const float shift = moved == -INF ? 0.0f : moved;
    const float rescale = fast_exp2(reference - shift);
    reference = moved;
    sum *= rescale;
#pragma unroll
    for (int n = 0; n < COUNT / 4; n++)
    {
        s[n * 4 + half * 2] = fast_exp2(s[n * 4 + half * 2] - shift);
        s[n * 4 + half * 2 + 1] = fast_exp2(s[n * 4 + half * 2 + 1] - shift);
    }
    return rescale;
}
