using System;
using System.Collections.Generic;
using System.Numerics;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Cuda;

/// <summary>All that an algorithm's choice may depend on. Alignments are those of the addresses, in bytes, at most 256.</summary>
internal readonly record struct GemmShape(GemmLayout Layout, bool F32, int M, int N, int K, int DPitch, int APitch, int BPitch, int DAlignment, int AAlignment, int BAlignment)
{
    internal static GemmShape Of(BoundGemm g)
    {
        var s = g.Operands;
        return new(g.Layout, g.DType == ElementType.F32, g.M, g.N, s.K, g.DPitch, s.APitch, s.BPitch, Alignment(g.D), Alignment(s.A), Alignment(s.B));
    }

    internal static int Alignment(nint address) => 1 << Math.Min(8, BitOperations.TrailingZeroCount((ulong)address));
}

/// <summary>
/// Products by cuBLASLt. The heuristic is asked once per shape, and it answers by shape alone, so a product has the same algorithm, and the same bits, in every step and every run on one kind of GPU
/// with one library version. Split-K is allowed only with partial sums in fp32 in the workspace, which a second kernel adds in order.
/// </summary>
internal sealed class CublasLtGemm : IDisposable
{
    /// <summary>One workspace for all products: they follow each other on one stream. NVIDIA's own recommendation for Hopper is 32 MiB; split-K of a tall gradient wants more.</summary>
    internal const long WorkspaceBytes = 64L << 20;

    readonly CublasLtHandle handle = CublasLtHandle.Create();
    readonly Dictionary<GemmShape, MatmulPlan> plans = [];
    readonly int elementType;
    readonly nint workspace;

    internal CublasLtGemm(ActType act, nint workspace)
    {
        elementType = act == ActType.Bf16 ? CublasLt.TypeBf16 : CublasLt.TypeF16;
        this.workspace = workspace;
    }

    /// <summary>Finds the algorithm of every segment's shape. Done before capture: the first look at a shape may load code.</summary>
    /// <exception cref="DeviceException">cuBLASLt has no algorithm for the shape.</exception>
    internal void Prepare(BoundGemm gemm)
    {
        foreach (var part in gemm.Apart()) Plan(GemmShape.Of(part));
    }

    /// <summary>The library has no product of two segments: the second is added to the first one's D.</summary>
    internal void Launch(BoundGemm gemm, CudaStream stream)
    {
        foreach (var part in gemm.Apart()) LaunchOne(part, stream);
    }

    unsafe void LaunchOne(BoundGemm g, CudaStream stream)
    {
        var plan = Plan(GemmShape.Of(g));
        float alpha = g.Alpha, beta = g.Accumulate ? 1 : 0;
        var algorithm = plan.Algorithm;
        // Row-major D = op(A) op(B) is column-major D' = op(B)' op(A)': the operands change places.
        CublasLt.Check(CublasLt.Matmul(handle, plan.Description, &alpha, g.Operands.B, plan.First, g.Operands.A, plan.Second, &beta, g.D, plan.Result, g.D, plan.Result,
            &algorithm, workspace, (nuint)WorkspaceBytes, stream), $"cublasLtMatmul of {g.Label} ({Text(GemmShape.Of(g))})");
    }

    public void Dispose()
    {
        foreach (var plan in plans.Values) plan.Dispose();
        handle.Dispose();
    }

    static string Text(GemmShape s) => $"{s.Layout} {s.M}x{s.N}x{s.K}, pitches {s.DPitch} {s.APitch} {s.BPitch}";

    MatmulPlan Plan(GemmShape shape)
    {
        if (plans.TryGetValue(shape, out var known)) return known;
        var plan = new MatmulPlan(shape, elementType);
        try
        {
            plan.Algorithm = Choose(plan, shape);
        }
        catch
        {
            plan.Dispose();
            throw;
        }
        plans.Add(shape, plan);
        return plan;
    }

    unsafe MatmulAlgorithm Choose(MatmulPlan plan, GemmShape shape)
    {
        const uint reductionInComputeType = 2;
        CublasLt.Check(CublasLt.PreferenceCreate(out var preference), "cublasLtMatmulPreferenceCreate");
        try
        {
            var bytes = (ulong)WorkspaceBytes;
            CublasLt.Check(CublasLt.PreferenceSetAttribute(preference, CublasLt.PreferWorkspaceBytes, &bytes, sizeof(ulong)), "setting the workspace");
            Set(CublasLt.PreferReductionSchemes, reductionInComputeType);
            Set(CublasLt.PreferAlignmentA, (uint)shape.BAlignment);
            Set(CublasLt.PreferAlignmentB, (uint)shape.AAlignment);
            Set(CublasLt.PreferAlignmentC, (uint)shape.DAlignment);
            Set(CublasLt.PreferAlignmentD, (uint)shape.DAlignment);
            MatmulHeuristic best;
            var status = CublasLt.GetHeuristic(handle, plan.Description, plan.First, plan.Second, plan.Result, plan.Result, preference, 1, &best, out var count);
            if (status != 0 || count == 0 || best.State != 0)
                throw new DeviceException($"cublaslt: no algorithm for {Text(shape)}; set GRAPH_GEMM=generated to use the emitted kernels");
            return best.Algorithm;
        }
        finally
        {
            CublasLt.PreferenceDestroy(preference);
        }

        void Set(int attribute, uint value) => CublasLt.Check(CublasLt.PreferenceSetAttribute(preference, attribute, &value, sizeof(uint)), $"setting preference {attribute}");
    }

    /// <summary>Description and layouts of one shape; First is our B, Second our A.</summary>
    sealed class MatmulPlan : IDisposable
    {
        internal readonly nint Description, First, Second, Result;

        internal MatmulAlgorithm Algorithm;

        internal MatmulPlan(GemmShape s, int elementType)
        {
            try
            {
                CublasLt.Check(CublasLt.MatmulDescCreate(out Description, CublasLt.ComputeF32, CublasLt.TypeF32), "cublasLtMatmulDescCreate");
                // A row-major matrix is its own transpose in column-major eyes: nt needs one transposition for B, tn one for A.
                var (transposeFirst, transposeSecond) = (s.Layout == GemmLayout.Nt, s.Layout == GemmLayout.Tn);
                CublasLt.Check(CublasLt.MatmulDescSetAttribute(Description, CublasLt.DescTransposeA, transposeFirst ? CublasLt.Transpose : CublasLt.NoTranspose, sizeof(int)), "setting transa");
                CublasLt.Check(CublasLt.MatmulDescSetAttribute(Description, CublasLt.DescTransposeB, transposeSecond ? CublasLt.Transpose : CublasLt.NoTranspose, sizeof(int)), "setting transb");
                First = Layout(elementType, transposeFirst ? s.K : s.N, transposeFirst ? s.N : s.K, s.BPitch);
                Second = Layout(elementType, transposeSecond ? s.M : s.K, transposeSecond ? s.K : s.M, s.APitch);
                Result = Layout(s.F32 ? CublasLt.TypeF32 : elementType, s.N, s.M, s.DPitch);
            }
            catch
            {
                Dispose();
                throw;
            }
        }

        static nint Layout(int type, int rows, int columns, int pitch)
        {
            CublasLt.Check(CublasLt.MatrixLayoutCreate(out var layout, type, (ulong)rows, (ulong)columns, pitch), $"cublasLtMatrixLayoutCreate of {rows} x {columns}, pitch {pitch}");
            return layout;
        }

        public void Dispose()
        {
            if (Result != 0) CublasLt.MatrixLayoutDestroy(Result);
            if (Second != 0) CublasLt.MatrixLayoutDestroy(Second);
            if (First != 0) CublasLt.MatrixLayoutDestroy(First);
            if (Description != 0) CublasLt.MatmulDescDestroy(Description);
        }
    }
}
