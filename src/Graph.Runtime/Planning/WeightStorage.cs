using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>How the elements of a frozen weight are stored.</summary>
public enum WeightFormat
{
    /// <summary>In the activation type, as products read them.</summary>
    Act,
    /// <summary>NF4: 4 bits an element, an 8-bit absmax for each 64 of them (<see cref="Nf4Layout"/>): 4.13 bits an element.</summary>
    Nf4,
    /// <summary>NF4 with an fp32 absmax: 4.5 bits an element.</summary>
    Nf4Plain,
}

/// <summary>In which memory a weight lies for the whole run.</summary>
public enum WeightPlace { Device, Host }

/// <summary>
/// Where a frozen weight lives. Only one in the activation type on the device can be read by a product where it lies. Any other is materialized: launches that
/// planning inserts (<see cref="Materialization"/>) make it in the arena right before it is read.
/// </summary>
public readonly record struct WeightStorage(WeightFormat Format, WeightPlace Place)
{
    /// <summary>(Act, Device): the default.</summary>
    public bool IsResident => this == default;

    /// <summary>The weight has codes, which a launch makes elements of.</summary>
    public bool IsPacked => Format is WeightFormat.Nf4 or WeightFormat.Nf4Plain;
}

/// <summary>Storage of a model's weights.</summary>
public static class WeightStorages
{
    /// <summary>Every weight resident.</summary>
    public static IReadOnlyDictionary<string, WeightStorage> Resident { get; } = new Dictionary<string, WeightStorage>();

    /// <summary>
    /// Frozen linears: weights that products alone read. Embeddings and norms are read by kernels, the head by the cross entropy: these stay resident.
    /// </summary>
    public static IReadOnlyList<ScheduleTensor> Linears(Schedule schedule)
    {
        var (read, other) = (new HashSet<string>(), new HashSet<string>());
        foreach (var launch in schedule.Forward.Concat(schedule.Backward).Concat(schedule.Recompute))
            switch (launch)
            {
                case GemmLaunch g: read.UnionWith(g.Segments.Select(s => s.B.Tensor)); other.UnionWith(g.Segments.Select(s => s.A.Tensor)); break;
                case KernelLaunch k: other.UnionWith(k.Arguments.Select(a => a.Tensor)); break;
                case CrossEntropyLaunch c: other.UnionWith([c.X.Tensor, c.Table.Tensor]); break;
                default: throw new ArgumentException($"storage: unknown launch {launch.GetType().Name}.");
            }
        // A trained weight is written by every step.
        other.UnionWith(OptimizerLayout.Trained(schedule).Select(t => t.Weight.Name));
        return [.. schedule.Tensors.Where(t => t.Kind == TensorKind.Weight && t.Dims.Count == 2 && read.Contains(t.Name) && !other.Contains(t.Name))];
    }

    /// <summary>
    /// Storage of the linears on the device, from the format of each of the checkpoint's tensors. A stack is
    /// packed where all of its tensors are; its absmax have 8 bits where all of theirs have.
    /// </summary>
    public static IReadOnlyDictionary<string, WeightStorage> Packed(Schedule schedule, Func<string, WeightFormat> formatOf)
    {
        var result = new Dictionary<string, WeightStorage>();
        foreach (var weight in Linears(schedule))
        {
            var formats = weight.Stored().Select(s => formatOf(s.Name)).Distinct().ToArray();
            var format = formats.Contains(WeightFormat.Act) ? WeightFormat.Act : formats.Contains(WeightFormat.Nf4Plain) ? WeightFormat.Nf4Plain : WeightFormat.Nf4;
            if (format != WeightFormat.Act) result[weight.Name] = new WeightStorage(format, WeightPlace.Device);
        }
        return result;
    }

    /// <summary>Linears that rest in host memory, in the format that <paramref name="storage"/> has for them.</summary>
    public static IReadOnlyDictionary<string, WeightStorage> Streamed(Schedule schedule, IReadOnlyDictionary<string, WeightStorage> storage) =>
        Linears(schedule).ToDictionary(w => w.Name, w => storage.GetValueOrDefault(w.Name) with { Place = WeightPlace.Host });

    /// <exception cref="ArgumentException">Something else than a linear is to be stored in another way than resident.</exception>
    public static void Check(Schedule schedule, IReadOnlyDictionary<string, WeightStorage> storage)
    {
        if (storage.Count == 0) return;
        var linears = Linears(schedule).Select(t => t.Name).ToHashSet();
        foreach (var (weight, chosen) in storage)
            if (!chosen.IsResident && !linears.Contains(weight))
                throw new ArgumentException($"storage: {weight} is to be {chosen.Format} on the {chosen.Place}, "
                    + $"but it is no frozen linear of {schedule.Variant}; leave it resident.");
    }
}
