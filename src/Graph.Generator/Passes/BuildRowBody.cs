using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Kernels;
using Graph.Generator.Ops;

namespace Graph.Generator.Passes;

/// <summary>Lowers the row values of one cluster (or one of its outputs, for a recompute recipe) to the loop IR.</summary>
public sealed class BuildRowBody
{
    readonly TensorGraph _graph;
    readonly ClusterMap _map;
    readonly HashSet<int> _members;
    readonly HashSet<int> _outputs;
    readonly Dictionary<int, Expr> _values = new();
    readonly Dictionary<int, int> _uses, _clusterUses;
    readonly List<RowInput> _inputs = new();
    readonly List<int[]> _inputNodes = new();
    readonly List<RowStatement> _statements = new();
    // The names of the emitted texts' own variables are taken, and words that C# or CUDA C keeps for itself: a checkpoint may call a linear "out", "in" or "base".
    readonly HashSet<string> _names = new((
        "row rows column inside first end scratch vectors j head line inner token place columns chunks item a c "
        + "abstract alignas alignof as asm auto base bool break byte case catch char checked class const continue decimal "
        + "default delegate delete do double dynamic else enum event explicit export extern false "
        + "finally fixed float for foreach friend goto if implicit in inline int interface internal is lock long mutable namespace new null object operator out "
        + "override params private protected public readonly ref "
        + "register return sbyte sealed short signed sizeof stackalloc static string struct switch template this throw true try typedef typeid typename typeof uint ulong "
        + "unchecked union unsafe unsigned ushort using "
        + "virtual void volatile while").Split(' '));

    BuildRowBody(TensorGraph graph, ClusterMap map, IReadOnlyList<int> outputs)
    {
        (_graph, _map, _outputs) = (graph, map, new HashSet<int>(outputs));
        _members = new HashSet<int>(map.Members(outputs));
        _uses = Uses(graph, _members);
        var cluster = map.ClusterOf(outputs[0]);
        _clusterUses = cluster.Outputs.Count == outputs.Count ? _uses : Uses(graph, map.Members(cluster.Outputs));
    }

    static Dictionary<int, int> Uses(TensorGraph graph, IEnumerable<int> members) =>
        members.SelectMany(id => graph[id].Inputs.Distinct()).GroupBy(id => id).ToDictionary(g => g.Key, g => g.Count());

    /// <summary>The body, its label for the kernel's name, and the nodes its arguments hold (outputs, then inputs; a gather gives ids and table).</summary>
    public static (RowBody Body, string Label, IReadOnlyList<int> Arguments) Run(TensorGraph graph, ClusterMap map, IReadOnlyList<int> outputs)
    {
        var build = new BuildRowBody(graph, map, outputs);
        // Outputs take their names first, so that a parameter is called what its tensor is called.
        var names = outputs.ToDictionary(id => id, id => build.Unique(graph[id].Name));
        foreach (var id in build._members.OrderBy(id => id)) build.Add(graph[id], names);
        var rows = build._members.Select(map.Rows).Distinct().ToArray();
        if (rows.Length != 1) throw new InvalidOperationException("fuse: one row kernel would need rows of " + string.Join(" and ", rows.Select(r => r.Columns)) + " columns");
        var columns = rows[0].Columns.IsRank ? RowBody.RankColumns : rows[0].Columns.Size;
        var body = new RowBody(columns, outputs.Select(id => new RowOutput(names[id], graph[id].Type.IsRowScalar))
            .ToArray(), build._inputs.ToArray(), build._statements.ToArray(), rows[0].Heads);
        return (body, build.Label(outputs), outputs.Concat(build._inputNodes.SelectMany(n => n)).ToArray());
    }

    void Add(Node node, Dictionary<int, string> names)
    {
        var stored = _outputs.Contains(node.Id);
        if (node.Op is Embedding)
        {
            var gather = Input(node.Id, RowInputKind.Gather, node.Inputs[0], node.Inputs[1]);
            _values[node.Id] = gather;
            if (stored) Define(node, names[node.Id], gather);
            return;
        }
        var inputs = node.Inputs.Select(Value).ToArray();
        if (node.Op is RowSum)
        {
            var name = stored ? names[node.Id] : Unique(node.Name);
            _statements.Add(new RowStatement.Reduce(name, inputs[0]));
            _values[node.Id] = Expr.Var(name);
            if (stored) _statements.Add(new RowStatement.StoreRow(name));
            return;
        }
        var value = ((Pointwise)node.Op).Lower(inputs);
        // A row statistic is computed once, not per column; a value read twice gets a name; the rest is written where it is read.
        if (stored || node.Type.IsRowScalar || _uses.TryGetValue(node.Id, out var uses) && uses > 1 || Merges(node, value))
            Define(node, stored ? names[node.Id] : Unique(node.Name), value);
        else _values[node.Id] = value;
    }

    /// <summary>
    /// Whether a value and the one that reads it here would become one sum or one product, whose constants merge and whose terms are taken from left to right, while the
    /// kernel of the whole cluster, where the value has
    /// more readers, computes it by itself. What a recipe builds again must have the same bits.
    /// </summary>
    bool Merges(Node node, Expr value) =>
        _clusterUses.TryGetValue(node.Id, out var uses) && uses > 1
        && (value, _members.Where(m => _graph[m].Inputs.Contains(node.Id)).Select(m => _graph[m].Op).FirstOrDefault()) switch
        {
            (Expr.Bin { Kind: BinaryKind.Add or BinaryKind.Sub }, Binary { Kind: BinaryKind.Add or BinaryKind.Sub }) => true,
            (Expr.Bin { Kind: BinaryKind.Mul or BinaryKind.Div } or Expr.Un { Kind: UnaryKind.Neg },
                Binary { Kind: BinaryKind.Mul or BinaryKind.Div } or Unary { Kind: UnaryKind.Neg }) => true,
            _ => false,
        };

    void Define(Node node, string name, Expr value)
    {
        _statements.Add(node.Type.IsRowScalar ? new RowStatement.LetRow(name, value) : new RowStatement.Let(name, value, node.Op.Name));
        _values[node.Id] = Expr.Var(name);
        if (_outputs.Contains(node.Id)) _statements.Add(node.Type.IsRowScalar ? new RowStatement.StoreRow(name) : new RowStatement.Store(name));
    }

    Expr Value(int id)
    {
        if (_values.TryGetValue(id, out var known)) return known;
        var node = _graph[id];
        return _values[id] = node.Op switch
        {
            Const c => new Expr.Number(c.Value),
            TypedConst c => new Expr.TypedNumber(c.Value),
            RunScalar => Input(id, RowInputKind.Scalar, id),
            Param => Input(id, node.Type.Rank < 2 ? RowInputKind.Vector : node.Type.Shape[1] == 1 ? RowInputKind.HeadScalar : RowInputKind.HeadVector, id),
            Pointwise p when !node.Type.IsPerToken => p.Lower(node.Inputs.Select(Value).ToArray()),
            _ => Input(id, !node.Type.IsRowScalar ? RowInputKind.Matrix : node.Type.Heads > 0 ? RowInputKind.PerHead : RowInputKind.PerRow, id),
        };
    }

    Expr Input(int id, RowInputKind kind, params int[] nodes)
    {
        var name = Unique(kind == RowInputKind.Gather ? _graph[nodes[1]].Name
            : _graph[id].Name + (kind is RowInputKind.Vector or RowInputKind.HeadVector or RowInputKind.HeadScalar ? "_weight" : ""));
        _inputs.Add(new RowInput(name, kind));
        _inputNodes.Add(nodes);
        return Expr.Var(name);
    }

    // What both languages take in a name.
    static string Word(string name) => new(name.Select(c => c < 128 && char.IsLetterOrDigit(c) ? c : '_').ToArray());

    string Unique(string name)
    {
        name = Word(name);
        if (char.IsDigit(name[0])) name = "_" + name;
        var unique = name;
        for (var i = 2; !_names.Add(unique); i++) unique = name + i;
        return unique;
    }

    // "sum_input_layernorm": the stored row values, in order.
    string Label(IReadOnlyList<int> outputs)
    {
        var names = outputs.Where(id => !_graph[id].Type.IsRowScalar).Select(id => Word(_graph[id].Name)).Distinct().ToArray();
        return names.Length > 0 ? string.Join("_", names) : "row_statistics";
    }
}
