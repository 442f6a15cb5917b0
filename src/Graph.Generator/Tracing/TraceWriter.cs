using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Ops;
using Microsoft.CodeAnalysis;

namespace Graph.Generator.Tracing;

/// <summary>
/// Writes ops down as they are called, with their types. What does not fit is a fault on the line of the call; its result is a tensor of which nothing is known
/// and about which nothing more is said, so that the trace goes on and finds the other faults.
/// </summary>
sealed class TraceWriter(string variant)
{
    const int MaxCallers = 16;

    readonly List<TraceNode> _nodes = new();
    readonly List<Location> _places = new();
    readonly List<Fault> _faults = new();
    readonly HashSet<(string, Location, string)> _known = new();
    readonly List<(string Name, IOperation At)> _scopes = new();
    readonly Dictionary<(string Op, string Name), TensorType> _leaves = new();
    string _root = "", _scope = "", _looked = "";
    readonly HashSet<int> _scores = new();
    int _score = -1;

    public IReadOnlyList<TraceNode> Nodes => _nodes;

    /// <summary>The code that called each op.</summary>
    public IReadOnlyList<Location> Places => _places;
    public IReadOnlyList<Fault> Faults => _faults;
    public bool HasErrors => _faults.Any(f => f.IsError);

    /// <summary>The calls that are running, outermost first; the interpreter keeps it.</summary>
    public List<IOperation?> Calls { get; } = new();

    /// <summary>Members of a base class that an override took the place of, as "DecoderLayer.Mlp".</summary>
    public SortedSet<string> Overrides { get; } = new(StringComparer.Ordinal);

    /// <summary>The scope of ops outside of every other.</summary>
    public void Root(string scope) => _scope = _root = _looked = scope;

    public ScopeValue Open(string name, IOperation at)
    {
        _scopes.Add((name, at));
        _scope = string.Join(".", _scopes.Select(s => s.Name));
        return new ScopeValue(_scopes.Count);
    }

    public void Close(ScopeValue scope)
    {
        _scopes.RemoveRange(scope.Depth - 1, _scopes.Count - scope.Depth + 1);
        _scope = _scopes.Count > 0 ? string.Join(".", _scopes.Select(s => s.Name)) : _root;
    }

    /// <summary>Notes a fault, once for each place and sentence.</summary>
    public void Report(DiagnosticDescriptor descriptor, Location location, string message, params string[] weights)
    {
        var callers = Enumerable.Reverse(Calls).Where(c => c is not null).Select(c => c!.Syntax.GetLocation()).Where(l => !l.Equals(location)).Distinct().Take(MaxCallers)
            .ToArray();
        var fault = new Fault(descriptor, location, callers, message, variant, _scope, weights);
        if (_known.Add(fault.Key)) _faults.Add(fault);
    }

    public TensorValue Add(string op, IReadOnlyList<TensorValue> inputs, IReadOnlyList<KeyValuePair<string, object?>> attributes, IOperation? at)
    {
        if (!ReferenceEquals(_scope, _looked)) LookAtScope();
        if (inputs.Any(i => i.IsUnknown)) return TensorValue.Unknown;
        try
        {
            OpCatalog.CheckAttributes(op, attributes);
            if (inputs.Count > 0 && MisusedAdapter(op, inputs) is { } misuse)
            {
                Report(DiagnosticDescriptors.Adapter, at!.Syntax.GetLocation(), misuse, Weights(inputs));
                return TensorValue.Unknown;
            }
            if (_score >= 0) CheckScore(op, inputs, attributes);
            else if (op != "attention" && inputs.Any(i => _scores.Contains(i.Id)))
            throw new ShapeError(op + ": reads a value of attention's score function, which is there for one score at a time; it can be used inside of the function alone");
            var type = OpCatalog.Infer(op, inputs.Select(i => i.Type).ToArray(), attributes);
            if (inputs.Count == 0) CheckLeaf(op, attributes, type);
            _nodes.Add(new TraceNode(_nodes.Count, op, inputs.Select(i => i.Id).ToArray(), attributes, _scope));
            _places.Add(at?.Syntax.GetLocation() ?? Location.None);
            return new TensorValue(_nodes.Count - 1, type);
        }
        catch (ShapeError e) when (at is not null)
        {
            Report(DiagnosticDescriptors.Shape, at.Syntax.GetLocation(), e.Message, Weights(inputs));
            return TensorValue.Unknown;
        }
    }

    /// <summary>Attention: the arguments of the score function, whatever the function records, and the op itself.</summary>
    /// <param name="position">The function takes a position beside the score.</param>
    public TensorValue Attention(IReadOnlyList<TensorValue> qkv, IReadOnlyList<KeyValuePair<string, object?>> attributes, Func<object[], TensorValue>? score,
        bool position, IOperation at)
    {
        if (_score >= 0) throw new TraceError(DiagnosticDescriptors.Shape, at, "attention: a score function calls attention; it must be pointwise");
        TensorValue Argument(string op) => Add(op, new[] { qkv[0] }, Array.Empty<KeyValuePair<string, object?>>(), at);
        var z = Argument("score_input");
        var arguments = position ? new object[] { z, new PositionValue(Argument("score_distance"), Argument("score_head")) } : new object[] { z };
        var s = z;
        if (score is not null)
        {
            _score = z.IsUnknown ? _nodes.Count : z.Id;
            s = score(arguments);
            _score = -1;
            if (!z.IsUnknown) _scores.UnionWith(Enumerable.Range(z.Id, _nodes.Count - z.Id));
            if (!s.IsUnknown && s.Id < z.Id)
                throw new TraceError(DiagnosticDescriptors.Shape, at, "attention: the score function returns a tensor that does not come from its argument");
        }
        return Add("attention", qkv.Append(s).ToArray(), attributes, at);
    }

    void CheckScore(string op, IReadOnlyList<TensorValue> inputs, IReadOnlyList<KeyValuePair<string, object?>> attributes)
    {
        foreach (var input in inputs)
            if (input.Id < _score) throw new ShapeError("attention: the score function reads a tensor " + input.Type + " from outside; it may use its arguments and numbers");
        if (ScoreOps.Lower(OpCatalog.Create(op, attributes), inputs.Select(_ => Expr.Var("s")).ToArray()) is null)
            throw new ShapeError("attention: the score function calls " + op + "; it may use numbers, arithmetic and functions of one element, such as Tanh and Exp");
    }

    // Param("w", 4, 8) here and Param("w", 8, 4) there would read one checkpoint tensor as two.
    void CheckLeaf(string op, IReadOnlyList<KeyValuePair<string, object?>> attributes, TensorType type)
    {
        if (op is not ("param" or "lora_a" or "lora_b")) return;
        var key = (op, (string)attributes[0].Value!);
        if (!_leaves.TryGetValue(key, out var known)) _leaves.Add(key, type);
        else if (!known.Equals(type)) throw new ShapeError(op + ": '" + key.Item2 + "' is " + type + " here but " + known + " where it was used first");
    }

    /// <summary>A and B are weights of a linear and nothing else: masters are fp32 and their rank is chosen at run time.</summary>
    string? MisusedAdapter(string op, IReadOnlyList<TensorValue> inputs)
    {
        for (var i = 0; i < inputs.Count; i++)
            if (_nodes[inputs[i].Id] is { Op: "lora_a" or "lora_b" } adapter && (op != "linear" || i != 1))
                return op + ": reads " + Call(adapter) + (op == "linear" ? " as x" : "") + "; an adapter matrix can only be the w of a Linear(x, w)";
        return null;
    }

    static string Call(TraceNode adapter) => (adapter.Op == "lora_a" ? "LoraA" : "LoraB") + "(\"" + adapter.Attributes[0].Value + "\")";

    /// <summary>Names of the weights that an op reads, itself or through linears a few ops before it; an adapter is named where its linear's weight is not.</summary>
    string[] Weights(IReadOnlyList<TensorValue> inputs)
    {
        const int depth = 3, most = 4;
        IEnumerable<TraceNode> Behind(int id, int more) => _nodes[id] switch
        {
            { Op: "param" or "lora_a" or "lora_b" } leaf => new[] { leaf },
            { Op: "linear" } linear => Behind(linear.Inputs[1], 0),
            { Op: "embedding" or "rms_norm" or "attention" or "score_input" } => new TraceNode[0],
            var node => more > 0 ? node.Inputs.SelectMany(i => Behind(i, more - 1)) : new TraceNode[0],
        };
        var leaves = inputs.SelectMany(i => Behind(i.Id, depth)).ToArray();
        var tensors = leaves.Where(l => l.Op == "param").Select(l => (string)l.Attributes[0].Value!).ToArray();
        return leaves.Where(l => l.Op == "param" || !tensors.Contains(l.Attributes[0].Value + ".weight"))
            .Select(l => l.Op == "param" ? (string)l.Attributes[0].Value! : Call(l)).Distinct().Take(most).ToArray();
    }

    void LookAtScope()
    {
        _looked = _scope;
        if (_scopes.Count == 0 || LayerScope.Lookalike(_scope) is not { } part) return;
        var opened = Enumerable.Range(1, _scopes.Count).First(n => LayerScope.Lookalike(string.Join(".", _scopes.Take(n).Select(s => s.Name))) is not null);
        Report(DiagnosticDescriptors.Scope, _scopes[opened - 1].At.Syntax.GetLocation(),
            "the scope '" + _scope + "' is in no decoder layer, as '" + part + "' is not layers.N, so --recompute saves little of its memory; write Scope($\"layers.{i}\")");
    }

    /// <summary>What Forward returned must be the last op: the graph ends there. Adapters must be whole.</summary>
    public void Finish(TensorValue result, Location at)
    {
        for (var i = 0; i < _nodes.Count; i++)
            if (_nodes[i] is { Op: "lora_a" or "lora_b" } half && !_leaves.ContainsKey((half.Op == "lora_a" ? "lora_b" : "lora_a", (string)half.Attributes[0].Value!)))
                Report(DiagnosticDescriptors.Adapter, _places[i], Call(half) + " has no " + (half.Op == "lora_a" ? "LoraB" : "LoraA") + " of that name; an adapter is the two");
        if (HasErrors) return;
        try
        {
            if (result.Id != _nodes.Count - 1)
                throw new ShapeError("Forward returns %" + result.Id.ToString(CultureInfo.InvariantCulture) + " but records " + _nodes[_nodes.Count - 1].Op
                    + " after it, whose result nothing reads; remove it");
            new CrossEntropy().Infer(new[] { result.Type, TensorType.I32(Dim.T) });
        }
        catch (ShapeError e)
        {
            Report(DiagnosticDescriptors.Result, at, e.Message);
        }
    }
}
