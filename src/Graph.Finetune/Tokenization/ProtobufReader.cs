using System;
using System.Buffers.Binary;

namespace Graph.Finetune.Tokenization;

/// <summary>Reads the fields of one protobuf message, bounds-checked. Groups (wire types 3 and 4) are not read; no message here has them.</summary>
ref struct ProtobufReader(ReadOnlySpan<byte> message)
{
    ReadOnlySpan<byte> rest = message;

    /// <summary>Number of the field that <see cref="Next"/> found.</summary>
    public int Field { get; private set; }

    /// <summary>Value of a varint field; 0 for the others.</summary>
    public ulong Varint { get; private set; }

    /// <summary>Content of a length-delimited or fixed field.</summary>
    public ReadOnlySpan<byte> Content { get; private set; }

    /// <exception cref="FormatException">The message ends inside a field, or has a wire type that is not read.</exception>
    public bool Next()
    {
        if (rest.IsEmpty) return false;
        var tag = ReadVarint();
        if (tag >> 3 is 0 or > int.MaxValue) throw new FormatException($"field number {tag >> 3} is out of range");
        Field = (int)(tag >> 3);
        Varint = 0;
        Content = default;
        switch (tag & 7)
        {
            case 0: Varint = ReadVarint(); break;
            case 1: Content = Take(8); break;
            case 2: Content = Take(ReadVarint()); break;
            case 5: Content = Take(4); break;
            default: throw new FormatException($"field {Field} has wire type {tag & 7}, which is not known");
        }
        return true;
    }

    /// <summary>Content of a float field.</summary>
    public readonly float Float => Content.Length == 4 ? BinaryPrimitives.ReadSingleLittleEndian(Content) : throw new FormatException($"field {Field} is not a float");

    ReadOnlySpan<byte> Take(ulong count)
    {
        if (count > (ulong)rest.Length) throw new FormatException($"field {Field} needs {count} bytes but {rest.Length} are left");
        var taken = rest[..(int)count];
        rest = rest[(int)count..];
        return taken;
    }

    ulong ReadVarint()
    {
        var value = 0ul;
        for (var i = 0; i < 10 && i < rest.Length; i++)
        {
            value |= (ulong)(rest[i] & 127) << (7 * i);
            if (rest[i] >= 128) continue;
            rest = rest[(i + 1)..];
            return value;
        }
        throw new FormatException("a number does not end");
    }
}
