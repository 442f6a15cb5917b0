using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.InteropServices;
using System.Text;
using Graph.Runtime.Devices;

namespace Graph.Runtime.Cuda;

/// <summary>
/// CUDA C text → machine code, in this process. Ask for the real architecture ("sm_90a" → cubin):
/// PTX of the same text, compiled later by the driver, was measured at less than half the speed.
/// "compute_80" gives PTX, for running one target's text on another target's GPU. Safe to call from several threads.
/// </summary>
public static partial class Nvrtc
{
    const string Lib = NativeLibraries.NvrtcName;

    /// <summary>
    /// Options of every compilation, besides the architecture. Functions without an execution space are device functions; ptxas reports registers, spills and ignored hints.
    /// </summary>
    public static readonly IReadOnlyList<string> DefaultOptions =
        ["-std=c++17", "-default-device", "--ptxas-options=--verbose", "--ptxas-options=--warn-on-spills", "--ptxas-options=--warn-on-local-memory-usage"];

    static Nvrtc() => NativeLibraries.Register();

    /// <summary>Whether the library is there; nothing throws.</summary>
    public static bool Found => NativeLibraries.Nvrtc.Value != 0;

    /// <summary>For example "12.4": part of a cached kernel's key.</summary>
    /// <exception cref="DeviceException">NVRTC was not found.</exception>
    public static string Version()
    {
        Require();
        Check(GetVersion(out var major, out var minor), "nvrtcVersion");
        return $"{major}.{minor}";
    }

    /// <summary>File it was loaded from, or null.</summary>
    public static string? FilePath() => Found ? NativeLibraries.PathOf(OperatingSystem.IsWindows() ? "nvrtc64" : "libnvrtc.so") : null;

    /// <summary>Compute capabilities it can compile for: 75 is 7.5.</summary>
    /// <exception cref="DeviceException">NVRTC was not found.</exception>
    public static unsafe IReadOnlyList<int> SupportedCapabilities()
    {
        Require();
        Check(GetNumSupportedArchs(out var count), "nvrtcGetNumSupportedArchs");
        var capabilities = new int[count];
        fixed (int* pointer = capabilities) Check(GetSupportedArchs(pointer), "nvrtcGetSupportedArchs");
        return capabilities;
    }

    /// <summary>Compiles one text.</summary>
    /// <param name="architecture">"sm_90a" for a cubin, "compute_80" for PTX.</param>
    /// <param name="name">File name in messages.</param>
    /// <exception cref="DeviceException">NVRTC was not found, or the text does not compile; the message has the compiler's first errors.</exception>
    public static unsafe CompiledKernel Compile(string text, string architecture, IReadOnlyList<string>? options = null, string name = "kernels.cu")
    {
        Require();
        var kind = architecture.StartsWith("compute_", StringComparison.Ordinal) ? ImageKind.Ptx : ImageKind.Cubin;
        var all = (options ?? DefaultOptions).Prepend("--gpu-architecture=" + architecture).Select(Marshal.StringToCoTaskMemUTF8).ToArray();
        nint program = 0;
        try
        {
            Check(CreateProgram(out program, text, name, 0, 0, 0), "nvrtcCreateProgram");
            int result;
            fixed (nint* pointer = all) result = CompileProgram(program, all.Length, pointer);
            Check(GetProgramLogSize(program, out var logSize), "nvrtcGetProgramLogSize");
            var logBytes = new byte[(int)logSize];
            fixed (byte* pointer = logBytes) Check(GetProgramLog(program, pointer), "nvrtcGetProgramLog");
            var log = Encoding.UTF8.GetString(logBytes).TrimEnd('\0');
            if (result != 0) throw new DeviceException($"nvrtc: {name} does not compile for {architecture}: {Describe(result, log)}");

            Check(kind == ImageKind.Cubin ? GetCubinSize(program, out var size) : GetPtxSize(program, out size), "nvrtcGetCUBINSize");
            var image = new byte[(int)size];
            fixed (byte* pointer = image) Check(kind == ImageKind.Cubin ? GetCubin(program, pointer) : GetPtx(program, pointer), "nvrtcGetCUBIN");
            return new CompiledKernel(architecture, kind, image, log, CompilerLog.Functions(log), CompilerLog.Warnings(log));
        }
        finally
        {
            if (program != 0) DestroyProgram(ref program);
            foreach (var option in all) Marshal.FreeCoTaskMem(option);
        }
    }

    // The first errors say most; a text that lacks one name can report hundreds.
    static string Describe(int result, string log)
    {
        var errors = log.Split('\n').Where(line => line.Contains("error", StringComparison.OrdinalIgnoreCase)
            || line.Contains("fatal", StringComparison.OrdinalIgnoreCase)).Take(5).ToArray();
        return errors.Length > 0 ? string.Join(" | ", errors.Select(e => e.Trim())) : log.Trim().Length > 0 ? log.Trim() : ErrorText(result);
    }

    static void Require() => NativeLibraries.Require(NativeLibraries.Nvrtc, NativeSearch.Nvrtc(Environment.GetEnvironmentVariable));

    static void Check(int result, string call)
    {
        if (result != 0) throw new DeviceException($"nvrtc: {call} failed with {ErrorText(result)}");
    }

    static unsafe string ErrorText(int result) => Marshal.PtrToStringUTF8((nint)GetErrorString(result)) ?? $"error {result}";

    [LibraryImport(Lib, EntryPoint = "nvrtcVersion")] private static partial int GetVersion(out int major, out int minor);
    [LibraryImport(Lib, EntryPoint = "nvrtcGetErrorString")] private static unsafe partial byte* GetErrorString(int result);
    [LibraryImport(Lib, EntryPoint = "nvrtcGetNumSupportedArchs")] private static partial int GetNumSupportedArchs(out int count);
    [LibraryImport(Lib, EntryPoint = "nvrtcGetSupportedArchs")] private static unsafe partial int GetSupportedArchs(int* capabilities);
    [LibraryImport(Lib, EntryPoint = "nvrtcCreateProgram", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int CreateProgram(out nint program, string text, string name, int headerCount, nint headers, nint includeNames);
    [LibraryImport(Lib, EntryPoint = "nvrtcDestroyProgram")] private static partial int DestroyProgram(ref nint program);
    [LibraryImport(Lib, EntryPoint = "nvrtcCompileProgram")] private static unsafe partial int CompileProgram(nint program, int optionCount, nint* options);
    [LibraryImport(Lib, EntryPoint = "nvrtcGetProgramLogSize")] private static partial int GetProgramLogSize(nint program, out nuint bytes);
    [LibraryImport(Lib, EntryPoint = "nvrtcGetProgramLog")] private static unsafe partial int GetProgramLog(nint program, byte* log);
    [LibraryImport(Lib, EntryPoint = "nvrtcGetCUBINSize")] private static partial int GetCubinSize(nint program, out nuint bytes);
    [LibraryImport(Lib, EntryPoint = "nvrtcGetCUBIN")] private static unsafe partial int GetCubin(nint program, byte* image);
    [LibraryImport(Lib, EntryPoint = "nvrtcGetPTXSize")] private static partial int GetPtxSize(nint program, out nuint bytes);
    [LibraryImport(Lib, EntryPoint = "nvrtcGetPTX")] private static unsafe partial int GetPtx(nint program, byte* text);
}
