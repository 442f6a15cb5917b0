using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>
/// Plans of one run from the fastest to the smallest, and the fastest of them that fits a budget. Which plans there are does not depend on the budget, so a larger one never gets a
/// slower plan.
/// <para>
/// A setting says which weights are streamed, which activations are offloaded, and how much room working memory has.
/// Masters and moments may rest on the host in any. A setting gives a path, which starts with everything else kept.
/// Each step looks at the launch with the most live bytes.
/// Of the activations that lie there, unread, it drops the one whose rebuilding costs the least for each byte; of equal ones that of the first layers, which lies longest.
/// Identical layers have identical costs, so they are dropped one layer after the other.
/// Every state of the path is counted (<see cref="StepModel"/>), some of them with tiles of tokens too. Only what is handed out is laid out in an arena.
/// </para>
/// </summary>
public sealed class PlanFrontier
{
    /// <summary>Statistics of fewer bytes per token are kept: they free no memory worth a launch.</summary>
    const long LeastBytesPerToken = 64;

    /// <summary>Tiles have at least so many tokens, so that products fill the device, and at most so many. One path has so many states with tiles.</summary>
    const int LeastTile = 1024, MostTile = 8192, TiledStates = 40;

    /// <summary>What copies may take of the time that launches give them: the rest is what a prediction may be off.</summary>
    const double LinkShare = 0.65;

    /// <param name="Tile">Tokens of a tile; null: there are none.</param>
    /// <param name="Milliseconds">Of a micro-batch.</param>
    /// <param name="ArenaBytes">No arena of the plan is smaller.</param>
    sealed record Candidate(Setting Setting, int Count, int? Tile, double Milliseconds, long ArenaBytes, int Launches, bool HostStates = false);

    /// <summary>Working memory that costs time where it is short: rows of logits at a time, and what copies on their way may take (<see cref="TransferPace.Landing"/>).</summary>
    readonly record struct Room(int LogitsRows, double Landing);

    /// <summary>Choices beside the decisions that give a path of its own.</summary>
    sealed class Setting(Base @base, Room room, IReadOnlySet<string> offloaded, StepModel model, MemoryPlan memory, MemoryPlan? hosted)
    {
        public Base Base => @base;
        public Room Room => room;
        public IReadOnlySet<string> Offloaded => offloaded;
        public StepModel Model => model;

        /// <summary>Without an arena.</summary>
        public MemoryPlan Memory(bool hostStates) => hostStates ? hosted ?? throw new InvalidOperationException("planner: masters and moments may not rest on the host.") : memory;

        /// <summary>Where masters and moments may rest.</summary>
        public IReadOnlyList<bool> Places => hosted is null ? [false] : [false, true];

        /// <summary>Tensors in the order in which they are dropped.</summary>
        public List<int> Order { get; } = [];
        public List<Candidate> Candidates { get; } = [];
    }

    /// <summary>A model whose weights lie in their places.</summary>
    sealed record Base(Shapes Shapes, PlanOptions Options, IReadOnlyList<Launch> Forward, IReadOnlyList<Launch> Backward, IReadOnlySet<string> Kept, int Scoring);

    readonly Schedule schedule;
    readonly PlanOptions options;
    readonly DeviceProfile device;
    readonly HostChoices host;
    readonly OptimizerLayout optimizer;
    // What masters and moments on the host cost: a step's AdamW waits for the bus once, so this much of a micro-batch.
    readonly double hostStatesMs;
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
        var first = BaseOf(host.Shares[0]);
        var times = new LaunchTimes(first.Shapes, device, 1, 1);
        hostStatesMs = (times.Optimizer(optimizer.Elements, options.Moments, true) - times.Optimizer(optimizer.Elements, options.Moments, false)) / options.MicroBatches;
        // Where nothing is copied, rows of logits alone make a difference.
        plain = new(() => [.. RoomsOf(first.Shapes, options).DistinctBy(r => first.Shapes.Streamed.Count > 0 ? r : r with { Landing = 0 })
            .Select(room => SettingOf(first, room, new HashSet<string>()))]);
        // With everything kept on the device nothing is faster: what fits all of it needs no other setting.
        settings = [.. host.Shares.Select((share, i) => new Lazy<IReadOnlyList<Setting>>(() => [.. i == 0 ? plain.Value : [], .. Others(i == 0 ? first : BaseOf(share), i > 0)]))];
        fastest = new(() => Make(Sorted(plain.Value)[0]));
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
        return Sorted(All(budget)).Where(c => HostBytes(c) <= host.Bytes && AtLeast(c) <= budget).Select(Make).FirstOrDefault(plan => Fits(plan, budget))
            ?? (smallest.Value is { } least && Fits(least, budget) ? least : null);
    }

    /// <summary>The settings whose weights are not larger than the budget by themselves.</summary>
    IReadOnlyList<Setting> All(long budget) =>
        [.. settings.Zip(host.Shares).AsParallel().AsOrdered().Where(s => s.First.IsValueCreated || WeightBytes(s.Second) <= budget).SelectMany(s => s.First.Value)];

    long WeightBytes(double share)
    {
        var shapes = Shapes.Of(schedule, options with { Storage = HostChoices.Storage(schedule, options.Storage, share) });
        return MemoryPlan.Create(shapes, 0, optimizer, 0, hostStates: false)[MemoryBlock.Weights];
    }

    /// <summary>The plan that takes the fewest bytes on the device: the smallest of those that may be.</summary>
    public PlannedStep Least() => smallest.Value!;

    PlannedStep? Smallest()
    {
        var all = Sorted(All(long.MaxValue)).Where(c => HostBytes(c) <= host.Bytes).ToArray();
        var streamed = all.Select(c => StreamedBytes(c.Setting.Base)).DefaultIfEmpty().Max();
        PlannedStep? least = null;
        // Where copies go is near what a plan makes of them, so a candidate may say too much: those of LeastBytes are made whatever they say.
        foreach (var (bytes, candidate) in all.Select(c => (IsLast(c) ? 0 : AtLeast(c), c)).OrderBy(c => c.Item1))
        {
            if (least is not null && bytes >= least.Footprint.Total) break;
            if (Make(candidate) is var plan && Fits(plan, least?.Footprint.Total - 1 ?? long.MaxValue)) least = plan;
        }
        return least;

        bool IsLast(Candidate c) => c.Count == c.Setting.Order.Count && c.Setting.Room == RoomsOf(c.Setting.Base.Shapes, options)[^1] && StreamedBytes(c.Setting.Base) == streamed;
    }

    /// <summary>
    /// About what the smallest plan takes, found without paths: nothing is kept that can be built again,
    /// the rest of what is saved waits in host memory, and working memory is short.
    /// </summary>
    public static long LeastBytes(Schedule schedule, PlanOptions options, DeviceProfile device, HostChoices host) => new PlanFrontier(schedule, options, device, host).LeastBytes();

    long LeastBytes()
    {
        // Weights for which the host has no room are refused in words of their own.
        var @base = host.Shares.Reverse().Select(BaseOf).FirstOrDefault(b => StreamedBytes(b) <= host.Bytes) ?? BaseOf(host.Shares[^1]);
        var rooms = RoomsOf(@base.Shapes, options);
        int?[] tiles = [.. TilesOf(@base.Shapes, options).Select(tile => (int?)tile).DefaultIfEmpty(null)];
        var least = long.MaxValue;
        // What is alive at one launch is found sooner than places for all of it: only those are made that may be the smallest.
        foreach (var (bytes, chosen) in OffloadedSets(@base, rooms[0]).DefaultIfEmpty(new HashSet<string>()).SelectMany(set => tiles, Bounded).OrderBy(b => b.Bytes))
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
            return (Footprint.Of(MemoryPlan.Create(@base.Shapes, arena, optimizer, 0, hostStates), launches + @base.Scoring, device).Total, chosen);
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
    /// Copies follow each other, and launches wait for what they bring (<see cref="StepModel.Soonest"/>). Infinite: none fits.
    /// </summary>
    public double Bound(long budget) => All(long.MaxValue).SelectMany(s => s.Places, (s, hostStates) => Bound(s, hostStates, budget)).Min();

    double Bound(Setting s, bool hostStates, long budget)
    {
        var none = s.Model.Evaluate(new bool[s.Model.Tensors]);
        var soonest = s.Model.Soonest();
        var allowed = budget - Footprint.Of(s.Memory(hostStates), none.Launches + s.Base.Scoring, device).Total;
        var live = s.Model.Live.ToArray();
        var tiles = TilesOf(s.Base.Shapes, options).Count > 0;
        var items = Enumerable.Range(0, s.Model.Tensors).Where(s.Model.HasRecipe).Select(t => (Tensor: t, Bytes: s.Model.Bytes(t), Ms: s.Model.Milliseconds(t)))
            .Where(i => i.Bytes > 0).OrderBy(i => i.Ms / i.Bytes).ToArray();
        var most = 0.0;
        for (var at = 0; at < live.Length; at++)
        {
            if (tiles && !s.Model.Mixes(at)) continue;
            var (excess, ms) = ((double)(live[at] - allowed), 0.0);
            foreach (var item in items)
            {
                if (excess <= 0) break;
                if (!s.Model.Covers(item.Tensor, at)) continue;
                ms += item.Ms * Math.Min(1, excess / item.Bytes);
                excess -= item.Bytes;
            }
            if (excess > 0) return double.PositiveInfinity;
            most = Math.Max(most, ms);
        }
        var copied = Math.Max(soonest.Forward + Math.Max(soonest.Backward + most, soonest.All - soonest.Forward), s.Model.Copying);
        return StepPrediction.Step(Fastest().Plan, device, Math.Max(none.Milliseconds - none.Waiting + most, none.Slowed + copied) + (hostStates ? hostStatesMs : 0));
    }

    bool Fits(PlannedStep plan, long budget) => plan.Footprint.Total <= budget && plan.Plan.Memory.HostBytes <= host.Bytes;

    long HostBytes(Candidate candidate) => HostBytes(candidate.Setting.Base, candidate.Setting.Offloaded, candidate.HostStates);

    long HostBytes(Base @base, IReadOnlySet<string> offloaded, bool hostStates) =>
        StreamedBytes(@base) + offloaded.Sum(t => @base.Shapes[t].Bytes) + (hostStates ? optimizer.StateBytes : 0);

    // No arena is smaller than what is alive at one launch; recomputing launches are in the graphs too.
    long AtLeast(Candidate candidate) =>
        Footprint.Of(candidate.Setting.Memory(candidate.HostStates).WithArena(candidate.ArenaBytes), candidate.Launches + candidate.Setting.Base.Scoring, device).Total;

    IReadOnlyList<Candidate> Sorted(IReadOnlyList<Setting> settings) =>
        [.. settings.SelectMany(s => s.Places, (s, hostStates) => s.Candidates.Select(c => c with { HostStates = hostStates })).SelectMany(c => c)
            .OrderBy(c => c.Milliseconds + (c.HostStates ? hostStatesMs : 0)).ThenBy(c => c.ArenaBytes)];

    PlannedStep Make(Candidate candidate)
    {
        if (made.TryGetValue(candidate, out var step)) return step;
        var (setting, model) = (candidate.Setting, candidate.Setting.Model);
        var dropped = setting.Order.Take(candidate.Count).ToArray();
        var actions = options.Decisions?.Actions.ToDictionary() ?? dropped.ToDictionary(model.Name, _ => TensorAction.Recompute);
        foreach (var tensor in setting.Offloaded) actions[tensor] = TensorAction.Offload;
        var name = options.Decisions?.Name ?? (actions.Count == 0 ? Decisions.None.Name : "auto");
        var plan = ExecutionPlan.Create(setting.Base.Shapes, Chosen(setting.Base, setting.Room, new Decisions(name, actions), candidate.Tile, candidate.HostStates));
        return made[candidate] = new PlannedStep(plan, Footprint.Of(plan, device), StepPrediction.Step(plan, device, candidate.Milliseconds))
        {
            Reasons =
            [
                .. dropped.Select(t => new DecisionReason(model.Name(t), TensorAction.Recompute, model.Bytes(t), model.Milliseconds(t))),
                .. setting.Offloaded.Order(StringComparer.Ordinal).Select(t => new DecisionReason(t, TensorAction.Offload, model.Bytes(model.Index[t]), 0)),
            ],
        };
    }

    Base BaseOf(double share)
    {
        var stored = options with { Storage = HostChoices.Storage(schedule, options.Storage, share) };
        var shapes = Shapes.Of(schedule, stored);
        var kept = ExecutionPlan.Kept(schedule, options);
        var (forward, backward) = ExecutionPlan.Live(shapes, options);
        return new Base(shapes, stored, forward, backward, kept, DeadLaunches.Eliminate(shapes, schedule.Forward, kept).Count);
    }

    static long StreamedBytes(Base @base) => @base.Shapes.Streamed.Sum(s => @base.Shapes[s].Bytes);

    // Settings of one place of the weights: with what hides offloaded, and with all that cannot be built again.
    IEnumerable<Setting> Others(Base @base, bool withNothingOffloaded)
    {
        if (StreamedBytes(@base) > host.Bytes) return [];
        var rooms = RoomsOf(@base.Shapes, options);
        var result = withNothingOffloaded ? rooms.Select(room => SettingOf(@base, room, new HashSet<string>())).ToList() : [];
        result.AddRange(OffloadedSets(@base, rooms[0]).SelectMany(set => rooms.Select(room => SettingOf(@base, room, set))));
        return result;
    }

    // What hides, and all that cannot be built again.
    IReadOnlyList<IReadOnlySet<string>> OffloadedSets(Base @base, Room room)
    {
        if (!host.Offload) return [];
        var model = ModelOf(@base, room, new HashSet<string>());
        model.Evaluate(Given(model));
        var saved = Saved(@base.Shapes, options).Where(model.Index.ContainsKey)
            .Where(t => (options.Decisions is not { } d || d[t] == TensorAction.Save) && @base.Shapes[t].BytesPerToken >= LeastBytesPerToken).ToArray();
        var sets = new[] { host.Hidden(model, @base.Shapes, device, saved, LinkShare), host.Boundaries(model, @base.Shapes, saved) }.Where(s => s.Count > 0).ToList();
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
    static IEnumerable<string> Saved(Shapes shapes, PlanOptions options)
    {
        var ofInputs = shapes.Schedule.Recipes.Where(r => IsOfInputs(shapes, r)).Select(r => r.Tensor).ToHashSet();
        var kept = ExecutionPlan.Kept(shapes.Schedule, options);
        var (forward, backward) = ExecutionPlan.Live(shapes, options);
        var written = forward.SelectMany(l => shapes.Of(l).Writes).Select(r => r.Tensor).ToHashSet();
        return backward.Concat(shapes.Schedule.Recipes.SelectMany(r => r.Launches)).SelectMany(l => shapes.Of(l).Reads).Where(r => !r.IsEmpty).Select(r => r.Tensor).Distinct()
            .Where(t => shapes[t].Tensor.Kind == TensorKind.Activation && written.Contains(t) && !kept.Contains(t) && !ofInputs.Contains(t));
    }

    // Ample: rows that take the least time (of equal ones the fewest), and two copies on their way. Tight: the fewest rows, and one copy.
    // Chunks of the logits are the largest tensor when little else is kept; but where their rows decide bits, all plans have the same.
    static IReadOnlyList<Room> RoomsOf(Shapes shapes, PlanOptions options)
    {
        var rows = ExecutionPlan.LogitsRowsOf(shapes, options);
        return [new(rows, options.Pace.Landing), new(options.LogitsRows is null && !ExecutionPlan.RowsDecideBits(shapes) ? Math.Min(256, rows) : rows, 1)];
    }

    /// <summary>Tokens of tiles, smaller ones last: about a quarter of all, and the fewest that fill a device; multiples of the unit. None: there are too few tokens.</summary>
    static IReadOnlyList<int> TilesOf(Shapes shapes, PlanOptions options)
    {
        if (options.TokenTile is { } given) return [given];
        // A mask is numbered by the tokens of a launch.
        if (options.Dropout is not null) return [];
        var unit = TokenTiles.Unit(options);
        int[] wanted = [Math.Clamp(shapes.Tokens / 4, LeastTile, MostTile), LeastTile];
        return [.. wanted.Select(tile => Math.Max(unit, tile / unit * unit)).Distinct().Where(tile => tile < shapes.Tokens)];
    }

    StepModel ModelOf(Base @base, Room room, IReadOnlySet<string> offloaded)
    {
        var longest = ExecutionPlan.LongestOf(options);
        return new StepModel(@base.Shapes, @base.Forward, @base.Backward, @base.Kept, room.LogitsRows, longest,
            new LaunchTimes(@base.Shapes, device, room.LogitsRows, longest), offloaded, room.Landing);
    }

    bool[] Given(StepModel model) => [.. Enumerable.Range(0, model.Tensors).Select(t => options.Decisions is { } d && d[model.Name(t)] == TensorAction.Recompute)];

    Setting SettingOf(Base @base, Room room, IReadOnlySet<string> offloaded)
    {
        var model = ModelOf(@base, room, offloaded);
        var longest = ExecutionPlan.LongestOf(options);
        var tiled = TilesOf(@base.Shapes, options).Select(tile => (Tile: tile, Times: new LaunchTimes(@base.Shapes.Window(0, tile), device, room.LogitsRows, longest))).ToArray();
        var hosted = host.Offload && optimizer.StateBytes > 0 && optimizer.StateBytes <= host.Bytes;
        var setting = new Setting(@base, room, offloaded, model, MemoryPlan.Create(@base.Shapes, 0, optimizer, 0, hostStates: false),
            hosted ? MemoryPlan.Create(@base.Shapes, 0, optimizer, 0, hostStates: true) : null);
        var dropped = Given(model);
        var items = options.Decisions is not null ? [] : Droppable(@base.Shapes).Where(name => !offloaded.Contains(name)).Select(name => model.Index[name]).Where(model.HasRecipe)
            .OrderBy(i => model.Milliseconds(i) / model.Bytes(i)).ThenBy(i => @base.Shapes[model.Name(i)].Tensor.Layer).ToList();
        var step = Math.Max(1, items.Count / TiledStates);
        // Where nothing more can be dropped at the launch with the most, tiles may still take that away: then what mixes tokens decides.
        for (var mixing = false; ;)
        {
            var state = model.Evaluate(dropped);
            var next = mixing ? -1 : items.FindIndex(i => model.Covers(i, state.At));
            if (next < 0 && tiled.Length > 0 && options.Decisions is null) (mixing, next) = (true, items.FindIndex(i => model.Covers(i, state.MixingAt)));
            if (options.TokenTile is null) setting.Candidates.Add(new Candidate(setting, setting.Order.Count, null, state.Milliseconds, state.ArenaBytes, state.Launches));
            if ((next < 0 || setting.Order.Count % step == 0) && (state.MixingBytes < state.ArenaBytes || options.TokenTile is not null))
                foreach (var (tile, times) in tiled)
                {
                    var more = model.OfTiles(times, (double)@base.Shapes.Tokens / tile, state);
                    var (milliseconds, launches) = (state.Milliseconds + more.Milliseconds, state.Launches + more.Launches);
                    setting.Candidates.Add(new Candidate(setting, setting.Order.Count, tile, milliseconds, state.MixingBytes, launches));
                }
            if (next >= 0) Drop(next);
            // Tiles do not always bring the launches between down to those that mix tokens. Last, nothing is kept anywhere.
            else if (mixing && items.Count > 0)
                while (items.Count > 0) Drop(0);
            else return setting;
        }

        void Drop(int at)
        {
            dropped[items[at]] = true;
            setting.Order.Add(items[at]);
            items.RemoveAt(at);
        }
    }
}
