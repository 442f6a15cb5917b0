using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;

namespace Graph.Finetune.Data;

/// <summary>Types on the wire of Thrift's compact protocol. A boolean in a structure is its type.</summary>
enum Wire : byte { Stop, True, False, Byte, I16, I32, I64, Double, Binary, List, Set, Map, Struct }

/// <summary>A field that is read; others are passed over. Of a list <paramref name="Of"/> is its elements' type.</summary>
readonly record struct ThriftField(Wire Type, ThriftStruct? Struct = null, Wire Of = Wire.Stop);

/// <summary>The fields of a structure by their numbers.</summary>
sealed class ThriftStruct(params IReadOnlyList<(int Id, ThriftField Field)> fields)
{
    readonly Dictionary<int, ThriftField> byId = fields.ToDictionary(f => f.Id, f => f.Field);

    public ThriftField? Find(int id) => byId.TryGetValue(id, out var field) ? field : null;
}

/// <summary>
/// Reads Thrift's compact protocol and believes none of its lengths.
/// Parquet.Net's own reader follows damaged bytes for ever, so it is given copies of what was read here: known fields of their known types, and nothing else.
/// Source: thrift-compact-protocol.md.
/// </summary>
/// <exception cref="InvalidDataException">Thrown by all methods: the bytes end too soon, or are no such structure.</exception>
ref struct CompactThrift(ReadOnlySpan<byte> bytes)
{
    const int Deepest = 32;

    readonly ReadOnlySpan<byte> bytes = bytes;

    /// <summary>Bytes that were read.</summary>
    public int At { get; private set; }

    public bool Next(ref int id, out Wire type)
    {
        var head = Byte();
        type = (Wire)(head & 15);
        if (type == Wire.Stop) return false;
        if (type > Wire.Struct) throw new InvalidDataException($"a field has the type {(int)type}, which there is not");
        id = head >> 4 == 0 ? (int)Number() : id + (head >> 4);
        return true;
    }

    /// <summary>A whole number of any size.</summary>
    public long Number() => Varint() is var n ? (long)(n >> 1) ^ -(long)(n & 1) : 0;

    /// <summary>The structure that begins here, with the fields of the layout alone.</summary>
    public void Copy(ThriftStruct layout, MemoryStream to, int depth = 0)
    {
        for (var id = 0; Next(ref id, out var type);)
        {
            if (layout.Find(id) is not { } field || !(field.Type == type || (field.Type, type) is (Wire.True, Wire.False)))
            {
                Skip(type, depth);
                continue;
            }
            ThriftWriter.Field(to, id, type);
            Value(type, field, to, depth);
        }
        to.WriteByte((byte)Wire.Stop);
    }

    /// <summary>Passes over a value.</summary>
    public void Skip(Wire type, int depth = 0)
    {
        if (depth > Deepest) throw new InvalidDataException("structures are nested too deep");
        switch (type)
        {
            case Wire.True or Wire.False: break;
            case Wire.Byte: Byte(); break;
            case Wire.I16 or Wire.I32 or Wire.I64: Varint(); break;
            case Wire.Double: Take(8); break;
            case Wire.Binary: Take(Varint()); break;
            case Wire.Struct:
                for (var id = 0; Next(ref id, out var inner);) Skip(inner, depth + 1);
                break;
            case Wire.List or Wire.Set:
                var (count, of) = List();
                // A boolean of a list is a byte.
                for (var i = 0; i < count; i++) Skip(of is Wire.True or Wire.False ? Wire.Byte : of, depth + 1);
                break;
            default: throw new InvalidDataException("a map is no part of Parquet");
        }
    }

    void Value(Wire type, ThriftField field, MemoryStream to, int depth)
    {
        if (depth > Deepest) throw new InvalidDataException("structures are nested too deep");
        var from = At;
        switch (type)
        {
            case Wire.Struct: Copy(field.Struct!, to, depth + 1); return;
            case Wire.List:
                var (count, of) = List();
                if (of != field.Of) throw new InvalidDataException($"a list has elements of the type {of} where {field.Of} is due");
                ThriftWriter.List(to, count, of);
                for (var i = 0; i < count; i++) Value(of, field, to, depth + 1);
                return;
        }
        Skip(type, depth);
        to.Write(bytes[from..At]);
    }

    (int Count, Wire Of) List()
    {
        var head = Byte();
        var count = head >> 4 == 15 ? Varint() : (ulong)(head >> 4);
        if (count > (ulong)(bytes.Length - At)) throw new InvalidDataException($"a list of {count} elements does not fit into {bytes.Length - At} bytes");
        return ((int)count, (Wire)(head & 15));
    }

    byte Byte() => At < bytes.Length ? bytes[At++] : throw new InvalidDataException($"it ends after {bytes.Length} bytes, inside of a structure");

    ulong Varint()
    {
        var value = 0UL;
        for (var shift = 0; shift < 64; shift += 7)
        {
            var b = Byte();
            value |= (ulong)(b & 127) << shift;
            if (b < 128) return value;
        }
        throw new InvalidDataException("a number does not end");
    }

    void Take(ulong count)
    {
        if (count > (ulong)(bytes.Length - At)) throw new InvalidDataException($"{count} bytes do not fit into {bytes.Length - At}");
        At += (int)count;
    }
}

/// <summary>Writes Thrift's compact protocol.</summary>
static class ThriftWriter
{
    public static void Field(MemoryStream to, int id, Wire type)
    {
        to.WriteByte((byte)type);
        Number(to, id);
    }

    public static void Number(MemoryStream to, long value) => Varint(to, (ulong)(value << 1 ^ value >> 63));

    public static void List(MemoryStream to, int count, Wire of)
    {
        to.WriteByte((byte)(0xF0 | (int)of));
        Varint(to, (ulong)count);
    }

    static void Varint(MemoryStream to, ulong value)
    {
        for (; value >= 128; value >>= 7) to.WriteByte((byte)(value | 128));
        to.WriteByte((byte)value);
    }
}
