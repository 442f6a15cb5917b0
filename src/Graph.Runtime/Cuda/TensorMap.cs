using System;
using System.Runtime.InteropServices;
using Graph.Runtime.Devices;

namespace Graph.Runtime.Cuda;

/// <summary>What the copy engine (TMA) needs to know of a matrix in device memory, as the driver encodes it: a kernel parameter by value.</summary>
[StructLayout(LayoutKind.Sequential, Size = 128)]
internal struct TensorMap
{
    const int Bf16 = 9, NoInterleave = 0, Swizzle128 = 3, PromoteL2To128 = 2, ZeroOutside = 0;

    /// <summary>A box is 64 columns, 128 bytes, of <paramref name="boxRows"/> rows; past the matrix's end it reads zeros.</summary>
    /// <param name="map">Receives the map; its address must be a multiple of 64.</param>
    /// <param name="address">First element, bf16; a multiple of 16 bytes.</param>
    /// <param name="pitch">Elements from row to row; a multiple of 8.</param>
    /// <exception cref="DeviceException">The driver refuses the matrix.</exception>
    internal static unsafe void Encode(TensorMap* map, nint address, int rows, int columns, int pitch, int boxRows, string label)
    {
        var extents = stackalloc ulong[] { (ulong)columns, (ulong)rows };
        var strides = stackalloc ulong[] { (ulong)pitch * 2 };
        var box = stackalloc uint[] { 64, (uint)boxRows };
        var steps = stackalloc uint[] { 1, 1 };
        Driver.Check(Driver.TensorMapEncodeTiled(map, Bf16, 2, address, extents, strides, box, steps, NoInterleave, Swizzle128, PromoteL2To128, ZeroOutside),
            $"cuTensorMapEncodeTiled for {label} (bf16 [{rows},{columns}] at {address:x}, pitch {pitch})");
    }
}
