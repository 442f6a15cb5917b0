using System;
using System.Buffers;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Numerics;
using System.Text;

namespace Graph.Finetune.Runs;

/// <summary>
/// Records of a TensorBoard event file.
/// A record is the length n as u64, a masked CRC-32C of those 8 bytes as u32, n bytes, and theirs, little-endian; the n bytes are tensorflow.Event in protobuf.
/// The mask is ((c &gt;&gt; 15) | (c &lt;&lt; 17)) + 0xa282ead8. Scalars are simple values (fp32), which is what torch.utils.tensorboard writes.
/// Source: tensorboard/compat/proto/event.proto and summary.proto, tensorboard/summary/writer/record_writer.py.
/// </summary>
public static class EventRecords
{
    // Field numbers: of Event wall_time 1 (double), step 2, file_version 3, summary 5, session_log 7; of Summary value
    // 1; of its values tag 1, simple_value 2 (float); of SessionLog status 1, in which START is 1.
    const int Varint = 0, Fixed64 = 1, Bytes = 2, Fixed32 = 5;

    /// <summary>The first record of a file.</summary>
    /// <param name="time">Seconds since 1970.</param>
    public static void WriteVersion(IBufferWriter<byte> to, double time) => Write(to, time, 0, e => Text(e, 3, "brain.Event:2"));

    /// <summary>A run begins, or begins again, with this step: readers drop what earlier files have from there on.</summary>
    public static void WriteStart(IBufferWriter<byte> to, double time, long step) => Write(to, time, step, e => Message(e, 7, log => Number(log, 1, 1)));

    public static void WriteScalars(IBufferWriter<byte> to, double time, long step, IReadOnlyList<(string Tag, double Value)> scalars) =>
        Write(to, time, step, e => Message(e, 5, summary =>
    {
        foreach (var (tag, value) in scalars)
            Message(summary, 1, v =>
            {
                Text(v, 1, tag);
                Key(v, 2, Fixed32);
                BinaryPrimitives.WriteSingleLittleEndian(v.GetSpan(4), (float)value);
                v.Advance(4);
            });
    }));

    /// <summary>CRC-32C (Castagnoli): reflected, begun and ended with all bits turned.</summary>
    public static uint Crc32C(ReadOnlySpan<byte> data)
    {
        var crc = ~0u;
        foreach (var b in data) crc = BitOperations.Crc32C(crc, b);
        return ~crc;
    }

    static void Write(IBufferWriter<byte> to, double time, long step, Action<ArrayBufferWriter<byte>> what)
    {
        var content = new ArrayBufferWriter<byte>();
        Key(content, 1, Fixed64);
        BinaryPrimitives.WriteDoubleLittleEndian(content.GetSpan(8), time);
        content.Advance(8);
        if (step != 0) Number(content, 2, step);
        what(content);
        Span<byte> frame = stackalloc byte[12];
        BinaryPrimitives.WriteInt64LittleEndian(frame, content.WrittenCount);
        BinaryPrimitives.WriteUInt32LittleEndian(frame[8..], Masked(frame[..8]));
        to.Write(frame);
        to.Write(content.WrittenSpan);
        BinaryPrimitives.WriteUInt32LittleEndian(frame, Masked(content.WrittenSpan));
        to.Write(frame[..4]);
    }

    static uint Masked(ReadOnlySpan<byte> data) => BitOperations.RotateRight(Crc32C(data), 15) + 0xa282ead8;

    static void Key(ArrayBufferWriter<byte> to, int field, int kind) => Unsigned(to, (ulong)(field << 3 | kind));

    static void Number(ArrayBufferWriter<byte> to, int field, long value)
    {
        Key(to, field, Varint);
        Unsigned(to, (ulong)value);
    }

    static void Text(ArrayBufferWriter<byte> to, int field, string text)
    {
        Key(to, field, Bytes);
        Unsigned(to, (ulong)Encoding.UTF8.GetByteCount(text));
        to.Write(Encoding.UTF8.GetBytes(text));
    }

    static void Message(ArrayBufferWriter<byte> to, int field, Action<ArrayBufferWriter<byte>> fields)
    {
        var content = new ArrayBufferWriter<byte>();
        fields(content);
        Key(to, field, Bytes);
        Unsigned(to, (ulong)content.WrittenCount);
        to.Write(content.WrittenSpan);
    }

    static void Unsigned(ArrayBufferWriter<byte> to, ulong value)
    {
        for (; value >= 128; value >>= 7) to.Write([(byte)(value | 128)]);
        to.Write([(byte)value]);
    }
}
