using System.Globalization;

#if GRAPH_GENERATOR
namespace Graph.Generator.Schedules;
#else
namespace Graph.Runtime.Schedules;
#endif

/// <summary>Numbers of a run that kernels read from the device's scalar block.</summary>
public enum StepScalar
{
    /// <summary>alpha/r, or alpha/√r.</summary>
    LoraScale,
    /// <summary>1 / labels of the whole optimizer batch.</summary>
    InvLabels,
}

/// <summary>What a GEMM multiplies its sum with: Constant · lora_scale^LoraScales, a number once the run's scale is known.</summary>
public readonly record struct ScaleFactor(double Constant, int LoraScales = 0)
{
    public static readonly ScaleFactor One = new(1);

    public bool IsOne => this == One;

    public static ScaleFactor operator *(ScaleFactor a, ScaleFactor b) => new(a.Constant * b.Constant, a.LoraScales + b.LoraScales);

    /// <summary>For example 0.5*lora_scale.</summary>
    public override string ToString()
    {
        var text = Constant.ToString("R", CultureInfo.InvariantCulture);
        for (var i = 0; i < LoraScales; i++) text += "*lora_scale";
        return text;
    }
}
