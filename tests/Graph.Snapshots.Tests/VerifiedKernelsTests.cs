using System.IO;
using System.Linq;
using System.Text.Json;
using Graph.Runtime.Cuda;
using Graph.Tests;
using Xunit;

namespace Graph.Snapshots.Tests;

/// <summary>snapshots/verified.json is written by the GPU tests only: a kernel whose text is not in it has never run.</summary>
public sealed class VerifiedKernelsTests
{
    public static TheoryData<string> Variants => new(Gemma2Size.Small.Concat(Gemma2Size.Real).Select(s => s.Name));

    [Theory]
    [MemberData(nameof(Variants))]
    public void Kernels_EveryTarget_RanOnAGpu(string variant)
    {
        using var file = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Emitted.Root, "snapshots", "verified.json")));
        var verified = file.RootElement.EnumerateArray().Select(k => (k.GetProperty("name").GetString(), k.GetProperty("fingerprint").GetString())).ToHashSet();
        var missing = from k in Emitted.Kernels(variant)
                      let fingerprint = KernelFingerprint.Of(k.Text)
                      where !verified.Contains((k.Info.Name, fingerprint))
                      select $"{k.Info.Name} of {variant} for {k.Target} has not run on a GPU with this text ({fingerprint[..12]}…); run eng/gpu-tests.sh and keep its verified.json.";
        Assert.Empty(missing);
    }
}
