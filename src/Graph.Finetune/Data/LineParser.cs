using System;
using System.Collections.Generic;
using System.Linq;
using System.Text.Json;
using Graph.Finetune.Tokenization;

namespace Graph.Finetune.Data;

/// <summary>Why a line cannot be used: the sentence that goes on after the file and the line's number.</summary>
sealed class LineException(string rest) : Exception(rest);

/// <summary>
/// Makes an example of the fields of a line, which say its kind: input_ids (and labels) | messages |
/// instruction, output (and input) | prompt, completion | text. Conversations have Gemma's format
/// (<see cref="GemmaChat"/>), other texts become &lt;bos&gt; text &lt;eos&gt;, ready ids stay as they are.
/// Fields of other names are metadata and not looked at; one that is null is not there.
/// Safe for several threads at once.
/// </summary>
/// <param name="tokenizer">Null where the model has none; then only ready ids can be read.</param>
/// <exception cref="LineException">Thrown by all methods: the line cannot be used.</exception>
sealed class LineParser(SentencePieceTokenizer? tokenizer, DataOptions options)
{
    readonly Lazy<GemmaChat> chat = new(() => new GemmaChat(tokenizer!));

    public static JsonDocument Object(ReadOnlyMemory<byte> line)
    {
        JsonDocument document;
        try
        {
            document = Json.Parse(line, "");
        }
        catch (InputException e)
        {
            throw new LineException(e.Message.TrimStart());
        }
        if (document.RootElement.ValueKind == JsonValueKind.Object) return document;
        using (document) throw new LineException($"is {Json.Show(document.RootElement)}, not an object with the fields of an example.");
    }

    public Example Parse(int line, JsonElement fields)
    {
        if (Has("input_ids")) return Ready(line, fields);
        if (Has("messages")) return Conversation(line, fields);
        if (Has("conversations")) throw new LineException("is a conversation in the field conversations, which cannot be read; write it as messages, each with role and content.");
        if (Has("instruction")) return Answer(line, Alpaca.Prompt(Text(fields, "instruction"), Has("input") ? Text(fields, "input") : ""), Text(fields, "output"));
        if (Has("prompt")) return Answer(line, Text(fields, "prompt"), Text(fields, "completion"));
        if (Has("text")) return Answer(line, "", Text(fields, "text"));
        var names = string.Join(", ", fields.EnumerateObject().Take(8).Select(f => f.Value.ValueKind == JsonValueKind.Null ? $"{Json.Name(f)} = null" : Json.Name(f)));
        throw new LineException($"has {(names.Length == 0 ? "no fields" : $"the fields {names}")}; "
            + "an example has messages, instruction and output, prompt and completion, text, or input_ids.");

        bool Has(string name) => Find(fields, name, out _);
    }

    // Data sets of several kinds of rows have null in the fields of the others.
    static bool Find(JsonElement fields, string name, out JsonElement value) => fields.TryGetProperty(name, out value) && value.ValueKind != JsonValueKind.Null;

    public static string Text(JsonElement fields, string name, string where = "")
    {
        if (!Find(fields, name, out var value)) throw new LineException($"{where}has no '{name}'.");
        if (value.ValueKind != JsonValueKind.String) throw new LineException($"{where}has {name} = {Json.Show(value)}, which is not a string.");
        return Json.Text(value) ?? throw new LineException($"{where}has half of a surrogate pair in {name}, which is no text.");
    }

    void RequireTokenizer()
    {
        if (tokenizer is null)
            throw new LineException("is text, but there is no tokenizer.model in the model's directory; give --tokenizer, a model with a tokenizer, or input_ids.");
    }

    Example Conversation(int line, JsonElement fields)
    {
        var list = fields.GetProperty("messages");
        if (list.ValueKind != JsonValueKind.Array) throw new LineException($"has messages = {Json.Show(list)}, which is not a list of messages.");
        var messages = list.EnumerateArray().Select((message, i) =>
        {
            var where = $"in the message at position {i}, ";
            if (message.ValueKind != JsonValueKind.Object) throw new LineException($"{where}has {Json.Show(message)}, not an object with role and content.");
            if (new[] { "tool_calls", "function_call" }.FirstOrDefault(field => message.TryGetProperty(field, out var call) && !IsNothing(call)) is { } calls)
                throw new LineException($"{where}has {calls}, for which Gemma's format has no place; write the call as content, or leave the line out.");
            ChatRole? role = Text(message, "role", where) switch { "system" => ChatRole.System, "user" => ChatRole.User, "assistant" or "model" => ChatRole.Model, _ => null };
            return new ChatMessage(role ?? throw new LineException($"{where}has the role {Json.Show(message.GetProperty("role"))}; roles are system, user, assistant and model."),
                Text(message, "content", where));
        }).ToArray();
        if (GemmaChat.Fault(messages) is { } fault) throw new LineException(fault + ".");
        RequireTokenizer();
        return chat.Value.Encode(messages, options.LossOn, line);
    }

    static bool IsNothing(JsonElement value) => value.ValueKind == JsonValueKind.Null || value.ValueKind == JsonValueKind.Array && value.GetArrayLength() == 0;

    Example Answer(int line, string prompt, string completion)
    {
        RequireTokenizer();
        int[] ids = [tokenizer!.Bos, .. tokenizer.Encode(prompt + completion), tokenizer.Eos];
        if (options.LossOn == LossOn.All || prompt.Length == 0) return new Example(ids, ids, line);
        // Prompt and answer are tokenized as one text, so the ids do not depend on where the loss is; a token that reaches over the border is part of the answer.
        var border = 1 + tokenizer.Encode(prompt).Zip(ids.Skip(1)).TakeWhile(p => p.First == p.Second).Count();
        return new Example(ids, [.. Enumerable.Repeat(-100, border), .. ids[border..]], line);
    }

    /// <summary>Fields beside input_ids with which other trainers say where there is loss and where documents end: to pass them over would train on something else.</summary>
    public static IReadOnlyList<string> Unread { get; } = ["completion_mask", "assistant_masks", "loss_mask", "position_ids", "seq_lengths"];

    /// <summary>What is to be done instead, as the rest of a sentence about one of them.</summary>
    public static string Advice(string unread) => $"{unread} beside input_ids, which is not read; "
        + (unread is "position_ids" or "seq_lengths" ? "give each document a line of its own, and they are packed here" : "give labels, with -100 where no loss is taken");

    Example Ready(int line, JsonElement fields)
    {
        if (Unread.FirstOrDefault(field => fields.TryGetProperty(field, out var value) && !IsNothing(value)) is { } unread) throw new LineException($"has {Advice(unread)}.");
        var ids = Numbers(fields, "input_ids", id => id >= 0,
            options.Tables.FirstOrDefault(t => t.Input == "ids") is { } table ? $"ids are from 0 to {table.Rows - 1}" : "ids are from 0 on");
        if (ids.Length == 0) throw new LineException("has no input_ids.");
        var labels = Find(fields, "labels", out _) ? Numbers(fields, "labels", label => label is -100 or >= 0, "labels are -100 (no loss) or ids") : ids;
        if (labels.Length != ids.Length) throw new LineException($"has {ids.Length} input_ids but {labels.Length} labels; there must be one label per id, not shifted.");
        if (Find(fields, "attention_mask", out _)
            && Numbers(fields, "attention_mask", mask => mask == 1, "padding cannot be read, leave it out").Length is var masks && masks != ids.Length)
            throw new LineException($"has {ids.Length} input_ids but an attention_mask of {masks}; there must be one per id.");
        return new Example(ids, labels, line);
    }

    static int[] Numbers(JsonElement fields, string name, Func<int, bool> allowed, string rule)
    {
        var list = fields.GetProperty(name);
        if (list.ValueKind != JsonValueKind.Array) throw new LineException($"has {name} = {Json.Show(list)}, which is not a list of whole numbers.");
        var numbers = new int[list.GetArrayLength()];
        var i = 0;
        foreach (var element in list.EnumerateArray())
        {
            if (element.ValueKind != JsonValueKind.Number || !element.TryGetInt32(out numbers[i]) || !allowed(numbers[i]))
                throw new LineException($"has {Json.Show(element)} at position {i} of {name}; {rule}.");
            i++;
        }
        return numbers;
    }
}
