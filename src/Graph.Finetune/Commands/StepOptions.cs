using System.CommandLine;
using System.CommandLine.Parsing;
using Graph.Finetune.Training;

namespace Graph.Finetune.Commands;

/// <summary>Options of how many micro-batches a step has: their number, or the step's tokens.</summary>
sealed class StepOptions
{
    readonly Option<int?> accumulate = OptionKinds.Integer("--grad-accum", "micro-batches of an optimizer step", 1, 1, 4096);
    readonly Option<int?> tokens = OptionKinds.Integer("--step-tokens", "tokens of an optimizer step, in place of --grad-accum; 8192 with --batch-tokens auto", null, 1);

    public void AddTo(Command command)
    {
        command.Add(accumulate);
        command.Add(tokens);
    }

    /// <exception cref="UsageException">A step whose micro-batches are to be chosen has no room for a document.</exception>
    public static void Require(int seq, int? toChoose)
    {
        if (toChoose < seq) throw new UsageException($"--seq is {seq} and a step has {toChoose} tokens; give --step-tokens {seq} or more.");
    }

    /// <param name="batch">Of a micro-batch.</param>
    /// <returns>Micro-batches of a step, and its tokens where the micro-batch is to be chosen.</returns>
    /// <exception cref="UsageException">Both options are given, or micro-batches do not fill a step.</exception>
    public (int PerStep, int? ToChoose) Read(ParseResult result, BatchTokens batch)
    {
        var asked = result.GetValue(tokens);
        if ((batch.Count is null || asked is not null) && result.Has(accumulate))
            throw new UsageException("--grad-accum and --step-tokens (or --batch-tokens auto) both say how many micro-batches a step has; leave one out.");
        if (batch.Count is not { } count) return (1, asked ?? BatchTokens.DefaultStep);
        return (asked is { } step ? BatchTokens.PerStep(count, step) : result.GetValue(accumulate)!.Value, null);
    }
}
