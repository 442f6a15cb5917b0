using System.Collections.Generic;
using System.Runtime.CompilerServices;

namespace Graph.Generator.IR;

/// <summary>Objects are equal when they are the same one: steps with equal contents are still two launches.</summary>
sealed class ReferenceComparer : IEqualityComparer<object>
{
    public static readonly ReferenceComparer Instance = new();

    bool IEqualityComparer<object>.Equals(object? x, object? y) => ReferenceEquals(x, y);
    int IEqualityComparer<object>.GetHashCode(object x) => RuntimeHelpers.GetHashCode(x);
}
