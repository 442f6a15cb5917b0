using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Optimizers;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Execution;

/// <summary>The launches beside the schedule's, with addresses: gradient norm, clip and AdamW over all adapters at once, the rounded copies of adapters, the sum of a micro-batch's losses.</summary>
sealed class OptimizerBinding(ExecutionPlan plan, Binder binder)
{
    int Chunks => plan.Optimizer.Chunks;
    nint Scalars => binder.Base(plan.Memory.Scalars);
    BoundArgument SegmentTable => new(At(plan.Optimizer.Segments), 2 * plan.Optimizer.Adapters.Count);

    /// <summary>Address of a byte of the optimizer's block.</summary>
    public nint At(long offset) => binder.Base(new Location(MemoryBlock.Optimizer, offset));

    /// <summary>The segment table: A and B of every adapter.</summary>
    public IReadOnlyList<AdamSegment> Segments()
    {
        var segments = new List<AdamSegment>();
        var chunk = 0;
        foreach (var adapter in plan.Optimizer.Adapters)
        {
            var slot = adapter.Slot;
            var group = plan.Shapes.OfGroup(TensorKind.Group, slot.Group);
            var groupRows = plan.Shapes.Schedule.Groups.First(g => g.Id == slot.Group).Linears.Sum(l => l.Out);
            Add(adapter.A, plan.Shapes.OfGroup(TensorKind.GradA, slot.Group), slot.RankStart, 0, groupRows + slot.RankStart, 0);
            Add(adapter.B, plan.Shapes.OfGroup(TensorKind.GradB, slot.Group), slot.OutStart, slot.RankStart, slot.OutStart, slot.In + slot.RankStart);

            void Add(MasterMatrix m, TensorLayout gradient, int gradientRow, int gradientColumn, int copyRow, int copyColumn)
            {
                segments.Add(new AdamSegment
                {
                    Master = At(m.Master), FirstMoment = At(m.FirstMoment), SecondMoment = At(m.SecondMoment),
                    Gradient = Element(gradient, gradientRow, gradientColumn), Copy = Element(group, copyRow, copyColumn),
                    Rows = m.Rows, Columns = m.Columns, GradientPitch = gradient.Pitch, CopyPitch = group.Pitch, FirstChunk = chunk,
                });
                chunk += OptimizerLayout.ChunksOf(m);
            }
        }
        return segments;
    }

    public IReadOnlyList<BoundLaunch> Update()
    {
        if (Chunks == 0) return [];
        BoundArgument scalars = new(Scalars, 0), partials = new(At(plan.Optimizer.Partials), 0);
        var elements = plan.Optimizer.Adapters.Sum(a => (long)a.A.Rows * a.A.Columns + (long)a.B.Rows * a.B.Columns);
        return
        [
            new BoundKernel("gradient_norm_partials", -1, 0, 4 * elements, "gradient_norm_partials", [partials, SegmentTable], Chunks),
            new BoundKernel("gradient_norm", -1, 0, 4L * Chunks, "gradient_norm", [scalars, partials], Chunks),
            new BoundKernel("adamw", -1, 0, 30 * elements, "adamw", [SegmentTable, scalars], Chunks),
        ];
    }

    public IReadOnlyList<BoundLaunch> Cast() => Chunks == 0 ? [] : [new BoundKernel("cast_adapters", -1, 0, 0, "cast_adapters", [SegmentTable], Chunks)];

    public BoundKernel LossSum(PlannedProgram program)
    {
        var loss = program.Launches.OfType<CrossEntropyLaunch>().Single().Loss.Tensor;
        return new BoundKernel("loss_sum", -1, 0, 4L * plan.Shapes.Tokens, "loss_sum", [new(Scalars, 0), new(binder.Address(program, loss, program.Launches.Count - 1), 0, 4)], plan.Shapes.Tokens);
    }

    nint Element(TensorLayout layout, int row, int column) => binder.Address(layout.Tensor.Name) + (nint)(((long)row * layout.Pitch + column) * layout.ElementBytes);
}
