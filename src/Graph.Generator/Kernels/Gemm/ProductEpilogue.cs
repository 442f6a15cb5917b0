using Graph.Generator.IR;
using Graph.Generator.Schedules;

namespace Graph.Generator.Kernels;

/// <summary>
/// What an epilogue gets of a tile of 128 x 256 (gemm_sm90.cu): panels of 64 columns alone (Pair 0), or each with the one Pair panels further on;
/// Halves: a tile is 128 columns of D's left and right half each; Sums: the columns of D that it adds up to one number of a row; 0: it makes no sums.
/// </summary>
public sealed record EpilogueForm(int Pair = 0, bool Halves = false, int Sums = 0);

/// <summary>A kernel whose work can be done on the tiles of the product before it, or a part of its work: a cross entropy's sums.</summary>
/// <param name="Name">Of the kernel of both.</param>
/// <param name="Places">The kernel's arguments that are D, from left to right (<see cref="EpilogueFusion"/>); none for a cross entropy, whose launch makes its
/// product itself.</param>
public sealed record ProductEpilogue(string Name, GemmLayout Layout, Kernel Kernel, EpilogueForm Form, EquatableArray<int> Places);
