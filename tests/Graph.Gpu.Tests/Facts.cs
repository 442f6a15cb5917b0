using System.Linq;
using Graph.Runtime.Cuda;

namespace Graph.Gpu.Tests;

static class Facts
{
    /// <summary>Driver, GPUs and libraries, one a line.</summary>
    internal static string Text()
    {
        var facts = CudaFacts.Collect();
        return string.Join('\n', new[] { Line("driver", facts.Driver) }
            .Concat(facts.Gpus.Select(g => $"gpu {g.Ordinal}: {g.Name}, compute capability {CudaTarget.Text(g.Capability)}, "
                + $"{g.TotalBytes >> 20} MiB, {g.Multiprocessors} multiprocessors, {g.SharedBytes} bytes shared per block"))
            .Concat([Line("nvrtc", facts.Nvrtc), Line("cublaslt", facts.CublasLt), Line("cache", facts.Cache)]));
    }

    /// <summary>Name of the first GPU.</summary>
    internal static string Gpu() => CudaFacts.Collect().Gpus.Select(g => g.Name).FirstOrDefault() ?? "no GPU";

    static string Line(string name, PartFacts part) => $"{name}: {part.Problem ?? string.Join(' ', new[] { part.Version, part.Path }.Where(t => t is not null))}";
}
