using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>
/// A training micro-batch in numbers: what <see cref="Expansion"/>, <see cref="Lifetimes"/> and <see cref="LaunchTimes"/> say of its launches and tensors, decisions aside.
/// It holds for one place of the weights and one number of logits rows, and never changes; <see cref="StepModel"/>s that offload other tensors share it.
/// </summary>
public sealed class StepFacts
{
    internal readonly record struct Entry(Launch Launch, int[] Reads, int[] Writes, int[] Weights, int[] Streamed, long Scratch, double Milliseconds, bool Mixes);

    /// <param name="Gain">Milliseconds that the two save as one.</param>
    /// <param name="Room">Bytes that they need for it beside their arguments.</param>
    internal readonly record struct Pair(int Second, double Gain, long Room, bool Overlaps);

    readonly string[] names;
    readonly long[] bytes;
    readonly double[] milliseconds;

    public StepFacts(Shapes shapes, IReadOnlyList<Launch> forward, IReadOnlyList<Launch> backward, IReadOnlySet<string> kept, int logitsRows, int longestDocument,
        LaunchTimes times)
    {
        Device = times.Device;
        var arena = shapes.Layouts.Where(l => shapes.IsInArena(l.Tensor) && !shapes.Streamed.Contains(l.Tensor.Name)).ToArray();
        names = [.. arena.Select(l => l.Tensor.Name)];
        bytes = [.. arena.Select(l => Arena.Align(l.Bytes))];
        Index = names.Select((name, i) => (name, i)).ToDictionary(n => n.name, n => n.i);
        Kept = [.. names.Select(kept.Contains)];
        (var blocks, Streamed) = Blocks(shapes);
        var materialized = arena.Select(l => shapes.Packed(l.Tensor.Name) is not null).ToArray();
        var numbers = new Dictionary<int, int>();
        var made = new List<Entry>();
        Forward = [.. forward.Select(Number)];
        Backward = [.. backward.Select(Number)];
        Recipes = [.. names.Select(_ => Array.Empty<int>())];
        foreach (var recipe in shapes.Schedule.Recipes) Recipes[Index[recipe.Tensor]] = [.. recipe.Launches.Where(l => !shapes.IsEmpty(l)).Select(Number)];
        Maker = [.. names.Select((name, i) => materialized[i] ? Make(new DequantizeLaunch(-1, new View(name), new View(Nf4Layout.NameOf(name)))) : -1)];
        Entries = [.. made];
        Pairs = new Pair[Entries.Length];
        foreach (var fusion in shapes.Schedule.Fusions)
            if (numbers.TryGetValue(fusion.First, out var one) && numbers.TryGetValue(fusion.Second, out var two)
                && shapes.FusionAt([Entries[one].Launch, Entries[two].Launch], 1) is not null)
                Pairs[one] = PairOf(fusion, one, two);
        milliseconds = [.. Recipes.Select(recipe => recipe.Sum(l => Entries[l].Milliseconds - Math.Max(0, Pairs[l].Gain)))];

        int Number(Launch launch)
        {
            if (numbers.TryGetValue(launch.Id, out var number)) return number;
            return numbers[launch.Id] = Make(launch);
        }

        int Make(Launch launch)
        {
            var accesses = shapes.Of(launch);
            var scratch = launch is CrossEntropyLaunch c ? ScratchOf(shapes, c, logitsRows)
                : Arena.Align(AdapterDropout.ScratchBytes(shapes, launch));
            var reads = Tensors(accesses.Reads);
            made.Add(new Entry(launch, reads, Tensors(accesses.Writes), [.. reads.Where(t => materialized[t]).OrderBy(t => names[t], StringComparer.CurrentCulture)],
                StreamedBy(accesses, blocks), scratch, times.Of(launch), !TokenTiles.MixesNoTokens(shapes, launch)));
            return made.Count - 1;
        }

        int[] Tensors(IReadOnlyList<Rectangle> rectangles) => [.. rectangles.Where(r => !r.IsEmpty && Index.ContainsKey(r.Tensor)).Select(r => Index[r.Tensor]).Distinct()];

        Pair PairOf(Fusion fusion, int one, int two)
        {
            var gain = Entries[one].Milliseconds + Entries[two].Milliseconds - times.Of(fusion, Entries[one].Launch, Entries[two].Launch);
            return fusion is ScoreGradientsFusion && Entries[two].Launch is KernelLaunch dq
                ? new Pair(two, gain, Arena.Align(ScoreGradients.Lifetime(shapes, dq, 1, longestDocument).Bytes), false)
                : new Pair(two, gain, 0, fusion is EpilogueFusion);
        }
    }

    StepFacts(StepFacts other, Entry[] entries, long[] streamed)
    {
        (names, bytes, milliseconds, Device, Index, Kept, Streamed) = (other.names, other.bytes, other.milliseconds, other.Device, other.Index, other.Kept, streamed);
        (Forward, Backward, Recipes, Maker, Pairs, Entries) = (other.Forward, other.Backward, other.Recipes, other.Maker, other.Pairs, entries);
    }

    /// <summary>The same launches and tensors with weights in other places, and with other rows of logits at a time, which nothing but the cross entropy sees.</summary>
    /// <param name="shapes">In the same formats (<see cref="Shapes.Placed"/>).</param>
    /// <param name="times">With these rows.</param>
    public StepFacts With(Shapes shapes, int logitsRows, LaunchTimes times)
    {
        var (blocks, streamed) = Blocks(shapes);
        return new(this, [.. Entries.Select(e => (e.Launch is CrossEntropyLaunch c ? e with { Scratch = ScratchOf(shapes, c, logitsRows), Milliseconds = times.Of(c) } : e)
            with { Streamed = StreamedBy(shapes.Of(e.Launch), blocks) })], streamed);
    }

    // Numbers of what copies bring, and bytes.
    static (Dictionary<string, int>, long[]) Blocks(Shapes shapes)
    {
        var blocks = shapes.Streamed.Order(StringComparer.Ordinal).ToArray();
        return (blocks.Select((name, i) => (name, i)).ToDictionary(b => b.name, b => b.i), [.. blocks.Select(b => Arena.Align(shapes[b].Bytes))]);
    }

    static int[] StreamedBy(Accesses accesses, Dictionary<string, int> blocks) =>
        blocks.Count == 0 ? [] : [.. accesses.Reads.Where(r => blocks.ContainsKey(r.Tensor)).Select(r => blocks[r.Tensor]).Distinct()];

    static long ScratchOf(Shapes shapes, CrossEntropyLaunch launch, int rows) => Lifetimes.ScratchOf(shapes, launch, rows).Sum(s => Arena.Align(s.Bytes));

    public DeviceProfile Device { get; }

    /// <summary>Numbers of the arena's tensors.</summary>
    public IReadOnlyDictionary<string, int> Index { get; }

    public int Tensors => names.Length;

    public string Name(int tensor) => names[tensor];

    public long Bytes(int tensor) => bytes[tensor];

    public bool HasRecipe(int tensor) => Recipes[tensor].Length > 0;

    /// <summary>
    /// What building the tensor again costs, its inputs aside. What a pair of launches saves is the first one's:
    /// a tensor that is cheap to build from one that is not (GeGLU from gate and up) is dropped before that one.
    /// So any list of dropped tensors costs at least the sum of these.
    /// </summary>
    public double Milliseconds(int tensor) => milliseconds[tensor];

    internal Entry[] Entries { get; }

    /// <summary>By the first of the two; with none the second is 0.</summary>
    internal Pair[] Pairs { get; }

    internal int[] Forward { get; }
    internal int[] Backward { get; }
    internal int[][] Recipes { get; }

    /// <summary>Per tensor: the launch that makes it of what is stored, if it is such a weight; else -1.</summary>
    internal int[] Maker { get; }

    /// <summary>Per tensor: it stays on the device whatever is decided.</summary>
    internal bool[] Kept { get; }

    /// <summary>Bytes of streamed weights.</summary>
    internal long[] Streamed { get; }
}
