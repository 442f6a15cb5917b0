using System.Collections.Generic;
using System.Linq;
using System.Text;
using Graph.Finetune.Data;
using Graph.Finetune.Tokenization;

namespace Graph.Finetune.Commands;

/// <summary>Tokens of a document as text: on a terminal what is learnt is green and the rest is grey, every second token darker; elsewhere what is learnt stands in «».</summary>
static class InspectText
{
    public const string Plain = "\e[0m", Learnt = "\e[32m", Masked = "\e[90m";

    const int Shown = 400;

    /// <param name="tokenizer">Null: numbers are shown.</param>
    public static string Of(Example example, SentencePieceTokenizer? tokenizer, bool colours)
    {
        var text = new StringBuilder();
        var learnt = false;
        for (var t = 0; t < example.Ids.Length && t < Shown; t++)
        {
            // The first token is never predicted.
            var isLabel = t > 0 && example.Labels[t] != -100;
            if (!colours && isLabel != learnt) text.Append(isLabel ? '«' : '»');
            learnt = isLabel;
            if (colours) text.Append(isLabel ? Learnt : Masked).Append(t % 2 == 0 ? "" : "\e[2m");
            text.Append(tokenizer is null ? (t == 0 ? "" : " ") + example.Ids[t] : Piece(tokenizer, example.Ids[t]));
            if (colours) text.Append(Plain);
        }
        if (!colours && learnt) text.Append('»');
        if (example.Ids.Length > Shown) text.Append($" … {example.Ids.Length - Shown} more");
        return text.ToString();
    }

    static string Piece(SentencePieceTokenizer tokenizer, int id)
    {
        if (id >= tokenizer.Count) return $"<{id}>";
        // A line stays a line; what else a terminal would obey is shown by its code.
        return string.Join("↵\n", tokenizer.Piece(id).Split('\n').Select(Terminal.Plain));
    }
}
