using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Runtime.Tests;

public class ScheduleTextTests
{
    [Fact]
    public void Print_ParsedText_IsTheSameBytes()
    {
        var text = TinySchedule.Text(4);
        Assert.Equal(text, ScheduleText.Print(ScheduleText.Parse(text)));
    }

    [Theory]
    [InlineData(1), InlineData(2), InlineData(3), InlineData(4), InlineData(5)]
    public void Parse_PrintedRandomSchedule_PrintsTheSame(int seed)
    {
        var schedule = Generate(new Random(seed));
        var text = ScheduleText.Print(schedule);
        var parsed = ScheduleText.Parse(text);
        Assert.Equal(text, ScheduleText.Print(parsed));
        Assert.Equal(schedule.Tensors.Select(t => (t.Name, t.Kind, t.Type, t.Tokens, t.Layer, t.Group, t.Boundary)), parsed.Tensors.Select(t => (t.Name, t.Kind, t.Type, t.Tokens, t.Layer, t.Group, t.Boundary)));
        Assert.Equal(schedule.Tensors.SelectMany(t => t.Dims), parsed.Tensors.SelectMany(t => t.Dims));
        Assert.Equal(schedule.Forward.OfType<GemmLaunch>(), parsed.Forward.OfType<GemmLaunch>());
        Assert.Equal(schedule.Forward.OfType<KernelLaunch>().Select(k => (k.Kernel, k.Outputs, k.InPlace, k.Window)), parsed.Forward.OfType<KernelLaunch>().Select(k => (k.Kernel, k.Outputs, k.InPlace, k.Window)));
        Assert.Equal(schedule.Forward.OfType<CrossEntropyLaunch>(), parsed.Forward.OfType<CrossEntropyLaunch>());
    }

    [Theory]
    [InlineData("tensor x weight bf17[T]")]
    [InlineData("forward\n  L0 gemm nt a = b")]
    [InlineData("  L0 kernel k out=1 inplace=0 a")]
    public void Parse_BadLine_SaysWhichLine(string lines)
    {
        var error = Assert.Throws<FormatException>(() => ScheduleText.Parse("schedule s layers=1\n" + lines));
        Assert.Contains("schedule: line " + (lines.Split('\n').Length + 1) + " '" + lines.Split('\n')[^1] + "'", error.Message);
    }

    static Schedule Generate(Random random)
    {
        Extent Dim() => new Extent(random.Next(2) * random.Next(1, 5000), random.Next(-1, 3)) is var e && e is { Fixed: 0, Group: < 0 } ? new Extent(7) : e;
        ExtentRange? Range() => random.Next(2) == 0 ? null : new ExtentRange(Dim(), Dim());
        View Look() => new("t" + random.Next(20), Range(), Range());
        var kinds = Enum.GetValues<TensorKind>();
        var tensors = Enumerable.Range(0, 20).Select(i => new ScheduleTensor("t" + i, kinds[random.Next(kinds.Length)], (ElementType)random.Next(3), random.Next(2) == 0,
            Enumerable.Range(0, random.Next(3)).Select(_ => Dim()).ToArray(), random.Next(-1, 3), random.Next(-1, 3), random.Next(2) == 0)).ToArray();
        Launch Any() => random.Next(3) switch
        {
            0 => new GemmLaunch(random.Next(-1, 3), (GemmLayout)random.Next(3), Look(), Look(), Look(), random.Next(2) == 0 ? null : "lora_scale", random.Next(2) == 0),
            1 => new KernelLaunch(random.Next(-1, 3), "k" + random.Next(9), Enumerable.Range(0, random.Next(1, 5)).Select(_ => Look()).ToArray(), 1, random.Next(2), random.Next(2) == 0 ? null : random.Next(1, 5000)),
            _ => new CrossEntropyLaunch(-1, "ce", random.Next(2) == 0 ? null : Look(), Look(), Look(), Look(), Look(), "inv_labels"),
        };
        IReadOnlyList<Launch> Some() => Enumerable.Range(0, random.Next(1, 12)).Select(_ => Any()).ToArray();
        var groups = Enumerable.Range(0, 3).Select(g => new LinearGroup(g, random.Next(1, 99), [new GroupLinear($"m.{g}.q", 3), new GroupLinear($"m.{g}.k", 5)])).ToArray();
        return new Schedule("any", 3, groups, tensors, Some(), Some(), [new Recipe("t1", Some()), new Recipe("t2", Some())]);
    }
}
