using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.Json;

namespace Graph.Gpu.Tests;

/// <summary>A line of the file, with what it is found and sorted by.</summary>
sealed record VerifiedLine(string Target, string Name, string Fingerprint, string Text);

/// <summary>snapshots/verified.json: one line per kernel that ran and was right, sorted by target, name and fingerprint.</summary>
static class VerifiedFile
{
    /// <param name="known">Lines of an older file that still belong to an emitted kernel.</param>
    internal static void Write(string path, IReadOnlyList<VerifiedLine> known, IReadOnlyList<VerifiedKernel> kernels, string device, string date)
    {
        using var text = new StringWriter { NewLine = "\n" };
        text.WriteLine("[");
        var sorted = known.Concat(kernels.Select(k => new VerifiedLine(k.Job.Target, k.Job.Name, k.Job.Fingerprint, Line(k, device, date))))
            .OrderBy(k => k.Target, StringComparer.Ordinal).ThenBy(k => k.Name, StringComparer.Ordinal).ThenBy(k => k.Fingerprint, StringComparer.Ordinal).ToArray();
        for (var i = 0; i < sorted.Length; i++) text.WriteLine(sorted[i].Text + (i + 1 < sorted.Length ? "," : ""));
        text.WriteLine("]");
        File.WriteAllText(path + ".partial", text.ToString());
        File.Move(path + ".partial", path, overwrite: true);
    }

    /// <summary>A text that ran and was right needs no second run: it is known by its fingerprint.</summary>
    internal static IReadOnlyList<VerifiedLine> Read(string path)
    {
        using var json = JsonDocument.Parse(File.ReadAllBytes(path));
        return [.. json.RootElement.EnumerateArray().Select(e => new VerifiedLine(Text(e, "target"), Text(e, "name"), Text(e, "fingerprint"), e.GetRawText()))];

        static string Text(JsonElement element, string field) => element.GetProperty(field).GetString() ?? throw new CheckException($"verified: a line has no {field}");
    }

    static string Line(VerifiedKernel kernel, string device, string date)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream))
        {
            json.WriteStartObject();
            json.WriteString("target", kernel.Job.Target);
            json.WriteString("name", kernel.Job.Name);
            json.WriteString("variant", kernel.Job.Variant);
            json.WriteString("fingerprint", kernel.Job.Fingerprint);
            json.WriteString("device", device);
            json.WriteString("date", date);
            // Relative L2 error against the cpu kernel, and its part of what the rule allows.
            json.WriteNumber("error", Digits(kernel.Error));
            json.WriteNumber("of_allowed", Digits(kernel.OfAllowed));
            if (kernel.Microseconds is { } time) json.WriteNumber("us", Digits(time));
            if (kernel.Tflops is { } tflops) json.WriteNumber("tflops", Digits(tflops));
            else if (kernel.Gbps is { } gbps) json.WriteNumber("gbps", Digits(gbps));
            json.WriteEndObject();
        }
        return System.Text.Encoding.UTF8.GetString(stream.ToArray());
    }

    static double Digits(double value) => value == 0 ? 0 : double.Parse(value.ToString("G3", System.Globalization.CultureInfo.InvariantCulture), System.Globalization.CultureInfo.InvariantCulture);
}
