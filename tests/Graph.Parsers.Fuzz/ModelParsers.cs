using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using Graph.Finetune.Adapters;
using Graph.Finetune.Checkpoints;
using Graph.Runtime;
using Graph.Runtime.Schedules;

namespace Graph.Parsers.Fuzz;

/// <summary>Files of a model and of an adapter.</summary>
static class ModelParsers
{
    static readonly Dictionary<string, string> NoMetadata = new() { ["format"] = "pt" };

    public static IEnumerable<Parser> Of(string fixtures)
    {
        var model = GraphModels.All.Single(m => m.Name == "nano");
        var schedule = ScheduleText.Parse(model.Schedule());
        var (plain, packed) = (Plain(), Packed(Path.Combine(fixtures, "nf4")));
        byte[] AdapterFile(string name) => AllParsers.File(fixtures, "run", name);
        return
        [
            new Parser("safetensors header", [Header(plain)], _ => json =>
            {
                var header = SafetensorsHeader.Parse("x.safetensors", json, 8 + json.Length + 24);
                if (header.Tensors.Values.Sum(t => t.Length) != 24) throw new UnnoticedException("the tensors are not the data");
            }),
            Parser.OfFile("safetensors", [plain, .. packed], "model.safetensors", folder => () => Read(folder)),
            Parser.OfFile("quant state", [.. packed.Select(State)], "state", folder => () => Compose(folder, packed), []),
            Parser.OfFile("index",
                [AllParsers.Utf8("""{"metadata":{"total_size":24},"weight_map":{"a":"model-1.safetensors","b":"model-1.safetensors","c":"model-2.safetensors"}}""")],
                "model.safetensors.index.json", folder => () => Read(folder),
                ("model-1.safetensors", File([Tensor("a", "F32", 2), Tensor("b", "BF16", 2)])), ("model-2.safetensors", File([Tensor("c", "F16", 2)]))),
            Parser.OfFile("config.json", [.. Configs(fixtures)], "config.json", folder => () => ModelConfig.Check(folder, model, schedule)),
            Parser.OfFile("adapter_config.json",
                [AdapterFile("adapter_config.json"), .. Patterns(Encoding.UTF8.GetString(AdapterFile("adapter_config.json")))], "adapter_config.json",
                folder => () => PeftAdapter.Load(folder, schedule), ("adapter_model.safetensors", AdapterFile("adapter_model.safetensors"))),
            Parser.OfFile("adapter weights", [AdapterFile("adapter_model.safetensors")], "adapter_model.safetensors",
                folder => () => PeftAdapter.Load(folder, schedule), ("adapter_config.json", AdapterFile("adapter_config.json"))),
        ];
    }

    static void Read(string folder)
    {
        using var checkpoint = Checkpoint.Open(folder);
        foreach (var name in checkpoint.Names.Where(n => !n.Contains(".quant_") && !n.Contains("absmax") && !n.Contains("nested")))
        {
            var tensor = checkpoint.Describe(name);
            checkpoint.Rows(name, 0, tensor.Shape.Count == 1 ? 1 : tensor.Shape[0], []);
            if (checkpoint.FormatOf(name) != Graph.Runtime.Planning.WeightFormat.Act) checkpoint.Codes(name);
        }
        checkpoint.Fingerprint();
    }

    // The state's bytes take the place of the valid one.
    static void Compose(string folder, byte[][] packed)
    {
        var state = System.IO.File.ReadAllBytes(Path.Combine(folder, "state"));
        var whole = packed[state.AsSpan().IndexOf("nested_offset"u8) >= 0 ? 0 : 1];
        System.IO.File.WriteAllBytes(Path.Combine(folder, "model.safetensors"),
            File([.. Tensors(whole).Select(t => t.Name.Contains(".quant_state.") ? t with { Shape = [state.Length], Data = state } : t)]));
        Read(folder);
    }

    static SafetensorsTensor Tensor(string name, string type, int elements) => new(name, type, [elements], new byte[elements * SafetensorsHeader.ElementBytes(type)]);

    static byte[] File(IReadOnlyList<SafetensorsTensor> tensors)
    {
        using var stream = new MemoryStream();
        SafetensorsWriter.Write(stream, tensors, NoMetadata);
        return stream.ToArray();
    }

    static byte[] Plain() => File([Tensor("a", "F32", 3), Tensor("model.b", "BF16", 4), new SafetensorsTensor("c", "F16", [1, 2], new byte[4])]);

    static byte[] Header(byte[] file) => file[8..(8 + (int)BinaryPrimitives.ReadInt64LittleEndian(file))];

    static IEnumerable<SafetensorsTensor> Tensors(byte[] file)
    {
        var header = SafetensorsHeader.Parse("seed", Header(file), file.Length);
        return header.Tensors.Values.Select(t => new SafetensorsTensor(t.Name, t.DType, t.Shape, file.AsMemory((int)(header.DataOffset + t.Offset), (int)t.Length)));
    }

    static byte[] State(byte[] file) => Tensors(file).Single(t => t.Name.Contains(".quant_state.")).Data.ToArray();

    // One packed weight of each kind: with nested absmax, and without.
    static byte[][] Packed(string fixtures) =>
    [
        .. new[] { "double", "plain" }.Select(kind => System.IO.File.ReadAllBytes(Path.Combine(fixtures, kind, "checkpoint-bnb", "model.safetensors")))
            .Select(file => File([.. Tensors(file).Where(t => t.Name.StartsWith("model.layers.0.self_attn.k_proj.weight", StringComparison.Ordinal))])),
    ];

    static IEnumerable<byte[]> Configs(string fixtures)
    {
        var config = Encoding.UTF8.GetString(AllParsers.File(fixtures, "reference", "checkpoint", "config.json"));
        yield return AllParsers.Utf8(config);
        yield return AllParsers.File(fixtures, "nf4", "double", "checkpoint-bnb", "config.json");
        string[] ropes =
        [
            """{"rope_theta": 10000.0, "rope_type": "linear", "factor": 2.0}""", """{"rope_theta": 10000.0, "rope_type": "dynamic", "factor": 4}""",
            """{"rope_theta": 10000.0, "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128, "beta_fast": 32, "beta_slow": 1, "truncate": false, "mscale": 1.0, "mscale_all_dim": 0.5}""",
            """{"rope_theta": 10000.0, "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}""",
            """{"sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}, "full_attention": {"rope_type": "linear", "factor": 2, "rope_theta": 10000.0}}""",
        ];
        var at = config.IndexOf("\"rope_parameters\"", StringComparison.Ordinal);
        var end = config.IndexOf('}', at) + 1;
        foreach (var rope in ropes)
        {
            yield return AllParsers.Utf8($"{config[..at]}\"rope_parameters\": {rope}{config[end..]}");
            yield return AllParsers.Utf8($"{config[..at]}\"rope_theta\": 10000.0, \"rope_scaling\": {rope.Replace("rope_type", "type")}{config[end..]}");
        }
    }

    static IEnumerable<byte[]> Patterns(string config)
    {
        yield return AllParsers.Utf8(config.Replace("\"rank_pattern\": {}", "\"rank_pattern\": {\"layers.0.self_attn.q_proj\": 1, \"mlp.(gate|up)_proj\": 4}")
            .Replace("\"alpha_pattern\": {}", "\"alpha_pattern\": {\"^model.*q_proj$\": 8.5}"));
        yield return AllParsers.Utf8(config.Replace("[\n    \"q_proj\"\n  ]", "\".*layers\\\\.0\\\\..*q_proj\""));
    }
}
