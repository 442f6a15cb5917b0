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
        Assert.Equal((schedule.Variant, schedule.Layers), (parsed.Variant, parsed.Layers));
        Assert.Equal(schedule.Adapters.SelectMany(s => s.Adapters.Select(a => (s.Id, s.In, s.Out, a))),
            parsed.Adapters.SelectMany(s => s.Adapters.Select(a => (s.Id, s.In, s.Out, a))));
        Assert.Equal(schedule.Tensors.Select(t => (t.Name, t.Kind, t.Type, t.Tokens, t.Layer, t.Stack, t.Boundary)),
            parsed.Tensors.Select(t => (t.Name, t.Kind, t.Type, t.Tokens, t.Layer, t.Stack, t.Boundary)));
        Assert.Equal(schedule.Tensors.Select(t => t.Dims), parsed.Tensors.Select(t => t.Dims));
        Assert.Equal(schedule.Tensors.Select(t => t.Parts), parsed.Tensors.Select(t => t.Parts));
        foreach (var (expected, got) in new[] { (schedule.Forward, parsed.Forward), (schedule.Backward, parsed.Backward), (schedule.Recompute, parsed.Recompute) })
        {
            Assert.Equal(expected.Count, got.Count);
            foreach (var (a, b) in expected.Zip(got)) AssertSame(a, b);
        }
        Assert.Equal(schedule.Recipes.Select(r => (r.Tensor, string.Join(" ", r.Launches.Select(l => l.Id)))),
            parsed.Recipes.Select(r => (r.Tensor, string.Join(" ", r.Launches.Select(l => l.Id)))));
        // A recipe names the schedule's own launches.
        var all = parsed.Forward.Concat(parsed.Backward).Concat(parsed.Recompute).ToDictionary(l => l.Id);
        Assert.All(parsed.Recipes.SelectMany(r => r.Launches), l => Assert.Same(all[l.Id], l));
        Assert.Equal(schedule.Fusions.Count, parsed.Fusions.Count);
        foreach (var (a, b) in schedule.Fusions.Zip(parsed.Fusions)) AssertSame(a, b);
    }

    [Fact]
    public void Scale_HasItsExactConstantAndEveryFactorOfTheRun()
    {
        foreach (var scale in new[] { ScaleFactor.One, new(1, 1), new(0.1, 2), new(-1.0 / 3), new(1e-30, 1) })
        {
            var text = TinySchedule.Text(1).Replace("scale=1*lora_scale", "scale=" + scale);
            Assert.Equal(scale, ScheduleText.Parse(text).Forward.OfType<GemmLaunch>().First().Scale);
        }
        Assert.Equal("0.25*lora_scale*lora_scale", (new ScaleFactor(0.5, 1) * new ScaleFactor(0.5, 1)).ToString());
    }

    // Lists of records are compared item by item; a record of lists is not.
    static void AssertSame(object expected, object got)
    {
        Assert.Equal(expected.GetType(), got.GetType());
        switch (expected, got)
        {
            case (GemmLaunch a, GemmLaunch b):
                Assert.Equal(a.Segments, b.Segments);
                Assert.Equal(a, b with { Segments = a.Segments });
                break;
            case (KernelLaunch a, KernelLaunch b):
                Assert.Equal(a.Arguments, b.Arguments);
                Assert.Equal(a, b with { Arguments = a.Arguments });
                break;
            case (EpilogueFusion a, EpilogueFusion b):
                Assert.Equal(a.Places, b.Places);
                Assert.Equal(a, b with { Places = a.Places });
                break;
            default:
                Assert.Equal(expected, got);
                break;
        }
    }

    [Theory]
    [InlineData("tensor x weight bf17[T]")]
    [InlineData("tensor x weight act[T] group=1")]
    [InlineData("tensor x weight act[8,8] parts=a+b")]
    [InlineData("forward\n  0 L0 gemm nt a = b")]
    [InlineData("forward\n  0 L0 gemm nt a = b * c +")]
    [InlineData("forward\n  0 L0 gemm nt a = b c")]
    [InlineData("forward\n  0 L0 gemm nt a = b * c scale=2*inv_labels")]
    [InlineData("forward\n  L0 gemm nt a = b * c")]
    [InlineData("forward\n  0 L0 row k out=1 inplace=0 a\n  0 L0 row k out=1 inplace=0 a")]
    [InlineData("forward\n  0 L0 kernel k out=1 inplace=0 a")]
    [InlineData("  0 L0 row k out=1 inplace=0 a")]
    [InlineData("forward\nrecipe a = 3")]
    [InlineData("fusion marriage 1 2")]
    public void Parse_BadLine_SaysWhichLine(string lines)
    {
        var error = Assert.Throws<FormatException>(() => ScheduleText.Parse("schedule s layers=1\n" + lines));
        Assert.Contains("schedule: line " + (lines.Split('\n').Length + 1) + " '" + lines.Split('\n')[^1] + "'", error.Message);
    }

    static Schedule Generate(Random random)
    {
        bool Coin() => random.Next(2) == 0;
        Extent Dim() => Coin() ? random.Next(1, 5000) : new Extent(0, random.Next(3));
        View Look() => new("t" + random.Next(20), Coin() ? null : new ColumnRange(random.Next(99), random.Next(99, 5000)));
        ScaleFactor Scale() => new(Coin() ? 1 : random.NextDouble() - 0.5, random.Next(3));
        var kinds = Enum.GetValues<TensorKind>();
        var tensors = Enumerable.Range(0, 20).Select(i => new ScheduleTensor("t" + i, kinds[random.Next(kinds.Length)], (ElementType)random.Next(3), Coin(),
            Enumerable.Range(0, random.Next(3)).Select(_ => Dim()).ToArray(), random.Next(-1, 3), random.Next(-1, 3), Coin(),
            Coin() ? null : Enumerable.Range(0, random.Next(1, 4)).Select(p => new WeightPart("m.part" + p, random.Next(1, 99))).ToArray())).ToArray();
        // Of the kinds that a launch can be of.
        var launchKinds = Enum.GetValues<KernelKind>().Where(k => k <= KernelKind.AttentionDq).ToArray();
        var id = 0;
        Launch Any()
        {
            switch (random.Next(3))
            {
                case 0:
                    var segments = Enumerable.Range(0, random.Next(1, 4)).Select(_ => new GemmSegment(Look(), Look())).ToArray();
                    return new GemmLaunch(id++, random.Next(-1, 3), (GemmLayout)random.Next(3), Look(), segments, Scale(), Coin());
                case 1:
                    var attention = Coin() ? null : new AttentionFacts(random.Next(1, 32), random.Next(1, 8), random.Next(1, 257),
                        Coin() ? null : random.Next(1, 5000), random.Next(0, 5));
                    return new KernelLaunch(id++, random.Next(-1, 3), launchKinds[random.Next(launchKinds.Length)], "k" + random.Next(9),
                        Enumerable.Range(0, random.Next(1, 5)).Select(_ => Look()).ToArray(), 1, random.Next(2), attention);
                default:
                    return new CrossEntropyLaunch(id++, -1, "ce", Coin() ? null : Look(), Look(), Look(), Look(), Look(), StepScalar.InvLabels,
                        Coin() ? null : new LossFromSums("p" + random.Next(9), "q" + random.Next(9)));
            }
        }
        IReadOnlyList<Launch> Some() => Enumerable.Range(0, random.Next(1, 12)).Select(_ => Any()).ToArray();
        var (forward, backward, recompute) = (Some(), Some(), Some());
        var all = forward.Concat(backward).Concat(recompute).ToArray();
        Recipe Again(string tensor) => new(tensor, Enumerable.Range(0, random.Next(1, 4)).Select(_ => all[random.Next(all.Length)]).ToArray());
        Fusion Two(int first) => random.Next(3) switch
        {
            0 => new EpilogueFusion(first, first + 1, "e" + random.Next(9), Coin() ? [random.Next(4)] : [random.Next(4), random.Next(4)]),
            1 => new RankGradientsFusion(first, first + 1),
            _ => new ScoreGradientsFusion(first, first + 1, "s" + random.Next(9)),
        };
        var adapters = Enumerable.Range(0, 3).Select(g => new AdapterSet(g, random.Next(1, 99), 8,
            [new StackedAdapter($"m.{g}.q", 3, 0), new StackedAdapter($"m.{g}.k", 5, 3)])).ToArray();
        return new Schedule("any", 3, adapters, tensors, forward, backward, recompute, [Again("t1"), Again("t2")],
            Enumerable.Range(0, all.Length - 1).Where(_ => Coin()).Select(Two).ToArray());
    }
}
