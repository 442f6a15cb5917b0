using System;
using System.Collections.Generic;
using System.Linq;

namespace Graph.Fuzz;

/// <summary>One call of the DSL. Inputs are numbers of earlier steps; step 0 is the token ids. Which of the other fields an op reads, <see cref="OpTable"/> says.</summary>
public sealed record Step(string Op, int[] Inputs, string Name = "", int[]? Dims = null, double Number = 0, int? Count = null, Score? Score = null, string Scope = "");

/// <summary>A score function of attention, as a tree over its argument.</summary>
public abstract record Score
{
    /// <summary>The scaled dot product.</summary>
    public sealed record Argument : Score;
    public sealed record Constant(double Value) : Score;
    /// <summary>How far the key is before the query.</summary>
    public sealed record Distance : Score;
    /// <summary>The query head's number.</summary>
    public sealed record Head : Score;
    public sealed record Call(string Op, Score[] Inputs) : Score;

    public static readonly Score Z = new Argument();

    public static Score Of(string op, params Score[] inputs) => new Call(op, inputs);

    /// <summary>Trees with one node less.</summary>
    public IEnumerable<Score> Smaller() => this is not Call call ? [] :
        call.Inputs.Concat(call.Inputs.SelectMany((input, i) => input.Smaller()
            .Select(smaller => (Score)(call with { Inputs = [.. call.Inputs.Select((old, j) => j == i ? smaller : old)] }))));

    public bool ReadsPosition => this is Distance or Head || this is Call call && call.Inputs.Any(i => i.ReadsPosition);
}

/// <summary>What a model is trained on: everything that is chosen at run time.</summary>
/// <param name="Documents">Per micro-batch, the lengths of its documents; what is left of Tokens is slack.</param>
/// <param name="Unlabelled">Share of tokens whose label is -100.</param>
/// <param name="Ranks">Rank of every adapter; 0: the run leaves it out.</param>
/// <param name="LogitsRows">Rows of the logits at a time; null: the runtime's choice.</param>
/// <param name="Seed">Of weights, ids and labels.</param>
public sealed record Setup(int Tokens, int[][] Documents, double Unlabelled, IReadOnlyDictionary<string, int> Ranks, double LoraScale, int? LogitsRows, int Seed)
{
    /// <summary>All weights are trained, and adapters are gone: in the reference B is zero.</summary>
    public bool Full { get; init; }

    /// <summary>Probability of an element of an adapter's input to be 0 in training.</summary>
    public double Dropout { get; init; }

    /// <summary>Adapters have scales of their own, as alpha and rank by pattern give them.</summary>
    public bool OwnScales { get; init; }

    public double ScaleOf(string adapter) => OwnScales ? LoraScale * (1 + 0.25 * (Values.Hash(Seed, adapter) % 4)) : LoraScale;
}

/// <summary>A model as the calls that make it; the last step is the logits.</summary>
public sealed record Model(IReadOnlyList<Step> Steps, Setup Setup, IReadOnlyCollection<string> Features)
{
    /// <summary>The steps' types, or null where something does not fit.</summary>
    public ValueType[]? Types()
    {
        var types = new ValueType[Steps.Count];
        var leaves = new Dictionary<(string, string), ValueType>();
        for (var i = 0; i < Steps.Count; i++)
        {
            var step = Steps[i];
            if (step.Inputs.Any(input => input >= i)) return null;
            if (OpTable.Find(step.Op).Infer(step, [.. step.Inputs.Select(input => types[input])]) is not { } type) return null;
            types[i] = type;
            // One name is one tensor.
            if (step.Op is "param" or "lora_a" or "lora_b" && !leaves.TryAdd((step.Op, step.Name), type) && leaves[(step.Op, step.Name)] != type) return null;
        }
        return types[^1].Kind == ValueKind.Rows && types[^1].A > 1 ? types : null;
    }

    /// <summary>Which steps the logits depend on.</summary>
    public bool[] Live()
    {
        var live = new bool[Steps.Count];
        live[0] = live[^1] = true;
        for (var i = Steps.Count - 1; i >= 0; i--)
            if (live[i]) foreach (var input in Steps[i].Inputs) live[input] = true;
        return live;
    }

    /// <summary>The same model without steps that nothing reads, and without ranks of adapters that are not there.</summary>
    public Model WithoutDead()
    {
        var live = Live();
        var place = new int[Steps.Count];
        for (int i = 0, next = 0; i < place.Length; i++) place[i] = live[i] ? next++ : -1;
        var steps = Steps.Where((_, i) => live[i]).Select(s => s with { Inputs = [.. s.Inputs.Select(i => place[i])] }).ToArray();
        var adapters = steps.Where(s => s.Op is "lora_a" or "lora_b").Select(s => s.Name).ToHashSet();
        return this with { Steps = steps, Setup = Setup with { Ranks = Setup.Ranks.Where(r => adapters.Contains(r.Key)).ToDictionary() } };
    }
}
