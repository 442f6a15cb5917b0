using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading.Tasks;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>What a person chooses for a run, as far as memory and launches depend on it.</summary>
/// <param name="Tokens">T: tokens of a micro-batch.</param>
/// <param name="LoraScale">alpha/r (or alpha/√r).</param>
public sealed record PlanOptions(int Tokens, RankTable Ranks, ActType Act, double LoraScale)
{
    /// <summary>Actions per activation; null saves everything.</summary>
    public Decisions? Decisions { get; init; }

    /// <summary>Of weights that are not resident.</summary>
    public IReadOnlyDictionary<string, WeightStorage> Storage { get; init; } = WeightStorages.Resident;

    /// <summary>Of the device: how many tiles it works on at a time.</summary>
    public int Multiprocessors { get; init; } = 1;

    /// <summary>Most micro-batches of a step; they wait in host memory.</summary>
    public int MicroBatches { get; init; } = 1;

    /// <summary>Tokens of the longest document, for attention's cost and what it keeps; null: T. A micro-batch with a longer one is refused.</summary>
    public int? LongestDocument { get; init; }

    /// <summary>How the rope table of this name is scaled; one that is not named is not.</summary>
    public IReadOnlyDictionary<string, RopeScaling> Ropes { get; init; } = new Dictionary<string, RopeScaling>();

    /// <summary>How the optimizer stores its moments.</summary>
    public MomentFormat Moments { get; init; }

    /// <summary>Masters and moments rest in page-locked host memory, and AdamW reads and writes them there.</summary>
    public bool HostStates { get; init; }

    /// <summary>Null: adapters have none.</summary>
    public DropoutOptions? Dropout { get; init; }

    /// <summary>B has a learning rate of its own (LoRA+).</summary>
    public bool LoraPlus { get; init; }

    /// <summary>Rows of the logits scratch; null: <see cref="ExecutionPlan.DefaultLogitsRows"/>.</summary>
    public int? LogitsRows { get; init; }

    /// <summary>Tokens of a tile, a multiple of <see cref="TokenTiles.Unit"/>; null: every launch sees all tokens at once.</summary>
    public int? TokenTile { get; init; }

    /// <summary>With a tile: bytes that the arena may take; no more is tiled than that asks for. Null: as few bytes as tiling can reach.</summary>
    public long? ArenaBytes { get; init; }

    /// <summary>
    /// Tokens that an adapter's gradient is summed by; null: <see cref="GemmKernel.TokenUnit"/>. Plans of
    /// different units differ in bits; few tokens need a small one (tests, on the CPU).
    /// </summary>
    public int? TokenUnit { get; init; }

    /// <summary>Of the device: how far ahead copies to and from the host start.</summary>
    public TransferPace Pace { get; init; } = new();

    /// <summary>Arena tensors that must survive a program so that the host can read them (tests, parity).</summary>
    public IReadOnlyCollection<string> Keep { get; init; } = [];
}

/// <summary>A launch list with an arena place for everything it touches.</summary>
/// <param name="BackwardStart">Index of the first backward launch.</param>
public sealed record PlannedProgram(IReadOnlyList<Launch> Launches, int BackwardStart, ArenaLayout Arena)
{
    /// <summary>Launches that run tile by tile, in order.</summary>
    public IReadOnlyList<TiledRun> Tiled { get; init; } = [];

    /// <summary>Places of what is offloaded, in the host block.</summary>
    public ArenaLayout Host { get; init; } = ArenaLayout.Empty;

    /// <summary>Offset in the arena of a tensor as launch <paramref name="at"/> sees it.</summary>
    public long OffsetOf(string tensor, int at) => PlaceOf(tensor, at).Offset;

    /// <summary>A tensor's place in the arena as launch <paramref name="at"/> sees it.</summary>
    public Placement PlaceOf(string tensor, int at) =>
        places.TryGetValue(tensor, out var list) && list.FirstOrDefault(p => p.Lifetime.First <= at && at <= p.Lifetime.Last) is { } placement
            ? placement
            : throw new ArgumentException($"plan: {tensor} has no place in the arena at launch {at}.");

    /// <summary>Offset in the host block of a tensor whose copy there or back starts at launch <paramref name="at"/>.</summary>
    public long HostOffsetOf(string tensor, int at) => Host.Placements.First(p => p.Lifetime.Tensor == tensor && p.Lifetime.First <= at && at <= p.Lifetime.Last).Offset;

    /// <summary>The tensor has a place in the arena at launch <paramref name="at"/>.</summary>
    public bool Has(string tensor, int at) => places.TryGetValue(tensor, out var list) && list.Any(p => p.Lifetime.First <= at && at <= p.Lifetime.Last);

    /// <summary>A launch behind <paramref name="at"/> reads what the tensor holds there, or it survives the last one.</summary>
    public bool IsNeededAfter(string tensor, int at) => places.TryGetValue(tensor, out var list) && list.Any(p => p.Lifetime.First <= at && at < p.Lifetime.Last);

    /// <summary>The tensor has a place after the last launch.</summary>
    public bool Survives(string tensor) => places.TryGetValue(tensor, out var list) && list.Any(p => p.Lifetime.Last == Launches.Count - 1);

    readonly Dictionary<string, Placement[]> places = Arena.Placements.GroupBy(p => p.Lifetime.Tensor).ToDictionary(g => g.Key, g => g.ToArray());
}

/// <summary>
/// Everything about a run that can be known without a device: which launches are left, where recipes go, every
/// tensor's bytes, lifetime and place. A pure function of the schedule and the options.
/// </summary>
public sealed record ExecutionPlan(Shapes Shapes, PlanOptions Options, Decisions Decisions, PlannedProgram MicroBatch, PlannedProgram Evaluation, int LogitsRows,
    OptimizerLayout Optimizer, MemoryPlan Memory)
{
    /// <summary>What is left of a micro-batch is cut into documents of at most this many tokens: attention costs the square of a document's length.</summary>
    public const int SlackTokens = 64;

    /// <summary>
    /// Tokens of the longest document that a micro-batch may have: at least <see cref="SlackTokens"/>, because what fills it up is cut into documents of that length.
    /// </summary>
    public int LongestDocument => LongestOf(Options);

    /// <summary>What a step clears before its first micro-batch, in bytes of the gradients' block: all gradients but those that launches write.</summary>
    public IReadOnlyList<(long Offset, long Bytes)> Cleared
    {
        get
        {
            var (written, ranges) = (GradientWrites.Written(Shapes, MicroBatch.Launches), new List<(long Offset, long Bytes)>());
            foreach (var (tensor, place) in Memory.Permanent.Where(p => p.Value.Block == MemoryBlock.Gradients && !written.Contains(p.Key)).OrderBy(p => p.Value.Offset))
            {
                var bytes = Arena.Align(Shapes[tensor].Bytes);
                if (ranges is [.., var last] && last.Offset + last.Bytes == place.Offset) ranges[^1] = last with { Bytes = last.Bytes + bytes };
                else ranges.Add((place.Offset, bytes));
            }
            return ranges;
        }
    }

    /// <exception cref="ArgumentException">The schedule or an option cannot be followed, in a sentence.</exception>
    public static ExecutionPlan Create(Schedule schedule, PlanOptions options) => Create(Shapes.Of(schedule, options), options);

    /// <param name="shapes">Of these options: several plans may share them.</param>
    /// <param name="options">The choices.</param>
    /// <param name="scores">Whether dS gets places where there is room; that changes no size, and may take as long as all the rest.</param>
    /// <exception cref="ArgumentException">An option cannot be followed, in a sentence.</exception>
    public static ExecutionPlan Create(Shapes shapes, PlanOptions options, bool scores = true)
    {
        if (options.TokenTile is { } tile && (tile < 1 || tile % TokenTiles.Unit(options) != 0))
            throw new ArgumentException($"plan: a tile of {tile} tokens cuts sums of adapters' gradients, "
                + $"which are made of {TokenTiles.Unit(options)} tokens each; use a multiple of that.");
        if (options is { TokenTile: not null, Dropout: not null })
            throw new ArgumentException("plan: a mask of dropout is numbered by the tokens of a launch, so tiles of tokens would have other masks; leave one of the two out.");
        var schedule = shapes.Schedule;
        // All have one scale, which need not be the run's.
        if (schedule.SharedScale && options.Ranks.Adapters is [{ Scale: { } scale }, ..]) options = options with { LoraScale = scale };
        var decisions = options.Decisions ?? Decisions.None;
        var kept = Kept(schedule, options);
        var logitsRows = LogitsRowsOf(shapes, options);

        // Where tiles must ask what training takes, evaluation comes after it, for that arena is there anyway; else beside it.
        var beside = options.TokenTile is null || options.ArenaBytes is not null ? Task.Run(() => Evaluation(options.ArenaBytes ?? 0)) : null;
        var trained = Train(shapes, options, decisions, kept, logitsRows);
        var training = Place(shapes, trained, scores ? WithScores(shapes, trained, LongestOf(options)) : Arena.Assign(trained.Lifetimes));
        var evaluation = beside?.GetAwaiter().GetResult() ?? Evaluation(training.Arena.Bytes);
        var optimizer = OptimizerLayout.Create(schedule, options.Ranks, options.Moments, options.LoraPlus);
        var memory = MemoryPlan.Create(shapes, Math.Max(training.Arena.Bytes, evaluation.Arena.Bytes), optimizer, training.Host.Bytes, options.HostStates);
        return new ExecutionPlan(shapes, options, decisions, training, evaluation, logitsRows, optimizer, memory);

        PlannedProgram Evaluation(long room)
        {
            var scoring = DeadLaunches.Eliminate(shapes, schedule.Forward, kept);
            var scored = Order(shapes, options, scoring, scoring.Count, Decisions.None, kept, logitsRows, room);
            return Place(shapes, scored, Arena.Assign(scored.Lifetimes));
        }
    }

    /// <summary>
    /// Rows whose logits take at most 1.1 GB: a multiple of 256, at least 256 and at most 2,048.
    /// Chunks are what keeps a vocabulary of 256,000 from being the largest tensor of all.
    /// Of the upper half of these the most rows with which all chunks' dX take the fewest waves of tiles: a tile of dX sums over the vocabulary for milliseconds.
    /// Twice as many where the table is trained, because each chunk reads and writes its gradient, 2.4 GB in 2B.
    /// </summary>
    public static int DefaultLogitsRows(Shapes shapes, int multiprocessors)
    {
        var head = Head(shapes);
        var table = head is null ? default : shapes.Resolve(head.Table);
        var (vocabulary, hidden, times) = (Math.Max(1, table.Rows), table.Columns, head?.DTable is null ? 1 : 2);
        var most = (int)Math.Clamp(times * 1_100_000_000L / ((long)vocabulary * TensorLayout.Size(ElementType.Act, shapes.Act)) / 256 * 256, 256, times * 2048);
        return Enumerable.Range(most / 512, most / 256 - most / 512 + 1).Select(i => 256 * i).Where(rows => rows > 0)
            .OrderBy(rows => shapes.Tokens / rows * Waves(rows) + Waves(shapes.Tokens % rows)).ThenByDescending(rows => rows).First();

        long Waves(int rows) => GemmKernel.Waves(rows, hidden, multiprocessors);
    }

    /// <summary>The sums of a trained table's gradient are those of chunks: other rows of logits would have other bits.</summary>
    public static bool RowsDecideBits(Shapes shapes) => Head(shapes)?.DTable is not null;

    static CrossEntropyLaunch? Head(Shapes shapes) => shapes.Schedule.Forward.Concat(shapes.Schedule.Backward).OfType<CrossEntropyLaunch>().FirstOrDefault();

    /// <summary>Tensors that survive a program.</summary>
    public static IReadOnlySet<string> Kept(Schedule schedule, PlanOptions options) => DeadLaunches.LossRoots(schedule).Concat(options.Keep).ToHashSet();

    /// <summary>Rows of the logits scratch: those asked for, or the default.</summary>
    public static int LogitsRowsOf(Shapes shapes, PlanOptions options) => Math.Min(options.LogitsRows ?? DefaultLogitsRows(shapes, options.Multiprocessors), options.Tokens);

    /// <summary>Tokens of the longest document of a run with these options.</summary>
    public static int LongestOf(PlanOptions options) => Math.Min(options.Tokens, Math.Max(options.LongestDocument ?? options.Tokens, SlackTokens));

    /// <summary>
    /// The most bytes alive at one launch of a training micro-batch, and the launches of its graph: no arena of the plan is smaller. Found in a fraction of the
    /// time that a plan may take.
    /// </summary>
    /// <exception cref="ArgumentException">An option cannot be followed, in a sentence.</exception>
    public static (long ArenaBytes, int Launches) AtLeast(Shapes shapes, PlanOptions options)
    {
        var rows = LogitsRowsOf(shapes, options);
        var program = Train(shapes, options, options.Decisions ?? Decisions.None, Kept(shapes.Schedule, options), rows);
        return (Arena.LowerBound(program.Lifetimes), Footprint.Launches(shapes, program.Launches, program.Tiled, rows));
    }

    static OrderedProgram Train(Shapes shapes, PlanOptions options, Decisions decisions, IReadOnlySet<string> kept, int logitsRows)
    {
        var (forward, live) = Live(shapes, options);
        var backward = Expansion.WithRecipes(shapes, live, decisions);
        return Order(shapes, options, [.. forward, .. backward], forward.Count, decisions, kept, logitsRows, options.ArenaBytes);
    }

    /// <summary>The launches of a training micro-batch whose results are needed, before recipes: forward and backward.</summary>
    public static (IReadOnlyList<Launch> Forward, IReadOnlyList<Launch> Backward) Live(Shapes shapes, PlanOptions options)
    {
        var schedule = shapes.Schedule;
        var roots = DeadLaunches.TrainableRoots(shapes).Concat(Kept(schedule, options)).ToArray();
        var live = DeadLaunches.Eliminate(shapes, [.. schedule.Forward, .. schedule.Backward], roots);
        // Elimination may rewrite a launch (a cross entropy without DX), so the border is found by count, from the forward's own survivors.
        var backwardLaunches = new HashSet<Launch>(schedule.Backward, ReferenceEqualityComparer.Instance);
        var start = live.TakeWhile(l => !backwardLaunches.Contains(l)).Count();
        if (options.MicroBatches == 1) live = GradientWrites.WithFirstWrites(shapes, live);
        return (live.Take(start).ToArray(), live.Skip(start).ToArray());
    }

    // All launches in their order, copies among them, and what is alive when.
    sealed record OrderedProgram(IReadOnlyList<Launch> Launches, int BackwardStart, IReadOnlyList<Lifetime> Lifetimes, IReadOnlyList<TiledRun> Tiled);

    static OrderedProgram Order(
        Shapes shapes, PlanOptions options, IReadOnlyList<Launch> computed, int firstBackward, Decisions decisions, IReadOnlySet<string> kept, int logitsRows, long? room)
    {
        var (made, firstMade) = Materialization.Run(shapes, computed, firstBackward);
        var (launches, backwardStart) = Transfers.Insert(shapes, made, firstMade, decisions, kept, options.Pace, LongestOf(options), logitsRows);
        var lifetimes = Lifetimes.Of(shapes, launches, backwardStart, decisions, kept, logitsRows);
        // A copy takes all rows of a tensor.
        var whole = kept.Concat(launches.OfType<TransferStart>().Select(s => s.Tensor)).ToHashSet();
        var tiled = options.TokenTile is { } tile ? TokenTiles.Choose(shapes, launches, lifetimes, whole, tile, room) : [];
        return new OrderedProgram(launches, backwardStart, TokenTiles.Apply(shapes, lifetimes, whole, tiled), tiled);
    }

    static PlannedProgram Place(Shapes shapes, OrderedProgram program, ArenaLayout arena) => new(program.Launches, program.BackwardStart, arena)
    {
        Tiled = program.Tiled, Host = Arena.Assign(Lifetimes.OnHost(shapes, program.Launches)),
    };

    // dS goes where two launches leave room for it: the arena is no larger than the rest makes it.
    // Where gaps are too small for some that there are bytes for, all are placed together.
    static ArenaLayout WithScores(Shapes shapes, OrderedProgram program, int longestDocument)
    {
        var (launches, lifetimes) = (program.Launches, program.Lifetimes);
        var arena = Arena.Assign(lifetimes);
        Lifetime[] scores = [.. Enumerable.Range(0, launches.Count).Where(at => shapes.FusionAt(launches, at) is ScoreGradientsFusion)
            .Select(at => ScoreGradients.Lifetime(shapes, (KernelLaunch)launches[at], at, longestDocument))];
        if (scores.Length == 0) return arena;
        var inGaps = scores.Aggregate(arena, (all, one) => Arena.InGap(all, one) ?? all);
        var alive = Arena.Alive(lifetimes, launches.Count);
        var roomy = scores.Where(s => Math.Max(alive[s.First], alive[s.Last]) + Arena.Align(s.Bytes) <= arena.Bytes).ToArray();
        if (inGaps.Placements.Count - lifetimes.Count == roomy.Length) return inGaps;
        var together = Arena.Assign([.. lifetimes, .. roomy], arena.Bytes);
        return together.Bytes <= arena.Bytes ? together : inGaps;
    }
}
