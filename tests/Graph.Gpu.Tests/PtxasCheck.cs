using System;
using System.IO;
using System.Linq;
using Graph.Runtime.Cuda;

namespace Graph.Gpu.Tests;

/// <summary>
/// This machine's NVRTC, which may be newer than the one that CI has, says of no text that its code is slower
/// than it reads: serialised wgmma, an ignored setmaxnreg, and no spills where CI sees none.
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
        Checking.Require(slow.Length == 0, $"{slow.Length} warnings of ptxas, the lines above");
        // NVRTC may give a log without ptxas's part; of such a kernel nothing is known.
        var told = compiled.Where(c => c.Functions.Count > 0).ToArray();
        Checking.Require(told.Length > targets.Length / 2, $"ptxas wrote of {told.Length} of {targets.Length} kernels alone");
        return $"no warning in what ptxas wrote of {told.Length} of {targets.Length} kernels of sm_90a, {told.Max(c => c.Functions.Max(f => f.Registers))} registers at most";
    }
}
