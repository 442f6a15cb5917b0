using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using Graph.Runtime.Cuda;
using Graph.Runtime.Devices;
using Xunit;

namespace Graph.Runtime.Tests.Cuda;

public sealed class KernelCacheTests : IDisposable
{
    readonly string root = Directory.CreateTempSubdirectory("graph-cache-").FullName;
    readonly KernelCache cache;
    static readonly CompiledKernel Kernel = new("sm_80", ImageKind.Cubin, [.. Enumerable.Range(0, 5000).Select(i => (byte)(i * 31))], "ptxas info : nothing", [], []);

    public KernelCacheTests() => cache = KernelCache.Open(Path.Combine(root, "kernels"));

    public void Dispose() => Directory.Delete(root, recursive: true);

    static KernelKey Key(string text, string architecture = "sm_80") => KernelKey.ForCache(text, architecture, Nvrtc.DefaultOptions, "12.4");

    [Fact]
    public void Find_AfterStore_IsTheKernel()
    {
        Assert.Null(cache.Find(Key("a"), "sm_80"));
        cache.Store(Key("a"), Kernel);
        var found = cache.Find(Key("a"), "sm_80");
        Assert.NotNull(found);
        Assert.Equal(Kernel.Image, found.Image);
        Assert.Equal((Kernel.Architecture, Kernel.Kind, Kernel.Log), (found.Architecture, found.Kind, found.Log));
    }

    [Fact]
    public void Key_AnyPartChanged_IsAnotherKey()
    {
        string[] options = ["-std=c++17"];
        KernelKey[] keys =
        [
            KernelKey.ForCache("ab", "sm_80", options, "12.4"), KernelKey.ForCache("a", "sm_80", options, "12.4"), KernelKey.ForCache("ab", "sm_86", options, "12.4"),
            KernelKey.ForCache("ab", "sm_80", ["-std=c++20"], "12.4"), KernelKey.ForCache("ab", "sm_80", options, "13.0"), KernelKey.ForCache("abs", "m_80", options, "12.4"),
            KernelKey.ForArchive("ab", "sm_80", options),
        ];
        Assert.Equal(keys.Length, keys.Distinct().Count());
        Assert.Equal(keys[0], KernelKey.ForCache("ab", "sm_80", ["-std=c++17"], "12.4"));
    }

    public static IEnumerable<TheoryDataRow<string>> Damages() =>
        new[] { "empty", "header only", "cut by one byte", "cut in the middle", "first byte", "hash byte", "last byte", "a byte of the image", "version" }
            .Select(d => new TheoryDataRow<string>(d));

    [Theory]
    [MemberData(nameof(Damages))]
    public void Find_DamagedEntry_IsDeletedAndStoredAnew(string damage)
    {
        cache.Store(Key("a"), Kernel);
        var file = cache.PathOf(Key("a"));
        var bytes = File.ReadAllBytes(file);
        File.WriteAllBytes(file, damage switch
        {
            "empty" => [],
            "header only" => bytes[..44],
            "cut by one byte" => bytes[..^1],
            "cut in the middle" => bytes[..(bytes.Length / 2)],
            "first byte" => Flip(bytes, 0),
            "hash byte" => Flip(bytes, 20),
            "last byte" => Flip(bytes, bytes.Length - 1),
            "a byte of the image" => Flip(bytes, bytes.Length - 2500),
            "version" => Flip(bytes, 8),
            _ => throw new ArgumentOutOfRangeException(nameof(damage)),
        });
        Assert.Null(cache.Find(Key("a"), "sm_80"));
        Assert.False(File.Exists(file));
        cache.Store(Key("a"), Kernel);
        Assert.NotNull(cache.Find(Key("a"), "sm_80"));
    }

    static byte[] Flip(byte[] bytes, int at)
    {
        bytes[at] ^= 0x10;
        return bytes;
    }

    [Fact]
    public void Find_EntryOfAnotherKey_IsRefused()
    {
        cache.Store(Key("a"), Kernel);
        File.Copy(cache.PathOf(Key("a")), cache.PathOf(Key("b")));
        Assert.Null(cache.Find(Key("b"), "sm_80"));
        Assert.NotNull(cache.Find(Key("a"), "sm_80"));
    }

    [Fact]
    public void Find_EntryOfAnotherArchitecture_IsRefused()
    {
        // The same key, so that the architecture inside the entry alone tells them apart.
        cache.Store(Key("a", "sm_90a"), Kernel);
        Assert.Null(cache.Find(Key("a", "sm_90a"), "sm_90a"));
    }

    [Fact]
    public void Open_NewFolder_IsForThisUserAlone()
    {
        if (OperatingSystem.IsWindows()) return;
        const UnixFileMode user = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        Assert.Equal(user | UnixFileMode.UserExecute, File.GetUnixFileMode(cache.Folder));
        cache.Store(Key("a"), Kernel);
        Assert.Equal(user, File.GetUnixFileMode(cache.PathOf(Key("a"))));
        Assert.Equal([cache.PathOf(Key("a"))], Directory.GetFiles(cache.Folder));
    }

    [Theory]
    [InlineData(UnixFileMode.OtherWrite)]
    [InlineData(UnixFileMode.GroupWrite)]
    public void Open_FolderOthersMayWrite_IsRefused(UnixFileMode more)
    {
        if (OperatingSystem.IsWindows()) return;
        File.SetUnixFileMode(cache.Folder, File.GetUnixFileMode(cache.Folder) | more);
        var error = Assert.Throws<DeviceException>(() => KernelCache.Open(cache.Folder));
        Assert.Contains("others may write to " + cache.Folder, error.Message);
    }

    [Fact]
    public void Open_ForeignFolder_IsRefused()
    {
        if (!OperatingSystem.IsLinux()) return;
        // As root a folder can be given away; as anybody else /proc belongs to root already.
        var foreign = "/proc/1";
        if (Environment.IsPrivilegedProcess)
        {
            foreign = cache.Folder;
            Assert.Equal(0, System.Diagnostics.Process.Start("chown", ["12345", foreign]).WaitForExitCode());
        }
        var error = Assert.Throws<DeviceException>(() => KernelCache.Open(foreign));
        Assert.Contains("belongs to user", error.Message);
    }

    // Planted while the folder was open to all; closing the folder does not make them good.
    [Theory]
    [InlineData("open to others"), InlineData("another user's"), InlineData("another user's link")]
    public void Find_EntryThatSomebodyElseMayHaveMade_IsDeleted(string planted)
    {
        if (!OperatingSystem.IsLinux()) return;
        cache.Store(Key("a"), Kernel);
        var file = cache.PathOf(Key("a"));
        if (planted == "open to others") File.SetUnixFileMode(file, File.GetUnixFileMode(file) | UnixFileMode.OtherWrite);
        else
        {
            // Only root can give files away.
            Assert.SkipUnless(Environment.IsPrivilegedProcess, "an entry of another user needs root to make");
            if (planted == "another user's link")
            {
                File.Move(file, file + ".mine");
                File.CreateSymbolicLink(file, file + ".mine");
            }
            Assert.Equal(0, System.Diagnostics.Process.Start("chown", ["-h", "12345", file]).WaitForExitCode());
        }
        Assert.Null(cache.Find(Key("a"), "sm_80"));
        Assert.False(Path.Exists(file));
        cache.Store(Key("a"), Kernel);
        Assert.NotNull(cache.Find(Key("a"), "sm_80"));
    }

    [Fact]
    public void Open_WhereAFileStands_SaysSo()
    {
        var file = Path.Combine(root, "file");
        File.WriteAllText(file, "");
        var error = Assert.Throws<DeviceException>(() => KernelCache.Open(Path.Combine(file, "kernels")));
        Assert.Contains("cannot be created", error.Message);
    }

    [Fact]
    public async Task Store_ByTwoWriters_IsAlwaysWhole()
    {
        using var done = new CancellationTokenSource(TimeSpan.FromSeconds(1));
        var stored = 0;
        Task Writer(KernelCache mine) => Task.Run(() =>
        {
            while (!done.IsCancellationRequested)
            {
                mine.Store(Key("a"), Kernel);
                Interlocked.Increment(ref stored);
            }
        }, TestContext.Current.CancellationToken);
        cache.Store(Key("a"), Kernel);
        var writers = new[] { Writer(cache), Writer(KernelCache.Open(cache.Folder)) };
        while (!done.IsCancellationRequested) Assert.NotNull(cache.Find(Key("a"), "sm_80"));
        await Task.WhenAll(writers);
        Assert.True(stored > 2);
        Assert.Single(Directory.GetFiles(cache.Folder));
    }

    [Fact]
    public void DefaultFolder_FollowsTheEnvironment()
    {
        if (OperatingSystem.IsWindows()) return;
        static string? Folder(params (string Name, string Value)[] set) => KernelCache.DefaultFolder(name => set.FirstOrDefault(v => v.Name == name).Value);
        Assert.Equal("/g/kernels", Folder(("GRAPH_CACHE", "/g"), ("XDG_CACHE_HOME", "/x")));
        Assert.Equal("/x/graph/kernels", Folder(("XDG_CACHE_HOME", "/x"), ("HOME", "/h")));
        Assert.Equal("/h/.cache/graph/kernels", Folder(("XDG_CACHE_HOME", "relative is ignored"), ("HOME", "/h")));
        Assert.Null(Folder(("GRAPH_CACHE", "off")));
    }
}

static class ProcessExit
{
    internal static int WaitForExitCode(this System.Diagnostics.Process process)
    {
        process.WaitForExit();
        return process.ExitCode;
    }
}
