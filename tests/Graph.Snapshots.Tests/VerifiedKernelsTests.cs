using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.Json;
using Graph.Runtime.Cuda;
using Graph.Tests;
using Xunit;

namespace Graph.Snapshots.Tests;

/// <summary>
/// snapshots/verified.json is written by the GPU tests only: a kernel whose text is not in it has not passed them.
/// snapshots/unverified.txt names the texts that still wait for a GPU:
/// the test of a variant that has one is skipped, never passed.
/// </summary>
public sealed class VerifiedKernelsTests
{
    public static TheoryData<string> Variants => new(Gemma2Size.All.Select(s => s.Name));

    [Theory]
    [MemberData(nameof(Variants))]
    public void Kernels_EveryTarget_RanOnAGpu(string variant)
    {
        var missing = Emitted.Kernels(variant).Select(k => (k.Target, k.Info.Name, Fingerprint: KernelFingerprint.Of(k.Text)))
            .Where(k => !Verified.Contains((k.Name, k.Fingerprint))).ToArray();
        var waiting = Waiting;
        var lines = missing.Where(k => !waiting.Contains(Text(k))).Select(k => $"\n{k.Target} {Text(k)}").ToArray();
        if (lines.Length > 0)
            Assert.Fail($"of {variant} have not run on a GPU with this text; "
                + $"run eng/gpu-tests.sh and keep its verified.json, or name them in snapshots/unverified.txt:{string.Concat(lines)}");
        Assert.SkipWhen(missing.Length > 0, $"{missing.Length} kernels of {variant} wait for the GPU tests (snapshots/unverified.txt): "
            + $"{string.Join(", ", missing.Select(k => k.Name))}");
    }

    [Fact]
    public void Unverified_EveryLine_StillWaits()
    {
        var emitted = Variants.SelectMany(v => Emitted.Kernels(v.Data)).Select(k => (k.Target, k.Info.Name, Fingerprint: KernelFingerprint.Of(k.Text))).ToArray();
        var needed = emitted.Where(k => !Verified.Contains((k.Name, k.Fingerprint))).Select(Text).ToHashSet();
        Assert.Empty(Waiting.Where(w => !needed.Contains(w)).Select(w => w + " is verified or no longer emitted; delete its line in snapshots/unverified.txt"));
    }

    static string Snapshots => Path.Combine(Emitted.Root, "snapshots");

    static HashSet<(string?, string?)> Verified
    {
        get
        {
            using var file = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Snapshots, "verified.json")));
            return file.RootElement.EnumerateArray().Select(k => (k.GetProperty("name").GetString(), k.GetProperty("fingerprint").GetString())).ToHashSet();
        }
    }

    /// <summary>
    /// A line is "target name fingerprint", the first 16 digits of it; # begins a comment. What counts is the text, as in verified.json: targets with equal
    /// texts (sm_86 and sm_89) wait together.
    /// </summary>
    static HashSet<string> Waiting =>
        File.ReadLines(Path.Combine(Snapshots, "unverified.txt")).Select(l => l.Split('#')[0].Trim()).Where(l => l.Length > 0).Select(l => l[(l.IndexOf(' ') + 1)..]).ToHashSet();

    /// <summary>"name fingerprint", the first 16 digits of it.</summary>
    static string Text((string Target, string Name, string Fingerprint) kernel) => $"{kernel.Name} {kernel.Fingerprint[..16]}";
}
