using System;
using System.Buffers;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;

namespace Graph.Finetune.Tokenization;

/// <summary>
/// Gemma's tokenizer: the BPE of SentencePiece on tokenizer.model, id for id. User-defined pieces are cut out first, from the left, the longest that matches; the rest starts as single characters,
/// and the neighbours whose union is the piece of best score are joined, the leftmost of equals first, until none is left; a character without a piece becomes its UTF-8 bytes.
/// Control pieces such as &lt;bos&gt; in a text are plain characters. Half of a surrogate pair is read as U+FFFD. Time is n log n in the text's length. Safe for several threads at once.
/// Source: sentencepiece, bpe_model.cc and normalizer.cc, checked against its ids.
/// </summary>
public sealed class SentencePieceTokenizer
{
    const char Space = '\u2581';

    readonly SentencePieceModel model;
    readonly PieceTrie userDefined;
    readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> ids;
    readonly int longest;

    SentencePieceTokenizer(SentencePieceModel model)
    {
        this.model = model;
        var mergeable = new Dictionary<string, int>(StringComparer.Ordinal);
        for (var id = 0; id < model.Pieces.Count; id++)
        {
            if (model.Pieces[id].Kind is PieceKind.Normal or PieceKind.UserDefined or PieceKind.Unused) mergeable.Add(model.Pieces[id].Text, id);
        }
        ids = mergeable.GetAlternateLookup<ReadOnlySpan<char>>();
        longest = mergeable.Keys.Select(p => p.Length).DefaultIfEmpty().Max();
        userDefined = new PieceTrie(model.Pieces.Where(p => p.Kind == PieceKind.UserDefined).Select(p => p.Text));
    }

    /// <summary>The id that begins a text; <see cref="Encode"/> does not add it.</summary>
    public int Bos => model.Bos;

    /// <summary>The id that ends a text; <see cref="Encode"/> does not add it.</summary>
    public int Eos => model.Eos;

    /// <summary>Number of ids.</summary>
    public int Count => model.Pieces.Count;

    /// <exception cref="InputException">The file is missing, damaged, or of another kind than Gemma's.</exception>
    public static SentencePieceTokenizer Load(string pathToTokenizerModel) => new(SentencePieceModel.Load(pathToTokenizerModel));

    /// <summary>The tokenizer of a directory, or of a file.</summary>
    /// <exception cref="InputException">There is none, or it cannot be read.</exception>
    public static SentencePieceTokenizer Find(string path)
    {
        var file = Directory.Exists(path) ? Path.Combine(path, "tokenizer.model") : path;
        if (File.Exists(file)) return Load(file);
        throw new InputException(Directory.Exists(path) ? $"'{path}' has no tokenizer.model." : $"there is no tokenizer '{path}'; give a directory with tokenizer.model, or that file.");
    }

    internal static SentencePieceTokenizer Parse(string name, ReadOnlySpan<byte> file) => new(SentencePieceModel.Parse(name, file));

    /// <summary>A run of characters that is one piece so far; Length 0 once it was joined to its left neighbour. Frozen: a user-defined piece, which is never joined.</summary>
    struct Symbol
    {
        public int Start, Length, Previous, Next;
        public bool Frozen;
    }

    /// <summary>A possible union of a symbol with its right neighbour, when both together were Length long.</summary>
    readonly record struct Union(int Left, int Right, int Length);

    /// <summary>Ids of a text, without BOS and EOS.</summary>
    public int[] Encode(string text)
    {
        var normalized = Normalize(text);
        var symbols = Split(normalized);
        var queue = new PriorityQueue<Union, (float Score, int Left)>(BestThenLeftmost);
        // How a piece that only serves as a step towards others (Unused) was made, to take it apart again.
        Dictionary<string, int>? steps = null;
        for (var i = 1; i < symbols.Length; i++) Offer(i - 1, i);
        while (queue.TryDequeue(out var union, out _))
        {
            ref var left = ref symbols[union.Left];
            ref var right = ref symbols[union.Right];
            // Stale: one of the two has been joined to something else since.
            if (left.Length == 0 || right.Length == 0 || left.Length + right.Length != union.Length) continue;
            left.Length += right.Length;
            left.Next = right.Next;
            right.Length = 0;
            if (left.Next >= 0) symbols[left.Next].Previous = union.Left;
            Offer(left.Previous, union.Left);
            Offer(union.Left, left.Next);
        }
        var result = new List<int>(symbols.Length / 2);
        for (var i = symbols.Length == 0 ? -1 : 0; i >= 0; i = symbols[i].Next) Emit(normalized.AsSpan(symbols[i].Start, symbols[i].Length), steps, result);
        return [.. result];

        void Offer(int left, int right)
        {
            if (left < 0 || right < 0 || symbols[left].Frozen || symbols[right].Frozen) return;
            var length = symbols[left].Length + symbols[right].Length;
            if (length > longest || !ids.TryGetValue(normalized.AsSpan(symbols[left].Start, length), out var id)) return;
            queue.Enqueue(new Union(left, right, length), (model.Pieces[id].Score, left));
            if (model.Pieces[id].Kind == PieceKind.Unused) (steps ??= [])[model.Pieces[id].Text] = symbols[left].Length;
        }
    }

    /// <summary>The text of ids: control pieces are dropped, U+2581 is a space, byte pieces in a row are UTF-8 whose every wrong byte becomes U+FFFD.</summary>
    /// <exception cref="ArgumentOutOfRangeException">An id is not in the vocabulary.</exception>
    public string Decode(IReadOnlyList<int> ids)
    {
        var text = new StringBuilder();
        var bytes = new List<byte>();
        foreach (var id in ids)
        {
            if ((uint)id >= (uint)Count) throw new ArgumentOutOfRangeException(nameof(ids), $"tokenizer: id {id} is not in the vocabulary of {Count}.");
            var piece = model.Pieces[id];
            if (piece.Kind == PieceKind.Byte)
            {
                bytes.Add(Convert.FromHexString(piece.Text.AsSpan(3, 2))[0]);
                continue;
            }
            Flush();
            if (piece.Kind == PieceKind.Unknown) text.Append(model.UnknownSurface);
            else if (piece.Kind != PieceKind.Control) text.Append(piece.Text).Replace(Space, ' ', text.Length - piece.Text.Length, piece.Text.Length);
        }
        Flush();
        return text.ToString();

        void Flush()
        {
            for (ReadOnlySpan<byte> rest = System.Runtime.InteropServices.CollectionsMarshal.AsSpan(bytes); rest.Length > 0;)
            {
                var valid = Rune.DecodeFromUtf8(rest, out var rune, out var used) == OperationStatus.Done;
                text.Append(rune.ToString());
                rest = rest[(valid ? used : 1)..];
            }
            bytes.Clear();
        }
    }

    // Every ill-formed half of a surrogate pair becomes one U+FFFD, as the UTF-8 that SentencePiece reads would have it.
    static string Normalize(string text)
    {
        var result = text.ToCharArray();
        for (var i = 0; i < result.Length; i++)
        {
            if (result[i] == ' ') result[i] = Space;
            else if (char.IsHighSurrogate(result[i]) && i + 1 < result.Length && char.IsLowSurrogate(result[i + 1])) i++;
            else if (char.IsSurrogate(result[i])) result[i] = '\uFFFD';
        }
        return new string(result);
    }

    Symbol[] Split(string text)
    {
        var symbols = new List<Symbol>(text.Length);
        for (var start = 0; start < text.Length;)
        {
            var matched = userDefined.LongestPrefix(text.AsSpan(start));
            var length = matched > 0 ? matched : char.IsHighSurrogate(text[start]) ? 2 : 1;
            symbols.Add(new Symbol { Start = start, Length = length, Previous = symbols.Count - 1, Next = start + length < text.Length ? symbols.Count + 1 : -1, Frozen = matched > 0 });
            start += length;
        }
        return [.. symbols];
    }

    void Emit(ReadOnlySpan<char> piece, Dictionary<string, int>? steps, List<int> result)
    {
        if (!ids.TryGetValue(piece, out var id))
        {
            Span<byte> utf8 = stackalloc byte[8];
            foreach (var value in utf8[..Encoding.UTF8.GetBytes(piece, utf8)]) result.Add(model.Bytes[value]);
        }
        else if (model.Pieces[id].Kind == PieceKind.Unused && steps is not null && steps.TryGetValue(model.Pieces[id].Text, out var left))
        {
            Emit(piece[..left], steps, result);
            Emit(piece[left..], steps, result);
        }
        else
        {
            result.Add(id);
        }
    }

    static readonly Comparer<(float Score, int Left)> BestThenLeftmost =
        Comparer<(float Score, int Left)>.Create((x, y) => x.Score != y.Score ? y.Score.CompareTo(x.Score) : x.Left.CompareTo(y.Left));
}
