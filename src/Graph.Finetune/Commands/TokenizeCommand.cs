using System.CommandLine;
using System.IO;
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
            var tokenizer = Load(result.GetRequiredValue(model)!);
            foreach (var file in result.GetRequiredValue(data))
                foreach (var (_, text) in DataReader.Texts(file)) terminal.Out.Write("{\"ids\":[" + string.Join(',', tokenizer.Encode(text)) + "]}\n");
            terminal.Out.Flush();
        });
        return command;
    }

    /// <summary>The tokenizer of a directory, or of a file.</summary>
    /// <exception cref="InputException">There is none, or it cannot be read.</exception>
    public static SentencePieceTokenizer Load(string path)
    {
        var file = Directory.Exists(path) ? Path.Combine(path, "tokenizer.model") : path;
        if (File.Exists(file)) return SentencePieceTokenizer.Load(file);
        throw new InputException(Directory.Exists(path) ? $"'{path}' has no tokenizer.model." : $"there is no tokenizer '{path}'; give a directory with tokenizer.model, or that file.");
    }
}
