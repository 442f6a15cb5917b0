using System;
using System.IO;
using System.Linq;
using System.Text.Json;
using System.Text.Json.Nodes;
using Graph.Finetune.Tests.Checkpoints;
using Xunit;
using static Graph.Finetune.Tests.Commands.Gemma2Run;

namespace Graph.Finetune.Tests.Commands;

/// <summary>--quant and quantized checkpoints, through the command line.</summary>
public class QuantTests
{
    static JsonElement Eval(string model, string data, params string[] more) =>
        JsonDocument.Parse(Succeed(["eval", "--variant", "nano", "--model", model, "--device", "cpu", "--data", data,
            "--seq", "48", "--batch-tokens", "96", "--json", .. more])).RootElement;

    static double Number(JsonElement json, string name) => json.GetProperty(name).GetDouble();

    [Theory, InlineData("double"), InlineData("plain")]
    public void Eval_AQuantizedCheckpoint_HasTheGoldenLossWithoutAnOption(string kind)
    {
        using var scratch = new Scratch();
        var data = Goldens.Data(scratch);
        var json = Eval(PackedFixture.Directory(kind), data);
        Assert.InRange(Number(json, "loss") / Number(PackedFixture.Goldens(kind), "loss_dequantized"), 1 - 1e-5, 1 + 1e-5);
        Assert.Equal(Math.Exp(Number(json, "loss")), Number(json, "perplexity"), 1e-6);
        Assert.Equal(Number(json, "peak_bytes"), Number(json, "planned_peak_bytes"));
        // Of what somebody else quantised there is no cost to say; the same weights in fp32 need more memory and give the same bits.
        Assert.False(json.TryGetProperty("loss_change", out _));
        var dequantized = Eval(PackedFixture.Directory(kind), data, "--quant", "none");
        Assert.Equal(Number(dequantized, "loss"), Number(json, "loss"));
        Assert.Equal(Number(json, "loss"), Number(Eval(PackedFixture.Directory(kind), data, "--quant", "nf4"), "loss"));
        Assert.True(Number(json, "peak_bytes") < Number(dequantized, "peak_bytes"));
    }

    [Fact]
    public void Eval_QuantizedOnLoad_SaysWhatItCost()
    {
        using var scratch = new Scratch();
        var data = Goldens.Data(scratch);
        var json = Eval(Fixture.Checkpoint, data, "--quant", "nf4");
        var golden = PackedFixture.Goldens("double");
        // A code or two may differ where a value lies at a threshold, and absmax by a rounding.
        Assert.InRange(Number(json, "loss") / Number(golden, "loss_dequantized"), 1 - 1e-5, 1 + 1e-5);
        Assert.InRange(Number(json, "loss_unquantized") / Number(golden, "loss_original"), 1 - 1e-5, 1 + 1e-5);
        Assert.Equal(Number(json, "loss") - Number(json, "loss_unquantized"), Number(json, "loss_change"));
        // Root of the mean squares of the goldens' errors, by the weights'.
        var (errors, squares) = (0.0, 0.0);
        foreach (var linear in PackedFixture.Linears("double"))
        {
            var count = linear.Value.GetProperty("shape").EnumerateArray().Aggregate(1.0, (n, d) => n * d.GetInt32());
            errors += count * Math.Pow(Number(linear.Value, "rms_error"), 2);
            squares += Goldens.Read(Path.Combine(Fixture.Checkpoint, "model.safetensors"), linear.Name).Sum(w => (double)w * w);
        }
        Assert.InRange(Number(json, "weight_error") / Math.Sqrt(errors / squares), 1 - 1e-4, 1 + 1e-4);
        var text = Succeed("eval", "--variant", "nano", "--model", Fixture.Checkpoint, "--device", "cpu", "--data", data, "--seq", "48", "--batch-tokens", "96", "--quant", "nf4");
        Assert.Matches(@"eval_loss 10\.49\d+ .*\nquantizing changed the linears' weights by \d+\.\d\d % \(RMS\) and the loss by -0\.03\d+, from 10\.53", text);
        Assert.False(Eval(Fixture.Checkpoint, data).TryGetProperty("weight_error", out _));
    }

    /// <summary>Training on the codes is training on a bf16 checkpoint of the values that they stand for: the same adapter bytes, whatever is recomputed.</summary>
    [Theory]
    [InlineData("double", "none"), InlineData("double", "full"), InlineData("plain", "cheap")]
    public void Train_OnCodes_WritesTheBytesOfTheDequantizedCheckpoint(string kind, string recompute)
    {
        using var scratch = new Scratch();
        using var dequantized = new Scratch();
        var data = Goldens.Data(scratch);
        string[] settings = ["--adapter", Goldens.AdapterInit, "--seq", "48", "--batch-tokens", "96", "--lr", "5e-3", "--steps", "4"];
        string packed = Path.Combine(scratch.Path, "packed"), plain = Path.Combine(scratch.Path, "plain");
        Succeed(Train(data, packed, ["--model", PackedFixture.Directory(kind), .. settings, "--recompute", recompute]));
        Succeed(Train(data, plain, ["--model", PackedFixture.Dequantized(dequantized, kind), .. settings, "--recompute", "none"]));
        Assert.Equal(Losses(plain), Losses(packed));
        Assert.Equal(File.ReadAllBytes(Adapter(plain)), File.ReadAllBytes(Adapter(packed)));
        Assert.All(Metrics(packed), m => Assert.Equal(Number(m, "planned_peak_bytes"), Number(m, "peak_bytes")));
    }

    [Fact]
    public void Train_RandomWeightsInNf4_IsPlannedSmaller()
    {
        using var scratch = new Scratch();
        var data = Goldens.Data(scratch);
        string nf4 = Path.Combine(scratch.Path, "nf4"), none = Path.Combine(scratch.Path, "none");
        string[] settings = ["--model", "random:5", "--seq", "48", "--batch-tokens", "96", "--steps", "3"];
        Succeed(Train(data, nf4, [.. settings, "--quant", "nf4"]));
        Succeed(Train(data, none, [.. settings, "--quant", "none"]));
        Assert.All(Metrics(nf4), m => Assert.Equal(Number(m, "planned_peak_bytes"), Number(m, "peak_bytes")));
        Assert.True(Number(Metrics(nf4)[0], "peak_bytes") < Number(Metrics(none)[0], "peak_bytes"));
        Assert.NotEqual(Losses(none), Losses(nf4));
    }

    /// <summary>A run goes on with the weights it began with; of a checkpoint's codes every storage has the same values.</summary>
    [Fact]
    public void Resume_WithAnotherStorage_IsRefusedWhereItMeansOtherWeights()
    {
        using var scratch = new Scratch();
        var data = Goldens.Data(scratch);
        string random = Path.Combine(scratch.Path, "random"), packed = Path.Combine(scratch.Path, "packed");
        string[] settings = ["--seq", "48", "--batch-tokens", "96", "--steps", "2"];
        Succeed(Train(data, random, ["--model", "random:5", .. settings, "--quant", "nf4"]));
        var result = Run(Train(data, random, ["--model", "random:5", .. settings, "--steps", "3", "--resume"]));
        Assert.Equal(2, result.Code);
        Assert.Contains("--quant is none but the run began with nf4", result.Error);
        Succeed(Train(data, random, ["--model", "random:5", .. settings, "--quant", "nf4", "--steps", "3", "--resume"]));
        Succeed(Train(data, packed, ["--model", PackedFixture.Directory("double"), .. settings]));
        Succeed(Train(data, packed, ["--model", PackedFixture.Directory("double"), .. settings, "--quant", "none", "--steps", "3", "--resume"]));
        Assert.Equal(3, Metrics(packed).Count);
    }

    [Fact]
    public void Train_ACheckpointThatCannotBeRead_WritesNothing()
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        var model = PackedFixture.Write(scratch, "double",
            tensors => tensors.Select(t => t.Name == "model.layers.1.mlp.up_proj.weight" + PackedFixture.State ? PackedFixture.WithState(t, "blocksize", 128) : t));
        var result = Run(Train(Goldens.Data(scratch), output, "--model", model));
        Assert.Equal(3, result.Code);
        Assert.Contains("blocksize 128", result.Error);
        Assert.Single(result.Error.TrimEnd().Split('\n'));
        Assert.False(Directory.Exists(output));
    }

    [Fact]
    public void Quant_AnotherWord_IsRefused()
    {
        var result = Run("eval", "--variant", "nano", "--model", Fixture.Checkpoint, "--data", "x", "--quant", "int8");
        Assert.Equal(2, result.Code);
        Assert.Contains("--quant is 'int8'; it must be none or nf4", result.Error);
    }
}
