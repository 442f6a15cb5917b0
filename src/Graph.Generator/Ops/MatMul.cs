using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Schedules;

namespace Graph.Generator.Ops;

/// <summary>
/// nt: y[m,n] = Σk a[m,k]·b[n,k] (a linear: x[T,K], w[N,K] → [T,N]); nn: Σn a[m,n]·b[n,k] (the input's gradient: dy[T,N], w[N,K] → [T,K]);
/// tn: Σt a[t,n]·b[t,k] (a weight's gradient: dy[T,N], x[T,K] → f32[N,K]). fp32 accumulation, one rounding.
/// </summary>
public sealed record MatMul(GemmLayout Layout) : Op(Layout == GemmLayout.Nt ? "linear" : "matmul_" + Layout.ToString().ToLowerInvariant())
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs)
    {
        Expect(inputs, 2);
        var (a, b) = (inputs[0], inputs[1]);
        if (a.Rank != 2 || b.Rank != 2 || !a.IsPerToken) throw Error("x is " + a + " and w is " + b + "; x must be [T,K] and w a matrix");
        switch (Layout)
        {
            case GemmLayout.Nt:
                if (!a.Shape[1].Equals(b.Shape[1])) throw Error("x is " + a + " but w is " + b + "; the last dims must match");
                return TensorType.Act(a.Shape[0], b.Shape[0]);
            case GemmLayout.Nn:
                if (!a.Shape[1].Equals(b.Shape[0])) throw Error("dy is " + a + " but w is " + b + "; dy's columns must match w's rows");
                return TensorType.Act(a.Shape[0], b.Shape[1]);
            default:
                if (!a.Shape[0].Equals(b.Shape[0])) throw Error("dy is " + a + " but x is " + b + "; the token dims must match");
                return TensorType.F32(a.Shape[1], b.Shape[1]);
        }
    }

    // Only Nt stands in a forward graph; its two adjoints are the other two layouts.
    public override int?[] Adjoint(GraphBuilder g, Node y, int dy, bool[] needed) => new[]
    {
        needed[0] ? g.Add(new MatMul(GemmLayout.Nn), dy, y.Inputs[1]) : (int?)null,
        needed[1] ? g.Add(new MatMul(GemmLayout.Tn), dy, y.Inputs[0]) : null,
    };

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs)
    {
        var (a, b) = (inputs[0], inputs[1]);
        var (ra, ca) = (sizes.Of(types[0].Shape[0]), sizes.Of(types[0].Shape[1]));
        var (rb, cb) = (sizes.Of(types[1].Shape[0]), sizes.Of(types[1].Shape[1]));
        var (m, n, k) = Layout switch { GemmLayout.Nt => (ra, rb, ca), GemmLayout.Nn => (ra, cb, ca), _ => (ca, cb, ra) };
        var y = new double[m * n];
        for (var i = 0; i < m; i++)
            for (var j = 0; j < n; j++)
                for (var l = 0; l < k; l++)
                    y[i * n + j] += (Layout == GemmLayout.Tn ? a[l * ca + i] : a[i * ca + l]) * (Layout == GemmLayout.Nt ? b[j * cb + l] : b[l * cb + j]);
        return y;
    }
}

/// <summary>y[t] = table[ids[t]]: ids i32[T], table act[V,H] → act[T,H]. Lowering: a gathered load in the row kernel that reads it.</summary>
public sealed record Embedding() : Op("embedding")
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs)
    {
        Expect(inputs, 2);
        var (ids, table) = (inputs[0], inputs[1]);
        if (ids.DType != DType.I32 || ids.Rank != 1 || !ids.IsPerToken) throw Error("ids is " + ids + "; it must be i32[T]");
        if (table.Rank != 2 || table.IsPerToken) throw Error("table is " + table + "; it must be [V,H]");
        return TensorType.Act(Dim.T, table.Shape[1]);
    }

    public override int?[] Adjoint(GraphBuilder g, Node y, int dy, bool[] needed) =>
        new[] { null, needed[1] ? g.Add(new EmbeddingGradient(g.Type(y.Inputs[1]).Shape[0].Size), dy, y.Inputs[0]) : (int?)null };

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs)
    {
        var columns = types[1].Shape[1].Size;
        return inputs[0].SelectMany(id => inputs[1].Skip((int)id * columns).Take(columns)).ToArray();
    }
}
