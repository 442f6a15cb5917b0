// What the kernels of dk and dv on wgmma share: P^T and P^T dscore/ds from S^T, and what of them is masked, whether dS is kept or not.

// Of a thread's pairs of P^T or P^T dscore/ds, those of queries that do not see the key become 0, whatever their bits say: exp2 of a masked score may be inf. Only tiles on the diagonal, the window's or a
// document's edge need it. ahead: the thread's first query less its key; span: span_of its two keys, 8 apart.
__device__ __forceinline__ void clear_unseen(uint32_t (&pairs)[DS_TILE / 16][4], int ahead, const int (&span)[2])
{
#pragma unroll
    for (int i = 0; i < DS_TILE / 4; i++)
    {
        const int distance = ahead + i / 2 * 8 - i % 2 * 8;
        pairs[i / 4][i % 4] &= ((uint32_t)distance < (uint32_t)span[i % 2] ? 0xFFFFu : 0u) | ((uint32_t)(distance + 1) < (uint32_t)span[i % 2] ? 0xFFFF0000u : 0u);
    }
}

// P = exp2(score - lse) and P dscore/ds of a C fragment of S^T; distance + on: that of its first pair, exact below 2^24.
__device__ __forceinline__ void probabilities_and_slopes(float (&p)[4], float (&p_slope)[4], const float* s, float distance, int on, int head, float2 lse)
{
#pragma unroll
    for (int i = 0; i < 4; i++)
    {
        float score, slope;
        score_log2_and_derivative(s[i], distance + (on + i % 2 - i / 2 * 8), head, score, slope);
        p[i] = fast_exp2(score - (i % 2 ? lse.y : lse.x));
        p_slope[i] = p[i] * slope;
    }
}
