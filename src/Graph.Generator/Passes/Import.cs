using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Ops;
using Graph.Generator.Tracing;

namespace Graph.Generator.Passes;

/// <summary>01: what the user wrote, as a typed graph. Score regions fold into their attention; the training loss is appended to the logits the model returns.</summary>
public static class Import
{
    public static TensorGraph Run(IReadOnlyList<TraceNode> trace)
    {
        var g = new GraphBuilder();
        var map = new int[trace.Count];
        foreach (var line in trace)
        {
            (g.Scope, g.Origin) = (line.Scope, line.Id);
            var inputs = line.Inputs.Select(i => map[i]).ToArray();
            if (line.Op == "attention")
            {
                var scale = Convert.ToDouble(line.Attributes.First(a => a.Key == "scale").Value);
                var window = line.Attributes.First(a => a.Key == "window").Value is { } w ? Convert.ToInt32(w) : 0;
                var score = ScoreRegion.Value(trace, line.Inputs[3], scale);
                map[line.Id] = g.Add(new Attention(new ScoreFunction(score, window)), inputs.Take(3).ToArray());
                continue;
            }
            var op = OpCatalog.Create(line.Op, line.Attributes);
            if (op is MatMul or Embedding && g[inputs[1]].Op is not (Param or Adapter))
                throw new ShapeError(line.Op + ": its weight is computed (" + g[inputs[1]].Op.Name + "); it must be a Param, LoraA or LoraB as it is");
            map[line.Id] = g.Named(Name(g, op, inputs), op, inputs);
        }
        g.Scope = "";   // The loss's origin stays the logits, the last op.
        var labels = g.Named("labels", new Input("labels"));
        var loss = g.Named("loss", new CrossEntropy(), map[trace[trace.Count - 1].Id], labels);
        return g.Build(new[] { loss }, g.Count);
    }

    static string Name(GraphBuilder g, Op op, int[] inputs)
    {
        bool IsTokens(int i) => g.Type(inputs[i]).IsPerToken;
        return op switch
        {
            Input input => input.Role,
            Param p => Module(p.Tensor),
            Adapter a => Module(a.Linear) + (a.IsA ? "_a" : "_b"),
            RunScalar s => s.Tensor,
            RmsNorm or LayerNorm => g[inputs[1]].Name,
            MatMul => g[inputs[1]].Name,
            Heads or Rope => g[inputs[0]].Name,
            Binary { Kind: BinaryKind.Add } when g.Type(inputs[0]).IsPerToken && g[inputs[0]].Op is MatMul => g[inputs[0]].Name,
            // x + f(x)
            Binary { Kind: BinaryKind.Add } when IsTokens(0) && IsTokens(1) => Depends(g, inputs[0], inputs[1]) || Depends(g, inputs[1], inputs[0]) ? "residual" : "sum",
            Binary { Kind: BinaryKind.Mul } when IsTokens(0) && IsTokens(1) => g[inputs[0]].Op is GeluTanh or Gelu ? "geglu" : g[inputs[0]].Op is Silu ? "swiglu" : "product",
            Binary { Kind: BinaryKind.Mul } when IsTokens(0) != IsTokens(1) => g[inputs[IsTokens(0) ? 0 : 1]].Name,
            _ => op.Name,
        };
    }

    /// <summary>The value is computed from the other one.</summary>
    static bool Depends(GraphBuilder g, int value, int on)
    {
        var seen = new HashSet<int>();
        var work = new Stack<int>();
        work.Push(value);
        while (work.Count > 0)
        {
            var id = work.Pop();
            if (id == on) return true;
            if (id < on || !seen.Add(id)) continue;
            foreach (var input in g[id].Inputs) work.Push(input);
        }
        return false;
    }

    // "model.layers.0.self_attn.q_proj.weight" → "q_proj"
    static string Module(string tensor)
    {
        var name = tensor.EndsWith(".weight", StringComparison.Ordinal) ? tensor.Substring(0, tensor.Length - 7) : tensor;
        return name.Substring(name.LastIndexOf('.') + 1);
    }
}
