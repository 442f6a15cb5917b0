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
    public void At_Cosine_IsHalfInTheMiddle()
    {
        var rates = All(LearningRateShape.Cosine, 0, 4);
        Assert.Equal((8, 4), (rates[0], rates[2]));
        Assert.True(rates[1] > 6 && rates[3] < 2);
    }

    [Fact]
    public void At_WarmupLongerThanTheRun_OnlyRises() => Assert.Equal([1, 2, 3], All(LearningRateShape.Linear, 8, 3));
}
