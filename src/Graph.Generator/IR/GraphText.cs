using System.Globalization;
using System.Linq;
using System.Text;

namespace Graph.Generator.IR;

/// <summary>The .graph form of a tensor graph: one node a line, `%43 = add %3 %42 : act[T,2304]  // layers.3 sum`. Same graph, same bytes.</summary>
public static class GraphText
{
    public static string Print(TensorGraph graph)
    {
        var text = new StringBuilder();
        foreach (var node in graph.Nodes)
        {
            if (node.Id == graph.FirstBackward) text.Append("// backward\n");
            text.Append(Line(graph, node)).Append('\n');
        }
        return text.Append("outputs").Append(string.Concat(graph.Outputs.Select(o => " " + Id(o)))).Append('\n').ToString();
    }

    public static string Line(TensorGraph graph, Node node)
    {
        var text = new StringBuilder(Id(node.Id)).Append(" = ").Append(node.Op.Name);
        foreach (var input in node.Inputs) text.Append(' ').Append(Id(input));
        if (node.Op.Attributes.Length > 0) text.Append(" {").Append(node.Op.Attributes).Append('}');
        text.Append(" : ").Append(node.Type.ToString()).Append("  // ");
        if (node.Scope.Length > 0) text.Append(node.Scope).Append(' ');
        return text.Append(node.Name).ToString();
    }

    static string Id(int id) => "%" + id.ToString(CultureInfo.InvariantCulture);
}
