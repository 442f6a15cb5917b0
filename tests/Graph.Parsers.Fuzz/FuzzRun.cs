using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Threading;
using Graph.Finetune;
using Graph.Finetune.Data;
using Graph.Runtime.Execution;

namespace Graph.Parsers.Fuzz;

/// <summary>What came of the inputs of a parser.</summary>
/// <param name="MostMilliseconds">Of one input.</param>
/// <param name="MostBytes">That one input allocated.</param>
sealed record FuzzCount(string Parser, long Inputs, long Accepted, long Refused, double Seconds, double MostMilliseconds, long MostBytes);

/// <summary>An input that ended in another way than success or one sentence.</summary>
sealed record Finding(string Parser, long Number, string What);

/// <summary>Input number n is for parser n mod their count.</summary>
/// <param name="Folder">Receives files of the parsers, and for each thread the number of the input that it is
/// at: what is there after the process was killed is the input that killed it.</param>
/// <param name="HangSeconds">An input that takes longer ends the process.</param>
sealed record FuzzRun(IReadOnlyList<Parser> Parsers, string Folder, double HangSeconds = 20, long MostBytes = 512L << 20)
{
    public static byte[] Input(IReadOnlyList<Parser> parsers, long number) => Mutation.Make(new Random(HashCode(number)), parsers[(int)(number % parsers.Count)].Seeds);

    /// <param name="only">Of one parser; null: all.</param>
    /// <param name="limit">No input is begun after it.</param>
    public (IReadOnlyList<FuzzCount> Counts, IReadOnlyList<Finding> Findings) Run(
        long from, long count, int jobs, string? only = null, TimeSpan? limit = null, Action<Finding>? say = null)
    {
        var begin = Stopwatch.GetTimestamp();
        var (counts, findings, gate, next) = (new List<FuzzCount>(), new List<Finding>(), new Lock(), from);
        var at = new (long Number, long Since)[jobs];
        using var over = new ManualResetEventSlim();
        var threads = Enumerable.Range(0, jobs).Select(job => new Thread(() => Work(job), 1 << 20)).ToArray();
        foreach (var thread in threads) thread.Start();
        var watch = new Thread(Watch) { IsBackground = true };
        watch.Start();
        foreach (var thread in threads) thread.Join();
        over.Set();
        watch.Join();
        return ([.. counts.GroupBy(c => c.Parser).Select(g => g.Aggregate(Sum)).OrderBy(c => c.Parser, StringComparer.Ordinal)], findings);

        void Work(int job)
        {
            var folder = Directory.CreateDirectory(Path.Combine(Folder, $"thread-{job}")).FullName;
            var parse = Parsers.Select(p => only is null || p.Name == only ? p.Open(folder) : null).ToArray();
            var mine = new FuzzCount[Parsers.Count];
            for (var i = 0; i < mine.Length; i++) mine[i] = new FuzzCount(Parsers[i].Name, 0, 0, 0, 0, 0, 0);
            using var last = new FileStream(Path.Combine(folder, "number"), FileMode.Create, FileAccess.Write, FileShare.Read, 0);
            for (long number; (number = Interlocked.Increment(ref next) - 1) < from + count && !(Stopwatch.GetElapsedTime(begin) > limit);)
            {
                var p = (int)(number % Parsers.Count);
                if (parse[p] is not { } one) continue;
                last.Position = 0;
                last.Write(System.Text.Encoding.ASCII.GetBytes($"{number}\n"));
                var input = Input(Parsers, number);
                at[job] = (number, Stopwatch.GetTimestamp());
                var allocated = GC.GetAllocatedBytesForCurrentThread();
                var (refused, what) = Try(one, input);
                allocated = GC.GetAllocatedBytesForCurrentThread() - allocated;
                var took = Stopwatch.GetElapsedTime(at[job].Since).TotalSeconds;
                at[job] = default;
                if (what is null && allocated > MostBytes) what = $"{allocated >> 20} MiB were allocated for {input.Length} bytes";
                if (what is not null) Found(new Finding(Parsers[p].Name, number, what));
                mine[p] = Sum(mine[p], new FuzzCount(Parsers[p].Name, 1, refused || what is not null ? 0 : 1, refused ? 1 : 0, took, 1000 * took, allocated));
            }
            lock (gate) counts.AddRange(mine.Where(c => c.Inputs > 0));
        }

        void Watch()
        {
            while (!over.Wait(500))
            {
                foreach (var (number, since) in at)
                {
                    if (since == 0 || Stopwatch.GetElapsedTime(since).TotalSeconds < HangSeconds) continue;
                    // A thread cannot be ended from outside.
                    Found(new Finding(Parsers[(int)(number % Parsers.Count)].Name, number, $"it takes more than {HangSeconds} seconds"));
                    Environment.Exit(1);
                }
            }
        }

        void Found(Finding finding)
        {
            lock (gate) findings.Add(finding);
            say?.Invoke(finding);
        }
    }

    static (bool Refused, string? Finding) Try(Action<byte[]> parse, byte[] input)
    {
        try
        {
            parse(input);
            return (false, null);
        }
        catch (Exception e) when (e is FinetuneException or WeightException or LineException)
        {
            return (true, e.Message.Length > 0 ? null : $"a {e.GetType().Name} that says nothing");
        }
        catch (Exception e)
        {
            return (false, $"{e.GetType().Name}: {e.Message.ReplaceLineEndings(" ")} {e.StackTrace?.Split('\n').FirstOrDefault(l => l.Contains("Graph."))?.Trim()}");
        }
    }

    static FuzzCount Sum(FuzzCount a, FuzzCount b) =>
        new(a.Parser, a.Inputs + b.Inputs, a.Accepted + b.Accepted, a.Refused + b.Refused, a.Seconds + b.Seconds, Math.Max(a.MostMilliseconds, b.MostMilliseconds),
            Math.Max(a.MostBytes, b.MostBytes));

    // Neighbours must not have alike inputs; splitmix64's last steps.
    static int HashCode(long number)
    {
        var z = (ulong)number * 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return (int)(z ^ (z >> 31));
    }
}
