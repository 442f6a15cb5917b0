using System;
using System.Collections;
using System.Collections.Generic;
using System.Linq;

namespace Graph.Generator.IR;

/// <summary>An immutable list that is equal to another one with equal elements, so that records that hold it compare by value.</summary>
public readonly struct EquatableArray<T>(T[]? items) : IEquatable<EquatableArray<T>>, IReadOnlyList<T>
{
    readonly T[]? _items = items;

    T[] Items => _items ?? Array.Empty<T>();
    public int Count => Items.Length;
    public T this[int index] => Items[index];
    public T Last => Items[Items.Length - 1];

    public bool Equals(EquatableArray<T> other) => Items.SequenceEqual(other.Items);
    public override bool Equals(object? obj) => obj is EquatableArray<T> other && Equals(other);
    public override int GetHashCode() => Items.Aggregate(17, (hash, item) => unchecked(hash * 31 + (item?.GetHashCode() ?? 0)));

    public IEnumerator<T> GetEnumerator() => ((IEnumerable<T>)Items).GetEnumerator();
    IEnumerator IEnumerable.GetEnumerator() => Items.GetEnumerator();

    public static implicit operator EquatableArray<T>(T[] items) => new(items);
}
