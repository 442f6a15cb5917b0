using System;
using System.Collections.Generic;
using System.Linq;

namespace Graph.Fuzz.Generation;

/// <summary>The model of a seed.</summary>
public sealed class RandomModel
{
    readonly Draw draw;
    readonly ModelBuilder b = new();
    readonly Pieces p;
    readonly int hidden, layers;

    /// <param name="variety">Share of rare choices that the model may take; null: drawn.</param>
    public static Model Of(int seed, double? variety = null) => new RandomModel(seed, variety).Build(seed);

    RandomModel(int seed, double? variety)
    {
        draw = new Draw(seed, variety);
        p = new Pieces(b, draw);
        hidden = Size(1, 4);
        layers = draw.Weighted((5, 1), [(4, 2), (1, 3), (1, 0)]);
    }

// Kernels read 8 columns at a time.
    int Size(int least, int most) => 8 * draw.Between(least, most);

    T Note<T>(string feature, T value)
    {
        b.Features.Add(feature);
        return value;
    }

    Model Build(int seed)
    {
        var table = b.Unique("model") + ".embed";
        var vocabulary = Size(1, 9);
        var x = b.Add("embedding", 0, b.Param(table, vocabulary, hidden));
        x = draw.Weighted<Func<int>>(
            (3, () => x), [
            (2, () => b.Add("mul", x, b.Add(new Step("typed_const", [], Number: draw.Of(0.5, 1.5, 2))))),
            (1, () => Note("embedding: two tables", p.Add(x, b.Add("embedding", 0, b.Param(b.Unique("second") + ".embed", vocabulary + draw.Between(0, 9), hidden))))),
            (1, () => Note("embedding: twice", p.Add(x, p.Function(b.Add("embedding", 0, b.Param(table, vocabulary, hidden)))))),
            (1, () => Note("embedding: positions", p.Add(x, b.Add("embedding", b.Add("positions"), b.Param(b.Unique("positions") + ".embed", 160, hidden))))),
            (1, () => Note("embedding: normed", p.Norm(x)))])();
        var named = draw.Weighted((8, "layers."), [(1, "blocks."), (1, "")]);
        if (named != "layers.") b.Features.Add(named == "" ? "scope: none" : "scope: not a layer");
        for (var i = 0; i < layers; i++)
        {
            b.Scope = named == "" ? "" : named + i;
            x = Layer(x);
        }
        b.Scope = "";
        // Something must be trained.
        if (b.Adapters.Count == 0) x = p.Add(x, p.Adapter(x, hidden, b.Unique("adapter")));
        if (draw.Rarely(0.15)) Note("dead branch", p.Linear(p.RowFunction(x), Size(1, 2), "dead"));
        if (draw.Chance(0.6)) x = p.Norm(x);
        else b.Features.Add("head: no norm");
        if (draw.Rarely(0.1)) x = Note("head: sum with the embedding", Sum(x));
        return new Model([.. Head(x, table, vocabulary).Steps], Setup(seed), b.Features);
    }

    ModelBuilder Head(int x, string table, int vocabulary)
    {
        var tied = b[x].A == hidden && draw.Chance(0.6);
        // Logits of a tied table would have √H times the size.
        if (tied) x = p.Times(x, Math.Round(1 / Math.Sqrt(hidden), 2));
        var size = tied ? vocabulary : Size(1, 9);
        var z = b.Add("linear", x, tied ? b.Param(table, vocabulary, hidden) : b.Param(b.Unique("lm_head") + ".weight", size, b[x].A));
        draw.Weighted<Func<int>>(
            (3, () => Note("head: plain", z)), [
            (4, () => p.Times(b.Add("tanh", b.Add("div", z, b.Const(2))), 2)),
            (1, () => Note("head: times a number", p.Times(z, draw.Number()))),
            (1, () => Note("head: function", p.Function(z)))])();
        return b;
    }

    /// <summary>Values of the stream's shape so far.</summary>
    int Any(int x) => draw.Of(b.Values(t => t == b[x]));

    int Sum(int x) => p.Add(x, Any(x));

    int Layer(int x)
    {
        var (pre, post) = (draw.Chance(0.75), draw.Chance(0.35));
        if (!pre) b.Features.Add(post ? "norms: after only" : "norms: none");
        else if (!post) b.Features.Add("norms: before only");
        int Pre(int y) => pre ? p.Norm(y) : y;
        int Post(int y) => post ? p.Norm(y) : y;
        return draw.Weighted<Func<int>>(
            (6, () =>
            {
                x = p.Add(x, Post(Attention(Pre(x))));
                return p.Add(x, Post(Mlp(Pre(x))));
            }), [
            (2, () => Note("layer: attention alone", p.Add(x, Post(Attention(Pre(x)))))),
            (2, () => Note("layer: mlp alone", p.Add(x, Post(Mlp(Pre(x)))))),
            (2, () =>
            {
                var h = Pre(x);
                return Note("layer: parallel", p.Add(p.Add(x, Post(Attention(h))), Post(Mlp(h))));
            }),
            (1, () => Note("layer: no residual", Mlp(Attention(Pre(x))))),
            (1, () => Note("layer: residual of an older value", p.Add(Any(x), Attention(Pre(x))))),
            (2, () => Note("layer: rows", Rows(Pre(x))))])();
    }

    int Attention(int x)
    {
        var dim = draw.Weighted((6, 16), [(2, 32), (1, 48), (1, 64), (0.3, 80), (0.3, 96), (0.5, 128), (0.3, 256)]);
        var (heads, kvHeads) = draw.Of((1, 1), (2, 1), (2, 2), (4, 2), (4, 1), (3, 1), (3, 3), (4, 4), (6, 2));
        var keys = draw.Rarely(0.1) ? Note("attention: keys of another value", draw.Of(b.Values(t => t.Kind == ValueKind.Rows && !t.IsStatistic))) : x;
        var qRows = p.Linear(x, heads * dim, "q_proj");
        var q = b.Add(new Step("split_heads", [qRows], Count: heads));
        var k = heads == kvHeads && draw.Rarely(0.1) ? Note("attention: k is q", q) : b.Add(new Step("split_heads", [p.Linear(keys, kvHeads * dim, "k_proj")], Count: kvHeads));
        var v = draw.Rarely(0.08) ? Note("attention: v is k", k) : b.Add(new Step("split_heads", [p.Linear(keys, kvHeads * dim, "v_proj")], Count: kvHeads));
        if (draw.Rarely(0.2)) q = Note("attention: function of q's heads", p.HeadFunction(q));
        if (draw.Rarely(0.2)) k = Note("attention: function of k's heads", p.HeadFunction(k));
        var theta = draw.Of(10.0, 10_000);
        int Rope(int y) => b.Add(new Step("rope", [y], Number: theta));
        (q, k) = draw.Weighted<Func<(int, int)>>(
            (4, () => (Rope(q), Rope(k))), [
            (3, () => Note("rope: none", (q, k))),
            (1, () => Note("rope: on k alone", (q, Rope(k)))),
            (1, () => Note("rope: twice", (Rope(Rope(q)), Rope(k))))])();
        var (score, size) = p.Score();
        int? window = draw.Chance(0.5) ? null : draw.Of(1, 2, 3, 5, 8, 16, 100);
        if (window is not null) b.Features.Add("attention: window");
        var o = b.Add(new Step("attention", [q, k, v], Number: Math.Round(size / Math.Sqrt(dim), 3), Count: window, Score: score));
        if (draw.Rarely(0.08)) o = Note("attention: q added to its output", p.Add(o, q));
        if (draw.Rarely(0.08)) o = Note("attention: function of its output", p.Function(o));
        var rows = b.Add("merge_heads", o);
        if (draw.Rarely(0.06)) rows = Note("linear: output used twice", p.Mul(rows, b.Add("tanh", qRows)));
        if (b[rows].A == hidden && draw.Rarely(0.2)) return Note("attention: no output linear", rows);
        return p.Linear(rows, hidden, "o_proj");
    }

    int Mlp(int x)
    {
        var inner = Size(1, 5);
        var up = p.Linear(x, inner, "up_proj");
        return draw.Weighted<Func<int>>(
            (5, () => p.Linear(p.Mul(p.Function(p.Linear(x, inner, "gate_proj")), up), hidden, "down_proj")), [
            (2, () => Note("mlp: no gate", p.Linear(p.Function(up), hidden, "down_proj"))),
            (2, () => Note("linear: of a linear", p.Linear(up, hidden, "down_proj"))),
            (1, () => Note("linear: of a sum of linears", p.Linear(p.Add(up, p.Linear(x, inner, "gate_proj")), hidden, "down_proj"))),
            (1, () => Note("linear: output used twice", p.Linear(p.Mul(up, p.Function(up)), hidden, "down_proj"))),
            (1, () => Note("linear: sum of two linears", p.Add(p.Linear(p.Function(up), hidden, "down_proj"), p.Linear(x, hidden, "skip_proj")))),
            (1, () => Note("linear: one read by two", p.Add(p.Linear(up, hidden, "down_proj"), p.Function(p.Linear(up, hidden, "down_proj"))))),
            (1, () => Note("mlp: row function", p.Linear(p.RowFunction(up), hidden, "down_proj")))])();
    }

    /// <summary>Some row functions of older values.</summary>
    int Rows(int x)
    {
        for (var i = draw.Between(1, 4); i > 0; i--)
        {
            x = p.RowFunction(x);
            if (draw.Chance(0.3)) x = Sum(x);
            if (draw.Chance(0.3)) x = p.Linear(x, hidden, "proj");
        }
        return x;
    }

    Setup Setup(int seed)
    {
        var tokens = draw.Weighted((9, draw.Between(2, 40)), [(1, 1), (1, draw.Between(41, 150))]);
        var documents = Enumerable.Range(0, draw.Chance(0.3) ? 2 : 1).Select(_ => Documents(tokens)).ToArray();
        var ranks = new Dictionary<string, int>();
        var same = draw.Chance(0.4) ? draw.Of(1, 4, 8, 16) : 0;
        foreach (var name in b.Adapters) ranks[name] = same > 0 ? same : draw.Rarely(0.05) ? 0 : draw.Rarely(0.1) ? draw.Between(17, 20) : draw.Between(1, 8);
        if (ranks.Values.All(r => r == 0)) ranks[ranks.Keys.First()] = 1;
        return new Setup(tokens, documents, draw.Of(0, 0, 0.3, 0.8), ranks, draw.Of(0.5, 1, 2), draw.Chance(0.7) ? null : draw.Between(1, tokens), seed);
    }

    int[] Documents(int tokens)
    {
        var documents = new List<int>();
        for (var left = tokens; left > 0 && documents.Count < 5;)
        {
            var length = draw.Chance(0.3) ? left : draw.Between(1, left);
            documents.Add(length);
            left -= length;
            if (draw.Rarely(0.2)) break;
        }
        return [.. documents];
    }
}
