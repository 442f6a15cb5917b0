using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Kernels;
using Graph.Generator.Ops;

namespace Graph.Generator.Passes;

/// <summary>What the rows of a value are: Heads of a token of so many columns, or, with Heads 0, a token's. A statistic has the rows it was made of. Columns may be a
/// rank.</summary>
public readonly record struct RowShape(int Heads, Dim Columns);

/// <summary>Row values that one kernel computes together. Outputs are its stored values; Members also the values that stay in registers.</summary>
public sealed record Cluster(bool Backward, int Depth, EquatableArray<int> Outputs);

/// <summary>
/// Which row values are stored, and which are computed together. A value's depth counts the GEMM-like ops (anchors) before it;
/// row ops of one depth and phase that share work have no anchor between them, so they can be one kernel without a cycle.
/// Stored are: operands of anchors, forward values that a deeper forward kernel reads, and row statistics the backward reads (4 bytes a token).
/// All else the backward needs of the forward is computed again in its kernels from stored values, because reading memory costs more than arithmetic there.
/// The rows of a kernel have one shape. What reads a value through a view, or as a statistic of rows of another shape, is in a later kernel: the value is stored, and its
/// reader is one deeper.
/// </summary>
public sealed class ClusterMap
{
    enum Role { Leaf, View, Join, Row, Anchor }

    readonly TensorGraph _graph;
    readonly Role[] _roles;
    readonly int[] _depth;
    readonly RowShape[] _rows;
    readonly bool[] _fromLoss;
    readonly HashSet<int> _stored = new();
    readonly Dictionary<int, Cluster> _clusterOf;

    public IReadOnlyList<Cluster> Clusters { get; }

    public ClusterMap(TensorGraph graph)
    {
        _graph = graph;
        var count = graph.Nodes.Count;
        (_roles, _depth, _rows, _fromLoss) = (new Role[count], new int[count], new RowShape[count], new bool[count]);
        foreach (var node in graph.Nodes)
        {
            _roles[node.Id] = RoleOf(node);
            _rows[node.Id] = RowsOf(node);
            _depth[node.Id] = node.Inputs.Select(i => _depth[i] + (Crosses(node.Id, i) ? 1 : 0)).DefaultIfEmpty(0).Max() + (_roles[node.Id] == Role.Anchor ? 1 : 0);
            _fromLoss[node.Id] = node.Op is LinearCrossEntropyGrad || node.Inputs.Any(i => _fromLoss[i]);
        }
        FindStored();
        Clusters = Group();
        _clusterOf = Clusters.SelectMany(c => c.Outputs, (c, output) => (c, output)).ToDictionary(p => p.output, p => p.c);
    }

    public bool IsStored(int id) => _stored.Contains(id);
    public bool IsRow(int id) => _roles[id] == Role.Row;
    public bool IsAnchor(int id) => _roles[id] == Role.Anchor;
    public int Depth(int id) => _depth[id];
    public RowShape Rows(int id) => _rows[id];

    /// <summary>The cluster that stores the value.</summary>
    public Cluster ClusterOf(int id) => _clusterOf[id];
    public bool FromLoss(int id) => _fromLoss[id];

    /// <summary>The value whose memory a view shows.</summary>
    public int Root(int id)
    {
        while (_roles[id] == Role.View) id = _graph[id].Inputs[0];
        return id;
    }

    static Role RoleOf(Node node) => node.Op switch
    {
        Heads or Columns or AdapterGradient or WeightGradient => Role.View,
        Concat => Role.Join,
        Pointwise or RowSum => node.Type.IsPerToken ? Role.Row : Role.Leaf,
        Embedding => Role.Row,
        Leaf or Const or TypedConst => Role.Leaf,
        _ => Role.Anchor,
    };

    /// <summary>A statistic of statistics has the rows of the deepest one, so that fewest of its inputs are stored for it.</summary>
    RowShape RowsOf(Node node)
    {
        if (_roles[node.Id] != Role.Row || node.Type.Rank < 2) return default;
        if (!node.Type.IsRowScalar) return new RowShape(node.Type.Heads, node.Type.Shape.Last);
        if (node.Op is RowSum) return new RowShape(node.Type.Heads, _graph[node.Inputs[0]].Type.Shape.Last);
        return node.Inputs.Where(i => _roles[i] == Role.Row).OrderByDescending(i => _depth[i]).Select(i => _rows[i]).DefaultIfEmpty(new RowShape(node.Type.Heads, 1)).First();
    }

    /// <summary>Whether a row value reads another one that a kernel of its own rows cannot compute.</summary>
    bool Crosses(int id, int input) => _roles[id] == Role.Row && Root(input) is var root && _roles[root] == Role.Row && (root != input || !_rows[root].Equals(_rows[id]));

    void FindStored()
    {
        var work = new Queue<int>();
        void Store(int id)
        {
            if (_stored.Add(id)) work.Enqueue(id);
        }
        foreach (var node in _graph.Nodes.Where(n => _roles[n.Id] is Role.Anchor or Role.Join))
            foreach (var root in node.Inputs.Select(Root))
                if (_roles[root] == Role.Row) Store(root);
        foreach (var output in _graph.Outputs.Select(Root))
            if (_roles[output] == Role.Row) Store(output);
        while (work.Count > 0)
        {
            var value = work.Dequeue();
            foreach (var (input, reads) in Cone(value))
                if (reads == Read.MustStore) Store(input);
        }
    }

    enum Read { Inline, Clone, Load, MustStore }

    /// <summary>How the kernel that computes <paramref name="value"/> gets at a row value.</summary>
    Read HowToRead(int value, int input)
    {
        if (_stored.Contains(input)) return Read.Load;
        if (!_rows[input].Equals(_rows[value])) return Read.MustStore;
        if (_fromLoss[value] == _fromLoss[input]) return _depth[input] == _depth[value] ? Read.Inline : Read.MustStore;
        return _graph[input].Type.IsRowScalar && input < _graph.FirstBackward ? Read.MustStore : Read.Clone;
    }

    /// <summary>The row values behind a stored value, down to stored ones, each with how it is read.</summary>
    IEnumerable<(int Id, Read How)> Cone(int value)
    {
        var seen = new HashSet<int> { value };
        var stack = new Stack<int>();
        stack.Push(value);
        while (stack.Count > 0)
        {
            foreach (var input in _graph[stack.Pop()].Inputs)
            {
                var root = Root(input);
                if (_roles[root] != Role.Row || !seen.Add(root)) continue;
                var how = root != input ? (_stored.Contains(root) ? Read.Load : Read.MustStore) : HowToRead(value, root);
                yield return (root, how);
                if (how is Read.Inline or Read.Clone) stack.Push(root);
            }
        }
    }

    /// <summary>The row values a kernel with these outputs computes, in order; everything else it reads is loaded.</summary>
    public IReadOnlyList<int> Members(IEnumerable<int> outputs)
    {
        var members = new SortedSet<int>(outputs);
        foreach (var output in members.ToArray())
            foreach (var (id, how) in Cone(output))
                if (how is Read.Inline or Read.Clone) members.Add(id);
        return members.ToArray();
    }

    List<Cluster> Group()
    {
        var parent = _stored.ToDictionary(id => id);
        int Find(int id) => parent[id] == id ? id : parent[id] = Find(parent[id]);
        var owner = new Dictionary<(int Id, bool Backward, int Depth), int>();
        foreach (var value in _stored.OrderBy(id => id))
            foreach (var (id, how) in Cone(value))
            {
                // Two values that compute the same forward row again read the same tensors for it, so one kernel reads them once.
                var sameKernel = how == Read.Inline || how == Read.Clone && !_graph[id].Type.IsRowScalar
                    || how == Read.Load && _fromLoss[id] == _fromLoss[value] && _depth[id] == _depth[value];
                if (!sameKernel) continue;
                var key = (id, _fromLoss[value], _depth[value]);
                if (_stored.Contains(id)) parent[Find(value)] = Find(id);
                else if (owner.TryGetValue(key, out var first)) parent[Find(value)] = Find(first);
                else owner[key] = value;
            }
        return _stored.GroupBy(Find).Select(c => new Cluster(_fromLoss[c.Key], _depth[c.Key], c.OrderBy(id => id).ToArray())).OrderBy(c => c.Outputs[0]).ToList();
    }
}
