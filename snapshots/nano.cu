// ======== k00_embedding_input_layernorm
// k00_embedding_input_layernorm <sm_90a>  launches: 1
//   %2 = embedding %0 %1 : act[T,128]  // Gemma2Model.Forward embedding
//   %4 = mul %2 %3 : act[T,128]  // Gemma2Model.Forward embedding
//   %6 = mul %4 %4 : act[T,128]  // layers.0.self_attn input_layernorm_mul
//   %8 = row_sum %6 : f32[T,1]  // layers.0.self_attn input_layernorm_row_sum
//   %9 = mul %7 %8 : f32[T,1]  // layers.0.self_attn input_layernorm_mul
//   %11 = add %9 %10 : f32[T,1]  // layers.0.self_attn input_layernorm_add
//   %12 = rsqrt %11 : f32[T,1]  // layers.0.self_attn input_layernorm_rsqrt
//   %13 = mul %4 %12 : act[T,128]  // layers.0.self_attn input_layernorm_mul
//   %16 = mul %13 %15 : act[T,128]  // layers.0.self_attn input_layernorm
// tensors of the first launch: embedding layers.0.input_layernorm ids model.embed_tokens.weight model.layers.0.input_layernorm.weight
// 768 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(32)
k00_embedding_input_layernorm(elem* __restrict__ embedding_rows, int embedding_pitch,
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
        float embedding[8];
        for (int j = 0; j < 8; j++) embedding[j] = embed_tokens[j] * round_elem(11.3137083f);
        if (inside) store8(embedding_rows + (int64)row * embedding_pitch + column, embedding);
        for (int j = 0; j < 8; j++) embedding[j] = round_elem(embedding[j]);

        // row_sum
        float input_layernorm_row_sum_part = 0.0f;
        if (inside) for (int j = 0; j < 8; j++) input_layernorm_row_sum_part += embedding[j] * embedding[j];
        const float input_layernorm_row_sum = row_block_sum(input_layernorm_row_sum_part, scratch[row & 1]);
        const float input_layernorm_mul = 0.0078125f * input_layernorm_row_sum;
        const float input_layernorm_add = input_layernorm_mul + 9.99999997E-07f;
        const float input_layernorm_rsqrt = rsqrtf(input_layernorm_add);

        float input_layernorm_weight[8];
        unpack8(vectors[0][threadIdx.x], input_layernorm_weight);

        // mul
        float input_layernorm[8];
        for (int j = 0; j < 8; j++) input_layernorm[j] = embedding[j] * input_layernorm_rsqrt * (1.0f + input_layernorm_weight[j]);
        if (inside) store8(input_layernorm_rows + (int64)row * input_layernorm_pitch + column, input_layernorm);
    }
    while (++row < end);
}


// ======== k01_rope
// k01_rope <sm_90a>  launches: 4
//   %26 = rope %25 {theta=10000} : act[T,4,32]  // layers.0.self_attn q_proj
//   %28 = rope %27 {theta=10000} : act[T,2,32]  // layers.0.self_attn k_proj
// tensors of the first launch: layers.0.q_proj+k_proj+v_proj[0:192] positions
#define ELEM_BF16 1
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
//   %30 = attention %26 %28 %29 {score=(50*tanh((0.0035355339059327372*s))) window=16} : act[T,4,32]  // layers.0.self_attn attention
// tensors of the first launch: layers.0.attention layers.0.lse layers.0.q_proj+k_proj+v_proj[0:128] layers.0.q_proj+k_proj+v_proj[128:192] layers.0.q_proj+k_proj+v_proj[192:256] doc_start
#define ELEM_BF16 1
#define KERNEL_NAME k02_attention_forward
#define HEAD_DIM 32
#define GROUP 2
#define WINDOW 16
#define BOUNDED 1
#define TILE_Q 64
#define TILE_K 64
#define WARPS 4
#define STAGES 1
#define MIN_BLOCKS 2

@prelude.cu
@mma.cu
@attention_tiles.cu
@attention_mma.cu
// The score of a pair, s = q k, distance = q - k in tokens, head = the query head: (50*tanh((0.0035355339059327372*s))), traced from the model; in units of log2.
__device__ __forceinline__ float score_log2(float s, float distance, float head)
{
    return 72.1347504f * fast_tanh(0.00353553379f * s);
}

// The same, and d(score)/ds in natural units, from shared work.
__device__ __forceinline__ void score_log2_and_derivative(float s, float distance, float head, float& z, float& dz)
{
    const float t = fast_tanh(0.00353553379f * s);
    z = 72.1347504f * t;
    dz = 0.176776692f * (1.0f - t * t);
}


@attention_softmax.cu
@attention_forward.cu

// ======== k03_residual_pre_feedforward_layernorm
// k03_residual_pre_feedforward_layernorm <sm_90a>  launches: 7
//   %38 = mul %36 %36 : act[T,128]  // layers.0.self_attn post_attention_layernorm_mul
//   %39 = row_sum %38 : f32[T,1]  // layers.0.self_attn post_attention_layernorm_row_sum
//   %40 = mul %7 %39 : f32[T,1]  // layers.0.self_attn post_attention_layernorm_mul
//   %41 = add %40 %10 : f32[T,1]  // layers.0.self_attn post_attention_layernorm_add
//   %42 = rsqrt %41 : f32[T,1]  // layers.0.self_attn post_attention_layernorm_rsqrt
//   %43 = mul %36 %42 : act[T,128]  // layers.0.self_attn post_attention_layernorm_mul
//   %45 = mul %43 %44 : act[T,128]  // layers.0.self_attn post_attention_layernorm
//   %46 = add %4 %45 : act[T,128]  // layers.0.self_attn residual
//   %48 = mul %46 %46 : act[T,128]  // layers.0.mlp pre_feedforward_layernorm_mul
//   %49 = row_sum %48 : f32[T,1]  // layers.0.mlp pre_feedforward_layernorm_row_sum
//   %50 = mul %7 %49 : f32[T,1]  // layers.0.mlp pre_feedforward_layernorm_mul
//   %51 = add %50 %10 : f32[T,1]  // layers.0.mlp pre_feedforward_layernorm_add
//   %52 = rsqrt %51 : f32[T,1]  // layers.0.mlp pre_feedforward_layernorm_rsqrt
//   %53 = mul %46 %52 : act[T,128]  // layers.0.mlp pre_feedforward_layernorm_mul
//   %55 = mul %53 %54 : act[T,128]  // layers.0.mlp pre_feedforward_layernorm
// tensors of the first launch: layers.0.post_attention_layernorm_rsqrt layers.0.residual layers.0.pre_feedforward_layernorm_rsqrt layers.0.pre_feedforward_layernorm layers.0.o_proj model.layers.0.post_attention_layernorm.weight embedding model.layers.0.pre_feedforward_layernorm.weight
// 1032 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(32)
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
    const bool inside = column < 128;

    // What a row needs is loaded while the row before it is reduced, so that loads are always in flight.
    const int first = blockIdx.x * 3, end = min(first + 3, rows);
    uint4 o_proj_next = {};
    if (inside) o_proj_next = packed8(o_proj_rows + (int64)first * o_proj_pitch + column);
    uint4 embedding_next = {};
    if (inside) embedding_next = packed8(embedding_rows + (int64)first * embedding_pitch + column);

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
        float embedding[8];
        unpack8(embedding_next, embedding);
        if (row + 1 < end)
        {
            if (inside) o_proj_next = packed8(o_proj_rows + (int64)(row + 1) * o_proj_pitch + column);
            if (inside) embedding_next = packed8(embedding_rows + (int64)(row + 1) * embedding_pitch + column);
        }

        // row_sum
        float post_attention_layernorm_row_sum_part = 0.0f;
        if (inside) for (int j = 0; j < 8; j++) post_attention_layernorm_row_sum_part += o_proj[j] * o_proj[j];
        const float post_attention_layernorm_row_sum = row_block_sum(post_attention_layernorm_row_sum_part, scratch[0]);
        const float post_attention_layernorm_mul = 0.0078125f * post_attention_layernorm_row_sum;
        const float post_attention_layernorm_add = post_attention_layernorm_mul + 9.99999997E-07f;
        const float post_attention_layernorm_rsqrt = rsqrtf(post_attention_layernorm_add);
        if (threadIdx.x == 0) post_attention_layernorm_rsqrt_rows[row] = post_attention_layernorm_rsqrt;

        float post_attention_layernorm_weight[8];
        unpack8(vectors[0][threadIdx.x], post_attention_layernorm_weight);

        // add
        float residual[8];
        for (int j = 0; j < 8; j++) residual[j] = embedding[j] + o_proj[j] * post_attention_layernorm_rsqrt * (1.0f + post_attention_layernorm_weight[j]);
        if (inside) store8(residual_rows + (int64)row * residual_pitch + column, residual);
        for (int j = 0; j < 8; j++) residual[j] = round_elem(residual[j]);

        // row_sum
        float pre_feedforward_layernorm_row_sum_part = 0.0f;
        if (inside) for (int j = 0; j < 8; j++) pre_feedforward_layernorm_row_sum_part += residual[j] * residual[j];
        const float pre_feedforward_layernorm_row_sum = row_block_sum(pre_feedforward_layernorm_row_sum_part, scratch[1]);
        const float pre_feedforward_layernorm_mul = 0.0078125f * pre_feedforward_layernorm_row_sum;
        const float pre_feedforward_layernorm_add = pre_feedforward_layernorm_mul + 9.99999997E-07f;
        const float pre_feedforward_layernorm_rsqrt = rsqrtf(pre_feedforward_layernorm_add);
        if (threadIdx.x == 0) pre_feedforward_layernorm_rsqrt_rows[row] = pre_feedforward_layernorm_rsqrt;

        float pre_feedforward_layernorm_weight[8];
        unpack8(vectors[1][threadIdx.x], pre_feedforward_layernorm_weight);

        // mul
        float pre_feedforward_layernorm[8];
        for (int j = 0; j < 8; j++) pre_feedforward_layernorm[j] = residual[j] * pre_feedforward_layernorm_rsqrt * (1.0f + pre_feedforward_layernorm_weight[j]);
        if (inside) store8(pre_feedforward_layernorm_rows + (int64)row * pre_feedforward_layernorm_pitch + column, pre_feedforward_layernorm);
    }
    while (++row < end);
}


// ======== k04_geglu
// k04_geglu <sm_90a>  launches: 4
//   %66 = mul %61 %61 : act[T,256]  // layers.0.mlp gelu_tanh_mul
//   %67 = mul %65 %66 : act[T,256]  // layers.0.mlp gelu_tanh_mul
//   %68 = add %64 %67 : act[T,256]  // layers.0.mlp gelu_tanh_add
//   %69 = mul %61 %68 : act[T,256]  // layers.0.mlp gelu_tanh_mul
//   %70 = tanh %69 : act[T,256]  // layers.0.mlp gelu_tanh_tanh
//   %71 = mul %63 %70 : act[T,256]  // layers.0.mlp gelu_tanh_mul
//   %72 = add %63 %71 : act[T,256]  // layers.0.mlp gelu_tanh_add
//   %73 = mul %61 %72 : act[T,256]  // layers.0.mlp gelu_tanh
//   %74 = mul %73 %62 : act[T,256]  // layers.0.mlp geglu
// tensors of the first launch: layers.0.geglu layers.0.gate_proj+up_proj[0:256] layers.0.gate_proj+up_proj[256:512]
// 1536 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1

@prelude.cu
extern "C" __global__ void __launch_bounds__(32)
k04_geglu(elem* __restrict__ geglu_rows, int geglu_pitch,
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
    float geglu[8];
    for (int j = 0; j < 8; j++) geglu[j] = gate_proj[j] * (0.5f + 0.5f * fast_tanh(gate_proj[j] * (0.797884583f + 0.0356774069f * gate_proj[j] * gate_proj[j]))) * up_proj[j];
    store8(geglu_rows + row * geglu_pitch + column, geglu);
}


// ======== k05_attention_forward
// k05_attention_forward <sm_90a>  launches: 2
//   %112 = attention %108 %110 %111 {score=(50*tanh((0.0035355339059327372*s)))} : act[T,4,32]  // layers.1.self_attn attention
// tensors of the first launch: layers.1.attention layers.1.lse layers.1.q_proj+k_proj+v_proj[0:128] layers.1.q_proj+k_proj+v_proj[128:192] layers.1.q_proj+k_proj+v_proj[192:256] doc_start
#define ELEM_BF16 1
#define KERNEL_NAME k05_attention_forward
#define HEAD_DIM 32
#define GROUP 2
#define WINDOW 0
#define BOUNDED 1
#define TILE_Q 64
#define TILE_K 64
#define WARPS 4
#define STAGES 1
#define MIN_BLOCKS 2

@prelude.cu
@mma.cu
@attention_tiles.cu
@attention_mma.cu
// The score of a pair, s = q k, distance = q - k in tokens, head = the query head: (50*tanh((0.0035355339059327372*s))), traced from the model; in units of log2.
__device__ __forceinline__ float score_log2(float s, float distance, float head)
{
    return 72.1347504f * fast_tanh(0.00353553379f * s);
}

// The same, and d(score)/ds in natural units, from shared work.
__device__ __forceinline__ void score_log2_and_derivative(float s, float distance, float head, float& z, float& dz)
{
    const float t = fast_tanh(0.00353553379f * s);
    z = 72.1347504f * t;
    dz = 0.176776692f * (1.0f - t * t);
}


@attention_softmax.cu
@attention_forward.cu

// ======== k06_norm
// k06_norm <sm_90a>  launches: 1
//   %318 = mul %316 %316 : act[T,128]  // layers.3.mlp post_feedforward_layernorm_mul
//   %319 = row_sum %318 : f32[T,1]  // layers.3.mlp post_feedforward_layernorm_row_sum
//   %320 = mul %7 %319 : f32[T,1]  // layers.3.mlp post_feedforward_layernorm_mul
//   %321 = add %320 %10 : f32[T,1]  // layers.3.mlp post_feedforward_layernorm_add
//   %322 = rsqrt %321 : f32[T,1]  // layers.3.mlp post_feedforward_layernorm_rsqrt
//   %323 = mul %316 %322 : act[T,128]  // layers.3.mlp post_feedforward_layernorm_mul
//   %325 = mul %323 %324 : act[T,128]  // layers.3.mlp post_feedforward_layernorm
//   %326 = add %286 %325 : act[T,128]  // layers.3.mlp residual
//   %328 = mul %326 %326 : act[T,128]  // Gemma2Model.Forward norm_mul
//   %329 = row_sum %328 : f32[T,1]  // Gemma2Model.Forward norm_row_sum
//   %330 = mul %7 %329 : f32[T,1]  // Gemma2Model.Forward norm_mul
//   %331 = add %330 %10 : f32[T,1]  // Gemma2Model.Forward norm_add
//   %332 = rsqrt %331 : f32[T,1]  // Gemma2Model.Forward norm_rsqrt
//   %333 = mul %326 %332 : act[T,128]  // Gemma2Model.Forward norm_mul
//   %335 = mul %333 %334 : act[T,128]  // Gemma2Model.Forward norm
// tensors of the first launch: layers.3.post_feedforward_layernorm_rsqrt norm_rsqrt norm layers.3.down_proj model.layers.3.post_feedforward_layernorm.weight layers.3.residual model.norm.weight
// 776 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(32)
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
    const bool inside = column < 128;

    // What a row needs is loaded while the row before it is reduced, so that loads are always in flight.
    const int first = blockIdx.x * 3, end = min(first + 3, rows);
    uint4 down_proj_next = {};
    if (inside) down_proj_next = packed8(down_proj_rows + (int64)first * down_proj_pitch + column);
    uint4 residual_next = {};
    if (inside) residual_next = packed8(residual_rows + (int64)first * residual_pitch + column);

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
        float residual[8];
        unpack8(residual_next, residual);
        if (row + 1 < end)
        {
            if (inside) down_proj_next = packed8(down_proj_rows + (int64)(row + 1) * down_proj_pitch + column);
            if (inside) residual_next = packed8(residual_rows + (int64)(row + 1) * residual_pitch + column);
        }

        // row_sum
        float post_feedforward_layernorm_row_sum_part = 0.0f;
        if (inside) for (int j = 0; j < 8; j++) post_feedforward_layernorm_row_sum_part += down_proj[j] * down_proj[j];
        const float post_feedforward_layernorm_row_sum = row_block_sum(post_feedforward_layernorm_row_sum_part, scratch[0]);
        const float post_feedforward_layernorm_mul = 0.0078125f * post_feedforward_layernorm_row_sum;
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
        if (inside) for (int j = 0; j < 8; j++) norm_row_sum_part += residual2[j] * residual2[j];
        const float norm_row_sum = row_block_sum(norm_row_sum_part, scratch[1]);
        const float norm_mul = 0.0078125f * norm_row_sum;
        const float norm_add = norm_mul + 9.99999997E-07f;
        const float norm_rsqrt = rsqrtf(norm_add);
        if (threadIdx.x == 0) norm_rsqrt_rows[row] = norm_rsqrt;

        float norm_weight[8];
        unpack8(vectors[1][threadIdx.x], norm_weight);

        // mul
        float norm[8];
        for (int j = 0; j < 8; j++) norm[j] = residual2[j] * norm_rsqrt * (1.0f + norm_weight[j]);
        if (inside) store8(norm_rows + (int64)row * norm_pitch + column, norm);
    }
    while (++row < end);
}


// ======== k07_cross_entropy
// k07_cross_entropy <sm_90a>  launches: 1
//   %337 = linear_cross_entropy %335 %1 %336 {logit=(30*tanh((0.03333333333333333*s)))} : f32[T,1]  // loss
// tensors of the first launch: norm model.embed_tokens.weight loss
#define ELEM_BF16 1
#define KERNEL_NAME k07_cross_entropy
#define VOCAB 4096
#define THREADS 1024
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

// ======== k08_d_residual_d_down_proj
// k08_d_residual_d_down_proj <sm_90a>  launches: 1
//   %323 = mul %316 %322 : act[T,128]  // layers.3.mlp post_feedforward_layernorm_mul
//   %325 = mul %323 %324 : act[T,128]  // layers.3.mlp post_feedforward_layernorm
//   %326 = add %286 %325 : act[T,128]  // layers.3.mlp residual
//   %340 = mul %339 %334 : act[T,128]  // Gemma2Model.Forward d_norm_mul
//   %341 = mul %340 %332 : act[T,128]  // Gemma2Model.Forward d_residual
//   %342 = mul %340 %326 : act[T,128]  // Gemma2Model.Forward d_norm_mul_mul
//   %343 = row_sum %342 : f32[T,1]  // Gemma2Model.Forward d_norm_rsqrt
//   %345 = mul %332 %332 : f32[T,1]  // Gemma2Model.Forward d_norm_rsqrt_mul
//   %346 = mul %332 %345 : f32[T,1]  // Gemma2Model.Forward d_norm_rsqrt_mul
//   %347 = mul %344 %346 : f32[T,1]  // Gemma2Model.Forward d_norm_rsqrt_mul
//   %348 = mul %343 %347 : f32[T,1]  // Gemma2Model.Forward d_norm_add
//   %349 = mul %348 %7 : f32[T,1]  // Gemma2Model.Forward d_norm_row_sum
//   %351 = mul %350 %349 : f32[T,1]  // Gemma2Model.Forward d_norm_mul_mul
//   %352 = mul %351 %326 : act[T,128]  // Gemma2Model.Forward d_residual
//   %353 = add %341 %352 : act[T,128]  // Gemma2Model.Forward d_residual
//   %354 = mul %353 %324 : act[T,128]  // layers.3.mlp d_post_feedforward_layernorm_mul
//   %355 = mul %354 %322 : act[T,128]  // layers.3.mlp d_down_proj
//   %356 = mul %354 %316 : act[T,128]  // layers.3.mlp d_post_feedforward_layernorm_mul_mul
//   %357 = row_sum %356 : f32[T,1]  // layers.3.mlp d_post_feedforward_layernorm_rsqrt
//   %358 = mul %322 %322 : f32[T,1]  // layers.3.mlp d_post_feedforward_layernorm_rsqrt_mul
//   %359 = mul %322 %358 : f32[T,1]  // layers.3.mlp d_post_feedforward_layernorm_rsqrt_mul
//   %360 = mul %344 %359 : f32[T,1]  // layers.3.mlp d_post_feedforward_layernorm_rsqrt_mul
//   %361 = mul %357 %360 : f32[T,1]  // layers.3.mlp d_post_feedforward_layernorm_add
//   %362 = mul %361 %7 : f32[T,1]  // layers.3.mlp d_post_feedforward_layernorm_row_sum
//   %363 = mul %350 %362 : f32[T,1]  // layers.3.mlp d_post_feedforward_layernorm_mul_mul
//   %364 = mul %363 %316 : act[T,128]  // layers.3.mlp d_down_proj
//   %365 = add %355 %364 : act[T,128]  // layers.3.mlp d_down_proj
// tensors of the first launch: d_residual layers.3.d_down_proj layers.3.down_proj layers.3.post_feedforward_layernorm_rsqrt model.layers.3.post_feedforward_layernorm.weight layers.3.residual d_norm model.norm.weight norm_rsqrt
// 1288 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(32)
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
    const bool inside = column < 128;

    float down_proj[8] = {};
    if (inside) load8(down_proj_rows + row * down_proj_pitch + column, down_proj);
    const float post_feedforward_layernorm_rsqrt = post_feedforward_layernorm_rsqrt_rows[row];
    float post_feedforward_layernorm_weight[8] = {};
    if (inside) load8(post_feedforward_layernorm_weight_vector + column, post_feedforward_layernorm_weight);
    float residual[8] = {};
    if (inside) load8(residual_rows + row * residual_pitch + column, residual);
    float d_norm[8] = {};
    if (inside) load8(d_norm_rows + row * d_norm_pitch + column, d_norm);
    float norm_weight[8] = {};
    if (inside) load8(norm_weight_vector + column, norm_weight);
    const float norm_rsqrt = norm_rsqrt_rows[row];

    // add
    float residual2[8];
    for (int j = 0; j < 8; j++) residual2[j] = residual[j] + down_proj[j] * post_feedforward_layernorm_rsqrt * (1.0f + post_feedforward_layernorm_weight[j]);

    // mul
    float d_norm_mul[8];
    for (int j = 0; j < 8; j++) d_norm_mul[j] = d_norm[j] * (1.0f + norm_weight[j]);

    // row_sum
    float d_norm_rsqrt_part = 0.0f;
    if (inside) for (int j = 0; j < 8; j++) d_norm_rsqrt_part += d_norm_mul[j] * residual2[j];
    const float d_norm_rsqrt = row_block_sum(d_norm_rsqrt_part, scratch[0]);
    const float d_norm_rsqrt_mul = norm_rsqrt * norm_rsqrt;
    const float d_norm_rsqrt_mul2 = norm_rsqrt * d_norm_rsqrt_mul;
    const float d_norm_rsqrt_mul3 = (-0.5f) * d_norm_rsqrt_mul2;
    const float d_norm_add = d_norm_rsqrt * d_norm_rsqrt_mul3;
    const float d_norm_row_sum = 0.0078125f * d_norm_add;
    const float d_norm_mul_mul = 2.0f * d_norm_row_sum;

    // add
    float d_residual[8];
    for (int j = 0; j < 8; j++) d_residual[j] = d_norm_mul[j] * norm_rsqrt + d_norm_mul_mul * residual2[j];
    if (inside) store8(d_residual_rows + row * d_residual_pitch + column, d_residual);
    for (int j = 0; j < 8; j++) d_residual[j] = round_elem(d_residual[j]);

    // mul
    float d_post_feedforward_layernorm_mul[8];
    for (int j = 0; j < 8; j++) d_post_feedforward_layernorm_mul[j] = d_residual[j] * (1.0f + post_feedforward_layernorm_weight[j]);

    // row_sum
    float d_post_feedforward_layernorm_rsqrt_part = 0.0f;
    if (inside) for (int j = 0; j < 8; j++) d_post_feedforward_layernorm_rsqrt_part += d_post_feedforward_layernorm_mul[j] * down_proj[j];
    const float d_post_feedforward_layernorm_rsqrt = row_block_sum(d_post_feedforward_layernorm_rsqrt_part, scratch[1]);
    const float d_post_feedforward_layernorm_rsqrt_mul = post_feedforward_layernorm_rsqrt * post_feedforward_layernorm_rsqrt;
    const float d_post_feedforward_layernorm_rsqrt_mul2 = post_feedforward_layernorm_rsqrt * d_post_feedforward_layernorm_rsqrt_mul;
    const float d_post_feedforward_layernorm_rsqrt_mul3 = (-0.5f) * d_post_feedforward_layernorm_rsqrt_mul2;
    const float d_post_feedforward_layernorm_add = d_post_feedforward_layernorm_rsqrt * d_post_feedforward_layernorm_rsqrt_mul3;
    const float d_post_feedforward_layernorm_row_sum = 0.0078125f * d_post_feedforward_layernorm_add;
    const float d_post_feedforward_layernorm_mul_mul = 2.0f * d_post_feedforward_layernorm_row_sum;

    // add
    float d_down_proj[8];
    for (int j = 0; j < 8; j++) d_down_proj[j] = d_post_feedforward_layernorm_mul[j] * post_feedforward_layernorm_rsqrt + d_post_feedforward_layernorm_mul_mul * down_proj[j];
    if (inside) store8(d_down_proj_rows + row * d_down_proj_pitch + column, d_down_proj);
}


// ======== k09_d_up_proj_d_gate_proj
// k09_d_up_proj_d_gate_proj <sm_90a>  launches: 4
//   %303 = mul %301 %301 : act[T,256]  // layers.3.mlp gelu_tanh_mul
//   %304 = mul %65 %303 : act[T,256]  // layers.3.mlp gelu_tanh_mul
//   %305 = add %64 %304 : act[T,256]  // layers.3.mlp gelu_tanh_add
//   %306 = mul %301 %305 : act[T,256]  // layers.3.mlp gelu_tanh_mul
//   %307 = tanh %306 : act[T,256]  // layers.3.mlp gelu_tanh_tanh
//   %308 = mul %63 %307 : act[T,256]  // layers.3.mlp gelu_tanh_mul
//   %309 = add %63 %308 : act[T,256]  // layers.3.mlp gelu_tanh_add
//   %310 = mul %301 %309 : act[T,256]  // layers.3.mlp gelu_tanh
//   %372 = mul %371 %302 : act[T,256]  // layers.3.mlp d_gelu_tanh
//   %373 = mul %371 %310 : act[T,256]  // layers.3.mlp d_up_proj
//   %374 = mul %372 %309 : act[T,256]  // layers.3.mlp d_gate_proj
//   %375 = mul %372 %301 : act[T,256]  // layers.3.mlp d_gelu_tanh_add
//   %376 = mul %375 %63 : act[T,256]  // layers.3.mlp d_gelu_tanh_tanh
//   %377 = mul %307 %307 : act[T,256]  // layers.3.mlp d_gelu_tanh_tanh_mul
//   %378 = sub %14 %377 : act[T,256]  // layers.3.mlp d_gelu_tanh_tanh_sub
//   %379 = mul %376 %378 : act[T,256]  // layers.3.mlp d_gelu_tanh_mul
//   %380 = mul %379 %305 : act[T,256]  // layers.3.mlp d_gate_proj
//   %381 = mul %379 %301 : act[T,256]  // layers.3.mlp d_gelu_tanh_add
//   %382 = mul %381 %65 : act[T,256]  // layers.3.mlp d_gelu_tanh_mul
//   %383 = mul %350 %382 : act[T,256]  // layers.3.mlp d_gelu_tanh_mul_mul
//   %384 = mul %383 %301 : act[T,256]  // layers.3.mlp d_gate_proj
//   %385 = add %374 %380 : act[T,256]  // layers.3.mlp add
//   %386 = add %385 %384 : act[T,256]  // layers.3.mlp d_gate_proj
// tensors of the first launch: layers.3.d_gate_proj+up_proj[256:512] layers.3.d_gate_proj+up_proj[0:256] layers.3.gate_proj+up_proj[0:256] layers.3.d_geglu layers.3.gate_proj+up_proj[256:512]
// 2560 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1

@prelude.cu
extern "C" __global__ void __launch_bounds__(32)
k09_d_up_proj_d_gate_proj(elem* __restrict__ d_up_proj_rows, int d_up_proj_pitch,
    elem* __restrict__ d_gate_proj_rows, int d_gate_proj_pitch,
    const elem* __restrict__ gate_proj_rows, int gate_proj_pitch,
    const elem* __restrict__ d_geglu_rows, int d_geglu_pitch,
    const elem* __restrict__ up_proj_rows, int up_proj_pitch,
    int rows)
{
    const int64 row = blockIdx.x;
    const int column = (blockIdx.y * 32 + threadIdx.x) * 8;

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
// k10_d_residual_d_o_proj <sm_90a>  launches: 6
//   %394 = mul %393 %294 : act[T,128]  // layers.3.mlp d_pre_feedforward_layernorm_mul
//   %395 = mul %394 %292 : act[T,128]  // layers.3.mlp d_residual
//   %396 = mul %394 %286 : act[T,128]  // layers.3.mlp d_pre_feedforward_layernorm_mul_mul
//   %397 = row_sum %396 : f32[T,1]  // layers.3.mlp d_pre_feedforward_layernorm_rsqrt
//   %398 = mul %292 %292 : f32[T,1]  // layers.3.mlp d_pre_feedforward_layernorm_rsqrt_mul
//   %399 = mul %292 %398 : f32[T,1]  // layers.3.mlp d_pre_feedforward_layernorm_rsqrt_mul
//   %400 = mul %344 %399 : f32[T,1]  // layers.3.mlp d_pre_feedforward_layernorm_rsqrt_mul
//   %401 = mul %397 %400 : f32[T,1]  // layers.3.mlp d_pre_feedforward_layernorm_add
//   %402 = mul %401 %7 : f32[T,1]  // layers.3.mlp d_pre_feedforward_layernorm_row_sum
//   %403 = mul %350 %402 : f32[T,1]  // layers.3.mlp d_pre_feedforward_layernorm_mul_mul
//   %404 = mul %403 %286 : act[T,128]  // layers.3.mlp d_residual
//   %405 = add %353 %395 : act[T,128]  // layers.3.mlp add
//   %406 = add %405 %404 : act[T,128]  // layers.3.mlp d_residual
//   %407 = mul %406 %284 : act[T,128]  // layers.3.self_attn d_post_attention_layernorm_mul
//   %408 = mul %407 %282 : act[T,128]  // layers.3.self_attn d_o_proj
//   %409 = mul %407 %276 : act[T,128]  // layers.3.self_attn d_post_attention_layernorm_mul_mul
//   %410 = row_sum %409 : f32[T,1]  // layers.3.self_attn d_post_attention_layernorm_rsqrt
//   %411 = mul %282 %282 : f32[T,1]  // layers.3.self_attn d_post_attention_layernorm_rsqrt_mul
//   %412 = mul %282 %411 : f32[T,1]  // layers.3.self_attn d_post_attention_layernorm_rsqrt_mul
//   %413 = mul %344 %412 : f32[T,1]  // layers.3.self_attn d_post_attention_layernorm_rsqrt_mul
//   %414 = mul %410 %413 : f32[T,1]  // layers.3.self_attn d_post_attention_layernorm_add
//   %415 = mul %414 %7 : f32[T,1]  // layers.3.self_attn d_post_attention_layernorm_row_sum
//   %416 = mul %350 %415 : f32[T,1]  // layers.3.self_attn d_post_attention_layernorm_mul_mul
//   %417 = mul %416 %276 : act[T,128]  // layers.3.self_attn d_o_proj
//   %418 = add %408 %417 : act[T,128]  // layers.3.self_attn d_o_proj
// tensors of the first launch: layers.3.d_residual layers.3.d_o_proj layers.3.d_pre_feedforward_layernorm model.layers.3.pre_feedforward_layernorm.weight layers.3.pre_feedforward_layernorm_rsqrt layers.3.residual d_residual model.layers.3.post_attention_layernorm.weight layers.3.post_attention_layernorm_rsqrt layers.3.o_proj
// 1544 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(32)
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
    const bool inside = column < 128;

    float d_pre_feedforward_layernorm[8] = {};
    if (inside) load8(d_pre_feedforward_layernorm_rows + row * d_pre_feedforward_layernorm_pitch + column, d_pre_feedforward_layernorm);
    float pre_feedforward_layernorm_weight[8] = {};
    if (inside) load8(pre_feedforward_layernorm_weight_vector + column, pre_feedforward_layernorm_weight);
    const float pre_feedforward_layernorm_rsqrt = pre_feedforward_layernorm_rsqrt_rows[row];
    float residual[8] = {};
    if (inside) load8(residual_rows + row * residual_pitch + column, residual);
    float d_residual2[8] = {};
    if (inside) load8(d_residual2_rows + row * d_residual2_pitch + column, d_residual2);
    float post_attention_layernorm_weight[8] = {};
    if (inside) load8(post_attention_layernorm_weight_vector + column, post_attention_layernorm_weight);
    const float post_attention_layernorm_rsqrt = post_attention_layernorm_rsqrt_rows[row];
    float o_proj[8] = {};
    if (inside) load8(o_proj_rows + row * o_proj_pitch + column, o_proj);

    // mul
    float d_pre_feedforward_layernorm_mul[8];
    for (int j = 0; j < 8; j++) d_pre_feedforward_layernorm_mul[j] = d_pre_feedforward_layernorm[j] * (1.0f + pre_feedforward_layernorm_weight[j]);

    // row_sum
    float d_pre_feedforward_layernorm_rsqrt_part = 0.0f;
    if (inside) for (int j = 0; j < 8; j++) d_pre_feedforward_layernorm_rsqrt_part += d_pre_feedforward_layernorm_mul[j] * residual[j];
    const float d_pre_feedforward_layernorm_rsqrt = row_block_sum(d_pre_feedforward_layernorm_rsqrt_part, scratch[0]);
    const float d_pre_feedforward_layernorm_rsqrt_mul = pre_feedforward_layernorm_rsqrt * pre_feedforward_layernorm_rsqrt;
    const float d_pre_feedforward_layernorm_rsqrt_mul2 = pre_feedforward_layernorm_rsqrt * d_pre_feedforward_layernorm_rsqrt_mul;
    const float d_pre_feedforward_layernorm_rsqrt_mul3 = (-0.5f) * d_pre_feedforward_layernorm_rsqrt_mul2;
    const float d_pre_feedforward_layernorm_add = d_pre_feedforward_layernorm_rsqrt * d_pre_feedforward_layernorm_rsqrt_mul3;
    const float d_pre_feedforward_layernorm_row_sum = 0.0078125f * d_pre_feedforward_layernorm_add;
    const float d_pre_feedforward_layernorm_mul_mul = 2.0f * d_pre_feedforward_layernorm_row_sum;

    // add
    float d_residual[8];
    for (int j = 0; j < 8; j++) d_residual[j] = d_residual2[j] + d_pre_feedforward_layernorm_mul[j] * pre_feedforward_layernorm_rsqrt + d_pre_feedforward_layernorm_mul_mul * residual[j];
    if (inside) store8(d_residual_rows + row * d_residual_pitch + column, d_residual);
    for (int j = 0; j < 8; j++) d_residual[j] = round_elem(d_residual[j]);

    // mul
    float d_post_attention_layernorm_mul[8];
    for (int j = 0; j < 8; j++) d_post_attention_layernorm_mul[j] = d_residual[j] * (1.0f + post_attention_layernorm_weight[j]);

    // row_sum
    float d_post_attention_layernorm_rsqrt_part = 0.0f;
    if (inside) for (int j = 0; j < 8; j++) d_post_attention_layernorm_rsqrt_part += d_post_attention_layernorm_mul[j] * o_proj[j];
    const float d_post_attention_layernorm_rsqrt = row_block_sum(d_post_attention_layernorm_rsqrt_part, scratch[1]);
    const float d_post_attention_layernorm_rsqrt_mul = post_attention_layernorm_rsqrt * post_attention_layernorm_rsqrt;
    const float d_post_attention_layernorm_rsqrt_mul2 = post_attention_layernorm_rsqrt * d_post_attention_layernorm_rsqrt_mul;
    const float d_post_attention_layernorm_rsqrt_mul3 = (-0.5f) * d_post_attention_layernorm_rsqrt_mul2;
    const float d_post_attention_layernorm_add = d_post_attention_layernorm_rsqrt * d_post_attention_layernorm_rsqrt_mul3;
    const float d_post_attention_layernorm_row_sum = 0.0078125f * d_post_attention_layernorm_add;
    const float d_post_attention_layernorm_mul_mul = 2.0f * d_post_attention_layernorm_row_sum;

    // add
    float d_o_proj[8];
    for (int j = 0; j < 8; j++) d_o_proj[j] = d_post_attention_layernorm_mul[j] * post_attention_layernorm_rsqrt + d_post_attention_layernorm_mul_mul * o_proj[j];
    if (inside) store8(d_o_proj_rows + row * d_o_proj_pitch + column, d_o_proj);
}


// ======== k11_attention_delta
// k11_attention_delta <sm_90a>  launches: 4
//   %427 = attention_delta %270 %425 : f32[T,4]  // layers.3.self_attn delta
// tensors of the first launch: layers.3.delta layers.3.attention layers.3.d_attention
#define ELEM_BF16 1
#define KERNEL_NAME k11_attention_delta
#define HEAD_DIM 32
#define GROUP 1
#define WINDOW 0
#define BOUNDED 0
#define TILE_Q 128
#define TILE_K 16
#define WARPS 4
#define STAGES 1
#define MIN_BLOCKS 0

@prelude.cu
@attention_delta.cu

// ======== k12_attention_dkdv
// k12_attention_dkdv <sm_90a>  launches: 2
//   %428 = attention_grad_k %266 %268 %269 %425 %426 %427 {score=(50*tanh((0.0035355339059327372*s)))} : act[T,2,32]  // layers.3.self_attn d_k_proj
// tensors of the first launch: layers.3.d_q_proj+k_proj+v_proj[128:192] layers.3.d_q_proj+k_proj+v_proj[192:256] layers.3.q_proj+k_proj+v_proj[0:128] layers.3.q_proj+k_proj+v_proj[128:192] layers.3.q_proj+k_proj+v_proj[192:256] layers.3.d_attention layers.3.lse layers.3.delta doc_start doc_end
#define ELEM_BF16 1
#define KERNEL_NAME k12_attention_dkdv
#define HEAD_DIM 32
#define GROUP 2
#define WINDOW 0
#define BOUNDED 1
#define TILE_Q 32
#define TILE_K 64
#define WARPS 4
#define STAGES 2
#define MIN_BLOCKS 2

@prelude.cu
@mma.cu
@attention_tiles.cu
@attention_mma.cu
// The score of a pair, s = q k, distance = q - k in tokens, head = the query head: (50*tanh((0.0035355339059327372*s))), traced from the model; in units of log2.
__device__ __forceinline__ float score_log2(float s, float distance, float head)
{
    return 72.1347504f * fast_tanh(0.00353553379f * s);
}

// The same, and d(score)/ds in natural units, from shared work.
__device__ __forceinline__ void score_log2_and_derivative(float s, float distance, float head, float& z, float& dz)
{
    const float t = fast_tanh(0.00353553379f * s);
    z = 72.1347504f * t;
    dz = 0.176776692f * (1.0f - t * t);
}


@attention_dkdv.cu

// ======== k13_attention_dq
// k13_attention_dq <sm_90a>  launches: 2
//   %430 = attention_grad_q %266 %268 %269 %425 %426 %427 {score=(50*tanh((0.0035355339059327372*s)))} : act[T,4,32]  // layers.3.self_attn d_q_proj
// tensors of the first launch: layers.3.d_q_proj+k_proj+v_proj[0:128] layers.3.q_proj+k_proj+v_proj[0:128] layers.3.q_proj+k_proj+v_proj[128:192] layers.3.q_proj+k_proj+v_proj[192:256] layers.3.d_attention layers.3.lse layers.3.delta doc_start
#define ELEM_BF16 1
#define KERNEL_NAME k13_attention_dq
#define HEAD_DIM 32
#define GROUP 2
#define WINDOW 0
#define BOUNDED 1
#define TILE_Q 64
#define TILE_K 64
#define WARPS 4
#define STAGES 1
#define MIN_BLOCKS 2

@prelude.cu
@mma.cu
@attention_tiles.cu
@attention_mma.cu
// The score of a pair, s = q k, distance = q - k in tokens, head = the query head: (50*tanh((0.0035355339059327372*s))), traced from the model; in units of log2.
__device__ __forceinline__ float score_log2(float s, float distance, float head)
{
    return 72.1347504f * fast_tanh(0.00353553379f * s);
}

// The same, and d(score)/ds in natural units, from shared work.
__device__ __forceinline__ void score_log2_and_derivative(float s, float distance, float head, float& z, float& dz)
{
    const float t = fast_tanh(0.00353553379f * s);
    z = 72.1347504f * t;
    dz = 0.176776692f * (1.0f - t * t);
}


@attention_softmax.cu
@attention_dq.cu

// ======== k14_rope_inverse
// k14_rope_inverse <sm_90a>  launches: 4
//   %432 = rope %428 {theta=10000 inverse} : act[T,2,32]  // layers.3.self_attn d_k_proj
//   %434 = rope %430 {theta=10000 inverse} : act[T,4,32]  // layers.3.self_attn d_q_proj
// tensors of the first launch: layers.3.d_q_proj+k_proj+v_proj[0:192] positions
#define ELEM_BF16 1
#define KERNEL_NAME k14_rope_inverse
#define HEADS 6
#define INVERSE 1
#define TILE_ROWS 128
#define TILE_HEADS 4
#define HEAD_DIM 32
#define THETA 10000.0

@prelude.cu
@rotation.cu
@rope.cu

// ======== k15_attention_dkdv
// k15_attention_dkdv <sm_90a>  launches: 2
//   %530 = attention_grad_k %187 %189 %190 %527 %528 %529 {score=(50*tanh((0.0035355339059327372*s))) window=16} : act[T,2,32]  // layers.2.self_attn d_k_proj
// tensors of the first launch: layers.2.d_q_proj+k_proj+v_proj[128:192] layers.2.d_q_proj+k_proj+v_proj[192:256] layers.2.q_proj+k_proj+v_proj[0:128] layers.2.q_proj+k_proj+v_proj[128:192] layers.2.q_proj+k_proj+v_proj[192:256] layers.2.d_attention layers.2.lse layers.2.delta doc_start doc_end
#define ELEM_BF16 1
#define KERNEL_NAME k15_attention_dkdv
#define HEAD_DIM 32
#define GROUP 2
#define WINDOW 16
#define BOUNDED 1
#define TILE_Q 32
#define TILE_K 64
#define WARPS 4
#define STAGES 2
#define MIN_BLOCKS 2

@prelude.cu
@mma.cu
@attention_tiles.cu
@attention_mma.cu
// The score of a pair, s = q k, distance = q - k in tokens, head = the query head: (50*tanh((0.0035355339059327372*s))), traced from the model; in units of log2.
__device__ __forceinline__ float score_log2(float s, float distance, float head)
{
    return 72.1347504f * fast_tanh(0.00353553379f * s);
}

// The same, and d(score)/ds in natural units, from shared work.
__device__ __forceinline__ void score_log2_and_derivative(float s, float distance, float head, float& z, float& dz)
{
    const float t = fast_tanh(0.00353553379f * s);
    z = 72.1347504f * t;
    dz = 0.176776692f * (1.0f - t * t);
}


@attention_dkdv.cu

// ======== k16_attention_dq
// k16_attention_dq <sm_90a>  launches: 2
//   %532 = attention_grad_q %187 %189 %190 %527 %528 %529 {score=(50*tanh((0.0035355339059327372*s))) window=16} : act[T,4,32]  // layers.2.self_attn d_q_proj
// tensors of the first launch: layers.2.d_q_proj+k_proj+v_proj[0:128] layers.2.q_proj+k_proj+v_proj[0:128] layers.2.q_proj+k_proj+v_proj[128:192] layers.2.q_proj+k_proj+v_proj[192:256] layers.2.d_attention layers.2.lse layers.2.delta doc_start
#define ELEM_BF16 1
#define KERNEL_NAME k16_attention_dq
#define HEAD_DIM 32
#define GROUP 2
#define WINDOW 16
#define BOUNDED 1
#define TILE_Q 64
#define TILE_K 64
#define WARPS 4
#define STAGES 1
#define MIN_BLOCKS 2

@prelude.cu
@mma.cu
@attention_tiles.cu
@attention_mma.cu
// The score of a pair, s = q k, distance = q - k in tokens, head = the query head: (50*tanh((0.0035355339059327372*s))), traced from the model; in units of log2.
__device__ __forceinline__ float score_log2(float s, float distance, float head)
{
    return 72.1347504f * fast_tanh(0.00353553379f * s);
}

// The same, and d(score)/ds in natural units, from shared work.
__device__ __forceinline__ void score_log2_and_derivative(float s, float distance, float head, float& z, float& dz)
{
    const float t = fast_tanh(0.00353553379f * s);
    z = 72.1347504f * t;
    dz = 0.176776692f * (1.0f - t * t);
}


@attention_softmax.cu
@attention_dq.cu

// ======== k17_d_o_proj
// k17_d_o_proj <sm_90a>  launches: 1
//   %700 = mul %699 %54 : act[T,128]  // layers.0.mlp d_pre_feedforward_layernorm_mul
//   %701 = mul %700 %52 : act[T,128]  // layers.0.mlp d_residual
//   %702 = mul %700 %46 : act[T,128]  // layers.0.mlp d_pre_feedforward_layernorm_mul_mul
//   %703 = row_sum %702 : f32[T,1]  // layers.0.mlp d_pre_feedforward_layernorm_rsqrt
//   %704 = mul %52 %52 : f32[T,1]  // layers.0.mlp d_pre_feedforward_layernorm_rsqrt_mul
//   %705 = mul %52 %704 : f32[T,1]  // layers.0.mlp d_pre_feedforward_layernorm_rsqrt_mul
//   %706 = mul %344 %705 : f32[T,1]  // layers.0.mlp d_pre_feedforward_layernorm_rsqrt_mul
//   %707 = mul %703 %706 : f32[T,1]  // layers.0.mlp d_pre_feedforward_layernorm_add
//   %708 = mul %707 %7 : f32[T,1]  // layers.0.mlp d_pre_feedforward_layernorm_row_sum
//   %709 = mul %350 %708 : f32[T,1]  // layers.0.mlp d_pre_feedforward_layernorm_mul_mul
//   %710 = mul %709 %46 : act[T,128]  // layers.0.mlp d_residual
//   %711 = add %659 %701 : act[T,128]  // layers.0.mlp add
//   %712 = add %711 %710 : act[T,128]  // layers.0.mlp d_residual
//   %713 = mul %712 %44 : act[T,128]  // layers.0.self_attn d_post_attention_layernorm_mul
//   %714 = mul %713 %42 : act[T,128]  // layers.0.self_attn d_o_proj
//   %715 = mul %713 %36 : act[T,128]  // layers.0.self_attn d_post_attention_layernorm_mul_mul
//   %716 = row_sum %715 : f32[T,1]  // layers.0.self_attn d_post_attention_layernorm_rsqrt
//   %717 = mul %42 %42 : f32[T,1]  // layers.0.self_attn d_post_attention_layernorm_rsqrt_mul
//   %718 = mul %42 %717 : f32[T,1]  // layers.0.self_attn d_post_attention_layernorm_rsqrt_mul
//   %719 = mul %344 %718 : f32[T,1]  // layers.0.self_attn d_post_attention_layernorm_rsqrt_mul
//   %720 = mul %716 %719 : f32[T,1]  // layers.0.self_attn d_post_attention_layernorm_add
//   %721 = mul %720 %7 : f32[T,1]  // layers.0.self_attn d_post_attention_layernorm_row_sum
//   %722 = mul %350 %721 : f32[T,1]  // layers.0.self_attn d_post_attention_layernorm_mul_mul
//   %723 = mul %722 %36 : act[T,128]  // layers.0.self_attn d_o_proj
//   %724 = add %714 %723 : act[T,128]  // layers.0.self_attn d_o_proj
// tensors of the first launch: layers.0.d_o_proj layers.0.d_pre_feedforward_layernorm model.layers.0.pre_feedforward_layernorm.weight layers.0.pre_feedforward_layernorm_rsqrt layers.0.residual layers.1.d_residual2 model.layers.0.post_attention_layernorm.weight layers.0.post_attention_layernorm_rsqrt layers.0.o_proj
// 1288 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(32)
k17_d_o_proj(elem* __restrict__ d_o_proj_rows, int d_o_proj_pitch,
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
    const bool inside = column < 128;

    float d_pre_feedforward_layernorm[8] = {};
    if (inside) load8(d_pre_feedforward_layernorm_rows + row * d_pre_feedforward_layernorm_pitch + column, d_pre_feedforward_layernorm);
    float pre_feedforward_layernorm_weight[8] = {};
    if (inside) load8(pre_feedforward_layernorm_weight_vector + column, pre_feedforward_layernorm_weight);
    const float pre_feedforward_layernorm_rsqrt = pre_feedforward_layernorm_rsqrt_rows[row];
    float residual[8] = {};
    if (inside) load8(residual_rows + row * residual_pitch + column, residual);
    float d_residual[8] = {};
    if (inside) load8(d_residual_rows + row * d_residual_pitch + column, d_residual);
    float post_attention_layernorm_weight[8] = {};
    if (inside) load8(post_attention_layernorm_weight_vector + column, post_attention_layernorm_weight);
    const float post_attention_layernorm_rsqrt = post_attention_layernorm_rsqrt_rows[row];
    float o_proj[8] = {};
    if (inside) load8(o_proj_rows + row * o_proj_pitch + column, o_proj);

    // mul
    float d_pre_feedforward_layernorm_mul[8];
    for (int j = 0; j < 8; j++) d_pre_feedforward_layernorm_mul[j] = d_pre_feedforward_layernorm[j] * (1.0f + pre_feedforward_layernorm_weight[j]);

    // row_sum
    float d_pre_feedforward_layernorm_rsqrt_part = 0.0f;
    if (inside) for (int j = 0; j < 8; j++) d_pre_feedforward_layernorm_rsqrt_part += d_pre_feedforward_layernorm_mul[j] * residual[j];
    const float d_pre_feedforward_layernorm_rsqrt = row_block_sum(d_pre_feedforward_layernorm_rsqrt_part, scratch[0]);
    const float d_pre_feedforward_layernorm_rsqrt_mul = pre_feedforward_layernorm_rsqrt * pre_feedforward_layernorm_rsqrt;
    const float d_pre_feedforward_layernorm_rsqrt_mul2 = pre_feedforward_layernorm_rsqrt * d_pre_feedforward_layernorm_rsqrt_mul;
    const float d_pre_feedforward_layernorm_rsqrt_mul3 = (-0.5f) * d_pre_feedforward_layernorm_rsqrt_mul2;
    const float d_pre_feedforward_layernorm_add = d_pre_feedforward_layernorm_rsqrt * d_pre_feedforward_layernorm_rsqrt_mul3;
    const float d_pre_feedforward_layernorm_row_sum = 0.0078125f * d_pre_feedforward_layernorm_add;
    const float d_pre_feedforward_layernorm_mul_mul = 2.0f * d_pre_feedforward_layernorm_row_sum;

    // mul
    float d_post_attention_layernorm_mul[8];
    for (int j = 0; j < 8; j++) d_post_attention_layernorm_mul[j] = (d_residual[j] + d_pre_feedforward_layernorm_mul[j] * pre_feedforward_layernorm_rsqrt + d_pre_feedforward_layernorm_mul_mul * residual[j]) * (1.0f + post_attention_layernorm_weight[j]);

    // row_sum
    float d_post_attention_layernorm_rsqrt_part = 0.0f;
    if (inside) for (int j = 0; j < 8; j++) d_post_attention_layernorm_rsqrt_part += d_post_attention_layernorm_mul[j] * o_proj[j];
    const float d_post_attention_layernorm_rsqrt = row_block_sum(d_post_attention_layernorm_rsqrt_part, scratch[1]);
    const float d_post_attention_layernorm_rsqrt_mul = post_attention_layernorm_rsqrt * post_attention_layernorm_rsqrt;
    const float d_post_attention_layernorm_rsqrt_mul2 = post_attention_layernorm_rsqrt * d_post_attention_layernorm_rsqrt_mul;
    const float d_post_attention_layernorm_rsqrt_mul3 = (-0.5f) * d_post_attention_layernorm_rsqrt_mul2;
    const float d_post_attention_layernorm_add = d_post_attention_layernorm_rsqrt * d_post_attention_layernorm_rsqrt_mul3;
    const float d_post_attention_layernorm_row_sum = 0.0078125f * d_post_attention_layernorm_add;
    const float d_post_attention_layernorm_mul_mul = 2.0f * d_post_attention_layernorm_row_sum;

    // add
    float d_o_proj[8];
    for (int j = 0; j < 8; j++) d_o_proj[j] = d_post_attention_layernorm_mul[j] * post_attention_layernorm_rsqrt + d_post_attention_layernorm_mul_mul * o_proj[j];
    if (inside) store8(d_o_proj_rows + row * d_o_proj_pitch + column, d_o_proj);
}


// ======== k18_embedding
// k18_embedding <sm_90a>  recompute only
//   %2 = embedding %0 %1 : act[T,128]  // Gemma2Model.Forward embedding
//   %4 = mul %2 %3 : act[T,128]  // Gemma2Model.Forward embedding
// tensors of the first launch: embedding ids model.embed_tokens.weight
// 512 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1

@prelude.cu
extern "C" __global__ void __launch_bounds__(32)
k18_embedding(elem* __restrict__ embedding_rows, int embedding_pitch,
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
    float embedding[8];
    for (int j = 0; j < 8; j++) embedding[j] = embed_tokens[j] * round_elem(11.3137083f);
    store8(embedding_rows + row * embedding_pitch + column, embedding);
}


// ======== k19_input_layernorm
// k19_input_layernorm <sm_90a>  recompute only
//   %6 = mul %4 %4 : act[T,128]  // layers.0.self_attn input_layernorm_mul
//   %8 = row_sum %6 : f32[T,1]  // layers.0.self_attn input_layernorm_row_sum
//   %9 = mul %7 %8 : f32[T,1]  // layers.0.self_attn input_layernorm_mul
//   %11 = add %9 %10 : f32[T,1]  // layers.0.self_attn input_layernorm_add
//   %12 = rsqrt %11 : f32[T,1]  // layers.0.self_attn input_layernorm_rsqrt
//   %13 = mul %4 %12 : act[T,128]  // layers.0.self_attn input_layernorm_mul
//   %16 = mul %13 %15 : act[T,128]  // layers.0.self_attn input_layernorm
// tensors of the first launch: layers.0.input_layernorm embedding model.layers.0.input_layernorm.weight
// 512 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(32)
k19_input_layernorm(elem* __restrict__ input_layernorm_rows, int input_layernorm_pitch,
    const elem* __restrict__ embedding_rows, int embedding_pitch,
    const elem* __restrict__ input_layernorm_weight_vector,
    int rows)
{
    __shared__ float scratch[2][WARP_SIZE];
    const int column = threadIdx.x * 8;
    const bool inside = column < 128;

    // What a row needs is loaded while the row before it is reduced, so that loads are always in flight.
    const int first = blockIdx.x * 3, end = min(first + 3, rows);
    uint4 embedding_next = {};
    if (inside) embedding_next = packed8(embedding_rows + (int64)first * embedding_pitch + column);

    // Vectors that all rows share. A thread reads back what it wrote itself; registers would cost a block per multiprocessor.
    __shared__ uint4 vectors[1][32];
    if (inside) vectors[0][threadIdx.x] = packed8(input_layernorm_weight_vector + column);

    int row = first;
#pragma unroll 1
    do
    {
        float embedding[8];
        unpack8(embedding_next, embedding);
        if (row + 1 < end)
        {
            if (inside) embedding_next = packed8(embedding_rows + (int64)(row + 1) * embedding_pitch + column);
        }

        // row_sum
        float input_layernorm_row_sum_part = 0.0f;
        if (inside) for (int j = 0; j < 8; j++) input_layernorm_row_sum_part += embedding[j] * embedding[j];
        const float input_layernorm_row_sum = row_block_sum(input_layernorm_row_sum_part, scratch[row & 1]);
        const float input_layernorm_mul = 0.0078125f * input_layernorm_row_sum;
        const float input_layernorm_add = input_layernorm_mul + 9.99999997E-07f;
        const float input_layernorm_rsqrt = rsqrtf(input_layernorm_add);

        float input_layernorm_weight[8];
        unpack8(vectors[0][threadIdx.x], input_layernorm_weight);

        // mul
        float input_layernorm[8];
        for (int j = 0; j < 8; j++) input_layernorm[j] = embedding[j] * input_layernorm_rsqrt * (1.0f + input_layernorm_weight[j]);
        if (inside) store8(input_layernorm_rows + (int64)row * input_layernorm_pitch + column, input_layernorm);
    }
    while (++row < end);
}


// ======== k20_residual
// k20_residual <sm_90a>  recompute only
//   %43 = mul %36 %42 : act[T,128]  // layers.0.self_attn post_attention_layernorm_mul
//   %45 = mul %43 %44 : act[T,128]  // layers.0.self_attn post_attention_layernorm
//   %46 = add %4 %45 : act[T,128]  // layers.0.self_attn residual
// tensors of the first launch: layers.0.residual layers.0.o_proj layers.0.post_attention_layernorm_rsqrt model.layers.0.post_attention_layernorm.weight embedding
// 772 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1

@prelude.cu
extern "C" __global__ void __launch_bounds__(32)
k20_residual(elem* __restrict__ residual_rows, int residual_pitch,
    const elem* __restrict__ o_proj_rows, int o_proj_pitch,
    const float* __restrict__ post_attention_layernorm_rsqrt_rows,
    const elem* __restrict__ post_attention_layernorm_weight_vector,
    const elem* __restrict__ embedding_rows, int embedding_pitch,
    int rows)
{
    const int64 row = blockIdx.x;
    const int column = (blockIdx.y * 32 + threadIdx.x) * 8;
    const bool inside = column < 128;
    if (!inside) return;

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
//   %53 = mul %46 %52 : act[T,128]  // layers.0.mlp pre_feedforward_layernorm_mul
//   %55 = mul %53 %54 : act[T,128]  // layers.0.mlp pre_feedforward_layernorm
// tensors of the first launch: layers.0.pre_feedforward_layernorm layers.0.residual layers.0.pre_feedforward_layernorm_rsqrt model.layers.0.pre_feedforward_layernorm.weight
// 516 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1

@prelude.cu
extern "C" __global__ void __launch_bounds__(32)
k21_pre_feedforward_layernorm(elem* __restrict__ pre_feedforward_layernorm_rows, int pre_feedforward_layernorm_pitch,
    const elem* __restrict__ residual_rows, int residual_pitch,
    const float* __restrict__ pre_feedforward_layernorm_rsqrt_rows,
    const elem* __restrict__ pre_feedforward_layernorm_weight_vector,
    int rows)
{
    const int64 row = blockIdx.x;
    const int column = (blockIdx.y * 32 + threadIdx.x) * 8;
    const bool inside = column < 128;
    if (!inside) return;

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
//   %323 = mul %316 %322 : act[T,128]  // layers.3.mlp post_feedforward_layernorm_mul
//   %325 = mul %323 %324 : act[T,128]  // layers.3.mlp post_feedforward_layernorm
//   %326 = add %286 %325 : act[T,128]  // layers.3.mlp residual
//   %333 = mul %326 %332 : act[T,128]  // Gemma2Model.Forward norm_mul
//   %335 = mul %333 %334 : act[T,128]  // Gemma2Model.Forward norm
// tensors of the first launch: norm layers.3.down_proj layers.3.post_feedforward_layernorm_rsqrt model.layers.3.post_feedforward_layernorm.weight layers.3.residual norm_rsqrt model.norm.weight
// 776 bytes per row; fp32 in registers, one rounding per stored value
#define ELEM_BF16 1

@prelude.cu
extern "C" __global__ void __launch_bounds__(32)
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
    const int column = (blockIdx.y * 32 + threadIdx.x) * 8;
    const bool inside = column < 128;
    if (!inside) return;

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


// ======== gemm_nt_k04_geglu
// gemm_nt_k04_geglu <sm_90a>  k04_geglu on the tiles of the product before it, which the schedule keeps as two launches
//   %66 = mul %61 %61 : act[T,256]  // layers.0.mlp gelu_tanh_mul
//   %67 = mul %65 %66 : act[T,256]  // layers.0.mlp gelu_tanh_mul
//   %68 = add %64 %67 : act[T,256]  // layers.0.mlp gelu_tanh_add
//   %69 = mul %61 %68 : act[T,256]  // layers.0.mlp gelu_tanh_mul
//   %70 = tanh %69 : act[T,256]  // layers.0.mlp gelu_tanh_tanh
//   %71 = mul %63 %70 : act[T,256]  // layers.0.mlp gelu_tanh_mul
//   %72 = add %63 %71 : act[T,256]  // layers.0.mlp gelu_tanh_add
//   %73 = mul %61 %72 : act[T,256]  // layers.0.mlp gelu_tanh
//   %74 = mul %73 %62 : act[T,256]  // layers.0.mlp geglu
// tensors of the first launch: layers.0.geglu layers.0.gate_proj+up_proj[0:256] layers.0.gate_proj+up_proj[256:512]
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
//   %303 = mul %301 %301 : act[T,256]  // layers.3.mlp gelu_tanh_mul
//   %304 = mul %65 %303 : act[T,256]  // layers.3.mlp gelu_tanh_mul
//   %305 = add %64 %304 : act[T,256]  // layers.3.mlp gelu_tanh_add
//   %306 = mul %301 %305 : act[T,256]  // layers.3.mlp gelu_tanh_mul
//   %307 = tanh %306 : act[T,256]  // layers.3.mlp gelu_tanh_tanh
//   %308 = mul %63 %307 : act[T,256]  // layers.3.mlp gelu_tanh_mul
//   %309 = add %63 %308 : act[T,256]  // layers.3.mlp gelu_tanh_add
//   %310 = mul %301 %309 : act[T,256]  // layers.3.mlp gelu_tanh
//   %372 = mul %371 %302 : act[T,256]  // layers.3.mlp d_gelu_tanh
//   %373 = mul %371 %310 : act[T,256]  // layers.3.mlp d_up_proj
//   %374 = mul %372 %309 : act[T,256]  // layers.3.mlp d_gate_proj
//   %375 = mul %372 %301 : act[T,256]  // layers.3.mlp d_gelu_tanh_add
//   %376 = mul %375 %63 : act[T,256]  // layers.3.mlp d_gelu_tanh_tanh
//   %377 = mul %307 %307 : act[T,256]  // layers.3.mlp d_gelu_tanh_tanh_mul
//   %378 = sub %14 %377 : act[T,256]  // layers.3.mlp d_gelu_tanh_tanh_sub
//   %379 = mul %376 %378 : act[T,256]  // layers.3.mlp d_gelu_tanh_mul
//   %380 = mul %379 %305 : act[T,256]  // layers.3.mlp d_gate_proj
//   %381 = mul %379 %301 : act[T,256]  // layers.3.mlp d_gelu_tanh_add
//   %382 = mul %381 %65 : act[T,256]  // layers.3.mlp d_gelu_tanh_mul
//   %383 = mul %350 %382 : act[T,256]  // layers.3.mlp d_gelu_tanh_mul_mul
//   %384 = mul %383 %301 : act[T,256]  // layers.3.mlp d_gate_proj
//   %385 = add %374 %380 : act[T,256]  // layers.3.mlp add
//   %386 = add %385 %384 : act[T,256]  // layers.3.mlp d_gate_proj
// tensors of the first launch: layers.3.d_gate_proj+up_proj[256:512] layers.3.d_gate_proj+up_proj[0:256] layers.3.gate_proj+up_proj[0:256] layers.3.d_geglu layers.3.gate_proj+up_proj[256:512]
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

// ======== gemm_nt_k07_cross_entropy
// gemm_nt_k07_cross_entropy <sm_90a>  the sums of k07_cross_entropy on the tiles of the product before it, which the schedule keeps as one launch
//   %337 = linear_cross_entropy %335 %1 %336 {logit=(30*tanh((0.03333333333333333*s)))} : f32[T,1]  // loss
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
//   %337 = linear_cross_entropy %335 %1 %336 {logit=(30*tanh((0.03333333333333333*s)))} : f32[T,1]  // loss
// tensors of the first launch: norm model.embed_tokens.weight loss
#define ELEM_BF16 1
#define KERNEL_NAME k07_cross_entropy_from_sums
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

