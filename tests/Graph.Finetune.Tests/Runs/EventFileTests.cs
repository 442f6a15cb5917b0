using System;
using System.Buffers;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using Graph.Finetune.Commands;
using Graph.Finetune.Runs;
using Graph.Finetune.Tests.Commands;
using Xunit;

namespace Graph.Finetune.Tests.Runs;

/// <summary>Event files for TensorBoard. Its own reader reads them in bench/tensorboard.py, and TorchSharp's message classes in the oracle tests.</summary>
public class EventFileTests
{
    // RFC 3720, B.4.
    [Theory]
    [InlineData("0000000000000000000000000000000000000000000000000000000000000000", 0x8A9136AAu)]
    [InlineData("ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", 0x62A8AB43u)]
    [InlineData("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", 0x46DD794Eu)]
    public void Crc32C_IsTheOneOfTheStandard(string data, uint crc) => Assert.Equal(crc, EventRecords.Crc32C(Convert.FromHexString(data)));

    // The first is how every event file begins; all three also come from another implementation of the format, in Python.
    [Fact]
    public void Records_AreTheGoldenBytes()
    {
        static string Hex(Action<ArrayBufferWriter<byte>> write)
        {
            var bytes = new ArrayBufferWriter<byte>();
            write(bytes);
            return Convert.ToHexStringLower(bytes.WrittenSpan);
        }
        Assert.Equal("1800000000000000a37f4b220900002040fc54d9411a0d627261696e2e4576656e743a322b353110", Hex(b => EventRecords.WriteVersion(b, 1700000000.5)));
        Assert.Equal("100000000000000095fbfe180900004040fc54d94110ad023a0208013d7b2bec", Hex(b => EventRecords.WriteStart(b, 1700000001, 301)));
        Assert.Equal("33000000000000000ca720560900009040fc54d94110ac022a250a110a0a747261696e2f6c6f737315000030400a100a096576616c2f6c6f7373150000807f25b4f59f",
            Hex(b => EventRecords.WriteScalars(b, 1700000002.25, 300, [("train/loss", 2.75), ("eval/loss", double.PositiveInfinity)])));
    }

    [Fact]
    public void Run_ThatGoesOn_HasItsStepsOnce()
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        var run = TestRun.Small(scratch, 9, saveEvery: 4);
        run = run with { Settings = run.Settings with { Evaluation = (run.Settings.Data, 3) } };
        run.RunUntil(output, RunStart.New, 6);
        // As if the process had died at step 6: it does the steps after the last checkpoint again.
        Directory.Delete(RunCheckpoint.FolderOf(Path.Combine(output, "checkpoints"), 6), true);
        run.Run(output, RunStart.Resume);
        var files = Directory.GetFiles(output, "events.out.tfevents.*").Order(StringComparer.Ordinal).ToArray();
        Assert.Equal(2, files.Length);
        var read = Read(files);
        var metrics = Gemma2Run.Metrics(output);
        Assert.Equal(metrics.Select(m => (m.GetProperty("step").GetInt64(), (float)m.GetProperty("loss").GetDouble())),
            read.Where(r => r.Tag == "train/loss").Select(r => (r.Step, r.Value)));
        Assert.Equal(metrics.Where(m => m.TryGetProperty("eval_loss", out _)).Select(m => (m.GetProperty("step").GetInt64(), (float)m.GetProperty("eval_loss").GetDouble())),
            read.Where(r => r.Tag == "eval/loss").Select(r => (r.Step, r.Value)));
        Assert.Equal(["eval/loss", "memory/peak_gib", "speed/step_ms", "speed/tokens_per_second",
            "train/epoch", "train/grad_norm", "train/learning_rate", "train/loss", "train/skipped"], read.Select(r => r.Tag).Distinct().Order());

        // Another run in their place.
        run.Run(output, RunStart.Overwrite);
        Assert.Equal(Enumerable.Range(1, 9).Select(i => (long)i),
            Read([Assert.Single(Directory.GetFiles(output, "events.out.tfevents.*"))]).Where(r => r.Tag == "train/loss").Select(r => r.Step));
    }

    // As TensorBoard reads: file by file, and a start drops what is there from its step on.
    static List<(long Step, string Tag, float Value)> Read(IEnumerable<string> files)
    {
        var read = new List<(long Step, string Tag, float Value)>();
        foreach (var file in files)
        {
            ReadOnlySpan<byte> bytes = File.ReadAllBytes(file);
            for (var first = true; bytes.Length > 0; first = false)
            {
                var length = (int)BinaryPrimitives.ReadInt64LittleEndian(bytes);
                Assert.Equal(Masked(bytes[..8]), BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..]));
                var content = bytes.Slice(12, length);
                Assert.Equal(Masked(content), BinaryPrimitives.ReadUInt32LittleEndian(bytes[(12 + length)..]));
                bytes = bytes[(16 + length)..];
                var fields = Fields(content);
                var step = fields.Where(f => f.Field == 2).Select(f => (long)f.Number).SingleOrDefault();
                Assert.Equal(first, fields.Any(f => f.Field == 3 && Encoding.UTF8.GetString(f.Bytes) == "brain.Event:2"));
                Assert.InRange(BitConverter.UInt64BitsToDouble(fields.Single(f => f.Field == 1).Number), 1.7e9, 1e10);
                if (fields.Any(f => f.Field == 7)) read.RemoveAll(r => r.Step >= step);
                foreach (var value in fields.Where(f => f.Field == 5).SelectMany(f => Fields(f.Bytes)).Select(f => Fields(f.Bytes)))
                    read.Add((step, Encoding.UTF8.GetString(value.Single(f => f.Field == 1).Bytes), BitConverter.UInt32BitsToSingle((uint)value.Single(f => f.Field == 2).Number)));
            }
        }
        return read;

        static uint Masked(ReadOnlySpan<byte> data) => EventRecords.Crc32C(data) is var c ? ((c >> 15) | (c << 17)) + 0xa282ead8 : 0;
    }

    static List<(int Field, ulong Number, byte[] Bytes)> Fields(ReadOnlySpan<byte> message)
    {
        var fields = new List<(int, ulong, byte[])>();
        while (message.Length > 0)
        {
            var key = Varint(ref message);
            var size = (key & 7) switch { 1 => 8, 5 => 4, 2 => (int)Varint(ref message), _ => 0 };
            fields.Add(((int)(key >> 3), (key & 7) switch { 0 => Varint(ref message), 1 => BinaryPrimitives.ReadUInt64LittleEndian(message),
                5 => BinaryPrimitives.ReadUInt32LittleEndian(message), _ => 0 }, message[..size].ToArray()));
            message = message[size..];
        }
        return fields;

        static ulong Varint(ref ReadOnlySpan<byte> from)
        {
            var value = 0ul;
            for (var shift = 0; ; shift += 7)
            {
                var b = from[0];
                from = from[1..];
                value |= (ulong)(b & 127) << shift;
                if (b < 128) return value;
            }
        }
    }
}
