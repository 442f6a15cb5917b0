using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Graph.Finetune.Commands;
using Graph.Finetune.Runs;
using Graph.Finetune.Tests.Commands;
using Graph.Finetune.Training;
using Xunit;
using static Graph.Finetune.Tests.Commands.Gemma2Run;

namespace Graph.Finetune.Tests.Runs;

/// <summary>A run's folder has one owner, and a run that is there is not lost to another.</summary>
public class RunFolderTests
{
    static string[] Run(Scratch scratch, string output, params string[] more) =>
        Train(scratch.File("d.jsonl", "{\"input_ids\":[2,5,6,7,8,9,10,1]}"), output, ["--batch-tokens", "16", "--rank", "2", .. more]);

    static Dictionary<string, byte[]> Content(string folder) =>
        Directory.GetFiles(folder, "*", SearchOption.AllDirectories).ToDictionary(f => Path.GetRelativePath(folder, f), File.ReadAllBytes);

    static void Same(Dictionary<string, byte[]> one, Dictionary<string, byte[]> other)
    {
        Assert.Equal(one.Keys.Order(), other.Keys.Order());
        Assert.All(one, file => Assert.Equal(file.Value, other[file.Key]));
    }

    /// <summary>What a killed process wrote to the side goes; a person's file stays.</summary>
    [Fact]
    public void Claim_PartsOfAKilledRun_AreGone()
    {
        using var scratch = new Scratch();
        string part = Path.Combine(scratch.Path, $"run-facts.json.{Guid.NewGuid():N}.partial"), mine = Path.Combine(scratch.Path, "mine.partial");
        foreach (var file in new[] { part, mine }) File.WriteAllText(file, "{");
        RunFolder.Claim(scratch.Path, RunStart.New).Dispose();
        Assert.Equal((false, true), (File.Exists(part), File.Exists(mine)));
    }

    [Fact]
    public void Train_FolderWithARun_IsRefusedUnlessToldWhat()
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        Succeed(Run(scratch, output, "--steps", "3"));
        var before = Content(output);
        var refused = Gemma2Run.Run(Run(scratch, output, "--steps", "2"));
        Assert.Equal((2, ""), (refused.Code, refused.Out));
        Assert.Contains("--resume goes on with it, --overwrite replaces it", refused.Error);
        Same(before, Content(output));
        Assert.Contains("leave one out", Gemma2Run.Run(Run(scratch, output, "--resume", "--overwrite")).Error);

        Succeed(Run(scratch, output, "--steps", "2", "--overwrite", "--seed", "1"));
        Assert.Equal([1, 2], Metrics(output).Select(m => m.GetProperty("step").GetInt32()));
        Assert.Equal([2], RunCheckpoint.Steps(Path.Combine(output, "checkpoints")));
    }

    [Theory, InlineData("--overwrite"), InlineData("--resume")]
    public void Train_ThatDoesNotBegin_ChangesNothing(string how)
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        Succeed(Run(scratch, output, "--steps", "2"));
        var before = Content(output);
        Assert.Equal(4, Gemma2Run.Run(Run(scratch, output, "--steps", "4", how, "--batch-tokens", "100000000")).Code);
        Same(before, Content(output));
    }

    [Fact]
    public void Train_FolderThatAnotherProcessOwns_IsRefused()
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        Succeed(Run(scratch, output, "--steps", "2"));
        using (RunFolder.Claim(output, RunStart.Resume))
        {
            var before = Directory.GetFiles(output, "*", SearchOption.AllDirectories).Where(f => !f.EndsWith(".lock", StringComparison.Ordinal))
                .ToDictionary(f => f, File.ReadAllBytes);
            foreach (var how in new[] { "--resume", "--overwrite" })
            {
                var refused = Gemma2Run.Run(Run(scratch, output, "--steps", "4", how));
                Assert.Equal((2, ""), (refused.Code, refused.Out));
                Assert.Contains("another process trains into", refused.Error);
            }
            Assert.All(before, file => Assert.Equal(file.Value, File.ReadAllBytes(file.Key)));
        }
        Succeed(Run(scratch, output, "--steps", "4", "--resume"));
    }

    // Both saw no run; the one that comes second sees the lock, or the run that the first made meanwhile.
    [Fact]
    public void Claim_AfterAnotherRunBegan_IsRefused()
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        using (var first = RunFolder.Claim(output, RunStart.New))
        {
            Assert.Contains("another process", Assert.Throws<UsageException>(() => RunFolder.Claim(output, RunStart.New).Dispose()).Message);
            File.WriteAllText(Path.Combine(output, MetricsFile.Name), "");
        }
        Assert.Contains("metrics.jsonl of an earlier run", Assert.Throws<UsageException>(() => RunFolder.Claim(output, RunStart.New).Dispose()).Message);
        RunFolder.Claim(output, RunStart.Resume).Dispose();
    }

    [Fact]
    public void Train_IntoAFileOrAFolderThatCannotBeMade_IsRefused()
    {
        using var scratch = new Scratch();
        var file = scratch.File("file", "");
        Assert.Equal(3, Gemma2Run.Run(Run(scratch, file)).Code);
        Assert.Equal(3, Gemma2Run.Run(Run(scratch, Path.Combine(file, "out"))).Code);
    }

    // The same checks and codes as a start has, and nothing on the disk.
    [Fact]
    public void DryRun_OfAnything_ChangesNothing()
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        var said = Succeed(Run(scratch, output, "--steps", "6", "--dry-run"));
        Assert.Contains("planned peak", said);
        Assert.Contains("dry run: everything but the weights' values was read and is right; 6 steps are to do", said);
        Assert.False(Directory.Exists(output));
        Assert.Equal(4, Gemma2Run.Run(Run(scratch, output, "--dry-run", "--batch-tokens", "100000000")).Code);
        Assert.Equal(3, Gemma2Run.Run(Run(scratch, output, "--dry-run", "--data", scratch.File("bad", "{"))).Code);

        Succeed(Run(scratch, output, "--steps", "4"));
        var before = Content(output);
        Assert.Equal(2, Gemma2Run.Run(Run(scratch, output, "--steps", "6", "--dry-run")).Code);
        Assert.Contains("2 steps are to do", Succeed(Run(scratch, output, "--steps", "6", "--dry-run", "--resume")));
        Assert.Equal(2, Gemma2Run.Run(Run(scratch, output, "--steps", "6", "--dry-run", "--resume", "--seed", "9")).Code);
        Same(before, Content(output));
    }

    static StepReport Report(int step) => new(step, 1, step, 1e-3, 1, 8, step * 10, 5, 5, false);

    static string[] Lines(string folder) => File.ReadAllLines(Path.Combine(folder, MetricsFile.Name));

    [Fact]
    public void Metrics_GoingOn_KeepsTheLinesOfItsStepsAlone()
    {
        using var scratch = new Scratch();
        var said = new List<string>();
        using (var metrics = new MetricsFile(scratch.Path, 0, said.Add)) foreach (var step in new[] { 1, 2, 3, 4 }) metrics.Write(Report(step));
        var lines = Lines(scratch.Path);
        File.AppendAllText(Path.Combine(scratch.Path, MetricsFile.Name), "{\"step\":5,\"lo");
        using (new MetricsFile(scratch.Path, 2, said.Add))
        {
            // A run that does not reach its first line cuts nothing.
        }
        Assert.Equal(5, Lines(scratch.Path).Length);
        using (var metrics = new MetricsFile(scratch.Path, 2, said.Add)) metrics.Write(Report(3));
        Assert.Equal(lines[..3], Lines(scratch.Path));
        Assert.Empty(said);
        using (var metrics = new MetricsFile(scratch.Path, 7, said.Add)) metrics.Write(Report(8));
        Assert.Contains("ends with step 3, although the run goes on after step 7", Assert.Single(said));
        Assert.Equal(4, Lines(scratch.Path).Length);
    }

    [Fact]
    public void Metrics_ThatCannotBeWritten_AreSaidOnceAndComeLater()
    {
        using var scratch = new Scratch();
        var (folder, said) = (Path.Combine(scratch.Path, "none"), new List<string>());
        using (var metrics = new MetricsFile(folder, 0, said.Add))
        {
            metrics.Write(Report(1));
            metrics.Write(Report(2));
            Assert.Contains("cannot be written", Assert.Single(said));
            Directory.CreateDirectory(folder);
            metrics.Write(Report(3));
            Assert.Single(said);
        }
        Assert.Equal(3, Lines(folder).Length);
    }
}
