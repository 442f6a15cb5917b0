using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.InteropServices;
using Graph.Dsl;
using Graph.Runtime;
using Graph.Runtime.Cpu;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;

namespace Graph.Fuzz;

/// <summary>One step of a compiled model on the CPU beside the reference.</summary>
public static class Check
{
    /// <summary>Decisions that are tried beside "save everything".</summary>
    public const int RandomDecisions = 3;

    // fp32 gives 7 digits, and sums of some hundred terms keep 6: a wrong factor, term or element shows far above.
    const double LossTolerance = 1e-5, GradientTolerance = 2e-5;
    // fp32 rounds by 6e-8; a kernel rounds after every few operations and a sum after every term.
    const double Fp32Disturbance = 2.4e-7;
    // A model is told to be ill-conditioned by two disturbed runs; ours is a third, and may be unluckier.
    const double DisturbanceFactor = 10;
    const double Cancelled = 5e-7;
    // Where fp32 keeps fewer than two digits, a comparison shows nothing.
    const double LeastDigits = 1e-2;

    public static Verdict Run(Compiled compiled, int decisions = RandomDecisions)
    {
        if (compiled.Failure is { } failure) return failure;
        var setup = compiled.Case.Setup;
        var batches = Batches(compiled.Case);
        var expected = TorchReference.Run(compiled.Case.Trace, setup, batches, new Storage.Exact());
        if (expected.Largest > 1e4 || !double.IsFinite(expected.Loss) || expected.Gradients.Values.Any(g => !g.All(double.IsFinite))) return new Verdict(Outcome.Unusable, "values above 10,000");
        var disturbed = new[] { 1, 2 }.Select(seed => TorchReference.Run(compiled.Case.Trace, setup, batches, new Storage.Disturbed(Fp32Disturbance, seed))).ToArray();
        var lossNoise = disturbed.Max(d => Math.Abs(d.Loss - expected.Loss));
        var noise = expected.Gradients.ToDictionary(g => g.Key, g => disturbed.Max(d => Distance(d.Gradients[g.Key], g.Value)));
        if (expected.Gradients.Any(g => Size(g.Value) is > 0 and var size && noise[g.Key] > LeastDigits * size && size > 1e-6)) return new Verdict(Outcome.Unusable, "ill-conditioned");

        try
        {
            var random = new Random(setup.Seed);
            var shapes = compiled.Case.Weights;
            var first = Train(compiled.Loaded!, shapes, setup, batches, null);
            var worst = 0.0;
            if (!Within(first.Loss, expected.Loss, LossTolerance * Math.Max(1, Math.Abs(expected.Loss)) + DisturbanceFactor * lossNoise, ref worst))
                return new Verdict(Outcome.Loss, FormattableString.Invariant($"the loss is {first.Loss:R}, torch has {expected.Loss:R} (fp32 rounding gives {lossNoise:G2})"));
            if (!Within(first.Evaluated, expected.Loss, LossTolerance * Math.Max(1, Math.Abs(expected.Loss)) + DisturbanceFactor * lossNoise, ref worst))
                return new Verdict(Outcome.Loss, FormattableString.Invariant($"the evaluated loss is {first.Evaluated:R}, torch has {expected.Loss:R} (fp32 rounding gives {lossNoise:G2})"));
            var largest = expected.Gradients.Values.Select(Size).DefaultIfEmpty().Max();
            foreach (var (name, gradient) in expected.Gradients)
            {
                var got = first.Gradients.TryGetValue(name, out var values) ? values : new float[gradient.Length];
                var error = Distance([.. got.Select(v => (double)v)], gradient);
                // Where everything cancels, what is left is rounding of the terms, whose size the model's other gradients show.
                var allowed = GradientTolerance * Size(gradient) + DisturbanceFactor * noise[name] + Cancelled * largest + 1e-9;
                if (!double.IsFinite(error) || error > allowed)
                    return new Verdict(Outcome.Gradient, FormattableString.Invariant($"the gradient of {name} is off by {error:G3} (allowed {allowed:G3}) of {Size(gradient):G3}, ours has {Size([.. got.Select(v => (double)v)]):G3}"), double.IsFinite(error) ? error / allowed : double.MaxValue);
                worst = Math.Max(worst, error / allowed);
            }
            for (var i = 0; i < decisions; i++)
            {
                var again = Train(compiled.Loaded!, shapes, setup, batches, random);
                if (again.Bits.AsSpan().SequenceEqual(first.Bits)) continue;
                var wrong = again.Gradients.Where(g => !g.Value.AsSpan().SequenceEqual(first.Gradients[g.Key])).Select(g => g.Key);
                return new Verdict(Outcome.Bits, $"recomputing {string.Join(", ", again.Recomputed)} changes {(again.Loss == first.Loss ? "" : "the loss, ")}{string.Join(", ", wrong)}");
            }
            return new Verdict(Outcome.Right, "", worst);
        }
        catch (Exception e)
        {
            return new Verdict(Outcome.Run, $"{e.GetType().Name}: {e.Message}\n{e.StackTrace}");
        }
    }

    public static IReadOnlyList<MicroBatch> Batches(Case model)
    {
        var (setup, ids, labels) = (model.Setup, model.Ids, model.Labels);
        return [.. setup.Documents.Select((documents, b) => MicroBatch.Pack(setup.Tokens, [.. documents.Select((length, d) => Values.Document(setup.Seed, b, d, length, ids, labels, setup.Unlabelled))]))];
    }

    sealed record Trained(double Loss, double Evaluated, IReadOnlyDictionary<string, float[]> Gradients, IReadOnlyList<string> Recomputed)
    {
        public byte[] Bits { get; } = [.. BitConverter.GetBytes(Loss), .. Gradients.OrderBy(g => g.Key, StringComparer.Ordinal).SelectMany(g => MemoryMarshal.AsBytes(g.Value.AsSpan()).ToArray())];
    }

    /// <summary>One step; random: each activation is saved or built again.</summary>
    static Trained Train(CompiledModel model, IReadOnlyDictionary<string, int[]> shapes, Setup setup, IReadOnlyList<MicroBatch> batches, Random? random)
    {
        var schedule = ScheduleText.Parse(model.Schedule());
        var ranks = RankTable.Create(schedule, name => setup.Ranks.GetValueOrDefault(name));
        var share = random?.NextDouble() ?? 0;
        var recomputed = random is null ? [] : schedule.Recipes.Select(r => r.Tensor).Where(_ => random.NextDouble() < share).ToArray();
        var options = new PlanOptions(setup.Tokens, ranks, ActType.F32, setup.LoraScale)
        {
            Decisions = new Decisions("random", recomputed.ToDictionary(t => t, _ => TensorAction.Recompute)), MicroBatches = batches.Count, LogitsRows = setup.LogitsRows,
        };
        // Memory that nothing wrote is not a number.
        using var device = new CpuDevice(poison: true);
        device.Load(model);
        using var session = new TrainingSession(device, ExecutionPlan.Create(schedule, options));
        session.LoadWeights(new ModelWeights(setup.Seed, shapes));
        var adapters = ranks.Adapters.ToArray();
        foreach (var a in adapters) session.SetAdapter(a.Linear, Values.Of(setup.Seed, a.Linear + ".lora_A", a.Rank, a.In), Values.Of(setup.Seed, a.Linear + ".lora_B", a.Out, a.Rank));
        var evaluated = random is not null ? 0 : batches.Sum(b => session.Evaluate(b).LossSum) / batches.Sum(b => b.LabelCount);
        var loss = session.Train(batches, 0).Loss;
        var gradients = new Dictionary<string, float[]>();
        foreach (var a in adapters) (gradients[a.Linear + ".lora_A"], gradients[a.Linear + ".lora_B"]) = session.GetGradient(a.Linear);
        return new Trained(loss, evaluated, gradients, recomputed);
    }

    static bool Within(double got, double expected, double allowed, ref double worst)
    {
        var error = Math.Abs(got - expected);
        if (!(error <= allowed)) return false;
        worst = Math.Max(worst, error / allowed);
        return true;
    }

    internal static double Size(double[] values) => Math.Sqrt(values.Sum(v => v * v));

    internal static double Distance(double[] a, double[] b) => a.Length == b.Length ? Math.Sqrt(a.Zip(b, (x, y) => (x - y) * (x - y)).Sum()) : double.NaN;
}
