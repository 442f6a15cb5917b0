using System;

namespace Graph.Runtime.Planning;

/// <summary>
/// What no micro-batch of the same copies is faster than, in milliseconds.
/// In the forward launches begin as soon as one another allow, and copies from the host as soon as one another and the room for what they bring allow.
/// In the backward, which builds tensors again, launches wait for nothing. Copies of a direction follow each other, and launches take longer beside them.
/// </summary>
/// <param name="Launches">Until the last launch has ended, with nothing more built again.</param>
/// <param name="Copies">All copies of the direction that has the most, less what dS saves if it is kept everywhere.</param>
public readonly record struct StepFloor(double Launches, double Copies)
{
    /// <param name="rebuilding">Milliseconds of launches that build tensors again.</param>
    public double With(double rebuilding) => Math.Max(Launches + rebuilding, Copies);
}
