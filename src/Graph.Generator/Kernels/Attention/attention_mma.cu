// What attention's kernels on mma.sync share: the grid of warps, and the products of a warp's M_TILES x 16 rows of a tile in shared memory by columns of the other operand.
// Its sums are C fragments (mma.cu), of every 16 rows SUMS floats: 8 columns after 8 columns.

// Warps form a grid over a product of M rows x N columns and over sums of M x HEAD_DIM: a warp owns ROWS rows, COLUMNS columns of the product and SUM_COLUMNS of the sums.
template <int M, int N>
struct warp_grid
{
    enum
    {
        ROWS = M % 32 == 0 && M / 32 * (N / 16) >= WARPS && HEAD_DIM % (WARPS / (M / 32) * 16) == 0 ? 32 : 16, M_TILES = ROWS / 16,
        M_WARPS = M / ROWS, N_WARPS = WARPS / M_WARPS, COLUMNS = N / N_WARPS, SUM_COLUMNS = HEAD_DIM / N_WARPS
    };
    static_assert(M_WARPS * N_WARPS == WARPS && COLUMNS % 16 == 0 && SUM_COLUMNS % 16 == 0, "tiles of whole fragments");
    int row, column, sum_column;

    __device__ __forceinline__ explicit warp_grid(int warp) : row(warp / N_WARPS * ROWS), column(warp % N_WARPS * COLUMNS), sum_column(warp % N_WARPS * SUM_COLUMNS) {}
};

// sum += a b^T, 16 STEPS deep: both operands have k along their columns, as q and k have.
template <int STEPS, int M_TILES, int SUMS, int ROW>
__device__ __forceinline__ void multiply_columns(float (&sum)[M_TILES][SUMS], const lane_address<ROW>& a_lane, const lane_address<ROW>& b_lane)
{
#pragma unroll
    for (int step = 0; step < STEPS; step++)
    {
        uint32_t a[M_TILES][4];
#pragma unroll
        for (int m = 0; m < M_TILES; m++) ldmatrix_x4(a[m], a_lane.at(m * 16, step));
#pragma unroll
        for (int n = 0; n < SUMS / 4; n += 2)
        {
            uint32_t b[4];
            ldmatrix_x4(b, b_lane.at(n * 8, step));
#pragma unroll
            for (int m = 0; m < M_TILES; m++)
            {
                mma_m16n8k16(sum[m] + n * 4, a[m], b[0], b[1]);
                mma_m16n8k16(sum[m] + n * 4 + 4, a[m], b[2], b[3]);
            }
        }
    }
}

// sum += a b, 16 STEPS deep: b has k along its rows, and its columns 16 * first and on are the sum's.
template <int STEPS, int M_TILES, int SUMS, int A_ROW, int B_ROW>
__device__ __forceinline__ void multiply_rows(float (&sum)[M_TILES][SUMS], const lane_address<A_ROW>& a_lane, const lane_address<B_ROW>& b_lane, int first)
{
#pragma unroll
    for (int step = 0; step < STEPS; step++)
    {
        uint32_t a[M_TILES][4];
#pragma unroll
        for (int m = 0; m < M_TILES; m++) ldmatrix_x4(a[m], a_lane.at(m * 16, step));
#pragma unroll
        for (int n = 0; n < SUMS / 8; n++)
        {
            uint32_t b[4];
            ldmatrix_x4_trans(b, b_lane.at(step * 16, first + n));
#pragma unroll
            for (int m = 0; m < M_TILES; m++)
            {
                mma_m16n8k16(sum[m] + n * 8, a[m], b[0], b[1]);
                mma_m16n8k16(sum[m] + n * 8 + 4, a[m], b[2], b[3]);
            }
        }
    }
}

// Puts a warp's sums into a tile, from this row and column on.
template <int ROW, int M_TILES, int SUMS>
__device__ __forceinline__ void stage_sums(uint32_t tile, int row, int column, const float (&sum)[M_TILES][SUMS])
{
    const int lane = threadIdx.x % WARP_SIZE;
#pragma unroll
    for (int m = 0; m < M_TILES; m++)
#pragma unroll
        for (int i = 0; i < SUMS; i += 2)
            store_pair<ROW>(tile, row + m * 16 + i / 2 % 2 * 8 + lane / 4, column + i / 4 * 8 + lane % 4 * 2, sum[m][i], sum[m][i + 1]);
}
