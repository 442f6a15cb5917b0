using System.CommandLine;
using System.CommandLine.Parsing;
using Graph.Finetune.Training;

namespace Graph.Finetune.Commands;

/// <summary>Options of what lies in host memory.</summary>
sealed class HostOptions
{
    /// <summary>What a machine is taken to have where none is looked at.</summary>
    public const long Assumed = 64L << 30;

    readonly Option<long?> memory = Memory("seven eighths of what the machine has left but 2 GiB, when left out");
    readonly Option<string> stream = OptionKinds.Choice(
        "--stream-weights", "frozen linears rest in host memory and come to the device ahead of every use: all, none, or as many layers as make the step the fastest",
            "auto", "on", "off");
    readonly Option<string> offload = OptionKinds.Choice("--offload",
        "activations wait in host memory for the backward, and the optimizer keeps its state there, where that makes the step the fastest", "auto", "off");

    /// <param name="otherwise">What it is when left out.</param>
    static Option<long?> Memory(string otherwise) => OptionKinds.Size("--host-memory", $"most page-locked host memory for weights and activations; {otherwise}");

    /// <param name="machine">Whether what is left out is asked of this machine; else it is <see cref="Assumed"/>.</param>
    public HostOptions(bool machine = true)
    {
        assumed = machine ? null : Assumed;
        if (!machine) memory = Memory($"{Bytes.Text(Assumed)} when left out");
    }

    readonly long? assumed;

    public void AddTo(Command command)
    {
        foreach (var option in new Option[] { memory, stream, offload }) command.Add(option);
    }

    public HostRequest Read(ParseResult result) => new(
        result.GetValue(memory) ?? assumed, result.GetRequiredValue(stream) switch { "on" => StreamWeights.On, "off" => StreamWeights.Off, _ => StreamWeights.Auto },
            result.GetRequiredValue(offload) == "auto");
}
