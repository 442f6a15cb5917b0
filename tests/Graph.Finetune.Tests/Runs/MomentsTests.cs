using System.IO;
using System.Linq;
using Graph.Finetune.Tests.Commands;
using Xunit;
using static Graph.Finetune.Tests.Commands.Gemma2Run;

namespace Graph.Finetune.Tests.Runs;

/// <summary>8-bit moments go through a checkpoint as codes and scales.</summary>
public class MomentsTests
{
    // A of 3 x 128 and B of 128 x 3: one block that is full and one that is not.
    static string[] Run(Scratch scratch, string output, int steps, params string[] more) =>
        Train(Goldens.Data(scratch), output, ["--seq", "48", "--batch-tokens", "48", "--rank", "3", "--lr", "5e-3", "--steps", $"{steps}", .. more]);

    [Fact]
    public void Resume_MomentsOf8Bits_GoesOnToTheBit()
    {
        using var scratch = new Scratch();
        string whole = Path.Combine(scratch.Path, "whole"), parts = Path.Combine(scratch.Path, "parts");
        Succeed(Run(scratch, whole, 5, "--optimizer", "adamw8bit"));
        Succeed(Run(scratch, parts, 2, "--optimizer", "adamw8bit"));
        Assert.Contains("--optimizer is adamw but the run began with adamw8bit", Gemma2Run.Run(Run(scratch, parts, 5, "--resume")).Error);
        Succeed(Run(scratch, parts, 5, "--resume", "--optimizer", "adamw8bit"));
        Assert.Equal(Losses(whole), Losses(parts));
        foreach (var file in new[] { "adapter_model.safetensors", "optimizer.safetensors" })
            Assert.Equal(File.ReadAllBytes(Path.Combine(whole, "checkpoints", "step-5", file)), File.ReadAllBytes(Path.Combine(parts, "checkpoints", "step-5", file)));
        // A code an element and a scale a block, of two moments.
        var optimizer = new FileInfo(Path.Combine(whole, "checkpoints", "step-5", "optimizer.safetensors")).Length;
        var adapter = new FileInfo(Path.Combine(whole, "adapter_model.safetensors")).Length;
        Assert.InRange((double)optimizer / adapter, 0.5, 0.8);
    }
}
