using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;

#if GRAPH_GENERATOR
namespace Graph.Generator.Schedules;
#else
namespace Graph.Runtime.Schedules;
#endif

/// <summary>Reads the text that <see cref="ScheduleText"/> prints.</summary>
sealed class ScheduleReader
{
    readonly Dictionary<int, Launch> _launches = new();

    /// <exception cref="FormatException">A line does not follow the grammar; the message has its number and text.</exception>
    public Schedule Read(string text)
    {
        string variant = "";
        var layers = 0;
        var sharedScale = false;
        var adapters = new List<AdapterSet>();
        var tensors = new List<ScheduleTensor>();
        var sections = new Dictionary<string, List<Launch>> { ["forward"] = new(), ["backward"] = new(), ["recompute"] = new() };
        var recipes = new List<Recipe>();
        var fusions = new List<Fusion>();
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
                    case "schedule": variant = words[1]; layers = Int(After(words[2], "layers=")); sharedScale = words.Contains("shared_scale"); break;
                    case "adapters": adapters.Add(new AdapterSet(Int(words[1]), Int(After(words[2], "in=")), Int(After(words[3], "out=")), words.Skip(4).Select(Adapter)
                    .ToArray())); break;
                    case "tensor": tensors.Add(Tensor(words)); break;
                    case "recipe": recipes.Add(new Recipe(words[1], words.Skip(3).Select(w => _launches[Int(w)]).ToArray())); break;
                    case "fusion": fusions.Add(ReadFusion(words)); break;
                    case var section when sections.TryGetValue(section, out var list): current = list; break;
                    default:
                        if (current is null) throw new FormatException("unknown item");
                        var launch = ReadLaunch(words);
                        _launches.Add(launch.Id, launch);
                        current.Add(launch);
                        break;
                }
            }
            catch (Exception e) when (e is FormatException or IndexOutOfRangeException or ArgumentException or KeyNotFoundException)
            {
                throw new FormatException("schedule: line " + number.ToString(CultureInfo.InvariantCulture) + " '" + line + "' cannot be read: " + e.Message);
            }
        }
        return new Schedule(variant, layers, adapters, tensors, sections["forward"], sections["backward"], sections["recompute"], recipes, fusions) { SharedScale = sharedScale };
    }

    // NAME:START:ROWS
    static StackedAdapter Adapter(string word)
    {
        var last = word.LastIndexOf(':');
        var first = word.LastIndexOf(':', last - 1);
        return new StackedAdapter(word.Substring(0, first), Int(word.Substring(last + 1)), Int(word.Substring(first + 1, last - first - 1)));
    }

    static ScheduleTensor Tensor(string[] words)
    {
        var open = words[3].IndexOf('[');
        var inside = words[3].Substring(open + 1, words[3].Length - open - 2);
        var dims = inside.Length == 0 ? new string[0] : inside.Split(',');
        var tokens = dims.Length > 0 && dims[0] == "T";
        var tensor = new ScheduleTensor(words[1], Enum<TensorKind>(words[2]), Enum<ElementType>(words[3].Substring(0, open)),
            tokens, dims.Skip(tokens ? 1 : 0).Select(ReadExtent).ToArray());
        foreach (var word in words.Skip(4))
        {
            var (name, value) = word.IndexOf('=') is > 0 and var at ? (word.Substring(0, at), word.Substring(at + 1)) : (word, "");
            tensor = name switch
            {
                "layer" => tensor with { Layer = Int(value) },
                "stack" => tensor with { Stack = Int(value) },
                "boundary" => tensor with { Boundary = true },
                "theta" => tensor with { Rope = new RopeFacts(double.Parse(value, CultureInfo.InvariantCulture), null) },
                "layers" => tensor with { Rope = tensor.Rope! with { Layers = value } },
                "parts" => tensor with { Parts = value.Split('+')
                    .Select(p => new WeightPart(p.Substring(0, p.LastIndexOf(':')), Int(p.Substring(p.LastIndexOf(':') + 1)))).ToArray() },
                _ => throw new FormatException("unknown attribute " + word),
            };
        }
        return tensor;
    }

    static Launch ReadLaunch(string[] words)
    {
        var (id, layer) = (Int(words[0]), Int(After(words[1], "L")));
        switch (words[2])
        {
            case "gemm":
                var segments = new List<GemmSegment>();
                var at = 6;
                do
                {
                    segments.Add(new GemmSegment(ReadView(words[at]), words[at + 1] == "*" ? ReadView(words[at + 2])
                        : throw new FormatException("expected * but found " + words[at + 1])));
                    at += 4;
                }
                while (at <= words.Length && words[at - 1] == "+");
                var scale = at <= words.Length ? Scale(After(words[at - 1], "scale=")) : ScaleFactor.One;
                return new GemmLaunch(id, layer, Enum<GemmLayout>(words[3]), ReadView(words[4]), segments, scale, words[5] == "+=");
            case "cross_entropy":
                var sums = words.Skip(10).FirstOrDefault(w => w.StartsWith("sums=", StringComparison.Ordinal)) is { } s ? After(s, "sums=").Split(',') : null;
                var dtable = words.Skip(10).FirstOrDefault(w => w.StartsWith("dtable=", StringComparison.Ordinal));
                return new CrossEntropyLaunch(id, layer, words[3], After(words[4], "dx=") is var dx && dx == "-" ? null
                    : ReadView(dx), ReadView(After(words[5], "loss=")), ReadView(After(words[6], "x=")),
                    ReadView(After(words[7], "table=")), ReadView(After(words[8], "labels=")), Enum<StepScalar>(After(words[9], "inverse_labels=")), sums is null ? null
                        : new LossFromSums(sums[0], sums[1])) { DTable = dtable is null ? null : ReadView(After(dtable, "dtable=")) };
            default:
                var kind = Enum<KernelKind>(words[2]);
                var arguments = words.Skip(6).ToList();
                AttentionFacts? attention = null;
                if (arguments.Count > 0 && arguments[0].StartsWith("heads=", StringComparison.Ordinal))
                {
                    var (heads, products) = (After(arguments[0], "heads=").Split(':', 'x'), Int(After(arguments[1], "products=")));
                    int? window = arguments.Count > 2 && arguments[2].StartsWith("window=", StringComparison.Ordinal) ? Int(After(arguments[2], "window=")) : null;
                    arguments.RemoveRange(0, window is null ? 2 : 3);
                    attention = new AttentionFacts(Int(heads[0]), Int(heads[1]), Int(heads[2]), window, products);
                }
                return new KernelLaunch(id, layer, kind, words[3], arguments.Select(ReadView).ToArray(), Int(After(words[4], "out=")), Int(After(words[5], "inplace=")),
                    attention);
        }
    }

    static Fusion ReadFusion(string[] words)
    {
        var (first, second) = (Int(words[2]), Int(words[3]));
        return words[1] switch
        {
            "epilogue" => new EpilogueFusion(first, second, words[4], After(words[5], "places=").Split(',').Select(Int).ToArray()),
            "rank_gradients" => new RankGradientsFusion(first, second),
            "score_gradients" => new ScoreGradientsFusion(first, second, words[4]),
            _ => throw new FormatException("unknown fusion " + words[1]),
        };
    }

    static View ReadView(string word)
    {
        var open = word.IndexOf('[');
        if (open < 0) return new View(word);
        var parts = word.Substring(open + 1, word.Length - open - 2).Split(':');
        return new View(word.Substring(0, open), new ColumnRange(Int(parts[0]), Int(parts[1])));
    }

    static Extent ReadExtent(string text) => text[0] == 'R' ? new Extent(0, Int(text.Substring(1))) : new Extent(Int(text));

    // 0.5*lora_scale*lora_scale
    static ScaleFactor Scale(string text)
    {
        var factors = text.Split('*');
        if (factors.Skip(1).Any(f => f != ScheduleText.Lower(StepScalar.LoraScale))) throw new FormatException("unknown factor in " + text);
        return new ScaleFactor(double.Parse(factors[0], CultureInfo.InvariantCulture), factors.Length - 1);
    }

    static string After(string word, string prefix) =>
        word.StartsWith(prefix, StringComparison.Ordinal) ? word.Substring(prefix.Length) : throw new FormatException("expected " + prefix + " but found " + word);

    static T Enum<T>(string word) where T : struct =>
        System.Enum.TryParse<T>(word.Replace("_", ""), true, out var value) ? value : throw new FormatException("unknown word " + word);

    static int Int(string text) => int.Parse(text, NumberStyles.Integer, CultureInfo.InvariantCulture);
}
