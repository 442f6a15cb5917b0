using System;
using System.IO;
using System.Linq;
using Graph.Runtime.Cuda;

namespace Graph.Gpu.Tests;

/// <summary>
/// This machine's NVRTC, which may be newer than the one that CI has, says of no text that its code is slower than it reads: serialised wgmma, an ignored setmaxnreg, and no spills where CI sees none.
/// </summary>
static class PtxasCheck
{
    internal static string Run()
    {
        var targets = KernelJob.All().Where(j => j.Target == "sm_90a").ToArray();
        var compiler = new KernelCompiler(null, KernelCache.Open(Directory.CreateTempSubdirectory("gpu-tests-").FullName));
        var compiled = compiler.Get([.. targets.Select(j => j.Source.Text)], "sm_90a", i => targets[i].Name + ".cu");
        var slow = targets.Zip(compiled).SelectMany(p => p.Second.Warnings.Select(w => $"{p.First.Variant} {p.First.Name}: {w}")).Distinct().ToArray();
        foreach (var line in slow) Lines.Write(line);
        // A log without them would be no proof.
        var silent = targets.Zip(compiled).Where(p => p.Second.Functions.Count == 0).Select(p => p.First.Name).ToArray();
        Checking.Require(silent.Length == 0, $"ptxas wrote nothing about {silent.Length} of {targets.Length} kernels, {silent.FirstOrDefault()} among them; its log begins: {compiled[0].Log[..Math.Min(400, compiled[0].Log.Length)]}");
        Checking.Require(slow.Length == 0, $"{slow.Length} warnings of ptxas, the lines above");
        return $"{targets.Length} kernels of sm_90a without a warning, {compiled.Max(c => c.Functions.Max(f => f.Registers))} registers at most";
    }
}
