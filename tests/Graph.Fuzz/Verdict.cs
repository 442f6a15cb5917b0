using System;
using System.Linq;
using System.Text.RegularExpressions;

namespace Graph.Fuzz;

public enum Outcome
{
    /// <summary>Loss, gradients and the bits under every decision are right.</summary>
    Right,
    /// <summary>Says nothing about the compiler: the model's numbers are too large, or not finite in fp32.</summary>
    Unusable,
    /// <summary>A diagnostic, for a model of valid shapes.</summary>
    Refused,
    /// <summary>Another exception of the compiler.</summary>
    Crash,
    /// <summary>The emitted C# is not C#.</summary>
    Emitted,
    /// <summary>The runtime throws.</summary>
    Run,
    Loss,
    Gradient,
    /// <summary>The fuzzer's own fault.</summary>
    Reference,
    /// <summary>A save, recompute or offload decision changed a bit.</summary>
    Bits,
}

/// <summary>What became of one model. Worst: the largest error by what is allowed.</summary>
public sealed record Verdict(Outcome Outcome, string Message = "", double Worst = 0)
{
    public bool IsFailure => Outcome is not (Outcome.Right or Outcome.Unusable);

    /// <summary>Failures of one class are taken for one fault while a model is made smaller: kind and sentence, without names and numbers.</summary>
    public string Class => Outcome is Outcome.Refused or Outcome.Crash or Outcome.Run or Outcome.Emitted or Outcome.Reference
        ? $"{Outcome}: {Regex.Replace(Message.Split('\n').First(), @"\S*[\d_.\[\]]\S*", "_")}"
        : Worst > 100 ? $"{Outcome}, far off" : Outcome.ToString();
}
