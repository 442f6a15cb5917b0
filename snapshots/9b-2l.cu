// ======== k00_mul_input_layernorm
// k00_mul_input_layernorm <sm_90a>  launches: 1
//   %2 = embedding %0 %1 : act[T,3584]  // Gemma2Model.Forward embedding
//   %4 = mul %2 %3 : act[T,3584]  // Gemma2Model.Forward mul
//   %6 = mul %4 %4 : act[T,3584]  // layers.0.self_attn mul
//   %8 = row_sum %6 : f32[T,1]  // layers.0.self_attn row_sum
//   %9 = mul %7 %8 : f32[T,1]  // layers.0.self_attn mul
//   %11 = add %9 %10 : f32[T,1]  // layers.0.self_attn add
//   %12 = rsqrt %11 : f32[T,1]  // layers.0.self_attn rsqrt
//   %13 = mul %4 %12 : act[T,3584]  // layers.0.self_attn mul
//   %16 = mul %13 %15 : act[T,3584]  // layers.0.self_attn input_layernorm
// tensors of the first launch: mul layers.0.input_layernorm[:,0:3584] ids model.embed_tokens.weight model.layers.0.input_layernorm.weight
// 21504 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(448)
k00_mul_input_layernorm(elem* __restrict__ mul_rows, int mul_pitch,
    elem* __restrict__ input_layernorm_rows, int input_layernorm_pitch,
    const int* __restrict__ embed_tokens_ids, const elem* __restrict__ embed_tokens_table, int embed_tokens_pitch,
    const elem* __restrict__ input_layernorm_weight_vector,
    int rows)
{
    __shared__ float scratch[2][WARP_SIZE];
    const int column = threadIdx.x * 8;

    // What a row needs is loaded while the row before it is reduced, so that loads are always in flight.
    const int first = blockIdx.x * 3, end = min(first + 3, rows);
    uint4 embed_tokens_next = packed8(embed_tokens_table + (int64)embed_tokens_ids[first] * embed_tokens_pitch + column);

    // Vectors that all rows share. A thread reads back what it wrote itself; registers would cost a block per multiprocessor.
    __shared__ uint4 vectors[1][448];
    vectors[0][threadIdx.x] = packed8(input_layernorm_weight_vector + column);

    int row = first;
#pragma unroll 1
    do
    {
        float embed_tokens[8];
        unpack8(embed_tokens_next, embed_tokens);
        if (row + 1 < end)
        {
            embed_tokens_next = packed8(embed_tokens_table + (int64)embed_tokens_ids[row + 1] * embed_tokens_pitch + column);
        }

        // mul
        float mul[8];
        for (int j = 0; j < 8; j++) mul[j] = embed_tokens[j] * round_elem(59.8665199f);
        store8(mul_rows + (int64)row * mul_pitch + column, mul);
        for (int j = 0; j < 8; j++) mul[j] = round_elem(mul[j]);

        // row_sum
        float row_sum_part = 0.0f;
        for (int j = 0; j < 8; j++) row_sum_part += mul[j] * mul[j];
        const float row_sum = row_block_sum(row_sum_part, scratch[row & 1]);
        const float mul2 = 0.00027901787f * row_sum;
        const float add = mul2 + 9.99999997E-07f;
        const float rsqrt = rsqrtf(add);

        float input_layernorm_weight[8];
        unpack8(vectors[0][threadIdx.x], input_layernorm_weight);

        // mul
        float input_layernorm[8];
        for (int j = 0; j < 8; j++) input_layernorm[j] = mul[j] * rsqrt * (1.0f + input_layernorm_weight[j]);
        store8(input_layernorm_rows + (int64)row * input_layernorm_pitch + column, input_layernorm);
    }
    while (++row < end);
}


// ======== k01_rope
// k01_rope <sm_90a>  launches: 2
//   %21 = rope %20 {theta=10000} : act[T,16,256]  // layers.0.self_attn q_proj
//   %24 = rope %23 {theta=10000} : act[T,8,256]  // layers.0.self_attn k_proj
// tensors of the first launch: layers.0.q_proj+k_proj+v_proj[:,0:6144] positions
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME k01_rope
#define HEADS 24
#define INVERSE 0
#define TILE_ROWS 16
#define TILE_HEADS 4
#define HEAD_DIM 256
#define THETA 10000.0

@prelude.cu
@rotation.cu
@rope.cu

// ======== k02_attention_forward
// k02_attention_forward <sm_90a>  launches: 1
//   %27 = attention %21 %24 %26 {score=(50*tanh((0.00125*s))) window=4096} : act[T,16,256]  // layers.0.self_attn attention
// tensors of the first launch: layers.0.attention[:,0:4096] layers.0.attention_lse layers.0.q_proj+k_proj+v_proj[:,0:4096] layers.0.q_proj+k_proj+v_proj[:,4096:6144] layers.0.q_proj+k_proj+v_proj[:,6144:8192] doc_start
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME k02_attention_forward
#define HEAD_DIM 256
#define GROUP 2
#define WINDOW 4096
#define BOUNDED 1
#define TILE_Q 128
#define TILE_K 64
#define WARPS 12
#define STAGES 2

@prelude.cu
@mma.cu
@wgmma.cu
// score(s) = (50*tanh((0.00125*s))), traced from the model; in units of log2.
__device__ __forceinline__ float score_log2(float s)
{
    return 72.1347504f * fast_tanh(0.00124999997f * s);
}

// The same, and d(score)/ds in natural units, from shared work.
__device__ __forceinline__ void score_log2_and_derivative(float s, float& z, float& dz)
{
    const float t = fast_tanh(0.00124999997f * s);
    z = 72.1347504f * t;
    dz = 0.0625f * (1.0f - t * t);
}


@attention_forward_sm90.cu

// ======== k03_sum_pre_feedforward_layernorm
// k03_sum_pre_feedforward_layernorm <sm_90a>  launches: 1
//   %33 = mul %31 %31 : act[T,3584]  // layers.0.self_attn mul
//   %34 = row_sum %33 : f32[T,1]  // layers.0.self_attn row_sum
//   %35 = mul %7 %34 : f32[T,1]  // layers.0.self_attn mul
//   %36 = add %35 %10 : f32[T,1]  // layers.0.self_attn add
//   %37 = rsqrt %36 : f32[T,1]  // layers.0.self_attn rsqrt
//   %38 = mul %31 %37 : act[T,3584]  // layers.0.self_attn mul
//   %40 = mul %38 %39 : act[T,3584]  // layers.0.self_attn post_attention_layernorm
//   %41 = add %4 %40 : act[T,3584]  // layers.0.self_attn sum
//   %43 = mul %41 %41 : act[T,3584]  // layers.0.mlp mul
//   %44 = row_sum %43 : f32[T,1]  // layers.0.mlp row_sum
//   %45 = mul %7 %44 : f32[T,1]  // layers.0.mlp mul
//   %46 = add %45 %10 : f32[T,1]  // layers.0.mlp add
//   %47 = rsqrt %46 : f32[T,1]  // layers.0.mlp rsqrt
//   %48 = mul %41 %47 : act[T,3584]  // layers.0.mlp mul
//   %50 = mul %48 %49 : act[T,3584]  // layers.0.mlp pre_feedforward_layernorm
// tensors of the first launch: layers.0.rsqrt layers.0.sum layers.0.rsqrt2 layers.0.pre_feedforward_layernorm[:,0:3584] layers.0.o_proj model.layers.0.post_attention_layernorm.weight mul model.layers.0.pre_feedforward_layernorm.weight
// 28680 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(448)
k03_sum_pre_feedforward_layernorm(float* __restrict__ rsqrt_rows,
    elem* __restrict__ sum_rows, int sum_pitch,
    float* __restrict__ rsqrt2_rows,
    elem* __restrict__ pre_feedforward_layernorm_rows, int pre_feedforward_layernorm_pitch,
    const elem* __restrict__ o_proj_rows, int o_proj_pitch,
    const elem* __restrict__ post_attention_layernorm_weight_vector,
    const elem* __restrict__ mul2_rows, int mul2_pitch,
    const elem* __restrict__ pre_feedforward_layernorm_weight_vector,
    int rows)
{
    __shared__ float scratch[2][WARP_SIZE];
    const int column = threadIdx.x * 8;

    // What a row needs is loaded while the row before it is reduced, so that loads are always in flight.
    const int first = blockIdx.x * 3, end = min(first + 3, rows);
    uint4 o_proj_next = packed8(o_proj_rows + (int64)first * o_proj_pitch + column);
    uint4 mul2_next = packed8(mul2_rows + (int64)first * mul2_pitch + column);

    // Vectors that all rows share. A thread reads back what it wrote itself; registers would cost a block per multiprocessor.
    __shared__ uint4 vectors[2][448];
    vectors[0][threadIdx.x] = packed8(post_attention_layernorm_weight_vector + column);
    vectors[1][threadIdx.x] = packed8(pre_feedforward_layernorm_weight_vector + column);

    int row = first;
#pragma unroll 1
    do
    {
        float o_proj[8];
        unpack8(o_proj_next, o_proj);
        float mul2[8];
        unpack8(mul2_next, mul2);
        if (row + 1 < end)
        {
            o_proj_next = packed8(o_proj_rows + (int64)(row + 1) * o_proj_pitch + column);
            mul2_next = packed8(mul2_rows + (int64)(row + 1) * mul2_pitch + column);
        }

        // row_sum
        float row_sum_part = 0.0f;
        for (int j = 0; j < 8; j++) row_sum_part += o_proj[j] * o_proj[j];
        const float row_sum = row_block_sum(row_sum_part, scratch[0]);
        const float mul = 0.00027901787f * row_sum;
        const float add = mul + 9.99999997E-07f;
        const float rsqrt = rsqrtf(add);
        if (threadIdx.x == 0) rsqrt_rows[row] = rsqrt;

        float post_attention_layernorm_weight[8];
        unpack8(vectors[0][threadIdx.x], post_attention_layernorm_weight);

        // add
        float sum[8];
        for (int j = 0; j < 8; j++) sum[j] = mul2[j] + o_proj[j] * rsqrt * (1.0f + post_attention_layernorm_weight[j]);
        store8(sum_rows + (int64)row * sum_pitch + column, sum);
        for (int j = 0; j < 8; j++) sum[j] = round_elem(sum[j]);

        // row_sum
        float row_sum2_part = 0.0f;
        for (int j = 0; j < 8; j++) row_sum2_part += sum[j] * sum[j];
        const float row_sum2 = row_block_sum(row_sum2_part, scratch[1]);
        const float mul3 = 0.00027901787f * row_sum2;
        const float add2 = mul3 + 9.99999997E-07f;
        const float rsqrt2 = rsqrtf(add2);
        if (threadIdx.x == 0) rsqrt2_rows[row] = rsqrt2;

        float pre_feedforward_layernorm_weight[8];
        unpack8(vectors[1][threadIdx.x], pre_feedforward_layernorm_weight);

        // mul
        float pre_feedforward_layernorm[8];
        for (int j = 0; j < 8; j++) pre_feedforward_layernorm[j] = sum[j] * rsqrt2 * (1.0f + pre_feedforward_layernorm_weight[j]);
        store8(pre_feedforward_layernorm_rows + (int64)row * pre_feedforward_layernorm_pitch + column, pre_feedforward_layernorm);
    }
    while (++row < end);
}


// ======== k04_mul
// k04_mul <sm_90a>  launches: 2
//   %54 = mul %53 %53 : act[T,14336]  // layers.0.mlp mul
//   %55 = mul %53 %54 : act[T,14336]  // layers.0.mlp mul
//   %58 = mul %57 %55 : act[T,14336]  // layers.0.mlp mul
//   %59 = add %53 %58 : act[T,14336]  // layers.0.mlp add
//   %60 = mul %56 %59 : act[T,14336]  // layers.0.mlp mul
//   %62 = mul %61 %53 : act[T,14336]  // layers.0.mlp mul
//   %63 = tanh %60 : act[T,14336]  // layers.0.mlp tanh
//   %64 = add %14 %63 : act[T,14336]  // layers.0.mlp add
//   %65 = mul %62 %64 : act[T,14336]  // layers.0.mlp gelu_tanh
//   %67 = mul %65 %66 : act[T,14336]  // layers.0.mlp mul
// tensors of the first launch: layers.0.mul[:,0:14336] layers.0.gate_proj+up_proj[:,0:14336] layers.0.gate_proj+up_proj[:,14336:28672]
// 86016 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
extern "C" __global__ void __launch_bounds__(256)
k04_mul(elem* __restrict__ mul_rows, int mul_pitch,
    const elem* __restrict__ gate_proj_rows, int gate_proj_pitch,
    const elem* __restrict__ up_proj_rows, int up_proj_pitch,
    int rows)
{
    const int64 row = blockIdx.x;
    const int column = (blockIdx.y * 256 + threadIdx.x) * 8;

    float gate_proj[8];
    load8(gate_proj_rows + row * gate_proj_pitch + column, gate_proj);
    float up_proj[8];
    load8(up_proj_rows + row * up_proj_pitch + column, up_proj);

    // mul
    float mul[8];
    for (int j = 0; j < 8; j++) mul[j] = 0.5f * gate_proj[j] * (1.0f + fast_tanh(0.797884583f * (gate_proj[j] + 0.0447149985f * gate_proj[j] * gate_proj[j] * gate_proj[j]))) * up_proj[j];
    store8(mul_rows + row * mul_pitch + column, mul);
}


// ======== k05_sum_input_layernorm
// k05_sum_input_layernorm <sm_90a>  launches: 1
//   %72 = mul %70 %70 : act[T,3584]  // layers.0.mlp mul
//   %73 = row_sum %72 : f32[T,1]  // layers.0.mlp row_sum
//   %74 = mul %7 %73 : f32[T,1]  // layers.0.mlp mul
//   %75 = add %74 %10 : f32[T,1]  // layers.0.mlp add
//   %76 = rsqrt %75 : f32[T,1]  // layers.0.mlp rsqrt
//   %77 = mul %70 %76 : act[T,3584]  // layers.0.mlp mul
//   %79 = mul %77 %78 : act[T,3584]  // layers.0.mlp post_feedforward_layernorm
//   %80 = add %41 %79 : act[T,3584]  // layers.0.mlp sum
//   %82 = mul %80 %80 : act[T,3584]  // layers.1.self_attn mul
//   %83 = row_sum %82 : f32[T,1]  // layers.1.self_attn row_sum
//   %84 = mul %7 %83 : f32[T,1]  // layers.1.self_attn mul
//   %85 = add %84 %10 : f32[T,1]  // layers.1.self_attn add
//   %86 = rsqrt %85 : f32[T,1]  // layers.1.self_attn rsqrt
//   %87 = mul %80 %86 : act[T,3584]  // layers.1.self_attn mul
//   %89 = mul %87 %88 : act[T,3584]  // layers.1.self_attn input_layernorm
// tensors of the first launch: layers.0.rsqrt3 layers.0.sum2 layers.1.rsqrt layers.1.input_layernorm[:,0:3584] layers.0.down_proj model.layers.0.post_feedforward_layernorm.weight layers.0.sum model.layers.1.input_layernorm.weight
// 28680 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(448)
k05_sum_input_layernorm(float* __restrict__ rsqrt_rows,
    elem* __restrict__ sum_rows, int sum_pitch,
    float* __restrict__ rsqrt2_rows,
    elem* __restrict__ input_layernorm_rows, int input_layernorm_pitch,
    const elem* __restrict__ down_proj_rows, int down_proj_pitch,
    const elem* __restrict__ post_feedforward_layernorm_weight_vector,
    const elem* __restrict__ sum2_rows, int sum2_pitch,
    const elem* __restrict__ input_layernorm_weight_vector,
    int rows)
{
    __shared__ float scratch[2][WARP_SIZE];
    const int column = threadIdx.x * 8;

    // What a row needs is loaded while the row before it is reduced, so that loads are always in flight.
    const int first = blockIdx.x * 3, end = min(first + 3, rows);
    uint4 down_proj_next = packed8(down_proj_rows + (int64)first * down_proj_pitch + column);
    uint4 sum2_next = packed8(sum2_rows + (int64)first * sum2_pitch + column);

    // Vectors that all rows share. A thread reads back what it wrote itself; registers would cost a block per multiprocessor.
    __shared__ uint4 vectors[2][448];
    vectors[0][threadIdx.x] = packed8(post_feedforward_layernorm_weight_vector + column);
    vectors[1][threadIdx.x] = packed8(input_layernorm_weight_vector + column);

    int row = first;
#pragma unroll 1
    do
    {
        float down_proj[8];
        unpack8(down_proj_next, down_proj);
        float sum2[8];
        unpack8(sum2_next, sum2);
        if (row + 1 < end)
        {
            down_proj_next = packed8(down_proj_rows + (int64)(row + 1) * down_proj_pitch + column);
            sum2_next = packed8(sum2_rows + (int64)(row + 1) * sum2_pitch + column);
        }

        // row_sum
        float row_sum_part = 0.0f;
        for (int j = 0; j < 8; j++) row_sum_part += down_proj[j] * down_proj[j];
        const float row_sum = row_block_sum(row_sum_part, scratch[0]);
        const float mul = 0.00027901787f * row_sum;
        const float add = mul + 9.99999997E-07f;
        const float rsqrt = rsqrtf(add);
        if (threadIdx.x == 0) rsqrt_rows[row] = rsqrt;

        float post_feedforward_layernorm_weight[8];
        unpack8(vectors[0][threadIdx.x], post_feedforward_layernorm_weight);

        // add
        float sum[8];
        for (int j = 0; j < 8; j++) sum[j] = sum2[j] + down_proj[j] * rsqrt * (1.0f + post_feedforward_layernorm_weight[j]);
        store8(sum_rows + (int64)row * sum_pitch + column, sum);
        for (int j = 0; j < 8; j++) sum[j] = round_elem(sum[j]);

        // row_sum
        float row_sum2_part = 0.0f;
        for (int j = 0; j < 8; j++) row_sum2_part += sum[j] * sum[j];
        const float row_sum2 = row_block_sum(row_sum2_part, scratch[1]);
        const float mul2 = 0.00027901787f * row_sum2;
        const float add2 = mul2 + 9.99999997E-07f;
        const float rsqrt2 = rsqrtf(add2);
        if (threadIdx.x == 0) rsqrt2_rows[row] = rsqrt2;

        float input_layernorm_weight[8];
        unpack8(vectors[1][threadIdx.x], input_layernorm_weight);

        // mul
        float input_layernorm[8];
        for (int j = 0; j < 8; j++) input_layernorm[j] = sum[j] * rsqrt2 * (1.0f + input_layernorm_weight[j]);
        store8(input_layernorm_rows + (int64)row * input_layernorm_pitch + column, input_layernorm);
    }
    while (++row < end);
}


// ======== k06_attention_forward
// k06_attention_forward <sm_90a>  launches: 1
//   %100 = attention %94 %97 %99 {score=(50*tanh((0.00125*s)))} : act[T,16,256]  // layers.1.self_attn attention
// tensors of the first launch: layers.1.attention[:,0:4096] layers.1.attention_lse layers.1.q_proj+k_proj+v_proj[:,0:4096] layers.1.q_proj+k_proj+v_proj[:,4096:6144] layers.1.q_proj+k_proj+v_proj[:,6144:8192] doc_start
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME k06_attention_forward
#define HEAD_DIM 256
#define GROUP 2
#define WINDOW 0
#define BOUNDED 1
#define TILE_Q 128
#define TILE_K 64
#define WARPS 12
#define STAGES 2

@prelude.cu
@mma.cu
@wgmma.cu
// score(s) = (50*tanh((0.00125*s))), traced from the model; in units of log2.
__device__ __forceinline__ float score_log2(float s)
{
    return 72.1347504f * fast_tanh(0.00124999997f * s);
}

// The same, and d(score)/ds in natural units, from shared work.
__device__ __forceinline__ void score_log2_and_derivative(float s, float& z, float& dz)
{
    const float t = fast_tanh(0.00124999997f * s);
    z = 72.1347504f * t;
    dz = 0.0625f * (1.0f - t * t);
}


@attention_forward_sm90.cu

// ======== k07_sum_pre_feedforward_layernorm
// k07_sum_pre_feedforward_layernorm <sm_90a>  launches: 1
//   %106 = mul %104 %104 : act[T,3584]  // layers.1.self_attn mul
//   %107 = row_sum %106 : f32[T,1]  // layers.1.self_attn row_sum
//   %108 = mul %7 %107 : f32[T,1]  // layers.1.self_attn mul
//   %109 = add %108 %10 : f32[T,1]  // layers.1.self_attn add
//   %110 = rsqrt %109 : f32[T,1]  // layers.1.self_attn rsqrt
//   %111 = mul %104 %110 : act[T,3584]  // layers.1.self_attn mul
//   %113 = mul %111 %112 : act[T,3584]  // layers.1.self_attn post_attention_layernorm
//   %114 = add %80 %113 : act[T,3584]  // layers.1.self_attn sum
//   %116 = mul %114 %114 : act[T,3584]  // layers.1.mlp mul
//   %117 = row_sum %116 : f32[T,1]  // layers.1.mlp row_sum
//   %118 = mul %7 %117 : f32[T,1]  // layers.1.mlp mul
//   %119 = add %118 %10 : f32[T,1]  // layers.1.mlp add
//   %120 = rsqrt %119 : f32[T,1]  // layers.1.mlp rsqrt
//   %121 = mul %114 %120 : act[T,3584]  // layers.1.mlp mul
//   %123 = mul %121 %122 : act[T,3584]  // layers.1.mlp pre_feedforward_layernorm
// tensors of the first launch: layers.1.rsqrt2 layers.1.sum layers.1.rsqrt3 layers.1.pre_feedforward_layernorm[:,0:3584] layers.1.o_proj model.layers.1.post_attention_layernorm.weight layers.0.sum2 model.layers.1.pre_feedforward_layernorm.weight
// 28680 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(448)
k07_sum_pre_feedforward_layernorm(float* __restrict__ rsqrt_rows,
    elem* __restrict__ sum_rows, int sum_pitch,
    float* __restrict__ rsqrt2_rows,
    elem* __restrict__ pre_feedforward_layernorm_rows, int pre_feedforward_layernorm_pitch,
    const elem* __restrict__ o_proj_rows, int o_proj_pitch,
    const elem* __restrict__ post_attention_layernorm_weight_vector,
    const elem* __restrict__ sum2_rows, int sum2_pitch,
    const elem* __restrict__ pre_feedforward_layernorm_weight_vector,
    int rows)
{
    __shared__ float scratch[2][WARP_SIZE];
    const int column = threadIdx.x * 8;

    // What a row needs is loaded while the row before it is reduced, so that loads are always in flight.
    const int first = blockIdx.x * 3, end = min(first + 3, rows);
    uint4 o_proj_next = packed8(o_proj_rows + (int64)first * o_proj_pitch + column);
    uint4 sum2_next = packed8(sum2_rows + (int64)first * sum2_pitch + column);

    // Vectors that all rows share. A thread reads back what it wrote itself; registers would cost a block per multiprocessor.
    __shared__ uint4 vectors[2][448];
    vectors[0][threadIdx.x] = packed8(post_attention_layernorm_weight_vector + column);
    vectors[1][threadIdx.x] = packed8(pre_feedforward_layernorm_weight_vector + column);

    int row = first;
#pragma unroll 1
    do
    {
        float o_proj[8];
        unpack8(o_proj_next, o_proj);
        float sum2[8];
        unpack8(sum2_next, sum2);
        if (row + 1 < end)
        {
            o_proj_next = packed8(o_proj_rows + (int64)(row + 1) * o_proj_pitch + column);
            sum2_next = packed8(sum2_rows + (int64)(row + 1) * sum2_pitch + column);
        }

        // row_sum
        float row_sum_part = 0.0f;
        for (int j = 0; j < 8; j++) row_sum_part += o_proj[j] * o_proj[j];
        const float row_sum = row_block_sum(row_sum_part, scratch[0]);
        const float mul = 0.00027901787f * row_sum;
        const float add = mul + 9.99999997E-07f;
        const float rsqrt = rsqrtf(add);
        if (threadIdx.x == 0) rsqrt_rows[row] = rsqrt;

        float post_attention_layernorm_weight[8];
        unpack8(vectors[0][threadIdx.x], post_attention_layernorm_weight);

        // add
        float sum[8];
        for (int j = 0; j < 8; j++) sum[j] = sum2[j] + o_proj[j] * rsqrt * (1.0f + post_attention_layernorm_weight[j]);
        store8(sum_rows + (int64)row * sum_pitch + column, sum);
        for (int j = 0; j < 8; j++) sum[j] = round_elem(sum[j]);

        // row_sum
        float row_sum2_part = 0.0f;
        for (int j = 0; j < 8; j++) row_sum2_part += sum[j] * sum[j];
        const float row_sum2 = row_block_sum(row_sum2_part, scratch[1]);
        const float mul2 = 0.00027901787f * row_sum2;
        const float add2 = mul2 + 9.99999997E-07f;
        const float rsqrt2 = rsqrtf(add2);
        if (threadIdx.x == 0) rsqrt2_rows[row] = rsqrt2;

        float pre_feedforward_layernorm_weight[8];
        unpack8(vectors[1][threadIdx.x], pre_feedforward_layernorm_weight);

        // mul
        float pre_feedforward_layernorm[8];
        for (int j = 0; j < 8; j++) pre_feedforward_layernorm[j] = sum[j] * rsqrt2 * (1.0f + pre_feedforward_layernorm_weight[j]);
        store8(pre_feedforward_layernorm_rows + (int64)row * pre_feedforward_layernorm_pitch + column, pre_feedforward_layernorm);
    }
    while (++row < end);
}


// ======== k08_norm
// k08_norm <sm_90a>  launches: 1
//   %142 = mul %140 %140 : act[T,3584]  // layers.1.mlp mul
//   %143 = row_sum %142 : f32[T,1]  // layers.1.mlp row_sum
//   %144 = mul %7 %143 : f32[T,1]  // layers.1.mlp mul
//   %145 = add %144 %10 : f32[T,1]  // layers.1.mlp add
//   %146 = rsqrt %145 : f32[T,1]  // layers.1.mlp rsqrt
//   %147 = mul %140 %146 : act[T,3584]  // layers.1.mlp mul
//   %149 = mul %147 %148 : act[T,3584]  // layers.1.mlp post_feedforward_layernorm
//   %150 = add %114 %149 : act[T,3584]  // layers.1.mlp sum
//   %152 = mul %150 %150 : act[T,3584]  // Gemma2Model.Forward mul
//   %153 = row_sum %152 : f32[T,1]  // Gemma2Model.Forward row_sum
//   %154 = mul %7 %153 : f32[T,1]  // Gemma2Model.Forward mul
//   %155 = add %154 %10 : f32[T,1]  // Gemma2Model.Forward add
//   %156 = rsqrt %155 : f32[T,1]  // Gemma2Model.Forward rsqrt
//   %157 = mul %150 %156 : act[T,3584]  // Gemma2Model.Forward mul
//   %159 = mul %157 %158 : act[T,3584]  // Gemma2Model.Forward norm
// tensors of the first launch: layers.1.rsqrt4 rsqrt norm layers.1.down_proj model.layers.1.post_feedforward_layernorm.weight layers.1.sum model.norm.weight
// 21512 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(448)
k08_norm(float* __restrict__ rsqrt_rows,
    float* __restrict__ rsqrt2_rows,
    elem* __restrict__ norm_rows, int norm_pitch,
    const elem* __restrict__ down_proj_rows, int down_proj_pitch,
    const elem* __restrict__ post_feedforward_layernorm_weight_vector,
    const elem* __restrict__ sum_rows, int sum_pitch,
    const elem* __restrict__ norm_weight_vector,
    int rows)
{
    __shared__ float scratch[2][WARP_SIZE];
    const int column = threadIdx.x * 8;

    // What a row needs is loaded while the row before it is reduced, so that loads are always in flight.
    const int first = blockIdx.x * 3, end = min(first + 3, rows);
    uint4 down_proj_next = packed8(down_proj_rows + (int64)first * down_proj_pitch + column);
    uint4 sum_next = packed8(sum_rows + (int64)first * sum_pitch + column);

    // Vectors that all rows share. A thread reads back what it wrote itself; registers would cost a block per multiprocessor.
    __shared__ uint4 vectors[2][448];
    vectors[0][threadIdx.x] = packed8(post_feedforward_layernorm_weight_vector + column);
    vectors[1][threadIdx.x] = packed8(norm_weight_vector + column);

    int row = first;
#pragma unroll 1
    do
    {
        float down_proj[8];
        unpack8(down_proj_next, down_proj);
        float sum[8];
        unpack8(sum_next, sum);
        if (row + 1 < end)
        {
            down_proj_next = packed8(down_proj_rows + (int64)(row + 1) * down_proj_pitch + column);
            sum_next = packed8(sum_rows + (int64)(row + 1) * sum_pitch + column);
        }

        // row_sum
        float row_sum_part = 0.0f;
        for (int j = 0; j < 8; j++) row_sum_part += down_proj[j] * down_proj[j];
        const float row_sum = row_block_sum(row_sum_part, scratch[0]);
        const float mul = 0.00027901787f * row_sum;
        const float add = mul + 9.99999997E-07f;
        const float rsqrt = rsqrtf(add);
        if (threadIdx.x == 0) rsqrt_rows[row] = rsqrt;

        float post_feedforward_layernorm_weight[8];
        unpack8(vectors[0][threadIdx.x], post_feedforward_layernorm_weight);

        // add
        float sum2[8];
        for (int j = 0; j < 8; j++) sum2[j] = sum[j] + down_proj[j] * rsqrt * (1.0f + post_feedforward_layernorm_weight[j]);

        // row_sum
        float row_sum2_part = 0.0f;
        for (int j = 0; j < 8; j++) row_sum2_part += sum2[j] * sum2[j];
        const float row_sum2 = row_block_sum(row_sum2_part, scratch[1]);
        const float mul2 = 0.00027901787f * row_sum2;
        const float add2 = mul2 + 9.99999997E-07f;
        const float rsqrt2 = rsqrtf(add2);
        if (threadIdx.x == 0) rsqrt2_rows[row] = rsqrt2;

        float norm_weight[8];
        unpack8(vectors[1][threadIdx.x], norm_weight);

        // mul
        float norm[8];
        for (int j = 0; j < 8; j++) norm[j] = sum2[j] * rsqrt2 * (1.0f + norm_weight[j]);
        store8(norm_rows + (int64)row * norm_pitch + column, norm);
    }
    while (++row < end);
}


// ======== k09_cross_entropy
// k09_cross_entropy <sm_90a>  launches: 1
//   %161 = linear_cross_entropy %159 %1 %160 {logit=(30*tanh((0.03333333333333333*s)))} : f32[T,1]  // loss
// tensors of the first launch: norm model.embed_tokens.weight loss
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME k09_cross_entropy
#define VOCAB 256000
#define THREADS 1024
#define GRAD 1
#define BOUND 30
#define CACHED 115712

@prelude.cu
// logit(s) = (30*tanh((0.03333333333333333*s))), traced from the model.
__device__ __forceinline__ float logit(float s)
{
    return 30.0f * fast_tanh(0.0333333351f * s);
}

__device__ __forceinline__ void logit_and_derivative(float s, float& z, float& dz)
{
    const float t = fast_tanh(0.0333333351f * s);
    z = 30.0f * t;
    dz = 1.0f - t * t;
}


@cross_entropy.cu

// ======== k10_d_post_feedforward_layernorm_d_down_proj_b
// k10_d_post_feedforward_layernorm_d_down_proj_b <sm_90a>  launches: 1
//   %147 = mul %140 %146 : act[T,3584]  // layers.1.mlp mul
//   %149 = mul %147 %148 : act[T,3584]  // layers.1.mlp post_feedforward_layernorm
//   %150 = add %114 %149 : act[T,3584]  // layers.1.mlp sum
//   %164 = mul %163 %158 : act[T,3584]  // Gemma2Model.Forward d_mul
//   %165 = mul %164 %156 : act[T,3584]  // Gemma2Model.Forward d_sum
//   %166 = mul %164 %150 : act[T,3584]  // Gemma2Model.Forward mul
//   %167 = row_sum %166 : f32[T,1]  // Gemma2Model.Forward d_rsqrt
//   %169 = mul %156 %156 : f32[T,1]  // Gemma2Model.Forward mul
//   %170 = mul %156 %169 : f32[T,1]  // Gemma2Model.Forward mul
//   %171 = mul %168 %170 : f32[T,1]  // Gemma2Model.Forward mul
//   %172 = mul %167 %171 : f32[T,1]  // Gemma2Model.Forward d_mul
//   %173 = mul %172 %7 : f32[T,1]  // Gemma2Model.Forward d_mul
//   %174 = mul %173 %150 : act[T,3584]  // Gemma2Model.Forward mul
//   %175 = add %165 %174 : act[T,3584]  // Gemma2Model.Forward d_sum
//   %176 = add %175 %174 : act[T,3584]  // Gemma2Model.Forward d_post_feedforward_layernorm
//   %177 = mul %176 %148 : act[T,3584]  // layers.1.mlp d_mul
//   %178 = mul %177 %146 : act[T,3584]  // layers.1.mlp d_down_proj
//   %179 = mul %177 %140 : act[T,3584]  // layers.1.mlp mul
//   %180 = row_sum %179 : f32[T,1]  // layers.1.mlp d_rsqrt
//   %181 = mul %146 %146 : f32[T,1]  // layers.1.mlp mul
//   %182 = mul %146 %181 : f32[T,1]  // layers.1.mlp mul
//   %183 = mul %168 %182 : f32[T,1]  // layers.1.mlp mul
//   %184 = mul %180 %183 : f32[T,1]  // layers.1.mlp d_mul
//   %185 = mul %184 %7 : f32[T,1]  // layers.1.mlp d_mul
//   %186 = mul %185 %140 : act[T,3584]  // layers.1.mlp mul
//   %187 = add %178 %186 : act[T,3584]  // layers.1.mlp d_down_proj
//   %188 = add %187 %186 : act[T,3584]  // layers.1.mlp d_down_proj_b
// tensors of the first launch: d_post_feedforward_layernorm layers.1.d_down_proj[:,0:3584] layers.1.down_proj layers.1.rsqrt4 model.layers.1.post_feedforward_layernorm.weight layers.1.sum d_norm model.norm.weight rsqrt
// 35848 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(448)
k10_d_post_feedforward_layernorm_d_down_proj_b(elem* __restrict__ d_post_feedforward_layernorm_rows, int d_post_feedforward_layernorm_pitch,
    elem* __restrict__ d_down_proj_b_rows, int d_down_proj_b_pitch,
    const elem* __restrict__ down_proj_rows, int down_proj_pitch,
    const float* __restrict__ rsqrt_rows,
    const elem* __restrict__ post_feedforward_layernorm_weight_vector,
    const elem* __restrict__ sum_rows, int sum_pitch,
    const elem* __restrict__ d_norm_rows, int d_norm_pitch,
    const elem* __restrict__ norm_weight_vector,
    const float* __restrict__ rsqrt2_rows,
    int rows)
{
    __shared__ float scratch[2][WARP_SIZE];
    const int64 row = blockIdx.x;
    const int column = threadIdx.x * 8;

    float down_proj[8];
    load8(down_proj_rows + row * down_proj_pitch + column, down_proj);
    const float rsqrt = rsqrt_rows[row];
    float post_feedforward_layernorm_weight[8];
    load8(post_feedforward_layernorm_weight_vector + column, post_feedforward_layernorm_weight);
    float sum[8];
    load8(sum_rows + row * sum_pitch + column, sum);
    float d_norm[8];
    load8(d_norm_rows + row * d_norm_pitch + column, d_norm);
    float norm_weight[8];
    load8(norm_weight_vector + column, norm_weight);
    const float rsqrt2 = rsqrt2_rows[row];

    // add
    float sum2[8];
    for (int j = 0; j < 8; j++) sum2[j] = sum[j] + down_proj[j] * rsqrt * (1.0f + post_feedforward_layernorm_weight[j]);

    // mul
    float d_mul[8];
    for (int j = 0; j < 8; j++) d_mul[j] = d_norm[j] * (1.0f + norm_weight[j]);

    // row_sum
    float d_rsqrt_part = 0.0f;
    for (int j = 0; j < 8; j++) d_rsqrt_part += d_mul[j] * sum2[j];
    const float d_rsqrt = row_block_sum(d_rsqrt_part, scratch[0]);
    const float mul = rsqrt2 * rsqrt2;
    const float mul2 = rsqrt2 * mul;
    const float mul3 = (-0.5f) * mul2;
    const float d_mul2 = d_rsqrt * mul3;
    const float d_mul3 = 0.00027901787f * d_mul2;

    // mul
    float mul4[8];
    for (int j = 0; j < 8; j++) mul4[j] = d_mul3 * sum2[j];

    // add
    float d_post_feedforward_layernorm[8];
    for (int j = 0; j < 8; j++) d_post_feedforward_layernorm[j] = d_mul[j] * rsqrt2 + mul4[j] + mul4[j];
    store8(d_post_feedforward_layernorm_rows + row * d_post_feedforward_layernorm_pitch + column, d_post_feedforward_layernorm);
    for (int j = 0; j < 8; j++) d_post_feedforward_layernorm[j] = round_elem(d_post_feedforward_layernorm[j]);

    // mul
    float d_mul4[8];
    for (int j = 0; j < 8; j++) d_mul4[j] = d_post_feedforward_layernorm[j] * (1.0f + post_feedforward_layernorm_weight[j]);

    // row_sum
    float d_rsqrt2_part = 0.0f;
    for (int j = 0; j < 8; j++) d_rsqrt2_part += d_mul4[j] * down_proj[j];
    const float d_rsqrt2 = row_block_sum(d_rsqrt2_part, scratch[1]);
    const float mul5 = rsqrt * rsqrt;
    const float mul6 = rsqrt * mul5;
    const float mul7 = (-0.5f) * mul6;
    const float d_mul5 = d_rsqrt2 * mul7;
    const float d_mul6 = 0.00027901787f * d_mul5;

    // mul
    float mul8[8];
    for (int j = 0; j < 8; j++) mul8[j] = d_mul6 * down_proj[j];

    // add
    float d_down_proj_b[8];
    for (int j = 0; j < 8; j++) d_down_proj_b[j] = d_mul4[j] * rsqrt + mul8[j] + mul8[j];
    store8(d_down_proj_b_rows + row * d_down_proj_b_pitch + column, d_down_proj_b);
}


// ======== k11_d_up_proj_b_d_gate_proj_b
// k11_d_up_proj_b_d_gate_proj_b <sm_90a>  launches: 2
//   %127 = mul %126 %126 : act[T,14336]  // layers.1.mlp mul
//   %128 = mul %126 %127 : act[T,14336]  // layers.1.mlp mul
//   %129 = mul %57 %128 : act[T,14336]  // layers.1.mlp mul
//   %130 = add %126 %129 : act[T,14336]  // layers.1.mlp add
//   %131 = mul %56 %130 : act[T,14336]  // layers.1.mlp mul
//   %132 = mul %61 %126 : act[T,14336]  // layers.1.mlp mul
//   %133 = tanh %131 : act[T,14336]  // layers.1.mlp tanh
//   %134 = add %14 %133 : act[T,14336]  // layers.1.mlp add
//   %135 = mul %132 %134 : act[T,14336]  // layers.1.mlp gelu_tanh
//   %193 = mul %192 %136 : act[T,14336]  // layers.1.mlp d_gelu_tanh
//   %194 = mul %192 %135 : act[T,14336]  // layers.1.mlp d_up_proj_b
//   %195 = mul %193 %134 : act[T,14336]  // layers.1.mlp d_mul
//   %196 = mul %195 %61 : act[T,14336]  // layers.1.mlp d_gate_proj
//   %197 = mul %193 %132 : act[T,14336]  // layers.1.mlp d_tanh
//   %198 = mul %133 %133 : act[T,14336]  // layers.1.mlp mul
//   %199 = sub %14 %198 : act[T,14336]  // layers.1.mlp sub
//   %200 = mul %197 %199 : act[T,14336]  // layers.1.mlp d_mul
//   %201 = mul %200 %56 : act[T,14336]  // layers.1.mlp d_mul
//   %202 = add %196 %201 : act[T,14336]  // layers.1.mlp d_gate_proj
//   %203 = mul %201 %57 : act[T,14336]  // layers.1.mlp d_mul
//   %204 = mul %203 %127 : act[T,14336]  // layers.1.mlp mul
//   %205 = add %202 %204 : act[T,14336]  // layers.1.mlp d_gate_proj
//   %206 = mul %203 %126 : act[T,14336]  // layers.1.mlp d_mul
//   %207 = mul %206 %126 : act[T,14336]  // layers.1.mlp mul
//   %208 = add %205 %207 : act[T,14336]  // layers.1.mlp d_gate_proj
//   %209 = add %208 %207 : act[T,14336]  // layers.1.mlp d_gate_proj_b
// tensors of the first launch: layers.1.d_gate_proj+up_proj[:,14336:28672] layers.1.d_gate_proj+up_proj[:,0:14336] layers.1.gate_proj+up_proj[:,0:14336] layers.1.d_mul layers.1.gate_proj+up_proj[:,14336:28672]
// 143360 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
extern "C" __global__ void __launch_bounds__(256)
k11_d_up_proj_b_d_gate_proj_b(elem* __restrict__ d_up_proj_b_rows, int d_up_proj_b_pitch,
    elem* __restrict__ d_gate_proj_b_rows, int d_gate_proj_b_pitch,
    const elem* __restrict__ gate_proj_rows, int gate_proj_pitch,
    const elem* __restrict__ d_mul_rows, int d_mul_pitch,
    const elem* __restrict__ up_proj_rows, int up_proj_pitch,
    int rows)
{
    const int64 row = blockIdx.x;
    const int column = (blockIdx.y * 256 + threadIdx.x) * 8;

    float gate_proj[8];
    load8(gate_proj_rows + row * gate_proj_pitch + column, gate_proj);
    float d_mul[8];
    load8(d_mul_rows + row * d_mul_pitch + column, d_mul);
    float up_proj[8];
    load8(up_proj_rows + row * up_proj_pitch + column, up_proj);

    // mul
    float mul[8];
    for (int j = 0; j < 8; j++) mul[j] = gate_proj[j] * gate_proj[j];

    // mul
    float mul2[8];
    for (int j = 0; j < 8; j++) mul2[j] = 0.5f * gate_proj[j];

    // tanh
    float tanh[8];
    for (int j = 0; j < 8; j++) tanh[j] = fast_tanh(0.797884583f * (gate_proj[j] + 0.0447149985f * gate_proj[j] * mul[j]));

    // add
    float add[8];
    for (int j = 0; j < 8; j++) add[j] = 1.0f + tanh[j];

    // mul
    float d_gelu_tanh[8];
    for (int j = 0; j < 8; j++) d_gelu_tanh[j] = d_mul[j] * up_proj[j];

    // mul
    float d_up_proj_b[8];
    for (int j = 0; j < 8; j++) d_up_proj_b[j] = d_mul[j] * mul2[j] * add[j];
    store8(d_up_proj_b_rows + row * d_up_proj_b_pitch + column, d_up_proj_b);

    // mul
    float d_mul2[8];
    for (int j = 0; j < 8; j++) d_mul2[j] = 0.797884583f * d_gelu_tanh[j] * mul2[j] * (1.0f - tanh[j] * tanh[j]);

    // mul
    float d_mul3[8];
    for (int j = 0; j < 8; j++) d_mul3[j] = 0.0447149985f * d_mul2[j];

    // mul
    float mul3[8];
    for (int j = 0; j < 8; j++) mul3[j] = d_mul3[j] * gate_proj[j] * gate_proj[j];

    // add
    float d_gate_proj_b[8];
    for (int j = 0; j < 8; j++) d_gate_proj_b[j] = 0.5f * d_gelu_tanh[j] * add[j] + d_mul2[j] + d_mul3[j] * mul[j] + mul3[j] + mul3[j];
    store8(d_gate_proj_b_rows + row * d_gate_proj_b_pitch + column, d_gate_proj_b);
}


// ======== k12_d_post_attention_layernorm_d_o_proj_b
// k12_d_post_attention_layernorm_d_o_proj_b <sm_90a>  launches: 1
//   %214 = mul %213 %122 : act[T,3584]  // layers.1.mlp d_mul
//   %215 = mul %214 %120 : act[T,3584]  // layers.1.mlp mul
//   %216 = mul %214 %114 : act[T,3584]  // layers.1.mlp mul
//   %217 = row_sum %216 : f32[T,1]  // layers.1.mlp d_rsqrt
//   %218 = add %176 %215 : act[T,3584]  // layers.1.mlp d_sum
//   %219 = mul %120 %120 : f32[T,1]  // layers.1.mlp mul
//   %220 = mul %120 %219 : f32[T,1]  // layers.1.mlp mul
//   %221 = mul %168 %220 : f32[T,1]  // layers.1.mlp mul
//   %222 = mul %217 %221 : f32[T,1]  // layers.1.mlp d_mul
//   %223 = mul %222 %7 : f32[T,1]  // layers.1.mlp d_mul
//   %224 = mul %223 %114 : act[T,3584]  // layers.1.mlp mul
//   %225 = add %218 %224 : act[T,3584]  // layers.1.mlp d_sum
//   %226 = add %225 %224 : act[T,3584]  // layers.1.mlp d_post_attention_layernorm
//   %227 = mul %226 %112 : act[T,3584]  // layers.1.self_attn d_mul
//   %228 = mul %227 %110 : act[T,3584]  // layers.1.self_attn d_o_proj
//   %229 = mul %227 %104 : act[T,3584]  // layers.1.self_attn mul
//   %230 = row_sum %229 : f32[T,1]  // layers.1.self_attn d_rsqrt
//   %231 = mul %110 %110 : f32[T,1]  // layers.1.self_attn mul
//   %232 = mul %110 %231 : f32[T,1]  // layers.1.self_attn mul
//   %233 = mul %168 %232 : f32[T,1]  // layers.1.self_attn mul
//   %234 = mul %230 %233 : f32[T,1]  // layers.1.self_attn d_mul
//   %235 = mul %234 %7 : f32[T,1]  // layers.1.self_attn d_mul
//   %236 = mul %235 %104 : act[T,3584]  // layers.1.self_attn mul
//   %237 = add %228 %236 : act[T,3584]  // layers.1.self_attn d_o_proj
//   %238 = add %237 %236 : act[T,3584]  // layers.1.self_attn d_o_proj_b
// tensors of the first launch: layers.1.d_post_attention_layernorm layers.1.d_o_proj[:,0:3584] layers.1.d_pre_feedforward_layernorm model.layers.1.pre_feedforward_layernorm.weight layers.1.rsqrt3 layers.1.sum d_post_feedforward_layernorm model.layers.1.post_attention_layernorm.weight layers.1.rsqrt2 layers.1.o_proj
// 43016 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(448)
k12_d_post_attention_layernorm_d_o_proj_b(elem* __restrict__ d_post_attention_layernorm_rows, int d_post_attention_layernorm_pitch,
    elem* __restrict__ d_o_proj_b_rows, int d_o_proj_b_pitch,
    const elem* __restrict__ d_pre_feedforward_layernorm_rows, int d_pre_feedforward_layernorm_pitch,
    const elem* __restrict__ pre_feedforward_layernorm_weight_vector,
    const float* __restrict__ rsqrt_rows,
    const elem* __restrict__ sum_rows, int sum_pitch,
    const elem* __restrict__ d_post_feedforward_layernorm_rows, int d_post_feedforward_layernorm_pitch,
    const elem* __restrict__ post_attention_layernorm_weight_vector,
    const float* __restrict__ rsqrt2_rows,
    const elem* __restrict__ o_proj_rows, int o_proj_pitch,
    int rows)
{
    __shared__ float scratch[2][WARP_SIZE];
    const int64 row = blockIdx.x;
    const int column = threadIdx.x * 8;

    float d_pre_feedforward_layernorm[8];
    load8(d_pre_feedforward_layernorm_rows + row * d_pre_feedforward_layernorm_pitch + column, d_pre_feedforward_layernorm);
    float pre_feedforward_layernorm_weight[8];
    load8(pre_feedforward_layernorm_weight_vector + column, pre_feedforward_layernorm_weight);
    const float rsqrt = rsqrt_rows[row];
    float sum[8];
    load8(sum_rows + row * sum_pitch + column, sum);
    float d_post_feedforward_layernorm[8];
    load8(d_post_feedforward_layernorm_rows + row * d_post_feedforward_layernorm_pitch + column, d_post_feedforward_layernorm);
    float post_attention_layernorm_weight[8];
    load8(post_attention_layernorm_weight_vector + column, post_attention_layernorm_weight);
    const float rsqrt2 = rsqrt2_rows[row];
    float o_proj[8];
    load8(o_proj_rows + row * o_proj_pitch + column, o_proj);

    // mul
    float d_mul[8];
    for (int j = 0; j < 8; j++) d_mul[j] = d_pre_feedforward_layernorm[j] * (1.0f + pre_feedforward_layernorm_weight[j]);

    // row_sum
    float d_rsqrt_part = 0.0f;
    for (int j = 0; j < 8; j++) d_rsqrt_part += d_mul[j] * sum[j];
    const float d_rsqrt = row_block_sum(d_rsqrt_part, scratch[0]);
    const float mul = rsqrt * rsqrt;
    const float mul2 = rsqrt * mul;
    const float mul3 = (-0.5f) * mul2;
    const float d_mul2 = d_rsqrt * mul3;
    const float d_mul3 = 0.00027901787f * d_mul2;

    // mul
    float mul4[8];
    for (int j = 0; j < 8; j++) mul4[j] = d_mul3 * sum[j];

    // add
    float d_post_attention_layernorm[8];
    for (int j = 0; j < 8; j++) d_post_attention_layernorm[j] = d_post_feedforward_layernorm[j] + d_mul[j] * rsqrt + mul4[j] + mul4[j];
    store8(d_post_attention_layernorm_rows + row * d_post_attention_layernorm_pitch + column, d_post_attention_layernorm);
    for (int j = 0; j < 8; j++) d_post_attention_layernorm[j] = round_elem(d_post_attention_layernorm[j]);

    // mul
    float d_mul4[8];
    for (int j = 0; j < 8; j++) d_mul4[j] = d_post_attention_layernorm[j] * (1.0f + post_attention_layernorm_weight[j]);

    // row_sum
    float d_rsqrt2_part = 0.0f;
    for (int j = 0; j < 8; j++) d_rsqrt2_part += d_mul4[j] * o_proj[j];
    const float d_rsqrt2 = row_block_sum(d_rsqrt2_part, scratch[1]);
    const float mul5 = rsqrt2 * rsqrt2;
    const float mul6 = rsqrt2 * mul5;
    const float mul7 = (-0.5f) * mul6;
    const float d_mul5 = d_rsqrt2 * mul7;
    const float d_mul6 = 0.00027901787f * d_mul5;

    // mul
    float mul8[8];
    for (int j = 0; j < 8; j++) mul8[j] = d_mul6 * o_proj[j];

    // add
    float d_o_proj_b[8];
    for (int j = 0; j < 8; j++) d_o_proj_b[j] = d_mul4[j] * rsqrt2 + mul8[j] + mul8[j];
    store8(d_o_proj_b_rows + row * d_o_proj_b_pitch + column, d_o_proj_b);
}


// ======== k13_attention_delta
// k13_attention_delta <sm_90a>  launches: 2
//   %245 = attention_delta %100 %243 : f32[T,16]  // layers.1.self_attn attention_delta
// tensors of the first launch: layers.1.attention_delta layers.1.attention[:,0:4096] layers.1.d_attention
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME k13_attention_delta
#define HEAD_DIM 256
#define GROUP 1
#define WINDOW 0
#define BOUNDED 0
#define TILE_Q 16
#define TILE_K 16
#define WARPS 4
#define STAGES 1

@prelude.cu
@attention_delta.cu

// ======== k14_attention_dq
// k14_attention_dq <sm_90a>  launches: 1
//   %246 = attention_grad_q %94 %97 %99 %243 %244 %245 {score=(50*tanh((0.00125*s)))} : act[T,16,256]  // layers.1.self_attn d_q_proj
// tensors of the first launch: layers.1.d_q_proj+k_proj+v_proj[:,0:4096] layers.1.q_proj+k_proj+v_proj[:,0:4096] layers.1.q_proj+k_proj+v_proj[:,4096:6144] layers.1.q_proj+k_proj+v_proj[:,6144:8192] layers.1.d_attention layers.1.attention_lse layers.1.attention_delta doc_start
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME k14_attention_dq
#define HEAD_DIM 256
#define GROUP 2
#define WINDOW 0
#define BOUNDED 1
#define TILE_Q 128
#define TILE_K 64
#define WARPS 12
#define STAGES 2

@prelude.cu
@mma.cu
@wgmma.cu
// score(s) = (50*tanh((0.00125*s))), traced from the model; in units of log2.
__device__ __forceinline__ float score_log2(float s)
{
    return 72.1347504f * fast_tanh(0.00124999997f * s);
}

// The same, and d(score)/ds in natural units, from shared work.
__device__ __forceinline__ void score_log2_and_derivative(float s, float& z, float& dz)
{
    const float t = fast_tanh(0.00124999997f * s);
    z = 72.1347504f * t;
    dz = 0.0625f * (1.0f - t * t);
}


@attention_dq_sm90.cu

// ======== k15_attention_dkdv
// k15_attention_dkdv <sm_90a>  launches: 1
//   %247 = attention_grad_k %94 %97 %99 %243 %244 %245 {score=(50*tanh((0.00125*s)))} : act[T,8,256]  // layers.1.self_attn d_k_proj
// tensors of the first launch: layers.1.d_q_proj+k_proj+v_proj[:,4096:6144] layers.1.d_q_proj+k_proj+v_proj[:,6144:8192] layers.1.q_proj+k_proj+v_proj[:,0:4096] layers.1.q_proj+k_proj+v_proj[:,4096:6144] layers.1.q_proj+k_proj+v_proj[:,6144:8192] layers.1.d_attention layers.1.attention_lse layers.1.attention_delta doc_start doc_end
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME k15_attention_dkdv
#define HEAD_DIM 256
#define GROUP 2
#define WINDOW 0
#define BOUNDED 1
#define TILE_Q 64
#define TILE_K 64
#define WARPS 12
#define STAGES 2

@prelude.cu
@mma.cu
@wgmma.cu
// score(s) = (50*tanh((0.00125*s))), traced from the model; in units of log2.
__device__ __forceinline__ float score_log2(float s)
{
    return 72.1347504f * fast_tanh(0.00124999997f * s);
}

// The same, and d(score)/ds in natural units, from shared work.
__device__ __forceinline__ void score_log2_and_derivative(float s, float& z, float& dz)
{
    const float t = fast_tanh(0.00124999997f * s);
    z = 72.1347504f * t;
    dz = 0.0625f * (1.0f - t * t);
}


@attention_dkdv_sm90_d256.cu

// ======== k16_rope_inverse
// k16_rope_inverse <sm_90a>  launches: 2
//   %250 = rope %246 {theta=10000 inverse} : act[T,16,256]  // layers.1.self_attn d_q_proj
//   %252 = rope %247 {theta=10000 inverse} : act[T,8,256]  // layers.1.self_attn d_k_proj
// tensors of the first launch: layers.1.d_q_proj+k_proj+v_proj[:,0:6144] positions
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME k16_rope_inverse
#define HEADS 24
#define INVERSE 1
#define TILE_ROWS 16
#define TILE_HEADS 4
#define HEAD_DIM 256
#define THETA 10000.0

@prelude.cu
@rotation.cu
@rope.cu

// ======== k17_d_post_feedforward_layernorm_d_down_proj_b
// k17_d_post_feedforward_layernorm_d_down_proj_b <sm_90a>  launches: 1
//   %258 = mul %257 %88 : act[T,3584]  // layers.1.self_attn d_mul
//   %259 = mul %258 %86 : act[T,3584]  // layers.1.self_attn mul
//   %260 = mul %258 %80 : act[T,3584]  // layers.1.self_attn mul
//   %261 = row_sum %260 : f32[T,1]  // layers.1.self_attn d_rsqrt
//   %262 = add %226 %259 : act[T,3584]  // layers.1.self_attn d_sum
//   %263 = mul %86 %86 : f32[T,1]  // layers.1.self_attn mul
//   %264 = mul %86 %263 : f32[T,1]  // layers.1.self_attn mul
//   %265 = mul %168 %264 : f32[T,1]  // layers.1.self_attn mul
//   %266 = mul %261 %265 : f32[T,1]  // layers.1.self_attn d_mul
//   %267 = mul %266 %7 : f32[T,1]  // layers.1.self_attn d_mul
//   %268 = mul %267 %80 : act[T,3584]  // layers.1.self_attn mul
//   %269 = add %262 %268 : act[T,3584]  // layers.1.self_attn d_sum
//   %270 = add %269 %268 : act[T,3584]  // layers.1.self_attn d_post_feedforward_layernorm
//   %271 = mul %270 %78 : act[T,3584]  // layers.0.mlp d_mul
//   %272 = mul %271 %76 : act[T,3584]  // layers.0.mlp d_down_proj
//   %273 = mul %271 %70 : act[T,3584]  // layers.0.mlp mul
//   %274 = row_sum %273 : f32[T,1]  // layers.0.mlp d_rsqrt
//   %275 = mul %76 %76 : f32[T,1]  // layers.0.mlp mul
//   %276 = mul %76 %275 : f32[T,1]  // layers.0.mlp mul
//   %277 = mul %168 %276 : f32[T,1]  // layers.0.mlp mul
//   %278 = mul %274 %277 : f32[T,1]  // layers.0.mlp d_mul
//   %279 = mul %278 %7 : f32[T,1]  // layers.0.mlp d_mul
//   %280 = mul %279 %70 : act[T,3584]  // layers.0.mlp mul
//   %281 = add %272 %280 : act[T,3584]  // layers.0.mlp d_down_proj
//   %282 = add %281 %280 : act[T,3584]  // layers.0.mlp d_down_proj_b
// tensors of the first launch: layers.1.d_post_feedforward_layernorm layers.0.d_down_proj[:,0:3584] layers.1.d_input_layernorm model.layers.1.input_layernorm.weight layers.1.rsqrt layers.0.sum2 layers.1.d_post_attention_layernorm model.layers.0.post_feedforward_layernorm.weight layers.0.rsqrt3 layers.0.down_proj
// 43016 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(448)
k17_d_post_feedforward_layernorm_d_down_proj_b(elem* __restrict__ d_post_feedforward_layernorm_rows, int d_post_feedforward_layernorm_pitch,
    elem* __restrict__ d_down_proj_b_rows, int d_down_proj_b_pitch,
    const elem* __restrict__ d_input_layernorm_rows, int d_input_layernorm_pitch,
    const elem* __restrict__ input_layernorm_weight_vector,
    const float* __restrict__ rsqrt_rows,
    const elem* __restrict__ sum_rows, int sum_pitch,
    const elem* __restrict__ d_post_attention_layernorm_rows, int d_post_attention_layernorm_pitch,
    const elem* __restrict__ post_feedforward_layernorm_weight_vector,
    const float* __restrict__ rsqrt2_rows,
    const elem* __restrict__ down_proj_rows, int down_proj_pitch,
    int rows)
{
    __shared__ float scratch[2][WARP_SIZE];
    const int64 row = blockIdx.x;
    const int column = threadIdx.x * 8;

    float d_input_layernorm[8];
    load8(d_input_layernorm_rows + row * d_input_layernorm_pitch + column, d_input_layernorm);
    float input_layernorm_weight[8];
    load8(input_layernorm_weight_vector + column, input_layernorm_weight);
    const float rsqrt = rsqrt_rows[row];
    float sum[8];
    load8(sum_rows + row * sum_pitch + column, sum);
    float d_post_attention_layernorm[8];
    load8(d_post_attention_layernorm_rows + row * d_post_attention_layernorm_pitch + column, d_post_attention_layernorm);
    float post_feedforward_layernorm_weight[8];
    load8(post_feedforward_layernorm_weight_vector + column, post_feedforward_layernorm_weight);
    const float rsqrt2 = rsqrt2_rows[row];
    float down_proj[8];
    load8(down_proj_rows + row * down_proj_pitch + column, down_proj);

    // mul
    float d_mul[8];
    for (int j = 0; j < 8; j++) d_mul[j] = d_input_layernorm[j] * (1.0f + input_layernorm_weight[j]);

    // row_sum
    float d_rsqrt_part = 0.0f;
    for (int j = 0; j < 8; j++) d_rsqrt_part += d_mul[j] * sum[j];
    const float d_rsqrt = row_block_sum(d_rsqrt_part, scratch[0]);
    const float mul = rsqrt * rsqrt;
    const float mul2 = rsqrt * mul;
    const float mul3 = (-0.5f) * mul2;
    const float d_mul2 = d_rsqrt * mul3;
    const float d_mul3 = 0.00027901787f * d_mul2;

    // mul
    float mul4[8];
    for (int j = 0; j < 8; j++) mul4[j] = d_mul3 * sum[j];

    // add
    float d_post_feedforward_layernorm[8];
    for (int j = 0; j < 8; j++) d_post_feedforward_layernorm[j] = d_post_attention_layernorm[j] + d_mul[j] * rsqrt + mul4[j] + mul4[j];
    store8(d_post_feedforward_layernorm_rows + row * d_post_feedforward_layernorm_pitch + column, d_post_feedforward_layernorm);
    for (int j = 0; j < 8; j++) d_post_feedforward_layernorm[j] = round_elem(d_post_feedforward_layernorm[j]);

    // mul
    float d_mul4[8];
    for (int j = 0; j < 8; j++) d_mul4[j] = d_post_feedforward_layernorm[j] * (1.0f + post_feedforward_layernorm_weight[j]);

    // row_sum
    float d_rsqrt2_part = 0.0f;
    for (int j = 0; j < 8; j++) d_rsqrt2_part += d_mul4[j] * down_proj[j];
    const float d_rsqrt2 = row_block_sum(d_rsqrt2_part, scratch[1]);
    const float mul5 = rsqrt2 * rsqrt2;
    const float mul6 = rsqrt2 * mul5;
    const float mul7 = (-0.5f) * mul6;
    const float d_mul5 = d_rsqrt2 * mul7;
    const float d_mul6 = 0.00027901787f * d_mul5;

    // mul
    float mul8[8];
    for (int j = 0; j < 8; j++) mul8[j] = d_mul6 * down_proj[j];

    // add
    float d_down_proj_b[8];
    for (int j = 0; j < 8; j++) d_down_proj_b[j] = d_mul4[j] * rsqrt2 + mul8[j] + mul8[j];
    store8(d_down_proj_b_rows + row * d_down_proj_b_pitch + column, d_down_proj_b);
}


// ======== k18_d_o_proj_b
// k18_d_o_proj_b <sm_90a>  launches: 1
//   %308 = mul %307 %49 : act[T,3584]  // layers.0.mlp d_mul
//   %309 = mul %308 %47 : act[T,3584]  // layers.0.mlp mul
//   %310 = mul %308 %41 : act[T,3584]  // layers.0.mlp mul
//   %311 = row_sum %310 : f32[T,1]  // layers.0.mlp d_rsqrt
//   %312 = add %270 %309 : act[T,3584]  // layers.0.mlp d_sum
//   %313 = mul %47 %47 : f32[T,1]  // layers.0.mlp mul
//   %314 = mul %47 %313 : f32[T,1]  // layers.0.mlp mul
//   %315 = mul %168 %314 : f32[T,1]  // layers.0.mlp mul
//   %316 = mul %311 %315 : f32[T,1]  // layers.0.mlp d_mul
//   %317 = mul %316 %7 : f32[T,1]  // layers.0.mlp d_mul
//   %318 = mul %317 %41 : act[T,3584]  // layers.0.mlp mul
//   %319 = add %312 %318 : act[T,3584]  // layers.0.mlp d_sum
//   %320 = add %319 %318 : act[T,3584]  // layers.0.mlp d_post_attention_layernorm
//   %321 = mul %320 %39 : act[T,3584]  // layers.0.self_attn d_mul
//   %322 = mul %321 %37 : act[T,3584]  // layers.0.self_attn d_o_proj
//   %323 = mul %321 %31 : act[T,3584]  // layers.0.self_attn mul
//   %324 = row_sum %323 : f32[T,1]  // layers.0.self_attn d_rsqrt
//   %325 = mul %37 %37 : f32[T,1]  // layers.0.self_attn mul
//   %326 = mul %37 %325 : f32[T,1]  // layers.0.self_attn mul
//   %327 = mul %168 %326 : f32[T,1]  // layers.0.self_attn mul
//   %328 = mul %324 %327 : f32[T,1]  // layers.0.self_attn d_mul
//   %329 = mul %328 %7 : f32[T,1]  // layers.0.self_attn d_mul
//   %330 = mul %329 %31 : act[T,3584]  // layers.0.self_attn mul
//   %331 = add %322 %330 : act[T,3584]  // layers.0.self_attn d_o_proj
//   %332 = add %331 %330 : act[T,3584]  // layers.0.self_attn d_o_proj_b
// tensors of the first launch: layers.0.d_o_proj[:,0:3584] layers.0.d_pre_feedforward_layernorm model.layers.0.pre_feedforward_layernorm.weight layers.0.rsqrt2 layers.0.sum layers.1.d_post_feedforward_layernorm model.layers.0.post_attention_layernorm.weight layers.0.rsqrt layers.0.o_proj
// 35848 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(448)
k18_d_o_proj_b(elem* __restrict__ d_o_proj_b_rows, int d_o_proj_b_pitch,
    const elem* __restrict__ d_pre_feedforward_layernorm_rows, int d_pre_feedforward_layernorm_pitch,
    const elem* __restrict__ pre_feedforward_layernorm_weight_vector,
    const float* __restrict__ rsqrt_rows,
    const elem* __restrict__ sum_rows, int sum_pitch,
    const elem* __restrict__ d_post_feedforward_layernorm_rows, int d_post_feedforward_layernorm_pitch,
    const elem* __restrict__ post_attention_layernorm_weight_vector,
    const float* __restrict__ rsqrt2_rows,
    const elem* __restrict__ o_proj_rows, int o_proj_pitch,
    int rows)
{
    __shared__ float scratch[2][WARP_SIZE];
    const int64 row = blockIdx.x;
    const int column = threadIdx.x * 8;

    float d_pre_feedforward_layernorm[8];
    load8(d_pre_feedforward_layernorm_rows + row * d_pre_feedforward_layernorm_pitch + column, d_pre_feedforward_layernorm);
    float pre_feedforward_layernorm_weight[8];
    load8(pre_feedforward_layernorm_weight_vector + column, pre_feedforward_layernorm_weight);
    const float rsqrt = rsqrt_rows[row];
    float sum[8];
    load8(sum_rows + row * sum_pitch + column, sum);
    float d_post_feedforward_layernorm[8];
    load8(d_post_feedforward_layernorm_rows + row * d_post_feedforward_layernorm_pitch + column, d_post_feedforward_layernorm);
    float post_attention_layernorm_weight[8];
    load8(post_attention_layernorm_weight_vector + column, post_attention_layernorm_weight);
    const float rsqrt2 = rsqrt2_rows[row];
    float o_proj[8];
    load8(o_proj_rows + row * o_proj_pitch + column, o_proj);

    // mul
    float d_mul[8];
    for (int j = 0; j < 8; j++) d_mul[j] = d_pre_feedforward_layernorm[j] * (1.0f + pre_feedforward_layernorm_weight[j]);

    // row_sum
    float d_rsqrt_part = 0.0f;
    for (int j = 0; j < 8; j++) d_rsqrt_part += d_mul[j] * sum[j];
    const float d_rsqrt = row_block_sum(d_rsqrt_part, scratch[0]);
    const float mul = rsqrt * rsqrt;
    const float mul2 = rsqrt * mul;
    const float mul3 = (-0.5f) * mul2;
    const float d_mul2 = d_rsqrt * mul3;
    const float d_mul3 = 0.00027901787f * d_mul2;

    // mul
    float mul4[8];
    for (int j = 0; j < 8; j++) mul4[j] = d_mul3 * sum[j];

    // mul
    float d_mul4[8];
    for (int j = 0; j < 8; j++) d_mul4[j] = (d_post_feedforward_layernorm[j] + d_mul[j] * rsqrt + mul4[j] + mul4[j]) * (1.0f + post_attention_layernorm_weight[j]);

    // row_sum
    float d_rsqrt2_part = 0.0f;
    for (int j = 0; j < 8; j++) d_rsqrt2_part += d_mul4[j] * o_proj[j];
    const float d_rsqrt2 = row_block_sum(d_rsqrt2_part, scratch[1]);
    const float mul5 = rsqrt2 * rsqrt2;
    const float mul6 = rsqrt2 * mul5;
    const float mul7 = (-0.5f) * mul6;
    const float d_mul5 = d_rsqrt2 * mul7;
    const float d_mul6 = 0.00027901787f * d_mul5;

    // mul
    float mul8[8];
    for (int j = 0; j < 8; j++) mul8[j] = d_mul6 * o_proj[j];

    // add
    float d_o_proj_b[8];
    for (int j = 0; j < 8; j++) d_o_proj_b[j] = d_mul4[j] * rsqrt2 + mul8[j] + mul8[j];
    store8(d_o_proj_b_rows + row * d_o_proj_b_pitch + column, d_o_proj_b);
}


// ======== k19_attention_dq
// k19_attention_dq <sm_90a>  launches: 1
//   %340 = attention_grad_q %21 %24 %26 %337 %338 %339 {score=(50*tanh((0.00125*s))) window=4096} : act[T,16,256]  // layers.0.self_attn d_q_proj
// tensors of the first launch: layers.0.d_q_proj+k_proj+v_proj[:,0:4096] layers.0.q_proj+k_proj+v_proj[:,0:4096] layers.0.q_proj+k_proj+v_proj[:,4096:6144] layers.0.q_proj+k_proj+v_proj[:,6144:8192] layers.0.d_attention layers.0.attention_lse layers.0.attention_delta doc_start
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME k19_attention_dq
#define HEAD_DIM 256
#define GROUP 2
#define WINDOW 4096
#define BOUNDED 1
#define TILE_Q 128
#define TILE_K 64
#define WARPS 12
#define STAGES 2

@prelude.cu
@mma.cu
@wgmma.cu
// score(s) = (50*tanh((0.00125*s))), traced from the model; in units of log2.
__device__ __forceinline__ float score_log2(float s)
{
    return 72.1347504f * fast_tanh(0.00124999997f * s);
}

// The same, and d(score)/ds in natural units, from shared work.
__device__ __forceinline__ void score_log2_and_derivative(float s, float& z, float& dz)
{
    const float t = fast_tanh(0.00124999997f * s);
    z = 72.1347504f * t;
    dz = 0.0625f * (1.0f - t * t);
}


@attention_dq_sm90.cu

// ======== k20_attention_dkdv
// k20_attention_dkdv <sm_90a>  launches: 1
//   %341 = attention_grad_k %21 %24 %26 %337 %338 %339 {score=(50*tanh((0.00125*s))) window=4096} : act[T,8,256]  // layers.0.self_attn d_k_proj
// tensors of the first launch: layers.0.d_q_proj+k_proj+v_proj[:,4096:6144] layers.0.d_q_proj+k_proj+v_proj[:,6144:8192] layers.0.q_proj+k_proj+v_proj[:,0:4096] layers.0.q_proj+k_proj+v_proj[:,4096:6144] layers.0.q_proj+k_proj+v_proj[:,6144:8192] layers.0.d_attention layers.0.attention_lse layers.0.attention_delta doc_start doc_end
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME k20_attention_dkdv
#define HEAD_DIM 256
#define GROUP 2
#define WINDOW 4096
#define BOUNDED 1
#define TILE_Q 64
#define TILE_K 64
#define WARPS 12
#define STAGES 2

@prelude.cu
@mma.cu
@wgmma.cu
// score(s) = (50*tanh((0.00125*s))), traced from the model; in units of log2.
__device__ __forceinline__ float score_log2(float s)
{
    return 72.1347504f * fast_tanh(0.00124999997f * s);
}

// The same, and d(score)/ds in natural units, from shared work.
__device__ __forceinline__ void score_log2_and_derivative(float s, float& z, float& dz)
{
    const float t = fast_tanh(0.00124999997f * s);
    z = 72.1347504f * t;
    dz = 0.0625f * (1.0f - t * t);
}


@attention_dkdv_sm90_d256.cu

// ======== k21_input_layernorm
// k21_input_layernorm <sm_90a>  recompute only
//   %6 = mul %4 %4 : act[T,3584]  // layers.0.self_attn mul
//   %8 = row_sum %6 : f32[T,1]  // layers.0.self_attn row_sum
//   %9 = mul %7 %8 : f32[T,1]  // layers.0.self_attn mul
//   %11 = add %9 %10 : f32[T,1]  // layers.0.self_attn add
//   %12 = rsqrt %11 : f32[T,1]  // layers.0.self_attn rsqrt
//   %13 = mul %4 %12 : act[T,3584]  // layers.0.self_attn mul
//   %16 = mul %13 %15 : act[T,3584]  // layers.0.self_attn input_layernorm
// tensors of the first launch: layers.0.input_layernorm[:,0:3584] mul model.layers.0.input_layernorm.weight
// 14336 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(448)
k21_input_layernorm(elem* __restrict__ input_layernorm_rows, int input_layernorm_pitch,
    const elem* __restrict__ mul_rows, int mul_pitch,
    const elem* __restrict__ input_layernorm_weight_vector,
    int rows)
{
    __shared__ float scratch[2][WARP_SIZE];
    const int column = threadIdx.x * 8;

    // What a row needs is loaded while the row before it is reduced, so that loads are always in flight.
    const int first = blockIdx.x * 3, end = min(first + 3, rows);
    uint4 mul_next = packed8(mul_rows + (int64)first * mul_pitch + column);

    // Vectors that all rows share. A thread reads back what it wrote itself; registers would cost a block per multiprocessor.
    __shared__ uint4 vectors[1][448];
    vectors[0][threadIdx.x] = packed8(input_layernorm_weight_vector + column);

    int row = first;
#pragma unroll 1
    do
    {
        float mul[8];
        unpack8(mul_next, mul);
        if (row + 1 < end)
        {
            mul_next = packed8(mul_rows + (int64)(row + 1) * mul_pitch + column);
        }

        // row_sum
        float row_sum_part = 0.0f;
        for (int j = 0; j < 8; j++) row_sum_part += mul[j] * mul[j];
        const float row_sum = row_block_sum(row_sum_part, scratch[row & 1]);
        const float mul2 = 0.00027901787f * row_sum;
        const float add = mul2 + 9.99999997E-07f;
        const float rsqrt = rsqrtf(add);

        float input_layernorm_weight[8];
        unpack8(vectors[0][threadIdx.x], input_layernorm_weight);

        // mul
        float input_layernorm[8];
        for (int j = 0; j < 8; j++) input_layernorm[j] = mul[j] * rsqrt * (1.0f + input_layernorm_weight[j]);
        store8(input_layernorm_rows + (int64)row * input_layernorm_pitch + column, input_layernorm);
    }
    while (++row < end);
}


// ======== k22_pre_feedforward_layernorm
// k22_pre_feedforward_layernorm <sm_90a>  recompute only
//   %48 = mul %41 %47 : act[T,3584]  // layers.0.mlp mul
//   %50 = mul %48 %49 : act[T,3584]  // layers.0.mlp pre_feedforward_layernorm
// tensors of the first launch: layers.0.pre_feedforward_layernorm[:,0:3584] layers.0.sum layers.0.rsqrt2 model.layers.0.pre_feedforward_layernorm.weight
// 14340 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
extern "C" __global__ void __launch_bounds__(256)
k22_pre_feedforward_layernorm(elem* __restrict__ pre_feedforward_layernorm_rows, int pre_feedforward_layernorm_pitch,
    const elem* __restrict__ sum_rows, int sum_pitch,
    const float* __restrict__ rsqrt_rows,
    const elem* __restrict__ pre_feedforward_layernorm_weight_vector,
    int rows)
{
    const int64 row = blockIdx.x;
    const int column = (blockIdx.y * 256 + threadIdx.x) * 8;
    const bool inside = column < 3584;
    if (!inside) return;

    float sum[8];
    load8(sum_rows + row * sum_pitch + column, sum);
    const float rsqrt = rsqrt_rows[row];
    float pre_feedforward_layernorm_weight[8];
    load8(pre_feedforward_layernorm_weight_vector + column, pre_feedforward_layernorm_weight);

    // mul
    float pre_feedforward_layernorm[8];
    for (int j = 0; j < 8; j++) pre_feedforward_layernorm[j] = sum[j] * rsqrt * (1.0f + pre_feedforward_layernorm_weight[j]);
    store8(pre_feedforward_layernorm_rows + row * pre_feedforward_layernorm_pitch + column, pre_feedforward_layernorm);
}


// ======== k23_input_layernorm
// k23_input_layernorm <sm_90a>  recompute only
//   %87 = mul %80 %86 : act[T,3584]  // layers.1.self_attn mul
//   %89 = mul %87 %88 : act[T,3584]  // layers.1.self_attn input_layernorm
// tensors of the first launch: layers.1.input_layernorm[:,0:3584] layers.0.sum2 layers.1.rsqrt model.layers.1.input_layernorm.weight
// 14340 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
extern "C" __global__ void __launch_bounds__(256)
k23_input_layernorm(elem* __restrict__ input_layernorm_rows, int input_layernorm_pitch,
    const elem* __restrict__ sum_rows, int sum_pitch,
    const float* __restrict__ rsqrt_rows,
    const elem* __restrict__ input_layernorm_weight_vector,
    int rows)
{
    const int64 row = blockIdx.x;
    const int column = (blockIdx.y * 256 + threadIdx.x) * 8;
    const bool inside = column < 3584;
    if (!inside) return;

    float sum[8];
    load8(sum_rows + row * sum_pitch + column, sum);
    const float rsqrt = rsqrt_rows[row];
    float input_layernorm_weight[8];
    load8(input_layernorm_weight_vector + column, input_layernorm_weight);

    // mul
    float input_layernorm[8];
    for (int j = 0; j < 8; j++) input_layernorm[j] = sum[j] * rsqrt * (1.0f + input_layernorm_weight[j]);
    store8(input_layernorm_rows + row * input_layernorm_pitch + column, input_layernorm);
}


// ======== k24_mul
// k24_mul <sm_90a>  recompute only
//   %2 = embedding %0 %1 : act[T,3584]  // Gemma2Model.Forward embedding
//   %4 = mul %2 %3 : act[T,3584]  // Gemma2Model.Forward mul
// tensors of the first launch: mul ids model.embed_tokens.weight
// 14336 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
extern "C" __global__ void __launch_bounds__(256)
k24_mul(elem* __restrict__ mul_rows, int mul_pitch,
    const int* __restrict__ embed_tokens_ids, const elem* __restrict__ embed_tokens_table, int embed_tokens_pitch,
    int rows)
{
    const int64 row = blockIdx.x;
    const int column = (blockIdx.y * 256 + threadIdx.x) * 8;
    const bool inside = column < 3584;
    if (!inside) return;

    float embed_tokens[8];
    load8(embed_tokens_table + (int64)embed_tokens_ids[row] * embed_tokens_pitch + column, embed_tokens);

    // mul
    float mul[8];
    for (int j = 0; j < 8; j++) mul[j] = embed_tokens[j] * round_elem(59.8665199f);
    store8(mul_rows + row * mul_pitch + column, mul);
}


// ======== k25_sum
// k25_sum <sm_90a>  recompute only
//   %38 = mul %31 %37 : act[T,3584]  // layers.0.self_attn mul
//   %40 = mul %38 %39 : act[T,3584]  // layers.0.self_attn post_attention_layernorm
//   %41 = add %4 %40 : act[T,3584]  // layers.0.self_attn sum
// tensors of the first launch: layers.0.sum layers.0.o_proj layers.0.rsqrt model.layers.0.post_attention_layernorm.weight mul
// 21508 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
extern "C" __global__ void __launch_bounds__(256)
k25_sum(elem* __restrict__ sum_rows, int sum_pitch,
    const elem* __restrict__ o_proj_rows, int o_proj_pitch,
    const float* __restrict__ rsqrt_rows,
    const elem* __restrict__ post_attention_layernorm_weight_vector,
    const elem* __restrict__ mul_rows, int mul_pitch,
    int rows)
{
    const int64 row = blockIdx.x;
    const int column = (blockIdx.y * 256 + threadIdx.x) * 8;
    const bool inside = column < 3584;
    if (!inside) return;

    float o_proj[8];
    load8(o_proj_rows + row * o_proj_pitch + column, o_proj);
    const float rsqrt = rsqrt_rows[row];
    float post_attention_layernorm_weight[8];
    load8(post_attention_layernorm_weight_vector + column, post_attention_layernorm_weight);
    float mul[8];
    load8(mul_rows + row * mul_pitch + column, mul);

    // add
    float sum[8];
    for (int j = 0; j < 8; j++) sum[j] = mul[j] + o_proj[j] * rsqrt * (1.0f + post_attention_layernorm_weight[j]);
    store8(sum_rows + row * sum_pitch + column, sum);
}


// ======== k26_sum
// k26_sum <sm_90a>  recompute only
//   %77 = mul %70 %76 : act[T,3584]  // layers.0.mlp mul
//   %79 = mul %77 %78 : act[T,3584]  // layers.0.mlp post_feedforward_layernorm
//   %80 = add %41 %79 : act[T,3584]  // layers.0.mlp sum
// tensors of the first launch: layers.0.sum2 layers.0.down_proj layers.0.rsqrt3 model.layers.0.post_feedforward_layernorm.weight layers.0.sum
// 21508 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
extern "C" __global__ void __launch_bounds__(256)
k26_sum(elem* __restrict__ sum_rows, int sum_pitch,
    const elem* __restrict__ down_proj_rows, int down_proj_pitch,
    const float* __restrict__ rsqrt_rows,
    const elem* __restrict__ post_feedforward_layernorm_weight_vector,
    const elem* __restrict__ sum2_rows, int sum2_pitch,
    int rows)
{
    const int64 row = blockIdx.x;
    const int column = (blockIdx.y * 256 + threadIdx.x) * 8;
    const bool inside = column < 3584;
    if (!inside) return;

    float down_proj[8];
    load8(down_proj_rows + row * down_proj_pitch + column, down_proj);
    const float rsqrt = rsqrt_rows[row];
    float post_feedforward_layernorm_weight[8];
    load8(post_feedforward_layernorm_weight_vector + column, post_feedforward_layernorm_weight);
    float sum2[8];
    load8(sum2_rows + row * sum2_pitch + column, sum2);

    // add
    float sum[8];
    for (int j = 0; j < 8; j++) sum[j] = sum2[j] + down_proj[j] * rsqrt * (1.0f + post_feedforward_layernorm_weight[j]);
    store8(sum_rows + row * sum_pitch + column, sum);
}


// ======== k27_sum
// k27_sum <sm_90a>  recompute only
//   %111 = mul %104 %110 : act[T,3584]  // layers.1.self_attn mul
//   %113 = mul %111 %112 : act[T,3584]  // layers.1.self_attn post_attention_layernorm
//   %114 = add %80 %113 : act[T,3584]  // layers.1.self_attn sum
// tensors of the first launch: layers.1.sum layers.1.o_proj layers.1.rsqrt2 model.layers.1.post_attention_layernorm.weight layers.0.sum2
// 21508 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
extern "C" __global__ void __launch_bounds__(256)
k27_sum(elem* __restrict__ sum_rows, int sum_pitch,
    const elem* __restrict__ o_proj_rows, int o_proj_pitch,
    const float* __restrict__ rsqrt_rows,
    const elem* __restrict__ post_attention_layernorm_weight_vector,
    const elem* __restrict__ sum2_rows, int sum2_pitch,
    int rows)
{
    const int64 row = blockIdx.x;
    const int column = (blockIdx.y * 256 + threadIdx.x) * 8;
    const bool inside = column < 3584;
    if (!inside) return;

    float o_proj[8];
    load8(o_proj_rows + row * o_proj_pitch + column, o_proj);
    const float rsqrt = rsqrt_rows[row];
    float post_attention_layernorm_weight[8];
    load8(post_attention_layernorm_weight_vector + column, post_attention_layernorm_weight);
    float sum2[8];
    load8(sum2_rows + row * sum2_pitch + column, sum2);

    // add
    float sum[8];
    for (int j = 0; j < 8; j++) sum[j] = sum2[j] + o_proj[j] * rsqrt * (1.0f + post_attention_layernorm_weight[j]);
    store8(sum_rows + row * sum_pitch + column, sum);
}


// ======== k28_norm
// k28_norm <sm_90a>  recompute only
//   %147 = mul %140 %146 : act[T,3584]  // layers.1.mlp mul
//   %149 = mul %147 %148 : act[T,3584]  // layers.1.mlp post_feedforward_layernorm
//   %150 = add %114 %149 : act[T,3584]  // layers.1.mlp sum
//   %157 = mul %150 %156 : act[T,3584]  // Gemma2Model.Forward mul
//   %159 = mul %157 %158 : act[T,3584]  // Gemma2Model.Forward norm
// tensors of the first launch: norm layers.1.down_proj layers.1.rsqrt4 model.layers.1.post_feedforward_layernorm.weight layers.1.sum rsqrt model.norm.weight
// 21512 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
extern "C" __global__ void __launch_bounds__(256)
k28_norm(elem* __restrict__ norm_rows, int norm_pitch,
    const elem* __restrict__ down_proj_rows, int down_proj_pitch,
    const float* __restrict__ rsqrt_rows,
    const elem* __restrict__ post_feedforward_layernorm_weight_vector,
    const elem* __restrict__ sum_rows, int sum_pitch,
    const float* __restrict__ rsqrt2_rows,
    const elem* __restrict__ norm_weight_vector,
    int rows)
{
    const int64 row = blockIdx.x;
    const int column = (blockIdx.y * 256 + threadIdx.x) * 8;
    const bool inside = column < 3584;
    if (!inside) return;

    float down_proj[8];
    load8(down_proj_rows + row * down_proj_pitch + column, down_proj);
    const float rsqrt = rsqrt_rows[row];
    float post_feedforward_layernorm_weight[8];
    load8(post_feedforward_layernorm_weight_vector + column, post_feedforward_layernorm_weight);
    float sum[8];
    load8(sum_rows + row * sum_pitch + column, sum);
    const float rsqrt2 = rsqrt2_rows[row];
    float norm_weight[8];
    load8(norm_weight_vector + column, norm_weight);

    // mul
    float norm[8];
    for (int j = 0; j < 8; j++) norm[j] = (sum[j] + down_proj[j] * rsqrt * (1.0f + post_feedforward_layernorm_weight[j])) * rsqrt2 * (1.0f + norm_weight[j]);
    store8(norm_rows + row * norm_pitch + column, norm);
}


// ======== gemm_nt_k01_rope
// gemm_nt_k01_rope <sm_90a>  k01_rope on the tiles of the product before it, which the schedule keeps as two launches
//   %21 = rope %20 {theta=10000} : act[T,16,256]  // layers.0.self_attn q_proj
//   %24 = rope %23 {theta=10000} : act[T,8,256]  // layers.0.self_attn k_proj
// tensors of the first launch: layers.0.q_proj+k_proj+v_proj[:,0:6144] positions
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME gemm_nt_k01_rope
#define LAYOUT 0
#define TILE_M 128
#define TILE_N 256
#define TILE_K 64
#define STAGES 3
#define EPILOGUE 1
#define PAIR 2
#define HALVES 0
#define SUMS 0
#define TURNED 6144
#define HEAD_DIM 256
#define THETA 10000.0

@prelude.cu
@mma.cu
@wgmma.cu
@rotation.cu
@rope_epilogue.cu
@gemm_sm90.cu

// ======== gemm_nt_k04_mul
// gemm_nt_k04_mul <sm_90a>  k04_mul on the tiles of the product before it, which the schedule keeps as two launches
//   %54 = mul %53 %53 : act[T,14336]  // layers.0.mlp mul
//   %55 = mul %53 %54 : act[T,14336]  // layers.0.mlp mul
//   %58 = mul %57 %55 : act[T,14336]  // layers.0.mlp mul
//   %59 = add %53 %58 : act[T,14336]  // layers.0.mlp add
//   %60 = mul %56 %59 : act[T,14336]  // layers.0.mlp mul
//   %62 = mul %61 %53 : act[T,14336]  // layers.0.mlp mul
//   %63 = tanh %60 : act[T,14336]  // layers.0.mlp tanh
//   %64 = add %14 %63 : act[T,14336]  // layers.0.mlp add
//   %65 = mul %62 %64 : act[T,14336]  // layers.0.mlp gelu_tanh
//   %67 = mul %65 %66 : act[T,14336]  // layers.0.mlp mul
// tensors of the first launch: layers.0.mul[:,0:14336] layers.0.gate_proj+up_proj[:,0:14336] layers.0.gate_proj+up_proj[:,14336:28672]
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME gemm_nt_k04_mul
#define LAYOUT 0
#define TILE_M 128
#define TILE_N 256
#define TILE_K 64
#define STAGES 3
#define EPILOGUE 1
#define PAIR 2
#define HALVES 1
#define SUMS 0

@prelude.cu
@mma.cu
@wgmma.cu
// What k04_mul writes, and reads besides the product.
struct Epilogue
{
    elem* mul_rows; int mul_pitch;
};

struct Beside {};

__device__ __forceinline__ Beside beside(const Epilogue& arguments, int64 row, int column)
{
    return {};
}

// k04_mul on 8 columns of a row; gate_proj and up_proj: the product's left and right half.
__device__ __forceinline__ void epilogue(const Epilogue& arguments, const Beside& beside, int64 row, int column, const float (&gate_proj)[8], const float (&up_proj)[8])
{

    // mul
    float mul[8];
    for (int j = 0; j < 8; j++) mul[j] = 0.5f * gate_proj[j] * (1.0f + fast_tanh(0.797884583f * (gate_proj[j] + 0.0447149985f * gate_proj[j] * gate_proj[j] * gate_proj[j]))) * up_proj[j];
    store8(arguments.mul_rows + row * arguments.mul_pitch + column, mul);
}


@gemm_sm90.cu

// ======== gemm_nn_k11_d_up_proj_b_d_gate_proj_b
// gemm_nn_k11_d_up_proj_b_d_gate_proj_b <sm_90a>  k11_d_up_proj_b_d_gate_proj_b on the tiles of the product before it, which the schedule keeps as two launches
//   %127 = mul %126 %126 : act[T,14336]  // layers.1.mlp mul
//   %128 = mul %126 %127 : act[T,14336]  // layers.1.mlp mul
//   %129 = mul %57 %128 : act[T,14336]  // layers.1.mlp mul
//   %130 = add %126 %129 : act[T,14336]  // layers.1.mlp add
//   %131 = mul %56 %130 : act[T,14336]  // layers.1.mlp mul
//   %132 = mul %61 %126 : act[T,14336]  // layers.1.mlp mul
//   %133 = tanh %131 : act[T,14336]  // layers.1.mlp tanh
//   %134 = add %14 %133 : act[T,14336]  // layers.1.mlp add
//   %135 = mul %132 %134 : act[T,14336]  // layers.1.mlp gelu_tanh
//   %193 = mul %192 %136 : act[T,14336]  // layers.1.mlp d_gelu_tanh
//   %194 = mul %192 %135 : act[T,14336]  // layers.1.mlp d_up_proj_b
//   %195 = mul %193 %134 : act[T,14336]  // layers.1.mlp d_mul
//   %196 = mul %195 %61 : act[T,14336]  // layers.1.mlp d_gate_proj
//   %197 = mul %193 %132 : act[T,14336]  // layers.1.mlp d_tanh
//   %198 = mul %133 %133 : act[T,14336]  // layers.1.mlp mul
//   %199 = sub %14 %198 : act[T,14336]  // layers.1.mlp sub
//   %200 = mul %197 %199 : act[T,14336]  // layers.1.mlp d_mul
//   %201 = mul %200 %56 : act[T,14336]  // layers.1.mlp d_mul
//   %202 = add %196 %201 : act[T,14336]  // layers.1.mlp d_gate_proj
//   %203 = mul %201 %57 : act[T,14336]  // layers.1.mlp d_mul
//   %204 = mul %203 %127 : act[T,14336]  // layers.1.mlp mul
//   %205 = add %202 %204 : act[T,14336]  // layers.1.mlp d_gate_proj
//   %206 = mul %203 %126 : act[T,14336]  // layers.1.mlp d_mul
//   %207 = mul %206 %126 : act[T,14336]  // layers.1.mlp mul
//   %208 = add %205 %207 : act[T,14336]  // layers.1.mlp d_gate_proj
//   %209 = add %208 %207 : act[T,14336]  // layers.1.mlp d_gate_proj_b
// tensors of the first launch: layers.1.d_gate_proj+up_proj[:,14336:28672] layers.1.d_gate_proj+up_proj[:,0:14336] layers.1.gate_proj+up_proj[:,0:14336] layers.1.d_mul layers.1.gate_proj+up_proj[:,14336:28672]
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME gemm_nn_k11_d_up_proj_b_d_gate_proj_b
#define LAYOUT 1
#define TILE_M 128
#define TILE_N 256
#define TILE_K 64
#define STAGES 3
#define EPILOGUE 1
#define PAIR 0
#define HALVES 0
#define SUMS 0

@prelude.cu
@mma.cu
@wgmma.cu
// What k11_d_up_proj_b_d_gate_proj_b writes, and reads besides the product.
struct Epilogue
{
    elem* d_up_proj_b_rows; int d_up_proj_b_pitch;
    elem* d_gate_proj_b_rows; int d_gate_proj_b_pitch;
    const elem* gate_proj_rows; int gate_proj_pitch;
    const elem* up_proj_rows; int up_proj_pitch;
};

struct Beside
{
    uint4 gate_proj, up_proj;
};

__device__ __forceinline__ Beside beside(const Epilogue& arguments, int64 row, int column)
{
    return { *reinterpret_cast<const uint4*>(arguments.gate_proj_rows + row * arguments.gate_proj_pitch + column), *reinterpret_cast<const uint4*>(arguments.up_proj_rows + row * arguments.up_proj_pitch + column) };
}

// k11_d_up_proj_b_d_gate_proj_b on 8 columns of a row; d_mul: the product.
__device__ __forceinline__ void epilogue(const Epilogue& arguments, const Beside& beside, int64 row, int column, const float (&d_mul)[8])
{
    float gate_proj[8];
    unpack8(beside.gate_proj, gate_proj);
    float up_proj[8];
    unpack8(beside.up_proj, up_proj);

    // mul
    float mul[8];
    for (int j = 0; j < 8; j++) mul[j] = gate_proj[j] * gate_proj[j];

    // mul
    float mul2[8];
    for (int j = 0; j < 8; j++) mul2[j] = 0.5f * gate_proj[j];

    // tanh
    float tanh[8];
    for (int j = 0; j < 8; j++) tanh[j] = fast_tanh(0.797884583f * (gate_proj[j] + 0.0447149985f * gate_proj[j] * mul[j]));

    // add
    float add[8];
    for (int j = 0; j < 8; j++) add[j] = 1.0f + tanh[j];

    // mul
    float d_gelu_tanh[8];
    for (int j = 0; j < 8; j++) d_gelu_tanh[j] = d_mul[j] * up_proj[j];

    // mul
    float d_up_proj_b[8];
    for (int j = 0; j < 8; j++) d_up_proj_b[j] = d_mul[j] * mul2[j] * add[j];
    store8(arguments.d_up_proj_b_rows + row * arguments.d_up_proj_b_pitch + column, d_up_proj_b);

    // mul
    float d_mul2[8];
    for (int j = 0; j < 8; j++) d_mul2[j] = 0.797884583f * d_gelu_tanh[j] * mul2[j] * (1.0f - tanh[j] * tanh[j]);

    // mul
    float d_mul3[8];
    for (int j = 0; j < 8; j++) d_mul3[j] = 0.0447149985f * d_mul2[j];

    // mul
    float mul3[8];
    for (int j = 0; j < 8; j++) mul3[j] = d_mul3[j] * gate_proj[j] * gate_proj[j];

    // add
    float d_gate_proj_b[8];
    for (int j = 0; j < 8; j++) d_gate_proj_b[j] = 0.5f * d_gelu_tanh[j] * add[j] + d_mul2[j] + d_mul3[j] * mul[j] + mul3[j] + mul3[j];
    store8(arguments.d_gate_proj_b_rows + row * arguments.d_gate_proj_b_pitch + column, d_gate_proj_b);
}


@gemm_sm90.cu

// ======== gemm_nt_k09_cross_entropy
// gemm_nt_k09_cross_entropy <sm_90a>  the sums of k09_cross_entropy on the tiles of the product before it, which the schedule keeps as one launch
//   %161 = linear_cross_entropy %159 %1 %160 {logit=(30*tanh((0.03333333333333333*s)))} : f32[T,1]  // loss
// tensors of the first launch: norm model.embed_tokens.weight loss
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME gemm_nt_k09_cross_entropy
#define LAYOUT 0
#define TILE_M 128
#define TILE_N 256
#define TILE_K 64
#define STAGES 3
#define EPILOGUE 1
#define PAIR 0
#define HALVES 0
#define SUMS 1

@prelude.cu
@mma.cu
@wgmma.cu
// logit(s) = (30*tanh((0.03333333333333333*s))), traced from the model; in units of log2.
__device__ __forceinline__ float logit_log2(float s)
{
    return 43.2808495f * fast_tanh(0.0333333351f * s);
}

__device__ __forceinline__ void logit_log2_and_derivative(float s, float& z, float& dz)
{
    const float t = fast_tanh(0.0333333351f * s);
    z = 43.2808495f * t;
    dz = 1.0f - t * t;
}


@cross_entropy_epilogue.cu
@gemm_sm90.cu

// ======== k09_cross_entropy_from_sums
// k09_cross_entropy <sm_90a>  launches: 1
//   %161 = linear_cross_entropy %159 %1 %160 {logit=(30*tanh((0.03333333333333333*s)))} : f32[T,1]  // loss
// tensors of the first launch: norm model.embed_tokens.weight loss
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME k09_cross_entropy_from_sums
#define VOCAB 256000
#define THREADS 512
#define PARTS 8
#define THREAD_CHUNKS 8
#define MIN_BLOCKS 2
#define SUMS 1000

@prelude.cu
// logit(s) = (30*tanh((0.03333333333333333*s))), traced from the model; in units of log2.
__device__ __forceinline__ float logit_log2(float s)
{
    return 43.2808495f * fast_tanh(0.0333333351f * s);
}

__device__ __forceinline__ void logit_log2_and_derivative(float s, float& z, float& dz)
{
    const float t = fast_tanh(0.0333333351f * s);
    z = 43.2808495f * t;
    dz = 1.0f - t * t;
}


@cross_entropy_from_sums.cu

// ======== gemm_nt
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME gemm_nt
#define LAYOUT 0
#define TILE_M 128
#define TILE_N 256
#define TILE_K 64
#define STAGES 4
#define EPILOGUE 0
#define PAIR 0
#define HALVES 0
#define SUMS 0

@prelude.cu
@mma.cu
@wgmma.cu
@gemm_sm90.cu

// ======== gemm_nt_skinny_m
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME gemm_nt_skinny_m
#define LAYOUT 0
#define OUT_F32 0
#define ACCUMULATE 0
#define TILE_M 32
#define TILE_N 64
#define TILE_K 64
#define STAGES 8
#define WARP_M 16
#define WARP_N 32
#define MIN_BLOCKS 1

@prelude.cu
@mma.cu
@gemm.cu

// ======== gemm_nt_skinny_n
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME gemm_nt_skinny_n
#define LAYOUT 0
#define OUT_F32 0
#define ACCUMULATE 0
#define TILE_M 64
#define TILE_N 32
#define TILE_K 64
#define STAGES 8
#define WARP_M 16
#define WARP_N 32
#define MIN_BLOCKS 1

@prelude.cu
@mma.cu
@gemm.cu

// ======== gemm_nn
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME gemm_nn
#define LAYOUT 1
#define TILE_M 128
#define TILE_N 256
#define TILE_K 64
#define STAGES 4
#define EPILOGUE 0
#define PAIR 0
#define HALVES 0
#define SUMS 0

@prelude.cu
@mma.cu
@wgmma.cu
@gemm_sm90.cu

// ======== gemm_nn_skinny_m
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME gemm_nn_skinny_m
#define LAYOUT 1
#define OUT_F32 0
#define ACCUMULATE 0
#define TILE_M 32
#define TILE_N 64
#define TILE_K 64
#define STAGES 8
#define WARP_M 16
#define WARP_N 32
#define MIN_BLOCKS 1

@prelude.cu
@mma.cu
@gemm.cu

// ======== gemm_nn_skinny_n
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME gemm_nn_skinny_n
#define LAYOUT 1
#define OUT_F32 0
#define ACCUMULATE 0
#define TILE_M 64
#define TILE_N 32
#define TILE_K 64
#define STAGES 8
#define WARP_M 16
#define WARP_N 32
#define MIN_BLOCKS 1

@prelude.cu
@mma.cu
@gemm.cu

// ======== gemm_nn_add
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME gemm_nn_add
#define LAYOUT 1
#define OUT_F32 0
#define ACCUMULATE 1
#define TILE_M 128
#define TILE_N 256
#define TILE_K 64
#define STAGES 4
#define WARP_M 64
#define WARP_N 64
#define MIN_BLOCKS 1

@prelude.cu
@mma.cu
@gemm.cu

// ======== gemm_nn_add_skinny_m
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME gemm_nn_add_skinny_m
#define LAYOUT 1
#define OUT_F32 0
#define ACCUMULATE 1
#define TILE_M 32
#define TILE_N 64
#define TILE_K 64
#define STAGES 8
#define WARP_M 16
#define WARP_N 32
#define MIN_BLOCKS 1

@prelude.cu
@mma.cu
@gemm.cu

// ======== gemm_nn_add_skinny_n
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME gemm_nn_add_skinny_n
#define LAYOUT 1
#define OUT_F32 0
#define ACCUMULATE 1
#define TILE_M 64
#define TILE_N 32
#define TILE_K 64
#define STAGES 8
#define WARP_M 16
#define WARP_N 32
#define MIN_BLOCKS 1

@prelude.cu
@mma.cu
@gemm.cu

// ======== gemm_tn_f32
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME gemm_tn_f32
#define LAYOUT 2
#define OUT_F32 1
#define ACCUMULATE 0
#define TILE_M 128
#define TILE_N 256
#define TILE_K 64
#define STAGES 4
#define WARP_M 64
#define WARP_N 64
#define MIN_BLOCKS 1

@prelude.cu
@mma.cu
@gemm.cu

// ======== gemm_tn_f32_skinny_m
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME gemm_tn_f32_skinny_m
#define LAYOUT 2
#define OUT_F32 1
#define ACCUMULATE 0
#define TILE_M 32
#define TILE_N 64
#define TILE_K 64
#define STAGES 8
#define WARP_M 16
#define WARP_N 32
#define MIN_BLOCKS 1

@prelude.cu
@mma.cu
@gemm.cu

// ======== gemm_tn_f32_skinny_n
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME gemm_tn_f32_skinny_n
#define LAYOUT 2
#define OUT_F32 1
#define ACCUMULATE 0
#define TILE_M 64
#define TILE_N 32
#define TILE_K 64
#define STAGES 8
#define WARP_M 16
#define WARP_N 32
#define MIN_BLOCKS 1

@prelude.cu
@mma.cu
@gemm.cu

// ======== gemm_tn_f32_add
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME gemm_tn_f32_add
#define LAYOUT 2
#define OUT_F32 1
#define ACCUMULATE 1
#define TILE_M 128
#define TILE_N 256
#define TILE_K 64
#define STAGES 4
#define WARP_M 64
#define WARP_N 64
#define MIN_BLOCKS 1

@prelude.cu
@mma.cu
@gemm.cu

// ======== gemm_tn_f32_add_skinny_m
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME gemm_tn_f32_add_skinny_m
#define LAYOUT 2
#define OUT_F32 1
#define ACCUMULATE 1
#define TILE_M 32
#define TILE_N 64
#define TILE_K 64
#define STAGES 8
#define WARP_M 16
#define WARP_N 32
#define MIN_BLOCKS 1

@prelude.cu
@mma.cu
@gemm.cu

// ======== gemm_tn_f32_add_skinny_n
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME gemm_tn_f32_add_skinny_n
#define LAYOUT 2
#define OUT_F32 1
#define ACCUMULATE 1
#define TILE_M 64
#define TILE_N 32
#define TILE_K 64
#define STAGES 8
#define WARP_M 16
#define WARP_N 32
#define MIN_BLOCKS 1

@prelude.cu
@mma.cu
@gemm.cu

// ======== rank_gradients_r16
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME rank_gradients_r16
#define RANK 16
#define TILE_T 32
#define TILE_N 512
#define WARPS 8
#define STAGES 4
#define MOST_TILES 2
#define READ_ONCE 1

@prelude.cu
@mma.cu
@rank_stripes.cu
@rank_gradients.cu

// ======== rank_sum_r16
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME rank_sum_r16
#define RANK 16
#define TILE_T 32
#define TILE_N 512

@prelude.cu
@rank_stripes.cu
@rank_sum.cu

// ======== rank_gradients_r32
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME rank_gradients_r32
#define RANK 32
#define TILE_T 32
#define TILE_N 512
#define WARPS 8
#define STAGES 4
#define MOST_TILES 1
#define READ_ONCE 1

@prelude.cu
@mma.cu
@rank_stripes.cu
@rank_gradients.cu

// ======== rank_sum_r32
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME rank_sum_r32
#define RANK 32
#define TILE_T 32
#define TILE_N 512

@prelude.cu
@rank_stripes.cu
@rank_sum.cu

// ======== gather_label_rows
#define ELEM_BF16 1
#define EXACT_MATH 0
#define ROWS 8

@prelude.cu
@label_rows.cu

// ======== scatter_label_rows
#define ELEM_BF16 1
#define EXACT_MATH 0
#define ROWS 8

@prelude.cu
@label_rows.cu

// ======== gradient_norm_partials
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
@segments.cu
@gradient_norm.cu

// ======== gradient_norm
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
@segments.cu
@gradient_norm.cu

// ======== adamw
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
@segments.cu
@adamw.cu

// ======== cast_adapters
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
@segments.cu
@adamw.cu

// ======== loss_sum
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
@segments.cu
@loss_sum.cu

