using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>
/// Inserts the copies of offloaded activations and streamed weights into a launch list. To the host: from right behind the last write to the first place behind the last
/// use at which the copy should have ended. Back: so early that
/// the copy should have ended before the first use in the backward, whichever launch that is. A weight comes once for all the uses that a layer's forward, or its
/// backward with recipes, has for it. Each direction copies one tensor after the other. Nothing goes between two launches that may be one.
/// </summary>
public sealed class Transfers
{
    readonly Shapes shapes;
    readonly IReadOnlyList<Launch> launches;
    readonly int backwardStart;
    readonly TransferPace pace;
    // Device time before each launch, and after the last.
    readonly double[] clock;

    Transfers(Shapes shapes, IReadOnlyList<Launch> launches, int backwardStart, TransferPace pace, int longestDocument, int logitsRows)
    {
        (this.shapes, this.launches, this.backwardStart, this.pace) = (shapes, launches, backwardStart, pace);
        clock = new double[launches.Count + 1];
        var times = pace.Device is { } device ? new LaunchTimes(shapes, device, logitsRows, longestDocument) : null;
        for (var i = 0; i < launches.Count; i++)
        {
            // Two launches that are one end together. Whether dS has room is not known yet.
            double? both = times is not null && shapes.FusionAt(launches, i) is { } fusion and not ScoreGradientsFusion ? times.Of(fusion, launches[i - 1], launches[i]) : null;
            clock[i + 1] = both is { } ms ? clock[i - 1] + ms : clock[i] + (times?.Of(launches[i]) ?? pace.Of(LaunchCost.Of(shapes, launches[i], Pairs)));
        }

        long Pairs(int? window) => LaunchCost.Pairs(shapes.Tokens, longestDocument, window);
    }

    /// <summary>The list with a start and a wait per copy, and the index of its first backward launch.</summary>
    /// <param name="launches">Forward and backward, recipes included.</param>
    /// <param name="kept">Tensors that stay on the device whatever the decisions say.</param>
    /// <exception cref="ArgumentException">A decision offloads what is no activation.</exception>
    public static (IReadOnlyList<Launch> Launches, int BackwardStart) Insert(
        Shapes shapes, IReadOnlyList<Launch> launches, int backwardStart, Decisions decisions, IReadOnlySet<string> kept, TransferPace pace, int longestDocument, int logitsRows)
    {
        var offloaded = decisions.Actions.Where(a => a.Value == TensorAction.Offload && !kept.Contains(a.Key)).Select(a => a.Key).ToHashSet();
        foreach (var tensor in offloaded)
            if (shapes[tensor].Tensor.Kind != TensorKind.Activation) throw new ArgumentException($"decisions: {tensor} is to be offloaded but is no activation; leave it out.");
        return offloaded.Count == 0 && shapes.Streamed.Count == 0
            ? (launches, backwardStart)
            : new Transfers(shapes, launches, backwardStart, pace, longestDocument, logitsRows).With(offloaded);
    }

    /// <summary>Every activation that the forward writes and the backward uses: what may be offloaded, and what for nothing.</summary>
    public static IReadOnlyList<Absence> Absences(Shapes shapes, IReadOnlyList<Launch> launches, int backwardStart, TransferPace pace, int longestDocument, int logitsRows) =>
        new Transfers(shapes, launches, backwardStart, pace, longestDocument, logitsRows).Absences();

    /// <summary>
    /// In which tile of a run an entry stands: the first; else the last. What goes to the host must have all its rows; what comes from it is there for all tiles.
    /// A copy that is not needed in the run does not begin before
    /// the last use of what it writes over.
    /// </summary>
    public static bool InFirstTile(Shapes shapes, IReadOnlyList<Launch> launches, TiledRun run, int at)
    {
        return launches[at] switch
        {
            TransferWait wait => wait.Start.Lane == Lane.ToDevice,
            TransferStart { Lane: Lane.ToHost } => false,
            TransferStart start => Range(at, run.Last).Any(l => l is TransferWait wait && wait.Start == start) || !Range(run.First, at - 1).Any(l => Touches(l, start.Tensor)),
            _ => throw new ArgumentException($"transfers: {launches[at].GetType().Name} is no copy."),
        };

        IEnumerable<Launch> Range(int first, int last) => Enumerable.Range(first, last - first + 1).Select(i => launches[i]);

        bool Touches(Launch launch, string tensor) => shapes.Of(launch) is var of && of.Reads.Concat(of.Writes).Any(r => r.Tensor == tensor);
    }

    IReadOnlyList<Absence> Absences()
    {
        Dictionary<string, int> written = [], last = [], first = [];
        for (var i = 0; i < launches.Count; i++)
        {
            var accesses = shapes.Of(launches[i]);
            foreach (var (rectangle, write) in accesses.Reads.Select(r => (r, false)).Concat(accesses.Writes.Select(w => (w, true))))
            {
                if (rectangle.IsEmpty || shapes[rectangle.Tensor].Tensor.Kind != TensorKind.Activation) continue;
                if (i >= backwardStart) first.TryAdd(rectangle.Tensor, i);
                else last[rectangle.Tensor] = i;
                if (i < backwardStart && write) written[rectangle.Tensor] = i;
            }
        }
        return [.. written.Where(w => first.ContainsKey(w.Key)).OrderBy(w => w.Value).ThenBy(w => w.Key, StringComparer.Ordinal)
            .Select(w => new Absence(w.Key, w.Value, last[w.Key], first[w.Key], clock[first[w.Key]] - clock[w.Value + 1],
                pace.OfCopy(Lane.ToHost, shapes[w.Key].Bytes) + pace.OfCopy(Lane.ToDevice, shapes[w.Key].Bytes)))];
    }

    (IReadOnlyList<Launch>, int) With(IReadOnlySet<string> offloaded)
    {
        var absences = Absences().Where(a => offloaded.Contains(a.Tensor)).ToArray();
        var away = absences.Select(a => new Copy(a.Tensor, Lane.ToHost, shapes[a.Tensor].Bytes, After(a.Written + 1), After(a.LastUse + 1), Before(a.FirstUse))).ToArray();
        var streamed = Weights().ToArray();
        // The largest of either direction: room that weights have is there for activations too, which a bus cannot always take as fast as they are made.
        var landing = pace.Landing * away.Concat(streamed).Select(c => c.Bytes).DefaultIfEmpty().Max();
        Slow(away, streamed);
        SendAway(away, landing);
        var back = absences.Zip(away, (a, sent) => Back(a.Tensor, sent.Wait, a.FirstUse)).Concat(streamed).OrderBy(c => c.Last).ToArray();
        BringBack(back, landing);
        return Merge([.. away, .. back]);
    }

    // Launches take longer beside copies, which gives these more time: those of a side evenly. What is sent comes back.
    void Slow(IReadOnlyList<Copy> away, IReadOnlyList<Copy> streamed)
    {
        if (pace.Device is not { } device) return;
        var (forward, backward) = (clock[backwardStart], clock[^1] - clock[backwardStart]);
        var ofForward = away.Sum(c => device.CopySlows(Lane.ToHost, c.Bytes)) + streamed.Where(c => c.Last < backwardStart).Sum(c => device.CopySlows(Lane.ToDevice, c.Bytes));
        var ofBackward = away.Concat(streamed.Where(c => c.Last >= backwardStart)).Sum(c => device.CopySlows(Lane.ToDevice, c.Bytes));
        for (var i = clock.Length - 1; i > 0; i--)
            clock[i] += ofForward * Math.Min(1, clock[i] / forward) + (i > backwardStart ? ofBackward * (clock[i] - forward) / backward : 0);
    }

    Copy Back(string tensor, int ready, int reader) => new(tensor, Lane.ToDevice, shapes[tensor].Bytes, ready, Before(reader), Before(reader));

    IEnumerable<Copy> Weights()
    {
        var runs = new Dictionary<string, (int Layer, bool Backward, int Last)>();
        for (var i = 0; i < launches.Count; i++)
            foreach (var weight in shapes.Of(launches[i]).Reads.Select(r => r.Tensor).Where(shapes.Streamed.Contains).Distinct())
            {
                var (known, here) = (runs.TryGetValue(weight, out var run), (launches[i].Layer, i >= backwardStart));
                // The copy before must have been read.
                if (!known || here != (run.Layer, run.Backward)) yield return Back(weight, known ? After(run.Last + 1) : 0, i);
                runs[weight] = (here.Layer, here.Item2, i);
            }
    }

    // Copies follow each other in the order in which they may start.
    void SendAway(IReadOnlyList<Copy> copies, double landing)
    {
        var free = 0.0;
        for (var k = 0; k < copies.Count; k++)
        {
            var copy = copies[k];
            copy.Start = copy.Ready;
            free = Math.Max(free, clock[copy.Start]) + pace.OfCopy(copy.Lane, copy.Bytes);
            copy.Wait = Math.Clamp(After(FirstAt(free)), copy.First, Math.Max(copy.First, copy.Last));
            // A bus that cannot keep up must not fill the arena with what waits for it: the oldest copies end first.
            var flying = copies.Take(k + 1).Where(c => c.Wait > copy.Start).ToList();
            for (var bytes = flying.Sum(c => c.Bytes); bytes > landing && flying.Count > 1; flying.RemoveAt(0))
            {
                bytes -= flying[0].Bytes;
                flying[0].Wait = Math.Min(flying[0].Wait, Math.Max(flying[0].First, copy.Start));
            }
        }
    }

    // The last copy first: each has to end before it is needed, and before the next one starts.
    void BringBack(IReadOnlyList<Copy> copies, double landing)
    {
        var free = double.PositiveInfinity;
        for (var k = copies.Count - 1; k >= 0; k--)
        {
            var copy = copies[k];
            copy.Wait = copy.Last;
            free = Math.Min(free, clock[copy.Wait]) - pace.OfCopy(copy.Lane, copy.Bytes);
            copy.Start = Math.Clamp(Before(LastAt(free)), Math.Min(copy.Ready, copy.Wait), copy.Wait);
        }
        for (var k = 0; k < copies.Count; k++)
        {
            // What is on the way when this one starts: those needed before it whose wait is behind its start.
            var bytes = copies[k].Bytes + copies.Take(k).Where(c => c.Wait > copies[k].Start).Sum(c => c.Bytes);
            for (var other = 0; other < k && bytes > landing; other++)
            {
                if (copies[other].Wait <= copies[k].Start) continue;
                bytes -= copies[other].Bytes;
                copies[k].Start = copies[other].Wait;
            }
        }
    }

    // At one place, first copies to the host, then those back; of each what ends here, then what begins and ends here, then what begins: room is given back before it is taken.
    (IReadOnlyList<Launch>, int) Merge(IReadOnlyList<Copy> copies)
    {
        var entries = new List<(int Place, int Rank, Launch Launch)>();
        var number = 0;
        foreach (var copy in copies.OrderBy(c => c.Start).ThenBy(Rank))
        {
            var begin = new TransferStart(number++, shapes[copy.Tensor].Tensor.Layer, copy.Lane, copy.Tensor);
            entries.Add((copy.Start, Rank(copy), begin));
            entries.Add((copy.Wait, copy.Wait > copy.Start ? Of(copy.Lane) : Rank(copy), new TransferWait(begin)));
        }
        var at = entries.OrderBy(e => e.Place).ThenBy(e => e.Rank).ToLookup(e => e.Place, e => e.Launch);
        var result = new List<Launch>();
        var start = 0;
        for (var i = 0; i <= launches.Count; i++)
        {
            result.AddRange(at[i]);
            if (i == backwardStart) start = result.Count;
            if (i < launches.Count) result.Add(launches[i]);
        }
        return (result, start);

        static int Of(Lane lane) => lane == Lane.ToHost ? 0 : 3;

        static int Rank(Copy copy) => Of(copy.Lane) + (copy.Wait > copy.Start ? 2 : 1);
    }

    // The nearest place at which nothing is split; place i is before launch i.
    int Before(int place)
    {
        while (shapes.FusionAt(launches, place) is not null) place--;
        return place;
    }

    int After(int place)
    {
        while (shapes.FusionAt(launches, place) is not null) place++;
        return place;
    }

    int FirstAt(double time) => Array.FindIndex(clock, t => t >= time) is >= 0 and var place ? place : launches.Count;

    int LastAt(double time) => Math.Max(0, Array.FindLastIndex(clock, t => t <= time));

    /// <param name="ready">First place where it can start.</param>
    /// <param name="first">First place where its wait is of use.</param>
    /// <param name="last">Last place where its wait is in time.</param>
    sealed class Copy(string tensor, Lane lane, long bytes, int ready, int first, int last)
    {
        public string Tensor => tensor;
        public Lane Lane => lane;
        public long Bytes => bytes;
        public int Ready => ready;
        public int First => first;
        public int Last => last;
        public int Start { get; set; }
        public int Wait { get; set; }
    }
}
