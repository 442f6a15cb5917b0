using System;
using System.Linq;
using Graph.Runtime.Planning;

namespace Graph.Finetune.Training;

/// <summary>Tokens of a micro-batch.</summary>
/// <param name="Count">Null: those with which a step is predicted to be the fastest.</param>
public sealed record BatchTokens(int? Count)
{
    /// <summary>As the option is written, and the help prints its default.</summary>
    public override string ToString() => Count?.ToString(System.Globalization.CultureInfo.InvariantCulture) ?? "auto";

    /// <summary>Tokens of a step when neither they nor the micro-batch's are given.</summary>
    public const int DefaultStep = 8192;

    /// <summary>Tokens are counted in ints, and a row, a tile or a chunk is added to a count.</summary>
    public const int Most = 1 << 30;

    /// <summary>Micro-batches of a step at most.</summary>
    const int MostMicroBatches = 4096;

    /// <summary>
    /// Micro-batches of equal size that make a step of <paramref name="stepTokens"/>: all of it, a half, a quarter and so on, none
    /// shorter than a document; of those that fit the one whose step takes the least time, of equal ones the largest.
    /// </summary>
    /// <exception cref="FinetuneException">None fits (exit code 4).</exception>
    public static (int Tokens, int PerStep) Fastest(ModelSource source, SessionRequest session, DeviceProfile device, long budget, int stepTokens, string has)
    {
        if (stepTokens > Most) throw new UsageException($"--step-tokens is {stepTokens}; a step that is cut by itself has at most {Most}.");
        (int Tokens, int PerStep, double Milliseconds)? best = null;
        var smallest = stepTokens;
        for (var perStep = 1; perStep <= MostMicroBatches && stepTokens % perStep == 0 && stepTokens / perStep >= session.Seq; perStep *= 2)
        {
            smallest = stepTokens / perStep;
            var frontier = PlanRequest.Frontier(source, session with { Tokens = smallest, MicroBatches = perStep }, device);
            if (frontier.Fit(budget) is not { } plan) continue;
            if (best is null || plan.Milliseconds < best.Value.Milliseconds) best = (smallest, perStep, plan.Milliseconds);
            // With everything kept a smaller micro-batch only fills the device worse.
            if (plan == frontier.Fastest()) break;
        }
        if (best is { } found) return (found.Tokens, found.PerStep);
        var least = session with { Tokens = smallest, MicroBatches = stepTokens / smallest };
        throw PlanRequest.DoesNotFit(source, least, device, PlanRequest.Frontier(source, least, device), budget, has);
    }

    /// <summary>Micro-batches of a step of so many tokens.</summary>
    /// <exception cref="UsageException">They do not fill it.</exception>
    public static int PerStep(int tokens, int stepTokens) => stepTokens % tokens == 0 && stepTokens / tokens <= MostMicroBatches
        ? stepTokens / tokens
        : throw new UsageException($"--step-tokens is {stepTokens} and --batch-tokens {tokens}; a step must be 1 to {MostMicroBatches} whole micro-batches.");
}
