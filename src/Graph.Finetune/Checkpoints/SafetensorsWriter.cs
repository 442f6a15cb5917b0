using System;
using System.Buffers;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Runtime.InteropServices;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Graph.Finetune.Checkpoints;

/// <summary>A tensor to write: row-major, little-endian elements.</summary>
public sealed record SafetensorsTensor(string Name, string DType, IReadOnlyList<long> Shape, ReadOnlyMemory<byte> Data)
{
    /// <summary>Writes the bytes, which may be more than a span holds; null: <see cref="Data"/> has them.</summary>
    public Action<Stream>? Content { get; init; }

    public long Bytes => Shape.Aggregate((long)SafetensorsHeader.ElementBytes(DType), (bytes, extent) => checked(bytes * extent));

    public static SafetensorsTensor Of(string name, string dType, IReadOnlyList<long> shape, Action<Stream> content) => new(name, dType, shape, default) { Content = content };

    /// <summary>An f32 tensor of an array, which is not copied.</summary>
    public static SafetensorsTensor Of(string name, float[] values, params long[] shape) => new(name, "F32", shape, new FloatBytes(values).Memory);

    sealed class FloatBytes(float[] values) : MemoryManager<byte>
    {
        public override Span<byte> GetSpan() => MemoryMarshal.AsBytes(values.AsSpan());
        public override MemoryHandle Pin(int elementIndex = 0) => throw new NotSupportedException("safetensors: tensors are written from spans.");

        public override void Unpin()
        {
        }

        protected override void Dispose(bool disposing)
        {
        }
    }
}

/// <summary>
/// Writes safetensors files as the reference library does: wide dtypes first, then by name; the header padded with spaces so that data begins at a multiple of 8.
/// </summary>
public static class SafetensorsWriter
{
    /// <summary>Written beside <paramref name="path"/> and renamed, so that the file is there whole or not at all.</summary>
    /// <exception cref="ArgumentException">A tensor's bytes are not those of its shape and dtype.</exception>
    /// <exception cref="InputException">The file cannot be written.</exception>
    public static void Write(string path, IReadOnlyList<SafetensorsTensor> tensors, IReadOnlyDictionary<string, string> metadata) =>
        AtomicFiles.Write((path, stream => Write(stream, tensors, metadata)));

    public static void Write(Stream stream, IReadOnlyList<SafetensorsTensor> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        var names = new HashSet<string>(StringComparer.Ordinal) { "__metadata__" };
        foreach (var tensor in tensors)
        {
            if (!names.Add(tensor.Name)) throw new ArgumentException($"safetensors: the name {tensor.Name} is taken; every tensor needs its own.");
            if (tensor.Content is null && tensor.Data.Length != tensor.Bytes)
                throw new ArgumentException($"safetensors: {tensor.Name} is {tensor.DType}[{string.Join(",", tensor.Shape)}] but has {tensor.Data.Length} bytes.");
        }
        var ordered = tensors.OrderByDescending(t => SafetensorsHeader.ElementBytes(t.DType)).ThenBy(t => t.Name, StringComparer.Ordinal).ToArray();
        var header = Header(ordered, metadata);
        var padded = (header.Length + 7) / 8 * 8;
        Span<byte> length = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(length, (ulong)padded);
        stream.Write(length);
        stream.Write(header);
        for (var i = header.Length; i < padded; i++) stream.WriteByte((byte)' ');
        foreach (var tensor in ordered)
        {
            if (tensor.Content is { } content) content(stream);
            else stream.Write(tensor.Data.Span);
        }
    }

    static byte[] Header(IReadOnlyList<SafetensorsTensor> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            if (metadata.Count > 0)
            {
                json.WriteStartObject("__metadata__");
                foreach (var (key, value) in metadata.OrderBy(m => m.Key, StringComparer.Ordinal)) json.WriteString(key, value);
                json.WriteEndObject();
            }
            var offset = 0L;
            foreach (var tensor in tensors)
            {
                json.WriteStartObject(tensor.Name);
                json.WriteString("dtype", tensor.DType);
                Write(json, "shape", tensor.Shape);
                Write(json, "data_offsets", [offset, offset += tensor.Bytes]);
                json.WriteEndObject();
            }
            json.WriteEndObject();
        }
        return buffer.ToArray();
    }

    static void Write(Utf8JsonWriter json, string name, IReadOnlyList<long> numbers)
    {
        json.WriteStartArray(name);
        foreach (var number in numbers) json.WriteNumberValue(number);
        json.WriteEndArray();
    }
}
