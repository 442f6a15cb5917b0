using System;

namespace Graph.Finetune.Commands;

/// <summary>Figures of a measurement to five significant digits or a whole number, so that a rate of a small or busy machine is never rounded to 0.</summary>
public static class Significant
{
    public static double Round(double value)
    {
        if (value == 0 || !double.IsFinite(value)) return value;
        var decimals = Math.Max(0, 4 - (int)Math.Floor(Math.Log10(Math.Abs(value))));
        return decimals > 15 ? value : Math.Round(value, decimals);
    }
}
