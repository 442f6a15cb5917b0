using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Graph.Generator;
using Graph.Generator.Emit;
using Graph.Generator.Kernels;
using Graph.Generator.IR;
using Graph.Generator.Ops;
using Graph.Generator.Passes;
using Graph.Generator.Schedules;
using Graph.Runtime.Cuda;
using Xunit;

namespace Graph.Snapshots.Tests;

/// <summary>Attention's kernels for every head dim, kind of score and target through NVRTC, with heads that no Gemma 2 has. Results are kept by text in .cache.</summary>
public sealed class AttentionMatrixTests
{
    static readonly int[] HeadDims = [32, 48, 64, 80, 96, 128, 256], RareHeadDims = [16, 160, 192, 224];

    static readonly Expr Scaled = new Expr.Number(0.0625) * Expr.Var("s"), Head = Expr.Var("head"), Distance = Expr.Var("distance");

    /// <summary>One that is bounded, the plain one, ALiBi, and one whose slope depends on the position.</summary>
    static readonly IReadOnlyDictionary<string, Expr> Scores = new Dictionary<string, Expr>
    {
        ["softcap"] = new Expr.Number(50) * Expr.Apply(UnaryKind.Tanh, Scaled / new Expr.Number(50)),
        ["plain"] = Scaled,
        ["alibi"] = Scaled - Expr.Apply(UnaryKind.Exp, new Expr.Number(-0.35) * (Head + Expr.One)) * Distance,
        ["decay"] = Scaled * Expr.Apply(UnaryKind.Rsqrt, Expr.One + Distance),
    };

    /// <summary>Heads and kv heads: ratios that are odd, 1 and large, and multi-query.</summary>
    static readonly (int Heads, int KvHeads)[] HeadCounts = [(6, 2), (5, 1), (3, 3), (8, 1), (12, 2), (7, 7), (8, 4)];

    /// <summary>The matrix; the heads go round.</summary>
    static IEnumerable<(Target Target, int HeadDim, string Score, int Window)> Cases() =>
        from headDim in HeadDims.Concat(RareHeadDims)
        from target in Target.All
        // sm_86 and sm_89 have equal texts and tiles.
        from score in target.Name == "sm_89" || RareHeadDims.Contains(headDim) ? ["alibi"] : target.HasWgmma ? Scores.Keys.ToArray() : ["softcap", "alibi"]
        select (target, headDim, score, score is "alibi" or "decay" ? 100 : 0);

    static IReadOnlyList<EmittedText> Emit(Target target, int headDim, string score, int window, int heads, int kvHeads)
    {
        AttentionBody Body(AttentionPart part) => new(part, part == AttentionPart.Delta ? null : new ScoreFunction(Scores[score], window), heads, kvHeads, headDim);
        Kernel[] kernels = [.. Enum.GetValues<AttentionPart>()
            .Select(p => new Kernel("attention_" + p.ToString().ToLowerInvariant(), Body(p), default, FusedOps.None, 1, default))];
        var names = kernels.Select(k => k.Name).Concat([AttentionBody.FromDs(kernels.Single(k => k.Name == "attention_dq"))]).ToHashSet();
        return [.. EmitCuda.Run(target, kernels, []).Where(k => names.Contains(k.Info.Name))
            .Select(k => new EmittedText($"{headDim}-{score}", target.Name, k.Info, KernelText.Join(k.Parts, CudaText.Template)))];
    }

    static readonly Lazy<IReadOnlyList<(EmittedText Kernel, CompiledKernel Code)>> All = new(() =>
    {
        var folder = Path.Combine(Emitted.Root, ".cache", "test-kernels");
        if (!OperatingSystem.IsWindows()) Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        var compiler = new KernelCompiler(null, KernelCache.Open(folder));
        return Cases().SelectMany((c, i) => Emit(c.Target, c.HeadDim, c.Score, c.Window, HeadCounts[i % HeadCounts.Length].Heads, HeadCounts[i % HeadCounts.Length].KvHeads))
            .GroupBy(k => k.Target).SelectMany(target =>
            {
                var kernels = target.ToArray();
                return kernels.Zip(compiler.Get(kernels.Select(k => k.Text).ToArray(), target.Key, i => kernels[i].Variant + "/" + kernels[i].Info.Name + ".cu"));
            }).ToArray();
    });

    [Fact]
    public void Kernels_EveryHeadDimScoreAndTarget_CompileWithoutSpillsOrIgnoredHints()
    {
        var bad = from k in All.Value
                  from reason in k.Code.Warnings.Concat(k.Code.Functions.Where(f => f.SpillStoreBytes + f.SpillLoadBytes > 0)
                      .Select(f => $"{f.Name} spills {f.SpillStoreBytes} bytes"))
                  select $"{k.Kernel.Target} {k.Kernel.Variant} {k.Kernel.Info.Name}: {reason}";
        Assert.Empty(bad);
    }

    [Fact]
    public void Kernels_EveryHeadDimScoreAndTarget_FitABlockOfTheTarget()
    {
        int Shared(string target) => 1024 * Target.Named(target).SharedKilobytes;
        var bad = from k in All.Value
                  let f = k.Code.Functions.Single(f => f.Name == k.Kernel.Info.Name)
                  where f.SharedBytes + k.Kernel.Info.SharedBytes > Shared(k.Kernel.Target) || (f.Registers + 7) / 8 * 8 * k.Kernel.Info.Block > 65_536
                  select $"{k.Kernel.Target} {k.Kernel.Variant} {k.Kernel.Info.Name}: {k.Kernel.Info.SharedBytes} bytes, {f.Registers} registers x {k.Kernel.Info.Block} threads";
        Assert.Empty(bad);
    }

    /// <summary>What is multiplied by wgmma does not depend on the score; a score that is bounded takes no row maximum where the elements hold 2^73.</summary>
    [Theory]
    [InlineData("sm_90a", 128, "plain", true, false), InlineData("sm_90a", 256, "alibi", true, false), InlineData("sm_90a", 256, "softcap", true, true),
     InlineData("sm_90a", 64, "plain", true, false), InlineData("sm_90a", 96, "plain", false, false)]
    [InlineData("sm_80", 128, "softcap", false, true), InlineData("sm_75", 128, "softcap", false, false), InlineData("sm_80", 64, "alibi", false, false)]
    public void Emit_Forward_OnWgmmaAndWithAMaximumWhere(string target, int headDim, string score, bool wgmma, bool bounded)
    {
        var kernels = Emit(Target.Named(target), headDim, score, 0, 6, 2);
        Assert.Equal(wgmma, kernels.Single(k => k.Info.Kind == KernelKind.AttentionForward).Text.Contains("wgmma_scores<D, TILE_Q, TILE_K>(s, own", StringComparison.Ordinal));
        Assert.Equal(wgmma ? KernelKind.AttentionDkdvToDs : KernelKind.AttentionDkdv, kernels.Single(k => k.Info.Name == "attention_dkdv").Info.Kind);
        Assert.All(kernels.Where(k => k.Info.Kind == KernelKind.AttentionForward),
            k => Assert.Contains($"#define BOUNDED {(bounded ? 1 : 0)}\n", k.Text, StringComparison.Ordinal));
    }

    /// <summary>Every head dim has tiles on every target or none has, and the sentence that refuses one is the tracer's.</summary>
    [Fact]
    public void For_EveryHeadDim_HasTilesOrASentence()
    {
        for (var headDim = 1; headDim <= 320; headDim++)
            foreach (var target in Target.All)
                foreach (var kernel in Enum.GetValues<AttentionPart>())
                    if (Attention.HeadDimError(headDim) is { } error) Assert.Equal(error, Assert.Throws<ShapeError>(() => AttentionTiles.For(target, headDim, kernel)).Message);
                    else Assert.InRange(AttentionTiles.For(target, headDim, kernel).Threads, 64, 256);
        Assert.All(HeadDims.Concat(RareHeadDims), d => Assert.Null(Attention.HeadDimError(d)));
        Assert.Equal("attention: the head dim is 40; it must be a multiple of 16 up to 96, or of 32 up to 256", Attention.HeadDimError(40));
    }
}
