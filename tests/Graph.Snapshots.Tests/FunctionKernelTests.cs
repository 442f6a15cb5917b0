using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Graph.Generator;
using Graph.Generator.Emit;
using Graph.Generator.Kernels;
using Graph.Generator.IR;
using Graph.Generator.Passes;
using Graph.Generator.Schedules;
using Graph.Runtime.Cuda;
using Xunit;

namespace Graph.Snapshots.Tests;

/// <summary>Row kernels that Gemma 2 has not, through NVRTC for every target: rows that are heads, rows as wide as a rank, other functions, and products that run them in
/// their tiles.</summary>
public sealed class FunctionKernelTests
{
    static readonly Lazy<IReadOnlyList<(EmittedText Kernel, CompiledKernel Code)>> All = new(() =>
    {
        var folder = Path.Combine(Emitted.Root, ".cache", "test-kernels");
        if (!OperatingSystem.IsWindows()) Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        var compiler = new KernelCompiler(null, KernelCache.Open(folder));
        // The broadcasts' products get epilogues of more work than a tile's warps have registers for, which no real model has.
        return Emitted.Functions.Keys.SelectMany(Emitted.Kernels)
            .Where(k => k.Info.Kind == KernelKind.Row || k.Info.Kind == KernelKind.GemmEpilogue && k.Variant != "broadcasts").Concat(ByHand()).GroupBy(k => k.Target)
            .SelectMany(target =>
            {
                var kernels = target.ToArray();
                return kernels.Zip(compiler.Get(kernels.Select(k => k.Text).ToArray(), target.Key, i => kernels[i].Variant + "/" + kernels[i].Info.Name + ".cu"));
            }).ToArray();
    });

    static readonly Expr X = Expr.Var("x");

    /// <summary>y = tanh(x) · s on [T,R].</summary>
    static readonly RowBody Ranks = new(RowBody.RankColumns, new[] { new RowOutput("y", false) },
        new[] { new RowInput("x", RowInputKind.Matrix), new RowInput("s", RowInputKind.Scalar) },
        new RowStatement[] { new RowStatement.Let("y", Expr.Apply(UnaryKind.Tanh, X) * Expr.Var("s"), "mul"), new RowStatement.Store("y") });

    /// <summary>y = x / Σx and that sum, of heads of so many columns.</summary>
    static RowBody Heads(int heads, int columns) => new(columns, new[] { new RowOutput("y", false), new RowOutput("sum", true) },
        new[] { new RowInput("x", RowInputKind.Matrix), new RowInput("w", RowInputKind.HeadVector) },
        new RowStatement[] { new RowStatement.Reduce("sum", X), new RowStatement.StoreRow("sum"),
            new RowStatement.Let("y", X / Expr.Var("sum") * Expr.Var("w"), "mul"), new RowStatement.Store("y") }, heads);

    /// <summary>Every width of a head from one thread of 8 columns to a block's 1,024.</summary>
    static IEnumerable<EmittedText> ByHand()
    {
        var bodies = new[] { 8, 48, 80, 96, 128, 256, 264, 1000, 8192 }.Select(columns => ($"heads{columns}", Heads(columns == 8 ? 100 : 5, columns))).Prepend(("ranks", Ranks));
        foreach (var target in Graph.Generator.Schedules.Target.All)
            foreach (var (name, body) in bodies)
            {
                var kernel = EmitCuda.Run(target, [new Kernel(name, body, default, FusedOps.None, 1, default)], []).Single(k => k.Info.Name == name);
                yield return new EmittedText("by hand", target.Name, kernel.Info, KernelText.Join(kernel.Parts, CudaText.Template));
            }
    }

    [Fact]
    public void Kernels_EveryTarget_CompileWithoutSpillsAndFitTheirBlock()
    {
        var bad = from k in All.Value
                  let f = k.Code.Functions.Single(f => f.Name == k.Kernel.Info.Name)
                  from reason in k.Code.Warnings.Concat(f.SpillStoreBytes + f.SpillLoadBytes > 0 ? [$"{f.Name} spills"] : [])
                      .Concat(k.Kernel.Info.Block > 1024 || k.Kernel.Info.Block % 32 != 0 || (f.Registers + 7) / 8 * 8 * k.Kernel.Info.Block > 65_536
                          ? [$"{f.Registers} registers x {k.Kernel.Info.Block} threads"] : [])
                  select $"{k.Kernel.Target} {k.Kernel.Variant} {k.Kernel.Info.Name}: {reason}";
        Assert.Empty(bad);
    }

    /// <summary>Blocks of a launch have each head of each token once.</summary>
    [Fact]
    public void Grid_OfHeads_CoversEveryHeadOfEveryToken()
    {
        foreach (var (heads, columns) in new[] { (1, 8), (100, 8), (3, 48), (16, 256), (7, 256), (5, 264), (2, 8192), (33, 64) })
        {
            var info = EmitCuda.Run(Graph.Generator.Schedules.Target.Named("sm_90a"),
                [new Kernel("k", Heads(heads, columns), default, FusedOps.None, 1, default)], []).First().Info;
            var lanes = Math.Min(columns / 8 <= 32 ? (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)columns / 8) : info.Block, info.Block);
            var seen = from y in Enumerable.Range(0, info.GridY)
                       from thread in Enumerable.Range(0, info.Block).Where(t => t % lanes == 0)
                       let line = y * (info.Block / lanes) + thread / lanes
                       where line < info.TileRows * heads
                       select line;
            Assert.Equal(Enumerable.Range(0, info.TileRows * heads), seen);
        }
    }

    [Theory]
    [InlineData("positions", "gelu")]
    [InlineData("headnorms", "q_norm")]
    public void Label_OfAFunction_IsItsName(string variant, string label) =>
        Assert.Contains(Emitted.Model(variant).Targets[0].Kernels, k => k.Info.Name.Contains("_" + label, StringComparison.Ordinal));
}
