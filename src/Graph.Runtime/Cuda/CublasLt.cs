using System;
using System.Runtime.InteropServices;
using Graph.Runtime.Devices;
using Microsoft.Win32.SafeHandles;

namespace Graph.Runtime.Cuda;

/// <summary>cuBLASLt 12 and 13: matrix products with the algorithm chosen by the caller. Matrices are column-major there.</summary>
internal static partial class CublasLt
{
    const string Lib = NativeLibraries.CublasLtName;

    internal const int TypeF32 = 0, TypeF16 = 2, TypeBf16 = 14, ComputeF32 = 68;
    internal const int DescTransposeA = 3, DescTransposeB = 4, Transpose = 1, NoTranspose = 0;
    internal const int LayoutBatchCount = 5, LayoutBatchStride = 6;
    internal const int PreferWorkspaceBytes = 1, PreferReductionSchemes = 3, PreferAlignmentA = 5, PreferAlignmentB = 6, PreferAlignmentC = 7, PreferAlignmentD = 8;

    static CublasLt() => NativeLibraries.Register();

    internal static bool Found => NativeLibraries.CublasLt.Value != 0;

    /// <summary>130002 → "13.0.2"; null when the library is not there.</summary>
    internal static string? Version()
    {
        if (!Found) return null;
        var version = (int)GetVersion();
        return $"{version / 10000}.{version / 100 % 100}.{version % 100}";
    }

    internal static string? FilePath() => Found ? NativeLibraries.PathOf(OperatingSystem.IsWindows() ? "cublasLt64" : "libcublasLt.so") : null;

    internal static unsafe void Check(int status, string call)
    {
        if (status == 0) return;
        const int allocationFailed = 3;
        var sentence = $"cublaslt: {call} failed with {Marshal.PtrToStringUTF8((nint)GetStatusString(status)) ?? $"status {status}"}";
        throw status == allocationFailed ? new DeviceMemoryException(sentence) : new DeviceException(sentence);
    }

    [LibraryImport(Lib, EntryPoint = "cublasLtGetVersion")] private static partial nuint GetVersion();
    [LibraryImport(Lib, EntryPoint = "cublasLtGetStatusString")] private static unsafe partial byte* GetStatusString(int status);
    [LibraryImport(Lib, EntryPoint = "cublasLtCreate")] internal static partial int Create(out nint handle);
    [LibraryImport(Lib, EntryPoint = "cublasLtDestroy")] internal static partial int Destroy(nint handle);
    [LibraryImport(Lib, EntryPoint = "cublasLtMatmulDescCreate")] internal static partial int MatmulDescCreate(out nint desc, int computeType, int scaleType);
    [LibraryImport(Lib, EntryPoint = "cublasLtMatmulDescDestroy")] internal static partial int MatmulDescDestroy(nint desc);
    [LibraryImport(Lib, EntryPoint = "cublasLtMatmulDescSetAttribute")] internal static partial int MatmulDescSetAttribute(nint desc, int attribute, in int value, nuint bytes);
    [LibraryImport(Lib, EntryPoint = "cublasLtMatrixLayoutCreate")] internal static partial int MatrixLayoutCreate(out nint layout, int type, ulong rows, ulong columns,
        long leadingDimension);
    [LibraryImport(Lib, EntryPoint = "cublasLtMatrixLayoutSetAttribute")] internal static unsafe partial int MatrixLayoutSetAttribute(nint layout,
        int attribute, void* value, nuint bytes);
    [LibraryImport(Lib, EntryPoint = "cublasLtMatrixLayoutDestroy")] internal static partial int MatrixLayoutDestroy(nint layout);
    [LibraryImport(Lib, EntryPoint = "cublasLtMatmulPreferenceCreate")] internal static partial int PreferenceCreate(out nint preference);
    [LibraryImport(Lib, EntryPoint = "cublasLtMatmulPreferenceDestroy")] internal static partial int PreferenceDestroy(nint preference);
    [LibraryImport(Lib, EntryPoint = "cublasLtMatmulPreferenceSetAttribute")] internal static unsafe partial int PreferenceSetAttribute(nint preference,
        int attribute, void* value, nuint bytes);
    [LibraryImport(Lib, EntryPoint = "cublasLtMatmulAlgoGetHeuristic")]
    internal static unsafe partial int GetHeuristic(CublasLtHandle handle, nint desc, nint a, nint b, nint c, nint d, nint preference,
        int requested, MatmulHeuristic* results, out int returned);
    [LibraryImport(Lib, EntryPoint = "cublasLtMatmul")]
    internal static unsafe partial int Matmul(CublasLtHandle handle, nint desc, float* alpha, nint a, nint aLayout, nint b, nint bLayout, float* beta, nint c,
        nint cLayout, nint d, nint dLayout,
        MatmulAlgorithm* algorithm, nint workspace, nuint workspaceBytes, CudaStream stream);
}

/// <summary>cublasLtMatmulAlgo_t: 64 opaque bytes, aligned to 8.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct MatmulAlgorithm
{
    internal fixed ulong Data[8];
}

/// <summary>cublasLtMatmulHeuristicResult_t: 96 bytes.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct MatmulHeuristic
{
    internal MatmulAlgorithm Algorithm;
    internal nuint WorkspaceBytes;
    internal int State;
    internal float Waves;
    internal fixed int Reserved[4];
}

internal sealed class CublasLtHandle : SafeHandleZeroOrMinusOneIsInvalid
{
    public CublasLtHandle() : base(true) { }

    /// <exception cref="DeviceException">The library does not start, for example because it is newer than the driver.</exception>
    internal static CublasLtHandle Create()
    {
        CublasLt.Check(CublasLt.Create(out var raw), "cublasLtCreate");
        var created = new CublasLtHandle();
        created.SetHandle(raw);
        return created;
    }

    protected override bool ReleaseHandle() => CublasLt.Destroy(handle) == 0;
}
