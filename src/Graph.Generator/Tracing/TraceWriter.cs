using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Ops;
using Microsoft.CodeAnalysis;

namespace Graph.Generator.Tracing;

/// <summary>Writes ops down as they are called, with their types, so that what does not fit is an error on the line of the call.</summary>
sealed class TraceWriter
{
    readonly List<TraceNode> _nodes = new();
    readonly List<string> _scopes = new();
    readonly Dictionary<(string Op, string Name), TensorType> _leaves = new();
    string _root = "", _scope = "";
    int _score = -1;

    public IReadOnlyList<TraceNode> Nodes => _nodes;
    public string Scope => _scope;

    /// <summary>The scope of ops outside of every other.</summary>
    public void Root(string scope) => _scope = _root = scope;

    public ScopeValue Open(string name)
    {
        _scopes.Add(name);
        _scope = string.Join(".", _scopes);
        return new ScopeValue(_scopes.Count);
    }

    public void Close(ScopeValue scope)
    {
        _scopes.RemoveRange(scope.Depth - 1, _scopes.Count - scope.Depth + 1);
        _scope = _scopes.Count > 0 ? string.Join(".", _scopes) : _root;
    }

    /// <exception cref="TraceError">The inputs or attributes do not fit.</exception>
    public TensorValue Add(string op, IReadOnlyList<TensorValue> inputs, IReadOnlyList<KeyValuePair<string, object?>> attributes, IOperation? at)
    {
        try
        {
            OpCatalog.CheckAttributes(op, attributes);
            if (_score >= 0) CheckScore(op, inputs, attributes);
            var type = OpCatalog.Infer(op, inputs.Select(i => i.Type).ToArray(), attributes);
            if (inputs.Count == 0) CheckLeaf(op, attributes, type);
            _nodes.Add(new TraceNode(_nodes.Count, op, inputs.Select(i => i.Id).ToArray(), attributes, _scope));
            return new TensorValue(_nodes.Count - 1, type);
        }
        catch (ShapeError e) when (at is not null)
        {
            throw new TraceError(DiagnosticDescriptors.Shape, at, e.Message);
        }
    }

    /// <summary>Attention: the arguments of the score function, whatever the function records, and the op itself.</summary>
    /// <param name="position">The function takes a position beside the score.</param>
    public TensorValue Attention(IReadOnlyList<TensorValue> qkv, IReadOnlyList<KeyValuePair<string, object?>> attributes, Func<object[], TensorValue>? score, bool position, IOperation at)
    {
        if (_score >= 0) throw new TraceError(DiagnosticDescriptors.Shape, at, "attention: a score function calls attention; it must be pointwise");
        TensorValue Argument(string op) => Add(op, new[] { qkv[0] }, Array.Empty<KeyValuePair<string, object?>>(), at);
        var z = Argument("score_input");
        var arguments = position ? new object[] { z, new PositionValue(Argument("score_distance"), Argument("score_head")) } : new object[] { z };
        var s = z;
        if (score is not null)
        {
            _score = z.Id;
            s = score(arguments);
            _score = -1;
            if (s.Id < z.Id) throw new TraceError(DiagnosticDescriptors.Shape, at, "attention: the score function returns a tensor that does not come from its argument");
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

    /// <summary>What Forward returned must be the last op: the graph ends there.</summary>
    /// <exception cref="ShapeError">It is not logits, or ops follow it.</exception>
    public void Finish(TensorValue result)
    {
        if (result.Id != _nodes.Count - 1)
        {
            var last = _nodes[_nodes.Count - 1];
            throw new ShapeError("Forward returns %" + result.Id.ToString(CultureInfo.InvariantCulture) + " but records " + last.Op + " after it, whose result nothing reads; remove it");
        }
        new CrossEntropy().Infer(new[] { result.Type, TensorType.I32(Dim.T) });
    }
}
