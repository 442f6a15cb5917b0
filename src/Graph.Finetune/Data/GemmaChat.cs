using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Finetune.Tokenization;

namespace Graph.Finetune.Data;

public enum ChatRole { System, User, Model }

public sealed record ChatMessage(ChatRole Role, string Content);

/// <summary>
/// Conversations in Gemma's format: &lt;bos&gt;, then for every message &lt;start_of_turn&gt;user or model, a newline,
/// the content without the white space around it, &lt;end_of_turn&gt;, a newline. Gemma has no system role:
/// a system text stands before the first user text, with an empty line between. A content is text, whatever it says: no id of a turn, of BOS or of EOS ever comes from one.
/// </summary>
/// <exception cref="InputException">The tokenizer has no piece for a turn.</exception>
public sealed class GemmaChat(SentencePieceTokenizer tokenizer)
{
    const string StartPiece = "<start_of_turn>", EndPiece = "<end_of_turn>";

    readonly int start = Required(tokenizer, StartPiece), end = Required(tokenizer, EndPiece);
    readonly int[] newline = tokenizer.EncodeContent("\n");

    /// <summary>What is wrong with the order of roles, as the end of a sentence; null: nothing. Gemma was trained on a user and a model that take turns, the user first.</summary>
    public static string? Fault(IReadOnlyList<ChatMessage> messages)
    {
        if (messages.Count == 0) return "has no message";
        var first = messages[0].Role == ChatRole.System ? 1 : 0;
        if (messages.Count == first) return "has a system text but no user text to put it before";
        for (var i = first; i < messages.Count; i++)
        {
            var due = (i - first) % 2 == 0 ? ChatRole.User : ChatRole.Model;
            if (messages[i].Role != due)
                return $"has a message of {Name(messages[i].Role)} at position {i}, where {Name(due)} is due; "
                    + "a conversation is an optional system text, then user and assistant in turn";
        }
        return null;
    }

    /// <summary>A whole conversation; labels are its ids, on completions only those of a model's content and of the end of its turn.</summary>
    public Example Encode(IReadOnlyList<ChatMessage> messages, LossOn lossOn, int line)
    {
        var (ids, labels) = (new List<int> { tokenizer.Bos }, new List<int> { lossOn == LossOn.All ? tokenizer.Bos : -100 });
        foreach (var (role, content) in Turns(messages))
        {
            var header = tokenizer.EncodeContent(role + "\n");
            int[] turn = [start, .. tokenizer.EncodeContent(role + "\n" + content), end, .. newline];
            var masked = lossOn == LossOn.All ? 0 : role == "user" ? turn.Length : 1 + header.Zip(turn.Skip(1)).TakeWhile(p => p.First == p.Second).Count();
            ids.AddRange(turn);
            labels.AddRange(Enumerable.Repeat(-100, masked));
            labels.AddRange(turn[masked..]);
        }
        int[] all = [.. ids];
        return new Example(all, lossOn == LossOn.All ? all : [.. labels], line);
    }

    /// <summary>Ids that a model goes on from to answer: the messages, and the start of a model's turn.</summary>
    public int[] Prompt(IReadOnlyList<ChatMessage> messages) => [.. Encode(messages, LossOn.All, 0).Ids, start, .. tokenizer.EncodeContent("model\n")];

    static IEnumerable<(string Role, string Content)> Turns(IReadOnlyList<ChatMessage> messages)
    {
        var before = "";
        foreach (var (role, content) in messages)
        {
            var text = Trim(content);
            if (role == ChatRole.System) before = text.Length > 0 ? text + "\n\n" : "";
            else yield return (role == ChatRole.User ? "user" : "model", before + text);
            if (role == ChatRole.User) before = "";
        }
    }

    // The template's trim is Python's: white space of Unicode, and the four separators of ASCII, which .NET does not count to it.
    static string Trim(string text)
    {
        var (from, to) = (0, text.Length);
        while (from < to && IsSpace(text[from])) from++;
        while (from < to && IsSpace(text[to - 1])) to--;
        return text[from..to];

        static bool IsSpace(char c) => char.IsWhiteSpace(c) || c is >= '\x1C' and <= '\x1F';
    }

    static string Name(ChatRole role) => role switch { ChatRole.System => "system", ChatRole.User => "user", _ => "assistant" };

    static int Required(SentencePieceTokenizer tokenizer, string piece) =>
        tokenizer.IdOf(piece)
            ?? throw new InputException($"the tokenizer has no piece {piece}, which a conversation needs; give the tokenizer of Gemma 2, or the data as prompt and completion.");
}
