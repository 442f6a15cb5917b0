using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Text.RegularExpressions;
using Graph.Runtime.Cuda;
using Graph.Runtime.Optimizers;
using Xunit;

namespace Graph.Snapshots.Tests;

/// <summary>Every emitted kernel of every target through NVRTC, which needs no GPU. Results are kept by text in .cache, so a second run takes seconds.</summary>
public sealed class KernelAssemblyTests
{
    // Two layers have every kernel body of the real sizes; 2B has its own widths; without norms residual sums are epilogues.
    static readonly string[] Variants = ["nano", "9b-2l", "27b-2l", "2b", "nano-no-norms", "nano-full", "2b-full"];

    static readonly Lazy<IReadOnlyList<(EmittedText Kernel, CompiledKernel Code)>> All = new(() =>
    {
        var folder = Path.Combine(Emitted.Root, ".cache", "test-kernels");
        if (!OperatingSystem.IsWindows()) Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        var compiler = new KernelCompiler(null, KernelCache.Open(folder));
        return Variants.SelectMany(Emitted.Kernels).GroupBy(k => k.Target)
            .SelectMany(target =>
            {
                var kernels = target.ToArray();
                return kernels.Zip(compiler.Get(kernels.Select(k => k.Text).ToArray(), target.Key, i => kernels[i].Variant + "/" + kernels[i].Info.Name + ".cu"));
            }).ToArray();
    });

    [Fact]
    public void Kernels_EveryTarget_CompileWithoutSpillsOrIgnoredHints()
    {
        var bad = from k in All.Value
                  from reason in k.Code.Warnings.Concat(k.Code.Functions.Where(f => f.SpillStoreBytes + f.SpillLoadBytes > 0)
                      .Select(f => f.Name + " spills " + f.SpillStoreBytes + " bytes"))
                  select $"{k.Kernel.Target} {k.Kernel.Variant} {k.Kernel.Info.Name}: {reason}";
        Assert.Empty(bad);
    }

    [Fact]
    public void Kernels_EveryTarget_HaveTheFunctionTheirLaunchNames() =>
        Assert.All(All.Value, k => Assert.Contains(k.Code.Functions, f => f.Name == k.Kernel.Info.Name));

    [Fact]
    public void Kernels_EveryTarget_FitTheBlockTheyAreLaunchedWith()
    {
        // 65,536 registers per multiprocessor, given out in units of 8 per thread.
        var bad = from k in All.Value
                  let f = k.Code.Functions.First(f => f.Name == k.Kernel.Info.Name)
                  where k.Kernel.Info.Block > 1024 || k.Kernel.Info.Block % 32 != 0 || (f.Registers + 7) / 8 * 8 * k.Kernel.Info.Block > 65_536
                  select $"{k.Kernel.Target} {k.Kernel.Info.Name}: {f.Registers} registers x {k.Kernel.Info.Block} threads";
        Assert.Empty(bad);
    }

    /// <summary>A block of adamw has each element of a chunk once: of a smaller one, elements would keep their old values.</summary>
    [Fact]
    public void AdamW_EveryTarget_IsLaunchedWithAChunksThreads()
    {
        foreach (var kernel in Emitted.Kernels("nano").Where(k => k.Info.Name == "adamw"))
        {
            int Defined(string name) => int.Parse(Regex.Match(kernel.Text, "#define " + name + @" (\d+)").Groups[1].Value, CultureInfo.InvariantCulture);
            Assert.Equal((AdamSegment.ChunkElements, AdamSegment.ChunkElements), (Defined("CHUNK"), 4 * Defined("VECTORS") * kernel.Info.Block));
        }
        foreach (var kernel in Emitted.Kernels("nano").Where(k => k.Info.Name == "adamw_8bit"))
        {
            // A warp has a block of codes.
            Assert.Contains("#define QUANTISED " + DynamicMap.BlockElements, kernel.Text);
            Assert.Equal(AdamSegment.ChunkElements, DynamicMap.BlockElements * kernel.Info.Block / 32);
        }
    }

    [Fact]
    public void Registers_Nvrtc124_AreTheApprovedTable()
    {
        // Another NVRTC allocates other registers: the table belongs to the version that eng/install-nvrtc.sh brings.
        Assert.SkipUnless(Nvrtc.Version() == "12.4", "the table of registers is kept for NVRTC 12.4, this is " + Nvrtc.Version());
        var lines = from k in All.Value
                    from f in k.Code.Functions
                    where f.Name == k.Kernel.Info.Name
                    orderby k.Kernel.Target, k.Kernel.Variant, f.Name
                    select $"{k.Kernel.Target,-7} {k.Kernel.Variant,-7} {f.Name,-56} {f.Registers,3} registers  {f.SharedBytes + k.Kernel.Info.SharedBytes,6} B shared";
        Snapshot.Verify("registers", "txt", string.Join("\n", lines) + "\n");
    }
}
