using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Graph.Runtime.Devices;
using Graph.Runtime.Optimizers;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Execution;

/// <summary>
/// A model in device memory, ready to train: allocates what the plan says and nothing after, prepares one
/// program per launch list, and runs steps. The device must have the model's kernels loaded.
/// </summary>
public sealed class TrainingSession : IDisposable
{
    readonly IDevice device;
    readonly AdamOptions adam;
    readonly LossScaling scaling;
    readonly Dictionary<MemoryBlock, nint> blocks = [];
    // What is offloaded. A micro-batch ends when all its copies have, so the next one may write over it.
    readonly IHostBuffer? host;
    readonly Binder binder;
    readonly OptimizerBinding optimizer;
    readonly Masters masters;
    readonly StepSlot[] slots = new StepSlot[2];
    readonly IProgram microBatch, evaluation, clear, cast;
    // Steps begun, updated and finished: a step's slot is its number modulo 2.
    long begun, updated, finished;
    // Micro-batches of the run before the next step's: with the seed it decides the masks of dropout.
    long taken;
    // The one of the last step's gradients, and what that step left.
    float usedScale = 1;
    LossScaleState lossScale;

    /// <exception cref="DeviceException">A block does not fit or the device fails; nothing stays allocated.</exception>
    public TrainingSession(IDevice device, ExecutionPlan plan, AdamOptions? adam = null)
    {
        if (device.Act != plan.Shapes.Act)
            throw new ArgumentException($"session: the plan is for {plan.Shapes.Act} but {device.Info.Name} runs {device.Act}; plan for the device.");
        this.device = device;
        this.adam = adam ?? new AdamOptions();
        scaling = this.adam.Scaling ?? (device.Act == ActType.F16 ? new LossScaling() : LossScaling.None);
        Plan = plan;
        if (this.adam.LoraPlus != 1 != plan.Options.LoraPlus)
            throw new ArgumentException($"session: B's learning rate is {this.adam.LoraPlus} times A's, "
                + $"but the plan is {(plan.Options.LoraPlus ? "for" : "not for")} one of its own.");
        try
        {
            foreach (var (block, bytes) in plan.Memory.Blocks)
            {
                blocks[block] = device.Allocate(bytes);
                // What lies beside the blocks of B, unused ranks and moments must be zero; arena and weights need no value.
                if (block is not (MemoryBlock.Arena or MemoryBlock.Weights)) device.Fill(blocks[block], 0, bytes);
            }
            if (plan.Memory.HostBytes > 0) host = device.AllocateHost(plan.Memory.HostBytes);
            binder = new Binder(plan, Bases);
            var bound = Binder.Bind(plan, Bases);
            optimizer = new OptimizerBinding(plan, binder);
            masters = new Masters(device, optimizer.At);
            if (optimizer.Segments() is { Count: > 0 } segments) device.Upload(Optimizer(plan.Optimizer.Segments), MemoryMarshal.AsBytes<AdamSegment>(segments.ToArray()));
            if (plan.Optimizer.LoraPlus is { } plus)
                foreach (var (offset, first) in new[] { (plus.SegmentsA, 0), (plus.SegmentsB, 1) })
                    device.Upload(Optimizer(offset), MemoryMarshal.AsBytes<AdamSegment>(OptimizerBinding.Renumbered(optimizer.Segments().Where((_, i) => i % 2 == first))));
            if (plan.Shapes.DropsAdapters)
                device.Upload(binder.Address(AdapterDropout.Table),
                    MemoryMarshal.AsBytes<DroppedAdapter>(AdapterDropout.TableOf(plan.Shapes.Schedule, plan.Options.Ranks, plan.Options.Dropout!)));
            foreach (var (name, table) in RopeScaling.Tables(plan)) device.Upload(binder.Address(name), MemoryMarshal.AsBytes<float>(table));
            microBatch = device.Prepare([.. bound.MicroBatch, optimizer.LossSum(plan.MicroBatch)]);
            evaluation = device.Prepare([.. bound.Evaluation, optimizer.LossSum(plan.Evaluation)]);
            clear = device.Prepare(Clear());
            cast = device.Prepare(optimizer.Cast());
            for (var i = 0; i < slots.Length; i++) slots[i] = new StepSlot(device, plan, blocks[MemoryBlock.Inputs], Scalars, ScaleGradients(), optimizer.Update);
            SetLossScale(new LossScaleState(scaling.Start, 0));
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public ExecutionPlan Plan { get; }

    /// <summary>Optimizer updates done.</summary>
    public int Step { get; private set; }

    Dictionary<MemoryBlock, nint> Bases => host is null ? blocks : new(blocks) { [MemoryBlock.Host] = host.Address };
    nint Scalars => binder.Base(Plan.Memory.Scalars);
    int Chunks => Plan.Optimizer.Chunks;

    /// <summary>Fills weights from a source, a tensor at a time: converted to the activation type, or as NF4 where the plan stores them so.</summary>
    /// <param name="measure">Whether to say what quantising changes; the weights are then read twice.</param>
    /// <exception cref="ArgumentException">A tensor has another shape than the model; the message has both.</exception>
    /// <exception cref="WeightException">A value is too large for the activation type.</exception>
    public QuantizationError LoadWeights(IWeightSource source, bool measure = false)
    {
        var loader = new WeightLoader(device, Plan, binder.Address, source);
        var error = loader.Load(measure);
        foreach (var weight in Plan.Optimizer.Weights) loader.LoadMaster(weight.Weight, Optimizer(weight.Matrix.Master));
        return error;
    }

    /// <summary>A uniform in ±1/√In (kaiming-uniform with a = √5, as PEFT), B zero, all moments zero. The same seed gives the same adapter, linear by linear.</summary>
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
            masters.Write(adapter.A, a);
            masters.Write(adapter.B, new float[adapter.B.Elements]);
        }
        foreach (var matrix in Plan.Optimizer.Matrices) masters.ZeroMoments(matrix);
        (Step, taken) = (0, 0);
        SetLossScale(new LossScaleState(scaling.Start, 0));
        PushMasters();
    }

    /// <summary>Sets A [Rank, In] and B [Out, Rank] and their rounded copies; moments stay.</summary>
    public void SetAdapter(string linear, ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        var adapter = Adapter(linear);
        Masters.Check(linear, a.Length, adapter.A);
        Masters.Check(linear, b.Length, adapter.B);
        masters.Write(adapter.A, a);
        masters.Write(adapter.B, b);
        PushMasters();
    }

    /// <summary>fp32 masters of A [Rank, In] and B [Out, Rank].</summary>
    public (float[] A, float[] B) GetAdapter(string linear) => Adapter(linear) is var adapter ? (masters.Read(adapter.A), masters.Read(adapter.B)) : default;

    /// <summary>fp32 gradients of the last step, summed over its micro-batches, without loss scale and before clipping.</summary>
    public (float[] A, float[] B) GetGradient(string linear)
    {
        var slot = Adapter(linear).Slot;
        var (a, b) = (Plan.Shapes.OfStack(TensorKind.GradA, slot.Stack), Plan.Shapes.OfStack(TensorKind.GradB, slot.Stack));
        return (Unscaled(ReadRectangle(a, slot.RankStart, slot.Rank, 0, slot.In)), Unscaled(ReadRectangle(b, slot.OutStart, slot.Out, slot.RankStart, slot.Rank)));

    }

    /// <summary>fp32 gradient of a trained weight, by its tensor in the schedule, likewise.</summary>
    public float[] GetWeightGradient(string tensor)
    {
        var layout = Plan.Shapes[Plan.Optimizer.Weights.First(w => w.Weight.Name == tensor).Gradient];
        return Unscaled(ReadRectangle(layout, 0, layout.Rows, 0, layout.Columns));
    }

    float[] Unscaled(float[] gradient)
    {
        for (var i = 0; i < gradient.Length; i++) gradient[i] /= usedScale;
        return gradient;
    }

    /// <summary>One optimizer step over micro-batches: <see cref="Begin"/>, <see cref="Update"/>, <see cref="Finish"/>.</summary>
    /// <exception cref="ArgumentException">More micro-batches than planned, a wrong token count, or no label.</exception>
    public StepResult Train(IReadOnlyList<MicroBatch> batches, double learningRate)
    {
        var start = Stopwatch.GetTimestamp();
        Begin(batches);
        Update(learningRate);
        return Finish() with { Milliseconds = Stopwatch.GetElapsedTime(start).TotalMilliseconds };
    }

    /// <summary>
    /// Starts forward and backward of a step's micro-batches; all of them are staged first because the loss is
    /// the mean over all their labels. May be called before the step before has finished.
    /// </summary>
    /// <exception cref="ArgumentException">More micro-batches than planned, a wrong token count, or no label.</exception>
    public void Begin(IReadOnlyList<MicroBatch> batches)
    {
        if (begun != updated) throw new InvalidOperationException("step: a step was begun and not updated; the next one would add to its gradients.");
        if (begun - finished == slots.Length) throw new InvalidOperationException($"step: {slots.Length} steps are not finished; there is no place for a third.");
        var slot = Stage(batches);
        var labels = batches.Sum(b => b.LabelCount);
        if (labels == 0) throw new ArgumentException("step: no token of the step has a label, so there is no loss; check the data's labels.");
        slot.MicroBatchScalars = MicroBatchScalars(1.0 / labels);
        slot.Begin.Run();
        clear.Run();
        for (var i = 0; i < batches.Count; i++)
        {
            slot.Inputs[i].Run();
            microBatch.Run();
        }
        begun++;
        taken += batches.Count;
    }

    /// <summary>Starts the optimizer of the step that was begun last. The step before must have finished: whether it was skipped decides this one's bias correction.</summary>
    public void Update(double learningRate)
    {
        if (updated == begun || finished != updated) throw new InvalidOperationException("step: an update needs a step that was begun, and the one before it finished.");
        var slot = slots[updated % slots.Length];
        slot.UpdateScalars = UpdateScalars(learningRate);
        slot.RateOfB = (float)(learningRate * adam.LoraPlus);
        slot.Update.Run();
        slot.Done.Set();
        updated++;
    }

    /// <summary>Waits for the step that was updated. Milliseconds are 0: a step's time is its caller's to measure.</summary>
    public StepResult Finish()
    {
        if (finished == updated) throw new InvalidOperationException("step: there is no updated step to wait for.");
        var slot = slots[finished % slots.Length];
        slot.Done.Wait();
        finished++;
        var skipped = Chunks > 0 && slot.Result.Skipped != 0;
        if (!skipped) Step++;
        (usedScale, lossScale) = (lossScale.Scale, new LossScaleState(slot.Result.LossScale, (int)slot.Result.GoodSteps));
        return new StepResult(slot.Result.LossSum, slot.Result.GradientNorm, skipped, 0, lossScale.Scale);
    }

    /// <summary>One step of one micro-batch, program by program; milliseconds of the device's work in it. The adapter is updated as in any step.</summary>
    public double Busy(MicroBatch batch, double learningRate) => StepPrograms(batch, learningRate).Sum(program => program.Span());

    /// <summary>Sum of the token losses and the number of labels of one micro-batch.</summary>
    /// <exception cref="InvalidOperationException">A step was begun and not finished: it adds up its loss where the evaluation would begin at 0.</exception>
    public (double LossSum, int LabelCount) Evaluate(MicroBatch batch)
    {
        if (begun != finished) throw new InvalidOperationException("evaluation: a step was begun and not finished, and its loss would be lost; finish it first.");
        var slot = Stage([batch]);
        slot.MicroBatchScalars = MicroBatchScalars(1);
        slot.Begin.Run();
        slot.Inputs[0].Run();
        evaluation.Run();
        var block = default(ScalarBlock);
        device.Download(MemoryMarshal.AsBytes(MemoryMarshal.CreateSpan(ref block, 1)), Scalars);
        return (block.LossSum, batch.LabelCount);
    }

    /// <summary>An arena tensor as the last evaluation left it, fp32 [rows, columns]; it must be in <see cref="PlanOptions.Keep"/>.</summary>
    public float[] Read(string tensor)
    {
        var layout = Plan.Shapes[tensor];
        return ReadRectangle(layout, 0, layout.Rows, 0, layout.Columns);
    }

    /// <summary>
    /// Logits [rows, V] of some tokens of a micro-batch before the model's final softcap, in fp32. The cross entropy's x
    /// must be in <see cref="PlanOptions.Keep"/>; the product is done on the host, for parity checks.
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

    /// <summary>
    /// Milliseconds of each launch of one step of one micro-batch, beside the launch; attention's
    /// operations are those of the batch's documents. The adapter is updated as in any step.
    /// </summary>
    public IReadOnlyList<(BoundLaunch Launch, double Milliseconds)> Profile(MicroBatch batch, double learningRate)
    {
        var bound = new Binder(Plan, Bases, batch.AttendedPairs).Bind(Plan.MicroBatch);
        var inputBytes = MemoryPlan.InputBytes(Plan.Shapes);
        BoundLaunch[][] launches =
        [
            [new BoundCopy("scalars", 0, 0, Unsafe.SizeOf<ScalarBlock>()), .. ScaleGradients()],
            Clear(), [new BoundCopy("inputs", 0, 0, inputBytes)],
            [.. bound, optimizer.LossSum(Plan.MicroBatch)],
            [new BoundCopy("optimizer scalars", 0, 0, 40), .. optimizer.Update(0), new BoundCopy("result", 0, 0, Unsafe.SizeOf<ScalarBlock>())],
        ];
        return [.. StepPrograms(batch, learningRate).Zip(launches).SelectMany(p => p.Second.Select(device.AsRun).Zip(p.First.Time()))];
    }

    /// <summary>What the device reaches at best, measured in the arena.</summary>
    public DeviceLimits Limits() => DeviceLimits.Measure(device, blocks[MemoryBlock.Arena], Plan.Memory[MemoryBlock.Arena]);

    BoundLaunch[] Clear() => [.. Plan.Cleared.Select(c => new BoundFill("gradients = 0", blocks[MemoryBlock.Gradients] + (nint)c.Offset, 0, c.Bytes))];

    // What Begin and Update start, for one micro-batch; the caller runs them in order.
    IEnumerable<IProgram> StepPrograms(MicroBatch batch, double learningRate)
    {
        if (begun != finished) throw new InvalidOperationException("step: a step is running; finish it first.");
        var slot = Stage([batch]);
        slot.MicroBatchScalars = MicroBatchScalars(1.0 / Math.Max(1, batch.LabelCount));
        slot.UpdateScalars = UpdateScalars(learningRate);
        slot.RateOfB = (float)(learningRate * adam.LoraPlus);
        Step++;
        return [slot.Begin, clear, slot.Inputs[0], microBatch, slot.Update];
    }

    public TrainState State(int seed, long dataPosition) =>
        new(Step, seed, dataPosition, Plan.Optimizer.Adapters.Select(a => new AdapterState(a.Slot.Linear, a.Slot.Rank, masters.State(a.A), masters.State(a.B)))
        .ToArray(), lossScale)
    {
        Weights = Plan.Optimizer.Weights.Select(w => new WeightState(w.Weight.Name, masters.State(w.Matrix))).ToArray(),
    };

    /// <exception cref="ArgumentException">The state has other adapters than the plan, a matrix of another size, or moments of another format; nothing has changed.</exception>
    public void Restore(TrainState state)
    {
        if (!state.Adapters.Select(a => a.Linear).ToHashSet().SetEquals(Plan.Optimizer.Adapters.Select(a => a.Slot.Linear))
            || state.Adapters.Count != Plan.Optimizer.Adapters.Count)
            throw new ArgumentException($"session: the state has {state.Adapters.Count} adapters and the run {Plan.Optimizer.Adapters.Count}, "
                + "and they must be of the same linears.");
        if (!state.Weights.Select(w => w.Tensor).SequenceEqual(Plan.Optimizer.Weights.Select(w => w.Weight.Name)))
            throw new ArgumentException($"session: the state has {state.Weights.Count} trained weights and the run {Plan.Optimizer.Weights.Count}, and they must be the same.");
        (string Name, MasterMatrix Matrix, MatrixState Values)[] pairs =
        [
            .. state.Adapters.Select(saved => (Saved: saved, Mine: Adapter(saved.Linear)))
                .SelectMany(a => new[] { (a.Saved.Linear, a.Mine.A, a.Saved.A), (a.Saved.Linear, a.Mine.B, a.Saved.B) }),
            .. state.Weights.Zip(Plan.Optimizer.Weights, (saved, mine) => (saved.Tensor, mine.Matrix, saved.Matrix)),
        ];
        foreach (var (name, matrix, values) in pairs) Masters.Check(name, values, matrix);
        foreach (var (_, matrix, values) in pairs) masters.Restore(matrix, values);
        (Step, taken) = (state.Step, state.DataPosition);
        SetLossScale(scaling.GrowthSteps > 0 ? state.LossScale : new LossScaleState(scaling.Start, 0));
        PushMasters();
    }

    public void Dispose()
    {
        try
        {
            // A step that runs still copies from and to the slots.
            if (begun != finished) device.Synchronize();
        }
        catch (DeviceException)
        {
            // Whoever ran the step has seen it.
        }
        foreach (var slot in slots) slot?.Dispose();
        foreach (var program in new[] { microBatch, evaluation, clear, cast }) program?.Dispose();
        host?.Dispose();
        foreach (var address in blocks.Values)
        {
            try
            {
                device.Free(address);
            }
            catch (DeviceException)
            {
                // A device that failed frees nothing; its first error is the one to report.
            }
        }
        blocks.Clear();
    }

    // The next step's slot. It is free: a step that had it has finished.
    StepSlot Stage(IReadOnlyList<MicroBatch> batches)
    {
        var slot = slots[begun % slots.Length];
        slot.Fill(batches, taken);
        return slot;
    }

    ScalarBlock MicroBatchScalars(double inverseLabels) =>
        new() { LoraScale = (float)Plan.Options.LoraScale, InverseLabels = (float)inverseLabels, LossWeight = (float)inverseLabels, ClipCoefficient = 1 };

    ScalarBlock UpdateScalars(double learningRate)
    {
        var step = Step + 1;
        return new ScalarBlock
        {
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
            GrowthSteps = scaling.GrowthSteps,
        };
    }

    IReadOnlyList<BoundLaunch> ScaleGradients() => scaling == LossScaling.None ? [] : optimizer.ScaleGradients();

    void SetLossScale(LossScaleState state)
    {
        lossScale = state;
        device.Upload(Scalars + Marshal.OffsetOf<ScalarBlock>(nameof(ScalarBlock.LossScale)), MemoryMarshal.AsBytes<float>(new[] { state.Scale, state.GoodSteps }));
    }

    void PushMasters()
    {
        cast.Run();
        device.Synchronize();
    }

    nint Optimizer(long offset) => optimizer.At(offset);

    AdapterMasters Adapter(string linear) =>
        Plan.Optimizer.Adapters.FirstOrDefault(a => a.Slot.Linear == linear)
        ?? throw new ArgumentException($"session: {linear} has no adapter in this run; the targets leave it out.");

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
