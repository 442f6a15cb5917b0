using System;

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
            for (var c = 0; c < vocab; c++) most = MathF.Max(most, TScore.Value(logits[c]));
            double sum = 0;
            for (var c = 0; c < vocab; c++) sum += MathF.Exp(TScore.Value(logits[c]) - most);
            var lse = most + Math.Log(sum);
            args[1].Floats[t] = (float)(lse - TScore.Value(logits[label]));
            if (!grad) continue;
            for (var c = 0; c < vocab; c++)
            {
                TScore.ValueAndDerivative(logits[c], out var z, out var dz);
                logits[c] = ((float)(MathF.Exp(z - most) / sum) - (c == label ? 1 : 0)) * dz * inverse;
            }
        }
    }
}
