using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using Graph.Finetune.Checkpoints;
using Graph.Finetune.Training;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Graph.Runtime.Quantization;
using Graph.Runtime.Schedules;
using Xunit;
using static Graph.Finetune.Tests.Checkpoints.PackedFixture;

namespace Graph.Finetune.Tests.Checkpoints;

/// <summary>Checkpoints in bitsandbytes' NF4, against the goldens of tests/fixtures/nf4.</summary>
public class PackedWeightTests
{
    static readonly Graph.Runtime.CompiledModel Model = GraphModels.All.Single(m => m.Name == "nano");
    static readonly Schedule Nano = ScheduleText.Parse(Model.Schedule());

    const string Down = "model.layers.0.mlp.down_proj.weight", Q = "model.layers.2.self_attn.q_proj.weight";

    [Theory, InlineData("double"), InlineData("plain")]
    public void Rows_OfAPackedWeight_AreTheGoldensBits(string kind)
    {
        using var checkpoint = Checkpoint.Open(Directory(kind));
        checkpoint.Check(Nano, Model);
        Assert.Equal(28, Linears(kind).Count());
        foreach (var golden in Linears(kind))
        {
            var stored = checkpoint.Describe(golden.Name);
            Assert.Equal(golden.Value.GetProperty("shape").EnumerateArray().Select(d => d.GetInt32()), stored.Shape);
            Assert.Equal(StoredType.Bf16, stored.Type);
            var whole = checkpoint.Rows(golden.Name, 0, stored.Shape[0], []).ToArray();
            Assert.Equal(golden.Value.GetProperty("dequantized_bf16_sha256").GetString(), Sha(whole));
            // Any rows, into a buffer of the caller's.
            var buffer = new byte[1 << 16];
            var row = 2 * stored.Shape[1];
            Assert.True(checkpoint.Rows(golden.Name, 3, 5, buffer).SequenceEqual(whole.AsSpan(3 * row, 5 * row)));
            var tensor = checkpoint.Codes(golden.Name);
            Assert.Equal(kind == "double" ? WeightFormat.Nf4 : WeightFormat.Nf4Plain, checkpoint.FormatOf(golden.Name));
            Assert.Equal((kind == "double", golden.Value.GetProperty("packed_sha256").GetString()), (tensor.IsNested, Sha(tensor.Codes)));
        }
        Assert.Equal(WeightFormat.Act, checkpoint.FormatOf("model.norm.weight"));
        Assert.Equal(StoredType.F32, checkpoint.Describe("model.norm.weight").Type);
    }

    /// <summary>The map that quantising uses is the one that checkpoints hold.</summary>
    [Fact]
    public void DynamicMap_IsTheCheckpoints()
    {
        Assert.Equal(Goldens("double").GetProperty("nested_quant_map_sha256").GetString(), Sha(MemoryMarshal.AsBytes(Nf4.DynamicMap.ToArray().AsSpan())));
    }

    /// <summary>Where no value lies near a threshold the codes are the goldens', byte for byte; else as many differ as lie there, by one.</summary>
    [Fact]
    public void Quantize_TheReferenceCheckpoint_GivesTheGoldensCodes()
    {
        using var source = Checkpoint.Open(Fixture.Checkpoint);
        using var packed = Checkpoint.Open(Directory("double"));
        var quantizer = new Nf4Quantizer(1 << 20);
        var (equal, exceptions) = (0, 0);
        foreach (var golden in Linears("double"))
        {
            var shape = source.Describe(golden.Name).Shape;
            var elements = (long)shape[0] * shape[1];
            quantizer.Add(0, source.Rows(golden.Name, 0, shape[0], []), bf16: false);
            var ours = quantizer.Finish(elements);
            var theirs = packed.Codes(golden.Name);
            int Differences(ReadOnlySpan<byte> a, ReadOnlySpan<byte> b, int halves)
            {
                Assert.Equal(b.Length, a.Length);
                var count = 0;
                for (var i = 0; i < a.Length; i++)
                    for (var h = 0; h < halves; h++)
                    {
                        var (x, y) = halves == 1 ? (a[i], b[i]) : (a[i] >> 4 * h & 15, b[i] >> 4 * h & 15);
                        if (x == y) continue;
                        Assert.Equal(1, Math.Abs(x - y));
                        count++;
                    }
                return count;
            }
            var codes = Differences(ours.Codes, theirs.Codes, 2);
            var absmax = Differences(ours.AbsmaxCodes, theirs.AbsmaxCodes, 1);
            Assert.InRange(codes, 0, golden.Value.GetProperty("near_threshold").GetInt32());
            Assert.InRange(absmax, 0, golden.Value.GetProperty("near_threshold_nested").GetInt32());
            // The order of a sum in fp32; the mean in double rounds to the float next to it.
            Assert.Equal((float)golden.Value.GetProperty("mean_in_float64").GetDouble(), ours.Offset, 1e-9f);
            Assert.Equal(golden.Value.GetProperty("nested_offset").GetDouble(), ours.Offset, 1e-6 * ours.Offset);
            equal += codes == 0 && absmax == 0 ? 1 : 0;
            exceptions += codes + absmax;
        }
        Assert.InRange(equal, 20, 28);
        Assert.InRange(exceptions, 0, 11);
    }

    [Fact]
    public void Open_CodesInAnotherDtype_AreTheSameBytes()
    {
        using var scratch = new Scratch();
        // bnb_4bit_quant_storage bfloat16, as FSDP wants it; and a row in place of a column.
        var directory = Write(scratch, "double", tensors => tensors.Select(t => t.Name == Down ? new SafetensorsTensor(t.Name, "BF16", [t.Data.Length / 2, 1], t.Data)
            : t.Name == Q ? new SafetensorsTensor(t.Name, "F32", [1, t.Data.Length / 4], t.Data) : t));
        using var changed = Checkpoint.Open(directory);
        using var known = Checkpoint.Open(Directory("double"));
        changed.Check(Nano, Model);
        foreach (var name in new[] { Down, Q }) Assert.True(changed.Rows(name, 0, 128, []).SequenceEqual(known.Rows(name, 0, 128, [])));
    }

    /// <summary>llm_int8_skip_modules: what was left out lies there as it is.</summary>
    [Fact]
    public void Open_ALinearThatWasLeftOut_IsReadAsItIs()
    {
        using var scratch = new Scratch();
        using var plain = Checkpoint.Open(Fixture.Checkpoint);
        var directory = Write(scratch, "double", tensors => tensors.Where(t => !t.Name.StartsWith(Q + ".", StringComparison.Ordinal))
            .Select(t => t.Name == Q ? new SafetensorsTensor(Q, "F32", [128, 128], plain.Rows(Q, 0, 128, []).ToArray()) : t),
            config => config["quantization_config"]!["llm_int8_skip_modules"] = new JsonArray("model.layers.2.self_attn.q_proj", "lm_head"));
        ModelConfig.Check(directory, Model, Nano);
        using var checkpoint = Checkpoint.Open(directory);
        checkpoint.Check(Nano, Model);
        Assert.Equal(WeightFormat.Act, checkpoint.FormatOf(Q));
        Assert.True(checkpoint.Rows(Q, 0, 128, []).SequenceEqual(plain.Rows(Q, 0, 128, [])));
        Assert.Equal(WeightFormat.Nf4, checkpoint.FormatOf(Down));
    }

    static SafetensorsTensor Cut(SafetensorsTensor t, int bytes)
    {
        var size = t.DType == "F32" ? 4 : 1;
        return t with { Shape = t.Shape.Count == 2 ? [(t.Data.Length - bytes) / size, 1] : [(t.Data.Length - bytes) / size], Data = t.Data[..^bytes] };
    }

    static Func<IEnumerable<SafetensorsTensor>, IEnumerable<SafetensorsTensor>> Each(string name, Func<SafetensorsTensor, SafetensorsTensor?> change) =>
        tensors => tensors.Select(t => t.Name == name ? change(t) : t).OfType<SafetensorsTensor>();

    static readonly Dictionary<string, (string Kind, string Says, Func<IEnumerable<SafetensorsTensor>, IEnumerable<SafetensorsTensor>> Change)> Faults = new()
    {
        ["another block size"] = ("double", "has the blocksize 128, but 64 is what can be read", Each(Down + State, t => WithState(t, "blocksize", 128))),
        ["no block size"] = ("plain", "has the blocksize null", Each(Down + State, t => WithState(t, "blocksize", null))),
        ["another nested block size"] = ("double", "has the nested_blocksize 512, but 256", Each(Down + State, t => WithState(t, "nested_blocksize", 512))),
        ["fp4 in the state"] = ("double", "has the quant_type \"fp4\", but \"nf4\"", Each(Down + State, t => WithState(t, "quant_type", "fp4"))),
        ["fp4 in the name"] = ("double", "is quantized as fp4", Each(Down + State, t => t with { Name = Down + ".quant_state.bitsandbytes__fp4" })),
        ["offset no number"] = ("double", "has the nested_offset \"0.1\"", Each(Down + State, t => WithState(t, "nested_offset", "0.1"))),
        ["offset too large"] = ("double", "has the nested_offset 1E+300", Each(Down + State, t => WithState(t, "nested_offset", 1e300))),
        ["state no JSON"] = ("double", "is not JSON", Each(Down + State, t => Cut(t, 1))),
        ["truncated absmax"] = ("double", ".absmax has 511 bytes, but an absmax for each 64 elements of " + Down + " [128,256] need 512", Each(Down + ".absmax", t => Cut(t, 1))),
        ["truncated plain absmax"] = ("plain", ".absmax has 2044 bytes, but", Each(Down + ".absmax", t => Cut(t, 4))),
        ["truncated nested absmax"] = ("double", ".nested_absmax has 4 bytes, but", Each(Down + ".nested_absmax", t => Cut(t, 4))),
        ["no nested absmax"] = ("double", "there is no tensor " + Down + ".nested_absmax, which", Each(Down + ".nested_absmax", _ => null)),
        ["no absmax"] = ("plain", "there is no tensor " + Down + ".absmax, which", Each(Down + ".absmax", _ => null)),
        ["no codes"] = ("plain", "there is no tensor " + Down + ", which", Each(Down, _ => null)),
        ["absmax of another type"] = ("plain", ".absmax is F16, but F32", Each(Down + ".absmax", t => new SafetensorsTensor(t.Name, "F16", [t.Data.Length / 2], t.Data))),
        ["truncated codes"] = ("double", Down + " has 16383 bytes, but codes of", Each(Down, t => Cut(t, 1))),
        ["codes of no column"] = ("double", "but codes are one column", Each(Down, t => t with { Shape = [128, 128] })),
        ["wrong map"] = ("double", ".quant_map is not the table of NF4",
            Each(Down + ".quant_map", t => t with { Data = t.Data.ToArray().Select((b, i) => i == 17 ? (byte)(b ^ 1) : b).ToArray() })),
        ["wrong nested map"] = ("double", ".nested_quant_map is not bitsandbytes' dynamic map",
            Each(Down + ".nested_quant_map", t => t with { Data = t.Data.ToArray().Reverse().ToArray() })),
        ["no state"] = ("double", Down + " is U8; weights must be F32, BF16 or F16, or packed in NF4", Each(Down + State, _ => null)),
        ["another shape"] = ("double", Down + " is [256,128] but nano needs [128,256]", Each(Down + State, t => WithState(t, "shape", new JsonArray(256, 128)))),
        ["larger shape"] = ("double", Down + " has 16384 bytes, but codes of " + Down + " [128,512] need 32768",
            Each(Down + State, t => WithState(t, "shape", new JsonArray(128, 512)))),
        ["shape of one extent"] = ("double", "has the shape [32768]; a weight has two extents", Each(Down + State, t => WithState(t, "shape", new JsonArray(32768)))),
        ["huge shape"] = ("double", "has the shape [4294967296,64]", Each(Down + State, t => WithState(t, "shape", new JsonArray(1L << 32, 64)))),
    };

    public static TheoryData<string> FaultNames => [.. Faults.Keys];

    [Theory, MemberData(nameof(FaultNames))]
    public void Check_ADamagedOrOtherQuantization_IsOneSentence(string name)
    {
        using var scratch = new Scratch();
        var directory = Write(scratch, Faults[name].Kind, Faults[name].Change);
        var message = Assert.Throws<InputException>(() =>
        {
            using var checkpoint = Checkpoint.Open(directory);
            checkpoint.Check(Nano, Model);
        }).Message;
        Assert.Contains(Faults[name].Says, message);
        Assert.DoesNotContain('\n', message);
    }

    static readonly Dictionary<string, (string Says, Action<JsonObject> Change)> Configs = new()
    {
        ["int8"] = ("has load_in_8bit", c => (c["load_in_8bit"], c["load_in_4bit"]) = (true, false)),
        ["fp4"] = ("has the bnb_4bit_quant_type \"fp4\"", c => c["bnb_4bit_quant_type"] = "fp4"),
        // The tensors say that they are NF4.
        ["load_in_4bit alone"] = ("", c => { foreach (var field in c.Select(f => f.Key).Where(f => f != "load_in_4bit").ToArray()) c.Remove(field); }),
        ["gptq"] = ("has the quant_method \"gptq\"", c => c["quant_method"] = "gptq"),
        ["a number for a method"] = ("has the quant_method \"4\"", c => c["quant_method"] = 4),
        ["nothing in 4 bits"] = ("quantization_config is {", c => { c.Remove("load_in_4bit"); c.Remove("_load_in_4bit"); }),
        ["skip modules no list"] = ("llm_int8_skip_modules is \"lm_head\", not a list", c => c["llm_int8_skip_modules"] = "lm_head"),
        ["old spelling"] = ("", c => { c.Remove("load_in_4bit"); c.Remove("quant_method"); }),
    };

    public static TheoryData<string> ConfigNames => [.. Configs.Keys];

    [Theory, MemberData(nameof(ConfigNames))]
    public void Config_OfAQuantization_IsReadOrOneSentence(string name)
    {
        using var scratch = new Scratch();
        var directory = Write(scratch, "plain", config: c => Configs[name].Change(c["quantization_config"]!.AsObject()));
        if (Configs[name].Says.Length == 0) ModelConfig.Check(directory, Model, Nano);
        else Assert.Contains(Configs[name].Says, Assert.Throws<InputException>(() => ModelConfig.Check(directory, Model, Nano)).Message);
    }

    [Fact]
    public void Open_AQuantizationConfigBesideUnquantizedWeights_IsRefused()
    {
        using var scratch = new Scratch();
        var directory = Write(scratch, "plain");
        File.Copy(Path.Combine(Fixture.Checkpoint, "model.safetensors"), Path.Combine(directory, "model.safetensors"), overwrite: true);
        Assert.Contains("has a quantization_config, but no tensor beside it is quantized", Assert.Throws<InputException>(() => ModelSource.Open(Model, directory)).Message);
        using var packed = ModelSource.Open(Model, Directory("plain"));
        Assert.True(packed.IsPacked());
    }
}
