using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.Json;

namespace Graph.Gpu.Tests;

/// <summary>A line of the file, with what it is found and sorted by.</summary>
/// <param name="Timed">It says how long the kernel took.</param>
sealed record VerifiedLine(string Target, string Name, string Fingerprint, double Error, double OfAllowed, bool Timed, string Text);

/// <summary>snapshots/verified.json: one line per kernel that ran and was right, sorted by target, name and fingerprint.</summary>
static class VerifiedFile
{
    /// <param name="known">Lines of an older file that still belong to an emitted kernel; that of a kernel which ran again gives way.</param>
    internal static void Write(string path, IReadOnlyList<VerifiedLine> known, IReadOnlyList<VerifiedKernel> kernels, string device, string date)
    {
        using var text = new StringWriter { NewLine = "\n" };
        text.WriteLine("[");
        var sorted = kernels.Select(k => new VerifiedLine(k.Job.Target, k.Job.Name, k.Job.Fingerprint, k.Error, k.OfAllowed, k.Microseconds is not null, Line(k, device, date)))
            .Concat(known).DistinctBy(k => (k.Target, k.Name, k.Fingerprint)).OrderBy(k => k.Target, StringComparer.Ordinal).ThenBy(k => k.Name, StringComparer.Ordinal)
            .ThenBy(k => k.Fingerprint, StringComparer.Ordinal).ToArray();
        for (var i = 0; i < sorted.Length; i++) text.WriteLine(sorted[i].Text + (i + 1 < sorted.Length ? "," : ""));
        text.WriteLine("]");
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
        File.WriteAllText(path + ".partial", text.ToString());
        File.Move(path + ".partial", path, overwrite: true);
    }

    /// <summary>A text that ran and was right needs no second run: it is known by its fingerprint.</summary>
    internal static IReadOnlyList<VerifiedLine> Read(string path)
    {
        using var json = JsonDocument.Parse(File.ReadAllBytes(path));
        return [.. json.RootElement.EnumerateArray().Select(e => new VerifiedLine(Text(e, "target"), Text(e, "name"), Text(e, "fingerprint"),
            e.GetProperty("error").GetDouble(), e.GetProperty("of_allowed").GetDouble(), e.TryGetProperty("us", out _), e.GetRawText()))];

        static string Text(JsonElement element, string field) => element.GetProperty(field).GetString() ?? throw new CheckException($"verified: a line has no {field}");
    }

    /// <summary>Lines of kernels that are emitted today; of those in several files the one of the first.</summary>
    internal static IReadOnlyList<VerifiedLine> ReadEmitted(IEnumerable<string> paths, IReadOnlyList<KernelJob> jobs)
    {
        var emitted = jobs.Select(j => (j.Name, j.Fingerprint)).ToHashSet();
        return [.. paths.SelectMany(Read).Where(l => emitted.Contains((l.Name, l.Fingerprint))).DistinctBy(l => (l.Name, l.Fingerprint))];
    }

    /// <summary>What several runs have verified, as one file. Prints the emitted kernels that none has, as snapshots/unverified.txt lists them.</summary>
    internal static int Merge(string folder, string[] files)
    {
        if (files.Length == 0) throw new CheckException("merge: no verified.json is named; give the files of the runs after the folder");
        Directory.CreateDirectory(folder);
        var jobs = KernelJob.All();
        var lines = ReadEmitted(files, jobs);
        Write(Path.Combine(folder, "verified.json"), lines, [], "", "");
        var known = lines.Select(l => (l.Name, l.Fingerprint)).ToHashSet();
        foreach (var job in jobs.Where(j => !known.Contains((j.Name, j.Fingerprint)))) Lines.Write($"{job.Target} {job.Name} {job.Fingerprint[..16]}");
        return 0;
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

    static double Digits(double value) => value == 0
        ? 0 : double.Parse(value.ToString("G3", System.Globalization.CultureInfo.InvariantCulture), System.Globalization.CultureInfo.InvariantCulture);
}
