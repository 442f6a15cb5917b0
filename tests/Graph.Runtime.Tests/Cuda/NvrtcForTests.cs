using System;
using System.IO;
using System.Runtime.CompilerServices;

namespace Graph.Runtime.Tests.Cuda;

static class NvrtcForTests
{
    /// <summary>
    /// eng/install-nvrtc.sh unpacks NVRTC into .cache/nvrtc.
    /// Set before anything looks for it; where there is none, every test that compiles fails with the runtime's own sentence.
    /// </summary>
    [ModuleInitializer]
    internal static void UseTheRepositorysNvrtc()
    {
        if (!string.IsNullOrEmpty(Environment.GetEnvironmentVariable("GRAPH_NVRTC"))) return;
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            var installed = Path.Combine(folder.FullName, ".cache", "nvrtc", "lib");
            if (Directory.Exists(installed)) Environment.SetEnvironmentVariable("GRAPH_NVRTC", installed);
        }
    }
}
