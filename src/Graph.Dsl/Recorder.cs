using System;
using System.Collections.Generic;
using System.Linq;

namespace Graph.Dsl;

/// <summary>
/// Runs model code for real and writes down its ops. The generator's interpreter must give the same trace, byte for byte:
/// that comparison, made for every model in the tests, is what makes the interpreter trustworthy.
/// </summary>
public sealed class Recorder
{
    [ThreadStatic] static Recorder? _current;

    readonly List<TraceNode> _nodes = [];
    readonly List<string> _scopes = [];
    string _root = "";

    Recorder() { }

    /// <summary>The trace of one model: its construction, then Forward on the token ids.</summary>
    public static IReadOnlyList<TraceNode> Record(Func<LanguageModel> create)
    {
        if (_current is not null) throw new InvalidOperationException("record: a model is being recorded on this thread already");
        var recorder = _current = new Recorder();
        try
        {
            var model = create();
            recorder._root = model.GetType().GetMethod(nameof(Module.Forward), [typeof(Tensor)])!.DeclaringType!.Name + "." + nameof(Module.Forward);
            model.Forward(Add("input", [], ("name", "ids")));
            return recorder._nodes;
        }
        finally
        {
            _current = null;
        }
    }

    internal static Tensor Add(string op, Tensor[] inputs, params (string Name, object? Value)[] attributes)
    {
        var recorder = Current(op);
        recorder._nodes.Add(new TraceNode(recorder._nodes.Count, op, inputs.Select(t => t.Id).ToArray(), attributes.Select(a => KeyValuePair.Create(a.Name, a.Value)).ToArray(),
            recorder._scopes.Count > 0 ? string.Join(".", recorder._scopes) : recorder._root));
        return new Tensor(recorder._nodes.Count - 1);
    }

    internal static IDisposable Enter(string name) => new OpenScope(Current("Scope"), name);

    static Recorder Current(string op) =>
        _current ?? throw new InvalidOperationException(op + ": model code has no numbers to compute with; "
            + "it is read by the generator at build time, or run inside Recorder.Record");

    sealed class OpenScope : IDisposable
    {
        readonly Recorder _recorder;

        public OpenScope(Recorder recorder, string name)
        {
            _recorder = recorder;
            recorder._scopes.Add(name);
        }

        public void Dispose() => _recorder._scopes.RemoveAt(_recorder._scopes.Count - 1);
    }
}
