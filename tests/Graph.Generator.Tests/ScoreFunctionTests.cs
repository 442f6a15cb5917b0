using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Ops;
using Graph.Generator.Passes;
using Graph.Generator.Tracing;
using Xunit;

namespace Graph.Generator.Tests;

/// <summary>A score lambda's recorded ops as one expression of s, distance and head; its derivative, and when it is bounded.</summary>
public sealed class ScoreFunctionTests
{
    const double Scale = 0.25;

    /// <summary>Ops in a score region: 0 is z, 1 the distance, 2 the head.</summary>
    sealed class Region
    {
        readonly List<TraceNode> nodes = [new(0, "score_input", [], [], ""), new(1, "score_distance", [], [], ""), new(2, "score_head", [], [], "")];

        internal int Op(string op, params int[] inputs) => Add(op, inputs, []);
        internal int Number(double value, string op = "const") => Add(op, [], [new("value", value)]);
        internal ScoreFunction Of(int id) => new(ScoreRegion.Value(nodes, id, Scale), 0);

        int Add(string op, int[] inputs, KeyValuePair<string, object?>[] attributes)
        {
            nodes.Add(new TraceNode(nodes.Count, op, inputs, attributes, ""));
            return nodes.Count - 1;
        }
    }

    static readonly IReadOnlyDictionary<string, (Func<Region, int> Record, Func<double, int, int, double> Value, Func<double, int, int, double> Slope, bool Bounded)> Scores =
        new Dictionary<string, (Func<Region, int>, Func<double, int, int, double>, Func<double, int, int, double>, bool)>
        {
            ["alibi"] = (r => r.Op("sub", 0, r.Op("mul", r.Op("exp", r.Op("mul", r.Op("add", 2, r.Number(1)), r.Number(-0.7))), 1)),
                (z, distance, head) => z - Math.Exp((head + 1) * -0.7) * distance, (_, _, _) => 1, false),
            ["decay"] = (r => r.Op("mul", 0, r.Op("rsqrt", r.Op("add", 1, r.Number(1)))),
                (z, distance, _) => z / Math.Sqrt(distance + 1), (_, distance, _) => 1 / Math.Sqrt(distance + 1), false),
            ["capped distance"] = (r => r.Op("mul", r.Op("tanh", r.Op("sub", 0, 1)), r.Number(50, "typed_const")),
                (z, distance, _) => 50 * Math.Tanh(z - distance), (z, distance, _) => 50 * (1 - Math.Pow(Math.Tanh(z - distance), 2)), true),
            ["cap less distance"] = (r => r.Op("sub", r.Op("tanh", 0), 1), (z, distance, _) => Math.Tanh(z) - distance, (z, _, _) => 1 - Math.Pow(Math.Tanh(z), 2), false),
            ["cap and head"] = (r => r.Op("add", r.Op("tanh", 0), 2), (z, _, head) => Math.Tanh(z) + head, (z, _, _) => 1 - Math.Pow(Math.Tanh(z), 2), false),
            // Expands into primitives.
            ["gelu"] = (r => r.Op("gelu_tanh", 0), (z, _, _) => Gelu(z), (z, _, _) => (Gelu(z + 1e-6) - Gelu(z - 1e-6)) / 2e-6, false),
        };

    static double Gelu(double x) => 0.5 * x * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));

    public static TheoryData<string> Names => new(Scores.Keys);

    [Theory]
    [MemberData(nameof(Names))]
    public void Value_OfARegion_IsTheLambdaAndItsDerivativeByTheScore(string name)
    {
        var (record, value, slope, bounded) = Scores[name];
        var region = new Region();
        var score = region.Of(record(region));
        foreach (var (s, distance, head) in new[] { (-3.0, 0, 0), (0.5, 7, 2), (2, 1, 5), (4, 4000, 31) })
        {
            Assert.Equal(value(Scale * s, distance, head), ScoreFunction.At(score.Value, s, distance, head), 1e-9);
            Assert.Equal(Scale * slope(Scale * s, distance, head), ScoreFunction.At(score.Derivative, s, distance, head), 1e-8);
        }
        Assert.Equal(bounded, score.IsBounded);
    }

    [Theory]
    [InlineData("row_mean"), InlineData("split_heads"), InlineData("param")]
    public void Value_OfAnOpThatIsNotPointwise_SaysWhich(string op)
    {
        var attributes = op == "split_heads" ? "heads" : "name";
        var line = new TraceNode(3, op, op == "param" ? [] : [0], [new(attributes, op == "param" ? "w" : 2)], "");
        var nodes = new[] { "score_input", "score_distance", "score_head" }.Select((o, i) => new TraceNode(i, o, [], [], "")).Append(line).ToArray();
        Assert.Equal($"attention: the score function uses {op}; it must be pointwise", Assert.Throws<ShapeError>(() => ScoreRegion.Value(nodes, 3, Scale)).Message);
    }

    /// <summary>What may stand in a score is what takes a scalar, without a list of names.</summary>
    [Fact]
    public void Lower_OpsOfOneTensor_AreAllowedWhereTheyTakeAScalar()
    {
        var unary = typeof(Dsl.Ops).GetMethods().Where(m => m.GetParameters() is [{ Name: "x" } x] && x.ParameterType == typeof(Dsl.Tensor))
            .Select(m => ((Dsl.OpAttribute)m.GetCustomAttributes(typeof(Dsl.OpAttribute), false).Single()).Name).ToArray();
        bool TakesAScalar(string op)
        {
            try
            {
                return OpCatalog.Create(op, []).Infer([IR.TensorType.Scalar]).IsScalar;
            }
            catch (ShapeError)
            {
                return false;
            }
        }
        Assert.Contains("gelu_tanh", unary);
        Assert.All(unary, op => Assert.Equal(TakesAScalar(op), ScoreOps.Lower(OpCatalog.Create(op, []), [IR.Expr.Var("s")]) is not null));
    }
}
