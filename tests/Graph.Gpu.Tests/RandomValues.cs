using System;
using System.Threading.Tasks;

namespace Graph.Gpu.Tests;

/// <summary>Random numbers by counter, so that any number of threads makes the same ones.</summary>
static class RandomValues
{
    const int Piece = 1 << 16;

    /// <summary>Near normal (the sum of four uniform bytes), rounded to the process's 16-bit type.</summary>
    internal static float[] Normal(int count, int seed, float deviation) =>
        Fill(count, seed, bits => Elem.Round(((int)((bits & 255) + (bits >> 8 & 255) + (bits >> 16 & 255) + (bits >> 24 & 255)) - 510) * (deviation / 147.8f)));

    /// <summary>Uniform in [low, high), rounded to the 16-bit type if <paramref name="elem"/>.</summary>
    internal static float[] Uniform(int count, int seed, float low, float high, bool elem) =>
        Fill(count, seed, bits => low + (high - low) * ((bits >> 8 & 0xffffff) / 16777216f) is var v && elem ? Elem.Round(v) : v);

    internal static int[] Below(int count, int seed, int bound)
    {
        var values = new int[count];
        for (var i = 0; i < count; i++) values[i] = (int)(Mix(Key(seed) + (ulong)i) % (ulong)bound);
        return Pinned.Ints(values);
    }

    /// <summary>values[i] = map(values[i], random bits).</summary>
    internal static void ForEach(float[] values, ulong key, Func<float, uint, float> map) => Parallel.For(0, (values.Length + Piece - 1) / Piece, piece =>
    {
        for (var i = piece * Piece; i < Math.Min(values.Length, (piece + 1) * Piece); i++) values[i] = map(values[i], (uint)(Mix(key + (ulong)i) >> 32));
    });

    static float[] Fill(int count, int seed, Func<uint, float> value)
    {
        var values = Pinned.Floats(count);
        ForEach(values, Key(seed), (_, bits) => value(bits));
        return values;
    }

    static ulong Key(int seed) => Mix((ulong)seed + 0x9E3779B97F4A7C15);

    static ulong Mix(ulong x)
    {
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9;
        x = (x ^ x >> 27) * 0x94D049BB133111EB;
        return x ^ x >> 31;
    }
}
