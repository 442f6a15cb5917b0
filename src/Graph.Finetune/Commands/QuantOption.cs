using System.CommandLine;
using System.CommandLine.Parsing;
using Graph.Finetune.Training;

namespace Graph.Finetune.Commands;

/// <summary>--quant: no default, because a checkpoint has its own.</summary>
static class QuantOption
{
    public static Option<string?> Create()
    {
        var option = new Option<string?>("--quant")
        {
            HelpName = "none|nf4", CustomParser = Parse,
            Description = "frozen linears on the device: nf4 quantizes a 16-bit checkpoint as it is loaded (4.13 bits a weight), "
                + "none keeps them in --dtype; as the checkpoint has them when left out",
        };
        option.CompletionSources.Add("none", "nf4");
        return option;

        static string? Parse(ArgumentResult result)
        {
            if (result.Tokens[0].Value is "none" or "nf4") return result.Tokens[0].Value;
            result.AddError($"--quant is '{result.Tokens[0].Value}'; it must be none or nf4");
            return null;
        }
    }

    public static Quantization? Read(ParseResult result, Option<string?> option) =>
        result.GetValue(option) switch { "none" => Quantization.None, "nf4" => Quantization.Nf4, _ => null };
}
