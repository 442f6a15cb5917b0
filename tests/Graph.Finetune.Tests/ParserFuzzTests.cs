using System;
using System.IO;
using System.Linq;
using Graph.Parsers.Fuzz;
using Xunit;

namespace Graph.Finetune.Tests;

/// <summary>The first inputs of tests/Graph.Parsers.Fuzz, which takes as many as one has time for.</summary>
public class ParserFuzzTests
{
    [Fact]
    public void Parsers_DamagedInputs_SucceedOrSayOneSentence()
    {
        using var scratch = new Scratch();
        var parsers = AllParsers.Of(Fixture.Repository());
        var (counts, findings) = new FuzzRun(parsers, scratch.Path, HangSeconds: 300).Run(0, 150 * parsers.Count, 2);
        Assert.Empty(findings);
        Assert.Equal(parsers.Select(p => p.Name).Order(StringComparer.Ordinal), counts.Select(c => c.Parser));
        // Both ways are walked: valid inputs are accepted and damaged ones refused.
        Assert.All(counts, c => Assert.True(c.Accepted > 0 && (c.Refused > 0 || c.Parser == "text"), $"{c.Parser}: {c.Accepted} accepted, {c.Refused} refused"));
    }

    /// <summary>Seeds are valid, or nothing would be shown by damaging them.</summary>
    [Fact]
    public void Parsers_Seeds_AreAccepted()
    {
        using var scratch = new Scratch();
        foreach (var parser in AllParsers.Of(Fixture.Repository()).Where(p => p.Name is not ("data line" or "checkpoint" or "command line" or "Parquet" or "verb")))
        {
            var parse = parser.Open(scratch.Path);
            foreach (var seed in parser.Seeds) parse(seed);
        }
    }

    [Fact]
    public void Run_AnotherExceptionAndTooMuchMemory_AreFound()
    {
        using var scratch = new Scratch();
        Parser[] parsers = [new("throws", [[1]], _ => _ => throw new IndexOutOfRangeException("x")),
            new("allocates", [[1]], _ => _ => GC.KeepAlive(new byte[2 << 20])),
            new("refuses", [[1]], _ => _ => throw new InputException("no."))];
        var (counts, findings) = new FuzzRun(parsers, scratch.Path, MostBytes: 1 << 20).Run(0, 30, 2);
        Assert.Equal(10, findings.Count(f => f.Parser == "throws" && f.What.StartsWith("IndexOutOfRangeException: x", StringComparison.Ordinal)));
        Assert.Equal(10, findings.Count(f => f.Parser == "allocates" && f.What.StartsWith("2 MiB", StringComparison.Ordinal)));
        Assert.Equal(20, findings.Count);
        Assert.Equal([0, 10, 0], counts.Select(c => c.Refused));
    }

    [Fact]
    public void Run_TimeIsUp_BeginsNoInput()
    {
        using var scratch = new Scratch();
        Parser[] parsers = [new("any", [[1]], _ => _ => { })];
        Assert.Empty(new FuzzRun(parsers, scratch.Path).Run(0, 30, 2, limit: TimeSpan.Zero).Counts);
        Assert.Equal(30, new FuzzRun(parsers, scratch.Path).Run(0, 30, 2, limit: TimeSpan.FromHours(1)).Counts.Single().Inputs);
    }
}
