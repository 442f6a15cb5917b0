using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Runtime.Tests.Planning;

/// <summary>Frequencies beside those of the formulas in transformers' modeling_rope_utils.py, written out in Python and computed in double.</summary>
public class RopeScalingTests
{
    // fp32 in transformers' order: at most five roundings.
    const double Tolerance = 3e-7;

    /// <summary>Scaling, θ, head dim, longest document, pairs, their frequencies, factor.</summary>
    public static TheoryData<RopeScaling, double, int, int, int[], double[], double> Goldens => new()
    {
        { new LinearRope(1), 10000, 256, 100, [0, 1, 32, 42, 64, 85, 127], [1, 0.930572041, 0.1, 0.0486967525, 0.01, 0.00220673407, 0.000107460783], 1.0 },
        { new LinearRope(4), 10000, 256, 100, [0, 1, 32, 42, 64, 85, 127], [0.25, 0.23264301, 0.025, 0.0121741881, 0.0025, 0.000551683517, 2.68651957e-05], 1.0 },
        { new DynamicRope(2, 8192), 10000, 256, 8192, [0, 1, 32, 42, 64, 85, 127], [1, 0.930572041, 0.1, 0.0486967525, 0.01, 0.00220673407, 0.000107460783], 1.0 },
        { new DynamicRope(2, 8192), 10000, 256, 32768, [0, 1, 32, 42, 64, 85, 127],
            [1, 0.916422376, 0.0612437692, 0.025586964, 0.00375079927, 0.000599975065, 1.53515404e-05], 1.0 },
        { new DynamicRope(3, 64), 10000, 32, 100, [0, 1, 4, 5, 8, 10, 15], [1, 0.526473806, 0.0768257969, 0.0404467697, 0.00590220307, 0.00163594118, 6.61685362e-05], 1.0 },
        { new YarnRope(4, 8192, 1.25), 10000, 256, 100, [0, 1, 32, 42, 64, 85, 127], [1, 0.930572041, 0.1, 0.0486967525, 0.00801020408, 0.00105833165, 2.68651957e-05], 1.25 },
        { new YarnRope(16, 8192, 1, 16, 2), 1000000, 128, 100, [0, 1, 16, 21, 32, 42, 63],
            [1, 0.805842188, 0.0316227766, 0.00983021934, 6.25e-05, 7.2173874e-06, 7.755861e-08], 1.0 },
        { new YarnRope(8, 4096, 1, Truncate: false), 10000, 128, 100, [0, 1, 16, 21, 32, 42, 63],
            [1, 0.865964323, 0.1, 0.0485985223, 0.00598313344, 0.000557219367, 1.44347748e-05], 1.0 },
        // Both ends of the ramp are pair 0.
        { new YarnRope(4, 6, 1), 10000, 32, 100, [0, 1, 4, 5, 8, 10, 15], [1, 0.140585331, 0.025, 0.0140585331, 0.0025, 0.000790569415, 4.44569853e-05], 1.0 },
        { new Llama3Rope(8, 1, 4, 8192), 500000, 128, 100, [0, 1, 16, 21, 32, 42, 63],
            [1, 0.814617234, 0.0376060309, 0.0134904199, 0.000524846161, 2.27489286e-05, 3.06892599e-07], 1.0 },
    };

    [Theory, MemberData(nameof(Goldens))]
    public void Table_OfAScaling_IsTheFormulas(RopeScaling scaling, double theta, int headDim, int longest, int[] pairs, double[] frequencies, double factor)
    {
        var table = scaling.Table(theta, headDim, longest);
        Assert.Equal(headDim / 2 + 1, table.Length);
        Assert.All(pairs.Zip(frequencies), p => Assert.InRange(table[p.First] / p.Second, 1 - Tolerance, 1 + Tolerance));
        Assert.Equal((float)factor, table[^1]);
    }

    [Fact]
    public void Tables_OfAPlan_AreThoseOfItsScalingsAndOfTheLongestDocument()
    {
        var tiny = TinySchedule.Parse();
        var schedule = tiny with { Tensors = [.. tiny.Tensors, Rope("rope.a", "a"), Rope("rope.b", "b"), Rope("rope", null)] };
        var plan = ExecutionPlan.Create(schedule, new PlanOptions(128, RankTable.Create(schedule, _ => 2), ActType.F32, 1)
        {
            LongestDocument = 100, Ropes = new Dictionary<string, RopeScaling> { ["rope.a"] = new DynamicRope(2, 64), ["rope.b"] = new LinearRope(2) },
        });
        var tables = RopeScaling.Tables(plan).ToDictionary(t => t.Name, t => t.Table);
        Assert.Equal(new DynamicRope(2, 64).Table(10000, 32, 100), tables["rope.a"]);
        Assert.NotEqual(new DynamicRope(2, 64).Table(10000, 32, 128), tables["rope.a"]);
        Assert.Equal(new LinearRope(2).Table(10000, 32, 0), tables["rope.b"]);
        Assert.Equal(new LinearRope(1).Table(10000, 32, 0), tables["rope"]);
        Assert.Equal(ScheduleText.Print(schedule), ScheduleText.Print(ScheduleText.Parse(ScheduleText.Print(schedule))));

        static ScheduleTensor Rope(string name, string? layers) => new(name, TensorKind.RopeTable, ElementType.F32, false, [17], Rope: new RopeFacts(10000, layers));
    }
}
