using System;
using System.Linq;
using System.Threading.Tasks;

namespace Graph.Runtime.Quantization;

/// <summary>How far dequantised values are from those that were quantised.</summary>
static unsafe class Nf4Error
{
    const int Piece = 1 << 16;

    /// <summary>Sums of squares of the values and of the differences, in double, in one order for any number of cores.</summary>
    /// <param name="values">fp32, or bf16.</param>
    public static (double Squares, double ErrorSquares) Of(ReadOnlySpan<byte> values, bool bf16, ReadOnlySpan<ushort> dequantized)
    {
        var count = dequantized.Length;
        var sums = new (double Squares, double Errors)[(count + Piece - 1) / Piece];
        fixed (byte* from = values)
        fixed (ushort* to = dequantized)
        {
            nint source = (nint)from, read = (nint)to;
            Parallel.For(0, sums.Length, p =>
            {
                double squares = 0, errors = 0;
                for (var i = p * Piece; i < Math.Min(count, (p + 1) * Piece); i++)
                {
                    double value = bf16 ? Widen(((ushort*)source)[i]) : ((float*)source)[i], off = Widen(((ushort*)read)[i]) - value;
                    squares += value * value;
                    errors += off * off;
                }
                sums[p] = (squares, errors);
            });
        }
        return (sums.Sum(s => s.Squares), sums.Sum(s => s.Errors));
    }

    static float Widen(ushort bf16) => BitConverter.UInt32BitsToSingle((uint)bf16 << 16);
}
