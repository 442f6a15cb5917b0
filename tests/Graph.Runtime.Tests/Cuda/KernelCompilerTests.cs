using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Graph.Runtime.Cuda;
using Graph.Runtime.Devices;
using Xunit;

namespace Graph.Runtime.Tests.Cuda;

public sealed class KernelCompilerTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("graph-compiler-").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    static string Text(int i) => NvrtcTests.VectorAdd.Replace("vector_add", "vector_add_" + i);

    [Fact]
    public void Get_ManyTexts_CompilesEachOnceInOrder()
    {
        var compiler = new KernelCompiler(null, KernelCache.Open(Path.Combine(folder, "kernels")));
        string[] texts = [Text(1), Text(2), Text(1), Text(3)];
        var kernels = compiler.Get(texts, "sm_80", i => $"k{i}.cu");
        Assert.Equal(["vector_add_1", "vector_add_2", "vector_add_1", "vector_add_3"], kernels.Select(k => Assert.Single(k.Functions).Name));
        Assert.Same(kernels[0], kernels[2]);
        Assert.Equal(3, Directory.GetFiles(compiler.Cache!.Folder).Length);
    }

    [Fact]
    public void Get_FromCache_IsWhatWasCompiled()
    {
        var cache = KernelCache.Open(Path.Combine(folder, "kernels"));
        var compiled = new KernelCompiler(null, cache).Get([Text(1)], "sm_90a", _ => "k.cu")[0];
        // A log that NVRTC never writes shows that the second answer came from the file.
        var key = KernelKey.ForCache(Text(1), "sm_90a", Nvrtc.DefaultOptions, Nvrtc.Version());
        cache.Store(key, compiled with { Log = "from the cache" });
        var again = new KernelCompiler(null, cache).Get([Text(1)], "sm_90a", _ => "k.cu")[0];
        Assert.Equal("from the cache", again.Log);
        Assert.Equal(compiled.Image, again.Image);
    }

    [Fact]
    public void Get_EmbeddedKernel_NeedsNeitherCacheNorNvrtc()
    {
        var executable = Path.Combine(folder, "program");
        File.WriteAllText(executable, "a program");
        var kernel = new CompiledKernel("sm_90a", ImageKind.Cubin, [1, 2, 3], "embedded", [], []);
        // The text does not compile: only the archive can answer for it.
        const string text = "not CUDA C";
        CubinArchive.Append(executable, [new KeyValuePair<KernelKey, CompiledKernel>(KernelKey.ForArchive(text, "sm_90a", Nvrtc.DefaultOptions), kernel)]);
        var found = new KernelCompiler(CubinArchive.Open(executable), null).Get([text], "sm_90a", _ => "k.cu");
        Assert.Equal("embedded", Assert.Single(found).Log);
    }

    [Fact]
    public void Get_BadTextAmongGood_SaysWhich()
    {
        var error = Assert.Throws<DeviceException>(() => new KernelCompiler(null, null).Get([Text(1), "__global__ void broken( {"], "sm_80", i => $"text{i}.cu"));
        Assert.Contains("text1.cu does not compile", error.Message);
    }
}
