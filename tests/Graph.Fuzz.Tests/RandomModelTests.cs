using System;
using System.Linq;
using System.Reflection;
using Graph.Fuzz.Generation;
using Xunit;

namespace Graph.Fuzz.Tests;

/// <summary>
/// Models that nobody thought of: drawn by seed, compiled, trained for a step on the CPU and compared with torch, under random save, recompute and offload decisions
/// too. bench/Graph.Fuzz.Bench runs more of them.
/// </summary>
public sealed class RandomModelTests
{
    const int Batch = 50;

    // Time to make a failing model smaller: enough for a reader, and the tests still end.
    static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);

    public static TheoryData<int> Batches => new(Enumerable.Range(0, 6).Select(i => i * Batch));

    [Theory]
    [MemberData(nameof(Batches))]
    public void Step_OfRandomModels_IsTorchs(int first) => IsTorchs([.. Enumerable.Range(first, Batch).Select(seed => RandomModel.Of(seed))], first, _ => false);

    [Fact]
    public void Step_WithDropout_IsTorchs() =>
        IsTorchs([.. Enumerable.Range(0, Batch).Select(seed => RandomModel.Of(seed)).Select(m => m with { Setup = m.Setup with { Dropout = 0.3 } })], 0, _ => false);

    [Fact]
    public void Step_WithAScaleForEachAdapter_IsTorchsOrRefused() =>
        IsTorchs([.. Enumerable.Range(0, Batch).Select(seed => RandomModel.Of(seed)).Select(m => m with { Setup = m.Setup with { OwnScales = true } })], 0,
            v => v.Message.Contains("so all adapters must have one scale"));

    /// <summary>Full finetuning; what it refuses names it.</summary>
    [Fact]
    public void Step_OfAllWeights_IsTorchsOrRefused() =>
        IsTorchs([.. Enumerable.Range(0, Batch).Select(seed => RandomModel.Of(seed)).Select(m => m with { Setup = m.Setup with { Full = true } })], 0,
            v => v.Outcome == Outcome.Refused && v.Message.StartsWith("full: ", StringComparison.Ordinal));

    static void IsTorchs(Model[] models, int first, Func<Verdict, bool> isRefused)
    {
        var verdicts = Fuzzer.Check(models);
        var failed = Enumerable.Range(0, Batch).Where(i => verdicts[i].IsFailure && !isRefused(verdicts[i])).ToArray();
        Assert.True(failed.Length == 0, $"{failed.Length} of {Batch} models fail:\n"
            + $"{string.Join("\n", failed.Select(i => $"seed {first + i}: {verdicts[i].Outcome}: {verdicts[i].Message.Split('\n')[0]}"))}\n\n"
            + (failed.Length == 0 ? "" : Fuzzer.Report(first + failed[0], models[failed[0]], verdicts[failed[0]], Limit)));
    }

    /// <summary>A fuzzer whose models say nothing finds nothing: most of them have digits to compare, and every op and form is drawn.</summary>
    [Fact]
    public void Models_OfFixedSeeds_HaveEveryOp()
    {
        var models = Enumerable.Range(0, 300).Select(seed => RandomModel.Of(seed)).ToArray();
        Assert.All(models, m => Assert.NotNull(m.Types()));
        Assert.Empty(OpTable.Names.Except(models.SelectMany(m => m.Steps).Select(s => s.Op)));
        Assert.InRange(models.SelectMany(m => m.Features).Distinct().Count(), 60, 200);
    }

    /// <summary>The table has every op of the DSL.</summary>
    [Fact]
    public void OpTable_HasEveryOpOfTheDsl()
    {
        var dsl = typeof(Dsl.Ops).GetMethods().Concat(typeof(Dsl.Tensor).GetMethods()).Select(m => m.GetCustomAttribute<Dsl.OpAttribute>()?.Name).OfType<string>().Distinct();
        Assert.Empty(dsl.Except(OpTable.Names));
    }

    [Fact]
    public void Model_OfASeed_IsTheSameAgain() =>
        Assert.Equal(PrintModel.Run(RandomModel.Of(7), "Model"), PrintModel.Run(RandomModel.Of(7), "Model"));

    /// <summary>A fault put into a model's numbers shows.</summary>
    [Fact]
    public void Check_OfAnotherModelsReference_Fails()
    {
        var model = RandomModel.Of(1, variety: 0);
        var wrong = model with { Steps = [.. model.Steps.Select(s => s.Op == "rms_norm" ? s with { Number = s.Number * 1.01 + 0.01 } : s)] };
        using var batch = new CompiledBatch([Case.Of(wrong)]);
        var verdict = Check.Run(batch.Models[0] with { Case = Case.Of(model) });
        Assert.Equal(Outcome.Loss, verdict.Outcome);
    }

    /// <summary>The derivative of 1/√x with a factor that is off by a thousandth: a fault of the backward alone, of a size that 16 bits would hide.</summary>
    [Fact]
    public void Check_OfADerivativeOffByAThousandth_Fails()
    {
        using var batch = new CompiledBatch([Case.Of(RandomModel.Of(1, variety: 0))], edit: source => source.Replace("V(-0.5f)", "V(-0.5005f)"));
        Assert.Contains("V(-0.5f)", batch.Models[0].Text!.CpuSource);
        Assert.Equal(Outcome.Gradient, Check.Run(batch.Models[0], 0).Outcome);
    }
}
