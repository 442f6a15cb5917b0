using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using System.Runtime.InteropServices;
using Graph.Runtime.Devices;
using Graph.Runtime.Optimizers;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Execution;

/// <summary>
/// A model in device memory, ready to train: allocates what the plan says and nothing after, prepares one program per launch list, and runs steps. The device must have the model's kernels loaded.
/// </summary>
public sealed class TrainingSession : IDisposable
{
    readonly IDevice device;
    readonly AdamOptions adam;
    readonly Dictionary<MemoryBlock, nint> blocks = [];
    readonly Binder binder;
    readonly IProgram[] copies;
    readonly IProgram microBatch, evaluation, optimizer, cast;

    /// <exception cref="DeviceMemoryException">A block does not fit; nothing stays allocated.</exception>
    public TrainingSession(IDevice device, ExecutionPlan plan, AdamOptions? adam = null)
    {
        if (device.Act != plan.Shapes.Act) throw new ArgumentException($"session: the plan is for {plan.Shapes.Act} but {device.Info.Name} runs {device.Act}; plan for the device.");
        this.device = device;
        this.adam = adam ?? new AdamOptions();
        Plan = plan;
        try
        {
            foreach (var (block, bytes) in plan.Memory.Blocks)
            {
                blocks[block] = device.Allocate(bytes);
                // Padding of groups (block-diagonal B, unused ranks) and moments must be zero; the arena needs no value.
                if (block != MemoryBlock.Arena) device.Fill(blocks[block], 0, bytes);
            }
        }
        catch (DeviceException)
        {
            Dispose();
            throw;
        }
        binder = new Binder(plan, blocks);
        var bound = Binder.Bind(plan, blocks);
        UploadSegments();
        microBatch = device.Prepare([.. bound.MicroBatch, LossSum(plan.MicroBatch)]);
        evaluation = device.Prepare([.. bound.Evaluation, LossSum(plan.Evaluation)]);
        optimizer = device.Prepare(OptimizerLaunches());
        cast = device.Prepare(Chunks == 0 ? [] : [new BoundKernel("cast_adapters", -1, 0, 0, "cast_adapters", [SegmentTable], Chunks)]);
        var inputBytes = MemoryPlan.InputBytes(plan.Shapes);
        copies = Enumerable.Range(0, plan.Options.MicroBatches)
            .Select(i => device.Prepare([new BoundCopy("inputs", blocks[MemoryBlock.Inputs], Staged(i), inputBytes)])).ToArray();
    }

    public ExecutionPlan Plan { get; }

    /// <summary>Optimizer updates done.</summary>
    public int Step { get; private set; }

    nint Scalars => binder.Base(Plan.Memory.Scalars);
    int Chunks => Plan.Optimizer.Chunks;
    BoundArgument SegmentTable => new(Optimizer(Plan.Optimizer.Segments), 2 * Plan.Optimizer.Adapters.Count);

    /// <summary>Fills weights and groups from a source, converted to the activation type, in pieces of at most 64 MiB.</summary>
    /// <exception cref="ArgumentException">A tensor has another shape than the model; the message has both.</exception>
    public void LoadWeights(IWeightSource source)
    {
        var scratch = new byte[64 << 20];
        var converted = new byte[64 << 20];
        foreach (var layout in Plan.Shapes.Layouts.Where(l => l.Tensor.Kind == TensorKind.Weight))
            Load(layout.Tensor.Name, [.. layout.Tensor.Dims.Select(d => d.Fixed)], binder.Address(layout.Tensor.Name), layout.Pitch);
        foreach (var group in Plan.Shapes.Schedule.Groups)
        {
            var layout = GroupTensor(TensorKind.Group, group.Id);
            var row = 0;
            foreach (var linear in group.Linears)
            {
                Load(linear.Name + ".weight", [linear.Out, group.In], binder.Address(layout.Tensor.Name) + (nint)((long)row * layout.Pitch * layout.ElementBytes), layout.Pitch);
                row += linear.Out;
            }
        }

        void Load(string name, int[] shape, nint to, int pitch)
        {
            var stored = source.Describe(name);
            if (!stored.Shape.SequenceEqual(shape))
                throw new ArgumentException($"weights: {name} is [{string.Join(",", stored.Shape)}] but {Plan.Shapes.Schedule.Variant} needs [{string.Join(",", shape)}]; the checkpoint is of another size.");
            int columns = shape[^1], rows = shape.Length > 1 ? shape[0] : 1, element = TensorLayout.Size(ElementType.Act, device.Act);
            var piece = Math.Max(1, (64 << 20) / (columns * 4));
            for (var row = 0; row < rows; row += piece)
            {
                var count = Math.Min(piece, rows - row);
                var bytes = Elements.Convert(source.Rows(name, row, count, scratch), stored.Type, device.Act, converted);
                device.Upload2D(to + (nint)((long)row * pitch * element), (long)pitch * element, bytes, (long)columns * element, count);
            }
        }
    }

    /// <summary>A uniform in ±1/√In (kaiming-uniform with a = √5, as PEFT), B zero, moments zero. The same seed gives the same adapter, linear by linear.</summary>
    public void InitializeAdapters(int seed)
    {
        foreach (var adapter in Plan.Optimizer.Adapters)
        {
            var hash = (uint)seed * 2654435761u ^ 2166136261u;
            foreach (var c in adapter.Slot.Linear) hash = (hash ^ c) * 16777619u;
            var random = new Random((int)(hash & int.MaxValue));
            var bound = 1 / Math.Sqrt(adapter.Slot.In);
            var a = new float[adapter.A.Rows * adapter.A.Columns];
            for (var i = 0; i < a.Length; i++) a[i] = (float)((random.NextDouble() * 2 - 1) * bound);
            Write(adapter.A.Master, a);
            device.Fill(Optimizer(adapter.B.Master), 0, adapter.B.Bytes);
            foreach (var matrix in new[] { adapter.A, adapter.B })
            {
                device.Fill(Optimizer(matrix.FirstMoment), 0, matrix.Bytes);
                device.Fill(Optimizer(matrix.SecondMoment), 0, matrix.Bytes);
            }
        }
        Step = 0;
        PushMasters();
    }

    /// <summary>Sets A [Rank, In] and B [Out, Rank] and their rounded copies; moments stay.</summary>
    public void SetAdapter(string linear, ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        var adapter = Adapter(linear);
        Check(linear, a.Length, adapter.A);
        Check(linear, b.Length, adapter.B);
        Write(adapter.A.Master, a);
        Write(adapter.B.Master, b);
        PushMasters();
    }

    /// <summary>fp32 masters of A [Rank, In] and B [Out, Rank].</summary>
    public (float[] A, float[] B) GetAdapter(string linear) => Adapter(linear) is var adapter ? (Read(adapter.A, adapter.A.Master), Read(adapter.B, adapter.B.Master)) : default;

    /// <summary>fp32 gradients of the last step, summed over its micro-batches, before clipping.</summary>
    public (float[] A, float[] B) GetGradient(string linear)
    {
        var slot = Adapter(linear).Slot;
        return (ReadRectangle(GroupTensor(TensorKind.GradA, slot.Group), slot.RankStart, slot.Rank, 0, slot.In), ReadRectangle(GroupTensor(TensorKind.GradB, slot.Group), slot.OutStart, slot.Out, slot.RankStart, slot.Rank));
    }

    /// <summary>One optimizer step over micro-batches, all staged before the first launch because the loss is the mean over all their labels.</summary>
    /// <exception cref="ArgumentException">More micro-batches than planned, a wrong token count, or no label.</exception>
    public StepResult Train(IReadOnlyList<MicroBatch> batches, double learningRate)
    {
        var start = Stopwatch.GetTimestamp();
        var result = Accumulate(batches, learningRate);
        if (Chunks > 0) optimizer.Run();
        device.Synchronize();
        var scalars = ReadScalars();
        var skipped = Chunks > 0 && scalars.Skipped != 0;
        if (!skipped) Step++;
        return new StepResult(scalars.LossSum, scalars.GradientNorm, skipped, Stopwatch.GetElapsedTime(start).TotalMilliseconds);

        int Accumulate(IReadOnlyList<MicroBatch> all, double rate)
        {
            Stage(all);
            var labels = all.Sum(b => b.LabelCount);
            if (labels == 0) throw new ArgumentException("step: no token of the step has a label, so there is no loss; check the data's labels.");
            WriteScalars(1.0 / labels, rate);
            if (blocks.TryGetValue(MemoryBlock.Gradients, out var gradients)) device.Fill(gradients, 0, Plan.Memory[MemoryBlock.Gradients]);
            for (var i = 0; i < all.Count; i++)
            {
                copies[i].Run();
                microBatch.Run();
            }
            return labels;
        }
    }

    /// <summary>Sum of the token losses and the number of labels of one micro-batch.</summary>
    public (double LossSum, int LabelCount) Evaluate(MicroBatch batch)
    {
        Stage([batch]);
        WriteScalars(1, 0);
        copies[0].Run();
        evaluation.Run();
        device.Synchronize();
        return (ReadScalars().LossSum, batch.LabelCount);
    }

    /// <summary>An arena tensor as the last evaluation left it, fp32 [rows, columns]; it must be in <see cref="PlanOptions.Keep"/>.</summary>
    public float[] Read(string tensor)
    {
        var layout = Plan.Shapes[tensor];
        return ReadRectangle(layout, 0, layout.Rows, 0, layout.Columns);
    }

    /// <summary>
    /// Logits [rows, V] of some tokens of a micro-batch before the model's final softcap, in fp32. The cross entropy's x must be in <see cref="PlanOptions.Keep"/>; the product is done on the host, for parity checks.
    /// </summary>
    public unsafe float[] Logits(MicroBatch batch, IReadOnlyList<int> tokens)
    {
        Evaluate(batch);
        var head = Plan.Evaluation.Launches.OfType<CrossEntropyLaunch>().Single();
        var (layout, table) = (Plan.Shapes[head.X.Tensor], Read(head.Table.Tensor));
        var (hidden, vocabulary) = (Plan.Shapes.Resolve(head.X).Columns, Plan.Shapes.Resolve(head.Table).Rows);
        var x = tokens.SelectMany(t => ReadRectangle(layout, t, 1, Plan.Shapes.Resolve(head.X).Column, hidden)).ToArray();
        var result = new float[checked(tokens.Count * vocabulary)];
        fixed (float* px = x, pt = table, pr = result)
            Cpu.CpuGemm.Run(GemmLayout.Nt, pr, vocabulary, px, hidden, pt, hidden, tokens.Count, vocabulary, hidden, 1, false);
        return result;
    }

    /// <summary>Milliseconds of each launch of a micro-batch, beside the launch.</summary>
    public IReadOnlyList<(BoundLaunch Launch, double Milliseconds)> Profile(MicroBatch batch)
    {
        Stage([batch]);
        WriteScalars(1.0 / Math.Max(1, batch.LabelCount), 0);
        copies[0].Run();
        return Binder.Bind(Plan, blocks).MicroBatch.Append(LossSum(Plan.MicroBatch)).Zip(microBatch.Time()).ToArray();
    }

    public TrainState State(int seed, long dataPosition) => new(Step, seed, dataPosition, Plan.Optimizer.Adapters.Select(a => new AdapterState(a.Slot.Linear, a.Slot.Rank, MatrixOf(a.A), MatrixOf(a.B))).ToArray());

    /// <exception cref="ArgumentException">The state has another adapter than the plan.</exception>
    public void Restore(TrainState state)
    {
        foreach (var saved in state.Adapters)
        {
            var adapter = Adapter(saved.Linear);
            foreach (var (matrix, values) in new[] { (adapter.A, saved.A), (adapter.B, saved.B) })
            {
                Check(saved.Linear, values.Master.Length, matrix);
                Write(matrix.Master, values.Master);
                Write(matrix.FirstMoment, values.FirstMoment);
                Write(matrix.SecondMoment, values.SecondMoment);
            }
        }
        Step = state.Step;
        PushMasters();
    }

    public void Dispose()
    {
        foreach (var program in new[] { microBatch, evaluation, optimizer, cast }.Concat(copies ?? [])) program?.Dispose();
        foreach (var address in blocks.Values) device.Free(address);
        blocks.Clear();
    }

    void Stage(IReadOnlyList<MicroBatch> batches)
    {
        if (batches.Count == 0 || batches.Count > copies.Length) throw new ArgumentException($"step: {batches.Count} micro-batches, but the plan stages 1 to {copies.Length}.");
        for (var i = 0; i < batches.Count; i++)
            foreach (var layout in Plan.Shapes.Layouts.Where(l => l.Tensor.Kind == TensorKind.Input))
            {
                var values = batches[i][layout.Tensor.Name];
                if (values.Length != Plan.Shapes.Tokens) throw new ArgumentException($"step: micro-batch {i} has {values.Length} {layout.Tensor.Name}, but the plan is for {Plan.Shapes.Tokens} tokens.");
                device.Upload(Staged(i) + (nint)Plan.Memory.Permanent[layout.Tensor.Name].Offset, MemoryMarshal.AsBytes(values.AsSpan()));
            }
    }

    void WriteScalars(double inverseLabels, double learningRate)
    {
        var step = Step + 1;
        var block = new ScalarBlock
        {
            LoraScale = (float)Plan.Options.LoraScale,
            InverseLabels = (float)inverseLabels,
            LearningRate = (float)learningRate,
            Beta1 = (float)adam.Beta1,
            OneMinusBeta1 = (float)(1 - adam.Beta1),
            Beta2 = (float)adam.Beta2,
            OneMinusBeta2 = (float)(1 - adam.Beta2),
            Epsilon = (float)adam.Epsilon,
            WeightDecay = (float)adam.WeightDecay,
            BiasCorrection1 = (float)(1 - Math.Pow(adam.Beta1, step)),
            SqrtBiasCorrection2 = (float)Math.Sqrt(1 - Math.Pow(adam.Beta2, step)),
            Clip = (float)adam.Clip,
            ClipCoefficient = 1,
        };
        device.Upload(Scalars, MemoryMarshal.AsBytes(MemoryMarshal.CreateReadOnlySpan(in block, 1)));
    }

    ScalarBlock ReadScalars()
    {
        var block = default(ScalarBlock);
        device.Download(MemoryMarshal.AsBytes(MemoryMarshal.CreateSpan(ref block, 1)), Scalars);
        return block;
    }

    void UploadSegments()
    {
        var segments = new List<AdamSegment>();
        var chunk = 0;
        foreach (var adapter in Plan.Optimizer.Adapters)
        {
            var slot = adapter.Slot;
            var group = GroupTensor(TensorKind.Group, slot.Group);
            var groupRows = Plan.Shapes.Schedule.Groups.First(g => g.Id == slot.Group).Linears.Sum(l => l.Out);
            Add(adapter.A, GroupTensor(TensorKind.GradA, slot.Group), slot.RankStart, 0, groupRows + slot.RankStart, 0);
            Add(adapter.B, GroupTensor(TensorKind.GradB, slot.Group), slot.OutStart, slot.RankStart, slot.OutStart, slot.In + slot.RankStart);

            void Add(MasterMatrix m, TensorLayout gradient, int gradientRow, int gradientColumn, int copyRow, int copyColumn)
            {
                segments.Add(new AdamSegment
                {
                    Master = Optimizer(m.Master), FirstMoment = Optimizer(m.FirstMoment), SecondMoment = Optimizer(m.SecondMoment),
                    Gradient = At(gradient, gradientRow, gradientColumn), Copy = At(group, copyRow, copyColumn),
                    Rows = m.Rows, Columns = m.Columns, GradientPitch = gradient.Pitch, CopyPitch = group.Pitch, FirstChunk = chunk,
                });
                chunk += OptimizerLayout.ChunksOf(m);
            }
        }
        if (segments.Count > 0) device.Upload(Optimizer(Plan.Optimizer.Segments), MemoryMarshal.AsBytes(CollectionsMarshal.AsSpan(segments)));
    }

    IReadOnlyList<BoundLaunch> OptimizerLaunches()
    {
        if (Chunks == 0) return [];
        BoundArgument scalars = new(Scalars, 0), partials = new(Optimizer(Plan.Optimizer.Partials), 0);
        var elements = Plan.Optimizer.Adapters.Sum(a => (long)a.A.Rows * a.A.Columns + (long)a.B.Rows * a.B.Columns);
        return
        [
            new BoundKernel("gradient_norm_partials", -1, 0, 4 * elements, "gradient_norm_partials", [partials, SegmentTable], Chunks),
            new BoundKernel("gradient_norm", -1, 0, 4L * Chunks, "gradient_norm", [scalars, partials], Chunks),
            new BoundKernel("adamw", -1, 0, 30 * elements, "adamw", [SegmentTable, scalars], Chunks),
        ];
    }

    BoundKernel LossSum(PlannedProgram program)
    {
        var loss = program.Launches.OfType<CrossEntropyLaunch>().Single().Loss.Tensor;
        return new BoundKernel("loss_sum", -1, 0, 4L * Plan.Shapes.Tokens, "loss_sum", [new(Scalars, 0), new(binder.Address(program, loss, program.Launches.Count - 1), 0, 4)], Plan.Shapes.Tokens);
    }

    void PushMasters()
    {
        cast.Run();
        device.Synchronize();
    }

    nint Staged(int microBatch) => binder.Base(Plan.Memory.Staged) + (nint)(microBatch * MemoryPlan.InputBytes(Plan.Shapes));
    nint Optimizer(long offset) => binder.Base(new Location(MemoryBlock.Optimizer, offset));
    nint At(TensorLayout layout, int row, int column) => binder.Address(layout.Tensor.Name) + (nint)(((long)row * layout.Pitch + column) * layout.ElementBytes);
    TensorLayout GroupTensor(TensorKind kind, int group) => Plan.Shapes.Layouts.First(l => l.Tensor.Kind == kind && l.Tensor.Group == group);

    AdapterMasters Adapter(string linear) =>
        Plan.Optimizer.Adapters.FirstOrDefault(a => a.Slot.Linear == linear) ?? throw new ArgumentException($"session: {linear} has no adapter in this run; the targets leave it out.");

    static void Check(string linear, int count, MasterMatrix matrix)
    {
        if (count != matrix.Rows * matrix.Columns) throw new ArgumentException($"session: an adapter matrix of {linear} has {count} elements, but its shape is [{matrix.Rows},{matrix.Columns}].");
    }

    void Write(long offset, ReadOnlySpan<float> values) => device.Upload(Optimizer(offset), MemoryMarshal.AsBytes(values));

    MatrixState MatrixOf(MasterMatrix m) => new(Read(m, m.Master), Read(m, m.FirstMoment), Read(m, m.SecondMoment));

    float[] Read(MasterMatrix matrix, long offset)
    {
        var values = new float[matrix.Rows * matrix.Columns];
        device.Download(MemoryMarshal.AsBytes(values.AsSpan()), Optimizer(offset));
        return values;
    }

    float[] ReadRectangle(TensorLayout layout, int row, int rows, int column, int columns)
    {
        var name = layout.Tensor.Name;
        var start = Plan.Memory.Permanent.ContainsKey(name) ? binder.Address(name) : binder.Address(Plan.Evaluation, name, Plan.Evaluation.Launches.Count - 1);
        // Dense rows come in pieces of up to 16 MiB, others one by one.
        var dense = columns == layout.Pitch;
        var piece = dense ? Math.Clamp((16 << 20) / (columns * layout.ElementBytes), 1, Math.Max(1, rows)) : 1;
        var bytes = new byte[piece * columns * layout.ElementBytes];
        var result = new float[(long)rows * columns];
        for (var r = 0; r < rows; r += piece)
        {
            var part = bytes.AsSpan(0, Math.Min(piece, rows - r) * columns * layout.ElementBytes);
            device.Download(part, start + (nint)(((long)(row + r) * layout.Pitch + column) * layout.ElementBytes));
            Elements.ToFloats(part, layout.Tensor.Type == ElementType.Act ? device.Act : ActType.F32).CopyTo(result, (long)r * columns);
        }
        return result;
    }
}
