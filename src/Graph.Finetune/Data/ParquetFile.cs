using System;
using System.Buffers;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.Json;
using System.Threading;
using Parquet;
using Parquet.Data;
using Parquet.Schema;

namespace Graph.Finetune.Data;

/// <summary>
/// A Parquet file: a block is a row group, given as JSON Lines of the fields that examples have; other columns are not read. Fields are texts, numbers, lists of numbers, and lists of messages. A null is a field that is not
/// there. One row group at a time is decoded; its memory is that of its columns.
/// </summary>
sealed class ParquetFile : IDataFile
{
    static readonly string[] Known = ["input_ids", "labels", "attention_mask", "messages", "conversations", "instruction", "input", "output", "prompt", "completion", "text"];

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
        var read = columns.Select(c => new Column(c.Field, [.. c.Leaves.Select(leaf => new Leaf(leaf, group.ReadRawColumnDataBaseAsync(leaf).GetAwaiter().GetResult()))])).ToArray();
        try
        {
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
        finally
        {
            foreach (var leaf in read.SelectMany(c => c.Leaves)) leaf.Dispose();
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
    sealed class Leaf(DataField column, RawColumnData raw) : IDisposable
    {
        int at, value;

        public DataField Field => column;

        /// <summary>A value that is there, below which level something around it is not.</summary>
        public int Level => column.MaxDefinitionLevel == 0 ? 0 : raw.DefinitionLevels[at];

        public bool IsMore => column.MaxRepetitionLevel > 0 && at < raw.RepetitionLevels.Length && raw.RepetitionLevels[at] > 0;

        public bool IsValue => Level == column.MaxDefinitionLevel;

        public void Write(Utf8JsonWriter json)
        {
            if (!IsValue) json.WriteNullValue();
            else
            {
                switch (raw)
                {
                    case RawColumnData<ReadOnlyMemory<char>> texts: json.WriteStringValue(texts.Values[value].Span); break;
                    case RawColumnData<ReadOnlyMemory<byte>> texts: json.WriteStringValue(texts.Values[value].Span); break;
                    case RawColumnData<int> numbers: json.WriteNumberValue(numbers.Values[value]); break;
                    case RawColumnData<long> numbers: json.WriteNumberValue(numbers.Values[value]); break;
                    case RawColumnData<short> numbers: json.WriteNumberValue(numbers.Values[value]); break;
                    case RawColumnData<ushort> numbers: json.WriteNumberValue(numbers.Values[value]); break;
                    case RawColumnData<uint> numbers: json.WriteNumberValue(numbers.Values[value]); break;
                    case RawColumnData<byte> numbers: json.WriteNumberValue(numbers.Values[value]); break;
                    case RawColumnData<sbyte> numbers: json.WriteNumberValue(numbers.Values[value]); break;
                    case RawColumnData<double> numbers: json.WriteNumberValue(numbers.Values[value]); break;
                    case RawColumnData<float> numbers: json.WriteNumberValue(numbers.Values[value]); break;
                    case RawColumnData<bool> flags: json.WriteBooleanValue(flags.Values[value]); break;
                    default: throw new InvalidDataException($"the column {column.Path} is of the type {column.ClrType.Name}, which no example has");
                }
            }
            Next();
        }

        public void Next()
        {
            if (IsValue) value++;
            at++;
        }

        public void Dispose() => raw.Dispose();
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
