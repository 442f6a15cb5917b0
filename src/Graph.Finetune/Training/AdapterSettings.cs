using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Finetune.Adapters;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;

namespace Graph.Finetune.Training;

/// <summary>The adapter of a run: its shape, and what it starts from (null: A random, B zero).</summary>
public sealed record AdapterSettings(int Rank, double Alpha, bool RsLora, IReadOnlyList<string> Targets, RankTable Ranks, AdapterFile? Start)
{
    /// <summary>What multiplies (x·Aᵀ)·Bᵀ; 0 without an adapter.</summary>
    public double Scale => Rank == 0 ? 0 : Alpha / (RsLora ? Math.Sqrt(Rank) : Rank);

    /// <param name="targets">Empty: every linear that has an adapter.</param>
    /// <exception cref="UsageException">A target is no linear of the model.</exception>
    public static AdapterSettings Create(Schedule schedule, int rank, double alpha, bool rsLora, IReadOnlyList<string> targets)
    {
        if (targets.Count == 0) targets = [.. schedule.Adapters.SelectMany(s => s.Adapters).Select(a => a.Name[(a.Name.LastIndexOf('.') + 1)..]).Distinct()];
        try
        {
            return new AdapterSettings(rank, alpha, rsLora, targets, RankTable.Create(schedule, rank, targets), null);
        }
        catch (ArgumentException e)
        {
            throw new UsageException(e.Message);
        }
    }

    /// <exception cref="InputException">Its rank is more than can be trained.</exception>
    public static AdapterSettings Of(AdapterFile file, Schedule schedule)
    {
        try
        {
            return new AdapterSettings(file.Rank, file.Alpha, file.RsLora, file.Targets, RankTable.Create(schedule, file.RankOf), file);
        }
        catch (ArgumentException e)
        {
            throw new InputException(e.Message);
        }
    }

    /// <summary>No adapter at all: the base model.</summary>
    public static AdapterSettings None(Schedule schedule) => new(0, 0, false, [], RankTable.Create(schedule, _ => 0), null);

    /// <summary>The trained masters as PEFT stores them.</summary>
    public AdapterFile Of(TrainState state) => new(Rank, Alpha, RsLora, Targets, [.. state.Adapters.Select(a => new AdapterModule(a.Linear, a.Rank, a.A.Master, a.B.Master))], Start?.Layers, Start?.Dropout ?? 0);
}
