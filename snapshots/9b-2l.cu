// ======== k00_embedding_input_layernorm
// k00_embedding_input_layernorm <sm_90a>  launches: 1
//   %2 = embedding %0 %1 : act[T,3584]  // Gemma2Model.Forward embedding
//   %4 = mul %2 %3 : act[T,3584]  // Gemma2Model.Forward embedding
//   %6 = mul %4 %4 : act[T,3584]  // layers.0.self_attn input_layernorm_mul
//   %8 = row_sum %6 : f32[T,1]  // layers.0.self_attn input_layernorm_row_sum
//   %9 = mul %7 %8 : f32[T,1]  // layers.0.self_attn input_layernorm_mul
//   %11 = add %9 %10 : f32[T,1]  // layers.0.self_attn input_layernorm_add
//   %12 = rsqrt %11 : f32[T,1]  // layers.0.self_attn input_layernorm_rsqrt
//   %13 = mul %4 %12 : act[T,3584]  // layers.0.self_attn input_layernorm_mul
//   %16 = mul %13 %15 : act[T,3584]  // layers.0.self_attn input_layernorm
// tensors of the first launch: embedding layers.0.input_layernorm ids model.embed_tokens.weight model.layers.0.input_layernorm.weight
// 21504 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(448)
k00_embedding_input_layernorm(elem* __restrict__ embedding_rows, int embedding_pitch,
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
        float embedding[8];
        for (int j = 0; j < 8; j++) embedding[j] = embed_tokens[j] * round_elem(59.8665199f);
        store8(embedding_rows + (int64)row * embedding_pitch + column, embedding);
        for (int j = 0; j < 8; j++) embedding[j] = round_elem(embedding[j]);

        // row_sum
        float input_layernorm_row_sum_part = 0.0f;
        for (int j = 0; j < 8; j++) input_layernorm_row_sum_part += embedding[j] * embedding[j];
        const float input_layernorm_row_sum = row_block_sum(input_layernorm_row_sum_part, scratch[row & 1]);
        const float input_layernorm_mul = 0.00027901787f * input_layernorm_row_sum;
        const float input_layernorm_add = input_layernorm_mul + 9.99999997E-07f;
        const float input_layernorm_rsqrt = rsqrtf(input_layernorm_add);

        float input_layernorm_weight[8];
        unpack8(vectors[0][threadIdx.x], input_layernorm_weight);

        // mul
        float input_layernorm[8];
        for (int j = 0; j < 8; j++) input_layernorm[j] = embedding[j] * input_layernorm_rsqrt * (1.0f + input_layernorm_weight[j]);
        store8(input_layernorm_rows + (int64)row * input_layernorm_pitch + column, input_layernorm);
    }
    while (++row < end);
}


// ======== k01_rope
// k01_rope <sm_90a>  launches: 2
//   %26 = rope %25 {theta=10000} : act[T,16,256]  // layers.0.self_attn q_proj
//   %28 = rope %27 {theta=10000} : act[T,8,256]  // layers.0.self_attn k_proj
// tensors of the first launch: layers.0.q_proj+k_proj+v_proj[0:6144] positions
#define ELEM_BF16 1
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
//   %30 = attention %26 %28 %29 {score=(50*tanh((0.00125*s))) window=4096} : act[T,16,256]  // layers.0.self_attn attention
// tensors of the first launch: layers.0.attention layers.0.lse layers.0.q_proj+k_proj+v_proj[0:4096] layers.0.q_proj+k_proj+v_proj[4096:6144] layers.0.q_proj+k_proj+v_proj[6144:8192] doc_start
#define ELEM_BF16 1
#define KERNEL_NAME k02_attention_forward
#define HEAD_DIM 256
#define GROUP 2
#define WINDOW 4096
#define BOUNDED 1
#define TILE_Q 128
#define TILE_K 64
#define WARPS 12
#define STAGES 2
#define MIN_BLOCKS 0

@prelude.cu
@mma.cu
@wgmma.cu
@attention_tiles.cu
@attention_sm90.cu
// The score of a pair, s = q k, distance = q - k in tokens, head = the query head: (50*tanh((0.00125*s))), traced from the model; in units of log2.
__device__ __forceinline__ float score_log2(float s, float distance, float head)
{
    return 72.1347504f * fast_tanh(0.00124999997f * s);
}

// The same, and d(score)/ds in natural units, from shared work.
__device__ __forceinline__ void score_log2_and_derivative(float s, float distance, float head, float& z, float& dz)
{
    const float t = fast_tanh(0.00124999997f * s);
    z = 72.1347504f * t;
    dz = 0.0625f * (1.0f - t * t);
}


@attention_softmax.cu
@attention_forward_sm90.cu

// ======== k03_residual_pre_feedforward_layernorm
// k03_residual_pre_feedforward_layernorm <sm_90a>  launches: 3
//   %38 = mul %36 %36 : act[T,3584]  // layers.0.self_attn post_attention_layernorm_mul
//   %39 = row_sum %38 : f32[T,1]  // layers.0.self_attn post_attention_layernorm_row_sum
//   %40 = mul %7 %39 : f32[T,1]  // layers.0.self_attn post_attention_layernorm_mul
//   %41 = add %40 %10 : f32[T,1]  // layers.0.self_attn post_attention_layernorm_add
//   %42 = rsqrt %41 : f32[T,1]  // layers.0.self_attn post_attention_layernorm_rsqrt
//   %43 = mul %36 %42 : act[T,3584]  // layers.0.self_attn post_attention_layernorm_mul
//   %45 = mul %43 %44 : act[T,3584]  // layers.0.self_attn post_attention_layernorm
//   %46 = add %4 %45 : act[T,3584]  // layers.0.self_attn residual
//   %48 = mul %46 %46 : act[T,3584]  // layers.0.mlp pre_feedforward_layernorm_mul
//   %49 = row_sum %48 : f32[T,1]  // layers.0.mlp pre_feedforward_layernorm_row_sum
//   %50 = mul %7 %49 : f32[T,1]  // layers.0.mlp pre_feedforward_layernorm_mul
//   %51 = add %50 %10 : f32[T,1]  // layers.0.mlp pre_feedforward_layernorm_add
//   %52 = rsqrt %51 : f32[T,1]  // layers.0.mlp pre_feedforward_layernorm_rsqrt
//   %53 = mul %46 %52 : act[T,3584]  // layers.0.mlp pre_feedforward_layernorm_mul
//   %55 = mul %53 %54 : act[T,3584]  // layers.0.mlp pre_feedforward_layernorm
// tensors of the first launch: layers.0.post_attention_layernorm_rsqrt layers.0.residual layers.0.pre_feedforward_layernorm_rsqrt layers.0.pre_feedforward_layernorm layers.0.o_proj model.layers.0.post_attention_layernorm.weight embedding model.layers.0.pre_feedforward_layernorm.weight
// 28680 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(448)
k03_residual_pre_feedforward_layernorm(float* __restrict__ post_attention_layernorm_rsqrt_rows,
    elem* __restrict__ residual_rows, int residual_pitch,
    float* __restrict__ pre_feedforward_layernorm_rsqrt_rows,
    elem* __restrict__ pre_feedforward_layernorm_rows, int pre_feedforward_layernorm_pitch,
    const elem* __restrict__ o_proj_rows, int o_proj_pitch,
    const elem* __restrict__ post_attention_layernorm_weight_vector,
    const elem* __restrict__ embedding_rows, int embedding_pitch,
    const elem* __restrict__ pre_feedforward_layernorm_weight_vector,
    int rows)
{
    __shared__ float scratch[2][WARP_SIZE];
    const int column = threadIdx.x * 8;

    // What a row needs is loaded while the row before it is reduced, so that loads are always in flight.
    const int first = blockIdx.x * 3, end = min(first + 3, rows);
    uint4 o_proj_next = packed8(o_proj_rows + (int64)first * o_proj_pitch + column);
    uint4 embedding_next = packed8(embedding_rows + (int64)first * embedding_pitch + column);

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
        float embedding[8];
        unpack8(embedding_next, embedding);
        if (row + 1 < end)
        {
            o_proj_next = packed8(o_proj_rows + (int64)(row + 1) * o_proj_pitch + column);
            embedding_next = packed8(embedding_rows + (int64)(row + 1) * embedding_pitch + column);
        }

        // row_sum
        float post_attention_layernorm_row_sum_part = 0.0f;
        for (int j = 0; j < 8; j++) post_attention_layernorm_row_sum_part += o_proj[j] * o_proj[j];
        const float post_attention_layernorm_row_sum = row_block_sum(post_attention_layernorm_row_sum_part, scratch[0]);
        const float post_attention_layernorm_mul = 0.00027901787f * post_attention_layernorm_row_sum;
        const float post_attention_layernorm_add = post_attention_layernorm_mul + 9.99999997E-07f;
        const float post_attention_layernorm_rsqrt = rsqrtf(post_attention_layernorm_add);
        if (threadIdx.x == 0) post_attention_layernorm_rsqrt_rows[row] = post_attention_layernorm_rsqrt;

        float post_attention_layernorm_weight[8];
        unpack8(vectors[0][threadIdx.x], post_attention_layernorm_weight);

        // add
        float residual[8];
        for (int j = 0; j < 8; j++) residual[j] = embedding[j] + o_proj[j] * post_attention_layernorm_rsqrt * (1.0f + post_attention_layernorm_weight[j]);
        store8(residual_rows + (int64)row * residual_pitch + column, residual);
        for (int j = 0; j < 8; j++) residual[j] = round_elem(residual[j]);

        // row_sum
        float pre_feedforward_layernorm_row_sum_part = 0.0f;
        for (int j = 0; j < 8; j++) pre_feedforward_layernorm_row_sum_part += residual[j] * residual[j];
        const float pre_feedforward_layernorm_row_sum = row_block_sum(pre_feedforward_layernorm_row_sum_part, scratch[1]);
        const float pre_feedforward_layernorm_mul = 0.00027901787f * pre_feedforward_layernorm_row_sum;
        const float pre_feedforward_layernorm_add = pre_feedforward_layernorm_mul + 9.99999997E-07f;
        const float pre_feedforward_layernorm_rsqrt = rsqrtf(pre_feedforward_layernorm_add);
        if (threadIdx.x == 0) pre_feedforward_layernorm_rsqrt_rows[row] = pre_feedforward_layernorm_rsqrt;

        float pre_feedforward_layernorm_weight[8];
        unpack8(vectors[1][threadIdx.x], pre_feedforward_layernorm_weight);

        // mul
        float pre_feedforward_layernorm[8];
        for (int j = 0; j < 8; j++) pre_feedforward_layernorm[j] = residual[j] * pre_feedforward_layernorm_rsqrt * (1.0f + pre_feedforward_layernorm_weight[j]);
        store8(pre_feedforward_layernorm_rows + (int64)row * pre_feedforward_layernorm_pitch + column, pre_feedforward_layernorm);
    }
    while (++row < end);
}


// ======== k04_geglu
// k04_geglu <sm_90a>  launches: 2
//   %66 = mul %61 %61 : act[T,14336]  // layers.0.mlp gelu_tanh_mul
//   %67 = mul %65 %66 : act[T,14336]  // layers.0.mlp gelu_tanh_mul
//   %68 = add %64 %67 : act[T,14336]  // layers.0.mlp gelu_tanh_add
//   %69 = mul %61 %68 : act[T,14336]  // layers.0.mlp gelu_tanh_mul
//   %70 = tanh %69 : act[T,14336]  // layers.0.mlp gelu_tanh_tanh
//   %71 = mul %63 %70 : act[T,14336]  // layers.0.mlp gelu_tanh_mul
//   %72 = add %63 %71 : act[T,14336]  // layers.0.mlp gelu_tanh_add
//   %73 = mul %61 %72 : act[T,14336]  // layers.0.mlp gelu_tanh
//   %74 = mul %73 %62 : act[T,14336]  // layers.0.mlp geglu
// tensors of the first launch: layers.0.geglu layers.0.gate_proj+up_proj[0:14336] layers.0.gate_proj+up_proj[14336:28672]
// 86016 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1

@prelude.cu
extern "C" __global__ void __launch_bounds__(256)
k04_geglu(elem* __restrict__ geglu_rows, int geglu_pitch,
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
    float geglu[8];
    for (int j = 0; j < 8; j++) geglu[j] = gate_proj[j] * (0.5f + 0.5f * fast_tanh(gate_proj[j] * (0.797884583f + 0.0356774069f * gate_proj[j] * gate_proj[j]))) * up_proj[j];
    store8(geglu_rows + row * geglu_pitch + column, geglu);
}


// ======== k05_attention_forward
// k05_attention_forward <sm_90a>  launches: 1
//   %112 = attention %108 %110 %111 {score=(50*tanh((0.00125*s)))} : act[T,16,256]  // layers.1.self_attn attention
// tensors of the first launch: layers.1.attention layers.1.lse layers.1.q_proj+k_proj+v_proj[0:4096] layers.1.q_proj+k_proj+v_proj[4096:6144] layers.1.q_proj+k_proj+v_proj[6144:8192] doc_start
#define ELEM_BF16 1
#define KERNEL_NAME k05_attention_forward
#define HEAD_DIM 256
#define GROUP 2
#define WINDOW 0
#define BOUNDED 1
#define TILE_Q 128
#define TILE_K 64
#define WARPS 12
#define STAGES 2
#define MIN_BLOCKS 0

@prelude.cu
@mma.cu
@wgmma.cu
@attention_tiles.cu
@attention_sm90.cu
// The score of a pair, s = q k, distance = q - k in tokens, head = the query head: (50*tanh((0.00125*s))), traced from the model; in units of log2.
__device__ __forceinline__ float score_log2(float s, float distance, float head)
{
    return 72.1347504f * fast_tanh(0.00124999997f * s);
}

// The same, and d(score)/ds in natural units, from shared work.
__device__ __forceinline__ void score_log2_and_derivative(float s, float distance, float head, float& z, float& dz)
{
    const float t = fast_tanh(0.00124999997f * s);
    z = 72.1347504f * t;
    dz = 0.0625f * (1.0f - t * t);
}


@attention_softmax.cu
@attention_forward_sm90.cu

// ======== k06_norm
// k06_norm <sm_90a>  launches: 1
//   %160 = mul %158 %158 : act[T,3584]  // layers.1.mlp post_feedforward_layernorm_mul
//   %161 = row_sum %160 : f32[T,1]  // layers.1.mlp post_feedforward_layernorm_row_sum
//   %162 = mul %7 %161 : f32[T,1]  // layers.1.mlp post_feedforward_layernorm_mul
//   %163 = add %162 %10 : f32[T,1]  // layers.1.mlp post_feedforward_layernorm_add
//   %164 = rsqrt %163 : f32[T,1]  // layers.1.mlp post_feedforward_layernorm_rsqrt
//   %165 = mul %158 %164 : act[T,3584]  // layers.1.mlp post_feedforward_layernorm_mul
//   %167 = mul %165 %166 : act[T,3584]  // layers.1.mlp post_feedforward_layernorm
//   %168 = add %128 %167 : act[T,3584]  // layers.1.mlp residual
//   %170 = mul %168 %168 : act[T,3584]  // Gemma2Model.Forward norm_mul
//   %171 = row_sum %170 : f32[T,1]  // Gemma2Model.Forward norm_row_sum
//   %172 = mul %7 %171 : f32[T,1]  // Gemma2Model.Forward norm_mul
//   %173 = add %172 %10 : f32[T,1]  // Gemma2Model.Forward norm_add
//   %174 = rsqrt %173 : f32[T,1]  // Gemma2Model.Forward norm_rsqrt
//   %175 = mul %168 %174 : act[T,3584]  // Gemma2Model.Forward norm_mul
//   %177 = mul %175 %176 : act[T,3584]  // Gemma2Model.Forward norm
// tensors of the first launch: layers.1.post_feedforward_layernorm_rsqrt norm_rsqrt norm layers.1.down_proj model.layers.1.post_feedforward_layernorm.weight layers.1.residual model.norm.weight
// 21512 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(448)
k06_norm(float* __restrict__ post_feedforward_layernorm_rsqrt_rows,
    float* __restrict__ norm_rsqrt_rows,
    elem* __restrict__ norm_rows, int norm_pitch,
    const elem* __restrict__ down_proj_rows, int down_proj_pitch,
    const elem* __restrict__ post_feedforward_layernorm_weight_vector,
    const elem* __restrict__ residual_rows, int residual_pitch,
    const elem* __restrict__ norm_weight_vector,
    int rows)
{
    __shared__ float scratch[2][WARP_SIZE];
    const int column = threadIdx.x * 8;

    // What a row needs is loaded while the row before it is reduced, so that loads are always in flight.
    const int first = blockIdx.x * 3, end = min(first + 3, rows);
    uint4 down_proj_next = packed8(down_proj_rows + (int64)first * down_proj_pitch + column);
    uint4 residual_next = packed8(residual_rows + (int64)first * residual_pitch + column);

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
        float residual[8];
        unpack8(residual_next, residual);
        if (row + 1 < end)
        {
            down_proj_next = packed8(down_proj_rows + (int64)(row + 1) * down_proj_pitch + column);
            residual_next = packed8(residual_rows + (int64)(row + 1) * residual_pitch + column);
        }

        // row_sum
        float post_feedforward_layernorm_row_sum_part = 0.0f;
        for (int j = 0; j < 8; j++) post_feedforward_layernorm_row_sum_part += down_proj[j] * down_proj[j];
        const float post_feedforward_layernorm_row_sum = row_block_sum(post_feedforward_layernorm_row_sum_part, scratch[0]);
        const float post_feedforward_layernorm_mul = 0.00027901787f * post_feedforward_layernorm_row_sum;
        const float post_feedforward_layernorm_add = post_feedforward_layernorm_mul + 9.99999997E-07f;
        const float post_feedforward_layernorm_rsqrt = rsqrtf(post_feedforward_layernorm_add);
        if (threadIdx.x == 0) post_feedforward_layernorm_rsqrt_rows[row] = post_feedforward_layernorm_rsqrt;

        float post_feedforward_layernorm_weight[8];
        unpack8(vectors[0][threadIdx.x], post_feedforward_layernorm_weight);

        // add
        float residual2[8];
        for (int j = 0; j < 8; j++) residual2[j] = residual[j] + down_proj[j] * post_feedforward_layernorm_rsqrt * (1.0f + post_feedforward_layernorm_weight[j]);

        // row_sum
        float norm_row_sum_part = 0.0f;
        for (int j = 0; j < 8; j++) norm_row_sum_part += residual2[j] * residual2[j];
        const float norm_row_sum = row_block_sum(norm_row_sum_part, scratch[1]);
        const float norm_mul = 0.00027901787f * norm_row_sum;
        const float norm_add = norm_mul + 9.99999997E-07f;
        const float norm_rsqrt = rsqrtf(norm_add);
        if (threadIdx.x == 0) norm_rsqrt_rows[row] = norm_rsqrt;

        float norm_weight[8];
        unpack8(vectors[1][threadIdx.x], norm_weight);

        // mul
        float norm[8];
        for (int j = 0; j < 8; j++) norm[j] = residual2[j] * norm_rsqrt * (1.0f + norm_weight[j]);
        store8(norm_rows + (int64)row * norm_pitch + column, norm);
    }
    while (++row < end);
}


// ======== k07_cross_entropy
// k07_cross_entropy <sm_90a>  launches: 1
//   %179 = linear_cross_entropy %177 %1 %178 {logit=(30*tanh((0.03333333333333333*s)))} : f32[T,1]  // loss
// tensors of the first launch: norm model.embed_tokens.weight loss
#define ELEM_BF16 1
#define KERNEL_NAME k07_cross_entropy
#define VOCAB 256000
#define THREADS 1024
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

// ======== k08_d_residual_d_down_proj
// k08_d_residual_d_down_proj <sm_90a>  launches: 1
//   %165 = mul %158 %164 : act[T,3584]  // layers.1.mlp post_feedforward_layernorm_mul
//   %167 = mul %165 %166 : act[T,3584]  // layers.1.mlp post_feedforward_layernorm
//   %168 = add %128 %167 : act[T,3584]  // layers.1.mlp residual
//   %182 = mul %181 %176 : act[T,3584]  // Gemma2Model.Forward d_norm_mul
//   %183 = mul %182 %174 : act[T,3584]  // Gemma2Model.Forward d_residual
//   %184 = mul %182 %168 : act[T,3584]  // Gemma2Model.Forward d_norm_mul_mul
//   %185 = row_sum %184 : f32[T,1]  // Gemma2Model.Forward d_norm_rsqrt
//   %187 = mul %174 %174 : f32[T,1]  // Gemma2Model.Forward d_norm_rsqrt_mul
//   %188 = mul %174 %187 : f32[T,1]  // Gemma2Model.Forward d_norm_rsqrt_mul
//   %189 = mul %186 %188 : f32[T,1]  // Gemma2Model.Forward d_norm_rsqrt_mul
//   %190 = mul %185 %189 : f32[T,1]  // Gemma2Model.Forward d_norm_add
//   %191 = mul %190 %7 : f32[T,1]  // Gemma2Model.Forward d_norm_row_sum
//   %193 = mul %192 %191 : f32[T,1]  // Gemma2Model.Forward d_norm_mul_mul
//   %194 = mul %193 %168 : act[T,3584]  // Gemma2Model.Forward d_residual
//   %195 = add %183 %194 : act[T,3584]  // Gemma2Model.Forward d_residual
//   %196 = mul %195 %166 : act[T,3584]  // layers.1.mlp d_post_feedforward_layernorm_mul
//   %197 = mul %196 %164 : act[T,3584]  // layers.1.mlp d_down_proj
//   %198 = mul %196 %158 : act[T,3584]  // layers.1.mlp d_post_feedforward_layernorm_mul_mul
//   %199 = row_sum %198 : f32[T,1]  // layers.1.mlp d_post_feedforward_layernorm_rsqrt
//   %200 = mul %164 %164 : f32[T,1]  // layers.1.mlp d_post_feedforward_layernorm_rsqrt_mul
//   %201 = mul %164 %200 : f32[T,1]  // layers.1.mlp d_post_feedforward_layernorm_rsqrt_mul
//   %202 = mul %186 %201 : f32[T,1]  // layers.1.mlp d_post_feedforward_layernorm_rsqrt_mul
//   %203 = mul %199 %202 : f32[T,1]  // layers.1.mlp d_post_feedforward_layernorm_add
//   %204 = mul %203 %7 : f32[T,1]  // layers.1.mlp d_post_feedforward_layernorm_row_sum
//   %205 = mul %192 %204 : f32[T,1]  // layers.1.mlp d_post_feedforward_layernorm_mul_mul
//   %206 = mul %205 %158 : act[T,3584]  // layers.1.mlp d_down_proj
//   %207 = add %197 %206 : act[T,3584]  // layers.1.mlp d_down_proj
// tensors of the first launch: d_residual layers.1.d_down_proj layers.1.down_proj layers.1.post_feedforward_layernorm_rsqrt model.layers.1.post_feedforward_layernorm.weight layers.1.residual d_norm model.norm.weight norm_rsqrt
// 35848 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(448)
k08_d_residual_d_down_proj(elem* __restrict__ d_residual_rows, int d_residual_pitch,
    elem* __restrict__ d_down_proj_rows, int d_down_proj_pitch,
    const elem* __restrict__ down_proj_rows, int down_proj_pitch,
    const float* __restrict__ post_feedforward_layernorm_rsqrt_rows,
    const elem* __restrict__ post_feedforward_layernorm_weight_vector,
    const elem* __restrict__ residual_rows, int residual_pitch,
    const elem* __restrict__ d_norm_rows, int d_norm_pitch,
    const elem* __restrict__ norm_weight_vector,
    const float* __restrict__ norm_rsqrt_rows,
    int rows)
{
    __shared__ float scratch[2][WARP_SIZE];
    const int64 row = blockIdx.x;
    const int column = threadIdx.x * 8;

    float down_proj[8];
    load8(down_proj_rows + row * down_proj_pitch + column, down_proj);
    const float post_feedforward_layernorm_rsqrt = post_feedforward_layernorm_rsqrt_rows[row];
    float post_feedforward_layernorm_weight[8];
    load8(post_feedforward_layernorm_weight_vector + column, post_feedforward_layernorm_weight);
    float residual[8];
    load8(residual_rows + row * residual_pitch + column, residual);
    float d_norm[8];
    load8(d_norm_rows + row * d_norm_pitch + column, d_norm);
    float norm_weight[8];
    load8(norm_weight_vector + column, norm_weight);
    const float norm_rsqrt = norm_rsqrt_rows[row];

    // add
    float residual2[8];
    for (int j = 0; j < 8; j++) residual2[j] = residual[j] + down_proj[j] * post_feedforward_layernorm_rsqrt * (1.0f + post_feedforward_layernorm_weight[j]);

    // mul
    float d_norm_mul[8];
    for (int j = 0; j < 8; j++) d_norm_mul[j] = d_norm[j] * (1.0f + norm_weight[j]);

    // row_sum
    float d_norm_rsqrt_part = 0.0f;
    for (int j = 0; j < 8; j++) d_norm_rsqrt_part += d_norm_mul[j] * residual2[j];
    const float d_norm_rsqrt = row_block_sum(d_norm_rsqrt_part, scratch[0]);
    const float d_norm_rsqrt_mul = norm_rsqrt * norm_rsqrt;
    const float d_norm_rsqrt_mul2 = norm_rsqrt * d_norm_rsqrt_mul;
    const float d_norm_rsqrt_mul3 = (-0.5f) * d_norm_rsqrt_mul2;
    const float d_norm_add = d_norm_rsqrt * d_norm_rsqrt_mul3;
    const float d_norm_row_sum = 0.00027901787f * d_norm_add;
    const float d_norm_mul_mul = 2.0f * d_norm_row_sum;

    // add
    float d_residual[8];
    for (int j = 0; j < 8; j++) d_residual[j] = d_norm_mul[j] * norm_rsqrt + d_norm_mul_mul * residual2[j];
    store8(d_residual_rows + row * d_residual_pitch + column, d_residual);
    for (int j = 0; j < 8; j++) d_residual[j] = round_elem(d_residual[j]);

    // mul
    float d_post_feedforward_layernorm_mul[8];
    for (int j = 0; j < 8; j++) d_post_feedforward_layernorm_mul[j] = d_residual[j] * (1.0f + post_feedforward_layernorm_weight[j]);

    // row_sum
    float d_post_feedforward_layernorm_rsqrt_part = 0.0f;
    for (int j = 0; j < 8; j++) d_post_feedforward_layernorm_rsqrt_part += d_post_feedforward_layernorm_mul[j] * down_proj[j];
    const float d_post_feedforward_layernorm_rsqrt = row_block_sum(d_post_feedforward_layernorm_rsqrt_part, scratch[1]);
    const float d_post_feedforward_layernorm_rsqrt_mul = post_feedforward_layernorm_rsqrt * post_feedforward_layernorm_rsqrt;
    const float d_post_feedforward_layernorm_rsqrt_mul2 = post_feedforward_layernorm_rsqrt * d_post_feedforward_layernorm_rsqrt_mul;
    const float d_post_feedforward_layernorm_rsqrt_mul3 = (-0.5f) * d_post_feedforward_layernorm_rsqrt_mul2;
    const float d_post_feedforward_layernorm_add = d_post_feedforward_layernorm_rsqrt * d_post_feedforward_layernorm_rsqrt_mul3;
    const float d_post_feedforward_layernorm_row_sum = 0.00027901787f * d_post_feedforward_layernorm_add;
    const float d_post_feedforward_layernorm_mul_mul = 2.0f * d_post_feedforward_layernorm_row_sum;

    // add
    float d_down_proj[8];
    for (int j = 0; j < 8; j++) d_down_proj[j] = d_post_feedforward_layernorm_mul[j] * post_feedforward_layernorm_rsqrt + d_post_feedforward_layernorm_mul_mul * down_proj[j];
    store8(d_down_proj_rows + row * d_down_proj_pitch + column, d_down_proj);
}


// ======== k09_d_up_proj_d_gate_proj
// k09_d_up_proj_d_gate_proj <sm_90a>  launches: 2
//   %145 = mul %143 %143 : act[T,14336]  // layers.1.mlp gelu_tanh_mul
//   %146 = mul %65 %145 : act[T,14336]  // layers.1.mlp gelu_tanh_mul
//   %147 = add %64 %146 : act[T,14336]  // layers.1.mlp gelu_tanh_add
//   %148 = mul %143 %147 : act[T,14336]  // layers.1.mlp gelu_tanh_mul
//   %149 = tanh %148 : act[T,14336]  // layers.1.mlp gelu_tanh_tanh
//   %150 = mul %63 %149 : act[T,14336]  // layers.1.mlp gelu_tanh_mul
//   %151 = add %63 %150 : act[T,14336]  // layers.1.mlp gelu_tanh_add
//   %152 = mul %143 %151 : act[T,14336]  // layers.1.mlp gelu_tanh
//   %214 = mul %213 %144 : act[T,14336]  // layers.1.mlp d_gelu_tanh
//   %215 = mul %213 %152 : act[T,14336]  // layers.1.mlp d_up_proj
//   %216 = mul %214 %151 : act[T,14336]  // layers.1.mlp d_gate_proj
//   %217 = mul %214 %143 : act[T,14336]  // layers.1.mlp d_gelu_tanh_add
//   %218 = mul %217 %63 : act[T,14336]  // layers.1.mlp d_gelu_tanh_tanh
//   %219 = mul %149 %149 : act[T,14336]  // layers.1.mlp d_gelu_tanh_tanh_mul
//   %220 = sub %14 %219 : act[T,14336]  // layers.1.mlp d_gelu_tanh_tanh_sub
//   %221 = mul %218 %220 : act[T,14336]  // layers.1.mlp d_gelu_tanh_mul
//   %222 = mul %221 %147 : act[T,14336]  // layers.1.mlp d_gate_proj
//   %223 = mul %221 %143 : act[T,14336]  // layers.1.mlp d_gelu_tanh_add
//   %224 = mul %223 %65 : act[T,14336]  // layers.1.mlp d_gelu_tanh_mul
//   %225 = mul %192 %224 : act[T,14336]  // layers.1.mlp d_gelu_tanh_mul_mul
//   %226 = mul %225 %143 : act[T,14336]  // layers.1.mlp d_gate_proj
//   %227 = add %216 %222 : act[T,14336]  // layers.1.mlp add
//   %228 = add %227 %226 : act[T,14336]  // layers.1.mlp d_gate_proj
// tensors of the first launch: layers.1.d_gate_proj+up_proj[14336:28672] layers.1.d_gate_proj+up_proj[0:14336] layers.1.gate_proj+up_proj[0:14336] layers.1.d_geglu layers.1.gate_proj+up_proj[14336:28672]
// 143360 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1

@prelude.cu
extern "C" __global__ void __launch_bounds__(256)
k09_d_up_proj_d_gate_proj(elem* __restrict__ d_up_proj_rows, int d_up_proj_pitch,
    elem* __restrict__ d_gate_proj_rows, int d_gate_proj_pitch,
    const elem* __restrict__ gate_proj_rows, int gate_proj_pitch,
    const elem* __restrict__ d_geglu_rows, int d_geglu_pitch,
    const elem* __restrict__ up_proj_rows, int up_proj_pitch,
    int rows)
{
    const int64 row = blockIdx.x;
    const int column = (blockIdx.y * 256 + threadIdx.x) * 8;

    float gate_proj[8];
    load8(gate_proj_rows + row * gate_proj_pitch + column, gate_proj);
    float d_geglu[8];
    load8(d_geglu_rows + row * d_geglu_pitch + column, d_geglu);
    float up_proj[8];
    load8(up_proj_rows + row * up_proj_pitch + column, up_proj);

    // add
    float gelu_tanh_add[8];
    for (int j = 0; j < 8; j++) gelu_tanh_add[j] = 0.797884583f + 0.0356774069f * gate_proj[j] * gate_proj[j];

    // tanh
    float gelu_tanh_tanh[8];
    for (int j = 0; j < 8; j++) gelu_tanh_tanh[j] = fast_tanh(gate_proj[j] * gelu_tanh_add[j]);

    // add
    float gelu_tanh_add2[8];
    for (int j = 0; j < 8; j++) gelu_tanh_add2[j] = 0.5f + 0.5f * gelu_tanh_tanh[j];

    // mul
    float d_gelu_tanh[8];
    for (int j = 0; j < 8; j++) d_gelu_tanh[j] = d_geglu[j] * up_proj[j];

    // mul
    float d_up_proj[8];
    for (int j = 0; j < 8; j++) d_up_proj[j] = d_geglu[j] * gate_proj[j] * gelu_tanh_add2[j];
    store8(d_up_proj_rows + row * d_up_proj_pitch + column, d_up_proj);

    // mul
    float d_gelu_tanh_mul[8];
    for (int j = 0; j < 8; j++) d_gelu_tanh_mul[j] = 0.5f * d_gelu_tanh[j] * gate_proj[j] * (1.0f - gelu_tanh_tanh[j] * gelu_tanh_tanh[j]);

    // add
    float d_gate_proj[8];
    for (int j = 0; j < 8; j++) d_gate_proj[j] = d_gelu_tanh[j] * gelu_tanh_add2[j] + d_gelu_tanh_mul[j] * gelu_tanh_add[j] + 0.0713548139f * d_gelu_tanh_mul[j] * gate_proj[j] * gate_proj[j];
    store8(d_gate_proj_rows + row * d_gate_proj_pitch + column, d_gate_proj);
}


// ======== k10_d_residual_d_o_proj
// k10_d_residual_d_o_proj <sm_90a>  launches: 2
//   %236 = mul %235 %136 : act[T,3584]  // layers.1.mlp d_pre_feedforward_layernorm_mul
//   %237 = mul %236 %134 : act[T,3584]  // layers.1.mlp d_residual
//   %238 = mul %236 %128 : act[T,3584]  // layers.1.mlp d_pre_feedforward_layernorm_mul_mul
//   %239 = row_sum %238 : f32[T,1]  // layers.1.mlp d_pre_feedforward_layernorm_rsqrt
//   %240 = mul %134 %134 : f32[T,1]  // layers.1.mlp d_pre_feedforward_layernorm_rsqrt_mul
//   %241 = mul %134 %240 : f32[T,1]  // layers.1.mlp d_pre_feedforward_layernorm_rsqrt_mul
//   %242 = mul %186 %241 : f32[T,1]  // layers.1.mlp d_pre_feedforward_layernorm_rsqrt_mul
//   %243 = mul %239 %242 : f32[T,1]  // layers.1.mlp d_pre_feedforward_layernorm_add
//   %244 = mul %243 %7 : f32[T,1]  // layers.1.mlp d_pre_feedforward_layernorm_row_sum
//   %245 = mul %192 %244 : f32[T,1]  // layers.1.mlp d_pre_feedforward_layernorm_mul_mul
//   %246 = mul %245 %128 : act[T,3584]  // layers.1.mlp d_residual
//   %247 = add %195 %237 : act[T,3584]  // layers.1.mlp add
//   %248 = add %247 %246 : act[T,3584]  // layers.1.mlp d_residual
//   %249 = mul %248 %126 : act[T,3584]  // layers.1.self_attn d_post_attention_layernorm_mul
//   %250 = mul %249 %124 : act[T,3584]  // layers.1.self_attn d_o_proj
//   %251 = mul %249 %118 : act[T,3584]  // layers.1.self_attn d_post_attention_layernorm_mul_mul
//   %252 = row_sum %251 : f32[T,1]  // layers.1.self_attn d_post_attention_layernorm_rsqrt
//   %253 = mul %124 %124 : f32[T,1]  // layers.1.self_attn d_post_attention_layernorm_rsqrt_mul
//   %254 = mul %124 %253 : f32[T,1]  // layers.1.self_attn d_post_attention_layernorm_rsqrt_mul
//   %255 = mul %186 %254 : f32[T,1]  // layers.1.self_attn d_post_attention_layernorm_rsqrt_mul
//   %256 = mul %252 %255 : f32[T,1]  // layers.1.self_attn d_post_attention_layernorm_add
//   %257 = mul %256 %7 : f32[T,1]  // layers.1.self_attn d_post_attention_layernorm_row_sum
//   %258 = mul %192 %257 : f32[T,1]  // layers.1.self_attn d_post_attention_layernorm_mul_mul
//   %259 = mul %258 %118 : act[T,3584]  // layers.1.self_attn d_o_proj
//   %260 = add %250 %259 : act[T,3584]  // layers.1.self_attn d_o_proj
// tensors of the first launch: layers.1.d_residual layers.1.d_o_proj layers.1.d_pre_feedforward_layernorm model.layers.1.pre_feedforward_layernorm.weight layers.1.pre_feedforward_layernorm_rsqrt layers.1.residual d_residual model.layers.1.post_attention_layernorm.weight layers.1.post_attention_layernorm_rsqrt layers.1.o_proj
// 43016 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(448)
k10_d_residual_d_o_proj(elem* __restrict__ d_residual_rows, int d_residual_pitch,
    elem* __restrict__ d_o_proj_rows, int d_o_proj_pitch,
    const elem* __restrict__ d_pre_feedforward_layernorm_rows, int d_pre_feedforward_layernorm_pitch,
    const elem* __restrict__ pre_feedforward_layernorm_weight_vector,
    const float* __restrict__ pre_feedforward_layernorm_rsqrt_rows,
    const elem* __restrict__ residual_rows, int residual_pitch,
    const elem* __restrict__ d_residual2_rows, int d_residual2_pitch,
    const elem* __restrict__ post_attention_layernorm_weight_vector,
    const float* __restrict__ post_attention_layernorm_rsqrt_rows,
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
    const float pre_feedforward_layernorm_rsqrt = pre_feedforward_layernorm_rsqrt_rows[row];
    float residual[8];
    load8(residual_rows + row * residual_pitch + column, residual);
    float d_residual2[8];
    load8(d_residual2_rows + row * d_residual2_pitch + column, d_residual2);
    float post_attention_layernorm_weight[8];
    load8(post_attention_layernorm_weight_vector + column, post_attention_layernorm_weight);
    const float post_attention_layernorm_rsqrt = post_attention_layernorm_rsqrt_rows[row];
    float o_proj[8];
    load8(o_proj_rows + row * o_proj_pitch + column, o_proj);

    // mul
    float d_pre_feedforward_layernorm_mul[8];
    for (int j = 0; j < 8; j++) d_pre_feedforward_layernorm_mul[j] = d_pre_feedforward_layernorm[j] * (1.0f + pre_feedforward_layernorm_weight[j]);

    // row_sum
    float d_pre_feedforward_layernorm_rsqrt_part = 0.0f;
    for (int j = 0; j < 8; j++) d_pre_feedforward_layernorm_rsqrt_part += d_pre_feedforward_layernorm_mul[j] * residual[j];
    const float d_pre_feedforward_layernorm_rsqrt = row_block_sum(d_pre_feedforward_layernorm_rsqrt_part, scratch[0]);
    const float d_pre_feedforward_layernorm_rsqrt_mul = pre_feedforward_layernorm_rsqrt * pre_feedforward_layernorm_rsqrt;
    const float d_pre_feedforward_layernorm_rsqrt_mul2 = pre_feedforward_layernorm_rsqrt * d_pre_feedforward_layernorm_rsqrt_mul;
    const float d_pre_feedforward_layernorm_rsqrt_mul3 = (-0.5f) * d_pre_feedforward_layernorm_rsqrt_mul2;
    const float d_pre_feedforward_layernorm_add = d_pre_feedforward_layernorm_rsqrt * d_pre_feedforward_layernorm_rsqrt_mul3;
    const float d_pre_feedforward_layernorm_row_sum = 0.00027901787f * d_pre_feedforward_layernorm_add;
    const float d_pre_feedforward_layernorm_mul_mul = 2.0f * d_pre_feedforward_layernorm_row_sum;

    // add
    float d_residual[8];
    for (int j = 0; j < 8; j++) d_residual[j] = d_residual2[j] + d_pre_feedforward_layernorm_mul[j] * pre_feedforward_layernorm_rsqrt + d_pre_feedforward_layernorm_mul_mul * residual[j];
    store8(d_residual_rows + row * d_residual_pitch + column, d_residual);
    for (int j = 0; j < 8; j++) d_residual[j] = round_elem(d_residual[j]);

    // mul
    float d_post_attention_layernorm_mul[8];
    for (int j = 0; j < 8; j++) d_post_attention_layernorm_mul[j] = d_residual[j] * (1.0f + post_attention_layernorm_weight[j]);

    // row_sum
    float d_post_attention_layernorm_rsqrt_part = 0.0f;
    for (int j = 0; j < 8; j++) d_post_attention_layernorm_rsqrt_part += d_post_attention_layernorm_mul[j] * o_proj[j];
    const float d_post_attention_layernorm_rsqrt = row_block_sum(d_post_attention_layernorm_rsqrt_part, scratch[1]);
    const float d_post_attention_layernorm_rsqrt_mul = post_attention_layernorm_rsqrt * post_attention_layernorm_rsqrt;
    const float d_post_attention_layernorm_rsqrt_mul2 = post_attention_layernorm_rsqrt * d_post_attention_layernorm_rsqrt_mul;
    const float d_post_attention_layernorm_rsqrt_mul3 = (-0.5f) * d_post_attention_layernorm_rsqrt_mul2;
    const float d_post_attention_layernorm_add = d_post_attention_layernorm_rsqrt * d_post_attention_layernorm_rsqrt_mul3;
    const float d_post_attention_layernorm_row_sum = 0.00027901787f * d_post_attention_layernorm_add;
    const float d_post_attention_layernorm_mul_mul = 2.0f * d_post_attention_layernorm_row_sum;

    // add
    float d_o_proj[8];
    for (int j = 0; j < 8; j++) d_o_proj[j] = d_post_attention_layernorm_mul[j] * post_attention_layernorm_rsqrt + d_post_attention_layernorm_mul_mul * o_proj[j];
    store8(d_o_proj_rows + row * d_o_proj_pitch + column, d_o_proj);
}


// ======== k11_attention_delta
// k11_attention_delta <sm_90a>  launches: 2
//   %269 = attention_delta %112 %267 : f32[T,16]  // layers.1.self_attn delta
// tensors of the first launch: layers.1.delta layers.1.attention layers.1.d_attention
#define ELEM_BF16 1
#define KERNEL_NAME k11_attention_delta
#define HEAD_DIM 256
#define GROUP 1
#define WINDOW 0
#define BOUNDED 0
#define TILE_Q 16
#define TILE_K 16
#define WARPS 4
#define STAGES 1
#define MIN_BLOCKS 0

@prelude.cu
@attention_delta.cu

// ======== k12_attention_dkdv
// k12_attention_dkdv <sm_90a>  launches: 1
//   %270 = attention_grad_k %108 %110 %111 %267 %268 %269 {score=(50*tanh((0.00125*s)))} : act[T,8,256]  // layers.1.self_attn d_k_proj
// tensors of the first launch: layers.1.d_q_proj+k_proj+v_proj[4096:6144] layers.1.d_q_proj+k_proj+v_proj[6144:8192] layers.1.q_proj+k_proj+v_proj[0:4096] layers.1.q_proj+k_proj+v_proj[4096:6144] layers.1.q_proj+k_proj+v_proj[6144:8192] layers.1.d_attention layers.1.lse layers.1.delta doc_start doc_end
#define ELEM_BF16 1
#define KERNEL_NAME k12_attention_dkdv
#define HEAD_DIM 256
#define GROUP 2
#define WINDOW 0
#define BOUNDED 1
#define TILE_Q 64
#define TILE_K 64
#define WARPS 12
#define STAGES 2
#define MIN_BLOCKS 0

@prelude.cu
@mma.cu
@wgmma.cu
@attention_tiles.cu
@attention_sm90.cu
@score_gradients.cu
// The score of a pair, s = q k, distance = q - k in tokens, head = the query head: (50*tanh((0.00125*s))), traced from the model; in units of log2.
__device__ __forceinline__ float score_log2(float s, float distance, float head)
{
    return 72.1347504f * fast_tanh(0.00124999997f * s);
}

// The same, and d(score)/ds in natural units, from shared work.
__device__ __forceinline__ void score_log2_and_derivative(float s, float distance, float head, float& z, float& dz)
{
    const float t = fast_tanh(0.00124999997f * s);
    z = 72.1347504f * t;
    dz = 0.0625f * (1.0f - t * t);
}


@attention_dkdv_sm90.cu
@attention_dkdv_sm90_d256.cu

// ======== k13_attention_dq
// k13_attention_dq <sm_90a>  launches: 1
//   %272 = attention_grad_q %108 %110 %111 %267 %268 %269 {score=(50*tanh((0.00125*s)))} : act[T,16,256]  // layers.1.self_attn d_q_proj
// tensors of the first launch: layers.1.d_q_proj+k_proj+v_proj[0:4096] layers.1.q_proj+k_proj+v_proj[0:4096] layers.1.q_proj+k_proj+v_proj[4096:6144] layers.1.q_proj+k_proj+v_proj[6144:8192] layers.1.d_attention layers.1.lse layers.1.delta doc_start
#define ELEM_BF16 1
#define KERNEL_NAME k13_attention_dq
#define HEAD_DIM 256
#define GROUP 2
#define WINDOW 0
#define BOUNDED 1
#define TILE_Q 128
#define TILE_K 64
#define WARPS 12
#define STAGES 2
#define MIN_BLOCKS 0

@prelude.cu
@mma.cu
@wgmma.cu
@attention_tiles.cu
@attention_sm90.cu
// The score of a pair, s = q k, distance = q - k in tokens, head = the query head: (50*tanh((0.00125*s))), traced from the model; in units of log2.
__device__ __forceinline__ float score_log2(float s, float distance, float head)
{
    return 72.1347504f * fast_tanh(0.00124999997f * s);
}

// The same, and d(score)/ds in natural units, from shared work.
__device__ __forceinline__ void score_log2_and_derivative(float s, float distance, float head, float& z, float& dz)
{
    const float t = fast_tanh(0.00124999997f * s);
    z = 72.1347504f * t;
    dz = 0.0625f * (1.0f - t * t);
}


@attention_softmax.cu
@attention_dq_sm90.cu

// ======== k13_attention_dq_from_ds
// k13_attention_dq <sm_90a>  launches: 1
//   %272 = attention_grad_q %108 %110 %111 %267 %268 %269 {score=(50*tanh((0.00125*s)))} : act[T,16,256]  // layers.1.self_attn d_q_proj
// tensors of the first launch: layers.1.d_q_proj+k_proj+v_proj[0:4096] layers.1.q_proj+k_proj+v_proj[0:4096] layers.1.q_proj+k_proj+v_proj[4096:6144] layers.1.q_proj+k_proj+v_proj[6144:8192] layers.1.d_attention layers.1.lse layers.1.delta doc_start
#define ELEM_BF16 1
#define KERNEL_NAME k13_attention_dq_from_ds
#define HEAD_DIM 256
#define GROUP 2
#define WINDOW 0
#define BOUNDED 0
#define TILE_Q 64
#define TILE_K 64
#define WARPS 12
#define STAGES 4
#define MIN_BLOCKS 0

@prelude.cu
@mma.cu
@wgmma.cu
@attention_tiles.cu
@attention_sm90.cu
@score_gradients.cu
@attention_dq_from_ds_sm90.cu

// ======== k14_rope_inverse
// k14_rope_inverse <sm_90a>  launches: 2
//   %274 = rope %270 {theta=10000 inverse} : act[T,8,256]  // layers.1.self_attn d_k_proj
//   %276 = rope %272 {theta=10000 inverse} : act[T,16,256]  // layers.1.self_attn d_q_proj
// tensors of the first launch: layers.1.d_q_proj+k_proj+v_proj[0:6144] positions
#define ELEM_BF16 1
#define KERNEL_NAME k14_rope_inverse
#define HEADS 24
#define INVERSE 1
#define TILE_ROWS 16
#define TILE_HEADS 4
#define HEAD_DIM 256
#define THETA 10000.0

@prelude.cu
@rotation.cu
@rope.cu

// ======== k15_d_o_proj
// k15_d_o_proj <sm_90a>  launches: 1
//   %338 = mul %337 %54 : act[T,3584]  // layers.0.mlp d_pre_feedforward_layernorm_mul
//   %339 = mul %338 %52 : act[T,3584]  // layers.0.mlp d_residual
//   %340 = mul %338 %46 : act[T,3584]  // layers.0.mlp d_pre_feedforward_layernorm_mul_mul
//   %341 = row_sum %340 : f32[T,1]  // layers.0.mlp d_pre_feedforward_layernorm_rsqrt
//   %342 = mul %52 %52 : f32[T,1]  // layers.0.mlp d_pre_feedforward_layernorm_rsqrt_mul
//   %343 = mul %52 %342 : f32[T,1]  // layers.0.mlp d_pre_feedforward_layernorm_rsqrt_mul
//   %344 = mul %186 %343 : f32[T,1]  // layers.0.mlp d_pre_feedforward_layernorm_rsqrt_mul
//   %345 = mul %341 %344 : f32[T,1]  // layers.0.mlp d_pre_feedforward_layernorm_add
//   %346 = mul %345 %7 : f32[T,1]  // layers.0.mlp d_pre_feedforward_layernorm_row_sum
//   %347 = mul %192 %346 : f32[T,1]  // layers.0.mlp d_pre_feedforward_layernorm_mul_mul
//   %348 = mul %347 %46 : act[T,3584]  // layers.0.mlp d_residual
//   %349 = add %297 %339 : act[T,3584]  // layers.0.mlp add
//   %350 = add %349 %348 : act[T,3584]  // layers.0.mlp d_residual
//   %351 = mul %350 %44 : act[T,3584]  // layers.0.self_attn d_post_attention_layernorm_mul
//   %352 = mul %351 %42 : act[T,3584]  // layers.0.self_attn d_o_proj
//   %353 = mul %351 %36 : act[T,3584]  // layers.0.self_attn d_post_attention_layernorm_mul_mul
//   %354 = row_sum %353 : f32[T,1]  // layers.0.self_attn d_post_attention_layernorm_rsqrt
//   %355 = mul %42 %42 : f32[T,1]  // layers.0.self_attn d_post_attention_layernorm_rsqrt_mul
//   %356 = mul %42 %355 : f32[T,1]  // layers.0.self_attn d_post_attention_layernorm_rsqrt_mul
//   %357 = mul %186 %356 : f32[T,1]  // layers.0.self_attn d_post_attention_layernorm_rsqrt_mul
//   %358 = mul %354 %357 : f32[T,1]  // layers.0.self_attn d_post_attention_layernorm_add
//   %359 = mul %358 %7 : f32[T,1]  // layers.0.self_attn d_post_attention_layernorm_row_sum
//   %360 = mul %192 %359 : f32[T,1]  // layers.0.self_attn d_post_attention_layernorm_mul_mul
//   %361 = mul %360 %36 : act[T,3584]  // layers.0.self_attn d_o_proj
//   %362 = add %352 %361 : act[T,3584]  // layers.0.self_attn d_o_proj
// tensors of the first launch: layers.0.d_o_proj layers.0.d_pre_feedforward_layernorm model.layers.0.pre_feedforward_layernorm.weight layers.0.pre_feedforward_layernorm_rsqrt layers.0.residual layers.1.d_residual2 model.layers.0.post_attention_layernorm.weight layers.0.post_attention_layernorm_rsqrt layers.0.o_proj
// 35848 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(448)
k15_d_o_proj(elem* __restrict__ d_o_proj_rows, int d_o_proj_pitch,
    const elem* __restrict__ d_pre_feedforward_layernorm_rows, int d_pre_feedforward_layernorm_pitch,
    const elem* __restrict__ pre_feedforward_layernorm_weight_vector,
    const float* __restrict__ pre_feedforward_layernorm_rsqrt_rows,
    const elem* __restrict__ residual_rows, int residual_pitch,
    const elem* __restrict__ d_residual_rows, int d_residual_pitch,
    const elem* __restrict__ post_attention_layernorm_weight_vector,
    const float* __restrict__ post_attention_layernorm_rsqrt_rows,
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
    const float pre_feedforward_layernorm_rsqrt = pre_feedforward_layernorm_rsqrt_rows[row];
    float residual[8];
    load8(residual_rows + row * residual_pitch + column, residual);
    float d_residual[8];
    load8(d_residual_rows + row * d_residual_pitch + column, d_residual);
    float post_attention_layernorm_weight[8];
    load8(post_attention_layernorm_weight_vector + column, post_attention_layernorm_weight);
    const float post_attention_layernorm_rsqrt = post_attention_layernorm_rsqrt_rows[row];
    float o_proj[8];
    load8(o_proj_rows + row * o_proj_pitch + column, o_proj);

    // mul
    float d_pre_feedforward_layernorm_mul[8];
    for (int j = 0; j < 8; j++) d_pre_feedforward_layernorm_mul[j] = d_pre_feedforward_layernorm[j] * (1.0f + pre_feedforward_layernorm_weight[j]);

    // row_sum
    float d_pre_feedforward_layernorm_rsqrt_part = 0.0f;
    for (int j = 0; j < 8; j++) d_pre_feedforward_layernorm_rsqrt_part += d_pre_feedforward_layernorm_mul[j] * residual[j];
    const float d_pre_feedforward_layernorm_rsqrt = row_block_sum(d_pre_feedforward_layernorm_rsqrt_part, scratch[0]);
    const float d_pre_feedforward_layernorm_rsqrt_mul = pre_feedforward_layernorm_rsqrt * pre_feedforward_layernorm_rsqrt;
    const float d_pre_feedforward_layernorm_rsqrt_mul2 = pre_feedforward_layernorm_rsqrt * d_pre_feedforward_layernorm_rsqrt_mul;
    const float d_pre_feedforward_layernorm_rsqrt_mul3 = (-0.5f) * d_pre_feedforward_layernorm_rsqrt_mul2;
    const float d_pre_feedforward_layernorm_add = d_pre_feedforward_layernorm_rsqrt * d_pre_feedforward_layernorm_rsqrt_mul3;
    const float d_pre_feedforward_layernorm_row_sum = 0.00027901787f * d_pre_feedforward_layernorm_add;
    const float d_pre_feedforward_layernorm_mul_mul = 2.0f * d_pre_feedforward_layernorm_row_sum;

    // mul
    float d_post_attention_layernorm_mul[8];
    for (int j = 0; j < 8; j++) d_post_attention_layernorm_mul[j] = (d_residual[j] + d_pre_feedforward_layernorm_mul[j] * pre_feedforward_layernorm_rsqrt + d_pre_feedforward_layernorm_mul_mul * residual[j]) * (1.0f + post_attention_layernorm_weight[j]);

    // row_sum
    float d_post_attention_layernorm_rsqrt_part = 0.0f;
    for (int j = 0; j < 8; j++) d_post_attention_layernorm_rsqrt_part += d_post_attention_layernorm_mul[j] * o_proj[j];
    const float d_post_attention_layernorm_rsqrt = row_block_sum(d_post_attention_layernorm_rsqrt_part, scratch[1]);
    const float d_post_attention_layernorm_rsqrt_mul = post_attention_layernorm_rsqrt * post_attention_layernorm_rsqrt;
    const float d_post_attention_layernorm_rsqrt_mul2 = post_attention_layernorm_rsqrt * d_post_attention_layernorm_rsqrt_mul;
    const float d_post_attention_layernorm_rsqrt_mul3 = (-0.5f) * d_post_attention_layernorm_rsqrt_mul2;
    const float d_post_attention_layernorm_add = d_post_attention_layernorm_rsqrt * d_post_attention_layernorm_rsqrt_mul3;
    const float d_post_attention_layernorm_row_sum = 0.00027901787f * d_post_attention_layernorm_add;
    const float d_post_attention_layernorm_mul_mul = 2.0f * d_post_attention_layernorm_row_sum;

    // add
    float d_o_proj[8];
    for (int j = 0; j < 8; j++) d_o_proj[j] = d_post_attention_layernorm_mul[j] * post_attention_layernorm_rsqrt + d_post_attention_layernorm_mul_mul * o_proj[j];
    store8(d_o_proj_rows + row * d_o_proj_pitch + column, d_o_proj);
}


// ======== k16_attention_dkdv
// k16_attention_dkdv <sm_90a>  launches: 1
//   %372 = attention_grad_k %26 %28 %29 %369 %370 %371 {score=(50*tanh((0.00125*s))) window=4096} : act[T,8,256]  // layers.0.self_attn d_k_proj
// tensors of the first launch: layers.0.d_q_proj+k_proj+v_proj[4096:6144] layers.0.d_q_proj+k_proj+v_proj[6144:8192] layers.0.q_proj+k_proj+v_proj[0:4096] layers.0.q_proj+k_proj+v_proj[4096:6144] layers.0.q_proj+k_proj+v_proj[6144:8192] layers.0.d_attention layers.0.lse layers.0.delta doc_start doc_end
#define ELEM_BF16 1
#define KERNEL_NAME k16_attention_dkdv
#define HEAD_DIM 256
#define GROUP 2
#define WINDOW 4096
#define BOUNDED 1
#define TILE_Q 64
#define TILE_K 64
#define WARPS 12
#define STAGES 2
#define MIN_BLOCKS 0

@prelude.cu
@mma.cu
@wgmma.cu
@attention_tiles.cu
@attention_sm90.cu
@score_gradients.cu
// The score of a pair, s = q k, distance = q - k in tokens, head = the query head: (50*tanh((0.00125*s))), traced from the model; in units of log2.
__device__ __forceinline__ float score_log2(float s, float distance, float head)
{
    return 72.1347504f * fast_tanh(0.00124999997f * s);
}

// The same, and d(score)/ds in natural units, from shared work.
__device__ __forceinline__ void score_log2_and_derivative(float s, float distance, float head, float& z, float& dz)
{
    const float t = fast_tanh(0.00124999997f * s);
    z = 72.1347504f * t;
    dz = 0.0625f * (1.0f - t * t);
}


@attention_dkdv_sm90.cu
@attention_dkdv_sm90_d256.cu

// ======== k17_attention_dq
// k17_attention_dq <sm_90a>  launches: 1
//   %374 = attention_grad_q %26 %28 %29 %369 %370 %371 {score=(50*tanh((0.00125*s))) window=4096} : act[T,16,256]  // layers.0.self_attn d_q_proj
// tensors of the first launch: layers.0.d_q_proj+k_proj+v_proj[0:4096] layers.0.q_proj+k_proj+v_proj[0:4096] layers.0.q_proj+k_proj+v_proj[4096:6144] layers.0.q_proj+k_proj+v_proj[6144:8192] layers.0.d_attention layers.0.lse layers.0.delta doc_start
#define ELEM_BF16 1
#define KERNEL_NAME k17_attention_dq
#define HEAD_DIM 256
#define GROUP 2
#define WINDOW 4096
#define BOUNDED 1
#define TILE_Q 128
#define TILE_K 64
#define WARPS 12
#define STAGES 2
#define MIN_BLOCKS 0

@prelude.cu
@mma.cu
@wgmma.cu
@attention_tiles.cu
@attention_sm90.cu
// The score of a pair, s = q k, distance = q - k in tokens, head = the query head: (50*tanh((0.00125*s))), traced from the model; in units of log2.
__device__ __forceinline__ float score_log2(float s, float distance, float head)
{
    return 72.1347504f * fast_tanh(0.00124999997f * s);
}

// The same, and d(score)/ds in natural units, from shared work.
__device__ __forceinline__ void score_log2_and_derivative(float s, float distance, float head, float& z, float& dz)
{
    const float t = fast_tanh(0.00124999997f * s);
    z = 72.1347504f * t;
    dz = 0.0625f * (1.0f - t * t);
}


@attention_softmax.cu
@attention_dq_sm90.cu

// ======== k17_attention_dq_from_ds
// k17_attention_dq <sm_90a>  launches: 1
//   %374 = attention_grad_q %26 %28 %29 %369 %370 %371 {score=(50*tanh((0.00125*s))) window=4096} : act[T,16,256]  // layers.0.self_attn d_q_proj
// tensors of the first launch: layers.0.d_q_proj+k_proj+v_proj[0:4096] layers.0.q_proj+k_proj+v_proj[0:4096] layers.0.q_proj+k_proj+v_proj[4096:6144] layers.0.q_proj+k_proj+v_proj[6144:8192] layers.0.d_attention layers.0.lse layers.0.delta doc_start
#define ELEM_BF16 1
#define KERNEL_NAME k17_attention_dq_from_ds
#define HEAD_DIM 256
#define GROUP 2
#define WINDOW 4096
#define BOUNDED 0
#define TILE_Q 64
#define TILE_K 64
#define WARPS 12
#define STAGES 4
#define MIN_BLOCKS 0

@prelude.cu
@mma.cu
@wgmma.cu
@attention_tiles.cu
@attention_sm90.cu
@score_gradients.cu
@attention_dq_from_ds_sm90.cu

// ======== k18_embedding
// k18_embedding <sm_90a>  recompute only
//   %2 = embedding %0 %1 : act[T,3584]  // Gemma2Model.Forward embedding
//   %4 = mul %2 %3 : act[T,3584]  // Gemma2Model.Forward embedding
// tensors of the first launch: embedding ids model.embed_tokens.weight
// 14336 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1

@prelude.cu
extern "C" __global__ void __launch_bounds__(448)
k18_embedding(elem* __restrict__ embedding_rows, int embedding_pitch,
    const int* __restrict__ embed_tokens_ids, const elem* __restrict__ embed_tokens_table, int embed_tokens_pitch,
    int rows)
{
    const int64 row = blockIdx.x;
    const int column = (blockIdx.y * 448 + threadIdx.x) * 8;

    float embed_tokens[8];
    load8(embed_tokens_table + (int64)embed_tokens_ids[row] * embed_tokens_pitch + column, embed_tokens);

    // mul
    float embedding[8];
    for (int j = 0; j < 8; j++) embedding[j] = embed_tokens[j] * round_elem(59.8665199f);
    store8(embedding_rows + row * embedding_pitch + column, embedding);
}


// ======== k19_input_layernorm
// k19_input_layernorm <sm_90a>  recompute only
//   %6 = mul %4 %4 : act[T,3584]  // layers.0.self_attn input_layernorm_mul
//   %8 = row_sum %6 : f32[T,1]  // layers.0.self_attn input_layernorm_row_sum
//   %9 = mul %7 %8 : f32[T,1]  // layers.0.self_attn input_layernorm_mul
//   %11 = add %9 %10 : f32[T,1]  // layers.0.self_attn input_layernorm_add
//   %12 = rsqrt %11 : f32[T,1]  // layers.0.self_attn input_layernorm_rsqrt
//   %13 = mul %4 %12 : act[T,3584]  // layers.0.self_attn input_layernorm_mul
//   %16 = mul %13 %15 : act[T,3584]  // layers.0.self_attn input_layernorm
// tensors of the first launch: layers.0.input_layernorm embedding model.layers.0.input_layernorm.weight
// 14336 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(448)
k19_input_layernorm(elem* __restrict__ input_layernorm_rows, int input_layernorm_pitch,
    const elem* __restrict__ embedding_rows, int embedding_pitch,
    const elem* __restrict__ input_layernorm_weight_vector,
    int rows)
{
    __shared__ float scratch[2][WARP_SIZE];
    const int column = threadIdx.x * 8;

    // What a row needs is loaded while the row before it is reduced, so that loads are always in flight.
    const int first = blockIdx.x * 3, end = min(first + 3, rows);
    uint4 embedding_next = packed8(embedding_rows + (int64)first * embedding_pitch + column);

    // Vectors that all rows share. A thread reads back what it wrote itself; registers would cost a block per multiprocessor.
    __shared__ uint4 vectors[1][448];
    vectors[0][threadIdx.x] = packed8(input_layernorm_weight_vector + column);

    int row = first;
#pragma unroll 1
    do
    {
        float embedding[8];
        unpack8(embedding_next, embedding);
        if (row + 1 < end)
        {
            embedding_next = packed8(embedding_rows + (int64)(row + 1) * embedding_pitch + column);
        }

        // row_sum
        float input_layernorm_row_sum_part = 0.0f;
        for (int j = 0; j < 8; j++) input_layernorm_row_sum_part += embedding[j] * embedding[j];
        const float input_layernorm_row_sum = row_block_sum(input_layernorm_row_sum_part, scratch[row & 1]);
        const float input_layernorm_mul = 0.00027901787f * input_layernorm_row_sum;
        const float input_layernorm_add = input_layernorm_mul + 9.99999997E-07f;
        const float input_layernorm_rsqrt = rsqrtf(input_layernorm_add);

        float input_layernorm_weight[8];
        unpack8(vectors[0][threadIdx.x], input_layernorm_weight);

        // mul
        float input_layernorm[8];
        for (int j = 0; j < 8; j++) input_layernorm[j] = embedding[j] * input_layernorm_rsqrt * (1.0f + input_layernorm_weight[j]);
        store8(input_layernorm_rows + (int64)row * input_layernorm_pitch + column, input_layernorm);
    }
    while (++row < end);
}


// ======== k20_residual
// k20_residual <sm_90a>  recompute only
//   %43 = mul %36 %42 : act[T,3584]  // layers.0.self_attn post_attention_layernorm_mul
//   %45 = mul %43 %44 : act[T,3584]  // layers.0.self_attn post_attention_layernorm
//   %46 = add %4 %45 : act[T,3584]  // layers.0.self_attn residual
// tensors of the first launch: layers.0.residual layers.0.o_proj layers.0.post_attention_layernorm_rsqrt model.layers.0.post_attention_layernorm.weight embedding
// 21508 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1

@prelude.cu
extern "C" __global__ void __launch_bounds__(448)
k20_residual(elem* __restrict__ residual_rows, int residual_pitch,
    const elem* __restrict__ o_proj_rows, int o_proj_pitch,
    const float* __restrict__ post_attention_layernorm_rsqrt_rows,
    const elem* __restrict__ post_attention_layernorm_weight_vector,
    const elem* __restrict__ embedding_rows, int embedding_pitch,
    int rows)
{
    const int64 row = blockIdx.x;
    const int column = (blockIdx.y * 448 + threadIdx.x) * 8;

    float o_proj[8];
    load8(o_proj_rows + row * o_proj_pitch + column, o_proj);
    const float post_attention_layernorm_rsqrt = post_attention_layernorm_rsqrt_rows[row];
    float post_attention_layernorm_weight[8];
    load8(post_attention_layernorm_weight_vector + column, post_attention_layernorm_weight);
    float embedding[8];
    load8(embedding_rows + row * embedding_pitch + column, embedding);

    // add
    float residual[8];
    for (int j = 0; j < 8; j++) residual[j] = embedding[j] + o_proj[j] * post_attention_layernorm_rsqrt * (1.0f + post_attention_layernorm_weight[j]);
    store8(residual_rows + row * residual_pitch + column, residual);
}


// ======== k21_pre_feedforward_layernorm
// k21_pre_feedforward_layernorm <sm_90a>  recompute only
//   %53 = mul %46 %52 : act[T,3584]  // layers.0.mlp pre_feedforward_layernorm_mul
//   %55 = mul %53 %54 : act[T,3584]  // layers.0.mlp pre_feedforward_layernorm
// tensors of the first launch: layers.0.pre_feedforward_layernorm layers.0.residual layers.0.pre_feedforward_layernorm_rsqrt model.layers.0.pre_feedforward_layernorm.weight
// 14340 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1

@prelude.cu
extern "C" __global__ void __launch_bounds__(448)
k21_pre_feedforward_layernorm(elem* __restrict__ pre_feedforward_layernorm_rows, int pre_feedforward_layernorm_pitch,
    const elem* __restrict__ residual_rows, int residual_pitch,
    const float* __restrict__ pre_feedforward_layernorm_rsqrt_rows,
    const elem* __restrict__ pre_feedforward_layernorm_weight_vector,
    int rows)
{
    const int64 row = blockIdx.x;
    const int column = (blockIdx.y * 448 + threadIdx.x) * 8;

    float residual[8];
    load8(residual_rows + row * residual_pitch + column, residual);
    const float pre_feedforward_layernorm_rsqrt = pre_feedforward_layernorm_rsqrt_rows[row];
    float pre_feedforward_layernorm_weight[8];
    load8(pre_feedforward_layernorm_weight_vector + column, pre_feedforward_layernorm_weight);

    // mul
    float pre_feedforward_layernorm[8];
    for (int j = 0; j < 8; j++) pre_feedforward_layernorm[j] = residual[j] * pre_feedforward_layernorm_rsqrt * (1.0f + pre_feedforward_layernorm_weight[j]);
    store8(pre_feedforward_layernorm_rows + row * pre_feedforward_layernorm_pitch + column, pre_feedforward_layernorm);
}


// ======== k22_norm
// k22_norm <sm_90a>  recompute only
//   %165 = mul %158 %164 : act[T,3584]  // layers.1.mlp post_feedforward_layernorm_mul
//   %167 = mul %165 %166 : act[T,3584]  // layers.1.mlp post_feedforward_layernorm
//   %168 = add %128 %167 : act[T,3584]  // layers.1.mlp residual
//   %175 = mul %168 %174 : act[T,3584]  // Gemma2Model.Forward norm_mul
//   %177 = mul %175 %176 : act[T,3584]  // Gemma2Model.Forward norm
// tensors of the first launch: norm layers.1.down_proj layers.1.post_feedforward_layernorm_rsqrt model.layers.1.post_feedforward_layernorm.weight layers.1.residual norm_rsqrt model.norm.weight
// 21512 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1

@prelude.cu
extern "C" __global__ void __launch_bounds__(448)
k22_norm(elem* __restrict__ norm_rows, int norm_pitch,
    const elem* __restrict__ down_proj_rows, int down_proj_pitch,
    const float* __restrict__ post_feedforward_layernorm_rsqrt_rows,
    const elem* __restrict__ post_feedforward_layernorm_weight_vector,
    const elem* __restrict__ residual_rows, int residual_pitch,
    const float* __restrict__ norm_rsqrt_rows,
    const elem* __restrict__ norm_weight_vector,
    int rows)
{
    const int64 row = blockIdx.x;
    const int column = (blockIdx.y * 448 + threadIdx.x) * 8;

    float down_proj[8];
    load8(down_proj_rows + row * down_proj_pitch + column, down_proj);
    const float post_feedforward_layernorm_rsqrt = post_feedforward_layernorm_rsqrt_rows[row];
    float post_feedforward_layernorm_weight[8];
    load8(post_feedforward_layernorm_weight_vector + column, post_feedforward_layernorm_weight);
    float residual[8];
    load8(residual_rows + row * residual_pitch + column, residual);
    const float norm_rsqrt = norm_rsqrt_rows[row];
    float norm_weight[8];
    load8(norm_weight_vector + column, norm_weight);

    // mul
    float norm[8];
    for (int j = 0; j < 8; j++) norm[j] = (residual[j] + down_proj[j] * post_feedforward_layernorm_rsqrt * (1.0f + post_feedforward_layernorm_weight[j])) * norm_rsqrt * (1.0f + norm_weight[j]);
    store8(norm_rows + row * norm_pitch + column, norm);
}


// ======== gemm_nt_k01_rope
// gemm_nt_k01_rope <sm_90a>  k01_rope on the tiles of the product before it, which the schedule keeps as two launches
//   %26 = rope %25 {theta=10000} : act[T,16,256]  // layers.0.self_attn q_proj
//   %28 = rope %27 {theta=10000} : act[T,8,256]  // layers.0.self_attn k_proj
// tensors of the first launch: layers.0.q_proj+k_proj+v_proj[0:6144] positions
#define ELEM_BF16 1
#define KERNEL_NAME gemm_nt_k01_rope
#define LAYOUT 0
#define TILE_M 128
#define TILE_N 256
#define TILE_K 64
#define STAGES 3
#define PANELS 4
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

// ======== gemm_nt_k04_geglu
// gemm_nt_k04_geglu <sm_90a>  k04_geglu on the tiles of the product before it, which the schedule keeps as two launches
//   %66 = mul %61 %61 : act[T,14336]  // layers.0.mlp gelu_tanh_mul
//   %67 = mul %65 %66 : act[T,14336]  // layers.0.mlp gelu_tanh_mul
//   %68 = add %64 %67 : act[T,14336]  // layers.0.mlp gelu_tanh_add
//   %69 = mul %61 %68 : act[T,14336]  // layers.0.mlp gelu_tanh_mul
//   %70 = tanh %69 : act[T,14336]  // layers.0.mlp gelu_tanh_tanh
//   %71 = mul %63 %70 : act[T,14336]  // layers.0.mlp gelu_tanh_mul
//   %72 = add %63 %71 : act[T,14336]  // layers.0.mlp gelu_tanh_add
//   %73 = mul %61 %72 : act[T,14336]  // layers.0.mlp gelu_tanh
//   %74 = mul %73 %62 : act[T,14336]  // layers.0.mlp geglu
// tensors of the first launch: layers.0.geglu layers.0.gate_proj+up_proj[0:14336] layers.0.gate_proj+up_proj[14336:28672]
#define ELEM_BF16 1
#define KERNEL_NAME gemm_nt_k04_geglu
#define LAYOUT 0
#define TILE_M 128
#define TILE_N 256
#define TILE_K 64
#define STAGES 3
#define PANELS 4
#define EPILOGUE 1
#define PAIR 2
#define HALVES 1
#define SUMS 0

@prelude.cu
@mma.cu
@wgmma.cu
// What k04_geglu writes, and reads besides the product.
struct Epilogue
{
    elem* geglu_rows; int geglu_pitch;
};

struct Beside {};

__device__ __forceinline__ Beside load_beside(const Epilogue& arguments, int64 row, int column)
{
    return {};
}

// k04_geglu on 8 columns of a row; gate_proj and up_proj: the product's left and right half.
__device__ __forceinline__ void epilogue(const Epilogue& arguments, const Beside& beside, int64 row, int column, const float (&gate_proj)[8], const float (&up_proj)[8])
{

    // mul
    float geglu[8];
    for (int j = 0; j < 8; j++) geglu[j] = gate_proj[j] * (0.5f + 0.5f * fast_tanh(gate_proj[j] * (0.797884583f + 0.0356774069f * gate_proj[j] * gate_proj[j]))) * up_proj[j];
    store8(arguments.geglu_rows + row * arguments.geglu_pitch + column, geglu);
}


@gemm_sm90.cu

// ======== gemm_nn_k09_d_up_proj_d_gate_proj
// gemm_nn_k09_d_up_proj_d_gate_proj <sm_90a>  k09_d_up_proj_d_gate_proj on the tiles of the product before it, which the schedule keeps as two launches
//   %145 = mul %143 %143 : act[T,14336]  // layers.1.mlp gelu_tanh_mul
//   %146 = mul %65 %145 : act[T,14336]  // layers.1.mlp gelu_tanh_mul
//   %147 = add %64 %146 : act[T,14336]  // layers.1.mlp gelu_tanh_add
//   %148 = mul %143 %147 : act[T,14336]  // layers.1.mlp gelu_tanh_mul
//   %149 = tanh %148 : act[T,14336]  // layers.1.mlp gelu_tanh_tanh
//   %150 = mul %63 %149 : act[T,14336]  // layers.1.mlp gelu_tanh_mul
//   %151 = add %63 %150 : act[T,14336]  // layers.1.mlp gelu_tanh_add
//   %152 = mul %143 %151 : act[T,14336]  // layers.1.mlp gelu_tanh
//   %214 = mul %213 %144 : act[T,14336]  // layers.1.mlp d_gelu_tanh
//   %215 = mul %213 %152 : act[T,14336]  // layers.1.mlp d_up_proj
//   %216 = mul %214 %151 : act[T,14336]  // layers.1.mlp d_gate_proj
//   %217 = mul %214 %143 : act[T,14336]  // layers.1.mlp d_gelu_tanh_add
//   %218 = mul %217 %63 : act[T,14336]  // layers.1.mlp d_gelu_tanh_tanh
//   %219 = mul %149 %149 : act[T,14336]  // layers.1.mlp d_gelu_tanh_tanh_mul
//   %220 = sub %14 %219 : act[T,14336]  // layers.1.mlp d_gelu_tanh_tanh_sub
//   %221 = mul %218 %220 : act[T,14336]  // layers.1.mlp d_gelu_tanh_mul
//   %222 = mul %221 %147 : act[T,14336]  // layers.1.mlp d_gate_proj
//   %223 = mul %221 %143 : act[T,14336]  // layers.1.mlp d_gelu_tanh_add
//   %224 = mul %223 %65 : act[T,14336]  // layers.1.mlp d_gelu_tanh_mul
//   %225 = mul %192 %224 : act[T,14336]  // layers.1.mlp d_gelu_tanh_mul_mul
//   %226 = mul %225 %143 : act[T,14336]  // layers.1.mlp d_gate_proj
//   %227 = add %216 %222 : act[T,14336]  // layers.1.mlp add
//   %228 = add %227 %226 : act[T,14336]  // layers.1.mlp d_gate_proj
// tensors of the first launch: layers.1.d_gate_proj+up_proj[14336:28672] layers.1.d_gate_proj+up_proj[0:14336] layers.1.gate_proj+up_proj[0:14336] layers.1.d_geglu layers.1.gate_proj+up_proj[14336:28672]
#define ELEM_BF16 1
#define KERNEL_NAME gemm_nn_k09_d_up_proj_d_gate_proj
#define LAYOUT 1
#define TILE_M 128
#define TILE_N 256
#define TILE_K 64
#define STAGES 3
#define PANELS 4
#define EPILOGUE 1
#define PAIR 0
#define HALVES 0
#define SUMS 0

@prelude.cu
@mma.cu
@wgmma.cu
// What k09_d_up_proj_d_gate_proj writes, and reads besides the product.
struct Epilogue
{
    elem* d_up_proj_rows; int d_up_proj_pitch;
    elem* d_gate_proj_rows; int d_gate_proj_pitch;
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

// k09_d_up_proj_d_gate_proj on 8 columns of a row; d_geglu: the product.
__device__ __forceinline__ void epilogue(const Epilogue& arguments, const Beside& beside, int64 row, int column, const float (&d_geglu)[8])
{
    float gate_proj[8];
    unpack8(beside.gate_proj, gate_proj);
    float up_proj[8];
    unpack8(beside.up_proj, up_proj);

    // add
    float gelu_tanh_add[8];
    for (int j = 0; j < 8; j++) gelu_tanh_add[j] = 0.797884583f + 0.0356774069f * gate_proj[j] * gate_proj[j];

    // tanh
    float gelu_tanh_tanh[8];
    for (int j = 0; j < 8; j++) gelu_tanh_tanh[j] = fast_tanh(gate_proj[j] * gelu_tanh_add[j]);

    // add
    float gelu_tanh_add2[8];
    for (int j = 0; j < 8; j++) gelu_tanh_add2[j] = 0.5f + 0.5f * gelu_tanh_tanh[j];

    // mul
    float d_gelu_tanh[8];
    for (int j = 0; j < 8; j++) d_gelu_tanh[j] = d_geglu[j] * up_proj[j];

    // mul
    float d_up_proj[8];
    for (int j = 0; j < 8; j++) d_up_proj[j] = d_geglu[j] * gate_proj[j] * gelu_tanh_add2[j];
    store8(arguments.d_up_proj_rows + row * arguments.d_up_proj_pitch + column, d_up_proj);

    // mul
    float d_gelu_tanh_mul[8];
    for (int j = 0; j < 8; j++) d_gelu_tanh_mul[j] = 0.5f * d_gelu_tanh[j] * gate_proj[j] * (1.0f - gelu_tanh_tanh[j] * gelu_tanh_tanh[j]);

    // add
    float d_gate_proj[8];
    for (int j = 0; j < 8; j++) d_gate_proj[j] = d_gelu_tanh[j] * gelu_tanh_add2[j] + d_gelu_tanh_mul[j] * gelu_tanh_add[j] + 0.0713548139f * d_gelu_tanh_mul[j] * gate_proj[j] * gate_proj[j];
    store8(arguments.d_gate_proj_rows + row * arguments.d_gate_proj_pitch + column, d_gate_proj);
}


@gemm_sm90.cu

// ======== gemm_nn_k11_attention_delta
// gemm_nn_k11_attention_delta <sm_90a>  k11_attention_delta on the tiles of the product before it, which the schedule keeps as two launches
//   %269 = attention_delta %112 %267 : f32[T,16]  // layers.1.self_attn delta
// tensors of the first launch: layers.1.delta layers.1.attention layers.1.d_attention
#define ELEM_BF16 1
#define KERNEL_NAME gemm_nn_k11_attention_delta
#define LAYOUT 1
#define TILE_M 128
#define TILE_N 256
#define TILE_K 64
#define STAGES 3
#define PANELS 4
#define EPILOGUE 1
#define PAIR 0
#define HALVES 0
#define SUMS 256

@prelude.cu
@mma.cu
@wgmma.cu
@attention_delta_epilogue.cu
@gemm_sm90.cu

// ======== gemm_nt_k07_cross_entropy
// gemm_nt_k07_cross_entropy <sm_90a>  the sums of k07_cross_entropy on the tiles of the product before it, which the schedule keeps as one launch
//   %179 = linear_cross_entropy %177 %1 %178 {logit=(30*tanh((0.03333333333333333*s)))} : f32[T,1]  // loss
// tensors of the first launch: norm model.embed_tokens.weight loss
#define ELEM_BF16 1
#define KERNEL_NAME gemm_nt_k07_cross_entropy
#define LAYOUT 0
#define TILE_M 128
#define TILE_N 256
#define TILE_K 64
#define STAGES 3
#define PANELS 4
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

// ======== k07_cross_entropy_from_sums
// k07_cross_entropy <sm_90a>  launches: 1
//   %179 = linear_cross_entropy %177 %1 %178 {logit=(30*tanh((0.03333333333333333*s)))} : f32[T,1]  // loss
// tensors of the first launch: norm model.embed_tokens.weight loss
#define ELEM_BF16 1
#define KERNEL_NAME k07_cross_entropy_from_sums
#define VOCAB 256000
#define THREADS 512
#define PARTS 8
#define THREAD_CHUNKS 8
#define MIN_BLOCKS 2
#define SUMS 1000

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
#define KERNEL_NAME gemm_nt
#define LAYOUT 0
#define TILE_M 128
#define TILE_N 256
#define TILE_K 64
#define STAGES 4
#define PANELS 2
#define EPILOGUE 0
#define PAIR 0
#define HALVES 0
#define SUMS 0

@prelude.cu
@mma.cu
@wgmma.cu
@gemm_sm90.cu

// ======== gemm_nt_n192
#define ELEM_BF16 1
#define KERNEL_NAME gemm_nt_n192
#define LAYOUT 0
#define TILE_M 128
#define TILE_N 192
#define TILE_K 64
#define STAGES 4
#define PANELS 3
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
#define KERNEL_NAME gemm_nn
#define LAYOUT 1
#define TILE_M 128
#define TILE_N 256
#define TILE_K 64
#define STAGES 4
#define PANELS 2
#define EPILOGUE 0
#define PAIR 0
#define HALVES 0
#define SUMS 0

@prelude.cu
@mma.cu
@wgmma.cu
@gemm_sm90.cu

// ======== gemm_nn_n192
#define ELEM_BF16 1
#define KERNEL_NAME gemm_nn_n192
#define LAYOUT 1
#define TILE_M 128
#define TILE_N 192
#define TILE_K 64
#define STAGES 4
#define PANELS 3
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

// ======== gemm_tn_f32_add
#define ELEM_BF16 1
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
#define KERNEL_NAME rank_gradients_r16
#define RANK 16
#define TILE_T 32
#define TILE_N 512
#define WARPS 8
#define STAGES 4
#define MOST_TILES 2

@prelude.cu
@mma.cu
@rank_stripes.cu
@rank_gradients.cu

// ======== rank_sum_r16
#define ELEM_BF16 1
#define KERNEL_NAME rank_sum_r16
#define RANK 16
#define TILE_T 32
#define TILE_N 512

@prelude.cu
@rank_stripes.cu
@rank_sum.cu

// ======== rank_gradients_r32
#define ELEM_BF16 1
#define KERNEL_NAME rank_gradients_r32
#define RANK 32
#define TILE_T 32
#define TILE_N 512
#define WARPS 8
#define STAGES 4
#define MOST_TILES 1

@prelude.cu
@mma.cu
@rank_stripes.cu
@rank_gradients.cu

// ======== rank_sum_r32
#define ELEM_BF16 1
#define KERNEL_NAME rank_sum_r32
#define RANK 32
#define TILE_T 32
#define TILE_N 512

@prelude.cu
@rank_stripes.cu
@rank_sum.cu

// ======== gather_label_rows
#define ELEM_BF16 1
#define ROWS 8

@prelude.cu
@label_rows.cu

// ======== scatter_label_rows
#define ELEM_BF16 1
#define ROWS 8

@prelude.cu
@label_rows.cu

// ======== gradient_norm_partials
#define ELEM_BF16 1

@prelude.cu
@segments.cu
@gradient_norm.cu

// ======== gradient_norm
#define ELEM_BF16 1

@prelude.cu
@segments.cu
@gradient_norm.cu

// ======== adamw
#define ELEM_BF16 1

@prelude.cu
@segments.cu
@adamw.cu

// ======== cast_adapters
#define ELEM_BF16 1

@prelude.cu
@segments.cu
@adamw.cu

// ======== loss_sum
#define ELEM_BF16 1

@prelude.cu
@segments.cu
@loss_sum.cu

