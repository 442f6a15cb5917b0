using System;
using System.Collections.Generic;
using System.Linq;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Graph.Bench.TorchSharpPeer;

/// <summary>Sizes of a Gemma 2; softcaps 50 and 30 as all of them have, a window in every second layer.</summary>
sealed record ModelSize(int Layers, int Hidden, int Heads, int KvHeads, int HeadDim, int Ffn, double QueryScalar, int Vocabulary = 256000, int Window = 4096)
{
    public static IReadOnlyDictionary<string, ModelSize> All { get; } = new Dictionary<string, ModelSize>
    {
        ["2b"] = new(26, 2304, 8, 4, 256, 9216, 256),
        ["9b"] = new(42, 3584, 16, 8, 256, 14336, 256),
        ["27b"] = new(46, 4608, 32, 16, 128, 36864, 144),
        ["9b-2l"] = new(2, 3584, 16, 8, 256, 14336, 256),
        ["nano"] = new(4, 128, 4, 2, 32, 256, 32, 4096, 16),
    };
}

/// <summary>A frozen weight with an adapter of rank 16 in fp32: y = x·Wᵀ + scale·(x·Aᵀ)·Bᵀ.</summary>
sealed record LoraLinear(Tensor Weight, Parameter A, Parameter B, double Scale)
{
    public Tensor Forward(Tensor x) => x.matmul(Weight.t()) + x.matmul(A.to(x.dtype).t()).matmul(B.to(x.dtype).t()) * Scale;
}

/// <summary>
/// Gemma 2 with LoRA on all seven linears as one writes it in TorchSharp: eager ops, autograd, the attention matrix in memory.
/// TorchSharp has no activation checkpointing; <see cref="Step"/> does it by hand, layer by layer, because a 9B at 8,192 tokens keeps about 4.7 GB a layer without.
/// </summary>
sealed class Gemma2
{
    const double AttentionCap = 50, FinalCap = 30, Eps = 1e-6, Theta = 10_000;
    const int Rank = 16, Alpha = 16;

    sealed record Layer(LoraLinear Q, LoraLinear K, LoraLinear V, LoraLinear O, LoraLinear Gate, LoraLinear Up, LoraLinear Down, Tensor[] Norms);

    readonly ModelSize size;
    readonly Device device;
    readonly ScalarType type;
    readonly Tensor embedding, finalNorm;
    readonly Layer[] layers;

    /// <summary>Random weights of deviation 0.02 in `type`, which activations have too; A random, B zero, as PEFT starts.</summary>
    public Gemma2(ModelSize size, Device device, ScalarType type)
    {
        (this.size, this.device, this.type) = (size, device, type);
        embedding = Frozen(size.Vocabulary, size.Hidden);
        finalNorm = Frozen(size.Hidden);
        layers = [.. Enumerable.Range(0, size.Layers).Select(_ => new Layer(
            Linear(size.Hidden, size.Heads * size.HeadDim), Linear(size.Hidden, size.KvHeads * size.HeadDim), Linear(size.Hidden, size.KvHeads * size.HeadDim),
            Linear(size.Heads * size.HeadDim, size.Hidden),
            Linear(size.Hidden, size.Ffn), Linear(size.Hidden, size.Ffn), Linear(size.Ffn, size.Hidden), [.. Enumerable.Range(0, 4).Select(_ => Frozen(size.Hidden))]))];
    }

    public IEnumerable<Parameter> Parameters => layers.SelectMany(l => new[] { l.Q, l.K, l.V, l.O, l.Gate, l.Up, l.Down }).SelectMany(l => new[] { l.A, l.B });

    /// <summary>Forward and backward of ids [rows, length] with the ids as labels; gradients are added to the adapters'. Returns the loss.</summary>
    public double Step(Tensor ids, bool checkpointing)
    {
        using var scope = NewDisposeScope();
        var (cos, sin) = Rotations((int)ids.shape[1]);
        var (local, global) = (Mask((int)ids.shape[1], size.Window), Mask((int)ids.shape[1], null));
        Tensor Run(int layer, Tensor x)
        {
            using var inner = NewDisposeScope();
            return Forward(layers[layer], x, cos, sin, layer % 2 == 0 ? local : global).MoveToOuterDisposeScope();
        }
        var x = embedding[ids] * Math.Sqrt(size.Hidden);
        if (!checkpointing)
        {
            for (var i = 0; i < layers.Length; i++) x = Run(i, x);
            var whole = Loss(x, ids);
            whole.backward();
            return whole.item<float>();
        }
        var inputs = new List<Tensor>();
        using (no_grad())
        {
            for (var i = 0; i < layers.Length; i++)
            {
                inputs.Add(x);
                x = Run(i, x);
            }
        }
        var top = x.detach().requires_grad_();
        var loss = Loss(top, ids);
        loss.backward();
        var gradient = top.grad!;
        for (var i = layers.Length - 1; i >= 0; i--)
        {
            using var inner = NewDisposeScope();
            var input = inputs[i].detach().requires_grad_();
            Run(i, input).backward([gradient]);
            gradient = input.grad!.MoveToOuterDisposeScope();
        }
        return loss.item<float>();
    }

    Tensor Forward(Layer l, Tensor x, Tensor cos, Tensor sin, Tensor mask)
    {
        x = x + Norm(Attention(l, Norm(x, l.Norms[0]), cos, sin, mask), l.Norms[1]);
        var h = Norm(x, l.Norms[2]);
        return x + Norm(l.Down.Forward(GeluTanh(l.Gate.Forward(h)) * l.Up.Forward(h)), l.Norms[3]);
    }

    Tensor Attention(Layer l, Tensor x, Tensor cos, Tensor sin, Tensor mask)
    {
        var (rows, length, group) = (x.shape[0], x.shape[1], size.Heads / size.KvHeads);
        Tensor Heads(LoraLinear linear, int heads) => linear.Forward(x).view(rows, length, heads, size.HeadDim).transpose(1, 2);
        var q = Rope(Heads(l.Q, size.Heads), cos, sin);
        var k = Rope(Heads(l.K, size.KvHeads), cos, sin).repeat_interleave(group, 1);
        var v = Heads(l.V, size.KvHeads).repeat_interleave(group, 1);
        var scores = (q.matmul(k.transpose(2, 3)) * (Math.Pow(size.QueryScalar, -0.5) / AttentionCap)).tanh() * AttentionCap + mask;
        return l.O.Forward(scores.softmax(-1, ScalarType.Float32).to(x.dtype).matmul(v).transpose(1, 2).reshape(rows, length, size.Heads * size.HeadDim));
    }

    Tensor Loss(Tensor x, Tensor ids)
    {
        using var inner = NewDisposeScope();
        // Token t predicts t + 1; the last of a row predicts nothing.
        var (rows, length) = (ids.shape[0], ids.shape[1]);
        var labels = cat([ids.narrow(1, 1, length - 1), full([rows, 1], -100, ScalarType.Int64, device)], 1).flatten();
        var logits = (Norm(x, finalNorm).matmul(embedding.t()) / FinalCap).tanh() * FinalCap;
        return nn.functional.cross_entropy(logits.view(rows * length, size.Vocabulary).to(ScalarType.Float32), labels, ignore_index: -100).MoveToOuterDisposeScope();
    }

    static Tensor Norm(Tensor x, Tensor w)
    {
        var f = x.to(ScalarType.Float32);
        return (f * rsqrt(f.square().mean([-1], keepdim: true) + Eps) * (w.to(ScalarType.Float32) + 1)).to(x.dtype);
    }

    static Tensor GeluTanh(Tensor x) => 0.5 * x * (1 + (Math.Sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)).tanh());

    static Tensor Rope(Tensor x, Tensor cos, Tensor sin)
    {
        var half = x.shape[^1] / 2;
        var turned = cat([-x.narrow(-1, half, half), x.narrow(-1, 0, half)], -1);
        return x * cos + turned * sin;
    }

    (Tensor Cos, Tensor Sin) Rotations(int length)
    {
        var half = size.HeadDim / 2;
        var frequency = pow(Theta, arange(half, ScalarType.Float32, device) * (-2.0 / size.HeadDim));
        var angle = arange(length, ScalarType.Float32, device).unsqueeze(1) * frequency.unsqueeze(0);
        var both = cat([angle, angle], -1);
        return (both.cos().to(type), both.sin().to(type));
    }

    Tensor Mask(int length, int? window)
    {
        var t = arange(length, ScalarType.Int64, device);
        var distance = t.unsqueeze(1) - t.unsqueeze(0);
        var hidden = distance.lt(0);
        if (window is { } w) hidden = hidden.logical_or(distance.ge(w));
        return zeros([length, length], type, device).masked_fill_(hidden, double.NegativeInfinity);
    }

    Tensor Frozen(params long[] shape) => empty(shape, type, device).normal_(0, shape.Length == 1 ? 0.1 : 0.02);

    LoraLinear Linear(int inputs, int outputs) => new(Frozen(outputs, inputs),
        new Parameter(empty([Rank, inputs], ScalarType.Float32, device).uniform_(-1 / Math.Sqrt(inputs), 1 / Math.Sqrt(inputs))),
        new Parameter(zeros([outputs, Rank], ScalarType.Float32, device)), (double)Alpha / Rank);
}
