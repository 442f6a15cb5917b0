using System.CommandLine;
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
                foreach (var (_, text) in DataReader.Texts(file)) terminal.Out.Write("{\"ids\":[" + string.Join(',', tokenizer.Encode(text)) + "]}\n");
            terminal.Out.Flush();
        });
        return command;
    }
}
