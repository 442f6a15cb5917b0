using System;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Graph.Runtime.Devices;
using Graph.Runtime.Optimizers;
using Graph.Runtime.Planning;

namespace Graph.Runtime.Execution;

/// <summary>Masters and moments of what is trained, to and from where the plan has them: on the device, or in page-locked memory that it reads.</summary>
/// <param name="address">Of a byte of the optimizer's layout.</param>
sealed class Masters(IDevice device, Func<long, nint> address)
{
    // An embedding has more bytes than a span can.
    const int PieceElements = 1 << 26;

    public void Write(MasterMatrix matrix, ReadOnlySpan<float> values) => Write(matrix.Master, values);

    public float[] Read(MasterMatrix matrix) => Read<float>(matrix.Master, matrix.Elements);

    /// <summary>Zeros in either format.</summary>
    public void ZeroMoments(MasterMatrix matrix)
    {
        device.Fill(address(matrix.FirstMoment), 0, matrix.MomentBytes);
        device.Fill(address(matrix.SecondMoment), 0, matrix.MomentBytes);
    }

    public MatrixState State(MasterMatrix matrix) => new(Read(matrix), Moment(matrix, matrix.FirstMoment), Moment(matrix, matrix.SecondMoment));

    public void Restore(MasterMatrix matrix, MatrixState state)
    {
        Write(matrix, state.Master);
        Write(matrix, matrix.FirstMoment, state.FirstMoment);
        Write(matrix, matrix.SecondMoment, state.SecondMoment);
    }

    /// <exception cref="ArgumentException">The state is of another size, or has moments of another format.</exception>
    public static void Check(string linear, MatrixState state, MasterMatrix matrix)
    {
        Check(linear, state.Master.Length, matrix);
        Check(linear, state.FirstMoment, matrix);
        Check(linear, state.SecondMoment, matrix);
    }

    /// <exception cref="ArgumentException">A matrix of so many elements is of another size.</exception>
    public static void Check(string linear, int count, MasterMatrix matrix)
    {
        if (count != matrix.Elements) throw new ArgumentException($"session: a matrix of {linear} has {count} elements, but its shape is [{matrix.Rows},{matrix.Columns}].");
    }

    static void Check(string linear, MomentState moment, MasterMatrix matrix)
    {
        switch (moment, matrix.Format)
        {
            case (Fp32Moment fp32, MomentFormat.Fp32): Check(linear, fp32.Values.Length, matrix); break;
            case (Block8Moment block8, MomentFormat.Block8):
                Check(linear, block8.Codes.Length, matrix);
                if (block8.Scales.Length != matrix.Blocks)
                    throw new ArgumentException($"session: a moment of {linear} has {block8.Scales.Length} scales, but {matrix.Blocks} blocks.");
                break;
            default: throw new ArgumentException($"session: the moments of {linear} are a {moment.GetType().Name} but the run keeps them as {matrix.Format}; "
                + "go on with the optimizer that the state was made by.");
        }
    }

    void Write(long offset, ReadOnlySpan<float> values)
    {
        for (var first = 0; first < values.Length; first += PieceElements)
            device.Upload(address(offset) + (nint)(4L * first), MemoryMarshal.AsBytes(values[first..Math.Min(values.Length, first + PieceElements)]));
    }

    void Write(MasterMatrix matrix, long offset, MomentState moment)
    {
        switch (moment)
        {
            case Fp32Moment fp32: Write(offset, fp32.Values); break;
            case Block8Moment block8:
                device.Upload(address(offset), block8.Codes);
                Write(offset + matrix.CodeBytes, block8.Scales);
                break;
            default: throw new ArgumentException($"session: a moment of type {moment.GetType().Name} cannot be stored.");
        }
    }

    MomentState Moment(MasterMatrix m, long offset) => m.Format switch
    {
        MomentFormat.Fp32 => new Fp32Moment(Read<float>(offset, m.Elements)),
        MomentFormat.Block8 => new Block8Moment(Read<byte>(offset, m.Elements), Read<float>(offset + m.CodeBytes, m.Blocks)),
        _ => throw new ArgumentException($"session: unknown format {m.Format}."),
    };

    T[] Read<T>(long offset, int count) where T : unmanaged
    {
        var values = new T[count];
        for (var first = 0; first < count; first += PieceElements)
            device.Download(MemoryMarshal.AsBytes(values.AsSpan(first, Math.Min(PieceElements, count - first))), address(offset) + (nint)((long)Unsafe.SizeOf<T>() * first));
        return values;
    }
}
