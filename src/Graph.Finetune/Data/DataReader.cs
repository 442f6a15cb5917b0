using System;
using System.Collections.Generic;
using System.Linq;
using System.Text.Json;
using Graph.Finetune.Tokenization;
using Graph.Runtime.Planning;

namespace Graph.Finetune.Data;

/// <summary>
/// Reads JSON Lines; the fields of a line say its kind: input_ids (and labels) | messages | instruction, output (and input) | prompt, completion | text. Conversations have Gemma's format (<see cref="GemmaChat"/>), other
/// texts become &lt;bos&gt; text &lt;eos&gt;, ready ids stay as they are. Fields of other names are metadata and not looked at. Nothing is dropped and nothing is cut.
/// </summary>
public static class DataReader
{
    /// <summary>Reads as it is enumerated.</summary>
    /// <param name="tokenizer">Null where the model has none; then only ready ids can be read.</param>
    /// <exception cref="InputException">The file is missing or holds no example, or a line cannot be used; the sentence has its number and the reason.</exception>
    public static IEnumerable<Example> Read(string path, SentencePieceTokenizer? tokenizer, DataOptions options)
    {
        var (any, learns) = (false, false);
        foreach (var (line, fields) in JsonLines.ReadObjects(path))
        {
            var example = Parse(JsonLines.At(path, line), line, fields, tokenizer, options);
            if (example.Ids.Length > options.MaxTokens)
                throw new InputException($"{JsonLines.At(path, line)} has {example.Ids.Length} tokens but --seq is {options.MaxTokens}; raise --seq, shorten the line, or cut all lines into rows with --concat.");
            if (EmbeddingTables.Fault(options.Tables, "ids", example.Ids) is { } noRow) throw new InputException($"{JsonLines.At(path, line)} has {noRow}.");
            if (EmbeddingTables.Fault(options.Tables, "labels", example.Labels) is { } noLogit) throw new InputException($"{JsonLines.At(path, line)} has {noLogit}.");
            any = true;
            learns |= example.LabelCount > 0;
            yield return example;
        }
        if (!any) throw new InputException($"{path} holds no example; every line must be a JSON object.");
        if (!learns) throw new InputException($"{path} has no label but -100 in any line, so there is nothing to learn from.");
    }

    /// <summary>The text field of each line, for tokenizing alone.</summary>
    /// <exception cref="InputException">As in <see cref="Read"/>, or a line has no text.</exception>
    public static IEnumerable<(int Line, string Text)> Texts(string path)
    {
        var any = false;
        foreach (var (line, fields) in JsonLines.ReadObjects(path))
        {
            any = true;
            yield return (line, String(JsonLines.At(path, line), fields, "text"));
        }
        if (!any) throw new InputException($"{path} holds no line with a text.");
    }

    static Example Parse(string at, int line, JsonElement fields, SentencePieceTokenizer? tokenizer, DataOptions options)
    {
        if (Has("input_ids")) return Ready(at, line, fields, options);
        if (Has("messages")) return Conversation(at, line, fields, tokenizer, options);
        if (Has("conversations")) throw new InputException($"{at} is a conversation in the field conversations, which cannot be read; write it as messages, each with role and content.");
        if (Has("instruction"))
            return Answer(Alpaca.Prompt(String(at, fields, "instruction"), Has("input") ? String(at, fields, "input") : ""), String(at, fields, "output"));
        if (Has("prompt")) return Answer(String(at, fields, "prompt"), String(at, fields, "completion"));
        if (Has("text")) return Answer("", String(at, fields, "text"));
        var names = string.Join(", ", fields.EnumerateObject().Select(p => Json.Name(p)).Take(8));
        throw new InputException($"{at} has {(names.Length == 0 ? "no fields" : $"the fields {names}")}; an example has messages, instruction and output, prompt and completion, text, or input_ids.");

        bool Has(string name) => fields.TryGetProperty(name, out _);

        Example Answer(string prompt, string completion)
        {
            return Tokenized(line, prompt, completion, Required(at, tokenizer), options.LossOn);
        }
    }

    static SentencePieceTokenizer Required(string at, SentencePieceTokenizer? tokenizer) =>
        tokenizer ?? throw new InputException($"{at} is text, but there is no tokenizer.model in the model's directory; give --tokenizer, a model with a tokenizer, or input_ids.");

    static Example Conversation(string at, int line, JsonElement fields, SentencePieceTokenizer? tokenizer, DataOptions options)
    {
        var list = fields.GetProperty("messages");
        if (list.ValueKind != JsonValueKind.Array) throw new InputException($"{at} has messages = {Json.Show(list)}, which is not a list of messages.");
        var messages = list.EnumerateArray().Select((message, i) =>
        {
            var place = $"{at} in the message at position {i},";
            if (message.ValueKind != JsonValueKind.Object) throw new InputException($"{place} has {Json.Show(message)}, not an object with role and content.");
            ChatRole? role = String(place, message, "role") switch { "system" => ChatRole.System, "user" => ChatRole.User, "assistant" or "model" => ChatRole.Model, _ => null };
            return new ChatMessage(role ?? throw new InputException($"{place} has the role {Json.Show(message.GetProperty("role"))}; roles are system, user, assistant and model."), String(place, message, "content"));
        }).ToArray();
        if (GemmaChat.Fault(messages) is { } fault) throw new InputException($"{at} {fault}.");
        return new GemmaChat(Required(at, tokenizer)).Encode(messages, options.LossOn, line);
    }

    static Example Tokenized(int line, string prompt, string completion, SentencePieceTokenizer tokenizer, LossOn lossOn)
    {
        int[] ids = [tokenizer.Bos, .. tokenizer.Encode(prompt + completion), tokenizer.Eos];
        if (lossOn == LossOn.All || prompt.Length == 0) return new Example(ids, ids, line);
        // Prompt and answer are tokenized as one text, so the ids do not depend on where the loss is; a token that reaches over the border is part of the answer.
        var border = 1 + tokenizer.Encode(prompt).Zip(ids.Skip(1)).TakeWhile(p => p.First == p.Second).Count();
        return new Example(ids, [.. Enumerable.Repeat(-100, border), .. ids[border..]], line);
    }

    static Example Ready(string at, int line, JsonElement fields, DataOptions options)
    {
        var ids = Numbers(at, fields, "input_ids", id => id >= 0, options.Tables.FirstOrDefault(t => t.Input == "ids") is { } table ? $"ids are from 0 to {table.Rows - 1}" : "ids are from 0 on");
        if (ids.Length == 0) throw new InputException($"{at} has no input_ids.");
        var labels = fields.TryGetProperty("labels", out _)
            ? Numbers(at, fields, "labels", label => label is -100 or >= 0, "labels are -100 (no loss) or ids") : ids;
        if (labels.Length != ids.Length) throw new InputException($"{at} has {ids.Length} input_ids but {labels.Length} labels; there must be one label per id, not shifted.");
        if (fields.TryGetProperty("attention_mask", out _) && Numbers(at, fields, "attention_mask", mask => mask == 1, "padding cannot be read, leave it out").Length is var masks && masks != ids.Length)
            throw new InputException($"{at} has {ids.Length} input_ids but an attention_mask of {masks}; there must be one per id.");
        return new Example(ids, labels, line);
    }

    static int[] Numbers(string at, JsonElement fields, string name, Func<int, bool> allowed, string rule)
    {
        var list = fields.GetProperty(name);
        if (list.ValueKind != JsonValueKind.Array) throw new InputException($"{at} has {name} = {Json.Show(list)}, which is not a list of whole numbers.");
        var numbers = new int[list.GetArrayLength()];
        var i = 0;
        foreach (var element in list.EnumerateArray())
        {
            if (element.ValueKind != JsonValueKind.Number || !element.TryGetInt32(out numbers[i]) || !allowed(numbers[i]))
                throw new InputException($"{at} has {Json.Show(element)} at position {i} of {name}; {rule}.");
            i++;
        }
        return numbers;
    }

    static string String(string at, JsonElement fields, string name)
    {
        if (!fields.TryGetProperty(name, out var value)) throw new InputException($"{at} has no '{name}'.");
        if (value.ValueKind != JsonValueKind.String) throw new InputException($"{at} has {name} = {Json.Show(value)}, which is not a string.");
        return Json.Text(value) ?? throw new InputException($"{at} has half of a surrogate pair in {name}, which is no text.");
    }
}
