using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.InteropServices;
using System.Text.Json;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Graph.Runtime.Quantization;

namespace Graph.Finetune.Checkpoints;

/// <summary>
/// A linear's weight as bitsandbytes stores it, under the weight's name: the codes as a column of any dtype,
/// and beside it .absmax (U8 with .nested_absmax and .nested_quant_map, or F32), .quant_map, and the JSON of .quant_state.bitsandbytes__nf4. All of it is used as it is.
/// </summary>
sealed class PackedWeight
{
    const string State = ".quant_state.bitsandbytes__", Nf4State = State + "nf4";

    /// <summary>What may lie beside the codes of a packed weight.</summary>
    static readonly string[] Suffixes = [".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map", Nf4State];

    readonly Stored codes, absmax;
    readonly Stored? nested, map;
    readonly float offset;

    PackedWeight(int rows, int columns, Stored codes, Stored absmax, Stored? nested, Stored? map, float offset) =>
        (Shape, this.codes, this.absmax, this.nested, this.map, this.offset) = ([rows, columns], codes, absmax, nested, map, offset);

    public IReadOnlyList<int> Shape { get; }

    public WeightFormat Format => nested is null ? WeightFormat.Nf4Plain : WeightFormat.Nf4;

    /// <exception cref="InputException">The file cannot be read, or an absmax is not finite.</exception>
    public Nf4Tensor Read() => Part(0, Elements);

    /// <summary>Some elements as bf16.</summary>
    /// <exception cref="InputException">The file cannot be read, or an absmax is not finite.</exception>
    public void Dequantize(long first, Span<ushort> values)
    {
        // What is read starts where a nested block does.
        const int unit = Nf4.Block * Nf4.NestedBlock;
        var start = first / unit * unit;
        Part(start, first + values.Length).Dequantize(first - start, values);
    }

    Nf4Tensor Part(long start, long end)
    {
        var (block, blocks) = (start / Nf4.Block, Nf4.Blocks(end - start));
        var halves = codes.Bytes(start / 2, (end - start + 1) / 2);
        if (nested is null) return new Nf4Tensor(end - start, halves, [], absmax.Floats(block, blocks), [], 0);
        var scales = nested.Floats(block / Nf4.NestedBlock, Nf4.NestedBlocks(blocks));
        foreach (var scale in scales)
            if (!float.IsFinite(MathF.Abs(scale) + MathF.Abs(offset)))
                throw new InputException($"{nested.Path}: {nested.Name} and the offset {offset} give values beyond fp32; the file is damaged.");
        return new Nf4Tensor(end - start, halves, absmax.Bytes(block, blocks), scales, map!.Floats(0, 256), offset);
    }

    long Elements => (long)Shape[0] * Shape[1];

    /// <summary>The tensors that belong to packed weights and are none themselves.</summary>
    public static bool IsBeside(string tensor, Func<string, bool> isPacked) => Suffixes.Any(s => tensor.EndsWith(s, StringComparison.Ordinal) && isPacked(tensor[..^s.Length]));

    /// <summary>Every packed weight among a checkpoint's tensors, by name.</summary>
    /// <exception cref="InputException">One is quantised in another way, or what belongs to it is missing or has another size.</exception>
    public static IReadOnlyDictionary<string, PackedWeight> All(IReadOnlyDictionary<string, (SafetensorsFile Shard, SafetensorsEntry Entry)> tensors)
    {
        var result = new Dictionary<string, PackedWeight>();
        foreach (var (state, (shard, entry)) in tensors)
        {
            var at = state.IndexOf(State, StringComparison.Ordinal);
            if (at < 0) continue;
            var weight = state[..at];
            if (!state.EndsWith(Nf4State, StringComparison.Ordinal))
                throw new InputException($"{shard.Path}: {weight} is quantized as {state[(at + State.Length)..]}; "
                    + "of what bitsandbytes writes NF4 can be read: give such a checkpoint, or the 16-bit one with --quant nf4.");
            result.Add(weight, Read(weight,
                new Stored(shard, entry), suffix => tensors.TryGetValue(weight + suffix, out var found) ? new Stored(found.Shard, found.Entry) : null));
        }
        return result;
    }

    static PackedWeight Read(string weight, Stored state, Func<string, Stored?> find)
    {
        using var document = Json.Parse(state.Bytes(0, state.Length), $"{state.Path}: {state.Name}");
        var json = document.RootElement;
        if (json.ValueKind != JsonValueKind.Object) throw new InputException($"{state.Path}: {state.Name} is {Json.Show(json)}, not an object.");
        Require("quant_type", v => v.ValueKind == JsonValueKind.String && Json.Text(v) == "nf4", "\"nf4\"");
        Require("blocksize", v => Number(v) == Nf4.Block, "64");
        var shape = json.TryGetProperty("shape", out var s) && s.ValueKind == JsonValueKind.Array ? s.EnumerateArray().Select(Number).ToArray() : [];
        if (shape is not [> 0 and <= int.MaxValue and var rows, > 0 and <= int.MaxValue and var columns])
            throw new InputException($"{state.Path}: {state.Name} has the shape {(s.ValueKind == JsonValueKind.Undefined ? "null" : Json.Show(s))}; a weight has two extents.");

        var elements = rows * columns;
        var codes = Find("", null, (elements + 1) / 2, "codes");
        if (codes.Shape.Count(d => d > 1) > 1)
            throw new InputException($"{codes.Path}: {weight} is {codes.DType}[{string.Join(",", codes.Shape)}] beside a quant_state, but codes are one column.");
        if (!Find(".quant_map", "F32", 4 * 16, "the 16 values").Floats(0, 16).AsSpan().SequenceEqual(Nf4.Table))
            throw new InputException($"{codes.Path}: {weight}.quant_map is not the table of NF4; the file is damaged, or of another kind of quantization.");
        var blocks = Nf4.Blocks(elements);
        if (!json.TryGetProperty("nested_offset", out var offset))
            return new PackedWeight((int)rows, (int)columns, codes, Find(".absmax", "F32", 4 * blocks, $"an absmax for each {Nf4.Block} elements"), null, null, 0);

        Require("nested_blocksize", v => Number(v) == Nf4.NestedBlock, "256");
        Require("nested_dtype", v => v.ValueKind == JsonValueKind.String && Json.Text(v) == "float32", "\"float32\"");
        Require("nested_offset", v => v.ValueKind == JsonValueKind.Number && v.TryGetDouble(out var d) && float.IsFinite((float)d), "a number of fp32");
        var map = Find(".nested_quant_map", "F32", 4 * 256, "256 values");
        // A map made by another version of torch may be a rounding off; it is used as it is.
        if (map.Floats(0, 256).Zip(Nf4.DynamicMap).Any(p => !(Math.Abs(p.First - p.Second) <= 1e-5f * Math.Abs(p.Second))))
            throw new InputException($"{map.Path}: {map.Name} is not bitsandbytes' dynamic map of 8 bits; the file is damaged, or of another kind of quantization.");
        return new PackedWeight((int)rows, (int)columns, codes, Find(".absmax", "U8", blocks, $"an absmax for each {Nf4.Block} elements"),
            Find(".nested_absmax", "F32", 4 * Nf4.NestedBlocks(blocks), $"one for each {Nf4.NestedBlock} absmax"), map, (float)offset.GetDouble());

        void Require(string field, Func<JsonElement, bool> holds, string allowed)
        {
            var there = json.TryGetProperty(field, out var value);
            if (!there || !holds(value))
                throw new InputException($"{state.Path}: {state.Name} has the {field} {(there ? Json.Show(value) : "null")}, but {allowed} is what can be read; "
                    + "quantize the model again, or give the 16-bit checkpoint with --quant nf4.");
        }

        Stored Find(string suffix, string? dtype, long bytes, string what)
        {
            var part = find(suffix)
                ?? throw new InputException($"{state.Path}: there is no tensor {weight}{suffix}, which {weight}{Nf4State} needs; the checkpoint is cut short, download it again.");
            if (dtype is not null && part.DType != dtype)
                throw new InputException($"{part.Path}: {part.Name} is {part.DType}, but {dtype} is what {what} of a weight in NF4 can be.");
            if (part.Length != bytes)
                throw new InputException($"{part.Path}: {part.Name} has {part.Length} bytes, but {what} of {weight} [{rows},{columns}] need {bytes}; the file is damaged.");
            return part;
        }
    }

    static long? Number(JsonElement value) => value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out var number) ? number : null;

    /// <summary>A tensor where it lies.</summary>
    sealed record Stored(SafetensorsFile Shard, SafetensorsEntry Entry)
    {
        public string Path => Shard.Path;
        public string Name => Entry.Name;
        public string DType => Entry.DType;
        public long Length => Entry.Length;
        public IReadOnlyList<long> Shape => Entry.Shape;

        public byte[] Bytes(long offset, long count)
        {
            var bytes = new byte[count];
            Shard.Read(Entry, offset, bytes);
            return bytes;
        }

        public float[] Floats(long first, long count)
        {
            var floats = new float[count];
            Shard.Read(Entry, 4 * first, MemoryMarshal.AsBytes(floats.AsSpan()), StoredType.F32);
            return floats;
        }
    }
}
