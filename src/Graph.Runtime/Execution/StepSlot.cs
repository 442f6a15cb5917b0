using System;
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
/// What one step takes from the host and gives back, in page-locked memory, with the programs that copy it: nothing on the way waits.
/// A session has two, so that one takes the next step's data while the device
/// still reads the other. In order: the scalar block of the micro-batches, that of the update, the block as the step left it, B's learning rate, the inputs of all micro-batches.
/// </summary>
sealed unsafe class StepSlot : IDisposable
{
    // What the update changes of the block; before it are scalars of the micro-batches, behind it results.
    static readonly int OptionsStart = (int)Marshal.OffsetOf<ScalarBlock>(nameof(ScalarBlock.LearningRate)),
        OptionsBytes = (int)Marshal.OffsetOf<ScalarBlock>(nameof(ScalarBlock.GradientNorm)) - OptionsStart;
    // Behind the results is what the device keeps from step to step.
    static readonly int BlockBytes = Unsafe.SizeOf<ScalarBlock>(), StepBytes = (int)Marshal.OffsetOf<ScalarBlock>(nameof(ScalarBlock.LossScale));

    readonly IHostBuffer memory;
    readonly List<IProgram> inputPrograms = [];
    readonly Shapes shapes;
    readonly IReadOnlyDictionary<string, Location> places;
    readonly long inputBytes;
    readonly int microBatches, longestDocument;
    readonly IReadOnlyList<EmbeddingTable> tables;
    readonly int dropoutSeed;

    /// <param name="inputs">Where the running micro-batch's inputs lie on the device.</param>
    /// <param name="scalars">The device's scalar block.</param>
    /// <param name="scale">What makes of the micro-batches' scalars those that are scaled; empty: they are not.</param>
    /// <param name="update">The optimizer's launches, from the address of B's learning rate.</param>
    public StepSlot(IDevice device, ExecutionPlan plan, nint inputs, nint scalars, IReadOnlyList<BoundLaunch> scale, Func<nint, IReadOnlyList<BoundLaunch>> update)
    {
        (shapes, places, inputBytes, microBatches, longestDocument) =
            (plan.Shapes, plan.Memory.Permanent, MemoryPlan.InputBytes(plan.Shapes), plan.Options.MicroBatches, plan.LongestDocument);
        tables = EmbeddingTables.Of(shapes.Schedule);
        dropoutSeed = plan.Options.Dropout?.Seed ?? 0;
        memory = device.AllocateHost(4 * BlockBytes + microBatches * inputBytes);
        try
        {
            Done = device.CreateMarker();
            Begin = device.Prepare([new BoundCopy("scalars", scalars, Block(0), StepBytes), .. scale]);
            for (var i = 0; i < microBatches; i++) inputPrograms.Add(device.Prepare([new BoundCopy("inputs", inputs, InputsOf(i), inputBytes)]));
            Update = device.Prepare([new BoundCopy("optimizer scalars", scalars + OptionsStart, Block(1) + OptionsStart, OptionsBytes),
                .. update(Block(3)), new BoundCopy("result", Block(2), scalars, BlockBytes)]);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Brings the scalars of the micro-batches; LossSum becomes 0.</summary>
    public IProgram Begin { get; }

    /// <summary>One program per micro-batch: brings its inputs.</summary>
    public IReadOnlyList<IProgram> Inputs => inputPrograms;

    /// <summary>Brings the optimizer's scalars, updates, and takes the block back to the host.</summary>
    public IProgram Update { get; }

    /// <summary>Behind the update.</summary>
    public IMarker Done { get; }

    public ref ScalarBlock MicroBatchScalars => ref *(ScalarBlock*)Block(0);
    public ref ScalarBlock UpdateScalars => ref *(ScalarBlock*)Block(1);
    public ScalarBlock Result => *(ScalarBlock*)Block(2);
    public ref float RateOfB => ref *(float*)Block(3);

    /// <param name="number">Of the first micro-batch in the run.</param>
    /// <exception cref="ArgumentException">More micro-batches than planned, one of another number of tokens, a document longer than planned, or an id, position or label
    /// that a table has no row for.</exception>
    public void Fill(IReadOnlyList<MicroBatch> batches, long number)
    {
        if (batches.Count == 0 || batches.Count > microBatches) throw new ArgumentException($"step: {batches.Count} micro-batches, but the plan stages 1 to {microBatches}.");
        // What attention keeps of a document has room for this many tokens and no more.
        foreach (var batch in batches)
            if (batch.LongestDocument > longestDocument)
                throw new ArgumentException($"step: a document of {batch.LongestDocument} tokens, but the plan is for documents of at most {longestDocument}; "
                    + "cut it, or plan for longer ones.");
        for (var i = 0; i < batches.Count; i++)
            foreach (var (name, count) in shapes.Layouts.Where(l => l.Tensor.Kind == TensorKind.Input).Select(l => (l.Tensor.Name, shapes.Tokens)).Concat(shapes.Staged))
            {
                var values = name == AdapterDropout.Key ? AdapterDropout.KeyOf(dropoutSeed, number + i) : batches[i][name];
                if (values.Length != count) throw new ArgumentException($"step: micro-batch {i} has {values.Length} {name}, but the plan is for {shapes.Tokens} tokens.");
                if (EmbeddingTables.Fault(tables, name, values) is { } fault) throw new ArgumentException($"step: micro-batch {i} has {fault}.");
                values.CopyTo(new Span<int>((void*)(InputsOf(i) + (nint)places[name].Offset), values.Length));
            }
    }

    public void Dispose()
    {
        // In a constructor that failed, what comes later is not there.
        foreach (var program in Inputs.Append(Begin).Append(Update)) program?.Dispose();
        Done?.Dispose();
        memory.Dispose();
    }

    nint Block(int index) => memory.Address + index * BlockBytes;

    nint InputsOf(int microBatch) => Block(4) + (nint)(microBatch * inputBytes);
}
