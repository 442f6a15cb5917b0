using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Runtime.InteropServices;
using Graph.Dsl;
using Graph.Runtime;
using Graph.Runtime.Cpu;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;
using Graph.Runtime.Tests;

namespace Graph.Fuzz;

/// <summary>
/// One step of a compiled model on the CPU beside torch's in fp64. Fp32 steps of torch say how far it may be off: the loss by twice the worst of their errors, each gradient
/// matrix by three times, in L2; half a rounding is always allowed. FuzzCheck.cs has the same rule in 16 bits.
/// A disturbed fp64 step would not do: it is the exact gradient of another model, in which a norm's gradient along its own input still cancels to nothing.
/// </summary>
public static class Check
{
    /// <summary>Decisions and token tiles that are tried beside "save everything, all tokens at once".</summary>
    public const int RandomDecisions = 3;

    const double LossFactor = 2, GradientFactor = 3;
    // Two steps are enough for most models. The error of the loss, or of a gradient that hangs on one number, is large or small by luck: 64 speak before it is called wrong.
    static readonly int[] Steps = [2, 16, 64];
    const double HalfRounding = 1.0 / (1 << 24);

    // A few dozen tokens are more than one unit of the sums over tokens.
    const int TokenUnit = 4;

    public static Verdict Run(Compiled compiled, int decisions = RandomDecisions)
    {
        if (compiled.Failure is { } failure) return failure;
        var setup = compiled.Case.Setup;
        var batches = Batches(compiled.Case);
        var masks = Masks(compiled);
        var expected = TorchReference.Run(compiled.Case.Trace, setup, batches, new Storage.Exact(), masks);
        if (expected.Largest > 1e4 || !double.IsFinite(expected.Loss) || expected.Gradients.Values.Any(g => !g.All(double.IsFinite)))
            return new Verdict(Outcome.Unusable, "values above 10,000");
        var single = Single(compiled.Case, batches, 0, Steps[0], masks);
        if (!single.All(s => double.IsFinite(s.Loss) && s.Gradients.Values.All(g => g.All(double.IsFinite)))) return new Verdict(Outcome.Unusable, "no numbers in fp32");

        try
        {
            var random = new Random(setup.Seed);
            var shapes = compiled.Case.Weights;
            var first = Train(compiled.Loaded!, shapes, setup, batches, null);
            var worst = 0.0;
            foreach (var (what, loss) in masks is null ? new[] { ("loss", first.Loss), ("evaluated loss", first.Evaluated) } : [("loss", first.Loss)])
            {
                // It is one fp32 number, that every micro-batch adds its share to.
                var share = Share(Math.Abs(loss - expected.Loss), LossFactor, (batches.Count + 1) * Math.Max(1, Math.Abs(expected.Loss)),
                    steps => steps.Max(s => Math.Abs(s.Loss - expected.Loss)), out var allowed);
                if (share > 1)
                    return new Verdict(Outcome.Loss, FormattableString.Invariant($"the {what} is {loss:R}, torch has {expected.Loss:R} (allowed {allowed:G2} off)"), share);
                worst = Math.Max(worst, share);
            }
            foreach (var (name, gradient) in expected.Gradients)
            {
                var got = first.Gradient(name, gradient.Length);
                var error = Distance(got, gradient);
                var share = Share(error, GradientFactor, Size(gradient), steps => Noise(steps, name, gradient), out var allowed);
                if (share > 1)
                    return new Verdict(Outcome.Gradient,
                        FormattableString.Invariant($"the gradient of {name} is off by {error:G3} (allowed {allowed:G3}) of {Size(gradient):G3}, ours has {Size(got):G3}"), share);
                worst = Math.Max(worst, share);
            }
            for (var i = 0; i < decisions; i++)
            {
                var again = Train(compiled.Loaded!, shapes, setup, batches, random);
                if (again.Bits.AsSpan().SequenceEqual(first.Bits)) continue;
                var wrong = again.Gradients.Where(g => !g.Value.AsSpan().SequenceEqual(first.Gradients[g.Key])).Select(g => g.Key);
                var losses = (again.Loss == first.Loss ? "" : "the loss, ") + (again.Evaluated == first.Evaluated ? "" : "the evaluated loss, ");
                var (recomputed, away) = (string.Join(", ", again.Recomputed), string.Join(", ", again.Away));
                return new Verdict(Outcome.Bits, $"tiles of {again.Tile} tokens, recomputing {recomputed}, keeping {away} on the host, change {losses}{string.Join(", ", wrong)}");
            }
            return new Verdict(Outcome.Right, "", worst);
        }
        catch (ArgumentException e) when (setup.OwnScales && e.Message.StartsWith("ranks: ", StringComparison.Ordinal))
        {
            return new Verdict(Outcome.Refused, e.Message);
        }
        catch (Exception e)
        {
            return new Verdict(Outcome.Run, $"{e.GetType().Name}: {e.Message}\n{e.StackTrace}");
        }

        // The error by what is allowed.
        double Share(double error, double factor, double size, Func<IReadOnlyList<StepValues>, double> noise, out double allowed)
        {
            allowed = 0;
            foreach (var count in Steps)
            {
                if (single.Count < count) single = [.. single, .. Single(compiled.Case, batches, single.Count, count - single.Count, masks)];
                allowed = factor * Math.Max(HalfRounding * size, noise(single));
                if (error <= allowed) break;
            }
            return error == 0 ? 0 : double.IsNaN(error) ? double.PositiveInfinity : error / allowed;
        }
    }

    static IReadOnlyList<StepValues> Single(Case model, IReadOnlyList<MicroBatch> batches, int first, int count, Func<string, int, int, int, double[]>? masks) =>
        [.. Enumerable.Range(first, count).Select(seed => TorchReference.Run(model.Trace, model.Setup, batches, new Storage.Single(seed), masks))];

    // The mask is the runtime's own function; where it applies is the reference's.
    static Func<string, int, int, int, double[]>? Masks(Compiled compiled)
    {
        if (compiled.Case.Setup is not { Dropout: > 0, Full: false } setup) return null;
        var numbers = ScheduleText.Parse(compiled.Loaded!.Schedule()).Adapters.SelectMany(s => s.Adapters).Select((a, i) => (a.Name, i)).ToDictionary(a => a.Name, a => (uint)a.i);
        var threshold = (uint)Math.Round(setup.Dropout * 4294967296.0);
        var made = new Dictionary<(string, int), double[]>();
        return (adapter, batch, rows, columns) =>
        {
            if (made.TryGetValue((adapter, batch), out var mask)) return mask;
            made[(adapter, batch)] = mask = new double[rows * columns];
            for (var i = 0; i < mask.Length; i++)
            {
                var (x, y, z, w) = CpuDropout.Philox((uint)(i % columns) / 4, (uint)(i / columns), numbers.GetValueOrDefault(adapter), (uint)batch, (uint)setup.Seed, 0);
                mask[i] = (i % columns % 4) switch { 0 => x, 1 => y, 2 => z, _ => w } < threshold ? 0 : 1 / (1 - setup.Dropout);
            }
            return mask;
        };
    }

    static double Noise(IReadOnlyList<StepValues> steps, string name, double[] gradient) => steps.Max(s => Distance(s.Gradients[name], gradient));

    /// <summary>Per gradient its size, and how far ours and some fp32 steps of torch are off.</summary>
    public static IEnumerable<string> Digits(Compiled compiled)
    {
        var (model, batches) = (compiled.Case, Batches(compiled.Case));
        var masks = Masks(compiled);
        var expected = TorchReference.Run(model.Trace, model.Setup, batches, new Storage.Exact(), masks);
        var ours = Train(compiled.Loaded!, model.Weights, model.Setup, batches, null);
        var single = Single(model, batches, 0, 16, masks);
        yield return Line("loss", Math.Abs(expected.Loss), Math.Abs(ours.Loss - expected.Loss), single.Select(s => Math.Abs(s.Loss - expected.Loss)));
        foreach (var (name, gradient) in expected.Gradients)
            yield return Line(name, Size(gradient), Distance(ours.Gradient(name, gradient.Length), gradient), single.Select(s => Distance(s.Gradients[name], gradient)));

        static string Line(string name, double size, double error, IEnumerable<double> single) =>
            FormattableString.Invariant(
                $"{name}: {size:G3}, ours is off by {error:G3}, torch in fp32 by {string.Join(" ", single.Order().Select(e => e.ToString("G2", CultureInfo.InvariantCulture)))}");
    }

    public static IReadOnlyList<MicroBatch> Batches(Case model)
    {
        var (setup, ids, labels) = (model.Setup, model.Ids, model.Labels);
        return [.. setup.Documents.Select((documents, b) => MicroBatch.Pack(setup.Tokens,
            [.. documents.Select((length, d) => Values.Document(setup.Seed, b, d, length, ids, labels, setup.Unlabelled))]))];
    }

    sealed record Trained(
        double Loss, double Evaluated, IReadOnlyDictionary<string, float[]> Gradients, IReadOnlyList<string> Recomputed, IReadOnlyList<string> Away, int? Tile)
    {
        // The run leaves adapters of rank 0 out.
        public double[] Gradient(string name, int length) => Gradients.TryGetValue(name, out var values) ? [.. values.Select(v => (double)v)] : new double[length];

        public byte[] Bits { get; } = [.. BitConverter.GetBytes(Loss), .. BitConverter.GetBytes(Evaluated),
            .. Gradients.OrderBy(g => g.Key, StringComparer.Ordinal).SelectMany(g => MemoryMarshal.AsBytes(g.Value.AsSpan()).ToArray())];
    }

    /// <summary>
    /// One step; random: each activation is saved, built again, or goes to the host and comes back when the bus likes, as do weights,
    /// and launches run tile by tile wherever that makes tensors smaller.
    /// </summary>
    static Trained Train(CompiledModel model, IReadOnlyDictionary<string, int[]> shapes, Setup setup, IReadOnlyList<MicroBatch> batches, Random? random)
    {
        var schedule = ScheduleText.Parse(model.Schedule());
        var ranks = RankTable.Create(schedule, name => setup.Full ? 0 : setup.Ranks.GetValueOrDefault(name), setup.OwnScales ? setup.ScaleOf : null);
        var share = random?.NextDouble() ?? 0;
        var recomputed = random is null ? [] : schedule.Recipes.Select(r => r.Tensor).Where(_ => random.NextDouble() < share).ToArray();
        int? tile = random is null || setup.Dropout > 0 ? null : TokenUnit * random.Next(1, setup.Tokens / TokenUnit + 2);
        var away = random?.NextDouble() ?? 0;
        var activations = schedule.Tensors.Where(t => t.Kind == TensorKind.Activation).Select(t => t.Name);
        var offloaded = random is null ? [] : activations.Except(recomputed).Where(_ => random.NextDouble() < away).ToArray();
        var streamed = random is null || setup.Full ? WeightStorages.Resident
            : WeightStorages.Streamed(schedule, WeightStorages.Resident).Where(_ => random.NextDouble() < away).ToDictionary();
        CopyTime Drawn() => (CopyTime)(random?.Next(2) ?? 0);
        var options = new PlanOptions(setup.Tokens, ranks, ActType.F32, setup.LoraScale)
        {
            Decisions = new Decisions("random", recomputed.Select(t => (t, TensorAction.Recompute)).Concat(offloaded.Select(t => (t, TensorAction.Offload))).ToDictionary()),
            MicroBatches = batches.Count, LogitsRows = setup.LogitsRows,
            Storage = streamed, Pace = new TransferPace(Math.Pow(10, 4 * (random?.NextDouble() ?? 0) - 2), Landing: 1 + 2 * (random?.NextDouble() ?? 0)),
            Dropout = setup.Dropout > 0 && ranks.Adapters.Count > 0 ? new DropoutOptions(setup.Dropout, setup.Seed) : null,
            TokenUnit = TokenUnit, TokenTile = tile, ArenaBytes = 0,
            Ropes = schedule.Tensors.Where(t => Values.Rope(t.Rope?.Layers) is not null).ToDictionary(t => t.Name, t => Values.Rope(t.Rope!.Layers)!),
        };
        // Memory that nothing wrote is not a number.
        using var device = new LateCopies(new CpuDevice(poison: true), Drawn(), Drawn());
        device.Load(model);
        using var session = new TrainingSession(device, ExecutionPlan.Create(schedule, options));
        session.LoadWeights(new ModelWeights(setup.Seed, shapes));
        var adapters = ranks.Adapters.ToArray();
        foreach (var a in adapters)
            session.SetAdapter(a.Linear, Values.Of(setup.Seed, a.Linear + ".lora_A", a.Rank, a.In), Values.Of(setup.Seed, a.Linear + ".lora_B", a.Out, a.Rank));
        var evaluated = batches.Sum(b => session.Evaluate(b).LossSum) / batches.Sum(b => b.LabelCount);
        var loss = session.Train(batches, 0).Loss;
        var gradients = new Dictionary<string, float[]>();
        foreach (var a in adapters) (gradients[a.Linear + ".lora_A"], gradients[a.Linear + ".lora_B"]) = session.GetGradient(a.Linear);
        foreach (var w in session.Plan.Optimizer.Weights)
        {
            var (values, at) = (session.GetWeightGradient(w.Weight.Name), 0);
            foreach (var (name, shape) in w.Weight.Stored())
            {
                var count = shape.Aggregate(1, (n, d) => n * d);
                gradients[name] = values[at..(at += count)];
            }
        }
        return new Trained(loss, evaluated, gradients, recomputed, [.. offloaded, .. streamed.Keys], tile);
    }

    internal static double Size(double[] values) => Math.Sqrt(values.Sum(v => v * v));

    internal static double Distance(double[] a, double[] b) => a.Length == b.Length ? Math.Sqrt(a.Zip(b, (x, y) => (x - y) * (x - y)).Sum()) : double.NaN;
}
