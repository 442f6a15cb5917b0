using System;

namespace Graph.Dsl;

/// <summary>
/// Makes a model a variant: the generator traces the class at build time, and <c>--variant NAME</c> finds it. The
/// class derives from <see cref="LanguageModel"/> and has a constructor without parameters.
/// </summary>
/// <param name="name">For example "9b": lower-case letters, digits, '.', '-' and '_'.</param>
[AttributeUsage(AttributeTargets.Class, Inherited = false)]
public sealed class GraphModelAttribute(string name) : Attribute
{
    public string Name => name;

    /// <summary>Full finetuning: every <see cref="Ops.Param"/> is trained, and there are no adapters.</summary>
    public bool Full { get; init; }
}

/// <summary>
/// Marks a method as one op of the graph: instead of looking into it, the generator records an op of this
/// name. Tensor parameters are its inputs, the others its attributes under their own names;
/// <c>params int[] dims</c> becomes dim0, dim1, ….
/// </summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class OpAttribute(string name) : Attribute
{
    public string Name => name;
}
