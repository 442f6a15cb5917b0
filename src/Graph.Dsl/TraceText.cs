using System.Collections.Generic;
using System.Globalization;
using System.Text;

#if GRAPH_GENERATOR
namespace Graph.Generator.Tracing;
#else
namespace Graph.Dsl;
#endif

/// <summary>
/// One recorded op. Attributes are (name, value) with values int, double, string, bool or null; Scope is the path of
/// open scopes ("layers.3.self_attn"), or the method that Forward runs in ("Gemma2Model.Forward").
/// </summary>
public sealed record TraceNode(int Id, string Op, IReadOnlyList<int> Inputs, IReadOnlyList<KeyValuePair<string, object?>> Attributes, string Scope);

/// <summary>Prints a trace canonically: this text is a graph's identity. Linked into the recorder and the interpreter, whose outputs must agree byte for byte.</summary>
public static class TraceText
{
    public static string Print(IReadOnlyList<TraceNode> nodes)
    {
        var text = new StringBuilder();
        foreach (var node in nodes) Print(text, node);
        return text.ToString();
    }

    // %12 = rms_norm %11 %4 {eps=1E-06}  // layers.3.self_attn
    public static void Print(StringBuilder text, TraceNode node)
    {
        text.Append('%').Append(node.Id).Append(" = ").Append(node.Op);
        foreach (var input in node.Inputs) text.Append(" %").Append(input);
        if (node.Attributes.Count > 0)
        {
            text.Append(" {");
            for (var i = 0; i < node.Attributes.Count; i++)
            {
                if (i > 0) text.Append(", ");
                text.Append(node.Attributes[i].Key).Append('=').Append(Print(node.Attributes[i].Value));
            }
            text.Append('}');
        }
        if (node.Scope.Length > 0) text.Append("  // ").Append(node.Scope);
        text.Append('\n');
    }

    /// <summary>Invariant and round-trip: the shortest text that reads back as the same value ("R" on both frameworks; "null" for null).</summary>
    public static string Print(object? value) => value switch
    {
        null => "null",
        bool b => b ? "true" : "false",
        int i => i.ToString(CultureInfo.InvariantCulture),
        double d => d.ToString("R", CultureInfo.InvariantCulture),
        string s => "'" + s + "'",
        _ => throw new System.ArgumentException("trace: attribute of type " + value.GetType().Name + " cannot be printed"),
    };
}
