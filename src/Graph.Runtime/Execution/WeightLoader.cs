using System;
using System.Collections.Generic;
using System.Linq;
using System.Numerics;
using System.Runtime.InteropServices;
using Graph.Runtime.Devices;
using Graph.Runtime.Planning;
using Graph.Runtime.Quantization;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Execution;

/// <summary>What quantising on load changed: sums over the weights that were quantised of the squares of values, and of what they are off.</summary>
public readonly record struct QuantizationError(double Squares, double ErrorSquares)
{
    /// <summary>RMS error of the weights, relative to their RMS.</summary>
    public double Relative => Squares > 0 ? Math.Sqrt(ErrorSquares / Squares) : 0;
}

/// <summary>
/// Fills a plan's weights from a source: converted to the activation type, or packed, a checkpoint tensor at a time.
/// A source that has codes gives them as they are; any other is quantised here.
/// On the host are pieces of at most 64 MiB, and one tensor's codes.
/// </summary>
sealed class WeightLoader(IDevice device, ExecutionPlan plan, Func<string, nint> address, IWeightSource source)
{
    const int PieceBytes = 64 << 20;

    // No more than the largest tensor needs.
    readonly byte[] scratch = new byte[Room(plan)], converted = new byte[Room(plan)];
    readonly Lazy<Nf4Quantizer> quantizer = new(() => new Nf4Quantizer(plan.Shapes.Schedule.Tensors.Where(t => plan.Shapes.Packed(t.Name) is not null)
        .SelectMany(t => t.Stored()).Max(s => (long)s.Shape[0] * s.Shape[1])));

    Shapes Shapes => plan.Shapes;

    static int Room(ExecutionPlan plan) =>
        (int)Math.Min(PieceBytes, plan.Shapes.Schedule.Tensors.Where(t => t.Kind == TensorKind.Weight).SelectMany(t => t.Stored())
        .Max(w => 4L * w.Shape.Aggregate(1L, (count, extent) => count * extent)));

    /// <param name="measure">Whether to add up what quantising changes, which reads the weights a second time.</param>
    /// <exception cref="ArgumentException">A tensor has another shape than the model, or other absmax than planned; the message has both.</exception>
    /// <exception cref="WeightException">A value is too large for the activation type.</exception>
    public QuantizationError Load(bool measure)
    {
        var error = new QuantizationError();
        foreach (var weight in Shapes.Schedule.Tensors.Where(t => t.Kind == TensorKind.Weight))
        {
            if (Shapes.Packed(weight.Name) is { } block)
            {
                var added = Pack(weight, block, measure);
                error = new QuantizationError(error.Squares + added.Squares, error.ErrorSquares + added.ErrorSquares);
                continue;
            }
            var (layout, row) = (Shapes[weight.Name], 0L);
            foreach (var (name, shape) in weight.Stored())
            {
                Copy(name, shape, Shapes.Streamed.Contains(weight.Name), address(weight.Name) + (nint)(row * layout.Pitch * layout.ElementBytes), layout.Pitch);
                row += shape[0];
            }
        }
        return error;
    }

    /// <summary>Fills an fp32 master of a weight, dense: its checkpoint tensors under each other.</summary>
    public void LoadMaster(ScheduleTensor weight, nint to)
    {
        foreach (var (name, shape) in weight.Stored())
        {
            var stored = Describe(name, shape);
            int columns = shape[^1], rows = shape.Length > 1 ? shape[0] : 1, piece = Math.Max(1, PieceBytes / (columns * 4));
            for (var row = 0; row < rows; row += piece)
            {
                var bytes = Elements.Convert(source.Rows(name, row, Math.Min(piece, rows - row), scratch), stored.Type, ActType.F32, converted);
                device.Upload(to, bytes);
                to += bytes.Length;
            }
        }
    }

    StoredTensor Describe(string name, int[] shape)
    {
        var stored = source.Describe(name);
        return stored.Shape.SequenceEqual(shape) ? stored
            : throw new ArgumentException($"weights: {name} is [{string.Join(",", stored.Shape)}] "
                + $"but {Shapes.Schedule.Variant} needs [{string.Join(",", shape)}]; the checkpoint is of another size.");
    }

    unsafe void Copy(string name, int[] shape, bool onHost, nint to, int pitch)
    {
        var stored = Describe(name, shape);
        int columns = shape[^1], rows = shape.Length > 1 ? shape[0] : 1, element = TensorLayout.Size(ElementType.Act, device.Act);
        var piece = Math.Max(1, PieceBytes / (columns * 4));
        for (var row = 0; row < rows; row += piece)
        {
            var count = Math.Min(piece, rows - row);
            var place = to + (nint)((long)row * pitch * element);
            // A linear's rows are dense: what is converted for the host is then where it belongs.
            var into = onHost ? new Span<byte>((void*)place, count * columns * element) : converted;
            var bytes = Elements.Convert(source.Rows(name, row, count, scratch), stored.Type, device.Act, into);
            // The source's values are finite; rounding to a narrower range may end that.
            if (stored.Type != Elements.TypeOf(device.Act) && Elements.FirstNonFinite(bytes, Elements.TypeOf(device.Act)) is >= 0 and var at)
                throw TooLarge($"row {row + at / (columns * element)} of {name}");
            if (!onHost) device.Upload2D(place, (long)pitch * element, bytes, (long)columns * element, count);
            else if (!bytes.Overlaps(into)) HostCopy.Run(bytes, place);
        }
    }

    WeightException TooLarge(string where) => new($"weights: {where} has a value that is too large for {device.Act}; run it in a type of a wider range (--dtype)");

    QuantizationError Pack(ScheduleTensor weight, Nf4Layout block, bool measure)
    {
        var (start, onHost) = (address(Nf4Layout.NameOf(weight.Name)), Shapes.Streamed.Contains(Nf4Layout.NameOf(weight.Name)));
        var (parts, error) = (block.Parts.ToArray(), new QuantizationError());
        foreach (var ((name, shape), i) in weight.Stored().Select((s, i) => (s, i)))
        {
            var stored = Describe(name, shape);
            var given = source.FormatOf(name) != WeightFormat.Act;
            var tensor = given ? source.Codes(name) : Quantize(name, stored);
            Put(name, tensor, onHost, start, ref parts[i]);
            if (measure && !given)
            {
                var added = Error(name, stored, tensor);
                error = new QuantizationError(error.Squares + added.Squares, error.ErrorSquares + added.ErrorSquares);
            }
        }
        Put(onHost, start, MemoryMarshal.AsBytes(parts.AsSpan()));
        return error;
    }

    void Put(bool onHost, nint to, ReadOnlySpan<byte> bytes)
    {
        if (onHost) HostCopy.Run(bytes, to);
        else device.Upload(to, bytes);
    }

    void Put(string name, Nf4Tensor tensor, bool onHost, nint start, ref Nf4Part part)
    {
        if (device.Act == ActType.F16)
            for (var b = 0L; b < Nf4.Blocks(tensor.Elements); b++)
                if (!Half.IsFinite((Half)tensor.Absmax(b))) throw TooLarge($"element {b * Nf4.Block} of {name} or one of the {Nf4.Block - 1} behind it");
        Put(onHost, start + (nint)part.Codes, tensor.Codes);
        if (part.Nested >= 0)
        {
            if (!tensor.IsNested)
                throw new ArgumentException($"weights: {name} has fp32 absmax, but the plan is for absmax of 8 bits; plan its weight as {WeightFormat.Nf4Plain}.");
            Put(onHost, start + (nint)part.Absmax, tensor.AbsmaxCodes);
            Put(onHost, start + (nint)part.Nested, MemoryMarshal.AsBytes(tensor.Stored));
            Put(onHost, start + (nint)part.Map, MemoryMarshal.AsBytes(tensor.Map));
            part.Offset = tensor.Offset;
            return;
        }
        var absmax = new float[Nf4.Blocks(tensor.Elements)];
        for (var b = 0; b < absmax.Length; b++) absmax[b] = tensor.Absmax(b);
        Put(onHost, start + (nint)part.Absmax, MemoryMarshal.AsBytes(absmax.AsSpan()));
    }

    Nf4Tensor Quantize(string name, StoredTensor stored)
    {
        foreach (var (row, count) in Pieces(stored))
            quantizer.Value.Add((long)row * stored.Shape[1], Rows(name, stored, row, count), stored.Type == StoredType.Bf16);
        return quantizer.Value.Finish((long)stored.Shape[0] * stored.Shape[1]);
    }

    // bf16 as it is, fp32 of anything else.
    ReadOnlySpan<byte> Rows(string name, StoredTensor stored, int row, int count)
    {
        var bytes = source.Rows(name, row, count, scratch);
        return stored.Type == StoredType.Bf16 ? bytes : Elements.Convert(bytes, stored.Type, ActType.F32, converted);
    }

    // Rows whose elements fill blocks, but for the last.
    static IEnumerable<(int Row, int Count)> Pieces(StoredTensor stored)
    {
        int rows = stored.Shape[0], columns = stored.Shape[1], unit = Nf4.Block / (int)BigInteger.GreatestCommonDivisor(Nf4.Block, columns);
        var piece = Math.Max(1, PieceBytes / 4 / columns / unit) * unit;
        for (var row = 0; row < rows; row += piece) yield return (row, Math.Min(piece, rows - row));
    }

    QuantizationError Error(string name, StoredTensor stored, Nf4Tensor tensor)
    {
        double squares = 0, errors = 0;
        var values = new ushort[PieceBytes / 4];
        foreach (var (row, count) in Pieces(stored))
        {
            var elements = count * stored.Shape[1];
            var bytes = Rows(name, stored, row, count);
            tensor.Dequantize((long)row * stored.Shape[1], values.AsSpan(0, elements));
            var (piece, pieceErrors) = Nf4Error.Of(bytes, stored.Type == StoredType.Bf16, values.AsSpan(0, elements));
            (squares, errors) = (squares + piece, errors + pieceErrors);
        }
        return new QuantizationError(squares, errors);
    }
}
