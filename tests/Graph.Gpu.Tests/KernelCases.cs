using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;

namespace Graph.Gpu.Tests;

/// <summary>Sizes and values for kernels: what the schedule says about each argument, filled with random numbers that reach every branch.</summary>
static class KernelCases
{
    /// <summary>Rows of a table that ids choose from, where a vocabulary would not fit the time.</summary>
    const int TableRows = 512;
    const int MaxElements = 24_000_000;

    /// <summary>Lengths of documents packed side by side; how many kv heads take part (0: all); whether scores reach the softcap.</summary>
    internal readonly record struct Size(int[] Documents, int KvHeads = 0, bool Hot = false)
    {
        internal int Rows => Documents.Sum();
        public override string ToString() => $"{Rows} rows" + (Documents.Length > 1 ? $" in {Documents.Length} documents" : "") + (Hot ? ", scores at the cap" : "");
    }

    /// <summary>
    /// Tile edges from both sides, one row, several documents; documents longer and shorter than the window; attention over single tokens, whose true dq and dk are 0.
    /// </summary>
    internal static IReadOnlyList<Size> Sizes(string variant, KernelInfo kernel)
    {
        if (IsAttention(kernel.Kind) && kernel.Kind != KernelKind.AttentionDelta)
            return
            [
                new([129]), new([1]), new([1], 0, true), new([20, 43]), new([64], 0, true), new([65]), new([1, 1, 125]), new([64, 64], 0, true), new([17, 150, 133], 0, true),
                new([.. Enumerable.Repeat(1, 70)]), new([1025]), new([700, 325], 0, true), new([4095], 1), new([4096], 1, true), new([4097], 1), new([4350, 50], 1, true),
            ];
        if (kernel.Kind == KernelKind.CrossEntropy) return [new([17]), new([1]), new([65]), new([129])];
        int[] rows = [129, 1, 63, 64, 65, 127, 128, 4097];
        var columns = Launch(variant, NameOf(variant, kernel)).Arguments.Max(v => Shapes(variant, 1).Resolve(v) is var r && r.Rows == 1 ? r.Columns : 0);
        return [.. rows.Where(r => r <= 129 || (long)r * columns <= MaxElements).Select(r => new Size(r == 129 ? [60, 1, 68] : [r]))];
    }

    /// <param name="rank">Of every adapter; 0: there are none.</param>
    internal static Shapes Shapes(string variant, int rows, int rank = 8)
    {
        var schedule = ScheduleOf(variant);
        return new Shapes(schedule, rows, RankTable.Create(schedule, _ => rank), Elem.Act);
    }

    internal static KernelCase Of(string variant, KernelInfo kernel, Size size, int seed)
    {
        var label = $"{kernel.Name}, {size}";
        var batch = MicroBatch.Pack(size.Rows, [.. size.Documents.Select(n => (new int[n], new int[n]))]);
        if (kernel.Kind == KernelKind.CrossEntropy) return CrossEntropy(variant, kernel, size.Rows, seed, label);

        var shapes = Shapes(variant, size.Rows);
        var launch = Launch(variant, NameOf(variant, kernel));
        var gradient = IsGradient(variant, launch.Kernel);
        var arguments = launch.Arguments.Select((view, i) =>
        {
            var layout = shapes[view.Tensor];
            var rectangle = shapes.Resolve(view);
            var table = layout.Tensor.Kind is TensorKind.Weight or TensorKind.GradWeight && layout.IsMatrix;
            return new CaseArgument(view.Tensor, layout.Tensor.Type, table ? Math.Min(TableRows, rectangle.Rows)
                : rectangle.Rows, rectangle.Columns, layout.Pitch, rectangle.Column,
                layout.IsMatrix, layout.Tensor.Tokens, i < launch.Outputs, i < launch.InPlace, gradient ? 3 : 2);
        }).ToArray();

        if (IsAttention(kernel.Kind)) return AttentionCases.Of(variant, kernel, launch, arguments, batch, size, seed, label);
        return new KernelCase(variant, launch.Kernel,
            label, [.. arguments.Select((a, i) => a with { Values = shapes[a.Name].Tensor is { Rope: not null } table ? RopeTable(table) : Values(a, seed * 100 + i),
                Ints = Ints(a, batch, seed) })], size.Rows, kernel.GridY, 1);
    }

    /// <summary>Forward and backward, in order.</summary>
    internal static IReadOnlyList<Launch> Launches(string variant) => ScheduleOf(variant) is var s ? [.. s.Forward, .. s.Backward] : [];

    internal static CrossEntropyLaunch Head(string variant) => Launches(variant).OfType<CrossEntropyLaunch>().Single();

    /// <summary>The schedule's name of a kernel: dq from dS stands for the dq that computes all of it.</summary>
    internal static string NameOf(string variant, KernelInfo kernel) =>
        kernel.Kind == KernelKind.AttentionDqFromDs ? ((KernelLaunch)Pair(variant, FromDs(variant, kernel.Name)).Second).Kernel : kernel.Name;

    /// <summary>The first launches of attention's backward that may keep dS for this kernel.</summary>
    internal static ScoreGradientsFusion FromDs(string variant, string kernel) => ScheduleOf(variant).Fusions.OfType<ScoreGradientsFusion>().First(f => f.Kernel == kernel);

    /// <summary>The two launches of a fusion.</summary>
    internal static (Launch First, Launch Second) Pair(string variant, Fusion fusion) =>
        (Launches(variant).Single(l => l.Id == fusion.First), Launches(variant).Single(l => l.Id == fusion.Second));

    static bool IsAttention(KernelKind kind) =>
        kind is KernelKind.AttentionForward or KernelKind.AttentionDelta or KernelKind.AttentionDkdv
            or KernelKind.AttentionDkdvToDs or KernelKind.AttentionDq or KernelKind.AttentionDqFromDs;

    /// <summary>The launch that stands for a kernel's arguments.</summary>
    internal static KernelLaunch Launch(string variant, string kernel) =>
        ScheduleOf(variant) is var s ? s.Forward.Concat(s.Backward).Concat(s.Recompute).OfType<KernelLaunch>().First(l => l.Kernel == kernel) : null!;

    internal static Schedule ScheduleOf(string variant)
    {
        lock (Schedules)
        {
            if (!Schedules.TryGetValue(variant, out var schedule)) Schedules[variant] = schedule = ScheduleText.Parse(Models.Find(variant).Schedule());
            return schedule;
        }
    }

    static readonly Dictionary<string, Schedule> Schedules = [];

    static bool IsGradient(string variant, string kernel) =>
        ScheduleOf(variant) is var s && s.Backward.OfType<KernelLaunch>().Any(l => l.Kernel == kernel) && !s.Forward.OfType<KernelLaunch>().Any(l => l.Kernel == kernel);

    /// <summary>Frequencies of three kinds and a factor that is not 1.</summary>
    internal static float[] RopeTable(ScheduleTensor table)
    {
        var values = new YarnRope(4, 64, 1.125).Table(table, 1);
        var pinned = Pinned.Floats(values.Length);
        values.CopyTo(pinned, 0);
        return pinned;
    }

    internal static float[] Values(CaseArgument a, int seed)
    {
        if (!a.Read || a.Type == ElementType.I32) return [];
        // Saved statistics are 1 / rms.
        if (a.Type == ElementType.F32) return RandomValues.Uniform(a.Count, seed, 0.5f, 2, false);
        // Norm weights are stored as w in (1 + w).
        if (!a.PerToken && a.Rows == 1) return RandomValues.Uniform(a.Count, seed, -0.5f, 0.5f, true);
        return RandomValues.Normal(a.Count, seed, a.Name.Contains("gate", StringComparison.Ordinal) ? 1.5f : 1);
    }

    internal static int[] Ints(CaseArgument a, MicroBatch batch, int seed) => a.Type != ElementType.I32 ? [] : a.Name switch
    {
        "ids" => RandomValues.Below(a.Count, seed, TableRows),
        _ => Pinned.Ints(batch[a.Name]),
    };

    static KernelCase CrossEntropy(string variant, KernelInfo kernel, int rows, int seed, string label)
    {
        var launch = Head(variant);
        var vocabulary = Shapes(variant, 1).Resolve(launch.Table).Rows;
        var labels = RandomValues.Below(rows, seed, vocabulary);
        for (var i = 1; i < rows; i += 5) labels[i] = -100;
        if (rows > 3) (labels[0], labels[2], labels[3]) = (0, vocabulary - 1, vocabulary - 9);
        return new KernelCase(variant, kernel.Name, label,
        [
            // A deviation of 12 reaches the softcap of 30.
            new("logits", ElementType.Act, rows, vocabulary, TensorLayout.RowPitch(vocabulary), 0, true, true, true, true, 3)
                { Values = RandomValues.Normal(rows * vocabulary, seed, 12) },
            new("loss", ElementType.F32, rows, 1, 1, 0, false, true, true, false, 2),
            new("labels", ElementType.I32, rows, 1, 1, 0, false, true, false, false, 2) { Ints = labels },
            new("inv_labels", ElementType.F32, 1, 1, 1, 0, false, false, false, false, 2) { Values = RandomValues.Uniform(1, seed, 0.1f, 0.2f, false) },
        ], rows, kernel.GridY, 1);
    }
}
