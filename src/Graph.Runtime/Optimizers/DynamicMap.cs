using System;

namespace Graph.Runtime.Optimizers;

/// <summary>
/// The values of 8-bit codes as bitsandbytes publishes them (create_dynamic_map, 7 exponent bits): decade i of 7 has n = 2^i values 10^(i-6) · (0.1 + 0.9 · (j + 0.5) / n)
/// with either sign, or n = 2^(i+1) without; then 0 and 1. Fine where values are small: a block's values are divided by its largest magnitude, and most are
/// far below it. adamw_8bit.cu has the same numbers.
/// </summary>
public static class DynamicMap
{
    /// <summary>Neighbouring elements that share a scale.</summary>
    public const int BlockElements = 256;

    const int Codes = 256;

    /// <summary>Ascending values in [-0.993, 1]: for the first moment.</summary>
    public static ReadOnlySpan<float> Signed => SignedValues;

    /// <summary>Ascending values in [0, 1]: for the second moment.</summary>
    public static ReadOnlySpan<float> Unsigned => UnsignedValues;

    static readonly float[] SignedValues = Create(signed: true), UnsignedValues = Create(signed: false);

    /// <summary>The code of the value nearest to x; of two that are equally near, the lower.</summary>
    public static byte Nearest(ReadOnlySpan<float> map, float x)
    {
        var code = 0;
        for (var step = Codes / 2; step > 0; step >>= 1)
            if (map[code + step] <= x) code += step;
        return (byte)(code < Codes - 1 && x > 0.5f * (map[code] + map[code + 1]) ? code + 1 : code);
    }

    static float[] Create(bool signed)
    {
        var map = new float[Codes];
        map[^1] = 1;
        var (zero, count) = (signed ? Codes / 2 - 1 : 0, 0);
        for (var i = 0; i < 7; i++)
        {
            var (n, decade) = (1 << (signed ? i : i + 1), Math.Pow(10, 6 - i));
            for (var j = 0; j < n; j++)
            {
                count++;
                map[zero + count] = (float)((0.1 + 0.9 * (j + 0.5) / n) / decade);
                if (signed) map[zero - count] = -map[zero + count];
            }
        }
        return map;
    }
}
