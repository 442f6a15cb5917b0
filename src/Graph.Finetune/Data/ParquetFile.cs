using System;
using System.Buffers;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.Json;
using System.Threading;
using Parquet;
using Parquet.Schema;

namespace Graph.Finetune.Data;

/// <summary>
/// A Parquet file: a block is a row group, given as JSON Lines of the fields that examples have; other columns are not read. Fields are texts, numbers, lists of numbers, and lists of messages. A null is a field that is not
/// there. One row group at a time is decoded; its memory is that of its columns.
/// </summary>
sealed class ParquetFile : IDataFile
{
    static readonly string[] Known = ["input_ids", "labels", "attention_mask", "messages", "conversations", "instruction", "input", "output", "prompt", "completion", "text"];

    const int MostValues = 1 << 26;

    readonly FileStream stream;
    readonly ParquetReader reader;
    readonly Lock decoding = new();
    readonly (Field Field, DataField[] Leaves)[] columns;
    readonly long[] rows, bytes;

    /// <param name="stream">At any place; it is the file's own from here on.</param>
    /// <exception cref="InputException">It is damaged, or has a column of a kind that no example has.</exception>
    public ParquetFile(string path, FileStream stream)
    {
        (Path, this.stream) = (path, stream);
        try
        {
            reader = Guard(() => ParquetReader.CreateAsync(stream, leaveStreamOpen: true).GetAwaiter().GetResult());
            var fields = Guard(() => reader.Schema.Fields);
            columns = Guard(() => fields.Where(f => Known.Contains(f.Name)).Select(f => (f, Leaves(f))).ToArray());
            if (columns.Length == 0) throw new InputException($"{path} has the columns {string.Join(", ", fields.Take(8).Select(f => f.Name))}; an example has messages, instruction and output, prompt and completion, text, or input_ids.");
            var groups = Guard(() => reader.RowGroups.Select(g => (g.RowCount, g.RowGroup.TotalByteSize)).ToArray());
            (rows, bytes) = ([.. groups.Select(g => g.RowCount)], [.. groups.Select(g => Math.Max(1, g.TotalByteSize))]);
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
    public int Blocks => rows.Length;
    public long BytesOf(int block) => bytes[block];
    public long LinesBefore(int block) => rows.Take(block).Sum();
    public string At(long line) => $"{Path}, row {line},";

    public ReadOnlyMemory<byte> Load(int block)
    {
        lock (decoding) return Guard(() => Decode(block));
    }

    public void Dispose()
    {
        reader.DisposeAsync().AsTask().GetAwaiter().GetResult();
        stream.Dispose();
    }

    ReadOnlyMemory<byte> Decode(int block)
    {
        using var group = reader.OpenRowGroupReader(block);
        var read = columns.Select(c => new Column(c.Field, [.. c.Leaves.Select(leaf => Read(group, leaf))])).ToArray();
        var output = new ArrayBufferWriter<byte>(1 << 16);
        using var json = new Utf8JsonWriter(output);
        for (var row = 0L; row < rows[block]; row++)
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
    Leaf Read(ParquetRowGroupReader group, DataField leaf)
    {
        return leaf.ClrType switch
        {
            var t when t == typeof(ReadOnlyMemory<char>) || t == typeof(string) => Of<ReadOnlyMemory<char>>((json, v) => json.WriteStringValue(v.Span)),
            var t when t == typeof(ReadOnlyMemory<byte>) || t == typeof(byte[]) => Of<ReadOnlyMemory<byte>>((json, v) => json.WriteStringValue(v.Span)),
            var t when t == typeof(int) => Of<int>((json, v) => json.WriteNumberValue(v)),
            var t when t == typeof(long) => Of<long>((json, v) => json.WriteNumberValue(v)),
            var t when t == typeof(short) => Of<short>((json, v) => json.WriteNumberValue(v)),
            var t when t == typeof(ushort) => Of<ushort>((json, v) => json.WriteNumberValue(v)),
            var t when t == typeof(uint) => Of<uint>((json, v) => json.WriteNumberValue(v)),
            var t when t == typeof(byte) => Of<byte>((json, v) => json.WriteNumberValue(v)),
            var t when t == typeof(sbyte) => Of<sbyte>((json, v) => json.WriteNumberValue(v)),
            var t when t == typeof(double) => Of<double>((json, v) => json.WriteNumberValue(v)),
            var t when t == typeof(float) => Of<float>((json, v) => json.WriteNumberValue(v)),
            var t when t == typeof(bool) => Of<bool>((json, v) => json.WriteBooleanValue(v)),
            var t => throw new InvalidDataException($"the column {leaf.Path} is of the type {t.Name}, which no example has"),
        };

        Leaf Of<T>(Action<Utf8JsonWriter, T> write) where T : struct
        {
            var count = group.GetMetadata(leaf)?.MetaData?.NumValues ?? throw new InvalidDataException($"a row group lacks the column {leaf.Path}");
            if (count is < 0 or > MostValues) throw new InputException($"{Path} has {count} values of {leaf.Path} in one row group; write row groups of at most {MostValues}.");
            var (values, levels, repeated) = (new T[count], leaf.MaxDefinitionLevel > 0 ? new int[count] : null, leaf.MaxRepetitionLevel > 0 ? new int[count] : null);
            group.ReadRawAsync<T>(leaf, values, levels is null ? default(Memory<int>?) : levels, repeated is null ? default(Memory<int>?) : repeated).AsTask().GetAwaiter().GetResult();
            return new Leaf(leaf, levels, repeated, (json, i) => write(json, values[i]));
        }
    }

    // Text, a number, a list of one of them, or a list of structures of them.
    DataField[] Leaves(Field field) => field switch
    {
        DataField leaf when leaf.MaxRepetitionLevel <= 1 => [leaf],
        ListField { Item: DataField leaf } => [leaf],
        ListField { Item: StructField item } when item.Fields.All(f => f is DataField) => [.. item.Fields.Cast<DataField>()],
        _ => throw new InputException($"{Path} has a column {field.Name} of a kind that no example has; it may be a text, a list of numbers, or a list of messages, each with role and content."),
    };

    // A damaged file shows as whatever exception the reader runs into.
    T Guard<T>(Func<T> read)
    {
        try
        {
            return read();
        }
        catch (Exception e) when (e is not (InputException or OutOfMemoryException))
        {
            throw new InputException($"{Path} cannot be read as Parquet: {e.Message.TrimEnd('.')}.");
        }
    }

    /// <summary>The values of a leaf one after the other, with their levels (Dremel).</summary>
    sealed class Leaf(DataField column, int[]? levels, int[]? repeated, Action<Utf8JsonWriter, int> write)
    {
        int at, value;

        public DataField Field => column;

        /// <summary>How much of what is around a value, and it itself, is there.</summary>
        public int Level => levels is null ? 0 : levels[at];

        /// <summary>The value goes on a list.</summary>
        public bool IsMore => repeated is not null && at < repeated.Length && repeated[at] > 0;

        public bool IsValue => Level == column.MaxDefinitionLevel;

        public void Write(Utf8JsonWriter json)
        {
            if (IsValue) write(json, value);
            else json.WriteNullValue();
            Next();
        }

        public void Next()
        {
            if (IsValue) value++;
            at++;
        }
    }

    sealed record Column(Field Field, Leaf[] Leaves)
    {
        /// <summary>Writes the field of one row.</summary>
        public void Write(Utf8JsonWriter json)
        {
            var first = Leaves[0];
            if (first.Field.MaxRepetitionLevel == 0)
            {
                if (first.IsValue) json.WritePropertyName(Field.Name);
                if (first.IsValue) first.Write(json);
                else first.Next();
                return;
            }
            // An element is there from this level on; one below it the list is empty, and further below it is null.
            var element = Field is ListField list ? list.MaxDefinitionLevel : first.Field.MaxDefinitionLevel;
            if (first.Level < element)
            {
                if (first.Level == element - 1) json.WriteStartArray(Field.Name);
                if (first.Level == element - 1) json.WriteEndArray();
                foreach (var leaf in Leaves) leaf.Next();
                return;
            }
            json.WriteStartArray(Field.Name);
            do
            {
                if (Field is ListField { Item: StructField })
                {
                    json.WriteStartObject();
                    foreach (var leaf in Leaves)
                    {
                        json.WritePropertyName(leaf.Field.Name);
                        leaf.Write(json);
                    }
                    json.WriteEndObject();
                }
                else
                {
                    first.Write(json);
                }
            }
            while (first.IsMore);
            json.WriteEndArray();
        }
    }
}
