using System;
using System.Collections.Generic;
using System.Linq;
using System.Text.Json;

namespace Graph.Finetune.Checkpoints;

/// <summary>
/// The checked header of a safetensors file. Rules: strict JSON that begins with '{', at most 16 MiB, no name twice; every tensor has exactly dtype, shape and data_offsets;
/// offsets are whole numbers, begin ≤ end, and end − begin is the bytes of shape × dtype, computed without overflow;
/// sorted by offset the tensors touch: no overlap, no hole; the last one ends where the file ends.
/// Source: the safetensors format; the values of elements (NaN) are not looked at.
/// </summary>
sealed record SafetensorsHeader(IReadOnlyDictionary<string, SafetensorsEntry> Tensors, IReadOnlyDictionary<string, string> Metadata, long DataOffset, long DataLength)
{
    /// <summary>Gemma 2 27B needs under 100 KB; more than this is an attack or damage.</summary>
    public const int MaxBytes = 16 << 20;

    /// <summary>Bytes of an element, or 0 for an unknown dtype.</summary>
    public static int ElementBytes(string dtype) => dtype switch
    {
        "F64" or "I64" or "U64" or "C64" => 8,
        "F32" or "I32" or "U32" => 4,
        "F16" or "BF16" or "I16" or "U16" => 2,
        "I8" or "U8" or "BOOL" or "F8_E4M3" or "F8_E5M2" or "F8_E8M0" => 1,
        _ => 0,
    };

    /// <param name="json">The header's bytes.</param>
    /// <param name="fileLength">Bytes of the whole file, the 8 of the header length included.</param>
    /// <exception cref="InputException">A rule is broken.</exception>
    public static SafetensorsHeader Parse(string path, ReadOnlyMemory<byte> json, long fileLength)
    {
        if (json.Length == 0 || json.Span[0] != (byte)'{')
            throw new InputException($"{path}: the header of {json.Length} bytes does not begin with '{{'; it is no safetensors file or damaged.");
        using var document = Json.Parse(json, $"{path}: the header");
        var tensors = new Dictionary<string, SafetensorsEntry>();
        IReadOnlyDictionary<string, string> metadata = new Dictionary<string, string>();
        foreach (var property in document.RootElement.EnumerateObject())
        {
            var name = Json.Name(property) ?? throw new InputException($"{path}: the header has a name that is no Unicode text.");
            if (name == "__metadata__") metadata = ParseMetadata(path, property.Value);
            else tensors.Add(name, ParseEntry(path, name, property.Value));
        }
        long dataOffset = 8 + json.Length, dataLength = fileLength - dataOffset;
        CheckLayout(path, tensors.Values, dataLength);
        return new SafetensorsHeader(tensors, metadata, dataOffset, dataLength);
    }

    static void CheckLayout(string path, IEnumerable<SafetensorsEntry> tensors, long dataLength)
    {
        var end = 0L;
        foreach (var entry in tensors.OrderBy(t => t.Offset).ThenBy(t => t.Length))
        {
            if (entry.Offset < end) throw new InputException($"{path}: {entry.Name} begins at byte {entry.Offset} of the data, inside the tensor before it, which ends at {end}.");
            if (entry.Offset > end)
                throw new InputException($"{path}: {entry.Name} begins at byte {entry.Offset} of the data, but the tensor before it ends at {end}; "
                    + "bytes between tensors are not allowed.");
            end = entry.Offset + entry.Length;
        }
        if (end > dataLength) throw new InputException($"{path}: the tensors need {end} bytes of data but {dataLength} are there; the file is cut short, download it again.");
        if (end < dataLength) throw new InputException($"{path}: the tensors need {end} bytes of data but {dataLength} are there; what follows the last tensor belongs to none.");
    }

    static SafetensorsEntry ParseEntry(string path, string name, JsonElement value)
    {
        if (value.ValueKind != JsonValueKind.Object)
            throw new InputException($"{path}: the entry of {name} is {Json.Show(value)}, not an object with dtype, shape and data_offsets.");
        string? dtype = null;
        long[]? shape = null, offsets = null;
        foreach (var field in value.EnumerateObject())
        {
            switch (Json.Name(field))
            {
                case "dtype" when field.Value.ValueKind == JsonValueKind.String: dtype = Json.Text(field.Value); break;
                case "shape": shape = Numbers(path, name, "shape", field.Value); break;
                case "data_offsets": offsets = Numbers(path, name, "data_offsets", field.Value); break;
                default: throw new InputException($"{path}: the entry of {name} has {Json.Show(field)} = {Json.Show(field.Value)}; "
                    + "dtype (a string), shape and data_offsets are what it may have.");
            }
        }
        if (dtype is null || shape is null || offsets is null)
            throw new InputException($"{path}: the entry of {name} lacks {(dtype is null ? "dtype" : shape is null ? "shape" : "data_offsets")}.");
        if (offsets.Length != 2) throw new InputException($"{path}: data_offsets of {name} has {offsets.Length} numbers; it must be [begin, end].");
        if (offsets[1] < offsets[0]) throw new InputException($"{path}: {name} ends at byte {offsets[1]}, before its begin {offsets[0]}.");
        var size = ElementBytes(dtype);
        if (size == 0) throw new InputException($"{path}: {name} has the dtype '{dtype}', which is not known here.");
        if (Bytes(shape, size) is not { } bytes) throw new InputException($"{path}: {name} has the shape [{string.Join(",", shape)}], whose bytes do not fit in 63 bits.");
        if (bytes != offsets[1] - offsets[0])
            throw new InputException($"{path}: {name} is {dtype}[{string.Join(",", shape)}] and needs {bytes} bytes, "
                + $"but its data_offsets {offsets[0]}..{offsets[1]} hold {offsets[1] - offsets[0]}.");
        return new SafetensorsEntry(name, dtype, shape, offsets[0], bytes);
    }

    static long? Bytes(long[] shape, int elementBytes)
    {
        // A zero anywhere makes the product 0, whatever overflows beside it.
        if (shape.Contains(0)) return 0;
        var bytes = (Int128)elementBytes;
        foreach (var extent in shape)
        {
            bytes *= extent;
            if (bytes > long.MaxValue) return null;
        }
        return (long)bytes;
    }

    static long[] Numbers(string path, string name, string field, JsonElement value)
    {
        if (value.ValueKind != JsonValueKind.Array) throw new InputException($"{path}: {field} of {name} is {Json.Show(value)}, not a list of whole numbers.");
        return [.. value.EnumerateArray().Select(e => e.ValueKind == JsonValueKind.Number && e.TryGetInt64(out var number) && number >= 0
            ? number : throw new InputException($"{path}: {field} of {name} has {Json.Show(e)}, which is no whole number from 0 to 2^63-1."))];
    }

    static Dictionary<string, string> ParseMetadata(string path, JsonElement value)
    {
        if (value.ValueKind != JsonValueKind.Object) throw new InputException($"{path}: __metadata__ is {Json.Show(value)}, not an object.");
        return value.EnumerateObject().ToDictionary(p => Json.Name(p) ?? throw new InputException($"{path}: __metadata__ has a name that is no Unicode text."), p =>
            p.Value.ValueKind == JsonValueKind.String && Json.Text(p.Value) is { } text
                ? text : throw new InputException($"{path}: __metadata__ has {p.Name} = {Json.Show(p.Value)}; only strings are allowed."));
    }
}
