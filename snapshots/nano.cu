// ======== k00_mul_input_layernorm
// k00_mul_input_layernorm <sm_90a>  launches: 1
//   %2 = embedding %0 %1 : act[T,128]  // Gemma2Model.Forward embedding
//   %4 = mul %2 %3 : act[T,128]  // Gemma2Model.Forward mul
//   %6 = mul %4 %4 : act[T,128]  // layers.0.self_attn mul
//   %8 = row_sum %6 : f32[T,1]  // layers.0.self_attn row_sum
//   %9 = mul %7 %8 : f32[T,1]  // layers.0.self_attn mul
//   %11 = add %9 %10 : f32[T,1]  // layers.0.self_attn add
//   %12 = rsqrt %11 : f32[T,1]  // layers.0.self_attn rsqrt
//   %13 = mul %4 %12 : act[T,128]  // layers.0.self_attn mul
//   %16 = mul %13 %15 : act[T,128]  // layers.0.self_attn input_layernorm
// tensors of the first launch: mul layers.0.input_layernorm[:,0:128] ids model.embed_tokens.weight model.layers.0.input_layernorm.weight
// 768 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(32)
k00_mul_input_layernorm(elem* __restrict__ mul_rows, int mul_pitch,
    elem* __restrict__ input_layernorm_rows, int input_layernorm_pitch,
    const int* __restrict__ embed_tokens_ids, const elem* __restrict__ embed_tokens_table, int embed_tokens_pitch,
    const elem* __restrict__ input_layernorm_weight_vector,
    int rows)
{
    __shared__ float scratch[2][WARP_SIZE];
    const int column = threadIdx.x * 8;
    const bool inside = column < 128;

    // What a row needs is loaded while the row before it is reduced, so that loads are always in flight.
    const int first = blockIdx.x * 3, end = min(first + 3, rows);
    uint4 embed_tokens_next = {};
    if (inside) embed_tokens_next = packed8(embed_tokens_table + (int64)embed_tokens_ids[first] * embed_tokens_pitch + column);

    // Vectors that all rows share. A thread reads back what it wrote itself; registers would cost a block per multiprocessor.
    __shared__ uint4 vectors[1][32];
    if (inside) vectors[0][threadIdx.x] = packed8(input_layernorm_weight_vector + column);

    int row = first;
#pragma unroll 1
    do
    {
        float embed_tokens[8];
        unpack8(embed_tokens_next, embed_tokens);
        if (row + 1 < end)
        {
            if (inside) embed_tokens_next = packed8(embed_tokens_table + (int64)embed_tokens_ids[row + 1] * embed_tokens_pitch + column);
        }

        // mul
        float mul[8];
        for (int j = 0; j < 8; j++) mul[j] = embed_tokens[j] * round_elem(11.3137083f);
        if (inside) store8(mul_rows + (int64)row * mul_pitch + column, mul);
        for (int j = 0; j < 8; j++) mul[j] = round_elem(mul[j]);

        // row_sum
        float row_sum_part = 0.0f;
        if (inside) for (int j = 0; j < 8; j++) row_sum_part += mul[j] * mul[j];
        const float row_sum = row_block_sum(row_sum_part, scratch[row & 1]);
        const float mul2 = 0.0078125f * row_sum;
        const float add = mul2 + 9.99999997E-07f;
        const float rsqrt = rsqrtf(add);

        float input_layernorm_weight[8];
        unpack8(vectors[0][threadIdx.x], input_layernorm_weight);

        // mul
        float input_layernorm[8];
        for (int j = 0; j < 8; j++) input_layernorm[j] = mul[j] * rsqrt * (1.0f + input_layernorm_weight[j]);
        if (inside) store8(input_layernorm_rows + (int64)row * input_layernorm_pitch + column, input_layernorm);
    }
    while (++row < end);
}


// ======== k01_rope
// k01_rope <sm_90a>  launches: 4
//   %21 = rope %20 {theta=10000} : act[T,4,32]  // layers.0.self_attn q_proj
//   %24 = rope %23 {theta=10000} : act[T,2,32]  // layers.0.self_attn k_proj
// tensors of the first launch: layers.0.q_proj+k_proj+v_proj[:,0:192] positions
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME k01_rope
#define HEADS 6
#define INVERSE 0
#define TILE_ROWS 128
#define TILE_HEADS 4
#define HEAD_DIM 32
#define THETA 10000.0

@prelude.cu
@rotation.cu
@rope.cu

// ======== k02_attention_forward
// k02_attention_forward <sm_90a>  launches: 2
//   %27 = attention %21 %24 %26 {score=(50*tanh((0.0035355339059327372*s))) window=16} : act[T,4,32]  // layers.0.self_attn attention
// tensors of the first launch: layers.0.attention[:,0:128] layers.0.attention_lse layers.0.q_proj+k_proj+v_proj[:,0:128] layers.0.q_proj+k_proj+v_proj[:,128:192] layers.0.q_proj+k_proj+v_proj[:,192:256] doc_start
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME k02_attention_forward
#define HEAD_DIM 32
#define GROUP 2
#define WINDOW 16
#define BOUNDED 1
#define TILE_Q 64
#define TILE_K 64
#define WARPS 4
#define STAGES 1

@prelude.cu
@mma.cu
// score(s) = (50*tanh((0.0035355339059327372*s))), traced from the model; in units of log2.
__device__ __forceinline__ float score_log2(float s)
{
    return 72.1347504f * fast_tanh(0.00353553379f * s);
}

// The same, and d(score)/ds in natural units, from shared work.
__device__ __forceinline__ void score_log2_and_derivative(float s, float& z, float& dz)
{
    const float t = fast_tanh(0.00353553379f * s);
    z = 72.1347504f * t;
    dz = 0.176776692f * (1.0f - t * t);
}


@attention_forward.cu

// ======== k03_sum_pre_feedforward_layernorm
// k03_sum_pre_feedforward_layernorm <sm_90a>  launches: 1
//   %33 = mul %31 %31 : act[T,128]  // layers.0.self_attn mul
//   %34 = row_sum %33 : f32[T,1]  // layers.0.self_attn row_sum
//   %35 = mul %7 %34 : f32[T,1]  // layers.0.self_attn mul
//   %36 = add %35 %10 : f32[T,1]  // layers.0.self_attn add
//   %37 = rsqrt %36 : f32[T,1]  // layers.0.self_attn rsqrt
//   %38 = mul %31 %37 : act[T,128]  // layers.0.self_attn mul
//   %40 = mul %38 %39 : act[T,128]  // layers.0.self_attn post_attention_layernorm
//   %41 = add %4 %40 : act[T,128]  // layers.0.self_attn sum
//   %43 = mul %41 %41 : act[T,128]  // layers.0.mlp mul
//   %44 = row_sum %43 : f32[T,1]  // layers.0.mlp row_sum
//   %45 = mul %7 %44 : f32[T,1]  // layers.0.mlp mul
//   %46 = add %45 %10 : f32[T,1]  // layers.0.mlp add
//   %47 = rsqrt %46 : f32[T,1]  // layers.0.mlp rsqrt
//   %48 = mul %41 %47 : act[T,128]  // layers.0.mlp mul
//   %50 = mul %48 %49 : act[T,128]  // layers.0.mlp pre_feedforward_layernorm
// tensors of the first launch: layers.0.rsqrt layers.0.sum layers.0.rsqrt2 layers.0.pre_feedforward_layernorm[:,0:128] layers.0.o_proj model.layers.0.post_attention_layernorm.weight mul model.layers.0.pre_feedforward_layernorm.weight
// 1032 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(32)
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
    const bool inside = column < 128;

    // What a row needs is loaded while the row before it is reduced, so that loads are always in flight.
    const int first = blockIdx.x * 3, end = min(first + 3, rows);
    uint4 o_proj_next = {};
    if (inside) o_proj_next = packed8(o_proj_rows + (int64)first * o_proj_pitch + column);
    uint4 mul2_next = {};
    if (inside) mul2_next = packed8(mul2_rows + (int64)first * mul2_pitch + column);

    // Vectors that all rows share. A thread reads back what it wrote itself; registers would cost a block per multiprocessor.
    __shared__ uint4 vectors[2][32];
    if (inside) vectors[0][threadIdx.x] = packed8(post_attention_layernorm_weight_vector + column);
    if (inside) vectors[1][threadIdx.x] = packed8(pre_feedforward_layernorm_weight_vector + column);

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
            if (inside) o_proj_next = packed8(o_proj_rows + (int64)(row + 1) * o_proj_pitch + column);
            if (inside) mul2_next = packed8(mul2_rows + (int64)(row + 1) * mul2_pitch + column);
        }

        // row_sum
        float row_sum_part = 0.0f;
        if (inside) for (int j = 0; j < 8; j++) row_sum_part += o_proj[j] * o_proj[j];
        const float row_sum = row_block_sum(row_sum_part, scratch[0]);
        const float mul = 0.0078125f * row_sum;
        const float add = mul + 9.99999997E-07f;
        const float rsqrt = rsqrtf(add);
        if (threadIdx.x == 0) rsqrt_rows[row] = rsqrt;

        float post_attention_layernorm_weight[8];
        unpack8(vectors[0][threadIdx.x], post_attention_layernorm_weight);

        // add
        float sum[8];
        for (int j = 0; j < 8; j++) sum[j] = mul2[j] + o_proj[j] * rsqrt * (1.0f + post_attention_layernorm_weight[j]);
        if (inside) store8(sum_rows + (int64)row * sum_pitch + column, sum);
        for (int j = 0; j < 8; j++) sum[j] = round_elem(sum[j]);

        // row_sum
        float row_sum2_part = 0.0f;
        if (inside) for (int j = 0; j < 8; j++) row_sum2_part += sum[j] * sum[j];
        const float row_sum2 = row_block_sum(row_sum2_part, scratch[1]);
        const float mul3 = 0.0078125f * row_sum2;
        const float add2 = mul3 + 9.99999997E-07f;
        const float rsqrt2 = rsqrtf(add2);
        if (threadIdx.x == 0) rsqrt2_rows[row] = rsqrt2;

        float pre_feedforward_layernorm_weight[8];
        unpack8(vectors[1][threadIdx.x], pre_feedforward_layernorm_weight);

        // mul
        float pre_feedforward_layernorm[8];
        for (int j = 0; j < 8; j++) pre_feedforward_layernorm[j] = sum[j] * rsqrt2 * (1.0f + pre_feedforward_layernorm_weight[j]);
        if (inside) store8(pre_feedforward_layernorm_rows + (int64)row * pre_feedforward_layernorm_pitch + column, pre_feedforward_layernorm);
    }
    while (++row < end);
}


// ======== k04_mul
// k04_mul <sm_90a>  launches: 4
//   %57 = mul %53 %53 : act[T,256]  // layers.0.mlp mul
//   %58 = mul %56 %57 : act[T,256]  // layers.0.mlp mul
//   %59 = add %55 %58 : act[T,256]  // layers.0.mlp add
//   %60 = mul %53 %59 : act[T,256]  // layers.0.mlp mul
//   %61 = tanh %60 : act[T,256]  // layers.0.mlp tanh
//   %62 = mul %54 %61 : act[T,256]  // layers.0.mlp mul
//   %63 = add %54 %62 : act[T,256]  // layers.0.mlp add
//   %64 = mul %53 %63 : act[T,256]  // layers.0.mlp gelu_tanh
//   %66 = mul %64 %65 : act[T,256]  // layers.0.mlp mul
// tensors of the first launch: layers.0.mul[:,0:256] layers.0.gate_proj+up_proj[:,0:256] layers.0.gate_proj+up_proj[:,256:512]
// 1536 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
extern "C" __global__ void __launch_bounds__(32)
k04_mul(elem* __restrict__ mul_rows, int mul_pitch,
    const elem* __restrict__ gate_proj_rows, int gate_proj_pitch,
    const elem* __restrict__ up_proj_rows, int up_proj_pitch,
    int rows)
{
    const int64 row = blockIdx.x;
    const int column = (blockIdx.y * 32 + threadIdx.x) * 8;

    float gate_proj[8];
    load8(gate_proj_rows + row * gate_proj_pitch + column, gate_proj);
    float up_proj[8];
    load8(up_proj_rows + row * up_proj_pitch + column, up_proj);

    // mul
    float mul[8];
    for (int j = 0; j < 8; j++) mul[j] = gate_proj[j] * (0.5f + 0.5f * fast_tanh(gate_proj[j] * (0.797884583f + 0.0356774069f * gate_proj[j] * gate_proj[j]))) * up_proj[j];
    store8(mul_rows + row * mul_pitch + column, mul);
}


// ======== k05_sum_input_layernorm
// k05_sum_input_layernorm <sm_90a>  launches: 3
//   %71 = mul %69 %69 : act[T,128]  // layers.0.mlp mul
//   %72 = row_sum %71 : f32[T,1]  // layers.0.mlp row_sum
//   %73 = mul %7 %72 : f32[T,1]  // layers.0.mlp mul
//   %74 = add %73 %10 : f32[T,1]  // layers.0.mlp add
//   %75 = rsqrt %74 : f32[T,1]  // layers.0.mlp rsqrt
//   %76 = mul %69 %75 : act[T,128]  // layers.0.mlp mul
//   %78 = mul %76 %77 : act[T,128]  // layers.0.mlp post_feedforward_layernorm
//   %79 = add %41 %78 : act[T,128]  // layers.0.mlp sum
//   %81 = mul %79 %79 : act[T,128]  // layers.1.self_attn mul
//   %82 = row_sum %81 : f32[T,1]  // layers.1.self_attn row_sum
//   %83 = mul %7 %82 : f32[T,1]  // layers.1.self_attn mul
//   %84 = add %83 %10 : f32[T,1]  // layers.1.self_attn add
//   %85 = rsqrt %84 : f32[T,1]  // layers.1.self_attn rsqrt
//   %86 = mul %79 %85 : act[T,128]  // layers.1.self_attn mul
//   %88 = mul %86 %87 : act[T,128]  // layers.1.self_attn input_layernorm
// tensors of the first launch: layers.0.rsqrt3 layers.0.sum2 layers.1.rsqrt layers.1.input_layernorm[:,0:128] layers.0.down_proj model.layers.0.post_feedforward_layernorm.weight layers.0.sum model.layers.1.input_layernorm.weight
// 1032 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(32)
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
    const bool inside = column < 128;

    // What a row needs is loaded while the row before it is reduced, so that loads are always in flight.
    const int first = blockIdx.x * 3, end = min(first + 3, rows);
    uint4 down_proj_next = {};
    if (inside) down_proj_next = packed8(down_proj_rows + (int64)first * down_proj_pitch + column);
    uint4 sum2_next = {};
    if (inside) sum2_next = packed8(sum2_rows + (int64)first * sum2_pitch + column);

    // Vectors that all rows share. A thread reads back what it wrote itself; registers would cost a block per multiprocessor.
    __shared__ uint4 vectors[2][32];
    if (inside) vectors[0][threadIdx.x] = packed8(post_feedforward_layernorm_weight_vector + column);
    if (inside) vectors[1][threadIdx.x] = packed8(input_layernorm_weight_vector + column);

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
            if (inside) down_proj_next = packed8(down_proj_rows + (int64)(row + 1) * down_proj_pitch + column);
            if (inside) sum2_next = packed8(sum2_rows + (int64)(row + 1) * sum2_pitch + column);
        }

        // row_sum
        float row_sum_part = 0.0f;
        if (inside) for (int j = 0; j < 8; j++) row_sum_part += down_proj[j] * down_proj[j];
        const float row_sum = row_block_sum(row_sum_part, scratch[0]);
        const float mul = 0.0078125f * row_sum;
        const float add = mul + 9.99999997E-07f;
        const float rsqrt = rsqrtf(add);
        if (threadIdx.x == 0) rsqrt_rows[row] = rsqrt;

        float post_feedforward_layernorm_weight[8];
        unpack8(vectors[0][threadIdx.x], post_feedforward_layernorm_weight);

        // add
        float sum[8];
        for (int j = 0; j < 8; j++) sum[j] = sum2[j] + down_proj[j] * rsqrt * (1.0f + post_feedforward_layernorm_weight[j]);
        if (inside) store8(sum_rows + (int64)row * sum_pitch + column, sum);
        for (int j = 0; j < 8; j++) sum[j] = round_elem(sum[j]);

        // row_sum
        float row_sum2_part = 0.0f;
        if (inside) for (int j = 0; j < 8; j++) row_sum2_part += sum[j] * sum[j];
        const float row_sum2 = row_block_sum(row_sum2_part, scratch[1]);
        const float mul2 = 0.0078125f * row_sum2;
        const float add2 = mul2 + 9.99999997E-07f;
        const float rsqrt2 = rsqrtf(add2);
        if (threadIdx.x == 0) rsqrt2_rows[row] = rsqrt2;

        float input_layernorm_weight[8];
        unpack8(vectors[1][threadIdx.x], input_layernorm_weight);

        // mul
        float input_layernorm[8];
        for (int j = 0; j < 8; j++) input_layernorm[j] = sum[j] * rsqrt2 * (1.0f + input_layernorm_weight[j]);
        if (inside) store8(input_layernorm_rows + (int64)row * input_layernorm_pitch + column, input_layernorm);
    }
    while (++row < end);
}


// ======== k06_attention_forward
// k06_attention_forward <sm_90a>  launches: 2
//   %99 = attention %93 %96 %98 {score=(50*tanh((0.0035355339059327372*s)))} : act[T,4,32]  // layers.1.self_attn attention
// tensors of the first launch: layers.1.attention[:,0:128] layers.1.attention_lse layers.1.q_proj+k_proj+v_proj[:,0:128] layers.1.q_proj+k_proj+v_proj[:,128:192] layers.1.q_proj+k_proj+v_proj[:,192:256] doc_start
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME k06_attention_forward
#define HEAD_DIM 32
#define GROUP 2
#define WINDOW 0
#define BOUNDED 1
#define TILE_Q 64
#define TILE_K 64
#define WARPS 4
#define STAGES 1

@prelude.cu
@mma.cu
// score(s) = (50*tanh((0.0035355339059327372*s))), traced from the model; in units of log2.
__device__ __forceinline__ float score_log2(float s)
{
    return 72.1347504f * fast_tanh(0.00353553379f * s);
}

// The same, and d(score)/ds in natural units, from shared work.
__device__ __forceinline__ void score_log2_and_derivative(float s, float& z, float& dz)
{
    const float t = fast_tanh(0.00353553379f * s);
    z = 72.1347504f * t;
    dz = 0.176776692f * (1.0f - t * t);
}


@attention_forward.cu

// ======== k07_sum_pre_feedforward_layernorm
// k07_sum_pre_feedforward_layernorm <sm_90a>  launches: 3
//   %105 = mul %103 %103 : act[T,128]  // layers.1.self_attn mul
//   %106 = row_sum %105 : f32[T,1]  // layers.1.self_attn row_sum
//   %107 = mul %7 %106 : f32[T,1]  // layers.1.self_attn mul
//   %108 = add %107 %10 : f32[T,1]  // layers.1.self_attn add
//   %109 = rsqrt %108 : f32[T,1]  // layers.1.self_attn rsqrt
//   %110 = mul %103 %109 : act[T,128]  // layers.1.self_attn mul
//   %112 = mul %110 %111 : act[T,128]  // layers.1.self_attn post_attention_layernorm
//   %113 = add %79 %112 : act[T,128]  // layers.1.self_attn sum
//   %115 = mul %113 %113 : act[T,128]  // layers.1.mlp mul
//   %116 = row_sum %115 : f32[T,1]  // layers.1.mlp row_sum
//   %117 = mul %7 %116 : f32[T,1]  // layers.1.mlp mul
//   %118 = add %117 %10 : f32[T,1]  // layers.1.mlp add
//   %119 = rsqrt %118 : f32[T,1]  // layers.1.mlp rsqrt
//   %120 = mul %113 %119 : act[T,128]  // layers.1.mlp mul
//   %122 = mul %120 %121 : act[T,128]  // layers.1.mlp pre_feedforward_layernorm
// tensors of the first launch: layers.1.rsqrt2 layers.1.sum layers.1.rsqrt3 layers.1.pre_feedforward_layernorm[:,0:128] layers.1.o_proj model.layers.1.post_attention_layernorm.weight layers.0.sum2 model.layers.1.pre_feedforward_layernorm.weight
// 1032 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(32)
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
    const bool inside = column < 128;

    // What a row needs is loaded while the row before it is reduced, so that loads are always in flight.
    const int first = blockIdx.x * 3, end = min(first + 3, rows);
    uint4 o_proj_next = {};
    if (inside) o_proj_next = packed8(o_proj_rows + (int64)first * o_proj_pitch + column);
    uint4 sum2_next = {};
    if (inside) sum2_next = packed8(sum2_rows + (int64)first * sum2_pitch + column);

    // Vectors that all rows share. A thread reads back what it wrote itself; registers would cost a block per multiprocessor.
    __shared__ uint4 vectors[2][32];
    if (inside) vectors[0][threadIdx.x] = packed8(post_attention_layernorm_weight_vector + column);
    if (inside) vectors[1][threadIdx.x] = packed8(pre_feedforward_layernorm_weight_vector + column);

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
            if (inside) o_proj_next = packed8(o_proj_rows + (int64)(row + 1) * o_proj_pitch + column);
            if (inside) sum2_next = packed8(sum2_rows + (int64)(row + 1) * sum2_pitch + column);
        }

        // row_sum
        float row_sum_part = 0.0f;
        if (inside) for (int j = 0; j < 8; j++) row_sum_part += o_proj[j] * o_proj[j];
        const float row_sum = row_block_sum(row_sum_part, scratch[0]);
        const float mul = 0.0078125f * row_sum;
        const float add = mul + 9.99999997E-07f;
        const float rsqrt = rsqrtf(add);
        if (threadIdx.x == 0) rsqrt_rows[row] = rsqrt;

        float post_attention_layernorm_weight[8];
        unpack8(vectors[0][threadIdx.x], post_attention_layernorm_weight);

        // add
        float sum[8];
        for (int j = 0; j < 8; j++) sum[j] = sum2[j] + o_proj[j] * rsqrt * (1.0f + post_attention_layernorm_weight[j]);
        if (inside) store8(sum_rows + (int64)row * sum_pitch + column, sum);
        for (int j = 0; j < 8; j++) sum[j] = round_elem(sum[j]);

        // row_sum
        float row_sum2_part = 0.0f;
        if (inside) for (int j = 0; j < 8; j++) row_sum2_part += sum[j] * sum[j];
        const float row_sum2 = row_block_sum(row_sum2_part, scratch[1]);
        const float mul2 = 0.0078125f * row_sum2;
        const float add2 = mul2 + 9.99999997E-07f;
        const float rsqrt2 = rsqrtf(add2);
        if (threadIdx.x == 0) rsqrt2_rows[row] = rsqrt2;

        float pre_feedforward_layernorm_weight[8];
        unpack8(vectors[1][threadIdx.x], pre_feedforward_layernorm_weight);

        // mul
        float pre_feedforward_layernorm[8];
        for (int j = 0; j < 8; j++) pre_feedforward_layernorm[j] = sum[j] * rsqrt2 * (1.0f + pre_feedforward_layernorm_weight[j]);
        if (inside) store8(pre_feedforward_layernorm_rows + (int64)row * pre_feedforward_layernorm_pitch + column, pre_feedforward_layernorm);
    }
    while (++row < end);
}


// ======== k08_norm
// k08_norm <sm_90a>  launches: 1
//   %278 = mul %276 %276 : act[T,128]  // layers.3.mlp mul
//   %279 = row_sum %278 : f32[T,1]  // layers.3.mlp row_sum
//   %280 = mul %7 %279 : f32[T,1]  // layers.3.mlp mul
//   %281 = add %280 %10 : f32[T,1]  // layers.3.mlp add
//   %282 = rsqrt %281 : f32[T,1]  // layers.3.mlp rsqrt
//   %283 = mul %276 %282 : act[T,128]  // layers.3.mlp mul
//   %285 = mul %283 %284 : act[T,128]  // layers.3.mlp post_feedforward_layernorm
//   %286 = add %251 %285 : act[T,128]  // layers.3.mlp sum
//   %288 = mul %286 %286 : act[T,128]  // Gemma2Model.Forward mul
//   %289 = row_sum %288 : f32[T,1]  // Gemma2Model.Forward row_sum
//   %290 = mul %7 %289 : f32[T,1]  // Gemma2Model.Forward mul
//   %291 = add %290 %10 : f32[T,1]  // Gemma2Model.Forward add
//   %292 = rsqrt %291 : f32[T,1]  // Gemma2Model.Forward rsqrt
//   %293 = mul %286 %292 : act[T,128]  // Gemma2Model.Forward mul
//   %295 = mul %293 %294 : act[T,128]  // Gemma2Model.Forward norm
// tensors of the first launch: layers.3.rsqrt4 rsqrt norm layers.3.down_proj model.layers.3.post_feedforward_layernorm.weight layers.3.sum model.norm.weight
// 776 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(32)
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
    const bool inside = column < 128;

    // What a row needs is loaded while the row before it is reduced, so that loads are always in flight.
    const int first = blockIdx.x * 3, end = min(first + 3, rows);
    uint4 down_proj_next = {};
    if (inside) down_proj_next = packed8(down_proj_rows + (int64)first * down_proj_pitch + column);
    uint4 sum_next = {};
    if (inside) sum_next = packed8(sum_rows + (int64)first * sum_pitch + column);

    // Vectors that all rows share. A thread reads back what it wrote itself; registers would cost a block per multiprocessor.
    __shared__ uint4 vectors[2][32];
    if (inside) vectors[0][threadIdx.x] = packed8(post_feedforward_layernorm_weight_vector + column);
    if (inside) vectors[1][threadIdx.x] = packed8(norm_weight_vector + column);

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
            if (inside) down_proj_next = packed8(down_proj_rows + (int64)(row + 1) * down_proj_pitch + column);
            if (inside) sum_next = packed8(sum_rows + (int64)(row + 1) * sum_pitch + column);
        }

        // row_sum
        float row_sum_part = 0.0f;
        if (inside) for (int j = 0; j < 8; j++) row_sum_part += down_proj[j] * down_proj[j];
        const float row_sum = row_block_sum(row_sum_part, scratch[0]);
        const float mul = 0.0078125f * row_sum;
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
        if (inside) for (int j = 0; j < 8; j++) row_sum2_part += sum2[j] * sum2[j];
        const float row_sum2 = row_block_sum(row_sum2_part, scratch[1]);
        const float mul2 = 0.0078125f * row_sum2;
        const float add2 = mul2 + 9.99999997E-07f;
        const float rsqrt2 = rsqrtf(add2);
        if (threadIdx.x == 0) rsqrt2_rows[row] = rsqrt2;

        float norm_weight[8];
        unpack8(vectors[1][threadIdx.x], norm_weight);

        // mul
        float norm[8];
        for (int j = 0; j < 8; j++) norm[j] = sum2[j] * rsqrt2 * (1.0f + norm_weight[j]);
        if (inside) store8(norm_rows + (int64)row * norm_pitch + column, norm);
    }
    while (++row < end);
}


// ======== k09_cross_entropy
// k09_cross_entropy <sm_90a>  launches: 1
//   %297 = linear_cross_entropy %295 %1 %296 {logit=(30*tanh((0.03333333333333333*s)))} : f32[T,1]  // loss
// tensors of the first launch: norm model.embed_tokens.weight loss
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME k09_cross_entropy
#define VOCAB 4096
#define THREADS 1024
#define GRAD 1
#define BOUND 30
#define CACHED 4096

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
//   %283 = mul %276 %282 : act[T,128]  // layers.3.mlp mul
//   %285 = mul %283 %284 : act[T,128]  // layers.3.mlp post_feedforward_layernorm
//   %286 = add %251 %285 : act[T,128]  // layers.3.mlp sum
//   %300 = mul %299 %294 : act[T,128]  // Gemma2Model.Forward d_mul
//   %301 = mul %300 %292 : act[T,128]  // Gemma2Model.Forward d_sum
//   %302 = mul %300 %286 : act[T,128]  // Gemma2Model.Forward mul
//   %303 = row_sum %302 : f32[T,1]  // Gemma2Model.Forward d_rsqrt
//   %305 = mul %292 %292 : f32[T,1]  // Gemma2Model.Forward mul
//   %306 = mul %292 %305 : f32[T,1]  // Gemma2Model.Forward mul
//   %307 = mul %304 %306 : f32[T,1]  // Gemma2Model.Forward mul
//   %308 = mul %303 %307 : f32[T,1]  // Gemma2Model.Forward d_mul
//   %309 = mul %308 %7 : f32[T,1]  // Gemma2Model.Forward d_mul
//   %311 = mul %310 %309 : f32[T,1]  // Gemma2Model.Forward mul
//   %312 = mul %311 %286 : act[T,128]  // Gemma2Model.Forward mul
//   %313 = add %301 %312 : act[T,128]  // Gemma2Model.Forward d_post_feedforward_layernorm
//   %314 = mul %313 %284 : act[T,128]  // layers.3.mlp d_mul
//   %315 = mul %314 %282 : act[T,128]  // layers.3.mlp d_down_proj
//   %316 = mul %314 %276 : act[T,128]  // layers.3.mlp mul
//   %317 = row_sum %316 : f32[T,1]  // layers.3.mlp d_rsqrt
//   %318 = mul %282 %282 : f32[T,1]  // layers.3.mlp mul
//   %319 = mul %282 %318 : f32[T,1]  // layers.3.mlp mul
//   %320 = mul %304 %319 : f32[T,1]  // layers.3.mlp mul
//   %321 = mul %317 %320 : f32[T,1]  // layers.3.mlp d_mul
//   %322 = mul %321 %7 : f32[T,1]  // layers.3.mlp d_mul
//   %323 = mul %310 %322 : f32[T,1]  // layers.3.mlp mul
//   %324 = mul %323 %276 : act[T,128]  // layers.3.mlp mul
//   %325 = add %315 %324 : act[T,128]  // layers.3.mlp d_down_proj_b
// tensors of the first launch: d_post_feedforward_layernorm layers.3.d_down_proj[:,0:128] layers.3.down_proj layers.3.rsqrt4 model.layers.3.post_feedforward_layernorm.weight layers.3.sum d_norm model.norm.weight rsqrt
// 1288 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(32)
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
    const bool inside = column < 128;

    float down_proj[8] = {};
    if (inside) load8(down_proj_rows + row * down_proj_pitch + column, down_proj);
    const float rsqrt = rsqrt_rows[row];
    float post_feedforward_layernorm_weight[8] = {};
    if (inside) load8(post_feedforward_layernorm_weight_vector + column, post_feedforward_layernorm_weight);
    float sum[8] = {};
    if (inside) load8(sum_rows + row * sum_pitch + column, sum);
    float d_norm[8] = {};
    if (inside) load8(d_norm_rows + row * d_norm_pitch + column, d_norm);
    float norm_weight[8] = {};
    if (inside) load8(norm_weight_vector + column, norm_weight);
    const float rsqrt2 = rsqrt2_rows[row];

    // add
    float sum2[8];
    for (int j = 0; j < 8; j++) sum2[j] = sum[j] + down_proj[j] * rsqrt * (1.0f + post_feedforward_layernorm_weight[j]);

    // mul
    float d_mul[8];
    for (int j = 0; j < 8; j++) d_mul[j] = d_norm[j] * (1.0f + norm_weight[j]);

    // row_sum
    float d_rsqrt_part = 0.0f;
    if (inside) for (int j = 0; j < 8; j++) d_rsqrt_part += d_mul[j] * sum2[j];
    const float d_rsqrt = row_block_sum(d_rsqrt_part, scratch[0]);
    const float mul = rsqrt2 * rsqrt2;
    const float mul2 = rsqrt2 * mul;
    const float mul3 = (-0.5f) * mul2;
    const float d_mul2 = d_rsqrt * mul3;
    const float d_mul3 = 0.0078125f * d_mul2;
    const float mul4 = 2.0f * d_mul3;

    // add
    float d_post_feedforward_layernorm[8];
    for (int j = 0; j < 8; j++) d_post_feedforward_layernorm[j] = d_mul[j] * rsqrt2 + mul4 * sum2[j];
    if (inside) store8(d_post_feedforward_layernorm_rows + row * d_post_feedforward_layernorm_pitch + column, d_post_feedforward_layernorm);
    for (int j = 0; j < 8; j++) d_post_feedforward_layernorm[j] = round_elem(d_post_feedforward_layernorm[j]);

    // mul
    float d_mul4[8];
    for (int j = 0; j < 8; j++) d_mul4[j] = d_post_feedforward_layernorm[j] * (1.0f + post_feedforward_layernorm_weight[j]);

    // row_sum
    float d_rsqrt2_part = 0.0f;
    if (inside) for (int j = 0; j < 8; j++) d_rsqrt2_part += d_mul4[j] * down_proj[j];
    const float d_rsqrt2 = row_block_sum(d_rsqrt2_part, scratch[1]);
    const float mul5 = rsqrt * rsqrt;
    const float mul6 = rsqrt * mul5;
    const float mul7 = (-0.5f) * mul6;
    const float d_mul5 = d_rsqrt2 * mul7;
    const float d_mul6 = 0.0078125f * d_mul5;
    const float mul8 = 2.0f * d_mul6;

    // add
    float d_down_proj_b[8];
    for (int j = 0; j < 8; j++) d_down_proj_b[j] = d_mul4[j] * rsqrt + mul8 * down_proj[j];
    if (inside) store8(d_down_proj_b_rows + row * d_down_proj_b_pitch + column, d_down_proj_b);
}


// ======== k11_d_up_proj_b_d_gate_proj_b
// k11_d_up_proj_b_d_gate_proj_b <sm_90a>  launches: 4
//   %264 = mul %263 %263 : act[T,256]  // layers.3.mlp mul
//   %265 = mul %56 %264 : act[T,256]  // layers.3.mlp mul
//   %266 = add %55 %265 : act[T,256]  // layers.3.mlp add
//   %267 = mul %263 %266 : act[T,256]  // layers.3.mlp mul
//   %268 = tanh %267 : act[T,256]  // layers.3.mlp tanh
//   %269 = mul %54 %268 : act[T,256]  // layers.3.mlp mul
//   %270 = add %54 %269 : act[T,256]  // layers.3.mlp add
//   %271 = mul %263 %270 : act[T,256]  // layers.3.mlp gelu_tanh
//   %330 = mul %329 %272 : act[T,256]  // layers.3.mlp d_gelu_tanh
//   %331 = mul %329 %271 : act[T,256]  // layers.3.mlp d_up_proj_b
//   %332 = mul %330 %270 : act[T,256]  // layers.3.mlp d_gate_proj
//   %333 = mul %330 %263 : act[T,256]  // layers.3.mlp d_mul
//   %334 = mul %333 %54 : act[T,256]  // layers.3.mlp d_tanh
//   %335 = mul %268 %268 : act[T,256]  // layers.3.mlp mul
//   %336 = sub %14 %335 : act[T,256]  // layers.3.mlp sub
//   %337 = mul %334 %336 : act[T,256]  // layers.3.mlp d_mul
//   %338 = mul %337 %266 : act[T,256]  // layers.3.mlp mul
//   %339 = add %332 %338 : act[T,256]  // layers.3.mlp d_gate_proj
//   %340 = mul %337 %263 : act[T,256]  // layers.3.mlp d_mul
//   %341 = mul %340 %56 : act[T,256]  // layers.3.mlp d_mul
//   %342 = mul %310 %341 : act[T,256]  // layers.3.mlp mul
//   %343 = mul %342 %263 : act[T,256]  // layers.3.mlp mul
//   %344 = add %339 %343 : act[T,256]  // layers.3.mlp d_gate_proj_b
// tensors of the first launch: layers.3.d_gate_proj+up_proj[:,256:512] layers.3.d_gate_proj+up_proj[:,0:256] layers.3.gate_proj+up_proj[:,0:256] layers.3.d_mul layers.3.gate_proj+up_proj[:,256:512]
// 2560 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
extern "C" __global__ void __launch_bounds__(32)
k11_d_up_proj_b_d_gate_proj_b(elem* __restrict__ d_up_proj_b_rows, int d_up_proj_b_pitch,
    elem* __restrict__ d_gate_proj_b_rows, int d_gate_proj_b_pitch,
    const elem* __restrict__ gate_proj_rows, int gate_proj_pitch,
    const elem* __restrict__ d_mul_rows, int d_mul_pitch,
    const elem* __restrict__ up_proj_rows, int up_proj_pitch,
    int rows)
{
    const int64 row = blockIdx.x;
    const int column = (blockIdx.y * 32 + threadIdx.x) * 8;

    float gate_proj[8];
    load8(gate_proj_rows + row * gate_proj_pitch + column, gate_proj);
    float d_mul[8];
    load8(d_mul_rows + row * d_mul_pitch + column, d_mul);
    float up_proj[8];
    load8(up_proj_rows + row * up_proj_pitch + column, up_proj);

    // add
    float add[8];
    for (int j = 0; j < 8; j++) add[j] = 0.797884583f + 0.0356774069f * gate_proj[j] * gate_proj[j];

    // tanh
    float tanh[8];
    for (int j = 0; j < 8; j++) tanh[j] = fast_tanh(gate_proj[j] * add[j]);

    // add
    float add2[8];
    for (int j = 0; j < 8; j++) add2[j] = 0.5f + 0.5f * tanh[j];

    // mul
    float d_gelu_tanh[8];
    for (int j = 0; j < 8; j++) d_gelu_tanh[j] = d_mul[j] * up_proj[j];

    // mul
    float d_up_proj_b[8];
    for (int j = 0; j < 8; j++) d_up_proj_b[j] = d_mul[j] * gate_proj[j] * add2[j];
    store8(d_up_proj_b_rows + row * d_up_proj_b_pitch + column, d_up_proj_b);

    // mul
    float d_mul2[8];
    for (int j = 0; j < 8; j++) d_mul2[j] = 0.5f * d_gelu_tanh[j] * gate_proj[j] * (1.0f - tanh[j] * tanh[j]);

    // add
    float d_gate_proj_b[8];
    for (int j = 0; j < 8; j++) d_gate_proj_b[j] = d_gelu_tanh[j] * add2[j] + d_mul2[j] * add[j] + 0.0713548139f * d_mul2[j] * gate_proj[j] * gate_proj[j];
    store8(d_gate_proj_b_rows + row * d_gate_proj_b_pitch + column, d_gate_proj_b);
}


// ======== k12_d_post_attention_layernorm_d_o_proj_b
// k12_d_post_attention_layernorm_d_o_proj_b <sm_90a>  launches: 3
//   %349 = mul %348 %259 : act[T,128]  // layers.3.mlp d_mul
//   %350 = mul %349 %257 : act[T,128]  // layers.3.mlp mul
//   %351 = mul %349 %251 : act[T,128]  // layers.3.mlp mul
//   %352 = row_sum %351 : f32[T,1]  // layers.3.mlp d_rsqrt
//   %353 = add %313 %350 : act[T,128]  // layers.3.mlp d_sum
//   %354 = mul %257 %257 : f32[T,1]  // layers.3.mlp mul
//   %355 = mul %257 %354 : f32[T,1]  // layers.3.mlp mul
//   %356 = mul %304 %355 : f32[T,1]  // layers.3.mlp mul
//   %357 = mul %352 %356 : f32[T,1]  // layers.3.mlp d_mul
//   %358 = mul %357 %7 : f32[T,1]  // layers.3.mlp d_mul
//   %359 = mul %310 %358 : f32[T,1]  // layers.3.mlp mul
//   %360 = mul %359 %251 : act[T,128]  // layers.3.mlp mul
//   %361 = add %353 %360 : act[T,128]  // layers.3.mlp d_post_attention_layernorm
//   %362 = mul %361 %249 : act[T,128]  // layers.3.self_attn d_mul
//   %363 = mul %362 %247 : act[T,128]  // layers.3.self_attn d_o_proj
//   %364 = mul %362 %241 : act[T,128]  // layers.3.self_attn mul
//   %365 = row_sum %364 : f32[T,1]  // layers.3.self_attn d_rsqrt
//   %366 = mul %247 %247 : f32[T,1]  // layers.3.self_attn mul
//   %367 = mul %247 %366 : f32[T,1]  // layers.3.self_attn mul
//   %368 = mul %304 %367 : f32[T,1]  // layers.3.self_attn mul
//   %369 = mul %365 %368 : f32[T,1]  // layers.3.self_attn d_mul
//   %370 = mul %369 %7 : f32[T,1]  // layers.3.self_attn d_mul
//   %371 = mul %310 %370 : f32[T,1]  // layers.3.self_attn mul
//   %372 = mul %371 %241 : act[T,128]  // layers.3.self_attn mul
//   %373 = add %363 %372 : act[T,128]  // layers.3.self_attn d_o_proj_b
// tensors of the first launch: layers.3.d_post_attention_layernorm layers.3.d_o_proj[:,0:128] layers.3.d_pre_feedforward_layernorm model.layers.3.pre_feedforward_layernorm.weight layers.3.rsqrt3 layers.3.sum d_post_feedforward_layernorm model.layers.3.post_attention_layernorm.weight layers.3.rsqrt2 layers.3.o_proj
// 1544 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(32)
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
    const bool inside = column < 128;

    float d_pre_feedforward_layernorm[8] = {};
    if (inside) load8(d_pre_feedforward_layernorm_rows + row * d_pre_feedforward_layernorm_pitch + column, d_pre_feedforward_layernorm);
    float pre_feedforward_layernorm_weight[8] = {};
    if (inside) load8(pre_feedforward_layernorm_weight_vector + column, pre_feedforward_layernorm_weight);
    const float rsqrt = rsqrt_rows[row];
    float sum[8] = {};
    if (inside) load8(sum_rows + row * sum_pitch + column, sum);
    float d_post_feedforward_layernorm[8] = {};
    if (inside) load8(d_post_feedforward_layernorm_rows + row * d_post_feedforward_layernorm_pitch + column, d_post_feedforward_layernorm);
    float post_attention_layernorm_weight[8] = {};
    if (inside) load8(post_attention_layernorm_weight_vector + column, post_attention_layernorm_weight);
    const float rsqrt2 = rsqrt2_rows[row];
    float o_proj[8] = {};
    if (inside) load8(o_proj_rows + row * o_proj_pitch + column, o_proj);

    // mul
    float d_mul[8];
    for (int j = 0; j < 8; j++) d_mul[j] = d_pre_feedforward_layernorm[j] * (1.0f + pre_feedforward_layernorm_weight[j]);

    // row_sum
    float d_rsqrt_part = 0.0f;
    if (inside) for (int j = 0; j < 8; j++) d_rsqrt_part += d_mul[j] * sum[j];
    const float d_rsqrt = row_block_sum(d_rsqrt_part, scratch[0]);
    const float mul = rsqrt * rsqrt;
    const float mul2 = rsqrt * mul;
    const float mul3 = (-0.5f) * mul2;
    const float d_mul2 = d_rsqrt * mul3;
    const float d_mul3 = 0.0078125f * d_mul2;
    const float mul4 = 2.0f * d_mul3;

    // add
    float d_post_attention_layernorm[8];
    for (int j = 0; j < 8; j++) d_post_attention_layernorm[j] = d_post_feedforward_layernorm[j] + d_mul[j] * rsqrt + mul4 * sum[j];
    if (inside) store8(d_post_attention_layernorm_rows + row * d_post_attention_layernorm_pitch + column, d_post_attention_layernorm);
    for (int j = 0; j < 8; j++) d_post_attention_layernorm[j] = round_elem(d_post_attention_layernorm[j]);

    // mul
    float d_mul4[8];
    for (int j = 0; j < 8; j++) d_mul4[j] = d_post_attention_layernorm[j] * (1.0f + post_attention_layernorm_weight[j]);

    // row_sum
    float d_rsqrt2_part = 0.0f;
    if (inside) for (int j = 0; j < 8; j++) d_rsqrt2_part += d_mul4[j] * o_proj[j];
    const float d_rsqrt2 = row_block_sum(d_rsqrt2_part, scratch[1]);
    const float mul5 = rsqrt2 * rsqrt2;
    const float mul6 = rsqrt2 * mul5;
    const float mul7 = (-0.5f) * mul6;
    const float d_mul5 = d_rsqrt2 * mul7;
    const float d_mul6 = 0.0078125f * d_mul5;
    const float mul8 = 2.0f * d_mul6;

    // add
    float d_o_proj_b[8];
    for (int j = 0; j < 8; j++) d_o_proj_b[j] = d_mul4[j] * rsqrt2 + mul8 * o_proj[j];
    if (inside) store8(d_o_proj_b_rows + row * d_o_proj_b_pitch + column, d_o_proj_b);
}


// ======== k13_attention_delta
// k13_attention_delta <sm_90a>  launches: 4
//   %380 = attention_delta %237 %378 : f32[T,4]  // layers.3.self_attn attention_delta
// tensors of the first launch: layers.3.attention_delta layers.3.attention[:,0:128] layers.3.d_attention
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME k13_attention_delta
#define HEAD_DIM 32
#define GROUP 1
#define WINDOW 0
#define BOUNDED 0
#define TILE_Q 128
#define TILE_K 16
#define WARPS 4
#define STAGES 1

@prelude.cu
@attention_delta.cu

// ======== k14_attention_dkdv
// k14_attention_dkdv <sm_90a>  launches: 2
//   %381 = attention_grad_k %231 %234 %236 %378 %379 %380 {score=(50*tanh((0.0035355339059327372*s)))} : act[T,2,32]  // layers.3.self_attn d_k_proj
// tensors of the first launch: layers.3.d_q_proj+k_proj+v_proj[:,128:192] layers.3.d_q_proj+k_proj+v_proj[:,192:256] layers.3.q_proj+k_proj+v_proj[:,0:128] layers.3.q_proj+k_proj+v_proj[:,128:192] layers.3.q_proj+k_proj+v_proj[:,192:256] layers.3.d_attention layers.3.attention_lse layers.3.attention_delta doc_start doc_end
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME k14_attention_dkdv
#define HEAD_DIM 32
#define GROUP 2
#define WINDOW 0
#define BOUNDED 1
#define TILE_Q 32
#define TILE_K 64
#define WARPS 4
#define STAGES 2

@prelude.cu
@mma.cu
// score(s) = (50*tanh((0.0035355339059327372*s))), traced from the model; in units of log2.
__device__ __forceinline__ float score_log2(float s)
{
    return 72.1347504f * fast_tanh(0.00353553379f * s);
}

// The same, and d(score)/ds in natural units, from shared work.
__device__ __forceinline__ void score_log2_and_derivative(float s, float& z, float& dz)
{
    const float t = fast_tanh(0.00353553379f * s);
    z = 72.1347504f * t;
    dz = 0.176776692f * (1.0f - t * t);
}


@attention_dkdv.cu

// ======== k15_attention_dq
// k15_attention_dq <sm_90a>  launches: 2
//   %383 = attention_grad_q %231 %234 %236 %378 %379 %380 {score=(50*tanh((0.0035355339059327372*s)))} : act[T,4,32]  // layers.3.self_attn d_q_proj
// tensors of the first launch: layers.3.d_q_proj+k_proj+v_proj[:,0:128] layers.3.q_proj+k_proj+v_proj[:,0:128] layers.3.q_proj+k_proj+v_proj[:,128:192] layers.3.q_proj+k_proj+v_proj[:,192:256] layers.3.d_attention layers.3.attention_lse layers.3.attention_delta doc_start
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME k15_attention_dq
#define HEAD_DIM 32
#define GROUP 2
#define WINDOW 0
#define BOUNDED 1
#define TILE_Q 64
#define TILE_K 64
#define WARPS 4
#define STAGES 1

@prelude.cu
@mma.cu
// score(s) = (50*tanh((0.0035355339059327372*s))), traced from the model; in units of log2.
__device__ __forceinline__ float score_log2(float s)
{
    return 72.1347504f * fast_tanh(0.00353553379f * s);
}

// The same, and d(score)/ds in natural units, from shared work.
__device__ __forceinline__ void score_log2_and_derivative(float s, float& z, float& dz)
{
    const float t = fast_tanh(0.00353553379f * s);
    z = 72.1347504f * t;
    dz = 0.176776692f * (1.0f - t * t);
}


@attention_dq.cu

// ======== k16_rope_inverse
// k16_rope_inverse <sm_90a>  launches: 4
//   %385 = rope %383 {theta=10000 inverse} : act[T,4,32]  // layers.3.self_attn d_q_proj
//   %387 = rope %381 {theta=10000 inverse} : act[T,2,32]  // layers.3.self_attn d_k_proj
// tensors of the first launch: layers.3.d_q_proj+k_proj+v_proj[:,0:192] positions
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME k16_rope_inverse
#define HEADS 6
#define INVERSE 1
#define TILE_ROWS 128
#define TILE_HEADS 4
#define HEAD_DIM 32
#define THETA 10000.0

@prelude.cu
@rotation.cu
@rope.cu

// ======== k17_d_post_feedforward_layernorm_d_down_proj_b
// k17_d_post_feedforward_layernorm_d_down_proj_b <sm_90a>  launches: 3
//   %393 = mul %392 %225 : act[T,128]  // layers.3.self_attn d_mul
//   %394 = mul %393 %223 : act[T,128]  // layers.3.self_attn mul
//   %395 = mul %393 %217 : act[T,128]  // layers.3.self_attn mul
//   %396 = row_sum %395 : f32[T,1]  // layers.3.self_attn d_rsqrt
//   %397 = add %361 %394 : act[T,128]  // layers.3.self_attn d_sum
//   %398 = mul %223 %223 : f32[T,1]  // layers.3.self_attn mul
//   %399 = mul %223 %398 : f32[T,1]  // layers.3.self_attn mul
//   %400 = mul %304 %399 : f32[T,1]  // layers.3.self_attn mul
//   %401 = mul %396 %400 : f32[T,1]  // layers.3.self_attn d_mul
//   %402 = mul %401 %7 : f32[T,1]  // layers.3.self_attn d_mul
//   %403 = mul %310 %402 : f32[T,1]  // layers.3.self_attn mul
//   %404 = mul %403 %217 : act[T,128]  // layers.3.self_attn mul
//   %405 = add %397 %404 : act[T,128]  // layers.3.self_attn d_post_feedforward_layernorm
//   %406 = mul %405 %215 : act[T,128]  // layers.2.mlp d_mul
//   %407 = mul %406 %213 : act[T,128]  // layers.2.mlp d_down_proj
//   %408 = mul %406 %207 : act[T,128]  // layers.2.mlp mul
//   %409 = row_sum %408 : f32[T,1]  // layers.2.mlp d_rsqrt
//   %410 = mul %213 %213 : f32[T,1]  // layers.2.mlp mul
//   %411 = mul %213 %410 : f32[T,1]  // layers.2.mlp mul
//   %412 = mul %304 %411 : f32[T,1]  // layers.2.mlp mul
//   %413 = mul %409 %412 : f32[T,1]  // layers.2.mlp d_mul
//   %414 = mul %413 %7 : f32[T,1]  // layers.2.mlp d_mul
//   %415 = mul %310 %414 : f32[T,1]  // layers.2.mlp mul
//   %416 = mul %415 %207 : act[T,128]  // layers.2.mlp mul
//   %417 = add %407 %416 : act[T,128]  // layers.2.mlp d_down_proj_b
// tensors of the first launch: layers.3.d_post_feedforward_layernorm layers.2.d_down_proj[:,0:128] layers.3.d_input_layernorm model.layers.3.input_layernorm.weight layers.3.rsqrt layers.2.sum2 layers.3.d_post_attention_layernorm model.layers.2.post_feedforward_layernorm.weight layers.2.rsqrt4 layers.2.down_proj
// 1544 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(32)
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
    const bool inside = column < 128;

    float d_input_layernorm[8] = {};
    if (inside) load8(d_input_layernorm_rows + row * d_input_layernorm_pitch + column, d_input_layernorm);
    float input_layernorm_weight[8] = {};
    if (inside) load8(input_layernorm_weight_vector + column, input_layernorm_weight);
    const float rsqrt = rsqrt_rows[row];
    float sum[8] = {};
    if (inside) load8(sum_rows + row * sum_pitch + column, sum);
    float d_post_attention_layernorm[8] = {};
    if (inside) load8(d_post_attention_layernorm_rows + row * d_post_attention_layernorm_pitch + column, d_post_attention_layernorm);
    float post_feedforward_layernorm_weight[8] = {};
    if (inside) load8(post_feedforward_layernorm_weight_vector + column, post_feedforward_layernorm_weight);
    const float rsqrt2 = rsqrt2_rows[row];
    float down_proj[8] = {};
    if (inside) load8(down_proj_rows + row * down_proj_pitch + column, down_proj);

    // mul
    float d_mul[8];
    for (int j = 0; j < 8; j++) d_mul[j] = d_input_layernorm[j] * (1.0f + input_layernorm_weight[j]);

    // row_sum
    float d_rsqrt_part = 0.0f;
    if (inside) for (int j = 0; j < 8; j++) d_rsqrt_part += d_mul[j] * sum[j];
    const float d_rsqrt = row_block_sum(d_rsqrt_part, scratch[0]);
    const float mul = rsqrt * rsqrt;
    const float mul2 = rsqrt * mul;
    const float mul3 = (-0.5f) * mul2;
    const float d_mul2 = d_rsqrt * mul3;
    const float d_mul3 = 0.0078125f * d_mul2;
    const float mul4 = 2.0f * d_mul3;

    // add
    float d_post_feedforward_layernorm[8];
    for (int j = 0; j < 8; j++) d_post_feedforward_layernorm[j] = d_post_attention_layernorm[j] + d_mul[j] * rsqrt + mul4 * sum[j];
    if (inside) store8(d_post_feedforward_layernorm_rows + row * d_post_feedforward_layernorm_pitch + column, d_post_feedforward_layernorm);
    for (int j = 0; j < 8; j++) d_post_feedforward_layernorm[j] = round_elem(d_post_feedforward_layernorm[j]);

    // mul
    float d_mul4[8];
    for (int j = 0; j < 8; j++) d_mul4[j] = d_post_feedforward_layernorm[j] * (1.0f + post_feedforward_layernorm_weight[j]);

    // row_sum
    float d_rsqrt2_part = 0.0f;
    if (inside) for (int j = 0; j < 8; j++) d_rsqrt2_part += d_mul4[j] * down_proj[j];
    const float d_rsqrt2 = row_block_sum(d_rsqrt2_part, scratch[1]);
    const float mul5 = rsqrt2 * rsqrt2;
    const float mul6 = rsqrt2 * mul5;
    const float mul7 = (-0.5f) * mul6;
    const float d_mul5 = d_rsqrt2 * mul7;
    const float d_mul6 = 0.0078125f * d_mul5;
    const float mul8 = 2.0f * d_mul6;

    // add
    float d_down_proj_b[8];
    for (int j = 0; j < 8; j++) d_down_proj_b[j] = d_mul4[j] * rsqrt2 + mul8 * down_proj[j];
    if (inside) store8(d_down_proj_b_rows + row * d_down_proj_b_pitch + column, d_down_proj_b);
}


// ======== k18_attention_dkdv
// k18_attention_dkdv <sm_90a>  launches: 2
//   %473 = attention_grad_k %162 %165 %167 %470 %471 %472 {score=(50*tanh((0.0035355339059327372*s))) window=16} : act[T,2,32]  // layers.2.self_attn d_k_proj
// tensors of the first launch: layers.2.d_q_proj+k_proj+v_proj[:,128:192] layers.2.d_q_proj+k_proj+v_proj[:,192:256] layers.2.q_proj+k_proj+v_proj[:,0:128] layers.2.q_proj+k_proj+v_proj[:,128:192] layers.2.q_proj+k_proj+v_proj[:,192:256] layers.2.d_attention layers.2.attention_lse layers.2.attention_delta doc_start doc_end
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME k18_attention_dkdv
#define HEAD_DIM 32
#define GROUP 2
#define WINDOW 16
#define BOUNDED 1
#define TILE_Q 32
#define TILE_K 64
#define WARPS 4
#define STAGES 2

@prelude.cu
@mma.cu
// score(s) = (50*tanh((0.0035355339059327372*s))), traced from the model; in units of log2.
__device__ __forceinline__ float score_log2(float s)
{
    return 72.1347504f * fast_tanh(0.00353553379f * s);
}

// The same, and d(score)/ds in natural units, from shared work.
__device__ __forceinline__ void score_log2_and_derivative(float s, float& z, float& dz)
{
    const float t = fast_tanh(0.00353553379f * s);
    z = 72.1347504f * t;
    dz = 0.176776692f * (1.0f - t * t);
}


@attention_dkdv.cu

// ======== k19_attention_dq
// k19_attention_dq <sm_90a>  launches: 2
//   %475 = attention_grad_q %162 %165 %167 %470 %471 %472 {score=(50*tanh((0.0035355339059327372*s))) window=16} : act[T,4,32]  // layers.2.self_attn d_q_proj
// tensors of the first launch: layers.2.d_q_proj+k_proj+v_proj[:,0:128] layers.2.q_proj+k_proj+v_proj[:,0:128] layers.2.q_proj+k_proj+v_proj[:,128:192] layers.2.q_proj+k_proj+v_proj[:,192:256] layers.2.d_attention layers.2.attention_lse layers.2.attention_delta doc_start
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME k19_attention_dq
#define HEAD_DIM 32
#define GROUP 2
#define WINDOW 16
#define BOUNDED 1
#define TILE_Q 64
#define TILE_K 64
#define WARPS 4
#define STAGES 1

@prelude.cu
@mma.cu
// score(s) = (50*tanh((0.0035355339059327372*s))), traced from the model; in units of log2.
__device__ __forceinline__ float score_log2(float s)
{
    return 72.1347504f * fast_tanh(0.00353553379f * s);
}

// The same, and d(score)/ds in natural units, from shared work.
__device__ __forceinline__ void score_log2_and_derivative(float s, float& z, float& dz)
{
    const float t = fast_tanh(0.00353553379f * s);
    z = 72.1347504f * t;
    dz = 0.176776692f * (1.0f - t * t);
}


@attention_dq.cu

// ======== k20_d_o_proj_b
// k20_d_o_proj_b <sm_90a>  launches: 1
//   %625 = mul %624 %49 : act[T,128]  // layers.0.mlp d_mul
//   %626 = mul %625 %47 : act[T,128]  // layers.0.mlp mul
//   %627 = mul %625 %41 : act[T,128]  // layers.0.mlp mul
//   %628 = row_sum %627 : f32[T,1]  // layers.0.mlp d_rsqrt
//   %629 = add %589 %626 : act[T,128]  // layers.0.mlp d_sum
//   %630 = mul %47 %47 : f32[T,1]  // layers.0.mlp mul
//   %631 = mul %47 %630 : f32[T,1]  // layers.0.mlp mul
//   %632 = mul %304 %631 : f32[T,1]  // layers.0.mlp mul
//   %633 = mul %628 %632 : f32[T,1]  // layers.0.mlp d_mul
//   %634 = mul %633 %7 : f32[T,1]  // layers.0.mlp d_mul
//   %635 = mul %310 %634 : f32[T,1]  // layers.0.mlp mul
//   %636 = mul %635 %41 : act[T,128]  // layers.0.mlp mul
//   %637 = add %629 %636 : act[T,128]  // layers.0.mlp d_post_attention_layernorm
//   %638 = mul %637 %39 : act[T,128]  // layers.0.self_attn d_mul
//   %639 = mul %638 %37 : act[T,128]  // layers.0.self_attn d_o_proj
//   %640 = mul %638 %31 : act[T,128]  // layers.0.self_attn mul
//   %641 = row_sum %640 : f32[T,1]  // layers.0.self_attn d_rsqrt
//   %642 = mul %37 %37 : f32[T,1]  // layers.0.self_attn mul
//   %643 = mul %37 %642 : f32[T,1]  // layers.0.self_attn mul
//   %644 = mul %304 %643 : f32[T,1]  // layers.0.self_attn mul
//   %645 = mul %641 %644 : f32[T,1]  // layers.0.self_attn d_mul
//   %646 = mul %645 %7 : f32[T,1]  // layers.0.self_attn d_mul
//   %647 = mul %310 %646 : f32[T,1]  // layers.0.self_attn mul
//   %648 = mul %647 %31 : act[T,128]  // layers.0.self_attn mul
//   %649 = add %639 %648 : act[T,128]  // layers.0.self_attn d_o_proj_b
// tensors of the first launch: layers.0.d_o_proj[:,0:128] layers.0.d_pre_feedforward_layernorm model.layers.0.pre_feedforward_layernorm.weight layers.0.rsqrt2 layers.0.sum layers.1.d_post_feedforward_layernorm model.layers.0.post_attention_layernorm.weight layers.0.rsqrt layers.0.o_proj
// 1288 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(32)
k20_d_o_proj_b(elem* __restrict__ d_o_proj_b_rows, int d_o_proj_b_pitch,
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
    const bool inside = column < 128;

    float d_pre_feedforward_layernorm[8] = {};
    if (inside) load8(d_pre_feedforward_layernorm_rows + row * d_pre_feedforward_layernorm_pitch + column, d_pre_feedforward_layernorm);
    float pre_feedforward_layernorm_weight[8] = {};
    if (inside) load8(pre_feedforward_layernorm_weight_vector + column, pre_feedforward_layernorm_weight);
    const float rsqrt = rsqrt_rows[row];
    float sum[8] = {};
    if (inside) load8(sum_rows + row * sum_pitch + column, sum);
    float d_post_feedforward_layernorm[8] = {};
    if (inside) load8(d_post_feedforward_layernorm_rows + row * d_post_feedforward_layernorm_pitch + column, d_post_feedforward_layernorm);
    float post_attention_layernorm_weight[8] = {};
    if (inside) load8(post_attention_layernorm_weight_vector + column, post_attention_layernorm_weight);
    const float rsqrt2 = rsqrt2_rows[row];
    float o_proj[8] = {};
    if (inside) load8(o_proj_rows + row * o_proj_pitch + column, o_proj);

    // mul
    float d_mul[8];
    for (int j = 0; j < 8; j++) d_mul[j] = d_pre_feedforward_layernorm[j] * (1.0f + pre_feedforward_layernorm_weight[j]);

    // row_sum
    float d_rsqrt_part = 0.0f;
    if (inside) for (int j = 0; j < 8; j++) d_rsqrt_part += d_mul[j] * sum[j];
    const float d_rsqrt = row_block_sum(d_rsqrt_part, scratch[0]);
    const float mul = rsqrt * rsqrt;
    const float mul2 = rsqrt * mul;
    const float mul3 = (-0.5f) * mul2;
    const float d_mul2 = d_rsqrt * mul3;
    const float d_mul3 = 0.0078125f * d_mul2;
    const float mul4 = 2.0f * d_mul3;

    // mul
    float d_mul4[8];
    for (int j = 0; j < 8; j++) d_mul4[j] = (d_post_feedforward_layernorm[j] + d_mul[j] * rsqrt + mul4 * sum[j]) * (1.0f + post_attention_layernorm_weight[j]);

    // row_sum
    float d_rsqrt2_part = 0.0f;
    if (inside) for (int j = 0; j < 8; j++) d_rsqrt2_part += d_mul4[j] * o_proj[j];
    const float d_rsqrt2 = row_block_sum(d_rsqrt2_part, scratch[1]);
    const float mul5 = rsqrt2 * rsqrt2;
    const float mul6 = rsqrt2 * mul5;
    const float mul7 = (-0.5f) * mul6;
    const float d_mul5 = d_rsqrt2 * mul7;
    const float d_mul6 = 0.0078125f * d_mul5;
    const float mul8 = 2.0f * d_mul6;

    // add
    float d_o_proj_b[8];
    for (int j = 0; j < 8; j++) d_o_proj_b[j] = d_mul4[j] * rsqrt2 + mul8 * o_proj[j];
    if (inside) store8(d_o_proj_b_rows + row * d_o_proj_b_pitch + column, d_o_proj_b);
}


// ======== k21_input_layernorm
// k21_input_layernorm <sm_90a>  recompute only
//   %6 = mul %4 %4 : act[T,128]  // layers.0.self_attn mul
//   %8 = row_sum %6 : f32[T,1]  // layers.0.self_attn row_sum
//   %9 = mul %7 %8 : f32[T,1]  // layers.0.self_attn mul
//   %11 = add %9 %10 : f32[T,1]  // layers.0.self_attn add
//   %12 = rsqrt %11 : f32[T,1]  // layers.0.self_attn rsqrt
//   %13 = mul %4 %12 : act[T,128]  // layers.0.self_attn mul
//   %16 = mul %13 %15 : act[T,128]  // layers.0.self_attn input_layernorm
// tensors of the first launch: layers.0.input_layernorm[:,0:128] mul model.layers.0.input_layernorm.weight
// 512 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(32)
k21_input_layernorm(elem* __restrict__ input_layernorm_rows, int input_layernorm_pitch,
    const elem* __restrict__ mul_rows, int mul_pitch,
    const elem* __restrict__ input_layernorm_weight_vector,
    int rows)
{
    __shared__ float scratch[2][WARP_SIZE];
    const int column = threadIdx.x * 8;
    const bool inside = column < 128;

    // What a row needs is loaded while the row before it is reduced, so that loads are always in flight.
    const int first = blockIdx.x * 3, end = min(first + 3, rows);
    uint4 mul_next = {};
    if (inside) mul_next = packed8(mul_rows + (int64)first * mul_pitch + column);

    // Vectors that all rows share. A thread reads back what it wrote itself; registers would cost a block per multiprocessor.
    __shared__ uint4 vectors[1][32];
    if (inside) vectors[0][threadIdx.x] = packed8(input_layernorm_weight_vector + column);

    int row = first;
#pragma unroll 1
    do
    {
        float mul[8];
        unpack8(mul_next, mul);
        if (row + 1 < end)
        {
            if (inside) mul_next = packed8(mul_rows + (int64)(row + 1) * mul_pitch + column);
        }

        // row_sum
        float row_sum_part = 0.0f;
        if (inside) for (int j = 0; j < 8; j++) row_sum_part += mul[j] * mul[j];
        const float row_sum = row_block_sum(row_sum_part, scratch[row & 1]);
        const float mul2 = 0.0078125f * row_sum;
        const float add = mul2 + 9.99999997E-07f;
        const float rsqrt = rsqrtf(add);

        float input_layernorm_weight[8];
        unpack8(vectors[0][threadIdx.x], input_layernorm_weight);

        // mul
        float input_layernorm[8];
        for (int j = 0; j < 8; j++) input_layernorm[j] = mul[j] * rsqrt * (1.0f + input_layernorm_weight[j]);
        if (inside) store8(input_layernorm_rows + (int64)row * input_layernorm_pitch + column, input_layernorm);
    }
    while (++row < end);
}


// ======== k22_pre_feedforward_layernorm
// k22_pre_feedforward_layernorm <sm_90a>  recompute only
//   %48 = mul %41 %47 : act[T,128]  // layers.0.mlp mul
//   %50 = mul %48 %49 : act[T,128]  // layers.0.mlp pre_feedforward_layernorm
// tensors of the first launch: layers.0.pre_feedforward_layernorm[:,0:128] layers.0.sum layers.0.rsqrt2 model.layers.0.pre_feedforward_layernorm.weight
// 516 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
extern "C" __global__ void __launch_bounds__(32)
k22_pre_feedforward_layernorm(elem* __restrict__ pre_feedforward_layernorm_rows, int pre_feedforward_layernorm_pitch,
    const elem* __restrict__ sum_rows, int sum_pitch,
    const float* __restrict__ rsqrt_rows,
    const elem* __restrict__ pre_feedforward_layernorm_weight_vector,
    int rows)
{
    const int64 row = blockIdx.x;
    const int column = (blockIdx.y * 32 + threadIdx.x) * 8;
    const bool inside = column < 128;
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
//   %86 = mul %79 %85 : act[T,128]  // layers.1.self_attn mul
//   %88 = mul %86 %87 : act[T,128]  // layers.1.self_attn input_layernorm
// tensors of the first launch: layers.1.input_layernorm[:,0:128] layers.0.sum2 layers.1.rsqrt model.layers.1.input_layernorm.weight
// 516 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
extern "C" __global__ void __launch_bounds__(32)
k23_input_layernorm(elem* __restrict__ input_layernorm_rows, int input_layernorm_pitch,
    const elem* __restrict__ sum_rows, int sum_pitch,
    const float* __restrict__ rsqrt_rows,
    const elem* __restrict__ input_layernorm_weight_vector,
    int rows)
{
    const int64 row = blockIdx.x;
    const int column = (blockIdx.y * 32 + threadIdx.x) * 8;
    const bool inside = column < 128;
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
//   %2 = embedding %0 %1 : act[T,128]  // Gemma2Model.Forward embedding
//   %4 = mul %2 %3 : act[T,128]  // Gemma2Model.Forward mul
// tensors of the first launch: mul ids model.embed_tokens.weight
// 512 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
extern "C" __global__ void __launch_bounds__(32)
k24_mul(elem* __restrict__ mul_rows, int mul_pitch,
    const int* __restrict__ embed_tokens_ids, const elem* __restrict__ embed_tokens_table, int embed_tokens_pitch,
    int rows)
{
    const int64 row = blockIdx.x;
    const int column = (blockIdx.y * 32 + threadIdx.x) * 8;
    const bool inside = column < 128;
    if (!inside) return;

    float embed_tokens[8];
    load8(embed_tokens_table + (int64)embed_tokens_ids[row] * embed_tokens_pitch + column, embed_tokens);

    // mul
    float mul[8];
    for (int j = 0; j < 8; j++) mul[j] = embed_tokens[j] * round_elem(11.3137083f);
    store8(mul_rows + row * mul_pitch + column, mul);
}


// ======== k25_sum
// k25_sum <sm_90a>  recompute only
//   %38 = mul %31 %37 : act[T,128]  // layers.0.self_attn mul
//   %40 = mul %38 %39 : act[T,128]  // layers.0.self_attn post_attention_layernorm
//   %41 = add %4 %40 : act[T,128]  // layers.0.self_attn sum
// tensors of the first launch: layers.0.sum layers.0.o_proj layers.0.rsqrt model.layers.0.post_attention_layernorm.weight mul
// 772 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
extern "C" __global__ void __launch_bounds__(32)
k25_sum(elem* __restrict__ sum_rows, int sum_pitch,
    const elem* __restrict__ o_proj_rows, int o_proj_pitch,
    const float* __restrict__ rsqrt_rows,
    const elem* __restrict__ post_attention_layernorm_weight_vector,
    const elem* __restrict__ mul_rows, int mul_pitch,
    int rows)
{
    const int64 row = blockIdx.x;
    const int column = (blockIdx.y * 32 + threadIdx.x) * 8;
    const bool inside = column < 128;
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
//   %76 = mul %69 %75 : act[T,128]  // layers.0.mlp mul
//   %78 = mul %76 %77 : act[T,128]  // layers.0.mlp post_feedforward_layernorm
//   %79 = add %41 %78 : act[T,128]  // layers.0.mlp sum
// tensors of the first launch: layers.0.sum2 layers.0.down_proj layers.0.rsqrt3 model.layers.0.post_feedforward_layernorm.weight layers.0.sum
// 772 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
extern "C" __global__ void __launch_bounds__(32)
k26_sum(elem* __restrict__ sum_rows, int sum_pitch,
    const elem* __restrict__ down_proj_rows, int down_proj_pitch,
    const float* __restrict__ rsqrt_rows,
    const elem* __restrict__ post_feedforward_layernorm_weight_vector,
    const elem* __restrict__ sum2_rows, int sum2_pitch,
    int rows)
{
    const int64 row = blockIdx.x;
    const int column = (blockIdx.y * 32 + threadIdx.x) * 8;
    const bool inside = column < 128;
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
//   %110 = mul %103 %109 : act[T,128]  // layers.1.self_attn mul
//   %112 = mul %110 %111 : act[T,128]  // layers.1.self_attn post_attention_layernorm
//   %113 = add %79 %112 : act[T,128]  // layers.1.self_attn sum
// tensors of the first launch: layers.1.sum layers.1.o_proj layers.1.rsqrt2 model.layers.1.post_attention_layernorm.weight layers.0.sum2
// 772 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
extern "C" __global__ void __launch_bounds__(32)
k27_sum(elem* __restrict__ sum_rows, int sum_pitch,
    const elem* __restrict__ o_proj_rows, int o_proj_pitch,
    const float* __restrict__ rsqrt_rows,
    const elem* __restrict__ post_attention_layernorm_weight_vector,
    const elem* __restrict__ sum2_rows, int sum2_pitch,
    int rows)
{
    const int64 row = blockIdx.x;
    const int column = (blockIdx.y * 32 + threadIdx.x) * 8;
    const bool inside = column < 128;
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
//   %283 = mul %276 %282 : act[T,128]  // layers.3.mlp mul
//   %285 = mul %283 %284 : act[T,128]  // layers.3.mlp post_feedforward_layernorm
//   %286 = add %251 %285 : act[T,128]  // layers.3.mlp sum
//   %293 = mul %286 %292 : act[T,128]  // Gemma2Model.Forward mul
//   %295 = mul %293 %294 : act[T,128]  // Gemma2Model.Forward norm
// tensors of the first launch: norm layers.3.down_proj layers.3.rsqrt4 model.layers.3.post_feedforward_layernorm.weight layers.3.sum rsqrt model.norm.weight
// 776 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1
#define EXACT_MATH 0

@prelude.cu
extern "C" __global__ void __launch_bounds__(32)
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
    const int column = (blockIdx.y * 32 + threadIdx.x) * 8;
    const bool inside = column < 128;
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


// ======== gemm_nt_k04_mul
// gemm_nt_k04_mul <sm_90a>  k04_mul on the tiles of the product before it, which the schedule keeps as two launches
//   %57 = mul %53 %53 : act[T,256]  // layers.0.mlp mul
//   %58 = mul %56 %57 : act[T,256]  // layers.0.mlp mul
//   %59 = add %55 %58 : act[T,256]  // layers.0.mlp add
//   %60 = mul %53 %59 : act[T,256]  // layers.0.mlp mul
//   %61 = tanh %60 : act[T,256]  // layers.0.mlp tanh
//   %62 = mul %54 %61 : act[T,256]  // layers.0.mlp mul
//   %63 = add %54 %62 : act[T,256]  // layers.0.mlp add
//   %64 = mul %53 %63 : act[T,256]  // layers.0.mlp gelu_tanh
//   %66 = mul %64 %65 : act[T,256]  // layers.0.mlp mul
// tensors of the first launch: layers.0.mul[:,0:256] layers.0.gate_proj+up_proj[:,0:256] layers.0.gate_proj+up_proj[:,256:512]
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

__device__ __forceinline__ Beside load_beside(const Epilogue& arguments, int64 row, int column)
{
    return {};
}

// k04_mul on 8 columns of a row; gate_proj and up_proj: the product's left and right half.
__device__ __forceinline__ void epilogue(const Epilogue& arguments, const Beside& beside, int64 row, int column, const float (&gate_proj)[8], const float (&up_proj)[8])
{

    // mul
    float mul[8];
    for (int j = 0; j < 8; j++) mul[j] = gate_proj[j] * (0.5f + 0.5f * fast_tanh(gate_proj[j] * (0.797884583f + 0.0356774069f * gate_proj[j] * gate_proj[j]))) * up_proj[j];
    store8(arguments.mul_rows + row * arguments.mul_pitch + column, mul);
}


@gemm_sm90.cu

// ======== gemm_nn_k11_d_up_proj_b_d_gate_proj_b
// gemm_nn_k11_d_up_proj_b_d_gate_proj_b <sm_90a>  k11_d_up_proj_b_d_gate_proj_b on the tiles of the product before it, which the schedule keeps as two launches
//   %264 = mul %263 %263 : act[T,256]  // layers.3.mlp mul
//   %265 = mul %56 %264 : act[T,256]  // layers.3.mlp mul
//   %266 = add %55 %265 : act[T,256]  // layers.3.mlp add
//   %267 = mul %263 %266 : act[T,256]  // layers.3.mlp mul
//   %268 = tanh %267 : act[T,256]  // layers.3.mlp tanh
//   %269 = mul %54 %268 : act[T,256]  // layers.3.mlp mul
//   %270 = add %54 %269 : act[T,256]  // layers.3.mlp add
//   %271 = mul %263 %270 : act[T,256]  // layers.3.mlp gelu_tanh
//   %330 = mul %329 %272 : act[T,256]  // layers.3.mlp d_gelu_tanh
//   %331 = mul %329 %271 : act[T,256]  // layers.3.mlp d_up_proj_b
//   %332 = mul %330 %270 : act[T,256]  // layers.3.mlp d_gate_proj
//   %333 = mul %330 %263 : act[T,256]  // layers.3.mlp d_mul
//   %334 = mul %333 %54 : act[T,256]  // layers.3.mlp d_tanh
//   %335 = mul %268 %268 : act[T,256]  // layers.3.mlp mul
//   %336 = sub %14 %335 : act[T,256]  // layers.3.mlp sub
//   %337 = mul %334 %336 : act[T,256]  // layers.3.mlp d_mul
//   %338 = mul %337 %266 : act[T,256]  // layers.3.mlp mul
//   %339 = add %332 %338 : act[T,256]  // layers.3.mlp d_gate_proj
//   %340 = mul %337 %263 : act[T,256]  // layers.3.mlp d_mul
//   %341 = mul %340 %56 : act[T,256]  // layers.3.mlp d_mul
//   %342 = mul %310 %341 : act[T,256]  // layers.3.mlp mul
//   %343 = mul %342 %263 : act[T,256]  // layers.3.mlp mul
//   %344 = add %339 %343 : act[T,256]  // layers.3.mlp d_gate_proj_b
// tensors of the first launch: layers.3.d_gate_proj+up_proj[:,256:512] layers.3.d_gate_proj+up_proj[:,0:256] layers.3.gate_proj+up_proj[:,0:256] layers.3.d_mul layers.3.gate_proj+up_proj[:,256:512]
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

__device__ __forceinline__ Beside load_beside(const Epilogue& arguments, int64 row, int column)
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

    // add
    float add[8];
    for (int j = 0; j < 8; j++) add[j] = 0.797884583f + 0.0356774069f * gate_proj[j] * gate_proj[j];

    // tanh
    float tanh[8];
    for (int j = 0; j < 8; j++) tanh[j] = fast_tanh(gate_proj[j] * add[j]);

    // add
    float add2[8];
    for (int j = 0; j < 8; j++) add2[j] = 0.5f + 0.5f * tanh[j];

    // mul
    float d_gelu_tanh[8];
    for (int j = 0; j < 8; j++) d_gelu_tanh[j] = d_mul[j] * up_proj[j];

    // mul
    float d_up_proj_b[8];
    for (int j = 0; j < 8; j++) d_up_proj_b[j] = d_mul[j] * gate_proj[j] * add2[j];
    store8(arguments.d_up_proj_b_rows + row * arguments.d_up_proj_b_pitch + column, d_up_proj_b);

    // mul
    float d_mul2[8];
    for (int j = 0; j < 8; j++) d_mul2[j] = 0.5f * d_gelu_tanh[j] * gate_proj[j] * (1.0f - tanh[j] * tanh[j]);

    // add
    float d_gate_proj_b[8];
    for (int j = 0; j < 8; j++) d_gate_proj_b[j] = d_gelu_tanh[j] * add2[j] + d_mul2[j] * add[j] + 0.0713548139f * d_mul2[j] * gate_proj[j] * gate_proj[j];
    store8(arguments.d_gate_proj_b_rows + row * arguments.d_gate_proj_b_pitch + column, d_gate_proj_b);
}


@gemm_sm90.cu

// ======== gemm_nt_k09_cross_entropy
// gemm_nt_k09_cross_entropy <sm_90a>  the sums of k09_cross_entropy on the tiles of the product before it, which the schedule keeps as one launch
//   %297 = linear_cross_entropy %295 %1 %296 {logit=(30*tanh((0.03333333333333333*s)))} : f32[T,1]  // loss
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
#define SUMS 256

@prelude.cu
@mma.cu
@wgmma.cu
// logit(s) = (30*tanh((0.03333333333333333*s))), traced from the model; in units of log2.
__device__ __forceinline__ float logit_log2(float s)
{
    return 43.2808495f * fast_tanh(0.0333333351f * s);
}


@cross_entropy_epilogue.cu
@gemm_sm90.cu

// ======== k09_cross_entropy_from_sums
// k09_cross_entropy <sm_90a>  launches: 1
//   %297 = linear_cross_entropy %295 %1 %296 {logit=(30*tanh((0.03333333333333333*s)))} : f32[T,1]  // loss
// tensors of the first launch: norm model.embed_tokens.weight loss
#define ELEM_BF16 1
#define EXACT_MATH 0
#define KERNEL_NAME k09_cross_entropy_from_sums
#define VOCAB 4096
#define THREADS 512
#define PARTS 1
#define THREAD_CHUNKS 8
#define MIN_BLOCKS 2
#define SUMS 16

@prelude.cu
// logit(s) = (30*tanh((0.03333333333333333*s))), traced from the model; in units of log2.
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

