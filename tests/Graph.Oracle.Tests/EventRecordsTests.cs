using System;
using System.Buffers;
using System.Linq;
using Graph.Finetune.Runs;
using Tensorboard;
using Xunit;

namespace Graph.Oracle.Tests;

/// <summary>The message classes that TorchSharp has of TensorBoard's format read what is written for it.</summary>
public sealed class EventRecordsTests
{
    static Event Parse(Action<ArrayBufferWriter<byte>> write)
    {
        var bytes = new ArrayBufferWriter<byte>();
        write(bytes);
        // Without the record around it.
        return Event.Parser.ParseFrom(bytes.WrittenSpan[12..^4].ToArray());
    }

    [Fact]
    public void Events_ReadByTorchSharp_AreWhatWasWritten()
    {
        var version = Parse(b => EventRecords.WriteVersion(b, 1700000000.5));
        Assert.Equal((1700000000.5, "brain.Event:2"), (version.WallTime, version.FileVersion));
        var start = Parse(b => EventRecords.WriteStart(b, 3, 1L << 40));
        Assert.Equal((1L << 40, SessionLog.Types.SessionStatus.Start), (start.Step, start.SessionLog.Status));
        var scalars = Parse(b => EventRecords.WriteScalars(b, 3, 200, [("train/loss", 1.5), ("ü", -2e-30)]));
        Assert.Equal([("train/loss", 1.5f), ("ü", -2e-30f)], scalars.Summary.Value.Select(v => (v.Tag, v.SimpleValue)));
        Assert.Equal(200, scalars.Step);
    }
}
