using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>
/// Plans of one run from the fastest to the smallest, and the fastest of them that fits a budget. Which plans there are does not depend on the budget, so a larger one never gets a
/// slower plan.
/// <para>
/// A setting says which weights are streamed, which activations are offloaded, how much room working memory has, and where masters and moments rest.
/// It gives a path of decisions (<see cref="PlanPath"/>) whose states are counted (<see cref="StepModel"/>), not made. Only what is handed out is laid out in an arena.
/// </para>
/// <para>
/// The search is best-first: the path whose bound is the lowest is walked until its bound passes another's, and a state is taken once no bound is below it.
/// So it finds the fastest of all states and walks few of them.
/// </para>
/// </summary>
public sealed class PlanFrontier
{
    /// <summary>Statistics of fewer bytes per token are kept: they free no memory worth a launch.</summary>
    const long LeastBytesPerToken = 64;

    /// <summary>Tiles have at least so many tokens, so that products fill the device, and at most so many.</summary>
    const int LeastTile = 1024, MostTile = 8192;

    /// <summary>What copies may take of the time that launches give them: the rest is what a prediction may be off.</summary>
    const double LinkShare = 0.65;

    /// <summary>Working memory that costs time where it is short: rows of logits at a time, and what copies on their way may take (<see cref="TransferPace.Landing"/>).</summary>
    readonly record struct Room(int LogitsRows, double Landing);

    /// <summary>Choices beside the decisions.</summary>
    /// <param name="Path">Of both places of masters and moments the same.</param>
    /// <param name="Memory">Without an arena.</param>
    sealed record Setting(Base Base, Room Room, IReadOnlySet<string> Offloaded, bool HostStates, PlanPath Path, MemoryPlan Memory);

    readonly record struct Candidate(Setting Setting, PathState State);

    /// <summary>A model whose weights lie in their places.</summary>
    /// <param name="Facts">By rows of logits.</param>
    sealed record Base(Shapes Shapes, PlanOptions Options, Func<int, StepFacts> Facts);

    readonly Schedule schedule;
    readonly PlanOptions options;
    readonly DeviceProfile device;
    readonly HostChoices host;
    readonly OptimizerLayout optimizer;
    // What masters and moments on the host cost: a step's AdamW waits for the bus once, so this much of a micro-batch.
    readonly double hostStatesMs;
    // Where weights rest changes no launch, nor what it reads and how long it takes: all places share these.
    readonly Shapes shapes;
    readonly (IReadOnlyList<Launch> Forward, IReadOnlyList<Launch> Backward) live;
    readonly IReadOnlySet<string> kept;
    readonly int scoring;
    readonly IReadOnlyList<Room> rooms;
    readonly IReadOnlyList<int> tiles;
    readonly IReadOnlyList<double> shares;
    readonly Lazy<IReadOnlyList<string>> saved;
    readonly Lazy<StepFacts> facts;
    // By rows of logits and tokens of a tile.
    readonly ConcurrentDictionary<(int, int?), LaunchTimes> times = new();
    readonly Lazy<IReadOnlyList<Setting>> plain;
    // By places of the weights.
    readonly IReadOnlyList<Lazy<IReadOnlyList<Setting>>> settings;
    readonly Lazy<PlannedStep> fastest;
    // Null: the host's memory is too small for any.
    readonly Lazy<PlannedStep?> smallest;
    readonly Dictionary<Candidate, PlannedStep> made = [];

    PlanFrontier(Schedule schedule, PlanOptions options, DeviceProfile device, HostChoices host)
    {
        (this.schedule, this.options, this.device, this.host) = (schedule, options, device, host);
        optimizer = OptimizerLayout.Create(schedule, options.Ranks, options.Moments, options.LoraPlus);
        shapes = Shapes.Of(schedule, options with { Storage = HostChoices.Storage(schedule, options.Storage, host.Shares[0]) });
        live = ExecutionPlan.Live(shapes, options);
        kept = ExecutionPlan.Kept(schedule, options);
        scoring = DeadLaunches.Eliminate(shapes, schedule.Forward, kept).Count;
        saved = new(() => [.. Saved()]);
        (rooms, tiles) = (RoomsOf(shapes, options), TilesOf(shapes, options));
        var rows = rooms[0].LogitsRows;
        facts = new(() => new StepFacts(shapes, live.Forward, live.Backward, kept, rows, ExecutionPlan.LongestOf(options), TimesOf(rows, null)));
        // A model of few layers, or with few weights that may be streamed, has fewer places than there are shares.
        shares = [.. host.Shares.DistinctBy(share => shapes.Placed(HostChoices.Storage(schedule, options.Storage, share)).Streamed.Count)];
        var first = BaseOf(shares[0]);
        double OptimizerMs(bool hostStates) => new LaunchTimes(shapes, device, 1, 1).Optimizer(optimizer.Elements, options.Moments, hostStates);
        hostStatesMs = (OptimizerMs(true) - OptimizerMs(false)) / options.MicroBatches;
        // Where nothing is copied, rows of logits alone make a difference.
        plain = new(() => [.. rooms.DistinctBy(r => first.Shapes.Streamed.Count > 0 ? r : r with { Landing = 0 })
            .SelectMany(room => SettingsOf(first, room, new HashSet<string>()))]);
        // With everything kept on the device nothing is faster: what fits all of it needs no other setting.
        settings = [.. shares.Select((share, i) => new Lazy<IReadOnlyList<Setting>>(() => [.. i == 0 ? plain.Value : [], .. Others(i == 0 ? first : BaseOf(share), i > 0)]))];
        fastest = new(() => Make(FromFastest(plain.Value, long.MaxValue).First()));
        smallest = new(Smallest);
    }

    /// <param name="options">Without decisions: they are what is looked for. With them the plans differ in the rest. Weights are on the device.</param>
    /// <param name="host">Null: nothing may lie in host memory.</param>
    /// <exception cref="ArgumentException">An option cannot be followed, in a sentence.</exception>
    public static PlanFrontier Create(Schedule schedule, PlanOptions options, DeviceProfile device, HostChoices? host = null) =>
        new(schedule, options, device, host ?? HostChoices.None);

    /// <summary>The fastest of the plans that take at most <paramref name="budget"/> bytes, everything counted; null: none does.</summary>
    public PlannedStep? Fit(long budget)
    {
        if (Fits(Fastest(), budget)) return Fastest();
        return FromFastest(All(budget), budget).Select(Make).FirstOrDefault(plan => Fits(plan, budget)) ?? (smallest.Value is { } least && Fits(least, budget) ? least : null);
    }

    /// <summary>The settings whose weights are not larger than the budget by themselves, and for which the host has room.</summary>
    IEnumerable<Setting> All(long budget) =>
        settings.Zip(shares).AsParallel().AsOrdered().Where(s => s.First.IsValueCreated || WeightBytes(s.Second) <= budget).SelectMany(s => s.First.Value)
            .Where(s => HostBytes(s.Base, s.Offloaded, s.HostStates) <= host.Bytes);

    /// <summary>States of the settings that may fit, the fastest first; of equal ones the smallest. Paths are walked no further than the next one asks for.</summary>
    IEnumerable<Candidate> FromFastest(IEnumerable<Setting> settings, long budget)
    {
        // A state whose turn has come, or a path that goes on at a number: no state from there on is faster than where that lies in the queue.
        var queue = new PriorityQueue<(Candidate? Found, Setting Setting, int Number, int Next), (double Milliseconds, long Bytes, int Number)>();
        foreach (var (setting, number) in settings.Select((s, i) => (s, i)))
            Enqueue(setting, number, 0, Bound(setting, budget, everywhere: false));
        while (queue.TryDequeue(out var turn, out var place))
        {
            var (found, setting, number, next) = turn;
            if (found is { } candidate) yield return candidate;
            else if (setting.Path.At(next) is { } state)
            {
                if (AtLeast(setting, state) <= budget)
                    queue.Enqueue((new(setting, state), setting, number, next), (Milliseconds(setting, state.Milliseconds), state.ArenaBytes, number));
                Enqueue(setting, number, next + 1, Math.Max(place.Milliseconds, Milliseconds(setting, setting.Path.Floor.With(state.Rebuilding))));
            }
        }

        void Enqueue(Setting setting, int number, int next, double bound)
        {
            if (bound < double.PositiveInfinity) queue.Enqueue((null, setting, number, next), (bound, 0, number));
        }
    }

    double Milliseconds(Setting setting, double microBatch) => microBatch + (setting.HostStates ? hostStatesMs : 0);

    long WeightBytes(double share) =>
        MemoryPlan.Create(shapes.Placed(HostChoices.Storage(schedule, options.Storage, share)), 0, optimizer, 0, hostStates: false)[MemoryBlock.Weights];

    /// <summary>The plan that takes the fewest bytes on the device: the smallest of those that may be.</summary>
    public PlannedStep Least() => smallest.Value!;

    PlannedStep? Smallest()
    {
        var all = All(long.MaxValue).ToArray();
        all.DistinctBy(s => s.Path).AsParallel().ForAll(s => s.Path.All());
        var streamed = all.Select(s => StreamedBytes(s.Base)).DefaultIfEmpty().Max();
        PlannedStep? least = null;
        // Where copies go is near what a plan makes of them, so a state may say too much: those of LeastBytes are made whatever they say. Of equal ones the fastest is the first.
        foreach (var (bytes, candidate) in all.SelectMany(s => s.Path.All(), (s, state) => new Candidate(s, state)).OrderBy(c => Milliseconds(c.Setting, c.State.Milliseconds))
            .ThenBy(c => c.State.ArenaBytes).Select(c => (IsLast(c) ? 0 : AtLeast(c.Setting, c.State), c)).OrderBy(c => c.Item1))
        {
            if (least is not null && bytes >= least.Footprint.Total) break;
            if (Make(candidate) is var plan && Fits(plan, least?.Footprint.Total - 1 ?? long.MaxValue)) least = plan;
        }
        return least;

        bool IsLast(Candidate c) =>
            c.State.Dropped == c.Setting.Path.Order.Count && !c.Setting.Path.All().Any(s => s.Dropped == c.State.Dropped && s.Tile == c.State.Tile && s.Room < c.State.Room)
            && c.Setting.Room == rooms[^1] && StreamedBytes(c.Setting.Base) == streamed;
    }

    /// <summary>
    /// About what the smallest plan takes, found without paths: nothing is kept that can be built again,
    /// the rest of what is saved waits in host memory, and working memory is short.
    /// </summary>
    public static long LeastBytes(Schedule schedule, PlanOptions options, DeviceProfile device, HostChoices host) => new PlanFrontier(schedule, options, device, host).LeastBytes();

    long LeastBytes()
    {
        // Weights for which the host has no room are refused in words of their own.
        var @base = shares.Reverse().Select(BaseOf).FirstOrDefault(b => StreamedBytes(b) <= host.Bytes) ?? BaseOf(shares[^1]);
        int?[] sizes = [.. tiles.Select(tile => (int?)tile).DefaultIfEmpty(null)];
        var least = long.MaxValue;
        // What is alive at one launch is found sooner than places for all of it: only those are made that may be the smallest.
        foreach (var (bytes, chosen) in OffloadedSets(@base, rooms[0]).DefaultIfEmpty(new HashSet<string>()).SelectMany(set => sizes, Bounded).OrderBy(b => b.Bytes))
        {
            if (bytes >= least) break;
            least = Math.Min(least, Footprint.Of(ExecutionPlan.Create(@base.Shapes, chosen, scores: false), device).Total);
        }
        return least;

        (long Bytes, PlanOptions Chosen) Bounded(IReadOnlySet<string> offloaded, int? tile)
        {
            var actions = options.Decisions?.Actions.ToDictionary() ?? Droppable(@base.Shapes).ToDictionary(t => t, _ => TensorAction.Recompute);
            foreach (var tensor in offloaded) actions[tensor] = TensorAction.Offload;
            var hostStates = host.Offload && HostBytes(@base, offloaded, true) <= host.Bytes;
            var chosen = Chosen(@base, rooms[^1], new Decisions("all", actions), tile, hostStates);
            var (arena, launches) = ExecutionPlan.AtLeast(@base.Shapes, chosen);
            return (Footprint.Of(MemoryPlan.Create(@base.Shapes, arena, optimizer, 0, hostStates), options.Tokens, launches + scoring, device).Total, chosen);
        }
    }

    PlanOptions Chosen(Base @base, Room room, Decisions decisions, int? tile, bool hostStates) => @base.Options with
    {
        Decisions = decisions, LogitsRows = room.LogitsRows, Pace = options.Pace with { Landing = room.Landing }, TokenTile = tile, HostStates = hostStates,
    };

    /// <summary>The plan that is the fastest whatever it takes.</summary>
    public PlannedStep Fastest() => fastest.Value;

    /// <summary>
    /// No plan of these settings that fits is faster, in milliseconds of a step.
    /// At each launch (with tiles: at each that mixes tokens) what is too much must be dropped, and what is cheapest for each byte may be dropped in parts there.
    /// Copies follow each other, and launches wait for what they bring (<see cref="StepFloor"/>). Infinite: none fits.
    /// </summary>
    public double Bound(long budget) =>
        StepPrediction.Step(Fastest().Plan, device, All(budget).Select(s => Bound(s, budget, everywhere: true)).DefaultIfEmpty(double.PositiveInfinity).Min());

    double Bound(Setting s, long budget, bool everywhere)
    {
        var others = Footprint.Of(s.Memory, options.Tokens, s.Path.At(0)!.Launches + scoring, device).Total;
        return Milliseconds(s, s.Path.Floor.With(s.Path.Rebuilding(budget - others, everywhere)));
    }

    bool Fits(PlannedStep plan, long budget) => plan.Footprint.Total <= budget && plan.Plan.Memory.HostBytes <= host.Bytes;

    long HostBytes(Base @base, IReadOnlySet<string> offloaded, bool hostStates) =>
        StreamedBytes(@base) + offloaded.Sum(t => @base.Shapes[t].Bytes) + (hostStates ? optimizer.StateBytes : 0);

    // No arena is smaller than what is alive at one launch; recomputing launches are in the graphs too.
    long AtLeast(Setting setting, PathState state) => Footprint.Of(setting.Memory.WithArena(state.ArenaBytes), options.Tokens, state.Launches + scoring, device).Total;

    PlannedStep Make(Candidate candidate)
    {
        if (made.TryGetValue(candidate, out var step)) return step;
        var (setting, state) = candidate;
        var facts = setting.Path.Model.Facts;
        var dropped = setting.Path.Order.Take(state.Dropped).ToArray();
        var actions = options.Decisions?.Actions.ToDictionary() ?? dropped.ToDictionary(facts.Name, _ => TensorAction.Recompute);
        foreach (var tensor in setting.Offloaded) actions[tensor] = TensorAction.Offload;
        var name = options.Decisions?.Name ?? (actions.Count == 0 ? Decisions.None.Name : "auto");
        var chosen = Chosen(setting.Base, setting.Room, new Decisions(name, actions), state.Tile, setting.HostStates) with { ArenaBytes = state.Room };
        var plan = ExecutionPlan.Create(setting.Base.Shapes, chosen);
        return made[candidate] = new PlannedStep(plan, Footprint.Of(plan, device), StepPrediction.Step(plan, device, state.Milliseconds))
        {
            Reasons =
            [
                .. dropped.Select(t => new DecisionReason(facts.Name(t), TensorAction.Recompute, facts.Bytes(t), facts.Milliseconds(t))),
                .. setting.Offloaded.Order(StringComparer.Ordinal).Select(t => new DecisionReason(t, TensorAction.Offload, facts.Bytes(facts.Index[t]), 0)),
            ],
        };
    }

    Base BaseOf(double share)
    {
        var stored = options with { Storage = HostChoices.Storage(schedule, options.Storage, share) };
        var placed = shapes.Placed(stored.Storage);
        var known = new ConcurrentDictionary<int, StepFacts>();
        return new Base(placed, stored, rows => known.GetOrAdd(rows, _ => facts.Value.With(placed, rows, TimesOf(rows, null))));
    }

    LaunchTimes TimesOf(int rows, int? tile) => times.GetOrAdd((rows, tile), _ =>
        new LaunchTimes(tile is { } tokens ? shapes.Window(0, tokens) : shapes, device, rows, ExecutionPlan.LongestOf(options)));

    static long StreamedBytes(Base @base) => @base.Shapes.Streamed.Sum(s => @base.Shapes[s].Bytes);

    // Settings of one place of the weights: with what hides offloaded, and with all that cannot be built again.
    IEnumerable<Setting> Others(Base @base, bool withNothingOffloaded)
    {
        if (StreamedBytes(@base) > host.Bytes) return [];
        var result = withNothingOffloaded ? rooms.SelectMany(room => SettingsOf(@base, room, new HashSet<string>())).ToList() : [];
        result.AddRange(OffloadedSets(@base, rooms[0]).SelectMany(set => rooms.SelectMany(room => SettingsOf(@base, room, set))));
        return result;
    }

    // What hides, and all that cannot be built again.
    IReadOnlyList<IReadOnlySet<string>> OffloadedSets(Base @base, Room room)
    {
        if (!host.Offload) return [];
        var model = new StepModel(@base.Facts(room.LogitsRows), new HashSet<string>(), room.Landing);
        model.Evaluate(Given(model.Facts));
        var sent = saved.Value.Where(t => model.Facts.Index.ContainsKey(t) && (options.Decisions is not { } d || d[t] == TensorAction.Save)
            && shapes[t].BytesPerToken >= LeastBytesPerToken).ToArray();
        var sets = new[] { host.Hidden(model, @base.Shapes, device, sent, LinkShare), host.Boundaries(model, @base.Shapes, sent) }.Where(s => s.Count > 0).ToList();
        if (sets.Count == 2 && sets[0].SetEquals(sets[1])) sets.RemoveAt(1);
        return sets;
    }

    /// <summary>
    /// Activations that can be built again and are worth it. Of those between layers only what is made of inputs: the others' recipes would be whole layers, one behind the other.
    /// </summary>
    static IEnumerable<string> Droppable(Shapes shapes) =>
        shapes.Schedule.Recipes.Where(r => !shapes[r.Tensor].Tensor.Boundary || IsOfInputs(shapes, r)).Select(r => shapes[r.Tensor])
            .Where(l => l.BytesPerToken >= LeastBytesPerToken && l.Bytes > 0).Select(l => l.Tensor.Name);

    /// <summary>The recipe reads no activation, as an embedding's.</summary>
    static bool IsOfInputs(Shapes shapes, Recipe recipe) => recipe.Launches.SelectMany(l => shapes.Of(l).Reads).All(r => shapes[r.Tensor].Tensor.Kind != TensorKind.Activation);

    /// <summary>Activations that the backward, without recipes, reads, but for those that inputs give back.</summary>
    IEnumerable<string> Saved()
    {
        var ofInputs = schedule.Recipes.Where(r => IsOfInputs(shapes, r)).Select(r => r.Tensor).ToHashSet();
        var written = live.Forward.SelectMany(l => shapes.Of(l).Writes).Select(r => r.Tensor).ToHashSet();
        return live.Backward.Concat(schedule.Recipes.SelectMany(r => r.Launches)).SelectMany(l => shapes.Of(l).Reads).Where(r => !r.IsEmpty).Select(r => r.Tensor).Distinct()
            .Where(t => shapes[t].Tensor.Kind == TensorKind.Activation && written.Contains(t) && !kept.Contains(t) && !ofInputs.Contains(t));
    }

    // Ample: rows that take the least time (of equal ones the fewest), and three copies on their way. Tight: the fewest rows, and one copy.
    // Chunks of the logits are the largest tensor when little else is kept; but where their rows decide bits, all plans have the same.
    static IReadOnlyList<Room> RoomsOf(Shapes shapes, PlanOptions options)
    {
        var rows = ExecutionPlan.LogitsRowsOf(shapes, options);
        return [new(rows, options.Pace.Landing), new(options.LogitsRows is null && !ExecutionPlan.RowsDecideBits(shapes) ? Math.Min(256, rows) : rows, 1)];
    }

    /// <summary>Tokens of tiles, smaller ones last: about a quarter of all, and the fewest that fill a device; multiples of the unit. None: there are too few tokens.</summary>
    static IReadOnlyList<int> TilesOf(Shapes shapes, PlanOptions options)
    {
        // A mask is numbered by the tokens of a launch.
        if (options.Dropout is not null) return [];
        var unit = TokenTiles.Unit(options);
        int[] wanted = [Math.Clamp(shapes.Tokens / 4, LeastTile, MostTile), LeastTile];
        return [.. wanted.Select(tile => Math.Max(unit, tile / unit * unit)).Distinct().Where(tile => tile < shapes.Tokens)];
    }

    bool[] Given(StepFacts facts) => [.. Enumerable.Range(0, facts.Tensors).Select(t => options.Decisions is { } d && d[facts.Name(t)] == TensorAction.Recompute)];

    IEnumerable<Setting> SettingsOf(Base @base, Room room, IReadOnlySet<string> offloaded)
    {
        var model = new StepModel(@base.Facts(room.LogitsRows), offloaded, room.Landing);
        var tiled = tiles.Select(tile => (tile, TimesOf(room.LogitsRows, tile))).ToArray();
        var droppable = options.Decisions is null ? Droppable(@base.Shapes).Where(name => !offloaded.Contains(name)) : null;
        var path = new PlanPath(@base.Shapes, model, Given(model.Facts), droppable, tiled);
        var places = host.Offload && optimizer.StateBytes > 0 && optimizer.StateBytes <= host.Bytes ? new[] { false, true } : [false];
        return [.. places.Select(hostStates => new Setting(@base, room, offloaded, hostStates, path, MemoryPlan.Create(@base.Shapes, 0, optimizer, 0, hostStates)))];
    }
}
