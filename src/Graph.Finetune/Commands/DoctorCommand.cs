using System;
using System.Collections.Generic;
using System.CommandLine;
using System.Globalization;
using System.Linq;
using System.Runtime.InteropServices;
using Graph.Runtime;
using Graph.Runtime.Cuda;
using Graph.Runtime.Devices;

namespace Graph.Finetune.Commands;

/// <summary>What this machine has. A part that is missing is told with what to do; it is no error, as the CPU always works.</summary>
static class DoctorCommand
{
    public static Command Create(IReadOnlyList<CompiledModel> models, Terminal terminal)
    {
        var command = new Command("doctor", "Says what this machine has: driver, GPUs, NVRTC, cuBLASLt, kernel cache, models.");
        command.SetAction(_ => Run(models, terminal));
        return command;
    }

    static void Run(IReadOnlyList<CompiledModel> models, Terminal terminal)
    {
        var facts = CudaFacts.Collect();
        Line("system", $"{RuntimeInformation.OSDescription}, {RuntimeInformation.ProcessArchitecture}, {Environment.ProcessorCount} cores, "
            + Bytes.Text(GC.GetGCMemoryInfo().TotalAvailableMemoryBytes));
        Part("driver", facts.Driver);
        foreach (var gpu in facts.Gpus)
            Line("gpu " + gpu.Ordinal, $"{gpu.Name}, compute capability {CudaTarget.Text(gpu.Capability)}, {Bytes.Text(gpu.TotalBytes)}, "
                + $"{gpu.Multiprocessors} multiprocessors; {Kernels(gpu)}");
        if (facts.Gpus.Count == 0) Line("gpu", "none; runs go to the CPU in fp32");
        Part("nvrtc", facts.Nvrtc);
        Part("cublaslt", facts.CublasLt);
        Part("cache", facts.Cache);
        Line("embedded", facts.EmbeddedKernels > 0 ? $"{facts.EmbeddedKernels} cubins in this executable" : "no cubins in this executable; kernels are compiled at first use");
        foreach (var model in models) Line("model", $"{model.Name} for cpu{string.Concat(model.Targets.Select(t => ", " + t))}");

        void Line(string name, string text) => terminal.Out.WriteLine($"{name,-9} {text}");

        void Part(string name, PartFacts part) => Line(name, part.Problem ?? string.Join(", ", new[] { part.Version, part.Path }.Where(p => !string.IsNullOrEmpty(p))));

        string Kernels(GpuFacts gpu)
        {
            try
            {
                return "runs the kernels for " + CudaTarget.Choose([.. models.SelectMany(m => m.Targets).Distinct()], gpu.Capability, Nvrtc.SupportedCapabilities).Name;
            }
            catch (DeviceException e)
            {
                return e.Message;
            }
        }
    }
}
