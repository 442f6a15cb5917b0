using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.InteropServices;
using Graph.Runtime;
using Graph.Runtime.Cpu;
using Graph.Runtime.Cuda;
using Graph.Runtime.Devices;
using Graph.Runtime.Optimizers;

namespace Graph.Gpu.Tests;

/// <summary>
/// The optimizer's kernels against their C# twins (CpuAdamW) on the same segment table: matrices of one chunk and of
/// several, with columns that are and are not a multiple of 4, in pitched gradients and copies.
/// </summary>
static class OptimizerCheck
{
    // fp32 operations of the same values in another order: a few times 2^-24 of the terms' size, sums of 4,096 squares a few times more.
    const double Tolerance = 1e-6, SumTolerance = 5e-6;
    const int Count = 1 << 20;

    // More than 32, which a warp looks at in one go, with several chunks in front, between and behind.
    static readonly (int Rows, int Columns)[] Matrices = [(8, 128), (3, 130), (1, 1), (5000, 7), .. Enumerable.Repeat((4, 20), 40), (16, 3584), (4096, 16),
        .. Enumerable.Repeat((3, 5), 30), (64, 64), (33, 1), (5, 2000)];

    internal static Seen Run(CudaDeviceOfTarget on, KernelJob job)
    {
        on.Load(job.Source);
        return job.Name switch
        {
            "gradient_norm_partials" => Partials(on.Device),
            "gradient_norm" => Norm(on.Device),
            "adamw" => new[] { Update(on.Device, skipped: false), Update(on.Device, skipped: true) }.MaxBy(s => s.OfAllowed),
            "adamw_8bit" => new[] { Update8Bit(on.Device, skipped: false), Update8Bit(on.Device, skipped: true) }.MaxBy(s => s.OfAllowed),
            "cast_adapters" => Cast(on.Device),
            "add_units" => new[] { 1, 2, 7, 8, 9, 16, 17 }.Select(units => AddUnits(on.Device, units)).MaxBy(s => s.OfAllowed),
            "scale_gradients" => Scale(on.Device),
            "loss_sum" => new[] { 1, 63, 4097, 8191 }.Select(rows => LossSum(on.Device, rows)).MaxBy(s => s.OfAllowed),
            _ => throw new CheckException($"there is no check of {job.Name}; add one to OptimizerCheck"),
        };
    }

    static Seen Partials(CudaDevice device)
    {
        var host = Table.OnHost();
        var expected = Pinned.Floats(host.Chunks);
        OnCpu(new("gradient_norm_partials", 0, 0, 0, "gradient_norm_partials", [new(Pinned.Address(expected), 0), host.Argument], host.Chunks));
        var table = host.On(device);
        var partials = device.Allocate(4L * host.Chunks);
        var got = Repeat(device, new("partials", 0, 0, 0, "gradient_norm_partials", [new(partials, 0),
            table.Argument], host.Chunks), () => device.Fill(partials, 0xff, 4L * host.Chunks), () => device.Download<float>(partials, host.Chunks));
        return Largest("partials", expected, got, i => SumTolerance * expected[i]);
    }

    static Seen Norm(CudaDevice device)
    {
        var worst = new Seen();
        // Without a loss scale, with one that stays, doubles, and halves, down to 1.
        foreach (var (clip, broken, scale, growth) in new[]
        {
            (1f, 0f, 1f, 0f), (1e6f, 0f, 1f, 0f), (0f, 0f, 1f, 0f), (1f, float.NaN, 1f, 0f), (1f, float.PositiveInfinity, 1f, 0f),
            (1f, 0f, 65536f, 2000f), (0f, 0f, 65536f, 8f), (1f, float.NaN, 65536f, 2000f), (1f, float.PositiveInfinity, 1f, 8f),
        })
        {
            var partials = RandomValues.Uniform(1037, 3, 0.5f * scale, 2 * scale, false);
            partials[700] += broken;
            float[] Scalars() => Table.Scalars(clip: clip, lossScale: scale, growth: growth);
            var scalars = Scalars();
            OnCpu(new("norm", 0, 0, 0, "gradient_norm", [new(Pinned.Address(scalars), 0), new(Pinned.Address(partials), 0)], partials.Length));
            var before = Scalars();
            nint block = device.Upload<float>(before), on = device.Upload<float>(partials);
            var got = Repeat(device, new("norm", 0, 0, 0, "gradient_norm", [new(block, 0),
                new(on, 0)], partials.Length), () => device.Upload(block, MemoryMarshal.AsBytes(before.AsSpan())), () => device.Download<float>(block, before.Length));
            var norm = (int)Marshal.OffsetOf<ScalarBlock>(nameof(ScalarBlock.GradientNorm)) / 4;
            if (broken != 0) (scalars[norm], got[norm]) = (0, float.IsFinite(got[norm]) ? 1 : 0);
            worst = new[] { worst, Largest("scalars", scalars, got, i => SumTolerance * Math.Abs(scalars[i])) }.MaxBy(s => s.OfAllowed);
        }
        return worst;
    }

    static Seen Scale(CudaDevice device)
    {
        var (scalars, before) = (Table.Scalars(lossScale: 4096), Table.Scalars(lossScale: 4096));
        OnCpu(new("scale", 0, 0, 0, "scale_gradients", [new(Pinned.Address(scalars), 0)], 1));
        var block = device.Upload<float>(before);
        var got = Repeat(device, new("scale", 0, 0, 0, "scale_gradients", [new(block, 0)], 1),
            () => device.Upload(block, MemoryMarshal.AsBytes(before.AsSpan())), () => device.Download<float>(block, before.Length));
        Checking.Require(got.AsSpan().SequenceEqual(scalars) && !got.AsSpan().SequenceEqual(before), "the scaled scalars are others than the twin's");
        return new Seen();
    }

    static Seen Update(CudaDevice device, bool skipped)
    {
        var host = Table.OnHost();
        var before = Table.OnHost();
        var scalars = Table.Scalars(skipped: skipped);
        OnCpu(new("adamw", 0, 0, 0, "adamw", [host.Argument, new(Pinned.Address(scalars), 0)], host.Chunks));
        var table = before.On(device);
        var on = device.Upload<float>(scalars);
        var got = Repeat(device, new("adamw", 0, 0, 0, "adamw", [table.Argument, new(on, 0)], host.Chunks), () => table.Reset(), () => table.State());
        var copies = device.Download<ushort>(table.Copies, Count);
        if (skipped)
        {
            Checking.Require(got.AsSpan().SequenceEqual(before.States) && copies.All(c => c == 0xffff), "a skipped step changed something");
            return new Seen();
        }
        host.CheckCopies(got, copies);
        // Terms: the old value, the new one, and a gradient of about 0.1.
        return Largest("state", host.States, got, i => Tolerance * (Math.Abs(before.States[i]) + Math.Abs(host.States[i]) + 0.1));
    }

    /// <summary>Masters and scales within the tolerance; a code is the twin's or, where the value lies as near to the next one, that.</summary>
    static Seen Update8Bit(CudaDevice device, bool skipped)
    {
        var host = Table.OnHost(codes: true);
        var before = Table.OnHost(codes: true);
        var scalars = Table.Scalars(skipped: skipped);
        OnCpu(new("adamw_8bit", 0, 0, 0, "adamw_8bit", [host.Argument, new(Pinned.Address(scalars), 0)], host.Chunks));
        var table = before.On(device);
        var on = device.Upload<float>(scalars);
        var got = Repeat(device, new("adamw_8bit", 0, 0, 0, "adamw_8bit", [table.Argument, new(on, 0)], host.Chunks), () => table.Reset(), () => table.State());
        var copies = device.Download<ushort>(table.Copies, Count);
        if (skipped)
        {
            Checking.Require(MemoryMarshal.AsBytes(got.AsSpan()).SequenceEqual(MemoryMarshal.AsBytes(before.States.AsSpan())) && copies.All(c => c == 0xffff),
                "a skipped step changed something");
            return new Seen();
        }
        host.CheckCopies(got, copies);
        // Codes become values for the comparison: what was padding, scales or master stays what it is.
        var (expected, actual, allowed) = (host.Values(host.States), host.Values(got), host.Allowed());
        // A value between two codes may go to either where roundings differ by 2^-24: one of ten thousand.
        var others = Enumerable.Range(host.States.Length, expected.Length - host.States.Length).Count(i => Math.Abs(expected[i] - actual[i]) > Tolerance * Math.Abs(expected[i]));
        Checking.Require(others <= (expected.Length - host.States.Length) / 1000, $"{others} of {expected.Length - host.States.Length} codes are others than the twin's");
        // A random v may be small beside its m: the step is then as large as the master.
        return Largest("state", expected, actual, i => allowed[i] + Tolerance * (Math.Abs(expected[i]) + 1));
    }

    static Seen Cast(CudaDevice device)
    {
        var host = Table.OnHost();
        var table = host.On(device);
        Repeat(device, new("cast", 0, 0, 0, "cast_adapters", [table.Argument], host.Chunks), () => table.Reset(), () => device.Download<float>(table.Copies, Count / 2));
        Checking.Require(table.State().AsSpan().SequenceEqual(host.States), "cast_adapters changed a master");
        host.CheckCopies(host.States, device.Download<ushort>(table.Copies, Count));
        return new Seen();
    }

    /// <summary>One addition after the other: the same bits as in C#, and nothing beside D's columns.</summary>
    static Seen AddUnits(CudaDevice device, int units)
    {
        const int Rows = 17, Columns = 264, Pitch = 272;
        var (start, products) = (RandomValues.Uniform(Rows * Pitch, 7, -1, 1, false), RandomValues.Uniform(units * Rows * Columns, 8, -1, 1, false));
        var expected = start.ToArray();
        for (var u = 0; u < units; u++)
            for (var i = 0; i < Rows * Columns; i++) expected[i / Columns * Pitch + i % Columns] += products[u * Rows * Columns + i];
        nint d = device.Upload<float>(start), on = device.Upload<float>(products);
        var sum = new BoundGemm("sum", 0, 0, 0, Runtime.Schedules.GemmLayout.Tn, Runtime.Schedules.ElementType.F32, d, Pitch, 0, 0, 0, 0, Rows, Columns, 1, 1, true);
        var got = Repeat(device, KernelArguments.AddUnits(sum, on, units),
            () => device.Upload(d, MemoryMarshal.AsBytes(start.AsSpan())), () => device.Download<float>(d, start.Length));
        return Largest($"D after {units} units", expected, got, _ => 0);
    }

    static Seen LossSum(CudaDevice device, int rows)
    {
        var losses = RandomValues.Uniform(rows, 5, 0, 12, false);
        var scalars = Table.Scalars();
        OnCpu(new("loss", 0, 0, 0, "loss_sum", [new(Pinned.Address(scalars), 0), new(Pinned.Address(losses), 0, 4)], rows));
        var before = Table.Scalars();
        nint block = device.Upload<float>(before), on = device.Upload<float>(losses);
        var got = Repeat(device, new("loss", 0, 0, 0, "loss_sum", [new(block, 0),
            new(on, 0)], rows), () => device.Upload(block, MemoryMarshal.AsBytes(before.AsSpan())), () => device.Download<float>(block, before.Length));
        return Largest("scalars", scalars, got, i => SumTolerance * Math.Abs(scalars[i]));
    }

    static void OnCpu(BoundKernel launch)
    {
        using var cpu = new CpuDevice();
        cpu.Prepare([launch]).Run();
    }

    static T[] Repeat<T>(CudaDevice device, BoundKernel launch, Action reset, Func<T[]> read) where T : unmanaged
    {
        using var program = device.Prepare([launch]);
        T[]? first = null;
        for (var i = 0; i < 100; i++)
        {
            reset();
            program.Run();
            var now = read();
            Checking.Require(first is null || MemoryMarshal.AsBytes(now.AsSpan()).SequenceEqual(MemoryMarshal.AsBytes(first.AsSpan())),
                $"{launch.Kernel}: run {i + 1} gave other bits than the first");
            first ??= now;
        }
        return first!;
    }

    static Seen Largest(string what, float[] expected, float[] got, Func<int, double> allowed)
    {
        double worst = 0, relative = 0;
        for (var i = 0; i < expected.Length; i++)
        {
            var error = Math.Abs((double)got[i] - expected[i]);
            var share = error == 0 ? 0 : error / allowed(i);
            if (!(share <= 1))
                throw new CheckException($"{what}[{i}] is {got[i]:G9}, expected {expected[i]:G9}; "
                    + $"of {expected.Length} values {Enumerable.Range(0, expected.Length).Count(j => !(Math.Abs((double)got[j] - expected[j]) <= allowed(j)))} are off");
            worst = Math.Max(worst, share);
            if (expected[i] != 0) relative = Math.Max(relative, error / Math.Abs(expected[i]));
        }
        return new Seen(relative, worst);
    }

    /// <summary>A segment table with its matrices, on the host (copies in fp32) or on a device.</summary>
    sealed class Table
    {
        CudaDevice? device;
        nint states;

        internal required float[] States { get; init; }
        internal required float[] Gradients { get; init; }
        internal required AdamSegment[] Segments { get; init; }

        /// <summary>On the host: where the segments point to. An array that nothing refers to is freed, and the twin would write over the next table.</summary>
        internal float[] HostCopies { get; private init; } = [];
        internal int Chunks { get; private init; }
        internal BoundArgument Argument { get; private init; }
        internal nint Copies { get; private init; }

        /// <param name="codes">Moments are codes of 8 bits with their scales behind them, in the place of fp32 ones.</param>
        internal static Table OnHost(bool codes = false)
        {
            float[] states = RandomValues.Uniform(Count, 1, -0.5f, 0.5f, false), gradients = RandomValues.Normal(Count, 2, 0.1f), copies = Pinned.Floats(Count);
            var segments = GC.AllocateArray<AdamSegment>(Matrices.Length, pinned: true);
            int state = 0, gradient = 0, copy = 0, chunk = 0;
            for (var i = 0; i < Matrices.Length; i++)
            {
                var (rows, columns) = Matrices[i];
                // Codes and scales need less than fp32 values, but for the last block's padding.
                int size = Align(Math.Max(rows * columns, 65)), pitch = (columns + 3) / 4 * 4 + 8, copyPitch = (columns + 7) / 8 * 8 + 16;
                nint At(float[] array, int offset) => Pinned.Address(array) + 4 * offset;
                // Second moments are squares.
                for (var j = state + 2 * size; j < state + 3 * size; j++) states[j] = states[j] * states[j];
                if (codes)
                    foreach (var at in new[] { state + size, state + 2 * size }) Code(states.AsSpan(at, size), rows * columns, i);
                segments[i] = new AdamSegment
                {
                    Master = At(states, state), FirstMoment = At(states, state + size), SecondMoment = At(states, state + 2 * size), Gradient = At(gradients, gradient),
                    Copy = At(copies, copy),
                    Rows = rows, Columns = columns, GradientPitch = pitch, CopyPitch = copyPitch, FirstChunk = chunk,
                };
                (state, gradient, copy, chunk) = (state + 3 * size, gradient + Align(rows * pitch), copy + Align(rows * copyPitch),
                    chunk + (rows * columns + AdamSegment.ChunkElements - 1) / AdamSegment.ChunkElements);
            }
            Checking.Require(Math.Max(state, Math.Max(gradient, copy)) <= Count, "the table does not fit its arrays");
            return new Table { States = states, Gradients = gradients, Segments = segments, Chunks = chunk, HostCopies = copies, Copies = Pinned.Address(copies),
                Argument = new(Pinned.Address(segments), segments.Length) };
        }

        // Random codes up to the last element, 0 behind it, a scale a block and NaN behind those.
        static void Code(Span<float> moment, int elements, int seed)
        {
            var blocks = (elements + DynamicMap.BlockElements - 1) / DynamicMap.BlockElements;
            moment.Fill(float.NaN);
            MemoryMarshal.AsBytes(moment)[..(blocks * DynamicMap.BlockElements)].Clear();
            var codes = RandomValues.Below(elements, seed, 256);
            for (var i = 0; i < elements; i++) MemoryMarshal.AsBytes(moment)[i] = (byte)codes[i];
            for (var b = 0; b < blocks; b++) moment[blocks * DynamicMap.BlockElements / 4 + b] = 0.5f / (1 + b % 7);
        }

        // Each moment: its place among the states, its map.
        IEnumerable<(int At, int Elements, int Blocks, float[] Map)> Moments() =>
            Segments.SelectMany(s => new[] { (s.FirstMoment, DynamicMap.Signed.ToArray()), (s.SecondMoment, DynamicMap.Unsigned.ToArray()) }
            .Select(m => ((int)((m.Item1 - Pinned.Address(States)) / 4), s.Rows * s.Columns,
                (s.Rows * s.Columns + DynamicMap.BlockElements - 1) / DynamicMap.BlockElements, m.Item2)));

        /// <summary>The states with 0 in the place of codes, then what the codes of all moments stand for.</summary>
        internal float[] Values(float[] states)
        {
            var (rest, values) = (states.ToArray(), new List<float>());
            foreach (var (at, elements, blocks, map) in Moments())
            {
                var codes = MemoryMarshal.AsBytes(states.AsSpan(at, blocks * DynamicMap.BlockElements / 4)).ToArray();
                values.AddRange(codes.Select((code, i) => map[code] * states[at + blocks * DynamicMap.BlockElements / 4 + i / DynamicMap.BlockElements]));
                Array.Clear(rest, at, blocks * DynamicMap.BlockElements / 4);
            }
            return [.. rest.Select(x => float.IsNaN(x) ? 0 : x), .. values];
        }

        /// <summary>How far a value may be off besides rounding: to the next code where the fp32 value, which is not kept, lay between two. Few do.</summary>
        internal float[] Allowed()
        {
            var allowed = new List<float>(new float[States.Length]);
            foreach (var (at, elements, blocks, map) in Moments())
            {
                var codes = MemoryMarshal.AsBytes(States.AsSpan(at, blocks * DynamicMap.BlockElements / 4)).ToArray();
                allowed.AddRange(codes.Select((code, i) => States[at + blocks * DynamicMap.BlockElements / 4 + i / DynamicMap.BlockElements]
                    * Math.Max(map[Math.Min(255, code + 1)] - map[code], map[code] - map[Math.Max(0, code - 1)])));
            }
            return [.. allowed];
        }

        internal Table On(CudaDevice device)
        {
            nint states = device.Upload<float>(States), gradients = device.Upload<float>(Gradients), copies = device.Allocate(2L * Count);
            var moved = Segments.Select(s => s with
            {
                Master = s.Master - Pinned.Address(States) + states, FirstMoment = s.FirstMoment - Pinned.Address(States) + states,
                SecondMoment = s.SecondMoment - Pinned.Address(States) + states,
                Gradient = s.Gradient - Pinned.Address(Gradients) + gradients, Copy = (s.Copy - Copies) / 2 + copies,
            }).ToArray();
            return new Table { device = device, states = states, States = States, Gradients = Gradients, Segments = Segments, Chunks = Chunks, Copies = copies,
                Argument = new(device.Upload<AdamSegment>(moved), moved.Length) };
        }

        internal void Reset()
        {
            device!.Upload(states, MemoryMarshal.AsBytes(States.AsSpan()));
            device.Fill(Copies, 0xff, 2L * Count);
        }

        internal float[] State() => device!.Download<float>(states, Count);

        /// <summary>Copies are the masters rounded once; everything beside them is untouched.</summary>
        internal void CheckCopies(float[] states, ushort[] copies)
        {
            var expected = new ushort[Count];
            Array.Fill(expected, (ushort)0xffff);
            foreach (var s in Segments)
                for (var i = 0; i < s.Rows * s.Columns; i++)
                    expected[(s.Copy - Copies) / 4 + i / s.Columns * s.CopyPitch + i % s.Columns] = Checking.ToElem(states[(s.Master - Pinned.Address(States)) / 4 + i], Elem.Act);
            for (var i = 0; i < Count; i++) Checking.Require(copies[i] == expected[i], $"copy element {i} is {copies[i]:x4}, expected {expected[i]:x4}");
        }

        internal static float[] Scalars(float clip = 1, bool skipped = false, float lossScale = 1, float growth = 0)
        {
            var array = Pinned.Floats(Marshal.SizeOf<ScalarBlock>() / 4);
            MemoryMarshal.Cast<float, ScalarBlock>(array.AsSpan())[0] = new ScalarBlock
            {
                LoraScale = 2, InverseLabels = 1, LossWeight = 1 / 97f, LearningRate = 0.01f, Beta1 = 0.9f, OneMinusBeta1 = 0.1f, Beta2 = 0.999f, OneMinusBeta2 = 0.001f,
                Epsilon = 1e-8f, WeightDecay = 0.01f,
                BiasCorrection1 = 0.271f, SqrtBiasCorrection2 = 0.0547f, Clip = clip, ClipCoefficient = 0.7f, LossSum = 3, Skipped = skipped ? 1 : 0,
                GrowthSteps = growth, LossScale = lossScale, GoodSteps = 7,
            };
            return array;
        }

        static int Align(int elements) => (elements + 63) / 64 * 64;
    }
}
