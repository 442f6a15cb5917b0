using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Ops;
using Graph.Generator.Passes;
using Graph.Tests;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Graph.Oracle.Tests;

/// <summary>
/// The compiler's graph of the whole nano model, backward derived, in fp64 by its ops' references, against the torch model and its autograd: random ids and labels, three packed documents
/// (one of a single token, one longer than the window), some labels -100.
/// </summary>
public sealed class NanoGraphTests
{
    static readonly int[] Documents = [5, 1, 22];

    [Fact]
    public void Differentiate_NanoWithPackedDocuments_GivesTorchsLossesAndGradients()
    {
        using var scope = NewDisposeScope();
        var weights = TensorFile.Read(Repository.Fixture("checkpoint/model.safetensors"), ScalarType.Float64);
        var adapter = TensorFile.Read(Repository.Fixture("adapter_init/adapter_model.safetensors"), ScalarType.Float64).ToDictionary(p => p.Key, p => p.Value.requires_grad_());
        var tokens = Documents.Sum();
        var random = new Random(7);
        var ids = Enumerable.Range(0, tokens).Select(_ => (long)random.Next(4096)).ToArray();
        var labels = Enumerable.Range(0, tokens).Select(t => t % 5 == 2 ? -100L : random.Next(4096)).ToArray();
        var docStart = TorchGemma2.DocStart(Documents);

        var model = new TorchGemma2(TorchConfig.Nano, weights, adapter, loraScale: 2);
        var (logits, _) = model.Forward(tensor(ids), docStart);
        var rows = nn.functional.cross_entropy(logits, tensor(labels), ignore_index: -100, reduction: nn.Reduction.None);
        rows.sum().div(labels.Count(l => l >= 0)).backward();

        var forward = Simplify.Run(FuseLoss.Run(Expand.Run(Import.Run(Gemma2Trace.Of(Gemma2Size.Nano)))));
        var graph = Simplify.Run(Differentiate.Run(forward));
        var adapters = forward.Nodes.Select(n => n.Op).OfType<Adapter>().ToArray();
        Assert.Equal(adapters.Length + 1, graph.Outputs.Count);

        var start = docStart.data<long>().Select(s => (int)s).ToArray();
        var sizes = new ReferenceSizes(tokens, 8, start.Select((s, t) => t - s).ToArray(), start);
        var leaves = graph.Nodes.Where(n => n.Op is Leaf).ToDictionary(n => n.Id, n => n.Op switch
        {
            Input { Role: "ids" } => ids.Select(i => (double)i).ToArray(),
            Input => labels.Select(l => (double)l).ToArray(),
            Param p => Values(weights[p.Tensor]),
            Adapter a => Values(adapter[Key(a)]),
            RunScalar { Role: "lora_scale" } => [2.0],
            RunScalar => [1.0 / labels.Count(l => l >= 0)],
            var other => throw new InvalidOperationException("no value for " + other),
        });
        var values = GraphEvaluator.Run(graph.Nodes, sizes, leaves);

        Assert.InRange(Distance(Values(rows), values[graph.Outputs[0]]), 0, 1e-12);
        for (var i = 0; i < adapters.Length; i++)
            Assert.InRange(Distance(Values(adapter[Key(adapters[i])].grad!), values[graph.Outputs[i + 1]]), 0, 1e-9);
    }

    static string Key(Adapter a) => "base_model.model." + a.Linear + (a.IsA ? ".lora_A.weight" : ".lora_B.weight");
    static double[] Values(Tensor t) => t.detach().contiguous().data<double>().ToArray();

    static double Distance(double[] expected, double[] actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        return Math.Sqrt(expected.Zip(actual, (a, b) => (a - b) * (a - b)).Sum() / expected.Sum(a => a * a));
    }
}
