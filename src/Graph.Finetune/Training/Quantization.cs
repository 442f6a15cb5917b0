using System.Collections.Generic;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;

namespace Graph.Finetune.Training;

/// <summary>How frozen linears are stored on the device.</summary>
public enum Quantization
{
    /// <summary>In the activation type.</summary>
    None,
    /// <summary>In NF4.</summary>
    Nf4,
}

public static class Quantizations
{
    /// <summary>The source holds some weight in NF4.</summary>
    public static bool IsPacked(this ModelSource source) => source.Stored().Count > 0;

    /// <summary>
    /// Storage of the source's weights as a person chose it; null: as the source has them. A source that holds
    /// packed weights is never quantised further: what its author left out stays as it is.
    /// </summary>
    public static IReadOnlyDictionary<string, WeightStorage> Storage(this ModelSource source, Quantization? chosen) => chosen switch
    {
        Quantization.None => WeightStorages.Resident,
        Quantization.Nf4 when !source.IsPacked() => WeightStorages.Packed(source.Schedule, _ => WeightFormat.Nf4),
        _ => source.Stored(),
    };

    static IReadOnlyDictionary<string, WeightStorage> Stored(this ModelSource source) =>
        WeightStorages.Packed(source.Schedule, source.Weights.FormatOf);
}
