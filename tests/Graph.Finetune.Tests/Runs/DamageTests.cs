using System;
using System.IO;
using System.Linq;
using Graph.Finetune.Commands;
using Graph.Finetune.Runs;
using Xunit;

namespace Graph.Finetune.Tests.Runs;

/// <summary>A checkpoint of which anything changed is not gone on from.</summary>
public class DamageTests
{
    [Fact]
    public void Fault_EveryTruncationAndAFlippedBitOfEveryByte_IsFound()
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        TestRun.Small(scratch, 1).Run(output);
        var folder = RunCheckpoint.FolderOf(Path.Combine(output, "checkpoints"), 1);
        Assert.Null(RunCheckpoint.Fault(folder));
        var files = Directory.GetFiles(folder);
        Assert.Equal(["adapter_config.json", "adapter_model.safetensors", "manifest.json", "optimizer.safetensors", "run.json"],
            files.Select(f => Path.GetFileName(f)).Order(StringComparer.Ordinal));
        var random = new Random(3);
        foreach (var file in files)
        {
            var whole = File.ReadAllBytes(file);
            // All bits of the small files; of the others one of every byte that says what follows, and of one in 16 of those that hold numbers.
            for (var at = 0; at < whole.Length; at += whole.Length < 4096 || at < 2048 ? 1 : 16)
                foreach (var bit in whole.Length < 4096 ? Enumerable.Range(0, 8) : [random.Next(8)])
                {
                    Write(file, whole, at, (byte)(1 << bit));
                    Assert.True(RunCheckpoint.Fault(folder) is not null, $"bit {bit} of byte {at} of {Path.GetFileName(file)}");
                }
            for (var length = 0; length < whole.Length; length += whole.Length < 4096 ? 1 : 97)
            {
                File.WriteAllBytes(file, whole[..length]);
                Assert.True(RunCheckpoint.Fault(folder) is not null, $"{Path.GetFileName(file)} cut to {length} bytes");
            }
            File.Delete(file);
            Assert.Contains("lacks " + Path.GetFileName(file), RunCheckpoint.Fault(folder));
            File.WriteAllBytes(file, whole);
        }
        Assert.Null(RunCheckpoint.Fault(folder));

        static void Write(string file, byte[] whole, int at, byte mask)
        {
            whole[at] ^= mask;
            File.WriteAllBytes(file, whole);
            whole[at] ^= mask;
        }
    }

    [Theory, InlineData("optimizer.safetensors"), InlineData("adapter_model.safetensors"), InlineData("adapter_config.json"), InlineData("run.json"), InlineData("manifest.json")]
    public void Resume_NewestCheckpointDamaged_GoesOnFromTheOneBefore(string name)
    {
        using var scratch = new Scratch();
        string whole = Path.Combine(scratch.Path, "whole"), output = Path.Combine(scratch.Path, "out");
        var run = TestRun.Small(scratch, 7);
        run.Run(whole);
        run.RunUntil(output, RunStart.New, 5);
        var damaged = Path.Combine(RunCheckpoint.FolderOf(Path.Combine(output, "checkpoints"), 5), name);
        var bytes = File.ReadAllBytes(damaged);
        bytes[bytes.Length / 2] ^= 4;
        File.WriteAllBytes(damaged, bytes);
        var said = run.Run(output, RunStart.Resume);
        // A changed manifest is another name for a file that did not change.
        Assert.Contains($"step-5 has another {(name == "manifest.json" ? "" : name + " than its manifest.json says; it is passed over")}", said);
        Assert.Contains("going on after step 4, ", said);
        TestRun.AssertSame(whole, output);
    }

    /// <summary>As many good ones stay as are to be kept.</summary>
    [Fact]
    public void Resume_DamagedCheckpointThatIsNotWrittenAgain_TakesNoGoodOnesPlace()
    {
        using var scratch = new Scratch();
        var (output, run) = (Path.Combine(scratch.Path, "out"), TestRun.Small(scratch, 9));
        run = run with { Settings = run.Settings with { SaveEvery = 4, Keep = 3 } };
        run.RunUntil(output, RunStart.New, 5);
        var checkpoints = Path.Combine(output, "checkpoints");
        Assert.Equal([5, 4], RunCheckpoint.Steps(checkpoints));
        File.Delete(Path.Combine(RunCheckpoint.FolderOf(checkpoints, 5), "run.json"));
        run.Run(output, RunStart.Resume);
        Assert.Equal([9, 8, 4], RunCheckpoint.Steps(checkpoints));
    }

    [Fact]
    public void Resume_EveryCheckpointDamaged_IsRefused()
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        var run = TestRun.Small(scratch, 6);
        run.RunUntil(output, RunStart.New, 5);
        foreach (var step in RunCheckpoint.Steps(Path.Combine(output, "checkpoints")))
            File.Delete(Path.Combine(RunCheckpoint.FolderOf(Path.Combine(output, "checkpoints"), step), "run.json"));
        Assert.Contains("none of the 3 checkpoints", Assert.Throws<InputException>(() => run.Run(output, RunStart.Resume)).Message);
    }

    [Fact]
    public void Tidy_AfterEveryMomentOfAWrite_LeavesWholeFolders()
    {
        using var scratch = new Scratch();
        string At(string name) => Path.Combine(scratch.Path, name);
        void Folder(string name, string content)
        {
            Directory.CreateDirectory(At(name));
            File.WriteAllText(Path.Combine(At(name), "f"), content);
        }
        Folder("a.partial", "half");
        Folder("b.replaced", "old");
        Folder("c.replaced", "old");
        Folder("c", "new");
        Folder("d.old", "going");
        Folder("e", "whole");
        AtomicFiles.Tidy(scratch.Path);
        Assert.Equal(["b old", "c new", "e whole"], Directory.GetDirectories(scratch.Path).Select(d => $"{Path.GetFileName(d)} {File.ReadAllText(Path.Combine(d, "f"))}").Order());
    }

    [Fact]
    public void WriteFolder_ThatFails_LeavesTheOldOneAndNothingBeside()
    {
        using var scratch = new Scratch();
        var folder = Path.Combine(scratch.Path, "a");
        AtomicFiles.WriteFolder(folder, [("f", s => s.Write("old"u8))]);
        Assert.Contains("the disk is full",
            Assert.Throws<InputException>(() => AtomicFiles.WriteFolder(folder, [("f", s => s.Write("new"u8)), ("g", _ => throw new IOException("the disk is full"))])).Message);
        Assert.Equal("old", File.ReadAllText(Path.Combine(folder, "f")));
        Assert.Equal([folder], Directory.GetFileSystemEntries(scratch.Path));
        AtomicFiles.WriteFolder(folder, [("f", s => s.Write("new"u8))]);
        Assert.Equal("new", File.ReadAllText(Path.Combine(folder, "f")));
        Assert.Equal([folder], Directory.GetFileSystemEntries(scratch.Path));
    }
}
