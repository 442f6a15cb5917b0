using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading.Tasks;
using Graph.Runtime.Devices;

namespace Graph.Runtime.Cuda;

/// <summary>Where compiled kernels come from: the executable's archive, else the user's cache, else NVRTC.</summary>
/// <param name="Archive">Null: nothing is embedded.</param>
/// <param name="Cache">Null: nothing is kept.</param>
public sealed record KernelCompiler(CubinArchive? Archive, KernelCache? Cache)
{
    /// <summary>This executable's archive and the user's cache.</summary>
    /// <exception cref="DeviceException">The cache folder cannot be trusted.</exception>
    public static KernelCompiler Default()
    {
        var folder = KernelCache.DefaultFolder(Environment.GetEnvironmentVariable);
        return new KernelCompiler(CubinArchive.OfThisProcess(), folder is null ? null : KernelCache.Open(folder));
    }

    /// <summary>Compiled form of each text, in order; texts that are equal are compiled once, different ones in parallel (one NVRTC program each).</summary>
    /// <param name="architecture">"sm_90a" for cubins, "compute_80" for PTX.</param>
    /// <param name="name">What a text is called in messages.</param>
    /// <exception cref="DeviceException">NVRTC is needed but was not found, or a text does not compile.</exception>
    public IReadOnlyList<CompiledKernel> Get(IReadOnlyList<string> texts, string architecture, Func<int, string> name)
    {
        var kernels = new CompiledKernel[texts.Count];
        var distinct = Enumerable.Range(0, texts.Count).GroupBy(i => texts[i]).ToArray();
        var options = Nvrtc.DefaultOptions;
        var missing = new List<IGrouping<string, int>>();
        foreach (var same in distinct)
        {
            if (Archive?.Find(KernelKey.ForArchive(same.Key, architecture, options), architecture) is not { } found) missing.Add(same);
            else foreach (var i in same) kernels[i] = found;
        }
        if (missing.Count == 0) return kernels;

        var version = Nvrtc.Version();
        try
        {
            Parallel.ForEach(missing, same =>
            {
                var key = KernelKey.ForCache(same.Key, architecture, options, version);
                var kernel = Cache?.Find(key, architecture);
                if (kernel is null)
                {
                    kernel = Nvrtc.Compile(same.Key, architecture, options, name(same.First()));
                    Cache?.Store(key, kernel);
                }
                foreach (var i in same) kernels[i] = kernel;
            });
        }
        catch (AggregateException e) when (e.InnerExceptions.OfType<DeviceException>().FirstOrDefault() is { } first)
        {
            throw first;
        }
        return kernels;
    }
}
