using System;
using System.IO;
using System.Linq;
using System.Text;
using System.Text.Json;
using Graph.Generator;
using Graph.Gpu.Models;
using Graph.Tests;

// usage: Graph.Gpu.Models FOLDER: models.json (schedules, kernels in parts, templates) and References.cs (the cpu target of every variant, and its low-precision forms).
var folder = Directory.CreateDirectory(args.Single()).FullName;
var models = Gemma2Size.All.Select(size => (Size: size, Text: Compiler.Compile(size.Name, Gemma2Trace.Of(size), size.Targets, full: size.Full))).ToArray();

using var stream = new MemoryStream();
using (var json = new Utf8JsonWriter(stream))
{
    json.WriteStartObject();
    KernelJson.Templates(json, models.Select(m => m.Text));
    json.WriteStartArray("models");
    foreach (var (size, text) in models)
    {
        json.WriteStartObject();
        json.WriteString("name", size.Name);
        json.WriteString("schedule", text.ScheduleText);
        KernelJson.Targets(json, text, part => part);
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
