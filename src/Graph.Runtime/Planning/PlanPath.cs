using System;
using System.Collections.Generic;
using System.Linq;

namespace Graph.Runtime.Planning;

/// <summary>A list of decisions on a path, with tiles of tokens or without.</summary>
/// <param name="Dropped">So many tensors of the path's order are built again.</param>
/// <param name="Tile">Tokens of a tile; null: there are none.</param>
/// <param name="Room">What is alive at a launch that runs in no tile is at most this; null: none runs in a tile.</param>
/// <param name="Milliseconds">Of a micro-batch.</param>
/// <param name="Rebuilding">Milliseconds that building the dropped tensors costs at least. It never falls along a path.</param>
/// <param name="ArenaBytes">About what the arena takes, gaps aside: the most bytes alive at one launch.</param>
sealed record PathState(int Dropped, int? Tile, long? Room, double Milliseconds, double Rebuilding, long ArenaBytes, int Launches);

/// <summary>
/// From everything kept to nothing kept. Each step looks at the launch with the most live bytes. Of the activations that lie there, unread, it drops the one whose rebuilding costs
/// the least for each byte; of equal ones that of the first layers, which lies longest. Identical layers have identical costs, so they are dropped one after the other.
/// A path is walked as far as it is asked for. Not for two threads at once.
/// </summary>
sealed class PlanPath
{
    /// <summary>So many states of a path have tiles too, and that is so many for each size of tiles: the fewer launches run in them, the larger is the arena.</summary>
    const int TiledStates = 40, Rooms = 6;

    readonly Shapes shapes;
    readonly bool[] given, dropped;
    readonly int[] cheapest;
    readonly List<int> items;
    readonly IReadOnlyList<(int Tile, LaunchTimes Times)> tiled;
    readonly bool fixedDecisions;
    readonly int step;
    readonly List<int> order = [];
    readonly List<PathState> states = [];
    double rebuilding;
    // At the launch with the most nothing more can be dropped; tiles may still take that away, so what mixes tokens decides.
    bool mixing;
    bool ended;

    /// <param name="given">Per tensor of the model: it is built again in every state.</param>
    /// <param name="droppable">Tensors that the path may drop; null: the decisions are given, and it has one state, and one for each tile.</param>
    /// <param name="tiled">Tiles to try, with the times of a tile's launches.</param>
    public PlanPath(Shapes shapes, StepModel model, bool[] given, IEnumerable<string>? droppable, IReadOnlyList<(int Tile, LaunchTimes Times)> tiled)
    {
        (this.shapes, Model, this.given, dropped, this.tiled, fixedDecisions) = (shapes, model, given, [.. given], tiled, droppable is null);
        var facts = model.Facts;
        cheapest = [.. (droppable ?? []).Select(name => facts.Index[name]).Where(facts.HasRecipe)
            .OrderBy(i => facts.Milliseconds(i) / facts.Bytes(i)).ThenBy(i => shapes[facts.Name(i)].Tensor.Layer)];
        items = [.. cheapest];
        step = Math.Max(1, items.Count / TiledStates);
        model.Evaluate(given);
        Floor = model.Floor();
    }

    public StepModel Model { get; }

    /// <summary>No state is faster than this with what it builds again.</summary>
    public StepFloor Floor { get; }

    /// <summary>Tensors in the order in which they are dropped, as far as the path was walked.</summary>
    public IReadOnlyList<int> Order => order;

    /// <summary>A state by its number, faster ones first but for tiles and waits; null: past the end.</summary>
    public PathState? At(int number)
    {
        while (number >= states.Count && !ended) Walk();
        return number < states.Count ? states[number] : null;
    }

    public IReadOnlyList<PathState> All()
    {
        while (!ended) Walk();
        return states;
    }

    /// <summary>
    /// Milliseconds that it costs at least to build again what a launch has too much: there the cheapest for each byte is dropped first, and of the last one a part.
    /// With tiles what mixes tokens counts alone. Infinite: it cannot be.
    /// </summary>
    /// <param name="allowed">Bytes of the arena.</param>
    /// <param name="everywhere">At the launch where that is the most; else at the one with the most bytes, which is soon found.</param>
    public double Rebuilding(long allowed, bool everywhere)
    {
        Model.Evaluate(given);
        var needed = Model.Needed();
        var launches = Enumerable.Range(0, needed.Length).Where(at => tiled.Count == 0 || Model.Mixes(at));
        var most = 0.0;
        foreach (var at in everywhere ? launches : [launches.MaxBy(at => needed[at])])
        {
            var (excess, ms) = ((double)(needed[at] - allowed), 0.0);
            foreach (var tensor in cheapest)
            {
                if (excess <= 0) break;
                if (!Model.Covers(tensor, at)) continue;
                ms += Model.Facts.Milliseconds(tensor) * Math.Min(1, excess / Model.Facts.Bytes(tensor));
                excess -= Model.Facts.Bytes(tensor);
            }
            if (excess > 0) return double.PositiveInfinity;
            most = Math.Max(most, ms);
        }
        return most;
    }

    void Walk()
    {
        var state = Model.Evaluate(dropped);
        var next = mixing ? -1 : items.FindIndex(i => Model.Covers(i, state.At));
        if (next < 0 && tiled.Count > 0 && !fixedDecisions) (mixing, next) = (true, items.FindIndex(i => Model.Covers(i, state.MixingAt)));
        states.Add(new PathState(order.Count, null, null, state.Milliseconds, rebuilding, state.ArenaBytes, state.Launches));
        if ((next < 0 || order.Count % step == 0) && state.MixingBytes < state.ArenaBytes)
            foreach (var (tile, times) in tiled)
            {
                long[] rooms = [.. Enumerable.Range(0, Rooms).Select(i => state.MixingBytes + (state.ArenaBytes - state.MixingBytes) / Rooms * i).Distinct()];
                foreach (var (room, more) in rooms.Zip(Model.OfTiles(times, (double)shapes.Tokens / tile, rooms)))
                    states.Add(new PathState(order.Count, tile, room, state.Milliseconds + more.Milliseconds, rebuilding, room, state.Launches + more.Launches));
            }
        if (next >= 0)
        {
            rebuilding += Model.Facts.Milliseconds(items[next]);
            Drop(next);
        }
        // Tiles do not always bring the launches between down to those that mix tokens. Last, nothing is kept anywhere; what that costs is left out of the bound.
        else if (mixing && items.Count > 0)
            while (items.Count > 0) Drop(0);
        else ended = true;
    }

    void Drop(int at)
    {
        dropped[items[at]] = true;
        order.Add(items[at]);
        items.RemoveAt(at);
    }
}
