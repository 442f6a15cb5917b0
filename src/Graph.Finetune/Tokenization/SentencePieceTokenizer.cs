using System;
using System.Buffers;
using System.Collections.Generic;
using System.IO;
using System.Text;
using System.Text.RegularExpressions;

namespace Graph.Finetune.Tokenization;

/// <summary>
/// Gemma's tokenizer: the BPE of SentencePiece on tokenizer.model, id for id (<see cref="BpeEncoder"/>). Half of a
/// surrogate pair is read as U+FFFD. Time is n log n in the text's length. Safe for several threads at once.
/// </summary>
public sealed partial class SentencePieceTokenizer
{
    const char Space = '\u2581';

    readonly SentencePieceModel model;
    readonly BpeEncoder all, content;

    SentencePieceTokenizer(SentencePieceModel model)
    {
        this.model = model;
        all = new BpeEncoder(model, _ => true);
        content = new BpeEncoder(model, id => !IsSteering(id));
    }

    /// <summary>The id that begins a text; <see cref="Encode"/> does not add it.</summary>
    public int Bos => model.Bos;

    /// <summary>The id that ends a text; <see cref="Encode"/> does not add it.</summary>
    public int Eos => model.Eos;

    /// <summary>SHA-256 of tokenizer.model.</summary>
    public string Fingerprint => model.Fingerprint;

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
        throw new InputException(Directory.Exists(path) ? $"'{path}' has no tokenizer.model{(File.Exists(Path.Combine(path, "tokenizer.json"))
                ? "; its tokenizer.json is not read, so take the tokenizer.model of the model that it was made from, or name that model's directory" : "")}."
            : $"there is no tokenizer '{path}'; give a directory with tokenizer.model, or that file.");
    }

    internal static SentencePieceTokenizer Parse(string name, ReadOnlySpan<byte> file) => new(SentencePieceModel.Parse(name, file));

    /// <summary>
    /// Ids of a text as SentencePiece gives them, without BOS and EOS: user-defined pieces in it are found, control pieces such as &lt;bos&gt; are plain characters.
    /// </summary>
    public int[] Encode(string text) => all.Encode(Normalize(text));

    /// <summary>
    /// Ids of a text that somebody else wrote: as <see cref="Encode"/>, but what steers a conversation
    /// (<see cref="IsSteering"/>) is plain characters, whatever its kind in the model.
    /// </summary>
    public int[] EncodeContent(string text) => content.Encode(Normalize(text));

    /// <summary>The id of a piece of any kind, by its text; null: the model has none.</summary>
    public int? IdOf(string piece)
    {
        for (var id = 0; id < Count; id++)
        {
            if (model.Pieces[id].Text == piece) return id;
        }
        return null;
    }

    /// <summary>A piece as people read it: its text with spaces, or its own name where it stands for none, such as &lt;bos&gt; or &lt;0x0A&gt;.</summary>
    public string Piece(int id) => model.Pieces[id].Kind is PieceKind.Control or PieceKind.Unknown or PieceKind.Byte ? model.Pieces[id].Text
        : model.Pieces[id].Text.Replace(Space, ' ');

    /// <summary>What begins and ends texts and turns, stands for what is not there, or is free for such a use. No id of them ever comes from the content of a message.</summary>
    public bool IsSteering(int id) => id == Bos || id == Eos || model.Pieces[id].Kind is PieceKind.Control or PieceKind.Unknown || SteeringPiece().IsMatch(model.Pieces[id].Text);

    [GeneratedRegex("^<(start_of_turn|end_of_turn|bos|eos|pad|unk|mask|unused[0-9]+)>$", RegexOptions.CultureInvariant)]
    private static partial Regex SteeringPiece();

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
    static char[] Normalize(string text)
    {
        var result = text.ToCharArray();
        for (var i = 0; i < result.Length; i++)
        {
            if (result[i] == ' ') result[i] = Space;
            else if (char.IsHighSurrogate(result[i]) && i + 1 < result.Length && char.IsLowSurrogate(result[i + 1])) i++;
            else if (char.IsSurrogate(result[i])) result[i] = '\uFFFD';
        }
        return result;
    }
}
