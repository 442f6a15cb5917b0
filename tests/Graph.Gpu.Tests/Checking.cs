using System;
using System.IO;
using System.Runtime.InteropServices;
using Graph.Runtime.Cuda;
using Graph.Runtime.Devices;

namespace Graph.Gpu.Tests;

/// <summary>A check saw a wrong value.</summary>
sealed class CheckException(string message) : Exception(message);

/// <summary>What every check needs: a device whose kernel cache is new, values, and bytes to and from it.</summary>
static class Checking
{
    /// <summary>A device with an empty cache of its own, so that each run compiles what it runs.</summary>
    internal static CudaDevice Open(string? target = null) =>
        CudaDevice.Create(target, compiler: new KernelCompiler(null, KernelCache.Open(Directory.CreateTempSubdirectory("gpu-tests-").FullName)));

    internal static void Require(bool condition, string sentence)
    {
        if (!condition) throw new CheckException(sentence);
    }

    internal static float[] Random(Random random, int count, float scale = 1)
    {
        var values = new float[count];
        for (var i = 0; i < count; i++) values[i] = ((float)random.NextDouble() * 2 - 1) * scale;
        return values;
    }

    internal static nint Upload<T>(this CudaDevice device, ReadOnlySpan<T> values) where T : unmanaged
    {
        var bytes = MemoryMarshal.AsBytes(values);
        var address = device.Allocate(bytes.Length);
        device.Upload(address, bytes);
        return address;
    }

    internal static T[] Download<T>(this CudaDevice device, nint address, int count) where T : unmanaged
    {
        var values = new T[count];
        device.Download(MemoryMarshal.AsBytes(values.AsSpan()), address);
        return values;
    }

    /// <summary>To the device's 16-bit type, nearest, ties to even.</summary>
    internal static ushort ToElem(float value, ActType act)
    {
        if (act == ActType.F16) return BitConverter.HalfToUInt16Bits((Half)value);
        var bits = BitConverter.SingleToUInt32Bits(value);
        return (ushort)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }

    internal static float FromElem(ushort bits, ActType act) =>
        act == ActType.F16 ? (float)BitConverter.UInt16BitsToHalf(bits) : BitConverter.UInt32BitsToSingle((uint)bits << 16);
}
