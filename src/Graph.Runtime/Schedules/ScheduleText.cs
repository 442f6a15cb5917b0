using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text;

#if GRAPH_GENERATOR
namespace Graph.Generator.Schedules;
#else
namespace Graph.Runtime.Schedules;
#endif

/// <summary>
/// The schedule's text form: what the generator embeds, the snapshots show, and the runtime parses. One line per item; Parse(Print(s)) prints the same bytes.
/// <code>
/// schedule 9b layers=42
/// group 0 in=3584 model.layers.0.self_attn.q_proj:4096 model.layers.0.self_attn.k_proj:2048
/// tensor layers.0.attn_in activation act[T,3584+R0] layer=0 boundary
/// forward
///   L0 gemm nt layers.0.qkv = layers.0.attn_in[:,0:3584] group.0[0:8192,0:3584] scale=lora_scale
///   L0 kernel k03_add_rms_norm out=2 inplace=0 layers.0.x layers.0.attn_in[:,0:3584] ...
///   L-1 cross_entropy k09 dx=... loss=... x=... table=... labels=... inverse_labels=inv_labels
/// backward
/// recipe layers.0.attn_in
///   ...
/// </code>
/// </summary>
public static class ScheduleText
{
    public static string Print(Schedule schedule)
    {
        var text = new StringBuilder();
        text.Append("schedule ").Append(schedule.Variant).Append(" layers=").Append(I(schedule.Layers)).Append('\n');
        foreach (var group in schedule.Groups)
        {
            text.Append("group ").Append(I(group.Id)).Append(" in=").Append(I(group.In));
            foreach (var linear in group.Linears) text.Append(' ').Append(linear.Name).Append(':').Append(I(linear.Out));
            text.Append('\n');
        }
        foreach (var tensor in schedule.Tensors)
        {
            text.Append("tensor ").Append(tensor.Name).Append(' ').Append(Lower(tensor.Kind)).Append(' ').Append(Lower(tensor.Type)).Append('[');
            text.Append(string.Join(",", (tensor.Tokens ? new[] { "T" } : new string[0]).Concat(tensor.Dims.Select(Print)))).Append(']');
            if (tensor.Layer >= 0) text.Append(" layer=").Append(I(tensor.Layer));
            if (tensor.Group >= 0) text.Append(" group=").Append(I(tensor.Group));
            if (tensor.Boundary) text.Append(" boundary");
            text.Append('\n');
        }
        text.Append("forward\n");
        foreach (var launch in schedule.Forward) text.Append("  ").Append(Print(launch)).Append('\n');
        text.Append("backward\n");
        foreach (var launch in schedule.Backward) text.Append("  ").Append(Print(launch)).Append('\n');
        foreach (var recipe in schedule.Recipes)
        {
            text.Append("recipe ").Append(recipe.Tensor).Append('\n');
            foreach (var launch in recipe.Launches) text.Append("  ").Append(Print(launch)).Append('\n');
        }
        return text.ToString();
    }

    public static string Print(Extent e) => e.Group < 0 ? I(e.Fixed) : e.Fixed == 0 ? "R" + I(e.Group) : I(e.Fixed) + "+R" + I(e.Group);

    public static string Print(View v) =>
        v.Rows is null && v.Cols is null ? v.Tensor : v.Tensor + "[" + Print(v.Rows) + "," + Print(v.Cols) + "]";

    public static string Print(Launch launch) => launch switch
    {
        GemmLaunch g => "L" + I(g.Layer) + " gemm " + Lower(g.Layout) + " " + Print(g.D) + (g.Accumulate ? " += " : " = ") + Print(g.A) + " " + Print(g.B) + (g.Scale is null ? "" : " scale=" + g.Scale),
        KernelLaunch k => "L" + I(k.Layer) + " kernel " + k.Kernel + " out=" + I(k.Outputs) + " inplace=" + I(k.InPlace) + (k.Window is { } window ? " window=" + I(window) : "") + (k.Epilogue is { } places ? " epilogue=" + string.Join(",", places.Select(I)) : "") + string.Concat(k.Arguments.Select(a => " " + Print(a))),
        CrossEntropyLaunch c => "L" + I(c.Layer) + " cross_entropy " + c.Kernel + " dx=" + (c.DX is { } dx ? Print(dx) : "-") + " loss=" + Print(c.Loss) + " x=" + Print(c.X) + " table=" + Print(c.Table)
            + " labels=" + Print(c.Labels) + " inverse_labels=" + c.InverseLabels,
        _ => throw new ArgumentException("schedule: unknown launch " + launch.GetType().Name),
    };

    /// <exception cref="FormatException">A line does not follow the grammar; the message has its number and text.</exception>
    public static Schedule Parse(string text)
    {
        string variant = "";
        var layers = 0;
        var groups = new List<LinearGroup>();
        var tensors = new List<ScheduleTensor>();
        var forward = new List<Launch>();
        var backward = new List<Launch>();
        var recipes = new List<Recipe>();
        List<Launch>? current = null;
        var number = 0;
        foreach (var line in text.Split('\n'))
        {
            number++;
            var words = line.Split(new[] { ' ' }, StringSplitOptions.RemoveEmptyEntries);
            if (words.Length == 0) continue;
            try
            {
                switch (words[0])
                {
                    case "schedule": variant = words[1]; layers = Int(After(words[2], "layers=")); break;
                    case "group":
                        groups.Add(new LinearGroup(Int(words[1]), Int(After(words[2], "in=")), words.Skip(3).Select(ParseLinear).ToArray()));
                        break;
                    case "tensor": tensors.Add(ParseTensor(words)); break;
                    case "forward": current = forward; break;
                    case "backward": current = backward; break;
                    case "recipe":
                        current = new List<Launch>();
                        recipes.Add(new Recipe(words[1], current));
                        break;
                    default:
                        if (current is null || words[0][0] != 'L') throw new FormatException("unknown item");
                        current.Add(ParseLaunch(words));
                        break;
                }
            }
            catch (Exception e) when (e is FormatException or IndexOutOfRangeException or ArgumentException)
            {
                throw new FormatException("schedule: line " + I(number) + " '" + line + "' cannot be read: " + e.Message);
            }
        }
        return new Schedule(variant, layers, groups, tensors, forward, backward, recipes);
    }

    static GroupLinear ParseLinear(string word)
    {
        var colon = word.LastIndexOf(':');
        return new GroupLinear(word.Substring(0, colon), Int(word.Substring(colon + 1)));
    }

    static ScheduleTensor ParseTensor(string[] words)
    {
        var open = words[3].IndexOf('[');
        var inside = words[3].Substring(open + 1, words[3].Length - open - 2);
        var dims = inside.Length == 0 ? new string[0] : inside.Split(',');
        var tokens = dims.Length > 0 && dims[0] == "T";
        int layer = -1, group = -1;
        var boundary = false;
        foreach (var word in words.Skip(4))
        {
            if (word.StartsWith("layer=", StringComparison.Ordinal)) layer = Int(After(word, "layer="));
            else if (word.StartsWith("group=", StringComparison.Ordinal)) group = Int(After(word, "group="));
            else if (word == "boundary") boundary = true;
            else throw new FormatException("unknown attribute " + word);
        }
        return new ScheduleTensor(words[1], Enum<TensorKind>(words[2]), Enum<ElementType>(words[3].Substring(0, open)), tokens,
            dims.Skip(tokens ? 1 : 0).Select(ParseExtent).ToArray(), layer, group, boundary);
    }

    static Launch ParseLaunch(string[] words)
    {
        var layer = Int(words[0].Substring(1));
        switch (words[1])
        {
            case "gemm":
                return new GemmLaunch(layer, Enum<GemmLayout>(words[2]), ParseView(words[3]), ParseView(words[5]), ParseView(words[6]), words.Length > 7 ? After(words[7], "scale=") : null, words[4] == "+=");
            case "kernel":
                int? window = words.Length > 5 && words[5].StartsWith("window=", StringComparison.Ordinal) ? Int(After(words[5], "window=")) : null;
                var rest = words.Skip(window is null ? 5 : 6);
                var epilogue = rest.FirstOrDefault() is { } mark && mark.StartsWith("epilogue=", StringComparison.Ordinal) ? After(mark, "epilogue=").Split(',').Select(Int).ToArray() : null;
                return new KernelLaunch(layer, words[2], rest.Skip(epilogue is null ? 0 : 1).Select(ParseView).ToArray(), Int(After(words[3], "out=")), Int(After(words[4], "inplace=")), window, epilogue);
            case "cross_entropy":
                return new CrossEntropyLaunch(layer, words[2], After(words[3], "dx=") is var dx && dx == "-" ? null : ParseView(dx), ParseView(After(words[4], "loss=")), ParseView(After(words[5], "x=")),
                    ParseView(After(words[6], "table=")), ParseView(After(words[7], "labels=")), After(words[8], "inverse_labels="));
            default: throw new FormatException("unknown launch " + words[1]);
        }
    }

    public static View ParseView(string word)
    {
        var open = word.IndexOf('[');
        if (open < 0) return new View(word);
        var parts = word.Substring(open + 1, word.Length - open - 2).Split(',');
        return new View(word.Substring(0, open), ParseRange(parts[0]), ParseRange(parts[1]));
    }

    static string Print(ExtentRange? range) => range is { } r ? Print(r.Start) + ":" + Print(r.End) : ":";

    static ExtentRange? ParseRange(string text)
    {
        if (text == ":") return null;
        var colon = text.IndexOf(':');
        return new ExtentRange(ParseExtent(text.Substring(0, colon)), ParseExtent(text.Substring(colon + 1)));
    }

    static Extent ParseExtent(string text)
    {
        var r = text.IndexOf('R');
        if (r < 0) return new Extent(Int(text));
        return new Extent(r == 0 ? 0 : Int(text.Substring(0, r - 1)), Int(text.Substring(r + 1)));
    }

    static string After(string word, string prefix) =>
        word.StartsWith(prefix, StringComparison.Ordinal) ? word.Substring(prefix.Length) : throw new FormatException("expected " + prefix + " but found " + word);

    // Snake case, so that GradA prints as grad_a.
    static string Lower<T>(T value) where T : struct =>
        string.Concat(value.ToString()!.Select((c, i) => char.IsUpper(c) ? (i > 0 ? "_" : "") + char.ToLowerInvariant(c) : c.ToString()));

    static T Enum<T>(string word) where T : struct =>
        System.Enum.TryParse<T>(word.Replace("_", ""), true, out var value) ? value : throw new FormatException("unknown word " + word);

    static int Int(string text) => int.Parse(text, NumberStyles.Integer, CultureInfo.InvariantCulture);
    static string I(int value) => value.ToString(CultureInfo.InvariantCulture);
}
