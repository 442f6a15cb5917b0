using System;
using System.Collections.Generic;
using System.Linq;
using System.Text.Json;
using Graph.Generator;
using Graph.Generator.Emit;
using Graph.Generator.Kernels;
using Graph.Generator.Schedules;

namespace Graph.Gpu.Models;

/// <summary>Emitted kernels as JSON, for an executable that has no compiler: Graph.Gpu.Tests/Models.cs reads it.</summary>
static class KernelJson
{
    /// <summary>Every template that a kernel of these models names, once.</summary>
    public static void Templates(Utf8JsonWriter json, IEnumerable<CompiledText> models)
    {
        json.WriteStartObject("templates");
        foreach (var name in models.SelectMany(m => m.Targets).SelectMany(t => t.Kernels).SelectMany(k => k.Parts)
                .Where(p => p.StartsWith('@')).Distinct().Order(StringComparer.Ordinal))
            json.WriteString(name, CudaText.Template(name[1..]));
        json.WriteEndObject();
    }

    /// <param name="part">What is written for a part: its text, or a name that the reader finds the text under.</param>
    public static void Targets(Utf8JsonWriter json, CompiledText text, Func<string, string> part)
    {
        json.WriteStartObject("targets");
        foreach (var target in text.Targets)
        {
            json.WriteStartArray(target.Target);
            foreach (var kernel in target.Kernels)
            {
                json.WriteStartObject();
                json.WriteString("name", kernel.Info.Name);
                json.WriteString("kind", ScheduleText.Lower(kernel.Info.Kind));
                if (kernel.Info.Gemm is { } form)
                {
                    json.WriteStartObject("gemm");
                    json.WriteString("layout", ScheduleText.Lower(form.Layout));
                    json.WriteBoolean("f32", form.F32);
                    json.WriteBoolean("accumulate", form.Accumulate);
                    json.WriteString("tile", ScheduleText.Lower(form.Tile));
                    json.WriteEndObject();
                }
                if (kernel.Info.Rank > 0) json.WriteNumber("rank", kernel.Info.Rank);
                foreach (var (name, value) in new[] { ("block", kernel.Info.Block), ("shared", kernel.Info.SharedBytes), ("tile_rows", kernel.Info.TileRows),
                        ("tile_cols", kernel.Info.TileCols), ("grid_y", kernel.Info.GridY) })
                    json.WriteNumber(name, value);
                json.WriteStartArray("parts");
                foreach (var p in kernel.Parts) json.WriteStringValue(part(p));
                json.WriteEndArray();
                json.WriteEndObject();
            }
            json.WriteEndArray();
        }
        json.WriteEndObject();
    }
}
