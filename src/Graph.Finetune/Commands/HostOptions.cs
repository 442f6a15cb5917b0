using System.CommandLine;
using System.CommandLine.Parsing;
using Graph.Finetune.Training;

namespace Graph.Finetune.Commands;

/// <summary>Options of what lies in host memory.</summary>
sealed class HostOptions
{
    readonly Option<long?> memory = OptionKinds.Size(
        "--host-memory", "most page-locked host memory for weights and activations; what the machine has left but 2 GiB when left out");
    readonly Option<string> stream = OptionKinds.Choice(
        "--stream-weights", "frozen linears rest in host memory and come to the device ahead of every use: on; auto keeps them on the device", "auto", "on", "off");

    public void AddTo(Command command)
    {
        command.Add(memory);
        command.Add(stream);
    }

    public HostRequest Read(ParseResult result) =>
        new(result.GetValue(memory), result.GetRequiredValue(stream) switch { "on" => StreamWeights.On, "off" => StreamWeights.Off, _ => StreamWeights.Auto });
}
