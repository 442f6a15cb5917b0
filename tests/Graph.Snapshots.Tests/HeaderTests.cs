using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text.RegularExpressions;
using Graph.Generator.Schedules;
using Graph.Tests;
using Xunit;

namespace Graph.Snapshots.Tests;

/// <summary>The first sentence of a kernel's text: what is fused there and why it pays.</summary>
public sealed class HeaderTests
{
    // Gemma 2 of every size, and the models of FunctionModels.cs, which share no structure with it.
    public static TheoryData<string> Variants => new(Gemma2Size.All.Select(s => s.Name).Concat(Emitted.Functions.Keys));

    /// <summary>The comment lines that a text begins with, up to the one that ends the sentence.</summary>
    static string Sentence(string text)
    {
        var lines = text.Split('\n').TakeWhile(l => l.StartsWith("// ", StringComparison.Ordinal)).Select(l => l[3..]).ToArray();
        return string.Join(' ', lines.Take(Array.FindIndex(lines, l => l.EndsWith('.')) + 1));
    }

    static string Sentence(string variant, string label) =>
        Sentence(Emitted.Kernels(variant).First(k => k.Target == "sm_90a" && Regex.IsMatch(k.Info.Name, $"^(k\\d+_)?{label}$")).Text);

    [Theory]
    [MemberData(nameof(Variants))]
    public void Kernel_OfEveryTarget_BeginsWithASentence(string variant)
    {
        var kernels = Emitted.Kernels(variant).Select(k => (k.Target, k.Info.Name, First: k.Text.Split('\n')[0], Sentence: Sentence(k.Text))).ToArray();
        // A capital letter, which no kernel's name begins with; words; no sign of a piece that was empty.
        Assert.All(kernels, k => Assert.True(
            Regex.IsMatch(k.First, @"^// [A-Z]\S* ") && k.Sentence.Split(' ').Length >= 8 && !Regex.IsMatch(k.Sentence, @"  |\+ \+|Row values|<|;\."), k.ToString()));
    }

    /// <summary>
    /// 9B, 3,584 columns: o, the residual stream, its sum and the norm's result are 4 rows of 7,168 bytes, and two statistics of 4; apart the first norm would store
    /// its result, the sum read it, and the second norm read the sum: three rows more. In the backward: d, x and the gradient of both norms.
    /// </summary>
    [Theory]
    [InlineData("residual_pre_feedforward_layernorm", "RMSNorm post_attention_layernorm + residual sum + RMSNorm pre_feedforward_layernorm in one kernel: "
        + "it moves 28,680 bytes a token, a kernel for each 50,184; post_attention_layernorm stays in registers.")]
    [InlineData("d_residual_d_o_proj", "Gradient of RMSNorm pre_feedforward_layernorm + sum of gradients + gradient of RMSNorm post_attention_layernorm in one kernel: "
        + "it moves 43,016 bytes a token, a kernel for each 64,520; what passes between them stays in registers.")]
    [InlineData("gemm_nt_k04_geglu", "Product D = alpha (A B^T + A2 B2^T) with GELU (tanh) + product (GeGLU) on its tiles: "
        + "57,344 bytes a token of D are not read again for it, and D is written only where something else reads it.")]
    public void Sentence_OfAKnownKernel_HasItsBytes(string label, string expected) => Assert.Equal(expected, Sentence("9b", label));

    /// <summary>Structures that Gemma 2 has not.</summary>
    [Theory]
    [InlineData("headnorms", "RMSNorm q_norm")]
    [InlineData("headnorms", "SiLU + product (SwiGLU)")]
    [InlineData("positions", "Embedding wte")]
    [InlineData("positions", "LayerNorm")]
    [InlineData("positions", "gradient of LayerNorm")]
    public void Sentence_OfAnotherStructure_NamesItsOps(string variant, string words) =>
        Assert.Contains(Emitted.Kernels(variant).Where(k => k.Target == "sm_80").Select(k => Sentence(k.Text)), s => s.Contains(words, StringComparison.OrdinalIgnoreCase));

    /// <summary>A kernel for each op moves more than the one of all, whatever is fused.</summary>
    [Theory]
    [MemberData(nameof(Variants))]
    public void Bytes_OfAKernelForEachOp_AreMore(string variant)
    {
        var fused = Emitted.Kernels(variant).Where(k => k.Info.Kind == KernelKind.Row).Select(k => Sentence(k.Text))
            .Where(s => s.Contains(" + ", StringComparison.Ordinal)).Distinct().ToArray();
        Assert.NotEmpty(fused);
        Assert.All(fused, s =>
        {
            var bytes = Regex.Match(s, @" in one kernel: it moves ([\d,]+) bytes a token(?: and column)?, a kernel for each ([\d,]+)[;.]");
            Assert.True(bytes.Success && Number(bytes.Groups[1].Value) < Number(bytes.Groups[2].Value), s);
        });
        static int Number(string text) => int.Parse(text, NumberStyles.AllowThousands, CultureInfo.InvariantCulture);
    }
}
