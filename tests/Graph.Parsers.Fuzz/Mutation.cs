using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Linq;
using System.Text;

namespace Graph.Parsers.Fuzz;

/// <summary>Damages valid bytes: bits, lengths, places, numbers, nesting. The same number gives the same bytes.</summary>
static class Mutation
{
    /// <summary>Longer inputs are cut.</summary>
    public const int MostBytes = 1 << 17;

    static readonly byte[][] Extremes =
    [
        .. new[]
        {
            "0", "-0", "-1", "1", "2147483647", "2147483648", "-2147483648", "4294967295", "9223372036854775807", "9223372036854775808", "-9223372036854775808",
            "18446744073709551616", "1e308", "1e309", "-1e400", "1e-400", "0.1",
            "1E5", "NaN", "Infinity", "null", "true", "\"\"", "[]", "{}", "\"\\ud800\"", "\"\\u0000\"", "\u00e9", "\U0001F600", "<eos>", "<start_of_turn>", "\r\n", "\n",
            "\0", "\uFEFF", "../", "/", ",", ":", "=", "\"", "//", "/*", "\\",
        }.Select(Encoding.UTF8.GetBytes),
        [0xFF], [0x80], [0xED, 0xA0, 0x80], [0xC0, 0xAF], [0xFF, 0xFF, 0xFF, 0xFF, 0x0F],
        [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], [0xFE, 0xFF, 0xFF, 0xFF, 0x0F],
    ];

    static readonly string[] Nests = ["[", "{\"a\":", "[{\"messages\":", "(", "(a+"];

    public static byte[] Make(Random random, IReadOnlyList<byte[]> seeds)
    {
        var bytes = new List<byte>(seeds[random.Next(seeds.Count)]);
        // Now and then as it is: valid inputs must stay valid.
        for (var times = random.Next(24) == 0 ? 0 : 1 + random.Next(1 + random.Next(8)); times > 0; times--) Mutate(bytes, random, seeds);
        if (bytes.Count > MostBytes) bytes.RemoveRange(MostBytes, bytes.Count - MostBytes);
        return [.. bytes];
    }

    static void Mutate(List<byte> bytes, Random random, IReadOnlyList<byte[]> seeds)
    {
        var at = random.Next(bytes.Count + 1);
        var left = bytes.Count - at;
        switch (random.Next(14))
        {
            case 0 or 1 when left > 0: bytes[at] ^= (byte)(1 << random.Next(8)); break;
            case 2 when left > 0: bytes[at] = (byte)random.Next(256); break;
            case 3 when left > 0: bytes[at] = (byte)(random.Next(2) == 0 ? bytes[at] + 1 : bytes[at] - 1); break;
            case 4: bytes.RemoveRange(at, left); break;
            case 5: bytes.RemoveRange(at, random.Next(1 + Math.Min(left, random.Next(2) == 0 ? 8 : 1000))); break;
            case 6 or 7: bytes.InsertRange(at, Extremes[random.Next(Extremes.Length)]); break;
            case 8: Number(bytes, random, at); break;
            case 9: Words(bytes, random, at); break;
            case 10: bytes.InsertRange(random.Next(bytes.Count + 1), bytes.GetRange(at, random.Next(1 + Math.Min(left, 1000)))); break;
            case 11: Splice(bytes, seeds[random.Next(seeds.Count)], random, at); break;
            case 12: Repeat(bytes, random, at); break;
            case 13: Nest(bytes, random, at); break;
        }
    }

    // The next number that is written in digits becomes another one.
    static void Number(List<byte> bytes, Random random, int at)
    {
        while (at < bytes.Count && !char.IsAsciiDigit((char)bytes[at])) at++;
        var end = at;
        while (end < bytes.Count && char.IsAsciiDigit((char)bytes[end])) end++;
        bytes.RemoveRange(at, end - at);
        bytes.InsertRange(at, Extremes[random.Next(17)]);
    }

    // A word of 4 or 8 bytes, as lengths and offsets are.
    static void Words(List<byte> bytes, Random random, int at)
    {
        var value = random.Next(6) switch
        {
            0 => long.MaxValue, 1 => int.MaxValue, 2 => -1, 3 => 1L << random.Next(63), 4 => bytes.Count + random.Next(-8, 9), _ => random.NextInt64(),
        };
        Span<byte> word = stackalloc byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(word, value);
        var size = random.Next(2) == 0 ? 4 : 8;
        for (var i = 0; i < size && at + i < bytes.Count; i++) bytes[at + i] = word[i];
    }

    static void Splice(List<byte> bytes, byte[] other, Random random, int at)
    {
        bytes.RemoveRange(at, bytes.Count - at);
        bytes.AddRange(other.AsSpan(random.Next(other.Length + 1)));
    }

    static void Repeat(List<byte> bytes, Random random, int at)
    {
        var part = bytes.GetRange(at, random.Next(1 + Math.Min(bytes.Count - at, 64)));
        var times = 1 << random.Next(12);
        if (part.Count > 0) bytes.InsertRange(at, Times([.. part], Math.Clamp((MostBytes - bytes.Count + part.Count - 1) / part.Count, 0, times)));
    }

    static void Nest(List<byte> bytes, Random random, int at)
    {
        var open = Encoding.ASCII.GetBytes(Nests[random.Next(Nests.Length)]);
        var deep = 1 << random.Next(15);
        bytes.InsertRange(at, Times(open, Math.Min(deep, MostBytes / open.Length)));
    }

    // At once: a list that receives them one by one moves what lies behind each time.
    static byte[] Times(byte[] part, int times)
    {
        var all = new byte[part.Length * times];
        for (var i = 0; i < times; i++) part.CopyTo(all, i * part.Length);
        return all;
    }
}
