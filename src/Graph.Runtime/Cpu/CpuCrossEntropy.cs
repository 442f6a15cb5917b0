using System;
using System.Buffers;

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
        var buffer = ArrayPool<float>.Shared.Rent(vocab);
        fixed (float* values = buffer)
        {
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
                var most = float.NegativeInfinity;
                for (var c = 0; c < vocab; c++) most = MathF.Max(most, values[c] = TScore.Value(logits[c]));
                var labelled = values[label];
                var sum = CpuVector.ExpSum(values, most, vocab);
                args[1].Floats[t] = (float)(most + Math.Log(sum) - labelled);
                if (!grad) continue;
                var inverseSum = (float)(1 / sum);
                for (var c = 0; c < vocab; c++)
                {
                    TScore.ValueAndDerivative(logits[c], out _, out var dz);
                    logits[c] = (values[c] * inverseSum - (c == label ? 1 : 0)) * dz * inverse;
                }
            }
        }
        ArrayPool<float>.Shared.Return(buffer);
    }
}
