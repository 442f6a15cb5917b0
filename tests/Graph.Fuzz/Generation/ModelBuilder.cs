using System;
using System.Collections.Generic;
using System.Linq;

namespace Graph.Fuzz.Generation;

/// <summary>The steps of a model that is being drawn, with their types; values of a type can be found again, which is how sharing comes about.</summary>
sealed class ModelBuilder
{
    readonly List<Step> steps = [];
    readonly List<ValueType> types = [];
    readonly Dictionary<string, int[]> parameters = [];
    readonly Dictionary<string, (int In, int Out)> adapters = [];

    public ModelBuilder() => Add("input");

    public string Scope { get; set; } = "";
    public SortedSet<string> Features { get; } = new(StringComparer.Ordinal);
    public IReadOnlyList<Step> Steps => steps;
    public IReadOnlyCollection<string> Adapters => adapters.Keys;
    public ValueType this[int id] => types[id];

    public int Add(string op, params int[] inputs) => Add(new Step(op, inputs));

    public int Add(Step step)
    {
        var type = OpTable.Find(step.Op).Infer(step, [.. step.Inputs.Select(i => types[i])])
            ?? throw new InvalidOperationException($"fuzz: the generator gives {step.Op} shapes that do not fit: {string.Join(", ", step.Inputs.Select(i => types[i]))}");
        steps.Add(step with { Scope = Scope });
        types.Add(type);
        return steps.Count - 1;
    }

    public int Const(double value) => Add(new Step("const", [], Number: value));

    /// <summary>A name that no parameter or adapter has; in a layer it starts with "layers.N.".</summary>
    public string Unique(string name)
    {
        var prefix = Scope.Length > 0 ? Scope + "." : "";
        return Enumerable.Range(1, int.MaxValue).Select(i => prefix + name + (i > 1 ? i : ""))
            .First(n => !parameters.ContainsKey(n + ".weight") && !parameters.ContainsKey(n + ".embed") && !adapters.ContainsKey(n));
    }

    public int Param(string name, params int[] dims)
    {
        parameters.TryAdd(name, dims);
        return Add(new Step("param", [], name, parameters[name]));
    }

    /// <summary>Names of parameters of this shape so far.</summary>
    public IReadOnlyList<string> ParamsOf(params int[] dims) => [.. parameters.Where(p => p.Value.AsSpan().SequenceEqual(dims)).Select(p => p.Key)];

    public (int A, int B) Lora(string name, int @in, int @out, Func<int, int> narrow)
    {
        adapters.TryAdd(name, (@in, @out));
        var a = narrow(Add(new Step("lora_a", [], name, [@in])));
        return (a, Add(new Step("lora_b", [], name, [@out])));
    }

    /// <summary>Adapters so far of a linear of these sizes.</summary>
    public IReadOnlyList<string> AdaptersOf(int @in, int @out) => [.. adapters.Where(a => a.Value == (@in, @out)).Select(a => a.Key)];

    /// <summary>Values of a type, computed so far; no leaves.</summary>
    public IReadOnlyList<int> Values(Func<ValueType, bool> wanted) => [.. Enumerable.Range(0, steps.Count).Where(i => types[i].IsPerToken && wanted(types[i]))];
}
