using System.Linq;
using Graph.Finetune.Training;
using Xunit;

namespace Graph.Finetune.Tests.Training;

public class LearningRateTests
{
    static double[] All(LearningRateShape shape, int warmup, int steps) => [.. Enumerable.Range(0, steps).Select(new LearningRate(shape, 8, warmup, steps).At)];

    [Fact]
    public void At_Constant_RisesThenStays() => Assert.Equal([2, 4, 6, 8, 8, 8], All(LearningRateShape.Constant, 4, 6));

    [Fact]
    public void At_Linear_FallsTowardsZeroAfterTheLastStep() => Assert.Equal([4, 8, 8, 6, 4, 2], All(LearningRateShape.Linear, 2, 6));

    [Fact]
    public void At_MinimumAndRestarts_FallsToTheMinimumInEveryPart()
    {
        Assert.Equal([4, 8, 8, 6, 4, 8, 6, 4], [.. Enumerable.Range(0, 8).Select(new LearningRate(LearningRateShape.Linear, 8, 2, 8) { Minimum = 2, Restarts = 1 }.At)]);
        // (peak + minimum) / 2 in the middle of each part; 3 parts of 10 steps begin at 0, 10/3 and 20/3.
        var cosine = new LearningRate(LearningRateShape.Cosine, 8, 0, 10) { Minimum = 2, Restarts = 2 };
        Assert.Equal(5, cosine.At(5), 1e-12);
        Assert.Equal(2 + 6 * (1 + System.Math.Cos(System.Math.PI * 0.2)) / 2, cosine.At(4), 1e-12);
        Assert.All(Enumerable.Range(0, 30), step => Assert.Equal(step % 3 == 0 ? 8 : step % 3 == 1 ? 6 : 4,
            new LearningRate(LearningRateShape.Linear, 8, 0, 30) { Minimum = 2, Restarts = 9 }.At(step), 1e-12));
    }

    [Fact]
    public void At_Cosine_IsHalfInTheMiddle()
    {
        var rates = All(LearningRateShape.Cosine, 0, 4);
        Assert.Equal((8, 4), (rates[0], rates[2]));
        Assert.True(rates[1] > 6 && rates[3] < 2);
    }

    [Fact]
    public void At_WarmupLongerThanTheRun_OnlyRises() => Assert.Equal([1, 2, 3], All(LearningRateShape.Linear, 8, 3));
}
