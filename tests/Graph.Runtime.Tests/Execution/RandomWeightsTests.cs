using System;
using System.Linq;
using System.Runtime.InteropServices;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Runtime.Tests;

public class RandomWeightsTests
{
    static readonly Schedule Wide = ScheduleText.Parse("schedule wide layers=0\ntensor b.weight+a.weight weight act[340,1027] parts=b.weight:40+a.weight:300\n"
        + "tensor norm weight act[1027]\nforward\nbackward\nrecompute\n");

    static float[] Rows(RandomWeights weights, string name, int row, int rows) =>
        Elements.ToFloats(weights.Rows(name, row, rows, new byte[rows * 1027 * 2]), ActType.Bf16);

    [Fact]
    public void Rows_InAnyPieces_AreTheSame()
    {
        var weights = new RandomWeights(Wide, 5);
        var whole = Rows(weights, "a.weight", 0, 300);
        Assert.Equal(whole, Rows(new RandomWeights(Wide, 5), "a.weight", 0, 300));
        Assert.Equal(whole[(17 * 1027)..(40 * 1027)], Rows(weights, "a.weight", 17, 23));
        Assert.NotEqual(whole, Rows(new RandomWeights(Wide, 6), "a.weight", 0, 300));
    }

    [Fact]
    public void Rows_OfAMatrix_AreNearNormal()
    {
        var values = Rows(new RandomWeights(Wide, 5), "a.weight", 0, 300);
        var deviation = Math.Sqrt(values.Average(v => (double)v * v));
        Assert.Equal(0, values.Average(v => (double)v), 2e-4);
        Assert.Equal(0.02, deviation, 2e-4);
        // Of a normal distribution 68.3 % lie within one deviation and 95.4 % within two.
        Assert.Equal(0.683, values.Count(v => Math.Abs(v) < deviation) / (double)values.Length, 0.01);
        Assert.Equal(0.954, values.Count(v => Math.Abs(v) < 2 * deviation) / (double)values.Length, 0.01);
        // Neighbours, also across rows, have nothing to do with each other.
        foreach (var apart in new[] { 1, 2, 3, 4,
            1027 }) Assert.InRange(Math.Abs(values.Zip(values.Skip(apart), (a, b) => (double)a * b).Average()), 0, 0.01 * deviation * deviation);
    }

    [Fact]
    public void Rows_OfAVector_HaveDeviationOneTenth() =>
        Assert.Equal(0.1, Math.Sqrt(Rows(new RandomWeights(Wide, 5), "norm", 0, 1).Average(v => (double)v * v)), 0.01);
}
