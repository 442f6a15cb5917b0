using System;
using System.Linq;
using Graph.Generator.Schedules;
using Xunit;

namespace Graph.Snapshots.Tests;

/// <summary>
/// Which texts keep their values inside fp16's range: those of the forward, where activations are fp16.
/// Gradients overflow to infinity, by which the loss scale is found too large.
/// </summary>
public sealed class HalfRangeTests
{
    [Theory, InlineData("nano"), InlineData("9b-2l"), InlineData("nano-no-norms")]
    public void Texts_OfTheForwardInFp16_AreHeldInsideItsRange(string variant)
    {
        var schedule = ScheduleText.Parse(Emitted.Model(variant).ScheduleText);
        var backward = schedule.Backward.OfType<KernelLaunch>().Select(k => k.Kernel).ToHashSet();
        var forward = schedule.Forward.Concat(schedule.Recompute).OfType<KernelLaunch>().Select(k => k.Kernel).Where(k => !backward.Contains(k)).ToHashSet();
        Assert.NotEmpty(backward);
        foreach (var kernel in Emitted.Kernels(variant))
        {
            var makesActivations = kernel.Info.Kind switch
            {
                KernelKind.Row or KernelKind.Rope => forward.Contains(kernel.Info.Name),
                KernelKind.Gemm => kernel.Info.Gemm is { Layout: GemmLayout.Nt, F32: false },
                _ => false,
            };
            Assert.True(kernel.Text.Contains("saturated(", StringComparison.Ordinal) == (makesActivations && !Target.Named(kernel.Target).HasBf16),
                $"{kernel.Target} {kernel.Info.Name}");
        }
    }

    /// <summary>No product of a backward is nt, so that one text can be the forward's.</summary>
    [Theory, InlineData("nano"), InlineData("9b-2l"), InlineData("27b-2l"), InlineData("nano-no-norms")]
    public void Products_OfTheBackward_AreNotNt(string variant) =>
        Assert.All(ScheduleText.Parse(Emitted.Model(variant).ScheduleText).Backward.OfType<GemmLaunch>(), g => Assert.NotEqual(GemmLayout.Nt, g.Layout));
}
