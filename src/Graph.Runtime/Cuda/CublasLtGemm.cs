using System;
using System.Collections.Generic;
using System.Numerics;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Cuda;

/// <summary>All that an algorithm's choice may depend on. Alignments are those of the addresses, in bytes, at most 256.</summary>
/// <param name="Batch">Products side by side: operands K rows apart (tn), D dense. 0: one, in D's place.</param>
internal readonly record struct GemmShape(GemmLayout Layout, bool F32, int M, int N, int K, int DPitch, int APitch, int BPitch, int DAlignment, int AAlignment,
    int BAlignment, int Batch = 0)
{
    internal static GemmShape Of(BoundGemm g)
    {
        var s = g.Operands;
        return new(g.Layout, g.DType == ElementType.F32, g.M, g.N, s.K, g.DPitch, s.APitch, s.BPitch, Alignment(g.D), Alignment(s.A), Alignment(s.B));
    }

    internal static int Alignment(nint address) => 1 << Math.Min(8, BitOperations.TrailingZeroCount((ulong)address));
}

/// <summary>
/// Products by cuBLASLt. The heuristic is asked once per shape, and it answers by shape alone,
/// so a product has the same algorithm, and the same bits, in every step and every run on one kind of GPU
/// with one library version. Split-K is allowed only with partial sums in fp32 in the workspace, which a second kernel adds in order.
/// A part of a product's rows has the algorithm of all rows, and a unit of a sum over tokens that of eight units, so that token tiles change no bit.
/// </summary>
internal sealed class CublasLtGemm : IDisposable
{
    /// <summary>
    /// One workspace for all products: they follow each other on one stream. NVIDIA's own recommendation for Hopper is 32 MiB; split-K of a tall gradient wants more.
    /// </summary>
    internal const long WorkspaceBytes = Planning.Footprint.WorkspaceBytes;

    /// <summary>Units of a sum over tokens that are multiplied at once, and what of the workspace is for their products.</summary>
    const int UnitBatch = 8;
    const long UnitBytes = 48L << 20;

    readonly CublasLtHandle handle = CublasLtHandle.Create();
    readonly Dictionary<(GemmShape Shape, GemmShape Asked), MatmulPlan> plans = [];
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
        if (gemm.Unit == int.MaxValue)
            foreach (var part in gemm.Apart()) Plan(GemmShape.Of(part), Asked(part));
        else
            foreach (var (part, _, shape, asked) in Units(gemm)) Plan(shape, asked);
    }

    /// <summary>The library has no product of two segments: the second is added to the first one's D.</summary>
    /// <param name="addUnits">Launches a kernel: what adds units' products to D.</param>
    internal void Launch(BoundGemm gemm, CudaStream stream, Action<BoundKernel> addUnits)
    {
        if (gemm.Unit == int.MaxValue)
        {
            foreach (var part in gemm.Apart()) LaunchOne(part, GemmShape.Of(part), Asked(part), stream);
            return;
        }
        var products = 0;
        foreach (var (part, last, shape, asked) in Units(gemm))
        {
            LaunchOne(part, shape, asked, stream);
            products += shape.Batch;
            if (!last || products == 0) continue;
            addUnits(KernelArguments.AddUnits(gemm, workspace, products));
            products = 0;
        }
    }

    // A part of the rows of a product: its algorithm is that of all of them.
    static GemmShape Asked(BoundGemm g) => GemmShape.Of(g) with { M = g.WholeM };

    /// <summary>
    /// A sum over tokens as products: up to eight units at once into the workspace, which are added to D together (Last: after this one), the end of the tokens by itself;
    /// of a D that eight do not fit for, one unit after the other, added by the product.
    /// </summary>
    IEnumerable<(BoundGemm Part, bool Last, GemmShape Shape, GemmShape Asked)> Units(BoundGemm g)
    {
        var size = 4L * g.M * g.N;
        if (size * UnitBatch > UnitBytes)
        {
            for (var k = 0; k < g.Operands.K; k += Math.Min(g.Unit, g.Operands.K - k))
            {
                var part = From(k, Math.Min(g.Unit, g.Operands.K - k), g.D, g.DPitch, true);
                yield return (part, true, GemmShape.Of(part), GemmShape.Of(part));
            }
            yield break;
        }
        var at = 0;
        for (var k = 0; k < g.Operands.K;)
        {
            var (left, room) = (g.Operands.K - k, UnitBatch - at);
            var count = Math.Clamp(left / g.Unit, 1, room);
            var part = From(k, Math.Min(left, g.Unit), workspace + (nint)(at * size), g.N, false);
            var shape = GemmShape.Of(part) with { Batch = count };
            k += Math.Min(left, count * g.Unit);
            at = (at + count) % UnitBatch;
            var last = at == 0 || k == g.Operands.K;
            yield return (part, last, shape, shape with { Batch = part.Operands.K == g.Unit ? UnitBatch : 1, DAlignment = 256 });
        }

        BoundGemm From(int k, int count, nint d, int dPitch, bool accumulate)
        {
            var s = g.Operands;
            return g with
            {
                D = d, DPitch = dPitch, Accumulate = accumulate,
                Segments = [s with { A = s.A + (nint)((long)k * s.APitch * 2), B = s.B + (nint)((long)k * s.BPitch * 2), K = count }],
            };
        }
    }

    unsafe void LaunchOne(BoundGemm g, GemmShape shape, GemmShape asked, CudaStream stream)
    {
        var plan = Plan(shape, asked);
        var taken = shape.Batch > 0 ? UnitBytes : 0;
        float alpha = g.Alpha, beta = g.Accumulate ? 1 : 0;
        var algorithm = plan.Algorithm;
        // Row-major D = op(A) op(B) is column-major D' = op(B)' op(A)': the operands change places.
        CublasLt.Check(CublasLt.Matmul(handle, plan.Description, &alpha, g.Operands.B, plan.First, g.Operands.A, plan.Second, &beta, g.D, plan.Result, g.D, plan.Result,
            &algorithm, workspace + (nint)taken, (nuint)(WorkspaceBytes - taken), stream), $"cublasLtMatmul of {g.Label} ({Text(shape)})");
    }

    public void Dispose()
    {
        foreach (var plan in plans.Values) plan.Dispose();
        handle.Dispose();
    }

    static string Text(GemmShape s) => $"{s.Layout} {s.M}x{s.N}x{s.K}{(s.Batch > 0 ? $" {s.Batch} times" : "")}, pitches {s.DPitch} {s.APitch} {s.BPitch}";

    /// <param name="asked">What the heuristic is asked for.</param>
    MatmulPlan Plan(GemmShape shape, GemmShape asked)
    {
        if (plans.TryGetValue((shape, asked), out var known)) return known;
        var plan = new MatmulPlan(shape, elementType);
        try
        {
            plan.Algorithm = shape == asked ? Choose(plan, shape) : Plan(asked, asked).Algorithm;
        }
        catch
        {
            plan.Dispose();
            throw;
        }
        plans.Add((shape, asked), plan);
        return plan;
    }

    unsafe MatmulAlgorithm Choose(MatmulPlan plan, GemmShape shape)
    {
        const uint reductionInComputeType = 2;
        CublasLt.Check(CublasLt.PreferenceCreate(out var preference), "cublasLtMatmulPreferenceCreate");
        try
        {
            var bytes = (ulong)(WorkspaceBytes - (shape.Batch > 0 ? UnitBytes : 0));
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
                CublasLt.Check(CublasLt.MatmulDescSetAttribute(Description, CublasLt.DescTransposeA, transposeFirst ? CublasLt.Transpose : CublasLt.NoTranspose,
                    sizeof(int)), "setting transa");
                CublasLt.Check(CublasLt.MatmulDescSetAttribute(Description, CublasLt.DescTransposeB, transposeSecond ? CublasLt.Transpose : CublasLt.NoTranspose,
                    sizeof(int)), "setting transb");
                First = Layout(elementType, transposeFirst ? s.K : s.N, transposeFirst ? s.N : s.K, s.BPitch, s.Batch, (long)s.K * s.BPitch);
                Second = Layout(elementType, transposeSecond ? s.M : s.K, transposeSecond ? s.K : s.M, s.APitch, s.Batch, (long)s.K * s.APitch);
                Result = Layout(s.F32 ? CublasLt.TypeF32 : elementType, s.N, s.M, s.DPitch, s.Batch, (long)s.M * s.N);
            }
            catch
            {
                Dispose();
                throw;
            }
        }

        // Column-major rows and columns; `batch` matrices, `stride` elements apart; 0: one.
        static unsafe nint Layout(int type, int rows, int columns, int pitch, int batch, long stride)
        {
            CublasLt.Check(CublasLt.MatrixLayoutCreate(out var layout, type, (ulong)rows, (ulong)columns, pitch),
                $"cublasLtMatrixLayoutCreate of {rows} x {columns}, pitch {pitch}");
            if (batch > 0)
            {
                CublasLt.Check(CublasLt.MatrixLayoutSetAttribute(layout, CublasLt.LayoutBatchCount, &batch, sizeof(int)), "setting a batch");
                CublasLt.Check(CublasLt.MatrixLayoutSetAttribute(layout, CublasLt.LayoutBatchStride, &stride, sizeof(long)), "setting a batch's stride");
            }
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
