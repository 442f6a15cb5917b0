using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Dsl;
using Graph.Runtime.Execution;
using TorchSharp;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;

namespace Graph.Fuzz;

/// <summary>What a step gives: the mean loss, the gradient of every adapter matrix by "name.lora_A" and "name.lora_B", the largest value on the way.</summary>
public sealed record StepValues(double Loss, IReadOnlyDictionary<string, double[]> Gradients, double Largest);

/// <summary>How a value is stored after it is computed, forward and backward.</summary>
public abstract record Storage
{
    /// <summary>As it is, in fp64.</summary>
    public sealed record Exact : Storage;

    /// <summary>
    /// In fp32, as all arithmetic is then: torch's own fp32 step. After a disturbance of up to 3/4 of a unit roundoff where Seed is not 0, so that each seed rounds
    /// another way.
    /// </summary>
    public sealed record Single(int Seed) : Storage;

    /// <summary>
    /// In 16 bits, after a disturbance of up to 3/4 of a unit roundoff where Seed is not 0: a composition of the same math, op by op. Scores keep 11 bits,
    /// statistics [T,1] are fp32.
    /// </summary>
    public sealed record Rounded(ScalarType Type, int Seed) : Storage;
}

/// <summary>
/// A trace run by TorchSharp with its autograd, in fp64 the fuzzer's oracle. It reads what the recorder wrote and knows nothing of the compiler: attention is
/// the whole T × T matrix under a mask, the loss the mean over labels that are not -100.
/// </summary>
public static class TorchReference
{
    /// <param name="trace">The model.</param>
    /// <param name="setup">Its weights, by seed.</param>
    /// <param name="batches">Of the step.</param>
    /// <param name="storage">How values are stored.</param>
    /// <param name="masks">What multiplies an adapter's input: by adapter, micro-batch, tokens and columns; null: there is no dropout.</param>
    public static StepValues Run(IReadOnlyList<TraceNode> trace, Setup setup, IReadOnlyList<MicroBatch> batches, Storage storage,
        Func<string, int, int, int, double[]>? masks = null)
    {
        using var scope = NewDisposeScope();
        var leaves = Leaves(trace, setup, storage is Storage.Single ? ScalarType.Float32 : ScalarType.Float64);
        bool IsTrained(string name) => setup.Full != IsAdapter(name);
        foreach (var (name, leaf) in leaves) if (IsTrained(name)) leaf.requires_grad_();
        var run = new Pass(trace, setup, leaves, storage, masks);
        var labels = batches.Sum(b => b.LabelCount);
        double loss = 0;
        foreach (var (batch, number) in batches.Select((b, i) => (b, i)))
        {
            using var step = NewDisposeScope();
            var sum = run.LossSum(batch, number) / labels;
            if (sum.requires_grad) sum.backward();
            loss += sum.to(ScalarType.Float64).item<double>();
        }
        return new StepValues(loss,
            leaves.Where(l => IsTrained(l.Key)).ToDictionary(l => l.Key,
                l => l.Value.grad is { } g && g.numel() > 0 ? g.to(ScalarType.Float64).contiguous().data<double>().ToArray() : new double[l.Value.numel()]), run.Largest);
    }

    static bool IsAdapter(string name) => name.EndsWith(".lora_A", StringComparison.Ordinal) || name.EndsWith(".lora_B", StringComparison.Ordinal);

    static Dictionary<string, Tensor> Leaves(IReadOnlyList<TraceNode> trace, Setup setup, ScalarType type)
    {
        var leaves = new Dictionary<string, Tensor>();
        foreach (var node in trace)
        {
            var attributes = new Attributes(node.Attributes);
            if (node.Op == "param") Add((string)attributes["name"]!, [.. node.Attributes.Skip(1).Select(a => (int)a.Value!)]);
            else if (node.Op is "lora_a" or "lora_b")
            {
                var (name, dim) = ((string)attributes["name"]!, attributes.Int("dim"));
                var rank = setup.Ranks.GetValueOrDefault(name);
                if (node.Op == "lora_a") Add(name + ".lora_A", [rank, dim]);
                else Add(name + ".lora_B", [dim, rank]);
            }
        }
        return leaves;

        void Add(string name, int[] shape)
        {
            if (!leaves.ContainsKey(name))
                leaves[name] = tensor(Values.Of(setup.Seed, name, shape).Select(v => setup.Full && IsAdapter(name) ? 0.0 : v).ToArray(),
                    shape.Select(d => (long)d).ToArray(), type);
        }
    }

    /// <summary>One micro-batch forward. Values inside of a score function exist per attention, with its scores in the argument's place.</summary>
    sealed class Pass(IReadOnlyList<TraceNode> trace, Setup setup, IReadOnlyDictionary<string, Tensor> leaves, Storage storage, Func<string, int, int, int, double[]>? masks)
    {
        readonly ScalarType type = storage is Storage.Single ? ScalarType.Float32 : ScalarType.Float64;
        int stored;

        public double Largest { get; private set; }

        public Tensor LossSum(MicroBatch batch, int number)
        {
            var ids = tensor(batch.Ids.Select(i => (long)i).ToArray());
            var docStart = tensor(batch.DocStart.Select(i => (long)i).ToArray());
            var inScore = new bool[trace.Count];
            var perToken = new bool[trace.Count];
            var values = new Tensor[trace.Count];
            foreach (var node in trace)
            {
                // What a score function computes ends at its attention.
                inScore[node.Id] = node.Op is "score_input" or "score_distance" or "score_head" || node.Op != "attention" && node.Inputs.Any(i => inScore[i]);
                if (inScore[node.Id]) continue;
                var attributes = new Attributes(node.Attributes);
                var x = node.Inputs.Where(i => !inScore[i]).Select(i => values[i]).ToArray();
                perToken[node.Id] = node.Op is "input" or "positions" || node.Inputs.Any(i => perToken[i]);
                // Torch aligns dimensions at the end, where [T,1] beside [T,N,D] is one value per token.
                if (x.Length == 2 && x[0].dim() + x[1].dim() == 5 && node.Inputs.All(i => perToken[i])) x = [.. x.Select(v => v.dim() == 2 ? v.unsqueeze(-1) : v)];
                values[node.Id] = node.Op switch
                {
                    "input" => ids,
                    "positions" => arange(ids.shape[0], ScalarType.Int64) - docStart,
                    "param" => leaves[(string)attributes["name"]!],
                    "lora_a" => leaves[attributes["name"] + ".lora_A"],
                    "lora_b" => leaves[attributes["name"] + ".lora_B"],
                    "lora_scale" => tensor(setup.ScaleOf((string)attributes["name"]!), type),
                    "const" => tensor(attributes.Double("value"), type),
                    "typed_const" => Store(tensor(attributes.Double("value"), type)),
                    "rope" => Store(Rope(x[0], ids.shape[0], docStart, attributes.Double("theta"), (string?)attributes["layers"])),
                    "linear" when masks is not null && trace[node.Inputs[1]] is { Op: "lora_a" } a =>
                        Store(Drop(x[0], (string)new Attributes(a.Attributes)["name"]!, number).matmul(x[1].t())),
                    "attention" => Attention(x[0], x[1], x[2], node.Inputs[3], attributes, docStart, values),
                    "split_heads" or "merge_heads" => OpTable.Find(node.Op).Torch!(x, attributes),
                    _ => Store(OpTable.Find(node.Op).Torch!(x, attributes)),
                };
            }
            var logits = values[^1];
            var labelled = batch.Labels.Select((l, t) => (l, t)).Where(p => p.l >= 0).ToArray();
            if (labelled.Length == 0) return zeros(1, type).sum();
            logits = logits.index_select(0, tensor(labelled.Select(p => (long)p.t).ToArray()));
            return (logits.logsumexp(-1) - logits.gather(1, tensor(labelled.Select(p => (long)p.l).ToArray()).unsqueeze(1)).squeeze(1)).sum();
        }

        Tensor Drop(Tensor x, string adapter, int number) => x * tensor(masks!(adapter, number, (int)x.shape[0], (int)x.shape[1]), x.shape, type);

        Tensor Attention(Tensor q, Tensor k, Tensor v, int score, Attributes attributes, Tensor docStart, Tensor[] values)
        {
            var (tokens, group) = (q.shape[0], q.shape[1] / k.shape[1]);
            var z = Scores(q.transpose(0, 1).matmul(Repeat(k).transpose(1, 2)) * attributes.Double("scale"));
            var t = arange(tokens, ScalarType.Int64);
            var distance = t.unsqueeze(1) - t.unsqueeze(0);
            var s = Region(score, z, distance, values).expand(z.shape);
            var visible = distance.ge(0).logical_and(t.unsqueeze(0).ge(docStart.unsqueeze(1)));
            if (attributes["window"] is not null) visible = visible.logical_and(distance.lt(attributes.Int("window")));
            var masked = s.masked_fill(visible.logical_not(), double.NegativeInfinity);
            // Not torch's softmax: what its backward cancels exactly, a kernel cancels up to rounding.
            var e = (masked - masked.amax([-1], keepdim: true).detach()).exp();
            var p = Store(e / e.sum(-1, keepdim: true));
            var o = p.matmul(Repeat(v));
            // A kernel subtracts delta, which it has from o, where autograd subtracts Σ p·dp: what is left of dS = p·(dp − delta) where they cancel is rounding of the
            // products in dp, and not of dS. No value, but this gradient: by the kernel's own way, or, where storage alone rounds, as noise of that size.
            var ds = p.detach() * (s - s.detach()).masked_fill(visible.logical_not(), 0);
            if (storage is Storage.Single) o = p.detach().matmul(Repeat(v)) + ds.matmul(Repeat(v).detach()) - o.detach() * ds.sum(-1, keepdim: true);
            if (storage is Storage.Rounded r) o += ds.matmul(Repeat(v).detach() * Random(Repeat(v), Roundoff(r.Type), Seed));
            return Store(o.transpose(0, 1));

            Tensor Repeat(Tensor x) => x.repeat_interleave(group, 1).transpose(0, 1);
        }

        // Read by the trace's own lines, with z where the argument stands.
        Tensor Region(int id, Tensor z, Tensor distance, Tensor[] values)
        {
            if (trace[id].Op == "score_input") return z;
            if (trace[id].Op == "score_distance") return distance.to(type);
            if (trace[id].Op == "score_head") return arange(z.shape[0], type).view(-1, 1, 1);
            if (values[id] is { } constant) return constant;
            return Scores(OpTable.Find(trace[id].Op).Torch!([.. trace[id].Inputs.Select(i => Region(i, z, distance, values))], new Attributes(trace[id].Attributes)));
        }

        Tensor Rope(Tensor x, long tokens, Tensor docStart, double theta, string? layers)
        {
            var half = x.shape[2] / 2;
            var positions = (arange(tokens, ScalarType.Int64) - docStart).to(type);
            // Frequencies first, as transformers does: in fp32 an angle of many radians is off by what they were rounded by.
            var table = Values.Rope(layers)?.Table(theta, (int)(2 * half), setup.Tokens);
            var frequencies = table is null ? 1 / pow(theta, arange(half, type) * 2 / (2.0 * half)) : tensor(table[..^1]).to(type);
            var angle = positions.unsqueeze(1) * frequencies.unsqueeze(0);
            var factor = table?[^1] ?? 1;
            var (cos, sin) = (angle.cos().unsqueeze(1) * factor, angle.sin().unsqueeze(1) * factor);
            var (a, b) = (x.narrow(2, 0, half), x.narrow(2, half, half));
            return cat([a * cos - b * sin, b * cos + a * sin], 2);
        }

        Tensor Store(Tensor y)
        {
            if (y.numel() == 0) return y;
            if (storage is Storage.Exact)
            {
                if (y.requires_grad || Largest == 0) Largest = Math.Max(Largest, Finite(y.detach().abs().max().item<double>()));
                return y;
            }
            var isStatistic = y.dim() > 1 && y.shape[^1] == 1;
            return storage switch
            {
                Storage.Single { Seed: > 0 } => Disturb(y.to(ScalarType.Float64), 0.75 * Roundoff(type), Seed).to(type),
                Storage.Rounded r when !isStatistic => (r.Seed == 0 ? y : Disturb(y, 0.75 * Roundoff(r.Type), r.Seed)).to(r.Type).to(ScalarType.Float64),
                _ => y,
            };
        }

        Tensor Scores(Tensor s) => storage is Storage.Rounded r ? Disturb(s, 1.0 / 2048, r.Seed) : Store(s);

        // The factor is no function of y, so the gradient is disturbed by it too.
        Tensor Disturb(Tensor y, double size, int seed) => y * (1 + Random(y, size, seed));

        Tensor Random(Tensor y, double size, int seed)
        {
            using var generator = new torch.Generator((ulong)(seed * 100_003L + ++stored));
            return size * (rand(y.shape, ScalarType.Float64, generator: generator) * 2 - 1);
        }

        int Seed => storage switch { Storage.Single s => s.Seed, Storage.Rounded r => r.Seed, _ => 0 };

        static double Finite(double value) => double.IsFinite(value) ? value : double.MaxValue;

        static double Roundoff(ScalarType type) => type switch { ScalarType.Float32 => 1.0 / (1 << 24), ScalarType.BFloat16 => 1.0 / 256, _ => 1.0 / 2048 };
    }
}
