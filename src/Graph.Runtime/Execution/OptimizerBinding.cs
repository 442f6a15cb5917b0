using System.Collections.Generic;
using System.Linq;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Graph.Runtime.Devices;
using Graph.Runtime.Optimizers;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Execution;

/// <summary>
/// The launches beside the schedule's, with addresses: gradient norm, clip and AdamW over all adapters at once, the rounded copies of adapters, the sum of a micro-batch's losses.
/// </summary>
sealed class OptimizerBinding(ExecutionPlan plan, Binder binder)
{
    int Chunks => plan.Optimizer.Chunks;
    nint Scalars => binder.Base(plan.Memory.Scalars);
    BoundArgument SegmentTable => new(At(plan.Optimizer.Segments), plan.Optimizer.SegmentCount);

    /// <summary>Address of a byte of the optimizer's layout.</summary>
    public nint At(long offset) => binder.Base(plan.Memory.OfOptimizer(offset));

    /// <summary>The segment table: A and B of every adapter, then the weights that are trained.</summary>
    public IReadOnlyList<AdamSegment> Segments()
    {
        var segments = new List<AdamSegment>();
        var chunk = 0;
        foreach (var adapter in plan.Optimizer.Adapters)
        {
            var slot = adapter.Slot;
            Add(adapter.A, plan.Shapes.OfStack(TensorKind.GradA, slot.Stack), plan.Shapes.OfStack(TensorKind.AdapterA, slot.Stack), slot.RankStart, 0);
            Add(adapter.B, plan.Shapes.OfStack(TensorKind.GradB, slot.Stack), plan.Shapes.OfStack(TensorKind.AdapterB, slot.Stack), slot.OutStart, slot.RankStart);
        }
        foreach (var weight in plan.Optimizer.Weights) Add(weight.Matrix, plan.Shapes[weight.Gradient], plan.Shapes[weight.Weight.Name], 0, 0);
        return segments;

        void Add(MasterMatrix m, TensorLayout gradient, TensorLayout copy, int row, int column)
        {
            segments.Add(new AdamSegment
            {
                Master = At(m.Master), FirstMoment = At(m.FirstMoment), SecondMoment = At(m.SecondMoment),
                Gradient = Element(gradient, row, column), Copy = Element(copy, row, column),
                Rows = m.Rows, Columns = m.Columns, GradientPitch = gradient.Pitch, CopyPitch = copy.Pitch, FirstChunk = chunk,
            });
            chunk += OptimizerLayout.ChunksOf(m.Elements);
        }
    }

    /// <summary>Segments in order, with chunks from 0 on.</summary>
    public static AdamSegment[] Renumbered(IEnumerable<AdamSegment> segments)
    {
        var chunk = 0;
        return [.. segments.Select(s =>
        {
            s.FirstChunk = chunk;
            chunk += OptimizerLayout.ChunksOf(s.Rows * s.Columns);
            return s;
        })];
    }

    /// <param name="rateOfB">Where the host has B's learning rate, where it is its own.</param>
    public IReadOnlyList<BoundLaunch> Update(nint rateOfB)
    {
        if (Chunks == 0) return [];
        BoundArgument scalars = new(Scalars, 0), partials = new(At(plan.Optimizer.Partials), 0);
        var (adamw, bytes) = plan.Options.Moments switch
        {
            MomentFormat.Fp32 => ("adamw", 30),
            MomentFormat.Block8 => ("adamw_8bit", 18),
            _ => throw new System.ArgumentException($"optimizer: unknown format {plan.Options.Moments}."),
        };
        var adapters = plan.Optimizer.Adapters;
        var elements = plan.Optimizer.Elements;
        BoundLaunch[] norm =
        [
            new BoundKernel("gradient_norm_partials", -1, 0, 4 * elements, "gradient_norm_partials", [partials, SegmentTable], Chunks),
            new BoundKernel("gradient_norm", -1, 0, 4L * Chunks, "gradient_norm", [scalars, partials], Chunks),
        ];
        if (plan.Optimizer.LoraPlus is not { } plus) return [.. norm, Step(SegmentTable, scalars, elements, Chunks)];
        // B's scalars are those of A, with the factor that clips, but for the rate.
        var scalarsOfB = At(plus.Scalars);
        return
        [
            .. norm, new BoundCopy("scalars of B", scalarsOfB, Scalars, Unsafe.SizeOf<ScalarBlock>()),
            new BoundCopy("learning rate of B", scalarsOfB + Marshal.OffsetOf<ScalarBlock>(nameof(ScalarBlock.LearningRate)), rateOfB, sizeof(float)),
            Step(new(At(plus.SegmentsA), adapters.Count), scalars, adapters.Sum(a => (long)a.A.Elements), adapters.Sum(a => OptimizerLayout.ChunksOf(a.A.Elements))),
            Step(new(At(plus.SegmentsB), adapters.Count), new(scalarsOfB, 0), adapters.Sum(a => (long)a.B.Elements), adapters.Sum(a => OptimizerLayout.ChunksOf(a.B.Elements))),
        ];

        BoundKernel Step(BoundArgument segments, BoundArgument values, long count, int chunks) => new(adamw, -1, 0, bytes * count, adamw, [segments, values], chunks);
    }

    /// <summary>What multiplies dlogits, of the scale that the step before left.</summary>
    public IReadOnlyList<BoundLaunch> ScaleGradients() => [new BoundKernel("scale_gradients", -1, 0, 8, "scale_gradients", [new(Scalars, 0)], 1)];

    public IReadOnlyList<BoundLaunch> Cast() => Chunks == 0 ? [] : [new BoundKernel("cast_adapters", -1, 0, 0, "cast_adapters", [SegmentTable], Chunks)];

    public BoundKernel LossSum(PlannedProgram program)
    {
        var loss = program.Launches.OfType<CrossEntropyLaunch>().Single().Loss.Tensor;
        return new BoundKernel("loss_sum", -1, 0, 4L * plan.Shapes.Tokens,
            "loss_sum", [new(Scalars, 0), new(binder.Address(program, loss, program.Launches.Count - 1), 0, 4)], plan.Shapes.Tokens);
    }

    nint Element(TensorLayout layout, int row, int column) => binder.Address(layout.Tensor.Name) + (nint)(((long)row * layout.Pitch + column) * layout.ElementBytes);
}
