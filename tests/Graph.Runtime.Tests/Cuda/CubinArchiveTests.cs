using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Graph.Runtime.Cuda;
using Xunit;

namespace Graph.Runtime.Tests.Cuda;

public sealed class CubinArchiveTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("graph-archive-").FullName;
    readonly string executable;
    readonly byte[] program = [.. Enumerable.Range(0, 3_000_000).Select(i => (byte)(i * 7))];

    public CubinArchiveTests()
    {
        executable = Path.Combine(folder, "program");
        File.WriteAllBytes(executable, program);
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    static KernelKey Key(string text) => KernelKey.ForArchive(text, "sm_90a", Nvrtc.DefaultOptions);

    static KeyValuePair<KernelKey, CompiledKernel> Entry(string text, int bytes) =>
        new(Key(text), new CompiledKernel("sm_90a", ImageKind.Cubin, [.. Enumerable.Range(0, bytes).Select(i => (byte)(i + text[0]))], "log of " + text, [], []));

    [Fact]
    public void Open_WithoutArchive_IsNull()
    {
        Assert.Null(CubinArchive.Open(executable));
        File.WriteAllBytes(executable, [1, 2, 3]);
        Assert.Null(CubinArchive.Open(executable));
    }

    [Fact]
    public void Append_ThenOpen_HasEveryKernelBehindTheProgram()
    {
        if (!OperatingSystem.IsWindows()) File.SetUnixFileMode(executable, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        var entries = new[] { Entry("a", 100), Entry("b", 0), Entry("c", 70_000) };
        CubinArchive.Append(executable, entries);

        Assert.Equal(program, File.ReadAllBytes(executable)[..program.Length]);
        var archive = CubinArchive.Open(executable);
        Assert.NotNull(archive);
        Assert.Equal(3, archive.Count);
        foreach (var (key, kernel) in entries)
        {
            var found = archive.Find(key, "sm_90a");
            Assert.NotNull(found);
            Assert.Equal(kernel.Image, found.Image);
            Assert.Equal(kernel.Log, found.Log);
        }
        Assert.Null(archive.Find(Key("d"), "sm_90a"));
        Assert.Null(archive.Find(Key("a"), "sm_80"));
        if (!OperatingSystem.IsWindows()) Assert.True(File.GetUnixFileMode(executable).HasFlag(UnixFileMode.UserExecute));
    }

    [Fact]
    public void Append_Again_ReplacesTheArchive()
    {
        CubinArchive.Append(executable, [Entry("a", 100_000)]);
        CubinArchive.Append(executable, [Entry("b", 10)]);
        var archive = CubinArchive.Open(executable);
        Assert.NotNull(archive);
        Assert.Equal(1, archive.Count);
        Assert.NotNull(archive.Find(Key("b"), "sm_90a"));
        Assert.InRange(new FileInfo(executable).Length, program.Length, program.Length + 1000);
    }

    [Fact]
    public void Append_EntriesInAnyOrder_GivesTheSameFile()
    {
        CubinArchive.Append(executable, [Entry("a", 10), Entry("b", 20)]);
        var first = File.ReadAllBytes(executable);
        CubinArchive.Append(executable, [Entry("b", 20), Entry("a", 10)]);
        Assert.Equal(first, File.ReadAllBytes(executable));
    }

    [Fact]
    public void Find_ChangedEntry_IsNull()
    {
        CubinArchive.Append(executable, [Entry("a", 1000)]);
        var bytes = File.ReadAllBytes(executable);
        bytes[program.Length + 600] ^= 1;
        File.WriteAllBytes(executable, bytes);
        var archive = CubinArchive.Open(executable);
        Assert.NotNull(archive);
        Assert.Null(archive.Find(Key("a"), "sm_90a"));
    }

    [Fact]
    public void Open_ChangedIndex_IsNull()
    {
        CubinArchive.Append(executable, [Entry("a", 1000)]);
        var bytes = File.ReadAllBytes(executable);
        bytes[^70] ^= 1;
        File.WriteAllBytes(executable, bytes);
        Assert.Null(CubinArchive.Open(executable));
    }
}
