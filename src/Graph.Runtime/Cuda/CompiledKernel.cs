using System.Collections.Generic;

namespace Graph.Runtime.Cuda;

/// <summary>Machine code of one architecture, or PTX that the driver compiles when it is loaded.</summary>
public enum ImageKind { Cubin, Ptx }

/// <summary>What one kernel of a text uses, as ptxas reports it. Empty for PTX: there was no ptxas.</summary>
/// <param name="Registers">Per thread.</param>
/// <param name="SharedBytes">Static shared memory per block.</param>
/// <param name="StackBytes">Local memory per thread, spills and indexed arrays.</param>
/// <param name="SpillStoreBytes">Bytes of registers stored to local memory, per thread.</param>
/// <param name="SpillLoadBytes">Bytes loaded back.</param>
public sealed record FunctionUsage(string Name, int Registers, int SharedBytes, int StackBytes, int SpillStoreBytes, int SpillLoadBytes);

/// <summary>A kernel text after NVRTC.</summary>
/// <param name="Architecture">What it was compiled for: "sm_90a", or "compute_80" for PTX.</param>
/// <param name="Log">NVRTC's and ptxas's whole log.</param>
/// <param name="Warnings">Lines of the log that say the code is slower than it reads: spills, local memory, an ignored setmaxnreg (C7508), serialised wgmma (C7511, C7515).</param>
public sealed record CompiledKernel(string Architecture, ImageKind Kind, byte[] Image, string Log, IReadOnlyList<FunctionUsage> Functions, IReadOnlyList<string> Warnings);
