using System;
using System.IO;
using System.Linq;
using System.Text.Json;
using Xunit;
using static Graph.Finetune.Tests.Commands.Gemma2Run;

namespace Graph.Finetune.Tests.Commands;

public class EvalTests
{
    [Theory]
    [InlineData("nano", "base_loss", null), InlineData("nano-no-attn-softcap", "base_loss_no_attn_cap", "attn_logit_softcapping"),
     InlineData("nano-no-final-softcap", "base_loss_no_final_cap", "final_logit_softcapping")]
    public void Eval_BaseModel_HasTheGoldenLoss(string variant, string golden, string? without)
    {
        using var scratch = new Scratch();
        var model = Fixture.Checkpoint;
        if (without is not null)
        {
            model = Directory.CreateDirectory(Path.Combine(scratch.Path, "model")).FullName;
            foreach (var file in Directory.GetFiles(Fixture.Checkpoint)) File.Copy(file, Path.Combine(model, Path.GetFileName(file)));
            var config = File.ReadAllText(Path.Combine(model, "config.json"));
            File.WriteAllText(Path.Combine(model, "config.json"), System.Text.RegularExpressions.Regex.Replace(config, $"\"{without}\": [0-9.]+", $"\"{without}\": null"));
        }
        var text = Succeed("eval", "--variant", variant, "--model", model, "--device", "cpu", "--data", Goldens.Data(scratch), "--seq", "48", "--batch-tokens", "96", "--json");
        var expected = Goldens.Numbers.GetProperty(golden).GetDouble();
        Assert.InRange(JsonDocument.Parse(text).RootElement.GetProperty("eval_loss").GetDouble() / expected, 1 - 1e-5, 1 + 1e-5);
    }

    [Theory]
    [InlineData("adapter_init", "loss"), InlineData("adapter_final", "loss_after")]
    public void Eval_WithAdapter_HasTheGoldenLoss(string adapter, string golden)
    {
        using var scratch = new Scratch();
        var text = Succeed("eval", "--variant", "nano", "--model", Fixture.Checkpoint, "--adapter", Path.Combine(Fixture.Reference, adapter), "--device", "cpu",
            "--data", Goldens.Data(scratch), "--seq", "48", "--batch-tokens", "48", "--json");
        Assert.InRange(JsonDocument.Parse(text).RootElement.GetProperty("eval_loss").GetDouble() / Goldens.Numbers.GetProperty(golden).GetDouble(), 1 - 1e-5, 1 + 1e-5);
    }

    [Fact]
    public void Dump_GoldenBatch_HasTheGoldenLogitsAndGradients()
    {
        using var scratch = new Scratch();
        var dump = Path.Combine(scratch.Path, "dump.safetensors");
        Succeed("eval", "--variant", "nano", "--model", Fixture.Checkpoint, "--adapter", Goldens.AdapterInit, "--device", "cpu", "--data", Goldens.Data(scratch),
            "--seq", "48", "--batch-tokens", "96",
            "--dump", dump, "--dump-every", "7");
        Assert.Equal(Goldens.Names(Goldens.Tensors).Where(n => n.StartsWith("grad.", StringComparison.Ordinal)),
            Goldens.Names(dump).Where(n => n.StartsWith("grad.", StringComparison.Ordinal)));
        Assert.All(Goldens.Names(dump).Where(n => n.StartsWith("grad.", StringComparison.Ordinal)),
            name => Assert.InRange(Goldens.Distance(Goldens.Read(dump, name), Goldens.Read(Goldens.Tensors, name)), 0, 1e-4));
        Assert.Equal(Goldens.Read(Goldens.Tensors, "input_ids"), Goldens.Read(dump, "input_ids"));
        Assert.Equal((float)Goldens.Numbers.GetProperty("loss").GetDouble(), Goldens.Read(dump, "loss").Single(), 1e-4f);
        var (ours, golden) = (Goldens.Read(dump, "logits"), Goldens.Read(Goldens.Tensors, "logits"));
        // Rows 0, 7, … 91 of 96.
        Assert.Equal(14 * 4096, ours.Length);
        for (var row = 0; row < 14; row++)
            for (var v = 0; v < 4096; v++) Assert.Equal(golden[row * 7 * 4096 + v], ours[row * 4096 + v], 2e-4f);
    }
}
