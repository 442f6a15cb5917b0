using System.Collections.Generic;
using System.CommandLine;
using System.Globalization;
using System.IO;
using System.Text;
using Graph.Finetune.Data;
using Graph.Finetune.Tokenization;

namespace Graph.Finetune.Commands;

/// <summary>Lines {"text":…} in, lines {"ids":[…]} out, without BOS and EOS.</summary>
static class TokenizeCommand
{
    public static Command Create(Terminal terminal)
    {
        var model = OptionKinds.Text("--model", "DIR", "directory with tokenizer.model, or that file");
        var data = OptionKinds.List("--data", "FILE", "JSON Lines with a text in every line");
        model.Required = data.Required = true;
        var command = new Command("tokenize", "Lines {\"text\":…} in, lines {\"ids\":[…]} out; no BOS is added.") { model, data };
        command.SetAction(result =>
        {
            var tokenizer = SentencePieceTokenizer.Find(result.GetRequiredValue(model)!);
            foreach (var file in result.GetRequiredValue(data))
            {
                foreach (var text in Texts(file)) Write(terminal.Out, tokenizer.Encode(text));
            }
            terminal.Out.Flush();
        });
        return command;
    }

    static IEnumerable<string> Texts(string path)
    {
        using var file = DataFile.Open(path);
        var any = false;
        for (var block = 0; block < file.Blocks; block++)
        {
            foreach (var (line, bytes) in JsonLinesFile.Lines(file.Load(block)))
            {
                any = true;
                string text;
                try
                {
                    using var fields = LineParser.Object(bytes);
                    text = LineParser.Text(fields.RootElement, "text");
                }
                catch (LineException e)
                {
                    throw new InputException($"{file.At(file.LinesBefore(block) + line)} {e.Message}");
                }
                yield return text;
            }
        }
        if (!any) throw new InputException($"{path} holds no line with a text.");
    }

    // In parts: as one text, the numbers of a long line would take more memory than its ids.
    static void Write(TextWriter output, int[] ids)
    {
        var part = new StringBuilder("{\"ids\":[");
        for (var i = 0; i < ids.Length; i++)
        {
            if (i > 0) part.Append(',');
            part.Append(CultureInfo.InvariantCulture, $"{ids[i]}");
            if (part.Length < 1 << 16) continue;
            output.Write(part);
            part.Clear();
        }
        output.Write(part.Append("]}\n"));
    }
}
