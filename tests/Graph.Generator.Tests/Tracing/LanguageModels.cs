using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Dsl;
using static Graph.Dsl.Ops;

// Each class uses one part of the C# a model may use. LanguageTests runs them for real and through the interpreter; both traces must be the same.
namespace Graph.Generator.Tests.Tracing.Language;

public enum Kind { Plain, Scaled }

public sealed record Settings(int Width, string Name)
{
    public int Twice => Width * 2;
    public double Factor { get; init; } = 0.5;
    public Kind Kind { get; init; }
    public int? Limit { get; init; }
    public static Settings Default { get; } = new(16, "w") { Kind = Kind.Scaled };
}

public abstract class Small(Settings c) : LanguageModel
{
    protected Settings C => c;

    protected Tensor Weight(string name) => Param(name, c.Width);
    protected abstract Tensor Body(Tensor x);

    public override Tensor Forward(Tensor ids)
    {
        var table = Param("table", 32, c.Width);
        return Linear(Body(Embedding(ids, table)), table);
    }

    public override ConfigField[] CheckpointConfig => [new("hidden_size", c.Width)];
}

[GraphModel("operators")]
public sealed class Operators() : Small(Settings.Default)
{
    protected override Tensor Body(Tensor x)
    {
        var y = -x + 2 * x - x / 3.0 * Weight("w");
        y += 1;
        y *= Tanh(Exp(Rsqrt(RowMean(y * y) + 1e-6)));
        return y - TypedConst(7 % 4 + (9 >> 1) + (long)2.9 + (int)3.7 + 1.5f);
    }
}

[GraphModel("loops")]
public sealed class Loops() : Small(Settings.Default)
{
    protected override Tensor Body(Tensor x)
    {
        for (int i = 0, j = 10; i < j; i += 3, --j)
        {
            if (i == 3) continue;
            if (j < 8) break;
            x += i * j;
        }
        var n = 0;
        while (n < 2) x *= ++n;
        do x -= n--; while (n > 0);
        foreach (var f in new[] { 0.25, 0.5 }) x += f;
        foreach (var (name, times) in new List<(string, int)> { ("a", 1), ("b", 2) })
            for (var k = 0; k < times; k++) x *= Weight($"{name}.{k}");
        foreach (var i in Enumerable.Range(0, 2).Select(i => i * i)) x += i;
        return x;
    }
}

[GraphModel("branches")]
public sealed class Branches() : Small(Settings.Default with { Limit = 5 })
{
    protected override Tensor Body(Tensor x)
    {
        if (C.Kind == Kind.Scaled && C.Limit is { } limit && limit > 4 || C.Name.Length == 9) x *= C.Limit ?? 0;
        else x *= 100;
        x += C.Kind switch { Kind.Plain => 1, Kind.Scaled when C.Width > 100 => 2, _ => 3 };
        x += C.Width switch { < 8 => 1, >= 8 and < 32 and not 20 => 4, _ => 5 };
        x += (C.Width, C.Name) switch { (8, _) => 1, (16, "w") => 6, _ => 2 };
        x += C switch { { Width: 3 } => 1, { Name: "w", Kind: var kind } => (int)kind + 7, _ => 0 };
        switch (C.Name)
        {
            case "v": x += 1; break;
            case "w" when C.Limit is null: x += 2; break;
            case "x" or "w": x += 8; Add(); break;
            default: x += 4; break;
        }
        return C.Limit is null or > 100 ? -x : !(C.Width != 16) ? x * 9 : x;

        void Add() => x += 0.125;
    }
}

[GraphModel("functions")]
public sealed class Functions() : Small(Settings.Default)
{
    protected override Tensor Body(Tensor x)
    {
        Tensor Scale(Tensor t, double by = 2, params int[] more) => more.Length > 0 ? t * by * more[more.Length - 1] : t * by;
        int Fibonacci(int n) => n < 2 ? n : Fibonacci(n - 1) + Fibonacci(n - 2);
        Func<Tensor, Tensor> twice = t => t + t;
        var captured = new List<Func<Tensor, Tensor>>();
        for (var i = 0; i < 3; i++)
        {
            var own = i * 10;
            captured.Add(t => t + own);
        }
        foreach (var f in captured) x = f(x);
        var count = 0;
        Func<int> next = () => ++count;
        next();
        x += next();
        x = Apply(Tanh, Apply(twice, x));
        x = Scale(by: Fibonacci(10), t: x);
        return Scale(Scale(x, 3, 4, 5));
    }

    static Tensor Apply(Func<Tensor, Tensor> f, Tensor x) => f(x);
}

public interface IBlock { Tensor Run(Tensor x); }

public class Block(string name, int width) : IBlock
{
    readonly int _width = width;
    protected readonly string _own = name + ".block";
    public int Runs { get; private set; }
    public virtual double Gain => 1;
    public virtual Tensor Run(Tensor x)
    {
        Runs++;
        return x * Param($"{_own}.{Runs:00}", _width) * Gain;
    }
}

public sealed class LoudBlock(string name, int width) : Block(name, width)
{
    new readonly string _own = "shadow";
    public LoudBlock(string name) : this(name, 16) => Extra = 3;
    public int Extra { get; set; } = 1;
    public override double Gain => base.Gain + Extra;
    public override Tensor Run(Tensor x) => base.Run(x) + _own.Length;
}

[GraphModel("classes")]
public sealed class Classes() : Small(Settings.Default)
{
    readonly IBlock[] _blocks = [new Block("a", 16), new LoudBlock("b"), .. new[] { new LoudBlock("c", 16) { Extra = 2 } }];
    readonly Block? _none = null;

    protected override Tensor Body(Tensor x)
    {
        foreach (var block in _blocks) x = block.Run(block.Run(x));
        x += _none?.Runs ?? ((Block)_blocks[0]).Runs;
        if (_blocks[1] is LoudBlock { Extra: > 2 } loud) x *= loud.Gain;
        var (first, (second, _)) = (1, (2, 3));
        (first, second) = (second, first);
        return x + first - second * Extensions.Half(3.0) + 5.0.Half();
    }
}

static class Extensions
{
    public static double Half(this double x) => x / 2;
}

[GraphModel("numbers")]
public sealed class Numbers() : Small(Settings.Default)
{
    const int Base = 3;
    static readonly int[] Powers = { Base, Base * Base, 27 };
    static double Total { get; } = Math.Pow(2, 0.5) + Math.Max(Powers[1], 4) + Math.Round(2.5) + Math.Abs(-3) + Math.Log(Math.E) + Math.PI;

    protected override Tensor Body(Tensor x)
    {
        var list = new List<int> { 1, 2 };
        list.Add(Powers[2]);
        list[0] = 40;
        var array = new double[2];
        array[1] = list.Count + list[0] / 7 + list[2] % 5 + 7 / 2.0 + int.MaxValue;
        int wrapped = int.MaxValue;
        unchecked { wrapped += 2; }
        var bits = (5 & 6) | (1 << 3) ^ 2;
        x *= Weight("w" + 1 + "-" + 2.5 + $"{Total:F3}|{true}" + $"{7,4}".Length + string.Join("/", "a", "b") + bits.ToString());
        x *= 0.1f * C.Width + (double.NaN == Total - Total * double.NaN ? 3 : 5);
        x += C.Width * 3L;
        x += 0.1f;
        return x * Total + array[1] * array[0] + wrapped + bits + (Half(3) ?? -1) + (Half(4) ?? -1);
    }

    static int? Half(int x) => x % 2 == 0 ? x / 2 : null;
}

[GraphModel("scopes")]
public sealed class Scopes() : Small(Settings.Default)
{
    protected override Tensor Body(Tensor x)
    {
        using (Scope("layers.0"))
        {
            x += 1;
            using var inner = Scope("inner");
            x += 2;
            using (Scope("deep")) x = Leave(x);
        }
        return x + 4;
    }

    static Tensor Leave(Tensor x)
    {
        using (Scope("left"))
        {
            if (x is not null) return x * 3;
        }
        return -x!;
    }
}

[GraphModel("attention")]
public sealed class Scores() : Small(Settings.Default)
{
    protected override Tensor Body(Tensor x)
    {
        var h = SplitHeads(x, 1);
        var a = Attention(h, h, h, 0.25);
        var b = Attention(a, h, h, scale: 1, score: Soft, window: null);
        return MergeHeads(Attention(Rope(b, 100), h, h, 0.5, z => Cap(Soft(z), C.Twice), window: C.Width / 2));
    }

    static Tensor Soft(Tensor z) => z / (1 + Exp(-z));
    static Tensor Cap(Tensor z, double cap) => Tanh(z / cap) * cap;
}

[GraphModel("positions")]
public sealed class Positions() : Small(Settings.Default)
{
    protected override Tensor Body(Tensor x)
    {
        var h = SplitHeads(x, 1);
        h = Attention(h, h, h, 0.5, (z, at) => z - Exp((at.Head + 1) * (-8.0 / 4 * Math.Log(2))) * at.Distance);
        h = Attention(h, h, h, 0.25, Decay, window: 3);
        Tensor Local(Tensor z, ScorePosition where) => GeluTanh(z) + Slope(where) + where.Head;
        h = Attention(h, h, h, score: Local, scale: 2);
        return MergeHeads(Attention(h, h, h, 1, score: null));
    }

    static Tensor Slope(ScorePosition at) => at.Distance * -0.5;
    Tensor Decay(Tensor z, ScorePosition at) => z * Rsqrt(at.Distance + C.Width);
}

public sealed class Table(params double[] values)
{
    readonly double[] _values = values;
    public double this[int i] { get => _values[i]; set => _values[i] = value; }
    public static Table operator +(Table a, double b) => new(a[0] + b, a[1] + b);
    public static implicit operator double(Table t) => t[0] * 10 + t[1];
}

public class Pair<T>(T first, T second) where T : notnull
{
    public T First { get; } = first;
    public T Second => second;
    public TOut Map<TOut>(Func<T, T, TOut> f) => f(First, Second);
}

[GraphModel("members")]
public sealed class Members() : Small(Settings.Default)
{
    string? _name;
    int _count;
    string Name { get { _count++; return _name ??= "made" + _count; } set => _name = value; }

    protected override Tensor Body(Tensor x)
    {
        var table = new Table(1, 2) + 0.5;
        table[1] = table[0] * 2;
        x *= (double)table;
        x *= Weight(Name) * Weight(Name);
        Name = "set";
        if (Name.StartsWith("s") && !Name.EndsWith("s") && Name.Contains("e")) x += Name.Length;
        var pair = new Pair<int>(3, 4);
        x += pair.Map((a, b) => a * b + 0.5) + new Pair<string>("ab", "c").Map((a, b) => a + b).Length;
        x += pair.First is > 2 and var first ? first : 0;
        object boxed = 2.5;
        x += boxed is double d ? d : 0;
        x += boxed as string is null ? 1 : 2;
        x += new[] { 1, 2, 3 }.Select(i => i * i).ToList().Sum() + (Enumerable.Repeat(2, 3).ToArray().Contains(2) ? 1f : 0f);
        var (letter, next) = ("abc"[1], (char)('a' + 1));
        return letter == next ? x * 2 : x;
    }
}
