// ======== k00_embedding_input_layernorm
// Embedding embed_tokens + product with a number + RMSNorm input_layernorm in one kernel: it moves 27,652 bytes a token, a kernel for each 55,300;
// what passes between them stays in registers.
// k00_embedding_input_layernorm <sm_90a>: 1 launch; the first one:
//   %2 = embedding %0 %1 : act[T,4608]  // Gemma2Model.Forward embedding
//   %4 = mul %2 %3 : act[T,4608]  // Gemma2Model.Forward embedding
//   %6 = rms_norm %4 %5 {eps=1E-06} : act[T,4608]  // layers.0.self_attn input_layernorm
//   tensors embedding layers.0.input_layernorm ids model.embed_tokens.weight model.layers.0.input_layernorm.weight
// rows of 4608 columns; fp32 in registers, one rounding per stored value; bytes are without the vectors that all rows share
#define ELEM_BF16 1

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(576)
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
    __shared__ uint4 vectors[1][576];
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
        for (int j = 0; j < 8; j++) embedding[j] = embed_tokens[j] * round_elem(67.8822479f);
        store8(embedding_rows + (int64)row * embedding_pitch + column, embedding);
        for (int j = 0; j < 8; j++) embedding[j] = round_elem(embedding[j]);

        // row_sum
        float input_layernorm_row_sum_part = 0.0f;
        for (int j = 0; j < 8; j++) input_layernorm_row_sum_part += embedding[j] * embedding[j];
        const float input_layernorm_row_sum = row_block_sum(input_layernorm_row_sum_part, scratch[row & 1]);
        const float input_layernorm_mul = 0.000217013891f * input_layernorm_row_sum;
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
// RoPE of 48 heads of 128 columns in place: a token's 12,288 bytes are read once and written once, and sines and cosines are computed in fp32 from
// its position and its pairs' frequencies.
// k01_rope <sm_90a>: 2 launches, layers 0-1; the first one:
//   %17 = rope %16 {theta=10000 layers=sliding_attention} : act[T,32,128]  // layers.0.self_attn q_proj
//   %27 = rope %26 {theta=10000 layers=sliding_attention} : act[T,16,128]  // layers.0.self_attn k_proj
//   tensors layers.0.q_proj+k_proj+v_proj[0:6144] positions rope.sliding_attention
#define ELEM_BF16 1
#define KERNEL_NAME k01_rope
#define HEADS 48
#define INVERSE 0
#define TILE_ROWS 32
#define TILE_HEADS 4
#define HEAD_DIM 128

@prelude.cu
@rotation.cu
@rope.cu

// ======== k02_attention_forward
// Scores, softmax and the sum over v of attention, 32 query heads on 16 kv heads of 128 columns, window 4,096, in one kernel: scores stay on the
// multiprocessor, so nothing of T x T is stored, only 8,320 bytes of o and log-sum-exp a token.
// k02_attention_forward <sm_90a>: 1 launch, layer 0; the first one:
//   %43 = attention %17 %27 %36 {score=(50*tanh((0.0016666666666666666*s))) window=4096} : act[T,32,128]  // layers.0.self_attn attention
//   tensors layers.0.attention layers.0.lse layers.0.q_proj+k_proj+v_proj[0:4096] layers.0.q_proj+k_proj+v_proj[4096:6144] layers.0.q_proj+k_proj+v_proj[6144:8192] doc_start
#define ELEM_BF16 1
#define KERNEL_NAME k02_attention_forward
#define HEAD_DIM 128
#define GROUP 2
#define WINDOW 4096
#define BOUNDED 1
#define TILE_Q 192
#define TILE_K 64
#define WARPS 16
#define STAGES 2
#define MIN_BLOCKS 0

@prelude.cu
@mma.cu
@wgmma.cu
@attention_tiles.cu
@attention_sm90.cu
// The score of a pair, s = q k, distance = q - k in tokens, head = the query head: (50*tanh((0.0016666666666666666*s))), traced from the model; in units of log2.
__device__ __forceinline__ float score_log2(float s, float distance, float head)
{
    return 72.1347504f * fast_tanh(0.00166666671f * s);
}

// The same, and d(score)/ds in natural units, from shared work.
__device__ __forceinline__ void score_log2_and_derivative(float s, float distance, float head, float& z, float& dz)
{
    const float t = fast_tanh(0.00166666671f * s);
    z = 72.1347504f * t;
    dz = 0.0833333358f * (1.0f - t * t);
}


@attention_softmax.cu
@attention_forward_sm90.cu

// ======== k03_residual_pre_feedforward_layernorm
// RMSNorm post_attention_layernorm + residual sum + RMSNorm pre_feedforward_layernorm in one kernel: it moves 36,872 bytes a token, a kernel for each
// 64,520; post_attention_layernorm stays in registers.
// k03_residual_pre_feedforward_layernorm <sm_90a>: 3 launches, layers 0-1; the first one:
//   %54 = rms_norm %52 %53 {eps=1E-06} : act[T,4608]  // layers.0.self_attn post_attention_layernorm
//   %55 = add %4 %54 : act[T,4608]  // layers.0.self_attn residual
//   %57 = rms_norm %55 %56 {eps=1E-06} : act[T,4608]  // layers.0.mlp pre_feedforward_layernorm
//   tensors layers.0.post_attention_layernorm_rsqrt layers.0.residual layers.0.pre_feedforward_layernorm_rsqrt layers.0.pre_feedforward_layernorm layers.0.o_proj model.layers.0.post_attention_layernorm.weight embedding model.layers.0.pre_feedforward_layernorm.weight
// rows of 4608 columns; fp32 in registers, one rounding per stored value; bytes are without the vectors that all rows share
#define ELEM_BF16 1

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(576)
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
    __shared__ uint4 vectors[2][576];
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
        const float post_attention_layernorm_mul = 0.000217013891f * post_attention_layernorm_row_sum;
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
        const float pre_feedforward_layernorm_mul = 0.000217013891f * pre_feedforward_layernorm_row_sum;
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
// GELU (tanh) + product (GeGLU) in one kernel: it moves 221,184 bytes a token, a kernel for each 368,640; gelu_tanh stays in registers.
// k04_geglu <sm_90a>: 2 launches, layers 0-1; the first one:
//   %66 = gelu_tanh %65 : act[T,36864]  // layers.0.mlp gelu_tanh
//   %75 = mul %66 %74 : act[T,36864]  // layers.0.mlp geglu
//   tensors layers.0.geglu layers.0.gate_proj+up_proj[0:36864] layers.0.gate_proj+up_proj[36864:73728]
// rows of 36864 columns; fp32 in registers, one rounding per stored value; bytes are without the vectors that all rows share
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
// Scores, softmax and the sum over v of attention, 32 query heads on 16 kv heads of 128 columns, in one kernel: scores stay on the multiprocessor, so
// nothing of T x T is stored, only 8,320 bytes of o and log-sum-exp a token.
// k05_attention_forward <sm_90a>: 1 launch, layer 1; the first one:
//   %122 = attention %98 %108 %117 {score=(50*tanh((0.0016666666666666666*s)))} : act[T,32,128]  // layers.1.self_attn attention
//   tensors layers.1.attention layers.1.lse layers.1.q_proj+k_proj+v_proj[0:4096] layers.1.q_proj+k_proj+v_proj[4096:6144] layers.1.q_proj+k_proj+v_proj[6144:8192] doc_start
#define ELEM_BF16 1
#define KERNEL_NAME k05_attention_forward
#define HEAD_DIM 128
#define GROUP 2
#define WINDOW 0
#define BOUNDED 1
#define TILE_Q 192
#define TILE_K 64
#define WARPS 16
#define STAGES 2
#define MIN_BLOCKS 0

@prelude.cu
@mma.cu
@wgmma.cu
@attention_tiles.cu
@attention_sm90.cu
// The score of a pair, s = q k, distance = q - k in tokens, head = the query head: (50*tanh((0.0016666666666666666*s))), traced from the model; in units of log2.
__device__ __forceinline__ float score_log2(float s, float distance, float head)
{
    return 72.1347504f * fast_tanh(0.00166666671f * s);
}

// The same, and d(score)/ds in natural units, from shared work.
__device__ __forceinline__ void score_log2_and_derivative(float s, float distance, float head, float& z, float& dz)
{
    const float t = fast_tanh(0.00166666671f * s);
    z = 72.1347504f * t;
    dz = 0.0833333358f * (1.0f - t * t);
}


@attention_softmax.cu
@attention_forward_sm90.cu

// ======== k06_norm
// RMSNorm post_feedforward_layernorm + residual sum + RMSNorm norm in one kernel: it moves 27,656 bytes a token, a kernel for each 64,520;
// post_feedforward_layernorm and residual stay in registers.
// k06_norm <sm_90a>: 1 launch, layer 1; the first one:
//   %164 = rms_norm %162 %163 {eps=1E-06} : act[T,4608]  // layers.1.mlp post_feedforward_layernorm
//   %165 = add %134 %164 : act[T,4608]  // layers.1.mlp residual
//   %167 = rms_norm %165 %166 {eps=1E-06} : act[T,4608]  // Gemma2Model.Forward norm
//   tensors layers.1.post_feedforward_layernorm_rsqrt norm_rsqrt norm layers.1.down_proj model.layers.1.post_feedforward_layernorm.weight layers.1.residual model.norm.weight
// rows of 4608 columns; fp32 in registers, one rounding per stored value; bytes are without the vectors that all rows share
#define ELEM_BF16 1

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(576)
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
    __shared__ uint4 vectors[2][576];
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
        const float post_feedforward_layernorm_mul = 0.000217013891f * post_feedforward_layernorm_row_sum;
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
        const float norm_mul = 0.000217013891f * norm_row_sum;
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
// Cross entropy of a row of 256,000 logits and its gradient, which takes the logits' place: a row with a label is read once, 280,576 of its 512,000
// bytes a second time, because the rest is what fits shared memory, and written once; probabilities are not stored.
// k07_cross_entropy <sm_90a>: 1 launch; the first one:
//   %175 = cross_entropy %173 %174 : f32[T,1]  // loss
//   tensors norm model.embed_tokens.weight loss
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
// RMSNorm post_feedforward_layernorm recomputed + residual sum recomputed + gradient of RMSNorm norm + gradient of RMSNorm post_feedforward_layernorm
// in one kernel: it moves 46,088 bytes a token, a kernel for each 101,388; post_feedforward_layernorm and residual stay in registers.
// k08_d_residual_d_down_proj <sm_90a>: 1 launch; the first one:
//   recomputed: %164 = rms_norm %162 %163 {eps=1E-06} : act[T,4608]  // layers.1.mlp post_feedforward_layernorm
//   recomputed: %165 = add %134 %164 : act[T,4608]  // layers.1.mlp residual
//   gradient of %167 = rms_norm %165 %166 {eps=1E-06} : act[T,4608]  // Gemma2Model.Forward norm
//   gradient of %164 = rms_norm %162 %163 {eps=1E-06} : act[T,4608]  // layers.1.mlp post_feedforward_layernorm
//   tensors d_residual layers.1.d_down_proj layers.1.down_proj layers.1.post_feedforward_layernorm_rsqrt model.layers.1.post_feedforward_layernorm.weight layers.1.residual d_norm model.norm.weight norm_rsqrt
// rows of 4608 columns; fp32 in registers, one rounding per stored value; bytes are without the vectors that all rows share
#define ELEM_BF16 1

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(576)
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
    const float d_norm_row_sum = 0.000217013891f * d_norm_add;
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
    const float d_post_feedforward_layernorm_row_sum = 0.000217013891f * d_post_feedforward_layernorm_add;
    const float d_post_feedforward_layernorm_mul_mul = 2.0f * d_post_feedforward_layernorm_row_sum;

    // add
    float d_down_proj[8];
    for (int j = 0; j < 8; j++) d_down_proj[j] = d_post_feedforward_layernorm_mul[j] * post_feedforward_layernorm_rsqrt + d_post_feedforward_layernorm_mul_mul * down_proj[j];
    store8(d_down_proj_rows + row * d_down_proj_pitch + column, d_down_proj);
}


// ======== k09_d_up_proj_d_gate_proj
// GELU (tanh) recomputed + gradient of product (GeGLU) + gradient of GELU (tanh) in one kernel: it moves 368,640 bytes a token, a kernel for each
// 737,280; gelu_tanh and d_gelu_tanh stay in registers.
// k09_d_up_proj_d_gate_proj <sm_90a>: 2 launches, layers 0-1; the first one:
//   recomputed: %145 = gelu_tanh %144 : act[T,36864]  // layers.1.mlp gelu_tanh
//   gradient of %154 = mul %145 %153 : act[T,36864]  // layers.1.mlp geglu
//   gradient of %145 = gelu_tanh %144 : act[T,36864]  // layers.1.mlp gelu_tanh
//   tensors layers.1.d_gate_proj+up_proj[36864:73728] layers.1.d_gate_proj+up_proj[0:36864] layers.1.gate_proj+up_proj[0:36864] layers.1.d_geglu layers.1.gate_proj+up_proj[36864:73728]
// rows of 36864 columns; fp32 in registers, one rounding per stored value; bytes are without the vectors that all rows share
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
// Gradient of RMSNorm pre_feedforward_layernorm + sum of gradients + gradient of RMSNorm post_attention_layernorm in one kernel: it moves 55,304
// bytes a token, a kernel for each 82,952; what passes between them stays in registers.
// k10_d_residual_d_o_proj <sm_90a>: 2 launches, layer 1; the first one:
//   gradient of %136 = rms_norm %134 %135 {eps=1E-06} : act[T,4608]  // layers.1.mlp pre_feedforward_layernorm
//   sum of gradients: d_residual : act[T,4608]
//   gradient of %133 = rms_norm %131 %132 {eps=1E-06} : act[T,4608]  // layers.1.self_attn post_attention_layernorm
//   tensors layers.1.d_residual layers.1.d_o_proj layers.1.d_pre_feedforward_layernorm model.layers.1.pre_feedforward_layernorm.weight layers.1.pre_feedforward_layernorm_rsqrt layers.1.residual d_residual model.layers.1.post_attention_layernorm.weight layers.1.post_attention_layernorm_rsqrt layers.1.o_proj
// rows of 4608 columns; fp32 in registers, one rounding per stored value; bytes are without the vectors that all rows share
#define ELEM_BF16 1

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(576)
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
    const float d_pre_feedforward_layernorm_row_sum = 0.000217013891f * d_pre_feedforward_layernorm_add;
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
    const float d_post_attention_layernorm_row_sum = 0.000217013891f * d_post_attention_layernorm_add;
    const float d_post_attention_layernorm_mul_mul = 2.0f * d_post_attention_layernorm_row_sum;

    // add
    float d_o_proj[8];
    for (int j = 0; j < 8; j++) d_o_proj[j] = d_post_attention_layernorm_mul[j] * post_attention_layernorm_rsqrt + d_post_attention_layernorm_mul_mul * o_proj[j];
    store8(d_o_proj_rows + row * d_o_proj_pitch + column, d_o_proj);
}


// ======== k11_attention_delta
// Attention's delta, the sum of do * o over each of 32 heads of 128, once for dq, dk and dv, which all subtract it from dP: it reads 16,384 bytes a
// token and writes 128.
// k11_attention_delta <sm_90a>: 2 launches, layers 0-1; the first one:
//   gradient of %122 = attention %98 %108 %117 {score=(50*tanh((0.0016666666666666666*s)))} : act[T,32,128]  // layers.1.self_attn attention
//   tensors layers.1.delta layers.1.attention layers.1.d_attention
#define ELEM_BF16 1
#define KERNEL_NAME k11_attention_delta
#define HEAD_DIM 128
#define GROUP 1
#define WINDOW 0
#define BOUNDED 0
#define TILE_Q 32
#define TILE_K 16
#define WARPS 4
#define STAGES 1
#define MIN_BLOCKS 0

@prelude.cu
@attention_delta.cu

// ======== k12_attention_dkdv
// Gradients of attention to k and v, 32 query heads on 16 kv heads of 128 columns, in one kernel: scores are computed again tile by tile and stay on
// the multiprocessor, without atomics; 8,192 bytes of dk and dv a token are written once, and dS, where there is memory for it, so that dq is one
// product instead of three.
// k12_attention_dkdv <sm_90a>: 1 launch, layer 1; the first one:
//   gradient of %122 = attention %98 %108 %117 {score=(50*tanh((0.0016666666666666666*s)))} : act[T,32,128]  // layers.1.self_attn attention
//   tensors layers.1.d_q_proj+k_proj+v_proj[4096:6144] layers.1.d_q_proj+k_proj+v_proj[6144:8192] layers.1.q_proj+k_proj+v_proj[0:4096] layers.1.q_proj+k_proj+v_proj[4096:6144] layers.1.q_proj+k_proj+v_proj[6144:8192] layers.1.d_attention layers.1.lse layers.1.delta doc_start doc_end
#define ELEM_BF16 1
#define KERNEL_NAME k12_attention_dkdv
#define HEAD_DIM 128
#define GROUP 2
#define WINDOW 0
#define BOUNDED 1
#define TILE_Q 64
#define TILE_K 128
#define WARPS 12
#define STAGES 3
#define MIN_BLOCKS 0

@prelude.cu
@mma.cu
@wgmma.cu
@attention_tiles.cu
@attention_sm90.cu
@score_gradients.cu
// The score of a pair, s = q k, distance = q - k in tokens, head = the query head: (50*tanh((0.0016666666666666666*s))), traced from the model; in units of log2.
__device__ __forceinline__ float score_log2(float s, float distance, float head)
{
    return 72.1347504f * fast_tanh(0.00166666671f * s);
}

// The same, and d(score)/ds in natural units, from shared work.
__device__ __forceinline__ void score_log2_and_derivative(float s, float distance, float head, float& z, float& dz)
{
    const float t = fast_tanh(0.00166666671f * s);
    z = 72.1347504f * t;
    dz = 0.0833333358f * (1.0f - t * t);
}


@attention_dkdv_sm90.cu
@attention_dkdv_sm90_d128.cu

// ======== k13_attention_dq
// Gradient of attention to q, 32 query heads on 16 kv heads of 128 columns: scores are computed again tile by tile and stay on the multiprocessor,
// without atomics; 8,192 bytes of dq a token are written once.
// k13_attention_dq <sm_90a>: 1 launch, layer 1; the first one:
//   gradient of %122 = attention %98 %108 %117 {score=(50*tanh((0.0016666666666666666*s)))} : act[T,32,128]  // layers.1.self_attn attention
//   tensors layers.1.d_q_proj+k_proj+v_proj[0:4096] layers.1.q_proj+k_proj+v_proj[0:4096] layers.1.q_proj+k_proj+v_proj[4096:6144] layers.1.q_proj+k_proj+v_proj[6144:8192] layers.1.d_attention layers.1.lse layers.1.delta doc_start
#define ELEM_BF16 1
#define KERNEL_NAME k13_attention_dq
#define HEAD_DIM 128
#define GROUP 2
#define WINDOW 0
#define BOUNDED 1
#define TILE_Q 128
#define TILE_K 80
#define WARPS 12
#define STAGES 2
#define MIN_BLOCKS 0

@prelude.cu
@mma.cu
@wgmma.cu
@attention_tiles.cu
@attention_sm90.cu
// The score of a pair, s = q k, distance = q - k in tokens, head = the query head: (50*tanh((0.0016666666666666666*s))), traced from the model; in units of log2.
__device__ __forceinline__ float score_log2(float s, float distance, float head)
{
    return 72.1347504f * fast_tanh(0.00166666671f * s);
}

// The same, and d(score)/ds in natural units, from shared work.
__device__ __forceinline__ void score_log2_and_derivative(float s, float distance, float head, float& z, float& dz)
{
    const float t = fast_tanh(0.00166666671f * s);
    z = 72.1347504f * t;
    dz = 0.0833333358f * (1.0f - t * t);
}


@attention_softmax.cu
@attention_dq_sm90.cu

// ======== k13_attention_dq_from_ds
// Gradient of attention to q, 32 query heads on 16 kv heads of 128 columns, from the dS that the kernel of dk and dv kept: one product instead of
// three, for 2 bytes read for each pair of tokens and query head.
// k13_attention_dq_from_ds <sm_90a>: k13_attention_dq's 1 launch, layer 1; the first one:
//   gradient of %122 = attention %98 %108 %117 {score=(50*tanh((0.0016666666666666666*s)))} : act[T,32,128]  // layers.1.self_attn attention
//   tensors layers.1.d_q_proj+k_proj+v_proj[0:4096] layers.1.q_proj+k_proj+v_proj[0:4096] layers.1.q_proj+k_proj+v_proj[4096:6144] layers.1.q_proj+k_proj+v_proj[6144:8192] layers.1.d_attention layers.1.lse layers.1.delta doc_start
#define ELEM_BF16 1
#define KERNEL_NAME k13_attention_dq_from_ds
#define HEAD_DIM 128
#define GROUP 2
#define WINDOW 0
#define BOUNDED 0
#define TILE_Q 64
#define TILE_K 64
#define WARPS 12
#define STAGES 6
#define MIN_BLOCKS 0

@prelude.cu
@mma.cu
@wgmma.cu
@attention_tiles.cu
@attention_sm90.cu
@score_gradients.cu
@attention_dq_from_ds_sm90.cu

// ======== k14_rope_inverse
// Gradient of RoPE, the inverse rotation of 48 heads of 128 columns in place: a token's 12,288 bytes are read once and written once, and sines and
// cosines are computed in fp32 from its position and its pairs' frequencies.
// k14_rope_inverse <sm_90a>: 2 launches, layers 0-1; the first one:
//   gradient of %108 = rope %107 {theta=10000 layers=full_attention} : act[T,16,128]  // layers.1.self_attn k_proj
//   gradient of %98 = rope %97 {theta=10000 layers=full_attention} : act[T,32,128]  // layers.1.self_attn q_proj
//   tensors layers.1.d_q_proj+k_proj+v_proj[0:6144] positions rope.full_attention
#define ELEM_BF16 1
#define KERNEL_NAME k14_rope_inverse
#define HEADS 48
#define INVERSE 1
#define TILE_ROWS 32
#define TILE_HEADS 4
#define HEAD_DIM 128

@prelude.cu
@rotation.cu
@rope.cu

// ======== k15_d_o_proj
// Gradient of RMSNorm pre_feedforward_layernorm + sum of gradients + gradient of RMSNorm post_attention_layernorm in one kernel: it moves 46,088
// bytes a token, a kernel for each 82,952; 2 values between them stay in registers.
// k15_d_o_proj <sm_90a>: 1 launch, layer 0; the first one:
//   gradient of %57 = rms_norm %55 %56 {eps=1E-06} : act[T,4608]  // layers.0.mlp pre_feedforward_layernorm
//   sum of gradients: d_residual : act[T,4608]
//   gradient of %54 = rms_norm %52 %53 {eps=1E-06} : act[T,4608]  // layers.0.self_attn post_attention_layernorm
//   tensors layers.0.d_o_proj layers.0.d_pre_feedforward_layernorm model.layers.0.pre_feedforward_layernorm.weight layers.0.pre_feedforward_layernorm_rsqrt layers.0.residual layers.1.d_residual2 model.layers.0.post_attention_layernorm.weight layers.0.post_attention_layernorm_rsqrt layers.0.o_proj
// rows of 4608 columns; fp32 in registers, one rounding per stored value; bytes are without the vectors that all rows share
#define ELEM_BF16 1

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(576)
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
    const float d_pre_feedforward_layernorm_row_sum = 0.000217013891f * d_pre_feedforward_layernorm_add;
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
    const float d_post_attention_layernorm_row_sum = 0.000217013891f * d_post_attention_layernorm_add;
    const float d_post_attention_layernorm_mul_mul = 2.0f * d_post_attention_layernorm_row_sum;

    // add
    float d_o_proj[8];
    for (int j = 0; j < 8; j++) d_o_proj[j] = d_post_attention_layernorm_mul[j] * post_attention_layernorm_rsqrt + d_post_attention_layernorm_mul_mul * o_proj[j];
    store8(d_o_proj_rows + row * d_o_proj_pitch + column, d_o_proj);
}


// ======== k16_attention_dkdv
// Gradients of attention to k and v, 32 query heads on 16 kv heads of 128 columns, window 4,096, in one kernel: scores are computed again tile by
// tile and stay on the multiprocessor, without atomics; 8,192 bytes of dk and dv a token are written once, and dS, where there is memory for it, so
// that dq is one product instead of three.
// k16_attention_dkdv <sm_90a>: 1 launch, layer 0; the first one:
//   gradient of %43 = attention %17 %27 %36 {score=(50*tanh((0.0016666666666666666*s))) window=4096} : act[T,32,128]  // layers.0.self_attn attention
//   tensors layers.0.d_q_proj+k_proj+v_proj[4096:6144] layers.0.d_q_proj+k_proj+v_proj[6144:8192] layers.0.q_proj+k_proj+v_proj[0:4096] layers.0.q_proj+k_proj+v_proj[4096:6144] layers.0.q_proj+k_proj+v_proj[6144:8192] layers.0.d_attention layers.0.lse layers.0.delta doc_start doc_end
#define ELEM_BF16 1
#define KERNEL_NAME k16_attention_dkdv
#define HEAD_DIM 128
#define GROUP 2
#define WINDOW 4096
#define BOUNDED 1
#define TILE_Q 64
#define TILE_K 128
#define WARPS 12
#define STAGES 3
#define MIN_BLOCKS 0

@prelude.cu
@mma.cu
@wgmma.cu
@attention_tiles.cu
@attention_sm90.cu
@score_gradients.cu
// The score of a pair, s = q k, distance = q - k in tokens, head = the query head: (50*tanh((0.0016666666666666666*s))), traced from the model; in units of log2.
__device__ __forceinline__ float score_log2(float s, float distance, float head)
{
    return 72.1347504f * fast_tanh(0.00166666671f * s);
}

// The same, and d(score)/ds in natural units, from shared work.
__device__ __forceinline__ void score_log2_and_derivative(float s, float distance, float head, float& z, float& dz)
{
    const float t = fast_tanh(0.00166666671f * s);
    z = 72.1347504f * t;
    dz = 0.0833333358f * (1.0f - t * t);
}


@attention_dkdv_sm90.cu
@attention_dkdv_sm90_d128.cu

// ======== k17_attention_dq
// Gradient of attention to q, 32 query heads on 16 kv heads of 128 columns, window 4,096: scores are computed again tile by tile and stay on the
// multiprocessor, without atomics; 8,192 bytes of dq a token are written once.
// k17_attention_dq <sm_90a>: 1 launch, layer 0; the first one:
//   gradient of %43 = attention %17 %27 %36 {score=(50*tanh((0.0016666666666666666*s))) window=4096} : act[T,32,128]  // layers.0.self_attn attention
//   tensors layers.0.d_q_proj+k_proj+v_proj[0:4096] layers.0.q_proj+k_proj+v_proj[0:4096] layers.0.q_proj+k_proj+v_proj[4096:6144] layers.0.q_proj+k_proj+v_proj[6144:8192] layers.0.d_attention layers.0.lse layers.0.delta doc_start
#define ELEM_BF16 1
#define KERNEL_NAME k17_attention_dq
#define HEAD_DIM 128
#define GROUP 2
#define WINDOW 4096
#define BOUNDED 1
#define TILE_Q 128
#define TILE_K 80
#define WARPS 12
#define STAGES 2
#define MIN_BLOCKS 0

@prelude.cu
@mma.cu
@wgmma.cu
@attention_tiles.cu
@attention_sm90.cu
// The score of a pair, s = q k, distance = q - k in tokens, head = the query head: (50*tanh((0.0016666666666666666*s))), traced from the model; in units of log2.
__device__ __forceinline__ float score_log2(float s, float distance, float head)
{
    return 72.1347504f * fast_tanh(0.00166666671f * s);
}

// The same, and d(score)/ds in natural units, from shared work.
__device__ __forceinline__ void score_log2_and_derivative(float s, float distance, float head, float& z, float& dz)
{
    const float t = fast_tanh(0.00166666671f * s);
    z = 72.1347504f * t;
    dz = 0.0833333358f * (1.0f - t * t);
}


@attention_softmax.cu
@attention_dq_sm90.cu

// ======== k17_attention_dq_from_ds
// Gradient of attention to q, 32 query heads on 16 kv heads of 128 columns, window 4,096, from the dS that the kernel of dk and dv kept: one product
// instead of three, for 2 bytes read for each pair of tokens and query head.
// k17_attention_dq_from_ds <sm_90a>: k17_attention_dq's 1 launch, layer 0; the first one:
//   gradient of %43 = attention %17 %27 %36 {score=(50*tanh((0.0016666666666666666*s))) window=4096} : act[T,32,128]  // layers.0.self_attn attention
//   tensors layers.0.d_q_proj+k_proj+v_proj[0:4096] layers.0.q_proj+k_proj+v_proj[0:4096] layers.0.q_proj+k_proj+v_proj[4096:6144] layers.0.q_proj+k_proj+v_proj[6144:8192] layers.0.d_attention layers.0.lse layers.0.delta doc_start
#define ELEM_BF16 1
#define KERNEL_NAME k17_attention_dq_from_ds
#define HEAD_DIM 128
#define GROUP 2
#define WINDOW 4096
#define BOUNDED 0
#define TILE_Q 64
#define TILE_K 64
#define WARPS 12
#define STAGES 6
#define MIN_BLOCKS 0

@prelude.cu
@mma.cu
@wgmma.cu
@attention_tiles.cu
@attention_sm90.cu
@score_gradients.cu
@attention_dq_from_ds_sm90.cu

// ======== k18_embedding
// Embedding embed_tokens + product with a number in one kernel: it moves 18,436 bytes a token, a kernel for each 36,868; what passes between them
// stays in registers.
// k18_embedding <sm_90a>: recompute only; the first one:
//   %2 = embedding %0 %1 : act[T,4608]  // Gemma2Model.Forward embedding
//   %4 = mul %2 %3 : act[T,4608]  // Gemma2Model.Forward embedding
//   tensors embedding ids model.embed_tokens.weight
// rows of 4608 columns; fp32 in registers, one rounding per stored value; bytes are without the vectors that all rows share
#define ELEM_BF16 1

@prelude.cu
extern "C" __global__ void __launch_bounds__(576)
k18_embedding(elem* __restrict__ embedding_rows, int embedding_pitch,
    const int* __restrict__ embed_tokens_ids, const elem* __restrict__ embed_tokens_table, int embed_tokens_pitch,
    int rows)
{
    const int64 row = blockIdx.x;
    const int column = (blockIdx.y * 576 + threadIdx.x) * 8;

    float embed_tokens[8];
    load8(embed_tokens_table + (int64)embed_tokens_ids[row] * embed_tokens_pitch + column, embed_tokens);

    // mul
    float embedding[8];
    for (int j = 0; j < 8; j++) embedding[j] = embed_tokens[j] * round_elem(67.8822479f);
    store8(embedding_rows + row * embedding_pitch + column, embedding);
}


// ======== k19_input_layernorm
// RMSNorm input_layernorm in one kernel: it moves 18,432 bytes a token, each value once.
// k19_input_layernorm <sm_90a>: recompute only, layer 0; the first one:
//   %6 = rms_norm %4 %5 {eps=1E-06} : act[T,4608]  // layers.0.self_attn input_layernorm
//   tensors layers.0.input_layernorm embedding model.layers.0.input_layernorm.weight
// rows of 4608 columns; fp32 in registers, one rounding per stored value; bytes are without the vectors that all rows share
#define ELEM_BF16 1

@prelude.cu
@rows.cu
extern "C" __global__ void __launch_bounds__(576)
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
    __shared__ uint4 vectors[1][576];
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
        const float input_layernorm_mul = 0.000217013891f * input_layernorm_row_sum;
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
// RMSNorm post_attention_layernorm + residual sum in one kernel: it moves 27,652 bytes a token, a kernel for each 46,084; post_attention_layernorm
// stays in registers.
// k20_residual <sm_90a>: recompute only, layers 0-1; the first one:
//   %54 = rms_norm %52 %53 {eps=1E-06} : act[T,4608]  // layers.0.self_attn post_attention_layernorm
//   %55 = add %4 %54 : act[T,4608]  // layers.0.self_attn residual
//   tensors layers.0.residual layers.0.o_proj layers.0.post_attention_layernorm_rsqrt model.layers.0.post_attention_layernorm.weight embedding
// rows of 4608 columns; fp32 in registers, one rounding per stored value; bytes are without the vectors that all rows share
#define ELEM_BF16 1

@prelude.cu
extern "C" __global__ void __launch_bounds__(576)
k20_residual(elem* __restrict__ residual_rows, int residual_pitch,
    const elem* __restrict__ o_proj_rows, int o_proj_pitch,
    const float* __restrict__ post_attention_layernorm_rsqrt_rows,
    const elem* __restrict__ post_attention_layernorm_weight_vector,
    const elem* __restrict__ embedding_rows, int embedding_pitch,
    int rows)
{
    const int64 row = blockIdx.x;
    const int column = (blockIdx.y * 576 + threadIdx.x) * 8;

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
// RMSNorm pre_feedforward_layernorm in one kernel: it moves 18,436 bytes a token, each value once.
// k21_pre_feedforward_layernorm <sm_90a>: recompute only, layers 0-1; the first one:
//   %57 = rms_norm %55 %56 {eps=1E-06} : act[T,4608]  // layers.0.mlp pre_feedforward_layernorm
//   tensors layers.0.pre_feedforward_layernorm layers.0.residual layers.0.pre_feedforward_layernorm_rsqrt model.layers.0.pre_feedforward_layernorm.weight
// rows of 4608 columns; fp32 in registers, one rounding per stored value; bytes are without the vectors that all rows share
#define ELEM_BF16 1

@prelude.cu
extern "C" __global__ void __launch_bounds__(576)
k21_pre_feedforward_layernorm(elem* __restrict__ pre_feedforward_layernorm_rows, int pre_feedforward_layernorm_pitch,
    const elem* __restrict__ residual_rows, int residual_pitch,
    const float* __restrict__ pre_feedforward_layernorm_rsqrt_rows,
    const elem* __restrict__ pre_feedforward_layernorm_weight_vector,
    int rows)
{
    const int64 row = blockIdx.x;
    const int column = (blockIdx.y * 576 + threadIdx.x) * 8;

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
// RMSNorm post_feedforward_layernorm + residual sum + RMSNorm norm in one kernel: it moves 27,656 bytes a token, a kernel for each 64,520;
// post_feedforward_layernorm and residual stay in registers.
// k22_norm <sm_90a>: recompute only; the first one:
//   %164 = rms_norm %162 %163 {eps=1E-06} : act[T,4608]  // layers.1.mlp post_feedforward_layernorm
//   %165 = add %134 %164 : act[T,4608]  // layers.1.mlp residual
//   %167 = rms_norm %165 %166 {eps=1E-06} : act[T,4608]  // Gemma2Model.Forward norm
//   tensors norm layers.1.down_proj layers.1.post_feedforward_layernorm_rsqrt model.layers.1.post_feedforward_layernorm.weight layers.1.residual norm_rsqrt model.norm.weight
// rows of 4608 columns; fp32 in registers, one rounding per stored value; bytes are without the vectors that all rows share
#define ELEM_BF16 1

@prelude.cu
extern "C" __global__ void __launch_bounds__(576)
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
    const int column = (blockIdx.y * 576 + threadIdx.x) * 8;

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
// Product D = alpha (A B^T + A2 B2^T) with RoPE on its tiles: the 12,288 bytes a token of its 48 turned heads are written once, turned, instead of
// written, read and written again.
// gemm_nt_k01_rope <sm_90a>: k01_rope's 2 launches, layers 0-1; the first one:
//   %17 = rope %16 {theta=10000 layers=sliding_attention} : act[T,32,128]  // layers.0.self_attn q_proj
//   %27 = rope %26 {theta=10000 layers=sliding_attention} : act[T,16,128]  // layers.0.self_attn k_proj
//   tensors layers.0.q_proj+k_proj+v_proj[0:6144] positions rope.sliding_attention
#define ELEM_BF16 1
#define KERNEL_NAME gemm_nt_k01_rope
#define LAYOUT 0
#define TILE_M 128
#define TILE_N 256
#define TILE_K 64
#define STAGES 3
#define PANELS 4
#define EPILOGUE 1
#define PAIR 1
#define HALVES 0
#define SUMS 0
#define TURNED 6144
#define HEAD_DIM 128

@prelude.cu
@mma.cu
@wgmma.cu
@rotation.cu
@rope_epilogue.cu
@gemm_sm90.cu

// ======== gemm_nt_k04_geglu
// Product D = alpha (A B^T + A2 B2^T) with GELU (tanh) + product (GeGLU) on its tiles: 147,456 bytes a token of D are not read again for it, and D is
// written only where something else reads it.
// gemm_nt_k04_geglu <sm_90a>: k04_geglu's 2 launches, layers 0-1; the first one:
//   %66 = gelu_tanh %65 : act[T,36864]  // layers.0.mlp gelu_tanh
//   %75 = mul %66 %74 : act[T,36864]  // layers.0.mlp geglu
//   tensors layers.0.geglu layers.0.gate_proj+up_proj[0:36864] layers.0.gate_proj+up_proj[36864:73728]
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
// Product D = alpha (A B + A2 B2) with GELU (tanh) recomputed + gradient of product (GeGLU) + gradient of GELU (tanh) on its tiles: 73,728 bytes a
// token of D are not read again for it, and D is written only where something else reads it.
// gemm_nn_k09_d_up_proj_d_gate_proj <sm_90a>: k09_d_up_proj_d_gate_proj's 2 launches, layers 0-1; the first one:
//   recomputed: %145 = gelu_tanh %144 : act[T,36864]  // layers.1.mlp gelu_tanh
//   gradient of %154 = mul %145 %153 : act[T,36864]  // layers.1.mlp geglu
//   gradient of %145 = gelu_tanh %144 : act[T,36864]  // layers.1.mlp gelu_tanh
//   tensors layers.1.d_gate_proj+up_proj[36864:73728] layers.1.d_gate_proj+up_proj[0:36864] layers.1.gate_proj+up_proj[0:36864] layers.1.d_geglu layers.1.gate_proj+up_proj[36864:73728]
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
// Product D = alpha (A B + A2 B2), which is do, with attention's delta on its tiles, the sum of do * o over each of 32 heads: 8,192 bytes a token of
// D are not read again for it, and D is written only where something else reads it.
// gemm_nn_k11_attention_delta <sm_90a>: k11_attention_delta's 2 launches, layers 0-1; the first one:
//   gradient of %122 = attention %98 %108 %117 {score=(50*tanh((0.0016666666666666666*s)))} : act[T,32,128]  // layers.1.self_attn attention
//   tensors layers.1.delta layers.1.attention layers.1.d_attention
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
#define SUMS 128

@prelude.cu
@mma.cu
@wgmma.cu
@attention_delta_epilogue.cu
@gemm_sm90.cu

// ======== gemm_nt_k07_cross_entropy
// Product D = alpha (A B^T + A2 B2^T), the logits, with the loss's sums of exponentials on its tiles: 1,000 sums a row, of 256 columns each, instead
// of a pass over the row's 512,000 bytes.
// gemm_nt_k07_cross_entropy <sm_90a>: k07_cross_entropy's 1 launch; the first one:
//   %175 = cross_entropy %173 %174 : f32[T,1]  // loss
//   tensors norm model.embed_tokens.weight loss
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
// What is left of the cross entropy of a row of 256,000 logits when the product has summed the exponentials: each logit is read once and its gradient
// written in its place, 1,024,000 bytes a row, because 1,000 sums a row stand for the pass that would come first.
// k07_cross_entropy_from_sums <sm_90a>: k07_cross_entropy's 1 launch; the first one:
//   %175 = cross_entropy %173 %174 : f32[T,1]  // loss
//   tensors norm model.embed_tokens.weight loss
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
// Product D = alpha (A B^T + A2 B2^T), a linear and its adapter in one accumulation, in tiles of 128 x 256: what a block loads of A serves 256
// columns of D and what it loads of B 128 rows, sums over k stay in fp32 registers and D is written once; 4 stages, 64 of k each, hide the loads.
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
// Product D = alpha (A B^T + A2 B2^T), a linear and its adapter in one accumulation, in tiles of 128 x 192: what a block loads of A serves 192
// columns of D and what it loads of B 128 rows, sums over k stay in fp32 registers and D is written once; 4 stages, 64 of k each, hide the loads.
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
// Product D = alpha A B^T, in tiles of 32 x 64: what a block loads of A serves 64 columns of D and what it loads of B 32 rows, sums over k stay in
// fp32 registers and D is written once; 8 stages, 64 of k each, hide the loads.
#define ELEM_BF16 1
#define KERNEL_NAME gemm_nt_skinny_m
#define LAYOUT 0
#define OUT_F32 0
#define ACCUMULATE 0
#define BY_UNITS 0
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
// Product D = alpha A B^T, in tiles of 64 x 32: what a block loads of A serves 32 columns of D and what it loads of B 64 rows, sums over k stay in
// fp32 registers and D is written once; 8 stages, 64 of k each, hide the loads.
#define ELEM_BF16 1
#define KERNEL_NAME gemm_nt_skinny_n
#define LAYOUT 0
#define OUT_F32 0
#define ACCUMULATE 0
#define BY_UNITS 0
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
// Product D = alpha (A B + A2 B2), a linear and its adapter in one accumulation, in tiles of 128 x 256: what a block loads of A serves 256 columns of
// D and what it loads of B 128 rows, sums over k stay in fp32 registers and D is written once; 4 stages, 64 of k each, hide the loads.
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
// Product D = alpha (A B + A2 B2), a linear and its adapter in one accumulation, in tiles of 128 x 192: what a block loads of A serves 192 columns of
// D and what it loads of B 128 rows, sums over k stay in fp32 registers and D is written once; 4 stages, 64 of k each, hide the loads.
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
// Product D = alpha A B, in tiles of 32 x 64: what a block loads of A serves 64 columns of D and what it loads of B 32 rows, sums over k stay in fp32
// registers and D is written once; 8 stages, 64 of k each, hide the loads.
#define ELEM_BF16 1
#define KERNEL_NAME gemm_nn_skinny_m
#define LAYOUT 1
#define OUT_F32 0
#define ACCUMULATE 0
#define BY_UNITS 0
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
// Product D = alpha A B, in tiles of 64 x 32: what a block loads of A serves 32 columns of D and what it loads of B 64 rows, sums over k stay in fp32
// registers and D is written once; 8 stages, 64 of k each, hide the loads.
#define ELEM_BF16 1
#define KERNEL_NAME gemm_nn_skinny_n
#define LAYOUT 1
#define OUT_F32 0
#define ACCUMULATE 0
#define BY_UNITS 0
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
// Product D += alpha A^T B, in tiles of 128 x 256: what a block loads of A serves 256 columns of D and what it loads of B 128 rows, sums over k stay
// in fp32 registers and D is read and written once, in fp32; 4 stages, 64 of k each, hide the loads.
#define ELEM_BF16 1
#define KERNEL_NAME gemm_tn_f32_add
#define LAYOUT 2
#define OUT_F32 1
#define ACCUMULATE 1
#define BY_UNITS 1
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
// Product D += alpha A^T B, in tiles of 32 x 64: what a block loads of A serves 64 columns of D and what it loads of B 32 rows, sums over k stay in
// fp32 registers and D is read and written once, in fp32; 8 stages, 64 of k each, hide the loads.
#define ELEM_BF16 1
#define KERNEL_NAME gemm_tn_f32_add_skinny_m
#define LAYOUT 2
#define OUT_F32 1
#define ACCUMULATE 1
#define BY_UNITS 1
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
// Product D += alpha A^T B, in tiles of 64 x 32: what a block loads of A serves 32 columns of D and what it loads of B 64 rows, sums over k stay in
// fp32 registers and D is read and written once, in fp32; 8 stages, 64 of k each, hide the loads.
#define ELEM_BF16 1
#define KERNEL_NAME gemm_tn_f32_add_skinny_n
#define LAYOUT 2
#define OUT_F32 1
#define ACCUMULATE 1
#define BY_UNITS 1
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
// G = s dY B and dB += dY^T S of adapters of rank 16 from one read of dY, 2 bytes an element of it instead of 4: a block leaves fp32 sums of its
// columns of dB and of its stripes of G, which rank_sum_r16 adds up.
#define ELEM_BF16 1
#define KERNEL_NAME rank_gradients_r16
#define RANK 16
#define TILE_T 32
#define UNIT 1024
#define TILE_N 512
#define WARPS 8
#define STAGES 4
#define MOST_TILES 2

@prelude.cu
@mma.cu
@rank_stripes.cu
@rank_gradients.cu

// ======== rank_sum_r16
// The sums that rank_gradients_r16 left, added up in order without atomics: G, rounded once, and dB in fp32, of B's diagonal blocks alone; the same
// bits every time.
#define ELEM_BF16 1
#define KERNEL_NAME rank_sum_r16
#define RANK 16
#define TILE_T 32
#define UNIT 1024
#define TILE_N 512

@prelude.cu
@rank_stripes.cu
@rank_sum.cu

// ======== rank_gradients_r32
// G = s dY B and dB += dY^T S of adapters of rank 32 from one read of dY, 2 bytes an element of it instead of 4: a block leaves fp32 sums of its
// columns of dB and of its stripes of G, which rank_sum_r32 adds up.
#define ELEM_BF16 1
#define KERNEL_NAME rank_gradients_r32
#define RANK 32
#define TILE_T 32
#define UNIT 1024
#define TILE_N 512
#define WARPS 8
#define STAGES 4
#define MOST_TILES 1

@prelude.cu
@mma.cu
@rank_stripes.cu
@rank_gradients.cu

// ======== rank_sum_r32
// The sums that rank_gradients_r32 left, added up in order without atomics: G, rounded once, and dB in fp32, of B's diagonal blocks alone; the same
// bits every time.
#define ELEM_BF16 1
#define KERNEL_NAME rank_sum_r32
#define RANK 32
#define TILE_T 32
#define UNIT 1024
#define TILE_N 512

@prelude.cu
@rank_stripes.cu
@rank_sum.cu

// ======== gather_label_rows
// Rows of x of tokens that have a label, side by side with their labels: a row is read once and written once, 4 bytes an element, so that the head
// multiplies no row without a label.
#define ELEM_BF16 1
#define ROWS 8

@prelude.cu
@label_rows.cu

// ======== scatter_label_rows
// Rows of dx and losses back to the tokens they are of, zeros to those without a label: 4 bytes an element of a row with one, 2 of a row without.
#define ELEM_BF16 1
#define ROWS 8

@prelude.cu
@label_rows.cu

// ======== adapter_dropout
// Dropout of an adapter's input: 4 bytes an element, read once and written once, with a mask that is computed from counters where it is needed and
// never stored.
#define ELEM_BF16 1
#define ROWS 8

@prelude.cu
@adapter_dropout.cu

// ======== adapter_dropout_add
// The gradient of an adapter's input through its dropout, added to the rest of it: 6 bytes an element, with the mask of the forward computed again.
#define ELEM_BF16 1
#define ROWS 8

@prelude.cu
@adapter_dropout.cu

// ======== gradient_norm_partials
// Sums of squares of all adapters' gradients, one for each 4,096 elements, in one launch: a gradient is read once, 4 bytes an element.
#define ELEM_BF16 1

@prelude.cu
@segments.cu
@gradient_norm.cu

// ======== gradient_norm
// Norm of all gradients and the factor that clips them, from one sum for each 4,096 elements: one block adds the sums up in order, so the bits are
// the same every time and the host waits for none.
#define ELEM_BF16 1

@prelude.cu
@segments.cu
@gradient_norm.cu

// ======== adamw
// Clipping + AdamW + rounding of the copy that products read, all adapters in one launch: 30 bytes an element (p, m and v read and written, the
// gradient read, in fp32; the copy written), and the clipped gradient stays in registers.
#define ELEM_BF16 1

@prelude.cu
@segments.cu
@adamw.cu

// ======== adamw_8bit
// Clipping + AdamW with 8-bit moments + rounding of the copy that products read, all adapters in one launch: 18 bytes an element (p read and written
// and the gradient read in fp32; the codes of m and v read and written; the copy written).
#define ELEM_BF16 1

@prelude.cu
@segments.cu
@adamw.cu
@adamw_8bit.cu

// ======== cast_adapters
// Rounded copies of all adapters for the products that read them, in one launch: 6 bytes an element, 4 read and 2 written.
#define ELEM_BF16 1

@prelude.cu
@segments.cu
@adamw.cu

// ======== add_units
// A gradient and its sums over units of tokens, added up in order: 8 bytes an element and 4 for each unit, so that launches on parts of the tokens
// give the bits of one.
#define ELEM_BF16 1

@prelude.cu
@segments.cu
@add_units.cu

// ======== scale_gradients
// The loss scale of fp16 on its way to dlogits: it changes on the device, where the next step has begun before the host sees the one before.
#define ELEM_BF16 1

@prelude.cu
@segments.cu
@loss_scale.cu

// ======== loss_sum
// A micro-batch's losses, scaled and added to the step's: 4 bytes a token, in a fixed order, so that cutting the rows at multiples of 256 changes no
// bit.
#define ELEM_BF16 1

@prelude.cu
@segments.cu
@loss_sum.cu

// ======== dequantize_nf4
// Elements of a weight from its NF4 codes, all tensors of a stack in one launch: 0.52 bytes an element read (a code, and an absmax of 8 bits for each
// 64) and 2 written, so the weight is stored in a quarter of the memory and products read it as if it had never been packed.
#define ELEM_BF16 1
#define THREADS 256

@prelude.cu
@nf4.cu

