using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Security.Cryptography;
using System.Text;

namespace Graph.Finetune.Tokenization;

/// <summary>Kinds of pieces, with the numbers of sentencepiece_model.proto.</summary>
enum PieceKind { Normal = 1, Unknown = 2, Control = 3, UserDefined = 4, Unused = 5, Byte = 6 }

readonly record struct Piece(string Text, float Score, PieceKind Kind);

/// <summary>
/// What tokenizer.model says, checked to be of Gemma's family: BPE with byte fallback, identity normalisation, no dummy prefix, spaces kept as they are and escaped as U+2581.
/// Bytes[b] is the id of the piece for byte b.
/// </summary>
sealed record SentencePieceModel(IReadOnlyList<Piece> Pieces, int Bos, int Eos, int Unknown, string UnknownSurface, IReadOnlyList<int> Bytes)
{
    const int MaxFileBytes = 256 << 20;

    /// <summary>SHA-256 of the file.</summary>
    public string Fingerprint { get; init; } = "";

    /// <exception cref="InputException">The file cannot be read, is no model, or is of a kind whose ids would differ from SentencePiece's.</exception>
    public static SentencePieceModel Load(string path)
    {
        try
        {
            if (!File.Exists(path)) throw new InputException($"there is no tokenizer '{path}'; text needs the model's tokenizer.model.");
            var length = new FileInfo(path).Length;
            if (length > MaxFileBytes) throw new InputException($"{path} has {length} bytes; a tokenizer.model has at most {MaxFileBytes}.");
            return Parse(path, File.ReadAllBytes(path));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InputException($"{path} cannot be read: {e.Message}");
        }
    }

    public static SentencePieceModel Parse(string path, ReadOnlySpan<byte> file)
    {
        try
        {
            var pieces = new List<Piece>();
            var trainer = new TrainerSpec(path);
            var normalizer = new NormalizerSpec(path);
            var reader = new ProtobufReader(file);
            while (reader.Next())
            {
                switch (reader.Field)
                {
                    case 1 when pieces.Count == BpeEncoder.MostPieces: throw new InputException($"{path} has more than {BpeEncoder.MostPieces} pieces.");
                    case 1: pieces.Add(ParsePiece(path, pieces.Count, reader.Content)); break;
                    case 2: trainer.Read(reader.Content); break;
                    case 3: normalizer.Read(reader.Content); break;
                }
            }
            trainer.Check();
            normalizer.Check();
            return new SentencePieceModel(pieces, trainer.Bos(pieces), trainer.Eos(pieces), CheckPieces(path, pieces), trainer.UnknownSurface,
                ByteIds(path, pieces)) { Fingerprint = Convert.ToHexStringLower(SHA256.HashData(file)) };
        }
        catch (FormatException e)
        {
            throw new InputException($"{path} is not a SentencePiece model: {e.Message}.");
        }
    }

    static Piece ParsePiece(string path, int id, ReadOnlySpan<byte> message)
    {
        string? text = null;
        var (score, kind) = (0f, PieceKind.Normal);
        var reader = new ProtobufReader(message);
        while (reader.Next())
        {
            switch (reader.Field)
            {
                case 1: text = Utf8(reader.Content); break;
                case 2: score = reader.Float; break;
                case 3: kind = (PieceKind)reader.Varint; break;
            }
        }
        if (string.IsNullOrEmpty(text)) throw new InputException($"{path}: piece {id} has no text.");
        if (kind is < PieceKind.Normal or > PieceKind.Byte) throw new InputException($"{path}: piece {id} ('{text}') is of kind {(int)kind}; 1 to 6 are known.");
        if (text.Length > BpeEncoder.LongestPiece) throw new InputException($"{path}: piece {id} has {text.Length} characters; {BpeEncoder.LongestPiece} are the most.");
        if (float.IsNaN(score)) throw new InputException($"{path}: the score of piece {id} ('{text}') is not a number.");
        return new Piece(text, score, kind);
    }

    /// <summary>Returns the id of the unknown piece.</summary>
    static int CheckPieces(string path, List<Piece> pieces)
    {
        var seen = new Dictionary<string, int>();
        var unknown = -1;
        for (var id = 0; id < pieces.Count; id++)
        {
            if (!seen.TryAdd(pieces[id].Text, id)) throw new InputException($"{path}: the pieces {seen[pieces[id].Text]} and {id} are both '{pieces[id].Text}'.");
            if (pieces[id].Kind != PieceKind.Unknown) continue;
            if (unknown >= 0) throw new InputException($"{path}: the pieces {unknown} and {id} both stand for the unknown.");
            unknown = id;
        }
        return unknown >= 0 ? unknown : throw new InputException($"{path}: none of the {pieces.Count} pieces stands for the unknown.");
    }

    static int[] ByteIds(string path, List<Piece> pieces)
    {
        var ids = new int[256];
        Array.Fill(ids, -1);
        for (var id = 0; id < pieces.Count; id++)
        {
            if (pieces[id].Kind != PieceKind.Byte) continue;
            var text = pieces[id].Text;
            if (text.Length != 6 || !text.StartsWith("<0x", StringComparison.Ordinal) || text[5] != '>'
                || !byte.TryParse(text.AsSpan(3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var value))
                throw new InputException($"{path}: piece {id} is a byte but reads '{text}'; it must be like <0x0A>.");
            ids[value] = id;
        }
        var missing = Array.IndexOf(ids, -1);
        return missing < 0 ? ids : throw new InputException($"{path}: there is no piece for byte 0x{missing:X2}.");
    }

    static string Utf8(ReadOnlySpan<byte> bytes) =>
        System.Text.Unicode.Utf8.IsValid(bytes) ? Encoding.UTF8.GetString(bytes) : throw new FormatException($"a text of {bytes.Length} bytes is not UTF-8");

    // The defaults are those of sentencepiece_model.proto.
    sealed class TrainerSpec(string path)
    {
        ulong kind = 1;
        bool byteFallback, whitespaceAsSuffix;
        long bos = 1, eos = 2;
        string? bosPiece, eosPiece;

        /// <summary>By its piece, as SentencePiece finds it; else by Gemma's name for it; else by the number that training gave it.</summary>
        public int Bos(List<Piece> pieces) => Special(pieces, bosPiece, "<bos>", bos, "begins");
        public int Eos(List<Piece> pieces) => Special(pieces, eosPiece, "<eos>", eos, "ends");

        public string UnknownSurface { get; private set; } = " \u2047 ";

        public void Read(ReadOnlySpan<byte> message)
        {
            var reader = new ProtobufReader(message);
            while (reader.Next())
            {
                switch (reader.Field)
                {
                    case 3: kind = reader.Varint; break;
                    case 24: whitespaceAsSuffix = reader.Varint != 0; break;
                    case 35: byteFallback = reader.Varint != 0; break;
                    case 41: bos = (int)reader.Varint; break;
                    case 42: eos = (int)reader.Varint; break;
                    case 44: UnknownSurface = Utf8(reader.Content); break;
                    case 46: bosPiece = Utf8(reader.Content); break;
                    case 47: eosPiece = Utf8(reader.Content); break;
                }
            }
        }

        public void Check()
        {
            if (kind != 2) throw new InputException($"{path} is a SentencePiece model of kind {kind}; only 2 (BPE), which Gemma has, can be read.");
            if (!byteFallback) throw new InputException($"{path} has no byte fallback; only models with it, such as Gemma's, can be read.");
            if (whitespaceAsSuffix) throw new InputException($"{path} treats white space as a suffix; only models that do not, such as Gemma's, can be read.");
        }

        int Special(List<Piece> pieces, string? named, string gemmas, long number, string does)
        {
            foreach (var text in new[] { named, gemmas })
            {
                if (text is not null && pieces.FindIndex(p => p.Text == text) is >= 0 and var id) return id;
            }
            return number >= 0 && number < pieces.Count ? (int)number : throw new InputException($"{path} has {pieces.Count} pieces but {does} a text with id {number}.");
        }
    }

    sealed class NormalizerSpec(string path)
    {
        int charsMap;
        bool dummyPrefix = true, removeExtraSpaces = true, escapeSpaces = true;

        public void Read(ReadOnlySpan<byte> message)
        {
            var reader = new ProtobufReader(message);
            while (reader.Next())
            {
                switch (reader.Field)
                {
                    case 2: charsMap = reader.Content.Length; break;
                    case 3: dummyPrefix = reader.Varint != 0; break;
                    case 4: removeExtraSpaces = reader.Varint != 0; break;
                    case 5: escapeSpaces = reader.Varint != 0; break;
                }
            }
        }

        public void Check()
        {
            if (charsMap > 0)
                throw new InputException($"{path} normalises characters by a map of {charsMap} bytes; only models that leave text as it is, such as Gemma's, can be read.");
            if (dummyPrefix || removeExtraSpaces || !escapeSpaces)
                throw new InputException($"{path} has add_dummy_prefix {dummyPrefix}, remove_extra_whitespaces {removeExtraSpaces}, escape_whitespaces {escapeSpaces}; "
                    + "only False, False, True, which Gemma has, can be read.");
        }
    }
}
