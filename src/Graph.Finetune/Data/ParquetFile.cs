using System;
using System.Buffers;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Unicode;
using System.Threading;
using Parquet;
using Parquet.Schema;
using PhysicalType = Parquet.Meta.Type;

namespace Graph.Finetune.Data;

/// <summary>
/// A Parquet file: a block is a row group, or some rows of a large one, given as JSON Lines of the fields that examples have; other columns are not read.
/// Fields are texts, numbers, lists of numbers, and lists of messages. A null is a field that is not there. Only the pages that a block's rows are on are in memory.
/// Pages are found, checked and decompressed here, and their values decoded by Parquet.Net.
/// </summary>
sealed class ParquetFile : IDataFile
{
    static readonly string[] Known = ["input_ids", "labels", "attention_mask", "messages", "conversations", "instruction", "input", "output", "prompt", "completion", "text"];

    const long MostRows = 1L << 40;

    /// <summary>Rows From to To of a row group.</summary>
    readonly record struct Part(int Group, long From, long To, long Bytes, long Before);

    readonly FileStream stream;
    readonly byte[] footer;
    readonly long ends;
    readonly ParquetReader reader;
    readonly SwitchedStream switched = new();
    readonly Lock decoding = new();
    readonly (Field Field, DataField[] Leaves)[] columns;
    readonly Dictionary<DataField, ParquetChunk>[] groups;
    readonly Part[] parts;

    /// <param name="stream">At any place; it is the file's own from here on.</param>
    /// <param name="partBytes">A row group with more bytes, once decompressed, is of several parts; one with more than a 16th as many rows, too.</param>
    /// <exception cref="InputException">It is damaged, or has a column of a kind that no example has.</exception>
    public ParquetFile(string path, FileStream stream, long partBytes)
    {
        (Path, this.stream) = (path, stream);
        try
        {
            (var file, footer, ends) = Guard(() => ParquetFooter.Read(stream));
            switched.Content = new MemoryStream(file);
            reader = Guard(() => ParquetReader.CreateAsync(switched, leaveStreamOpen: true).GetAwaiter().GetResult());
            // Texts stay the bytes that they are in JSON.
            foreach (var element in Guard(() => reader.Metadata!.Schema)
                .Where(e => e.Type == PhysicalType.BYTE_ARRAY)) (element.ConvertedType, element.LogicalType) = (null, null);
            var fields = Guard(() => reader.Schema.Fields);
            columns = Guard(() => fields.Where(f => Known.Contains(f.Name)).Select(f => (f, Leaves(f))).ToArray());
            if (columns.Any(c => c.Field.Name == "input_ids") && LineParser.Unread.FirstOrDefault(u => fields.Any(f => f.Name == u)) is { } unread)
                throw new InputException($"{path} has {LineParser.Advice(unread)}.");
            if (columns.Length == 0)
                throw new InputException($"{path} has the columns {string.Join(", ", fields.Take(8).Select(f => f.Name))}; "
                    + "an example has messages, instruction and output, prompt and completion, text, or input_ids.");
            groups = Guard(() => reader.RowGroups.Select(Chunks).ToArray());
            parts = Guard(() => Parts(partBytes).ToArray());
        }
        catch
        {
            stream.Dispose();
            throw;
        }
    }

    /// <summary>A file that begins as Parquet does.</summary>
    public static bool Is(FileStream stream)
    {
        Span<byte> magic = stackalloc byte[4];
        return stream.CanSeek && RandomAccess.Read(stream.SafeFileHandle, magic, 0) == 4 && magic.SequenceEqual("PAR1"u8);
    }

    public string Path { get; }
    public int Blocks => parts.Length;
    public long BytesOf(int block) => parts[block].Bytes;
    public long LinesBefore(int block) => parts[block].Before;
    public string At(long line) => $"{Path}, row {line},";

    public ReadOnlyMemory<byte> Load(int block)
    {
        lock (decoding) return Guard(() => Decode(parts[block]), Where(parts[block]));
    }

    /// <summary>The footer, which has sizes, places and perhaps statistics of all columns, and some bytes of the pages.</summary>
    public void AddSample(IncrementalHash hash)
    {
        const int samples = 8, sampleBytes = 1 << 16;
        hash.AppendData(footer);
        var piece = new byte[Math.Min(sampleBytes, ends)];
        for (var i = 0; i < samples; i++)
        {
            if (RandomAccess.Read(stream.SafeFileHandle, piece, (long)((Int128)(ends - piece.Length) * i / (samples - 1))) is >= 0 and var read) hash.AppendData(piece, 0, read);
        }
    }

    public void Dispose()
    {
        reader.DisposeAsync().AsTask().GetAwaiter().GetResult();
        stream.Dispose();
    }

    Dictionary<DataField, ParquetChunk> Chunks(ParquetRowGroupReader group)
    {
        if (group.RowCount is < 0 or > MostRows) throw new InvalidDataException($"a row group has {group.RowCount} rows");
        return columns.SelectMany(c => c.Leaves)
            .ToDictionary(leaf => leaf, leaf => new ParquetChunk(stream.SafeFileHandle,
                group.GetMetadata(leaf)?.MetaData ?? throw new InvalidDataException($"a row group lacks the column {leaf.Path}"), ends, leaf, group.RowCount));
    }

    IEnumerable<Part> Parts(long partBytes)
    {
        var before = 0L;
        for (var g = 0; g < groups.Length; g++)
        {
            var (rows, bytes) = (reader.RowGroups[g].RowCount, groups[g].Values.Sum(c => c.Bytes));
            var count = Math.Clamp(Math.Max(bytes / partBytes, rows * 16 / partBytes), 1, Math.Max(1, rows));
            for (var i = 0L; i < count; i++)
            {
                var (from, to) = (Share(rows, i), Share(rows, i + 1));
                yield return new Part(g, from, to, Math.Max(1, bytes / count), before + from);

                long Share(long of, long parts) => (long)((Int128)of * parts / count);
            }
            before += rows;
        }
    }

    ReadOnlyMemory<byte> Decode(Part part)
    {
        var whole = part.To - part.From == reader.RowGroups[part.Group].RowCount;
        var read = columns.Select(c => new ParquetColumn(c.Field,
            [.. c.Leaves.Select(leaf => Guard(() => Read(leaf, part, whole), $"{Where(part)} column {leaf.Path},"))])).ToArray();
        var output = new ArrayBufferWriter<byte>(1 << 16);
        using var json = new Utf8JsonWriter(output);
        for (var row = part.From; row < part.To; row++)
        {
            json.WriteStartObject();
            foreach (var column in read) column.Write(json);
            json.WriteEndObject();
            json.Flush();
            json.Reset();
            output.Write("\n"u8);
        }
        return output.WrittenMemory;
    }

    // By type, one by one: the reader's own way asks for the type at run time, which a native executable cannot.
    ParquetLeaf Read(DataField leaf, Part part, bool whole)
    {
        return leaf.ClrType switch
        {
            var t when t == typeof(ReadOnlyMemory<byte>) || t == typeof(byte[]) => Of<ReadOnlyMemory<byte>>((json, v) => Text(json, v.Span)),
            var t when t == typeof(int) => Of<int>((json, v) => json.WriteNumberValue(v)),
            var t when t == typeof(long) => Of<long>((json, v) => json.WriteNumberValue(v)),
            var t when t == typeof(short) => Of<short>((json, v) => json.WriteNumberValue(v)),
            var t when t == typeof(ushort) => Of<ushort>((json, v) => json.WriteNumberValue(v)),
            var t when t == typeof(uint) => Of<uint>((json, v) => json.WriteNumberValue(v)),
            var t when t == typeof(ulong) => Of<ulong>((json, v) => json.WriteNumberValue(v)),
            var t when t == typeof(byte) => Of<byte>((json, v) => json.WriteNumberValue(v)),
            var t when t == typeof(sbyte) => Of<sbyte>((json, v) => json.WriteNumberValue(v)),
            var t when t == typeof(double) => Of<double>((json, v) => Number(json, v)),
            var t when t == typeof(float) => Of<float>((json, v) => Number(json, v)),
            var t when t == typeof(bool) => Of<bool>((json, v) => json.WriteBooleanValue(v)),
            var t => throw new InvalidDataException($"the column {leaf.Path} is of the type {t.Name}, which no example has"),
        };

        ParquetLeaf Of<T>(Action<Utf8JsonWriter, T> write) where T : struct
        {
            var found = groups[part.Group][leaf].Read(part.From, part.To, whole);
            var (values, levels, repeated) = (new T[found.Values], leaf.MaxDefinitionLevel > 0 ? new int[found.Values] : null, leaf.MaxRepetitionLevel > 0
                ? new int[found.Values] : null);
            if (found.Values > 0)
            {
                switched.Content = found.Content;
                reader.RowGroups[part.Group].ReadRawAsync<T>(leaf, values, levels is null ? default(Memory<int>?) : levels,
                    repeated is null ? default(Memory<int>?) : repeated).AsTask().GetAwaiter().GetResult();
            }
            if (whole && repeated?.Count(r => r == 0) is { } rows && rows != part.To) throw new InvalidDataException($"it has {rows} rows where {part.To} are due");
            var read = new ParquetLeaf(leaf, levels, repeated, (json, i) => write(json, values[i]));
            read.Skip(part.From - found.FirstRow);
            return read;
        }

        // Of bytes that are no text, and of numbers that JSON does not have, the line is refused with its number, as it would be in JSON Lines.
        static void Text(Utf8JsonWriter json, ReadOnlySpan<byte> text)
        {
            if (Utf8.IsValid(text)) json.WriteStringValue(text);
            else json.WriteRawValue([(byte)'"', 0xFF, (byte)'"'], skipInputValidation: true);
        }

        static void Number(Utf8JsonWriter json, double value)
        {
            if (double.IsFinite(value)) json.WriteNumberValue(value);
            else json.WriteStringValue(value.ToString(System.Globalization.CultureInfo.InvariantCulture));
        }
    }

    // Text, a number, a list of one of them, or a list of structures of them.
    DataField[] Leaves(Field field) => field switch
    {
        DataField leaf when leaf.MaxRepetitionLevel <= 1 => [leaf],
        ListField { Item: DataField leaf } => [leaf],
        ListField { Item: StructField item } when item.Fields.All(f => f is DataField) => [.. item.Fields.Cast<DataField>()],
        _ => throw new InputException($"{Path} has a column {field.Name} of a kind that no example has; "
            + "it may be a text, a list of numbers, or a list of messages, each with role and content."),
    };

    string Where(Part part) => $", row group {part.Group + 1} of {groups.Length},";

    // A damaged file shows as whatever exception the reader runs into; only some are made to be read by people.
    T Guard<T>(Func<T> read, string? where = null)
    {
        try
        {
            return read();
        }
        catch (Exception e) when (e is not (InputException or OutOfMemoryException))
        {
            if (e is AggregateException { InnerExceptions: [var first, ..] }) e = first;
            var why = e is InvalidDataException or IOException or NotSupportedException or ParquetException ? e.Message.TrimEnd('.')
                : where is null ? "its footer is damaged" : "it is damaged";
            throw new InputException($"{Path}{where} cannot be read as Parquet: {why}.");
        }
    }

    /// <summary>What Parquet.Net reads: the footer at first, then the pages that it is to read next.</summary>
    sealed class SwitchedStream : Stream
    {
        public MemoryStream Content { get; set; } = new();
        public override bool CanRead => true;
        public override bool CanSeek => true;
        public override bool CanWrite => false;
        public override long Length => Content.Length;
        public override long Position { get => Content.Position; set => Content.Position = value; }
        public override int ReadByte() => Content.ReadByte();
        public override int Read(byte[] buffer, int offset, int count) => Content.Read(buffer, offset, count);
        public override int Read(Span<byte> buffer) => Content.Read(buffer);
        public override long Seek(long offset, SeekOrigin origin) => Content.Seek(offset, origin);
        public override void Flush() => Content.Flush();
        public override void SetLength(long value) => throw new NotSupportedException();
        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
