using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using System.Threading;

namespace Graph.Finetune.Tokenization;

/// <summary>
/// The BPE of SentencePiece, id for id. User-defined pieces are cut out first, from the left, the longest that matches;
/// the rest starts as single characters, and the neighbours whose union is the piece of best score
/// are joined, the leftmost of equals first, until none is left; a character without a piece becomes its UTF-8 bytes.
/// A text is cut wherever two neighbours stand side by side in no piece:
/// no union can reach over such a place, so the parts, mostly words, are encoded one by one, and short ones are remembered.
/// A part of n characters takes about 14 n bytes while it is encoded. Safe for several threads at once.
/// Source: sentencepiece, bpe_model.cc and normalizer.cc, checked against its ids.
/// </summary>
sealed class BpeEncoder
{
    const int RememberedLength = 32, RememberedParts = 1 << 17;

    // A possible union is one number, so that the least is the next to make: the rank of its piece, where it starts, its length.
    const int LengthBits = 12, PlaceBits = 32;

    /// <summary>Pieces, and characters of one, that a union's number has room for.</summary>
    public const int MostPieces = 1 << (64 - LengthBits - PlaceBits), LongestPiece = (1 << LengthBits) - 1;

    // Beside a symbol's length: a user-defined piece, which is never joined.
    const ushort Frozen = 0x8000;

    readonly SentencePieceModel model;
    readonly PieceTrie userDefined;
    readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> ids;
    readonly ConcurrentDictionary<string, int[]> remembered = new(StringComparer.Ordinal);
    readonly ConcurrentDictionary<string, int[]>.AlternateLookup<ReadOnlySpan<char>> parts;
    readonly NeighbourSet? neighbours;
    readonly int[] ranks;
    readonly int longest;
    int rememberedCount;

    /// <param name="uses">Whether the piece of an id may come from a text. Control, unknown and byte pieces are never matched.</param>
    public BpeEncoder(SentencePieceModel model, Func<int, bool> uses)
    {
        this.model = model;
        var mergeable = new Dictionary<string, int>(StringComparer.Ordinal);
        for (var id = 0; id < model.Pieces.Count; id++)
        {
            if (model.Pieces[id].Kind is PieceKind.Normal or PieceKind.UserDefined or PieceKind.Unused && uses(id)) mergeable.Add(model.Pieces[id].Text, id);
        }
        ids = mergeable.GetAlternateLookup<ReadOnlySpan<char>>();
        parts = remembered.GetAlternateLookup<ReadOnlySpan<char>>();
        longest = mergeable.Keys.Select(p => p.Length).DefaultIfEmpty().Max();
        userDefined = new PieceTrie(mergeable.Where(p => model.Pieces[p.Value].Kind == PieceKind.UserDefined).Select(p => p.Key));
        // Equal scores have one rank, so that the leftmost of them is first.
        ranks = new int[model.Pieces.Count];
        var (rank, score) = (-1, float.NaN);
        foreach (var id in mergeable.Values.OrderByDescending(id => model.Pieces[id].Score))
        {
            if (model.Pieces[id].Score != score) (rank, score) = (rank + 1, model.Pieces[id].Score);
            ranks[id] = rank;
        }
        // How a piece that only serves as a step towards others (Unused) is taken apart depends on the whole text, which then is one part.
        if (!mergeable.Values.Any(id => model.Pieces[id].Kind == PieceKind.Unused)) neighbours = new NeighbourSet(mergeable.Keys);
    }

    /// <param name="text">Spaces as U+2581, and no half of a surrogate pair.</param>
    public int[] Encode(ReadOnlySpan<char> text)
    {
        var result = new List<int>(text.Length / 4 + 4);
        if (neighbours is null)
        {
            Merge(text, [], result);
            return [.. result];
        }
        var start = 0;
        for (var at = 0; at < text.Length;)
        {
            if (userDefined.LongestPrefix(text[at..]) is > 0 and var matched)
            {
                Part(text[start..at], result);
                result.Add(ids[text.Slice(at, matched)]);
                start = at += matched;
                continue;
            }
            at += char.IsHighSurrogate(text[at]) ? 2 : 1;
            if (at == text.Length || neighbours.Contains(text[at - 1], text[at])) continue;
            Part(text[start..at], result);
            start = at;
        }
        Part(text[start..], result);
        return [.. result];
    }

    void Part(ReadOnlySpan<char> part, List<int> result)
    {
        if (part.Length > RememberedLength)
        {
            Merge(part, null, result);
        }
        else if (parts.TryGetValue(part, out var known))
        {
            result.AddRange(known);
        }
        else if (part.Length > 0)
        {
            var first = result.Count;
            Merge(part, null, result);
            if (Volatile.Read(ref rememberedCount) < RememberedParts && parts.TryAdd(part, [.. result[first..]])) Interlocked.Increment(ref rememberedCount);
        }
    }

    /// <summary>
    /// Encodes a part, or a whole text where <paramref name="steps"/> is given: it receives, for each
    /// Unused piece, the length of the left one of the two that it was last made of.
    /// </summary>
    void Merge(ReadOnlySpan<char> text, Dictionary<string, int>? steps, List<int> result)
    {
        // length[i]: of the symbol that starts at i, or 0; before[i]: of the symbol that ends where one starts at i.
        var length = text.Length <= 256 ? stackalloc ushort[text.Length] : new ushort[text.Length];
        var before = text.Length <= 256 ? stackalloc ushort[text.Length] : new ushort[text.Length];
        length.Clear();
        var unions = new LeastFirst(text.Length);
        ushort symbol = 0;
        for (var at = 0; at < text.Length; at += symbol & ~Frozen)
        {
            before[at] = symbol;
            var matched = steps is null ? 0 : userDefined.LongestPrefix(text[at..]);
            length[at] = symbol = (ushort)(matched > 0 ? matched | Frozen : char.IsHighSurrogate(text[at]) ? 2 : 1);
            if (at > 0) Offer(text, at - (before[at] & ~Frozen), before[at], symbol, steps, unions);
        }
        while (unions.TryTake(out var union))
        {
            var (left, total) = ((int)(uint)(union >> LengthBits), (int)(union & LongestPiece));
            var right = left + length[left];
            // Stale: one of the two has been joined to something else since.
            if (length[left] == 0 || right >= text.Length || length[left] + length[right] != total) continue;
            (length[left], length[right]) = ((ushort)total, 0);
            if (left > 0) Offer(text, left - (before[left] & ~Frozen), before[left], length[left], steps, unions);
            var next = left + total;
            if (next == text.Length) continue;
            before[next] = (ushort)total;
            Offer(text, left, length[left], length[next], steps, unions);
        }
        for (int at = 0, count; at < text.Length; at += count) Emit(text.Slice(at, count = length[at] & ~Frozen), steps, result);
    }

    void Offer(ReadOnlySpan<char> text, int start, ushort left, ushort right, Dictionary<string, int>? steps, LeastFirst unions)
    {
        // A frozen symbol is longer than every piece.
        var total = left + right;
        if (total > longest || !ids.TryGetValue(text.Slice(start, total), out var id)) return;
        unions.Add((ulong)ranks[id] << (PlaceBits + LengthBits) | (ulong)(uint)start << LengthBits | (uint)total);
        if (steps is not null && model.Pieces[id].Kind == PieceKind.Unused) steps[model.Pieces[id].Text] = left;
    }

    void Emit(ReadOnlySpan<char> piece, Dictionary<string, int>? steps, List<int> result)
    {
        if (!ids.TryGetValue(piece, out var id))
        {
            Span<byte> utf8 = stackalloc byte[8];
            foreach (var value in utf8[..Encoding.UTF8.GetBytes(piece, utf8)]) result.Add(model.Bytes[value]);
        }
        else if (steps is not null && model.Pieces[id].Kind == PieceKind.Unused && steps.TryGetValue(model.Pieces[id].Text, out var left))
        {
            Emit(piece[..left], steps, result);
            Emit(piece[left..], steps, result);
        }
        else
        {
            result.Add(id);
        }
    }
}
