// The products of attention on mma.sync: a warp's M_TILES x 16 rows of a tile in shared memory by N_TILES x 8 columns of the other operand.

// sum += a b^T, 16 STEPS deep: both operands have k along their columns, as q and k have.
template <int STEPS, int M_TILES, int N_TILES, int ROW>
__device__ __forceinline__ void multiply_columns(float (&sum)[M_TILES][N_TILES][4], const lane_address<ROW>& a_lane, const lane_address<ROW>& b_lane)
{
#pragma unroll
    for (int step = 0; step < STEPS; step++)
    {
        uint32_t a[M_TILES][4];
#pragma unroll
        for (int m = 0; m < M_TILES; m++) ldmatrix_x4(a[m], a_lane.at(m * 16, step));
#pragma unroll
        for (int n = 0; n < N_TILES; n += 2)
        {
            uint32_t b[4];
            ldmatrix_x4(b, b_lane.at(n * 8, step));
#pragma unroll
            for (int m = 0; m < M_TILES; m++)
            {
                mma_m16n8k16(sum[m][n], a[m], b[0], b[1]);
                mma_m16n8k16(sum[m][n + 1], a[m], b[2], b[3]);
            }
        }
    }
}

// sum += a b, 16 STEPS deep: b has k along its rows, and its columns 16 * first and on are the sum's.
template <int STEPS, int M_TILES, int N_TILES, int A_ROW, int B_ROW>
__device__ __forceinline__ void multiply_rows(float (&sum)[M_TILES][N_TILES][4], const lane_address<A_ROW>& a_lane, const lane_address<B_ROW>& b_lane, int first)
{
#pragma unroll
    for (int step = 0; step < STEPS; step++)
    {
        uint32_t a[M_TILES][4];
#pragma unroll
        for (int m = 0; m < M_TILES; m++) ldmatrix_x4(a[m], a_lane.at(m * 16, step));
#pragma unroll
        for (int n = 0; n < N_TILES / 2; n++)
        {
            uint32_t b[4];
            ldmatrix_x4_trans(b, b_lane.at(step * 16, first + n));
#pragma unroll
            for (int m = 0; m < M_TILES; m++)
            {
                mma_m16n8k16(sum[m][n * 2], a[m], b[0], b[1]);
                mma_m16n8k16(sum[m][n * 2 + 1], a[m], b[2], b[3]);
            }
        }
    }
}
