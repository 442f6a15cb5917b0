using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.Json;
using Graph.Runtime;
using Graph.Runtime.Schedules;

namespace Graph.Gpu.Tests;

/// <summary>The cpu target of a variant. Exact and Composition take the number of kv heads that attention is run on (<see cref="Elem"/> has the type they round to).</summary>
sealed record Reference(string Variant, Func<IReadOnlyDictionary<string, CpuKernelEntry>> Kernels, Func<int, IReadOnlyDictionary<string, CpuKernelEntry>> Exact,
    Func<int, IReadOnlyDictionary<string, CpuKernelEntry>> Composition);

/// <summary>What the compiler emitted for the snapshot variants, as this executable holds it.</summary>
static class Models
{
    static readonly Lazy<IReadOnlyDictionary<string, CompiledModel>> Loaded = new(Load);

    internal static IReadOnlyList<string> Names => [.. References.All.Select(r => r.Variant)];

    internal static CompiledModel Find(string name) => Loaded.Value.TryGetValue(name, out var model) ? model
        : throw new ArgumentException($"there is no variant {name} here; variants are {string.Join(", ", Names)}");

    internal static Reference Reference(string name) => References.All.Single(r => r.Variant == name);

    static IReadOnlyDictionary<string, CompiledModel> Load()
    {
        using var stream = typeof(Models).Assembly.GetManifestResourceStream("models.json") ?? throw new InvalidOperationException("models.json is not in this executable");
        using var buffer = new MemoryStream();
        stream.CopyTo(buffer);
        var root = JsonDocument.Parse(buffer.ToArray()).RootElement;
        var templates = root.GetProperty("templates").EnumerateObject().ToDictionary(t => t.Name[1..], t => t.Value.GetString()!);
        return root.GetProperty("models").EnumerateArray().Select(model =>
        {
            var name = model.GetProperty("name").GetString()!;
            var targets = model.GetProperty("targets").EnumerateObject().ToDictionary(t => t.Name, t => t.Value);
            return new CompiledModel(name, () => model.GetProperty("schedule").GetString()!, [.. targets.Keys],
                target => new TargetKernels(target, [.. targets[target].EnumerateArray().Select(k => Kernel(k, templates))]), Reference(name).Kernels, () => []);
        }).ToDictionary(m => m.Name);
    }

    internal static KernelSource Kernel(JsonElement kernel, IReadOnlyDictionary<string, string> templates)
    {
        int Int(string name) => kernel.GetProperty(name).GetInt32();
        var info = new KernelInfo(kernel.GetProperty("name").GetString()!, Word<KernelKind>(kernel, "kind"), Int("block"), Int("shared"), Int("tile_rows"),
            Int("tile_cols"), Int("grid_y"))
        {
            Gemm = kernel.TryGetProperty("gemm", out var form) ? new GemmForm(Word<GemmLayout>(form, "layout"), form.GetProperty("f32").GetBoolean(),
                form.GetProperty("accumulate").GetBoolean(), Word<TileShape>(form, "tile")) : null,
            Rank = kernel.TryGetProperty("rank", out var rank) ? rank.GetInt32() : 0,
        };
        return new KernelSource(info, KernelText.Join([.. kernel.GetProperty("parts").EnumerateArray().Select(p => p.GetString()!)], name => templates[name]));
    }

    // What ScheduleText.Lower wrote.
    static T Word<T>(JsonElement of, string name) where T : struct, Enum
    {
        var word = of.GetProperty(name).GetString()!;
        return Enum.GetValues<T>().Where(v => ScheduleText.Lower(v) == word).Select(v => (T?)v).FirstOrDefault()
            ?? throw new InvalidOperationException($"models.json: {word} is no {typeof(T).Name}");
    }
}
