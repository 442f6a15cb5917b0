using System;
using System.Collections.Generic;
using Graph.Generator.IR;
using Graph.Generator.Schedules;

namespace Graph.Generator.Kernels;

/// <summary>Rotary embedding of Heads heads, in place: angles are positions times the frequencies of a table, in fp32.</summary>
public sealed record RopeBody(int Heads, int HeadDim, bool Inverse) : KernelBody
{
    public override KernelKind Kind => KernelKind.Rope;

    internal override IEnumerable<Expr> Expressions => Array.Empty<Expr>();

    internal override IEnumerable<EmittedKernel> Cuda(Target target, Kernel kernel)
    {
        // 32 bytes per thread and head: with four heads 32 KB of a block of 256 threads are in flight.
        const int threads = 256, tileHeads = 4;
        if (HeadDim % 16 != 0) throw new ShapeError("rope: the head dim is " + NumberText.Int(HeadDim) + "; the CUDA kernel turns heads of a multiple of 16");
        var rowThreads = HeadDim / 16;
        var tileRows = threads / rowThreads;
        while (tileRows * rowThreads % 32 != 0) tileRows--;
        yield return new EmittedKernel(new KernelInfo(kernel.Name, Kind, tileRows * rowThreads, 0, tileRows, 0, (Heads + tileHeads - 1) / tileHeads), new[]
        {
            CudaText.Header(Sentence, target, kernel) + CudaText.Elem(target)
                + CudaText.Named(kernel.Name, ("HEADS", Heads), ("INVERSE", Inverse ? 1 : 0), ("TILE_ROWS", tileRows), ("TILE_HEADS", tileHeads)) + Rotation(),
            "@prelude.cu", "@rotation.cu", "@rope.cu",
        });
    }

    /// <summary>As the epilogue of the GEMM that makes the heads: literals, and the templates before gemm_sm90.cu.</summary>
    internal (string Literals, string[] Parts) Epilogue() => (CudaText.Literals(("TURNED", Heads * HeadDim)) + Rotation(), new[] { "@rotation.cu", "@rope_epilogue.cu" });

    internal override CpuKernel Cpu(Kernel kernel) => new("static (a, rows) => Graph.Runtime.Cpu.CpuRope.Run(a, rows, " + NumberText.Int(Heads) + ", " + NumberText.Int(HeadDim)
        + ", " + (Inverse ? "true" : "false") + ")", true, "");

    string Sentence => (Inverse ? "Gradient of RoPE, the inverse rotation of " : "RoPE of ") + FusedOps.Count(Heads, "head")
        + " of " + FusedOps.Number(HeadDim) + " columns in place"
        + ": a token's " + FusedOps.Number(2 * Heads * HeadDim) + " bytes are read once and written once, "
        + "and sines and cosines are computed in fp32 from its position and its pairs' frequencies.";

    string Rotation() => CudaText.Literals(("HEAD_DIM", HeadDim));
}
