using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Text.Json;
using System.Threading.Tasks;

namespace Graph.Finetune.Tests.Reports;

/// <summary>Headless Chromium, which eng/install-chromium.sh finds or unpacks.</summary>
static class Browser
{
    /// <param name="Dom">The page's elements after its scripts have run.</param>
    /// <param name="Console">What the page wrote to the console; errors and blocked loads are there.</param>
    /// <param name="Addresses">Everything that was asked of the network, the page's own file apart.</param>
    public sealed record Seen(string Dom, IReadOnlyList<string> Console, IReadOnlyList<string> Addresses);

    static readonly Lazy<string> Program = new(() => Run("bash", [Path.Combine(Fixture.Repository(), "eng", "install-chromium.sh")]).Out.Trim());

    public static Seen Open(string page, bool dark = false)
    {
        var log = Path.GetTempFileName();
        var profile = Directory.CreateTempSubdirectory("chromium-");
        try
        {
            var (dom, error) = Run(Program.Value,
            [
                "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
                "--virtual-time-budget=5000", $"--user-data-dir={profile.FullName}", $"--log-net-log={log}", "--window-size=1020,2000",
                .. dark ? ["--blink-settings=preferredColorScheme=0"] : Array.Empty<string>(), "--dump-dom", new Uri(page).AbsoluteUri,
            ]);
            return new Seen(dom, [.. error.Split('\n').Where(l => l.Contains(":CONSOLE", StringComparison.Ordinal))],
                [.. Addresses(log).Where(a => a != new Uri(page).AbsoluteUri).Distinct()]);
        }
        finally
        {
            File.Delete(log);
            profile.Delete(true);
        }
    }

    static IEnumerable<string> Addresses(string log)
    {
        using var json = JsonDocument.Parse(File.ReadAllText(log));
        return [.. json.RootElement.GetProperty("events").EnumerateArray()
            .Where(e => e.TryGetProperty("params", out var p) && p.ValueKind == JsonValueKind.Object && p.TryGetProperty("url", out _))
            .Select(e => e.GetProperty("params").GetProperty("url").GetString()!)];
    }

    static (string Out, string Error) Run(string program, IReadOnlyList<string> arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var error = Task.Run(process.StandardError.ReadToEnd);
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0 ? (output, error.Result) : throw new InvalidOperationException($"{program} ended with code {process.ExitCode}: {error.Result}");
    }
}
