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
public readonly record struct StepState(long ArenaBytes, int At, double Milliseconds, int Launches, long MixingBytes, int MixingAt);

/// <summary>
/// What decisions come to, in microseconds instead of milliseconds, so that a planner can try thousands; without copies a test holds it equal to a plan's launches and lifetimes.
/// What copies to and from the host take and delay is near what <see cref="Transfers"/> makes of them (<see cref="CopyModel"/>).
/// Not for two threads at once.
/// </summary>
public sealed class StepModel
{
    readonly StepFacts.Entry[] entries;
    readonly StepFacts.Pair[] pairs;
    readonly int[] forward, backward, maker;
    readonly int[][] recipes;
    readonly bool[] kept, offloaded;
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
    double slowedForward, slowedBackward, room;
    long[] live = [];
    double[] clock = [];

    /// <param name="offload">Activations that wait for the backward in host memory.</param>
    /// <param name="landing"><see cref="TransferPace.Landing"/>.</param>
    public StepModel(StepFacts facts, IReadOnlySet<string> offload, double landing = TransferPace.TripleBuffered)
    {
        (Facts, device, this.landing) = (facts, facts.Device, landing);
        (entries, pairs, forward, backward, recipes) = (facts.Entries, facts.Pairs, facts.Forward, facts.Backward, facts.Recipes);
        (maker, kept, streamed) = (facts.Maker, facts.Kept, facts.Streamed);
        offloaded = [.. Enumerable.Range(0, facts.Tensors).Select(t => offload.Contains(facts.Name(t)) && !kept[t])];
        copies = streamed.Length > 0 || offloaded.Contains(true);
        (done, ready, building) = (new bool[entries.Length], new bool[facts.Tensors], new bool[facts.Tensors]);
        (first, last) = ([new int[facts.Tensors], new int[facts.Tensors]], [new int[facts.Tensors], new int[facts.Tensors]]);
    }

    public StepFacts Facts { get; }

    /// <summary>Live bytes at each launch of the last evaluation.</summary>
    public ReadOnlySpan<long> Live => live.AsSpan(0, list.Count);

    /// <summary>
    /// Of the last evaluation: live bytes at each launch, but for those that copies bring for later ones, or still send in the backward: with more built again the launch may be
    /// before, or behind, such a copy.
    /// </summary>
    public long[] Needed()
    {
        var needed = Live.ToArray();
        foreach (var copy in back)
            for (var i = copy.Start; i < copy.Need; i++) needed[i] -= copy.Bytes;
        foreach (var copy in away)
            for (var i = Math.Max(copy.Need, start); i < Math.Min(copy.Wait, needed.Length); i++) needed[i] -= copy.Bytes;
        return needed;
    }

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

    /// <summary>Of the last evaluation.</summary>
    public StepFloor Floor()
    {
        double now = 0, free = 0, forward = 0, computing = 0, backward = 0, scores = 0;
        var (next, oldest, flying) = (0, 0, 0L);
        double[] begin = new double[list.Count + 1], arrival = new double[back.Count];
        for (var i = 0; i < list.Count; i++)
        {
            var (gain, needsRoom) = i > 0 && pairs[list[i - 1]] is { Second: > 0 } pair && pair.Second == list[i] ? (Math.Max(0, pair.Gain), pair.Room > 0) : (0, false);
            var ms = entries[list[i]].Milliseconds - gain;
            if (needsRoom) scores += gain;
            if (i >= start)
            {
                backward += ms;
                continue;
            }
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
            forward = begin[i + 1] = now += ms;
            computing += ms;
        }
        // Launches that copies slow leave them more time to arrive.
        return new StepFloor(Math.Max(forward, computing + slowedForward) + backward + slowedBackward,
            // Copies are placed before it is known what dS saves.
            Math.Max(CopyModel.Milliseconds(away, device, Lane.ToHost), CopyModel.Milliseconds(back, device, Lane.ToDevice)) - scores);
    }

    /// <summary>Of the last evaluation: milliseconds from the tensor's last use in the forward to its first in the backward; 0: there is none.</summary>
    public double Absence(int tensor) => last[0][tensor] >= 0 && first[1][tensor] < int.MaxValue ? Elapsed(first[1][tensor]) - Elapsed(last[0][tensor] + 1) : 0;

    /// <summary>
    /// Of the last evaluation: milliseconds and launches more if those at which more than so many bytes are alive run tile by tile, but for those that mix tokens.
    /// </summary>
    /// <param name="tile">Times of a tile's launches.</param>
    /// <param name="tiles">How many tiles there are.</param>
    /// <param name="rooms">Bytes, from the fewest to the most.</param>
    public (double Milliseconds, int Launches)[] OfTiles(LaunchTimes tile, double tiles, ReadOnlySpan<long> rooms)
    {
        var (ms, count) = (new double[rooms.Length], new int[rooms.Length]);
        for (var i = 0; i < list.Count; i++)
        {
            if (live[i] <= rooms[0] || entries[list[i]].Mixes) continue;
            var more = Math.Max(0, tiles * tile.Of(entries[list[i]].Launch) - entries[list[i]].Milliseconds);
            for (var r = 0; r < rooms.Length && live[i] > rooms[r]; r++) (ms[r], count[r]) = (ms[r] + more, count[r] + 1);
        }
        return [.. ms.Zip(count, (m, c) => (m, (int)((tiles - 1) * c)))];
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
        var late = copies ? Copy(count) : 0;
        for (var t = 0; t < Facts.Tensors; t++)
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
        return Sum(count, late);

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

    /// <summary>Lifetimes of what copies send and bring, and the milliseconds that launches wait for them.</summary>
    double Copy(int count)
    {
        away.Clear();
        back.Clear();
        var written = new int[Facts.Tensors];
        for (var i = 0; i < start; i++)
            foreach (var t in entries[list[i]].Writes) written[t] = i;
        for (var t = 0; t < Facts.Tensors; t++)
            if (offloaded[t] && first[1][t] < int.MaxValue && last[0][t] >= 0) away.Add(new ModelCopy(t, Facts.Bytes(t), written[t] + 1, last[0][t] + 1));
        away.Sort((a, b) => a.Ready.CompareTo(b.Ready));
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
                    back.Add(new ModelCopy(Facts.Tensors + ends.Count, streamed[block], known.Copy < 0 ? 0 : ends[known.Copy] + 1, i));
                    known = (ends.Count, here.Layer, here.Item2, i);
                    ends.Add(i);
                }
                uses[block] = known;
            }
        // What is sent comes back.
        slowedForward = slowedBackward = 0;
        var largest = 0L;
        foreach (var copy in away)
        {
            largest = Math.Max(largest, copy.Bytes);
            slowedForward += device.CopySlows(Lane.ToHost, copy.Bytes);
            slowedBackward += device.CopySlows(Lane.ToDevice, copy.Bytes);
        }
        foreach (var copy in back)
        {
            largest = Math.Max(largest, copy.Bytes);
            (copy.Need < start ? ref slowedForward : ref slowedBackward) += device.CopySlows(Lane.ToDevice, copy.Bytes);
        }
        room = landing * largest;
        Clock(count);
        var times = clock.AsSpan(0, count + 1);
        var sent = System.Runtime.InteropServices.CollectionsMarshal.AsSpan(away);
        var late = CopyModel.ToHost(times, sent, device, room);
        foreach (ref readonly var copy in sent)
        {
            Add(copy.Item, first[0][copy.Item], Math.Min(copy.Wait, count) - 1);
            back.Add(new ModelCopy(copy.Item, copy.Bytes, Math.Min(copy.Wait, first[1][copy.Item]), first[1][copy.Item]));
        }
        back.Sort((a, b) => a.Need.CompareTo(b.Need));
        var brought = System.Runtime.InteropServices.CollectionsMarshal.AsSpan(back);
        late += CopyModel.ToDevice(times, brought, device, room);
        foreach (ref readonly var copy in brought)
            if (copy.Item < Facts.Tensors) Add(copy.Item, copy.Start, kept[copy.Item] ? count - 1 : last[1][copy.Item]);
            else
            {
                live[copy.Start] += copy.Bytes;
                live[ends[copy.Item - Facts.Tensors] + 1] -= copy.Bytes;
            }
        return late;
    }

    // Copies slow the launches of their side evenly.
    void Clock(int count)
    {
        clock[0] = 0;
        for (var i = 0; i < count; i++)
        {
            // What a pair saves if it needs no room; whether there is room is not known yet.
            var gain = i > 0 && pairs[list[i - 1]] is { Second: > 0, Room: 0 } pair && pair.Second == list[i] ? pair.Gain : 0;
            clock[i + 1] = clock[i] + entries[list[i]].Milliseconds - gain;
        }
        var (forward, backward) = (clock[start], clock[count] - clock[start]);
        var (slowForward, slowBackward) = (forward > 0 ? 1 + slowedForward / forward : 1, backward > 0 ? 1 + slowedBackward / backward : 1);
        for (var i = count; i > start; i--) clock[i] = forward * slowForward + (clock[i] - forward) * slowBackward;
        for (var i = start; i > 0; i--) clock[i] *= slowForward;
    }

    StepState Sum(int count, double late)
    {
        var (most, at, ms, mixing, mixingAt) = (0L, 0, late + slowedForward + slowedBackward, 0L, 0);
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
        return new StepState(most, at, ms, count + 2 * (away.Count + back.Count), mixing, mixingAt);
    }

    void Add(int tensor, int from, int to)
    {
        if (to < from) return;
        live[from] += Facts.Bytes(tensor);
        live[to + 1] -= Facts.Bytes(tensor);
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
