using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;

namespace Graph.Generator.Tracing;

/// <summary>
/// A traced variant. Two are equal when their texts are: the text, not the code it comes from, decides whether anything is compiled again. It holds no symbols and no syntax.
/// </summary>
public sealed class TracedModel(
    string variant, IReadOnlyList<TraceNode> nodes, IReadOnlyList<KeyValuePair<string, object?>> config, IReadOnlyList<string> changes, IReadOnlyList<string> overrides,
    bool full = false) : IEquatable<TracedModel>
{
    public string Variant => variant;
    public IReadOnlyList<TraceNode> Nodes => nodes;
    /// <summary>What config.json must say, in Hugging Face's names.</summary>
    public IReadOnlyList<KeyValuePair<string, object?>> Config => config;
    /// <summary>Fields of it that config.json may have otherwise, and patterns of tensors that the model leaves out, both on purpose.</summary>
    public IReadOnlyList<string> Changes => changes;
    /// <summary>Members of base classes that it overrides while it inherits their CheckpointConfig: what no checkpoint can confirm.</summary>
    public IReadOnlyList<string> Overrides => overrides;
    /// <summary>All weights are trained, and no adapters.</summary>
    public bool Full => full;
    public string Text { get; } = Print(variant, nodes, config, changes, overrides, full);

    static string Print(string variant, IReadOnlyList<TraceNode> nodes, IReadOnlyList<KeyValuePair<string, object?>> config, IReadOnlyList<string> changes,
        IReadOnlyList<string> overrides, bool full)
    {
        var text = new StringBuilder("model ").Append(variant).Append(full ? " full" : "").Append('\n');
        foreach (var field in config) text.Append("config ").Append(field.Key).Append('=').Append(Print(field.Value)).Append('\n');
        foreach (var change in changes) text.Append("change ").Append(change).Append('\n');
        foreach (var member in overrides) text.Append("override ").Append(member).Append('\n');
        foreach (var node in nodes) TraceText.Print(text, node);
        return text.ToString();
    }

    static string Print(object? value) => value is Array list ? "[" + string.Join(",", list.Cast<object?>().Select(TraceText.Print)) + "]" : TraceText.Print(value);

    public bool Equals(TracedModel? other) => other is not null && other.Text == Text;
    public override bool Equals(object? obj) => obj is TracedModel other && Equals(other);
    public override int GetHashCode() => Text.GetHashCode();
}
