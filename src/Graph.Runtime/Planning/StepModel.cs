using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>What decisions come to.</summary>
/// <param name="ArenaBytes">The most bytes alive at one launch: no arena is smaller, and <see cref="Arena.Assign"/> comes near it.</param>
/// <param name="At">That launch, in the expanded list.</param>
/// <param name="Milliseconds">Predicted, forward and backward.</param>
/// <param name="Launches">In the expanded list, with starts of copies and waits for them.</param>
/// <param name="MixingBytes">The most bytes alive at a launch that mixes tokens: tiles reach no less.</param>
/// <param name="MixingAt">That launch.</param>
/// <param name="Waiting">Of the milliseconds, those in which launches wait for copies.</param>
/// <param name="Slowed">Of the milliseconds, those that launches take longer beside copies.</param>
public readonly record struct StepState(long ArenaBytes, int At, double Milliseconds, int Launches, long MixingBytes, int MixingAt, double Waiting, double Slowed);

/// <summary>
/// A training micro-batch in numbers. It counts what <see cref="Expansion"/>, <see cref="Lifetimes"/> and
/// <see cref="LaunchTimes"/> say of one list of decisions, in microseconds instead of
/// milliseconds, so that a planner can try thousands; a test holds the two equal.
/// What copies to and from the host take and delay is near what <see cref="Transfers"/> makes of them (<see cref="CopyModel"/>).
/// Not for two threads at once.
/// </summary>
public sealed class StepModel
{
    readonly record struct Entry(Launch Launch, int[] Reads, int[] Writes, int[] Weights, int[] Streamed, long Scratch, double Milliseconds, bool Mixes);

    /// <param name="Gain">Milliseconds that the two save as one.</param>
    /// <param name="Room">Bytes that they need for it beside their arguments.</param>
    readonly record struct Pair(int Second, double Gain, long Room, bool Overlaps);

    readonly string[] names;
    readonly long[] bytes;
    readonly bool[] kept;
    readonly int[][] recipes;
    readonly Entry[] entries;
    readonly Pair[] pairs;
    readonly int[] forward, backward;
    // Per tensor: the launch that makes it of what is stored, if it is such a weight; else -1.
    readonly int[] maker;
    readonly bool[] offloaded;
    readonly long[] streamed;
    readonly bool copies;
    readonly DeviceProfile device;
    readonly double landing;

    // Of the last evaluation: the list, live bytes at each launch, and per tensor where it is read last in the forward and needed first in the backward.
    readonly List<int> list = [];
    readonly List<int> bare = [];
    readonly bool[] done, ready, building;
    readonly int[][] first, last;
    readonly List<ModelCopy> away = [], back = [];
    int start;
    long[] live = [];
    double[] clock = [];

    /// <param name="offload">Activations that wait for the backward in host memory.</param>
    /// <param name="landing"><see cref="TransferPace.Landing"/>.</param>
    public StepModel(Shapes shapes, IReadOnlyList<Launch> forward, IReadOnlyList<Launch> backward, IReadOnlySet<string> kept, int logitsRows, int longestDocument,
        LaunchTimes times, IReadOnlySet<string> offload, double landing = TransferPace.DoubleBuffered)
    {
        (device, this.landing) = (times.Device, landing);
        var arena = shapes.Layouts.Where(l => shapes.IsInArena(l.Tensor) && !shapes.Streamed.Contains(l.Tensor.Name)).ToArray();
        names = [.. arena.Select(l => l.Tensor.Name)];
        bytes = [.. arena.Select(l => Arena.Align(l.Bytes))];
        Index = names.Select((name, i) => (name, i)).ToDictionary(n => n.name, n => n.i);
        this.kept = [.. names.Select(kept.Contains)];
        offloaded = [.. names.Select(n => offload.Contains(n) && !kept.Contains(n))];
        var blocks = shapes.Streamed.Order(StringComparer.Ordinal).ToArray();
        var block = blocks.Select((name, i) => (name, i)).ToDictionary(b => b.name, b => b.i);
        streamed = [.. blocks.Select(b => Arena.Align(shapes[b].Bytes))];
        copies = blocks.Length > 0 || offloaded.Contains(true);
        var materialized = arena.Select(l => shapes.Packed(l.Tensor.Name) is not null).ToArray();
        var numbers = new Dictionary<int, int>();
        var made = new List<Entry>();
        this.forward = [.. forward.Select(Number)];
        this.backward = [.. backward.Select(Number)];
        recipes = [.. names.Select(_ => Array.Empty<int>())];
        foreach (var recipe in shapes.Schedule.Recipes) recipes[Index[recipe.Tensor]] = [.. recipe.Launches.Where(l => !shapes.IsEmpty(l)).Select(Number)];
        maker = [.. names.Select((name, i) => materialized[i] ? Make(new DequantizeLaunch(-1, new View(name), new View(Nf4Layout.NameOf(name)))) : -1)];
        entries = [.. made];
        pairs = new Pair[entries.Length];
        foreach (var fusion in shapes.Schedule.Fusions)
            if (numbers.TryGetValue(fusion.First, out var one) && numbers.TryGetValue(fusion.Second, out var two)
                && shapes.FusionAt([entries[one].Launch, entries[two].Launch], 1) is not null)
                pairs[one] = PairOf(fusion, one, two);
        done = new bool[entries.Length];
        ready = new bool[names.Length];
        building = new bool[names.Length];
        first = [new int[names.Length], new int[names.Length]];
        last = [new int[names.Length], new int[names.Length]];

        int Number(Launch launch)
        {
            if (numbers.TryGetValue(launch.Id, out var number)) return number;
            return numbers[launch.Id] = Make(launch);
        }

        int Make(Launch launch)
        {
            var accesses = shapes.Of(launch);
            var scratch = launch is CrossEntropyLaunch c ? Lifetimes.ScratchOf(shapes, c, logitsRows).Sum(s => Arena.Align(s.Bytes))
                : Arena.Align(AdapterDropout.ScratchBytes(shapes, launch));
            var reads = Tensors(accesses.Reads);
            made.Add(new Entry(launch, reads, Tensors(accesses.Writes), [.. reads.Where(t => materialized[t]).OrderBy(t => names[t], StringComparer.CurrentCulture)],
                [.. accesses.Reads.Select(r => r.Tensor).Where(block.ContainsKey).Select(t => block[t]).Distinct()], scratch, times.Of(launch),
                    !TokenTiles.MixesNoTokens(shapes, launch)));
            return made.Count - 1;
        }

        int[] Tensors(IReadOnlyList<Rectangle> rectangles) => [.. rectangles.Where(r => !r.IsEmpty && Index.ContainsKey(r.Tensor)).Select(r => Index[r.Tensor]).Distinct()];

        Pair PairOf(Fusion fusion, int one, int two)
        {
            var apart = entries[one].Milliseconds + entries[two].Milliseconds;
            return (fusion, entries[one].Launch, entries[two].Launch) switch
            {
                (EpilogueFusion f, GemmLaunch g, KernelLaunch k) => new Pair(two, apart - times.Of(f, g, k), 0, true),
                (RankGradientsFusion, GemmLaunch g, GemmLaunch b) => new Pair(two, apart - times.OfRankGradients(g, b), 0, false),
                (ScoreGradientsFusion, KernelLaunch a, KernelLaunch b) => new Pair(two,
                    apart - times.OfKeptScores(a, b), Arena.Align(ScoreGradients.Lifetime(shapes, b, 1, longestDocument).Bytes), false),
                _ => throw new ArgumentException($"plan: unknown fusion {fusion.GetType().Name}."),
            };
        }
    }

    /// <summary>Numbers of the arena's tensors.</summary>
    public IReadOnlyDictionary<string, int> Index { get; }

    public int Tensors => names.Length;

    public string Name(int tensor) => names[tensor];

    public long Bytes(int tensor) => bytes[tensor];

    /// <summary>
    /// What building the tensor again costs, its inputs aside. What a pair of launches saves is the first one's:
    /// a tensor that is cheap to build from one that is not (GeGLU from gate and up) is dropped before that one.
    /// So any list of dropped tensors costs at least the sum of these.
    /// </summary>
    public double Milliseconds(int tensor) => recipes[tensor].Sum(l => entries[l].Milliseconds - Math.Max(0, pairs[l].Gain));

    public bool HasRecipe(int tensor) => recipes[tensor].Length > 0;

    /// <summary>Live bytes at each launch of the last evaluation.</summary>
    public ReadOnlySpan<long> Live => live.AsSpan(0, list.Count);

    /// <summary>Of the last evaluation: a launch mixes tokens, and no tile of them can be by itself.</summary>
    public bool Mixes(int at) => entries[list[at]].Mixes;

    /// <summary>Of the last evaluation: the first launch of the backward.</summary>
    public int BackwardStart => start;

    /// <summary>Of the last evaluation: milliseconds before a launch if none waits.</summary>
    public double Elapsed(int at)
    {
        var ms = 0.0;
        for (var i = 0; i < at; i++) ms += entries[list[i]].Milliseconds;
        return ms;
    }

    /// <summary>Of the last evaluation: milliseconds of all copies of the direction that has the most. No step is shorter.</summary>
    public double Copying => Math.Max(CopyModel.Milliseconds(away, device, Lane.ToHost), CopyModel.Milliseconds(back, device, Lane.ToDevice));

    /// <summary>
    /// Of the last evaluation: milliseconds until the forward's last launch has ended, those of the backward's launches alone, and until the last of all, if copies from the host
    /// begin as soon as one another and the room for what they bring allow. No step of the same copies has a shorter forward, and none that computes more is shorter.
    /// </summary>
    public (double Forward, double Backward, double All) Soonest()
    {
        double now = 0, free = 0, forward = 0, backward = 0;
        var (next, oldest, flying) = (0, 0, 0L);
        var room = landing * back.Select(c => c.Bytes).DefaultIfEmpty().Max();
        double[] begin = new double[list.Count + 1], arrival = new double[back.Count];
        for (var i = 0; i < list.Count; i++)
        {
            for (; next < back.Count && back[next].Need == i; next++)
            {
                var soonest = Math.Max(free, begin[Math.Min(back[next].Ready, i)]);
                for (; oldest < next && flying + back[next].Bytes > room; oldest++)
                {
                    flying -= back[oldest].Bytes;
                    soonest = Math.Max(soonest, back[oldest].Need < i ? begin[back[oldest].Need] : arrival[oldest]);
                }
                flying += back[next].Bytes;
                free = arrival[next] = soonest + device.CopyMilliseconds(Lane.ToDevice, back[next].Bytes);
                now = Math.Max(now, free);
            }
            begin[i] = now;
            var gain = i > 0 && pairs[list[i - 1]] is { Second: > 0 } pair && pair.Second == list[i] ? Math.Max(0, pair.Gain) : 0;
            var ms = entries[list[i]].Milliseconds - gain;
            now += ms;
            begin[i + 1] = now;
            if (i < start) forward = now;
            else backward += ms;
        }
        return (forward, backward, now);
    }

    /// <summary>Of the last evaluation: milliseconds from the tensor's last use in the forward to its first in the backward; 0: there is none.</summary>
    public double Absence(int tensor) => last[0][tensor] >= 0 && first[1][tensor] < int.MaxValue ? Elapsed(first[1][tensor]) - Elapsed(last[0][tensor] + 1) : 0;

    /// <summary>Of the last evaluation: milliseconds and launches more if those at which more than <see cref="StepState.MixingBytes"/> are alive run tile by tile.</summary>
    /// <param name="tile">Times of a tile's launches.</param>
    /// <param name="tiles">How many tiles there are.</param>
    public (double Milliseconds, int Launches) OfTiles(LaunchTimes tile, double tiles, StepState state)
    {
        var (ms, count) = (0.0, 0);
        for (var i = 0; i < list.Count; i++)
            if (live[i] > state.MixingBytes && !entries[list[i]].Mixes)
                (ms, count) = (ms + Math.Max(0, tiles * tile.Of(entries[list[i]].Launch) - entries[list[i]].Milliseconds), count + 1);
        return (ms, (int)((tiles - 1) * count));
    }

    /// <summary>Of the last evaluation: whether dropping the tensor, then saved, frees its bytes at a launch.</summary>
    public bool Covers(int tensor, int at) => last[0][tensor] >= 0 && last[0][tensor] < at && at < first[1][tensor] && first[1][tensor] < int.MaxValue;

    /// <summary>Where the forward reads the tensor last, or writes it: of two that cost the same, the earlier one lies longer.</summary>
    public int Since(int tensor) => last[0][tensor];

    /// <param name="dropped">Per tensor: it is built again in the backward.</param>
    public StepState Evaluate(IReadOnlyList<bool> dropped)
    {
        Expand(dropped);
        var count = list.Count;
        if (live.Length < count + 1) (live, clock) = (new long[2 * (count + 1)], new double[2 * (count + 1)]);
        Array.Clear(live, 0, count + 1);
        foreach (var side in first) Array.Fill(side, int.MaxValue);
        foreach (var side in last) Array.Fill(side, -1);
        for (var i = 0; i < count; i++)
        {
            var (entry, side) = (entries[list[i]], i < start ? 0 : 1);
            foreach (var t in entry.Reads) Read(t, i, side);
            // As one kernel the two write the second one's outputs while the first one's operands are still read.
            if (i > 0 && pairs[list[i - 1]] is { Overlaps: true } p && p.Second == list[i])
                foreach (var t in entries[list[i - 1]].Reads) Read(t, i, side);
            foreach (var t in entry.Writes) Write(t, i, side);
            live[i] += entry.Scratch;
            live[i + 1] -= entry.Scratch;
        }
        var (late, slowed) = copies ? Copy(count) : default;
        for (var t = 0; t < names.Length; t++)
        {
            if (offloaded[t] && first[1][t] < int.MaxValue && last[0][t] >= 0) continue;
            var end = kept[t] ? count - 1 : last[1][t];
            if (maker[t] >= 0)
            {
                if (last[0][t] >= 0) Add(t, first[0][t], last[0][t]);
            }
            else if (dropped[t] && !kept[t])
            {
                Add(t, first[0][t], last[0][t]);
                Add(t, first[1][t], end);
            }
            else Add(t, Math.Min(first[0][t], first[1][t]), Math.Max(last[0][t], end));
        }
        // Written after its last reader: room while that launch runs.
        for (var i = 0; i < count; i++)
            foreach (var t in entries[list[i]].Writes)
                if (!kept[t] && maker[t] < 0 && i > (dropped[t] ? last[i < start ? 0 : 1][t] : Math.Max(last[0][t], last[1][t]))) Add(t, i, i);
        return Sum(count, late, slowed);

        // A weight is made anew for each run of launches that read it: its first side has the last of these.
        void Read(int tensor, int at, int side)
        {
            if (maker[tensor] >= 0) side = 0;
            else first[side][tensor] = Math.Min(first[side][tensor], at);
            last[side][tensor] = at;
        }

        void Write(int tensor, int at, int side)
        {
            if (maker[tensor] < 0) first[side][tensor] = Math.Min(first[side][tensor], at);
            else
            {
                if (last[0][tensor] >= 0) Add(tensor, first[0][tensor], last[0][tensor]);
                first[0][tensor] = at;
            }
        }
    }

    /// <summary>Lifetimes of what copies send and bring, and the milliseconds that launches wait for them and take longer beside them.</summary>
    (double Late, double Slowed) Copy(int count)
    {
        clock[0] = 0;
        for (var i = 0; i < count; i++) clock[i + 1] = clock[i] + entries[list[i]].Milliseconds;
        var times = clock.AsSpan(0, count + 1);
        away.Clear();
        back.Clear();
        var written = new int[names.Length];
        for (var i = 0; i < start; i++)
            foreach (var t in entries[list[i]].Writes) written[t] = i;
        for (var t = 0; t < names.Length; t++)
            if (offloaded[t] && first[1][t] < int.MaxValue && last[0][t] >= 0) away.Add(new ModelCopy(t, bytes[t], written[t] + 1, last[0][t] + 1));
        away.Sort((a, b) => a.Ready.CompareTo(b.Ready));
        var sent = System.Runtime.InteropServices.CollectionsMarshal.AsSpan(away);
        var late = CopyModel.ToHost(times, sent, device, landing);
        foreach (ref readonly var copy in sent)
        {
            Add(copy.Item, first[0][copy.Item], Math.Min(copy.Wait, count) - 1);
            back.Add(new ModelCopy(copy.Item, copy.Bytes, Math.Min(copy.Wait, first[1][copy.Item]), first[1][copy.Item]));
        }
        // A streamed weight comes once for all the uses that a layer's forward, or its backward, has for it: numbers behind the tensors' own.
        var uses = new (int Copy, int Layer, bool Backward, int Last)[streamed.Length];
        Array.Fill(uses, (-1, 0, false, 0));
        var ends = new List<int>();
        for (var i = 0; i < count; i++)
            foreach (var block in entries[list[i]].Streamed)
            {
                var (known, here) = (uses[block], (entries[list[i]].Launch.Layer, i >= start));
                if (known.Copy >= 0 && here == (known.Layer, known.Backward)) ends[known.Copy] = i;
                else
                {
                    back.Add(new ModelCopy(names.Length + ends.Count, streamed[block], known.Copy < 0 ? 0 : ends[known.Copy] + 1, i));
                    known = (ends.Count, here.Layer, here.Item2, i);
                    ends.Add(i);
                }
                uses[block] = known;
            }
        back.Sort((a, b) => a.Need.CompareTo(b.Need));
        var brought = System.Runtime.InteropServices.CollectionsMarshal.AsSpan(back);
        late += CopyModel.ToDevice(times, brought, device, landing);
        foreach (ref readonly var copy in brought)
            if (copy.Item < names.Length) Add(copy.Item, copy.Start, kept[copy.Item] ? count - 1 : last[1][copy.Item]);
            else
            {
                live[copy.Start] += copy.Bytes;
                live[ends[copy.Item - names.Length] + 1] -= copy.Bytes;
            }
        return (late, CopyModel.Slowed(sent, device, Lane.ToHost) + CopyModel.Slowed(brought, device, Lane.ToDevice));
    }

    StepState Sum(int count, double late, double slowed)
    {
        var (most, at, ms, mixing, mixingAt) = (0L, 0, late + slowed, 0L, 0);
        for (var i = 0; i < count; i++)
        {
            if (i > 0) live[i] += live[i - 1];
            if (live[i] > most) (most, at) = (live[i], i);
            if (live[i] > mixing && entries[list[i]].Mixes) (mixing, mixingAt) = (live[i], i);
        }
        for (var i = 0; i < count; i++)
        {
            ms += entries[list[i]].Milliseconds;
            if (i + 1 < count && pairs[list[i]] is { Gain: not 0 } pair && pair.Second == list[i + 1]
                && (pair.Room == 0 || most - Math.Max(live[i], live[i + 1]) >= pair.Room)) ms -= pair.Gain;
        }
        return new StepState(most, at, ms, count + 2 * (away.Count + back.Count), mixing, mixingAt, late, slowed);
    }

    void Add(int tensor, int from, int to)
    {
        if (to < from) return;
        live[from] += bytes[tensor];
        live[to + 1] -= bytes[tensor];
    }

    void Expand(IReadOnlyList<bool> dropped)
    {
        list.Clear();
        start = forward.Length;
        Array.Clear(done);
        Array.Clear(ready);
        list.AddRange(forward);
        for (var i = 0; i < backward.Length; i++)
        {
            // Recompute launches come before two launches that may be one, never between them.
            if (i + 1 < backward.Length && pairs[backward[i]] is { Second: > 0 } pair && pair.Second == backward[i + 1]) MakeReady(backward[i + 1], dropped);
            MakeReady(backward[i], dropped);
            list.Add(backward[i]);
        }
        if (Array.Exists(maker, m => m >= 0)) Materialize();
    }

    // As Materialization does: right before a launch that reads a weight, or the pair that it is in, and once for those that follow in its layer.
    void Materialize()
    {
        bare.Clear();
        bare.AddRange(list);
        list.Clear();
        int[] held = [];
        var heldIn = (Layer: -1, Backward: false);
        var border = start;
        for (var i = 0; i < bare.Count; i++)
        {
            if (i == border) start = list.Count;
            var two = i + 1 < bare.Count && pairs[bare[i]] is { Second: > 0 } pair && pair.Second == bare[i + 1];
            var read = two && entries[bare[i + 1]].Weights.Length > 0 ? [.. entries[bare[i]].Weights, .. entries[bare[i + 1]].Weights] : entries[bare[i]].Weights;
            if (read.Length > 0)
            {
                var here = (entries[bare[i]].Launch.Layer, i >= border);
                foreach (var weight in read)
                    if (here != heldIn || Array.IndexOf(held, weight) < 0) list.Add(maker[weight]);
                (held, heldIn) = (read, here);
            }
            list.Add(bare[i]);
            if (two) list.Add(bare[++i]);
        }
        if (border == bare.Count) start = list.Count;
    }

    void MakeReady(int launch, IReadOnlyList<bool> dropped)
    {
        foreach (var t in entries[launch].Reads)
        {
            if (!dropped[t] || ready[t] || building[t]) continue;
            building[t] = true;
            foreach (var step in recipes[t])
            {
                if (done[step]) continue;
                MakeReady(step, dropped);
                done[step] = true;
                list.Add(step);
            }
            building[t] = false;
            ready[t] = true;
        }
    }
}
