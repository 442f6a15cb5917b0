using System;
using System.IO;
using System.Linq;
using System.Text;
using System.Text.Json;
using Graph.Generator;
using Graph.Generator.Cuda;
using Graph.Generator.Schedules;
using Graph.Gpu.Models;
using Graph.Tests;

// usage: Graph.Gpu.Models FOLDER: models.json (schedules, kernels in parts, templates) and References.cs (the cpu target of every variant, and its low-precision forms).
var folder = Directory.CreateDirectory(args.Single()).FullName;
var models = Gemma2Size.All.Select(size => (Size: size, Text: Compiler.Compile(size.Name, Gemma2Trace.Of(size), size.Targets))).ToArray();

using var stream = new MemoryStream();
using (var json = new Utf8JsonWriter(stream))
{
    json.WriteStartObject();
    json.WriteStartObject("templates");
    foreach (var name in models.SelectMany(m => m.Text.Targets).SelectMany(t => t.Kernels).SelectMany(k => k.Parts).Where(p => p.StartsWith('@')).Distinct().Order(StringComparer.Ordinal))
        json.WriteString(name, EmitCuda.Template(name[1..]));
    json.WriteEndObject();
    json.WriteStartArray("models");
    foreach (var (size, text) in models)
    {
        json.WriteStartObject();
        json.WriteString("name", size.Name);
        json.WriteString("schedule", text.ScheduleText);
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
                    json.WriteString("skinny", ScheduleText.Lower(form.Skinny));
                    json.WriteEndObject();
                }
                if (kernel.Info.Rank > 0) json.WriteNumber("rank", kernel.Info.Rank);
                foreach (var (name, value) in new[] { ("block", kernel.Info.Block), ("shared", kernel.Info.SharedBytes), ("tile_rows", kernel.Info.TileRows), ("tile_cols", kernel.Info.TileCols), ("grid_y", kernel.Info.GridY) })
                    json.WriteNumber(name, value);
                json.WriteStartArray("parts");
                foreach (var part in kernel.Parts) json.WriteStringValue(part);
                json.WriteEndArray();
                json.WriteEndObject();
            }
            json.WriteEndArray();
        }
        json.WriteEndObject();
        json.WriteEndObject();
    }
    json.WriteEndArray();
    json.WriteEndObject();
}
Write("models.json", stream.ToArray());
Write("References.cs", Encoding.UTF8.GetBytes(ReferenceSource.Of(models)));

// Unchanged files keep their time, so that nothing is built again for them.
void Write(string name, byte[] bytes)
{
    var path = Path.Combine(folder, name);
    if (!File.Exists(path) || !File.ReadAllBytes(path).AsSpan().SequenceEqual(bytes)) File.WriteAllBytes(path, bytes);
}
