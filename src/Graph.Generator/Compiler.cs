using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.Emit;
using Graph.Generator.IR;
using Graph.Generator.Kernels;
using Graph.Generator.Launches;
using Graph.Generator.Passes;
using Graph.Generator.Schedules;
using Graph.Generator.Tracing;

namespace Graph.Generator;

/// <summary>
/// The compiler, as the list of its passes. Each takes an immutable graph and returns the next; every stage is verified, and dumped under its number on request.
/// </summary>
public static class Compiler
{
    /// <param name="full">All weights are trained, and no adapters.</param>
    /// <param name="dump">Receives each stage's name and a function that prints it; null: nothing is printed.</param>
    public static CompiledText Compile(string variant, IReadOnlyList<TraceNode> trace, IReadOnlyList<Target> targets, Action<string, Func<string>>? dump = null, bool full = false)
    {
        TensorGraph Stage(string name, TensorGraph graph)
        {
            Verify.Check(graph, name);
            dump?.Invoke(name, () => GraphText.Print(graph));
            return graph;
        }

        var written = Import.Run(trace);
        var imported = Stage("01-import", full ? TrainWeights.Run(written) : written);   // what the user wrote, and the loss
        var graph = Stage("02-expand", Expand.Run(imported));                  // rms_norm and gelu become primitives
        graph = Stage("03-loss", FuseLoss.Run(graph));                         // head and cross entropy are one op, before its gradient exists
        graph = Stage("04-simplify", Simplify.Run(graph));                     // dead nodes; scalars to the rank side of a product
        graph = Stage("05-stack", StackLinears.Run(graph));                    // linears of one input are one product, and so are their adapters
        graph = Stage("06-differentiate", Differentiate.Run(graph));           // + backward, only towards adapters
        graph = Stage("07-simplify", Simplify.Run(graph));
        graph = Stage("08-products", MergeProducts.Run(graph));                // a sum of matmuls is one GEMM over k-segments, with its scale
        graph = Stage("09-copies", InsertCopies.Run(graph));                   // every value can lie where it is wanted
        var launches = Fuse.Run(graph, imported);                              // 10: nodes become launches on placed tensors
        VerifyKernels.Launches(launches, "10-launches");
        dump?.Invoke("10-launches", () => KernelGraphText.Launches(launches));
        var kernels = Share.Run(launches);                                     // 11: equal bodies are one kernel
        VerifyKernels.Kernels(launches, kernels, "11-kernels");
        dump?.Invoke("11-kernels", () => KernelGraphText.Kernels(kernels));
        var (epilogues, fused) = FindEpilogues.Run(launches, kernels);         // 12: launches that a device may run as one
        VerifyKernels.Fusions(launches, fused, "12-fusions");
        dump?.Invoke("12-fusions", () => KernelGraphText.Fusions(fused));
        var schedule = MakeSchedule.Run(variant, launches, kernels,
            fused) with { SharedScale = SharedScale.IsIn(trace) || SharedScale.IsIn(launches) };    // 13: launch order, tensors, recompute recipes, fusions
        dump?.Invoke("13-schedule", () => ScheduleText.Print(schedule));
        return new CompiledText(variant, ScheduleText.Print(schedule),
            EmitCpu.Run(kernels.All),                                          // 14: row kernels as C#
            targets.Select(t => new TargetText(t.Name, EmitCuda.Run(t, kernels.All, epilogues, full).ToArray())).ToArray());   // 15: CUDA C
    }
}
