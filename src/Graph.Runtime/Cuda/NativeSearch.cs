using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;

namespace Graph.Runtime.Cuda;

/// <summary>
/// Where one native library is looked for, in order: plain names go through the system's loader, paths are tried as they are.
/// A pure value, so that a test can look for a library in a folder of its own.
/// </summary>
/// <param name="Library">What people call it: "NVRTC".</param>
/// <param name="Candidates">Names and paths in the order they are tried.</param>
/// <param name="Companions">Pattern of files that must be loaded from the same folder first; null for none.</param>
/// <param name="Advice">What to do when nothing is found; ends the sentence.</param>
public sealed record NativeSearch(string Library, IReadOnlyList<string> Candidates, string? Companions, string Advice)
{
    /// <summary>The sentence for a library that is not there.</summary>
    public string Missing => $"{Library} was not found (looked for {string.Join(", ", Candidates)}); {Advice}";

    public static NativeSearch Driver() => new(
        "the NVIDIA driver", OperatingSystem.IsWindows() ? ["nvcuda.dll"] : ["libcuda.so.1"], null, "install the driver for this GPU or use --device cpu");

    /// <summary>The driver's management library, which says what each process takes on a GPU.</summary>
    public static NativeSearch Nvml() => new(
        "NVML", OperatingSystem.IsWindows() ? ["nvml.dll"] : ["libnvidia-ml.so.1"], null, "it comes with the NVIDIA driver; without it what the context takes is estimated");

    /// <summary>NVRTC 13 or 12. <paramref name="environment"/> reads GRAPH_NVRTC (a folder or file that alone is searched) and CUDA_PATH.</summary>
    public static NativeSearch Nvrtc(Func<string, string?> environment) => new(
        "NVRTC",
        Toolkit(environment, "GRAPH_NVRTC", OperatingSystem.IsWindows() ? ["nvrtc64_130_0.dll", "nvrtc64_120_0.dll"] : ["libnvrtc.so.13", "libnvrtc.so.12"]),
        // NVRTC opens its builtins by bare name: loaded beforehand by path, that name resolves without LD_LIBRARY_PATH.
        OperatingSystem.IsWindows() ? "nvrtc-builtins64_*.dll" : "libnvrtc-builtins.so.*",
        "install the toolkit's cuda-nvrtc package, or set GRAPH_NVRTC to the folder that holds it; an executable whose cubins were embedded with 'compile' needs no NVRTC");

    /// <summary>cuBLASLt 13 or 12; GRAPH_CUBLASLT and CUDA_PATH as for NVRTC.</summary>
    public static NativeSearch CublasLt(Func<string, string?> environment) => new(
        "cuBLASLt",
        Toolkit(environment, "GRAPH_CUBLASLT", OperatingSystem.IsWindows() ? ["cublasLt64_13.dll", "cublasLt64_12.dll"] : ["libcublasLt.so.13", "libcublasLt.so.12"]),
        null,
        "install the toolkit's libcublas package, set GRAPH_CUBLASLT to the folder that holds it, or use the generated GEMMs with GRAPH_GEMM=generated");

    static string[] Toolkit(Func<string, string?> environment, string variable, string[] names)
    {
        if (environment(variable) is { Length: > 0 } chosen)
            return File.Exists(chosen) ? [chosen] : [.. names.Select(name => Path.Combine(chosen, name))];
        var root = environment("CUDA_PATH") is { Length: > 0 } path ? path : OperatingSystem.IsWindows() ? null : "/usr/local/cuda";
        string[] folders = root is null ? [] : OperatingSystem.IsWindows() ? [Path.Combine(root, "bin"), Path.Combine(root, "bin", "x64")] : [Path.Combine(root, "lib64")];
        // By version first, so that a toolkit's 13 wins over a system's 12 whichever place it is found in.
        return [.. names.SelectMany(name => folders.Select(folder => Path.Combine(folder, name)).Prepend(name))];
    }
}
