using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Graph.Finetune.Checkpoints;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;
using Xunit;

namespace Graph.Finetune.Tests.Checkpoints;

public class SavedModelTests
{
    /// <summary>Shards, their index, and what a smaller model leaves of them.</summary>
    [Fact]
    public void Save_MoreThanAShardHolds_IsReadThroughItsIndexAndReplacedByOneFile()
    {
        using var scratch = new Scratch();
        var values = new[] { 1.00390625f, -2, 3e-5f, 65536, 0, 7, 8, 9 };
        TrainedTensor[] tensors = [.. Enumerable.Range(0, 5).Select(i => new TrainedTensor($"t{i}", [2, 2], (StoredType)(i % 2), values, i % 2 * 4))];
        SavedModel.Save(scratch.Path, tensors, SavedModel.Config([new("model_type", "gemma2"), new("layers", new[] { "a", "b" }), new("n", 3), new("none", null)]),
            Fixture.Checkpoint, shardBytes: 24);
        Assert.Equal(["model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors", "model.safetensors.index.json"],
            Directory.GetFiles(scratch.Path, "model*").Select(f => Path.GetFileName(f)).Order());
        using (var read = Checkpoint.Open(scratch.Path))
        {
            Assert.Equal(tensors.Select(t => t.Name), read.Names.Order());
            foreach (var tensor in tensors)
            {
                Assert.Equal((tensor.Type, 2), (read.Describe(tensor.Name).Type, read.Describe(tensor.Name).Shape.Count));
                var bytes = read.Rows(tensor.Name, 0, 2, new byte[64]);
                var floats = tensor.Type == StoredType.F32 ? System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(bytes).ToArray()
                    : Elements.ToFloats(bytes, ActType.Bf16);
                // To nearest even: 1 + 2^-8 in bf16 is 1.
                Assert.Equal(values.Skip(tensor.First).Take(4)
                    .Select(v => tensor.Type == StoredType.F32 ? v : BitConverter.UInt32BitsToSingle((uint)Elements.Bf16(v) << 16)), floats);
            }
        }
        Assert.Contains("\"layers\": [\n    \"a\",\n    \"b\"\n  ]", File.ReadAllText(Path.Combine(scratch.Path, "config.json")));
        SavedModel.Save(scratch.Path, [tensors[0]], "{}"u8.ToArray(), null);
        Assert.Equal(["model.safetensors"], Directory.GetFiles(scratch.Path, "model*").Select(f => Path.GetFileName(f)));
        SavedModel.Remove(scratch.Path);
        Assert.Empty(Directory.GetFiles(scratch.Path, "model*").Concat(Directory.GetFiles(scratch.Path, "config.json")));
    }
}
