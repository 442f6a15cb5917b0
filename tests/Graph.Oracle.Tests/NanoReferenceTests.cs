using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.Json;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Graph.Oracle.Tests;

/// <summary>The oracle itself against the goldens of transformers + PEFT: only an oracle that agrees with them may judge our backward.</summary>
public sealed class NanoReferenceTests
{
    // The goldens were computed in fp32 and the oracle in fp64; what remains is the goldens' own rounding.
    const double LogitTolerance = 2e-4, LossTolerance = 1e-5, GradientTolerance = 1e-4;

    static Dictionary<string, Tensor> Goldens() => TensorFile.Read(Repository.Fixture("goldens.safetensors"), ScalarType.Float64);
    static Dictionary<string, Tensor> Checkpoint() => TensorFile.Read(Repository.Fixture("checkpoint/model.safetensors"), ScalarType.Float64);
    static Dictionary<string, Tensor> Adapter() => TensorFile.Read(Repository.Fixture("adapter_init/adapter_model.safetensors"), ScalarType.Float64);
    static JsonElement Numbers() => JsonDocument.Parse(File.ReadAllBytes(Repository.Fixture("goldens.json"))).RootElement;

    [Fact]
    public void Forward_TwoDocumentsOfTheGoldens_GivesTheirLogitsHiddenStatesAndLoss()
    {
        using var scope = NewDisposeScope();
        var goldens = Goldens();
        var model = new TorchGemma2(TorchConfig.Nano, Checkpoint(), Adapter(), loraScale: 2);
        var (logits, hidden) = model.Forward(goldens["input_ids"].flatten(), TorchGemma2.DocStart(48, 48));

        Assert.InRange(Largest(logits - goldens["logits"].view(96, 4096)), 0, LogitTolerance);
        for (var i = 0; i < hidden.Count; i++) Assert.InRange(Distance(hidden[i], goldens[$"hidden.{i}"].view(96, 128)), 0, LossTolerance);
        var expected = Numbers().GetProperty("loss").GetDouble();
        Assert.InRange(TorchGemma2.Loss(logits, TorchGemma2.Shift(goldens["labels"])).item<double>(), expected * (1 - LossTolerance), expected * (1 + LossTolerance));
        Assert.InRange(model.LargestScore, 30, 1e4); // 50·tanh(30/50) = 26.9: the cap is at work
    }

    [Fact]
    public void Backward_TwoDocumentsOfTheGoldens_GivesEveryAdapterGradient()
    {
        using var scope = NewDisposeScope();
        var goldens = Goldens();
        var adapter = Adapter().ToDictionary(p => p.Key, p => p.Value.requires_grad_());
        var (logits, _) = new TorchGemma2(TorchConfig.Nano, Checkpoint(), adapter, loraScale: 2).Forward(goldens["input_ids"].flatten(), TorchGemma2.DocStart(48, 48));
        TorchGemma2.Loss(logits, TorchGemma2.Shift(goldens["labels"])).backward();

        Assert.Equal(56, adapter.Count);
        Assert.All(adapter, p => Assert.InRange(Distance(p.Value.grad!, goldens["grad." + p.Key]), 0, GradientTolerance));
    }

    [Theory]
    [InlineData("base_loss", 50.0, 30.0)]
    [InlineData("base_loss_no_attn_cap", null, 30.0)]
    [InlineData("base_loss_no_final_cap", 50.0, null)]
    public void Loss_BaseModelWithAndWithoutSoftcaps_IsTheGoldens(string name, double? attention, double? final)
    {
        using var scope = NewDisposeScope();
        var goldens = Goldens();
        var config = TorchConfig.Nano with { AttentionSoftcap = attention, FinalSoftcap = final };
        var (logits, _) = new TorchGemma2(config, Checkpoint(), new Dictionary<string, Tensor>(), 0).Forward(goldens["input_ids"].flatten(), TorchGemma2.DocStart(48, 48));
        var expected = Numbers().GetProperty(name).GetDouble();
        Assert.InRange(TorchGemma2.Loss(logits, TorchGemma2.Shift(goldens["labels"])).item<double>(), expected * (1 - LossTolerance), expected * (1 + LossTolerance));
    }

    static double Largest(Tensor x) => x.abs().max().to(ScalarType.Float64).item<double>();

    /// <summary>|a - b| / |b| in L2.</summary>
    static double Distance(Tensor a, Tensor b) => ((a - b).norm() / b.norm()).to(ScalarType.Float64).item<double>();
}
