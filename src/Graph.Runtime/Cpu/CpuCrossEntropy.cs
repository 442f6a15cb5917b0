using System;
using System.Buffers;
using System.Numerics;

namespace Graph.Runtime.Cpu;

/// <summary>
/// loss[t] = log Σ exp z − z[label] with z = score(logit), and dlogits = (softmax(z) − onehot) · score' · inv_labels in place of the logits. Label −100: loss 0 and dlogits 0.
/// fp32 with sums in double. Arguments: logits, loss, labels, inv_labels.
/// </summary>
public static unsafe class CpuCrossEntropy
{
    public static void Run<TScore>(ReadOnlySpan<CpuView> args, int rows, int vocab, bool grad) where TScore : IScore
    {
        var inverse = *args[3].Floats;
        var buffer = ArrayPool<float>.Shared.Rent(vocab + Vector<float>.Count);
        fixed (float* z = buffer)
            for (var t = 0; t < rows; t++)
            {
                var logits = args[0].Row(t);
                var label = args[2].Ints[t];
                if (label < 0)
                {
                    args[1].Floats[t] = 0;
                    if (grad) CpuVector.Clear(logits, vocab);
                    continue;
                }
                var most = grad ? ValuesAndSlopes<TScore>(logits, z, vocab) : Values<TScore>(logits, z, vocab);
                var labelled = z[label];
                var sum = Exponentials(z, most, vocab);
                args[1].Floats[t] = (float)(most + Math.Log(sum) - labelled);
                if (!grad) continue;
                // dlogits = z · inverse / sum · slope, less slope · inverse at the label.
                var slope = logits[label];
                var probability = z[label] / sum;
                Multiply(logits, z, (float)(inverse / sum), vocab);
                logits[label] = (float)(probability - 1) * slope * inverse;
            }
        ArrayPool<float>.Shared.Return(buffer);
    }

    // The largest z. Past the end z is -∞.
    static float Values<TScore>(float* logits, float* z, int vocab) where TScore : IScore
    {
        var most = new Vector<float>(float.NegativeInfinity);
        for (var c = 0; c < vocab; c += Vector<float>.Count)
        {
            var value = CpuVector.Keep(TScore.Value(CpuVector.Load(logits + c, vocab - c), default, 0), vocab - c, float.NegativeInfinity);
            value.Store(z + c);
            most = Vector.Max(most, value);
        }
        return Largest(most);
    }

    // The same, and score' in place of the logits.
    static float ValuesAndSlopes<TScore>(float* logits, float* z, int vocab) where TScore : IScore
    {
        var most = new Vector<float>(float.NegativeInfinity);
        for (var c = 0; c < vocab; c += Vector<float>.Count)
        {
            TScore.ValueAndDerivative(CpuVector.Load(logits + c, vocab - c), default, 0, out var value, out var slope);
            value = CpuVector.Keep(value, vocab - c, float.NegativeInfinity);
            value.Store(z + c);
            CpuVector.Store(slope, logits + c, vocab - c);
            most = Vector.Max(most, value);
        }
        return Largest(most);
    }

    static double Exponentials(float* z, float most, int vocab)
    {
        var sum = new VectorSum();
        for (var c = 0; c < vocab; c += Vector<float>.Count)
        {
            var e = CpuMath.Exp(Vector.Load(z + c) - new Vector<float>(most));
            e.Store(z + c);
            sum.Add(e);
        }
        return sum.Total;
    }

    static void Multiply(float* slopes, float* z, float factor, int vocab)
    {
        for (var c = 0; c < vocab; c += Vector<float>.Count)
            CpuVector.Store(Vector.Load(z + c) * new Vector<float>(factor) * CpuVector.Load(slopes + c, vocab - c), slopes + c, vocab - c);
    }

    static float Largest(Vector<float> x)
    {
        var most = x[0];
        for (var i = 1; i < Vector<float>.Count; i++) most = MathF.Max(most, x[i]);
        return most;
    }
}
