using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Runtime.InteropServices;
using System.Text.Json;
using TorchSharp;
using static TorchSharp.torch;

namespace Graph.Oracle.Tests;

/// <summary>
/// Reads a safetensors file of F32 and I32 tensors into torch tensors: 8 bytes of header length, a JSON header, then the data.
/// It shares no code with the product's reader, so that one error cannot hide in both.
/// </summary>
static class TensorFile
{
    /// <summary>F32 tensors become <paramref name="type"/>; I32 tensors become int64, which is what torch indexes with.</summary>
    public static Dictionary<string, Tensor> Read(string path, ScalarType type)
    {
        var bytes = File.ReadAllBytes(path);
        var header = (int)BitConverter.ToUInt64(bytes, 0);
        using var json = JsonDocument.Parse(bytes.AsMemory(8, header));
        var tensors = new Dictionary<string, Tensor>();
        foreach (var entry in json.RootElement.EnumerateObject().Where(e => e.Name != "__metadata__"))
        {
            var shape = entry.Value.GetProperty("shape").EnumerateArray().Select(d => d.GetInt64()).ToArray();
            var offsets = entry.Value.GetProperty("data_offsets").EnumerateArray().Select(o => o.GetInt32()).ToArray();
            var data = bytes.AsSpan(8 + header + offsets[0], offsets[1] - offsets[0]);
            tensors[entry.Name] = entry.Value.GetProperty("dtype").GetString() switch
            {
                "F32" => tensor(MemoryMarshal.Cast<byte, float>(data).ToArray(), shape).to(type),
                "I32" => tensor(MemoryMarshal.Cast<byte, int>(data).ToArray(), shape).to(ScalarType.Int64),
                var other => throw new InvalidDataException($"{path}: {entry.Name} is {other}, but the fixtures hold F32 and I32"),
            };
        }
        return tensors;
    }
}
