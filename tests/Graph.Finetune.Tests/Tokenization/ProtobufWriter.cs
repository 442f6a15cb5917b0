using System;
using System.Collections.Generic;
using System.Text;

namespace Graph.Finetune.Tests.Tokenization;

/// <summary>Writes a tokenizer.model for tests.</summary>
static class ProtobufWriter
{
    /// <summary>A BPE model of Gemma's family. Scores fall with the id, as training gives them; kinds: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.</summary>
    public static byte[] Model(IReadOnlyList<(string Text, float Score, int Kind)> pieces, int bos, int eos, string? bosPiece = null, string? eosPiece = null)
    {
        var file = new List<byte>();
        foreach (var (text, score, kind) in pieces) Bytes(file, 1, [.. Field(1, Encoding.UTF8.GetBytes(text)), 2 << 3 | 5, .. BitConverter.GetBytes(score), .. Number(3, kind)]);
        Bytes(file, 2, [.. Number(3, 2), .. Number(35, 1), .. Number(41, bos), .. Number(42, eos),
            .. bosPiece is null ? [] : Field(46, Encoding.UTF8.GetBytes(bosPiece)), .. eosPiece is null ? [] : Field(47, Encoding.UTF8.GetBytes(eosPiece))]);
        Bytes(file, 3, [.. Number(3, 0), .. Number(4, 0)]);
        return [.. file];
    }

    static byte[] Field(int field, byte[] content)
    {
        var bytes = new List<byte>();
        Bytes(bytes, field, content);
        return [.. bytes];
    }

    static void Bytes(List<byte> to, int field, byte[] content)
    {
        Varint(to, (ulong)(field << 3 | 2));
        Varint(to, (ulong)content.Length);
        to.AddRange(content);
    }

    static byte[] Number(int field, long value)
    {
        var bytes = new List<byte>();
        Varint(bytes, (ulong)(field << 3));
        Varint(bytes, (ulong)value);
        return [.. bytes];
    }

    static void Varint(List<byte> to, ulong value)
    {
        for (; value >= 128; value >>= 7) to.Add((byte)(value | 128));
        to.Add((byte)value);
    }
}
