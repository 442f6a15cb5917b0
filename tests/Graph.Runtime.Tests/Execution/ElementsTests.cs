using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Cpu;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Runtime.Tests;

/// <summary>Values that a type cannot hold.</summary>
public class ElementsTests
{
    [Fact]
    public void LoadWeights_ValueTooLargeForTheType_IsRefused()
    {
        Assert.Equal(-1, Elements.FirstNonFinite(Elements.Convert(Of(65504f), StoredType.F32, ActType.F16, new byte[2]), StoredType.F16));
        Assert.Equal(0, Elements.FirstNonFinite(Elements.Convert(Of(65520f), StoredType.F32, ActType.F16, new byte[2]), StoredType.F16));
        Assert.Equal(0, Elements.FirstNonFinite(Elements.Convert(Of(3.4e38f), StoredType.F32, ActType.Bf16, new byte[2]), StoredType.Bf16));
        static byte[] Of(float value) => BitConverter.GetBytes(value);
    }

    // Every place in a piece, beside the width of any vector.
    [Theory, InlineData(StoredType.F32), InlineData(StoredType.Bf16), InlineData(StoredType.F16)]
    public void FirstNonFinite_OneAmongMany_IsFound(StoredType type)
    {
        var size = type == StoredType.F32 ? 4 : 2;
        ulong[] finite = type switch { StoredType.F32 => [0, 0x7F7FFFFF, 0xFF7FFFFF, 1], StoredType.Bf16 => [0, 0x7F7F, 0xFF7F, 1], _ => [0, 0x7BFF, 0xFBFF, 1] };
        ulong[] others = type switch { StoredType.F32 => [0x7F800000, 0xFF800000, 0x7FC00000, 0xFF800001], StoredType.Bf16 => [0x7F80, 0xFF80, 0x7FC0,
            0xFF81], _ => [0x7C00, 0xFC00, 0x7E00, 0xFC01] };
        for (var at = 0; at < 100; at++)
        {
            var bytes = Enumerable.Range(0, 100).SelectMany(i => BitConverter.GetBytes(finite[i % 4])[..size]).ToArray();
            Assert.Equal(-1, Elements.FirstNonFinite(bytes, type));
            BitConverter.GetBytes(others[at % 4]).AsSpan(0, size).CopyTo(bytes.AsSpan(at * size));
            Assert.Equal(at * size, Elements.FirstNonFinite(bytes, type));
        }
    }
}
