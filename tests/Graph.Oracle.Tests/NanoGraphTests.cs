using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Ops;
using Graph.Generator.Passes;
using Graph.Generator.Schedules;
using Graph.Tests;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Graph.Oracle.Tests;

/// <summary>
/// The compiler's graph of the whole nano model after each of its passes, in fp64 by its ops' references, against the torch model and its autograd: random ids
/// and labels, three packed documents (one of a single token, one longer than the window), some labels -100.
/// </summary>
public sealed class NanoGraphTests
{
    const int Rank = 8, Tokens = 28;
    const double LoraScale = 2;
    static readonly int[] Documents = [5, 1, 22];
    static readonly long[] Ids, Labels;

    static NanoGraphTests()
    {
        var random = new Random(7);
        Ids = Enumerable.Range(0, Tokens).Select(_ => (long)random.Next(4096)).ToArray();
        Labels = Enumerable.Range(0, Tokens).Select(t => t % 5 == 2 ? -100L : random.Next(4096)).ToArray();
    }

    static readonly Lazy<IReadOnlyDictionary<string, double[]>> Weights = new(() => Read("checkpoint/model.safetensors"));
    static readonly Lazy<IReadOnlyDictionary<string, double[]>> Adapters = new(() => Read("adapter_init/adapter_model.safetensors"));
    static readonly Lazy<(double[] Losses, IReadOnlyDictionary<string, double[]> Gradients)> Torch = new(RunTorch);

    /// <summary>Compiler.Compile's graphs, by their names.</summary>
    static readonly Lazy<IReadOnlyDictionary<string, TensorGraph>> Stages = new(() =>
    {
        var stages = new Dictionary<string, TensorGraph>();
        TensorGraph Stage(string name, TensorGraph graph) => stages[name] = graph;
        var graph = Stage("simplify", Simplify.Run(FuseLoss.Run(Expand.Run(Import.Run(Gemma2Trace.Of(Gemma2Size.Nano))))));
        graph = Stage("stack", StackLinears.Run(graph));
        graph = Stage("differentiate", Differentiate.Run(graph));
        graph = Stage("products", MergeProducts.Run(Simplify.Run(graph)));
        Stage("copies", InsertCopies.Run(graph));
        return stages;
    });

    [Theory]
    [InlineData("simplify"), InlineData("stack")]
    public void Forward_NanoWithPackedDocuments_GivesTorchsLosses(string stage)
    {
        var graph = Stages.Value[stage];
        Assert.InRange(Distance(Torch.Value.Losses, Evaluate(graph)[Assert.Single(graph.Outputs)]), 0, 1e-12);
    }

    [Theory]
    [InlineData("differentiate"), InlineData("products"), InlineData("copies")]
    public void Backward_NanoWithPackedDocuments_GivesTorchsLossesAndGradients(string stage)
    {
        var graph = Stages.Value[stage];
        var values = Evaluate(graph);
        Assert.InRange(Distance(Torch.Value.Losses, values[graph.Outputs[0]]), 0, 1e-12);

        var gradients = Stacks.Gradients(graph, values, Rank).ToDictionary(g => Key(g.Key.Name, g.Key.IsA), g => g.Value);
        Assert.Equal(Torch.Value.Gradients.Keys.Order(), gradients.Keys.Order());
        foreach (var (key, gradient) in gradients) Assert.InRange(Distance(Torch.Value.Gradients[key], gradient), 0, 1e-9);
    }

    /// <summary>What the passes are for: q, k and v are one product of two segments, and no matmul is left.</summary>
    [Fact]
    public void Products_OfNano_AreOnePerInputAndTakeTheirAdaptersAndScalesIn()
    {
        var graph = Stages.Value["copies"];
        var forward = graph.Nodes.Take(graph.FirstBackward).Select(n => n.Op).OfType<Product>().ToArray();
        var layers = TorchConfig.Nano.Layers;
        // Each of qkv, o, gate and up, down: Y = x·Wᵀ + S·Bᵀ, and S = s·x·Aᵀ.
        Assert.Equal(8 * layers, forward.Length);
        Assert.Equal(4 * layers, forward.Count(p => p.Scale == new ScaleFactor(1, 1)));
        Assert.Equal(4 * layers, graph.Nodes.Take(graph.FirstBackward).Count(n => n.Op is Product && n.Inputs.Count == 4));
        Assert.DoesNotContain(graph.Nodes, n => n.Op is MatMul);
        Assert.Equal(2 * layers, graph.Nodes.Count(n => n.Op is ParamStack));
        Assert.Equal(8 * layers, graph.Outputs.Skip(1).Count());
    }

    static double[][] Evaluate(TensorGraph graph)
    {
        var start = TorchGemma2.DocStart(Documents).data<long>().Select(s => (int)s).ToArray();
        var sizes = new ReferenceSizes(Tokens, Rank, start.Select((s, t) => t - s).ToArray(), start, LoraScale);
        return GraphEvaluator.Run(graph.Nodes, sizes, graph.Nodes.Where(n => n.Op is Leaf).ToDictionary(n => n.Id, n => Value((Leaf)n.Op)));
    }

    static double[] Value(Leaf leaf) => leaf switch
    {
        Input { Role: "ids" } => Ids.Select(i => (double)i).ToArray(),
        Input => Labels.Select(l => (double)l).ToArray(),
        Param p => Weights.Value[p.Tensor],
        ParamStack stack => stack.Parts.SelectMany(p => Weights.Value[p.Tensor]).ToArray(),
        Adapter a => Adapters.Value[Key(a.Linear, a.IsA)],
        AdapterStack stack => Stacks.Value(stack, Rank, name => Adapters.Value[Key(name, stack.IsA)]),
        RunScalar { Role: StepScalar.LoraScale } => [LoraScale],
        RunScalar { Role: StepScalar.InvLabels } => [1.0 / Labels.Count(l => l >= 0)],
        _ => throw new InvalidOperationException("no value for " + leaf),
    };

    static (double[], IReadOnlyDictionary<string, double[]>) RunTorch()
    {
        using var scope = NewDisposeScope();
        var weights = TensorFile.Read(Repository.Fixture("checkpoint/model.safetensors"), ScalarType.Float64);
        var adapter = TensorFile.Read(Repository.Fixture("adapter_init/adapter_model.safetensors"), ScalarType.Float64).ToDictionary(p => p.Key, p => p.Value.requires_grad_());
        var model = new TorchGemma2(TorchConfig.Nano, weights, adapter, LoraScale);
        var (logits, _) = model.Forward(tensor(Ids), TorchGemma2.DocStart(Documents));
        var rows = nn.functional.cross_entropy(logits, tensor(Labels), ignore_index: -100, reduction: nn.Reduction.None);
        rows.sum().div(Labels.Count(l => l >= 0)).backward();
        return (Values(rows), adapter.ToDictionary(a => a.Key, a => Values(a.Value.grad!)));
    }

    static IReadOnlyDictionary<string, double[]> Read(string fixture)
    {
        using var scope = NewDisposeScope();
        return TensorFile.Read(Repository.Fixture(fixture), ScalarType.Float64).ToDictionary(p => p.Key, p => Values(p.Value));
    }

    static string Key(string linear, bool isA) => "base_model.model." + linear + (isA ? ".lora_A.weight" : ".lora_B.weight");
    static double[] Values(Tensor t) => t.detach().contiguous().data<double>().ToArray();

    static double Distance(double[] expected, double[] actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        return Math.Sqrt(expected.Zip(actual, (a, b) => (a - b) * (a - b)).Sum() / expected.Sum(a => a * a));
    }
}
