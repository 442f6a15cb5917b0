using System;
using System.Runtime.InteropServices;
using Graph.Runtime.Devices;

namespace Graph.Runtime.Cuda;

/// <summary>
/// The CUDA driver API (libcuda), as far as the runtime uses it. Entry points carry the version suffix
/// that cuda.h gives them since CUDA 12; a driver of 12.0 or later has all of them.
/// Functions return a CUresult; <see cref="Check"/> turns a failure into a sentence.
/// </summary>
internal static partial class Driver
{
    const string Lib = NativeLibraries.DriverName;

    internal const int OutOfMemory = 2, StubLibrary = 34, NoDevice = 100;

    internal const int AttributeMaxSharedPerBlockOptin = 97, AttributeMultiprocessors = 16, AttributeMajor = 75, AttributeMinor = 76;
    internal const int FunctionSharedBytes = 1, FunctionLocalBytes = 3, FunctionRegisters = 4, FunctionMaxDynamicShared = 8;
    internal const uint StreamNonBlocking = 1, EventDefault = 0, EventDisableTiming = 2,
        EventRecordExternal = 1, HostAllocPortable = 1, HostRegisterPortable = 1, HostRegisterMapped = 2;

    /// <summary>Calls that would break another thread's capture stay allowed: cuBLASLt and lazy module loading may make them inside ours.</summary>
    internal const int CaptureRelaxed = 2;

    static Driver() => NativeLibraries.Register();

    /// <summary>Loads and starts the driver.</summary>
    /// <exception cref="DeviceException">There is no driver, or it is older than CUDA 12.0, or it finds no GPU.</exception>
    internal static void Open()
    {
        if (NativeLibraries.Driver.Value == 0) throw new DeviceException(NoDriver);
        Check(DriverGetVersion(out var version), "cuDriverGetVersion");
        if (version < 12000)
            throw new DeviceException($"the NVIDIA driver supports CUDA {VersionText(version)}, but 12.0 or later is needed; update the driver or use --device cpu");
        Check(Init(0), "cuInit");
    }

    internal static string NoDriver =>
        $"no NVIDIA driver ({NativeSearch.Driver().Candidates[0]}) was found; install the driver for this GPU or use --device cpu";

    /// <summary>12040 → "12.4".</summary>
    internal static string VersionText(int version) => $"{version / 1000}.{version % 1000 / 10}";

    /// <summary>Whether a captured graph can start a kernel before the one that it depends on has ended: CUDA 12.3.</summary>
    internal static bool CapturesEarlyLaunches()
    {
        Check(DriverGetVersion(out var version), "cuDriverGetVersion");
        return version >= 12030;
    }

    /// <exception cref="DeviceMemoryException">The call found no memory, on the device or page-locked.</exception>
    /// <exception cref="DeviceException">The call failed in another way.</exception>
    internal static void Check(int result, string call)
    {
        if (result == OutOfMemory) throw new DeviceMemoryException($"cuda: {call} failed with CUDA_ERROR_OUT_OF_MEMORY; ask for less, or free memory of other programs");
        if (result != 0) throw new DeviceException($"cuda: {call} failed with {Name(result)}: {Text(result)}");
    }

    static unsafe string Name(int result) => GetErrorName(result, out var text) == 0 ? Marshal.PtrToStringUTF8((nint)text)! : $"error {result}";

    static unsafe string Text(int result) => GetErrorString(result, out var text) == 0 ? Marshal.PtrToStringUTF8((nint)text)! : "the driver has no text for it";

    [LibraryImport(Lib, EntryPoint = "cuInit")] internal static partial int Init(uint flags);
    [LibraryImport(Lib, EntryPoint = "cuDriverGetVersion")] internal static partial int DriverGetVersion(out int version);
    [LibraryImport(Lib, EntryPoint = "cuGetErrorName")] private static unsafe partial int GetErrorName(int result, out byte* text);
    [LibraryImport(Lib, EntryPoint = "cuGetErrorString")] private static unsafe partial int GetErrorString(int result, out byte* text);

    [LibraryImport(Lib, EntryPoint = "cuDeviceGetCount")] internal static partial int DeviceGetCount(out int count);
    [LibraryImport(Lib, EntryPoint = "cuDeviceGet")] internal static partial int DeviceGet(out int device, int ordinal);
    [LibraryImport(Lib, EntryPoint = "cuDeviceGetName")] internal static unsafe partial int DeviceGetName(byte* name, int length, int device);
    [LibraryImport(Lib, EntryPoint = "cuDeviceGetAttribute")] internal static partial int DeviceGetAttribute(out int value, int attribute, int device);
    [LibraryImport(Lib, EntryPoint = "cuDeviceGetPCIBusId")] internal static unsafe partial int DeviceGetPciBusId(byte* id, int length, int device);
    [LibraryImport(Lib, EntryPoint = "cuDeviceTotalMem_v2")] internal static partial int DeviceTotalMem(out nuint bytes, int device);
    [LibraryImport(Lib, EntryPoint = "cuDevicePrimaryCtxRetain")] internal static partial int PrimaryContextRetain(out nint context, int device);
    [LibraryImport(Lib, EntryPoint = "cuDevicePrimaryCtxRelease_v2")] internal static partial int PrimaryContextRelease(int device);
    [LibraryImport(Lib, EntryPoint = "cuCtxSetCurrent")] internal static partial int ContextSetCurrent(nint context);

    [LibraryImport(Lib, EntryPoint = "cuMemGetInfo_v2")] internal static partial int MemGetInfo(out nuint free, out nuint total);
    [LibraryImport(Lib, EntryPoint = "cuMemAlloc_v2")] internal static partial int MemAlloc(out nint address, nuint bytes);
    [LibraryImport(Lib, EntryPoint = "cuMemFree_v2")] internal static partial int MemFree(nint address);
    [LibraryImport(Lib, EntryPoint = "cuMemHostAlloc")] internal static partial int MemHostAlloc(out nint address, nuint bytes, uint flags);
    [LibraryImport(Lib, EntryPoint = "cuMemHostRegister_v2")] internal static partial int MemHostRegister(nint address, nuint bytes, uint flags);
    [LibraryImport(Lib, EntryPoint = "cuMemHostUnregister")] internal static partial int MemHostUnregister(nint address);
    [LibraryImport(Lib, EntryPoint = "cuMemFreeHost")] internal static partial int MemFreeHost(nint address);
    [LibraryImport(Lib, EntryPoint = "cuMemcpyHtoDAsync_v2")] internal static partial int CopyToDevice(nint destination, nint source, nuint bytes, CudaStream stream);
    [LibraryImport(Lib, EntryPoint = "cuMemcpyDtoHAsync_v2")] internal static partial int CopyToHost(nint destination, nint source, nuint bytes, CudaStream stream);
    /// <summary>Between any two addresses of the unified space: device memory, or page-locked host memory.</summary>
    [LibraryImport(Lib, EntryPoint = "cuMemcpyAsync")] internal static partial int Copy(nint destination, nint source, nuint bytes, CudaStream stream);
    [LibraryImport(Lib, EntryPoint = "cuMemcpy2DAsync_v2")] internal static partial int Copy2D(in Copy2DArguments arguments, CudaStream stream);
    [LibraryImport(Lib, EntryPoint = "cuMemsetD2D8Async")] internal static partial int Fill2D(nint destination, nuint pitch, byte value, nuint width, nuint height,
        CudaStream stream);
    [LibraryImport(Lib, EntryPoint = "cuMemsetD8Async")] internal static partial int Fill(nint destination, byte value, nuint bytes, CudaStream stream);

    [LibraryImport(Lib, EntryPoint = "cuStreamCreate")] internal static partial int StreamCreate(out nint stream, uint flags);
    [LibraryImport(Lib, EntryPoint = "cuStreamDestroy_v2")] internal static partial int StreamDestroy(nint stream);
    [LibraryImport(Lib, EntryPoint = "cuStreamSynchronize")] internal static partial int StreamSynchronize(CudaStream stream);
    [LibraryImport(Lib, EntryPoint = "cuStreamWaitEvent")] internal static partial int StreamWaitEvent(CudaStream stream, CudaEvent handle, uint flags);
    [LibraryImport(Lib, EntryPoint = "cuStreamBeginCapture_v2")] internal static partial int StreamBeginCapture(CudaStream stream, int mode);
    [LibraryImport(Lib, EntryPoint = "cuStreamEndCapture")] internal static partial int StreamEndCapture(CudaStream stream, out nint graph);

    [LibraryImport(Lib, EntryPoint = "cuEventCreate")] internal static partial int EventCreate(out nint handle, uint flags);
    [LibraryImport(Lib, EntryPoint = "cuEventDestroy_v2")] internal static partial int EventDestroy(nint handle);
    [LibraryImport(Lib, EntryPoint = "cuEventRecord")] internal static partial int EventRecord(CudaEvent handle, CudaStream stream);
    [LibraryImport(Lib, EntryPoint = "cuEventRecordWithFlags")] internal static partial int EventRecordWithFlags(CudaEvent handle, CudaStream stream, uint flags);
    [LibraryImport(Lib, EntryPoint = "cuEventSynchronize")] internal static partial int EventSynchronize(CudaEvent handle);
    [LibraryImport(Lib, EntryPoint = "cuEventElapsedTime")] internal static partial int EventElapsedTime(out float milliseconds, CudaEvent start, CudaEvent end);

    [LibraryImport(Lib, EntryPoint = "cuModuleLoadDataEx")] internal static unsafe partial int ModuleLoadData(out nint module, byte* image,
        uint options, int* names, nint* values);
    [LibraryImport(Lib, EntryPoint = "cuModuleUnload")] internal static partial int ModuleUnload(nint module);
    [LibraryImport(Lib, EntryPoint = "cuModuleGetFunction", StringMarshalling = StringMarshalling.Utf8)] internal static partial int ModuleGetFunction(out nint function,
        CudaModule module, string name);
    [LibraryImport(Lib, EntryPoint = "cuFuncGetAttribute")] internal static partial int FunctionGetAttribute(out int value, int attribute, nint function);
    [LibraryImport(Lib, EntryPoint = "cuFuncSetAttribute")] internal static partial int FunctionSetAttribute(nint function, int attribute, int value);
    /// <summary>dims and strides innermost first; strides in bytes, without the innermost.</summary>
    [LibraryImport(Lib, EntryPoint = "cuTensorMapEncodeTiled")]
    internal static unsafe partial int TensorMapEncodeTiled(TensorMap* map, int type, uint rank, nint address, ulong* extents, ulong* strides, uint* box, uint* steps,
        int interleave, int swizzle, int promotion, int fill);

    [LibraryImport(Lib, EntryPoint = "cuLaunchKernel")]
    internal static unsafe partial int LaunchKernel(nint function, uint gridX, uint gridY, uint gridZ, uint blockX, uint blockY, uint blockZ, uint sharedBytes,
        CudaStream stream, void** parameters, void** extra);

    [LibraryImport(Lib, EntryPoint = "cuLaunchKernelEx")]
    internal static unsafe partial int LaunchKernelEx(LaunchConfiguration* configuration, nint function, void** parameters, void** extra);

    [LibraryImport(Lib, EntryPoint = "cuGraphInstantiateWithFlags")] internal static partial int GraphInstantiate(out nint executable, nint graph, ulong flags);
    [LibraryImport(Lib, EntryPoint = "cuGraphLaunch")] internal static partial int GraphLaunch(CudaGraph executable, CudaStream stream);
    [LibraryImport(Lib, EntryPoint = "cuGraphDestroy")] internal static partial int GraphDestroy(nint graph);
    [LibraryImport(Lib, EntryPoint = "cuGraphExecDestroy")] internal static partial int GraphExecDestroy(nint executable);
}

/// <summary>CUDA_MEMCPY2D_v2 of cuda.h: 128 bytes on 64-bit machines; padding is where C puts it.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct Copy2DArguments
{
    internal const uint Host = 1, Device = 2;

    internal nuint SourceXInBytes, SourceY;
    internal uint SourceType;
    internal nint SourceHost, SourceDevice, SourceArray;
    internal nuint SourcePitch;
    internal nuint DestinationXInBytes, DestinationY;
    internal uint DestinationType;
    internal nint DestinationHost, DestinationDevice, DestinationArray;
    internal nuint DestinationPitch;
    internal nuint WidthInBytes, Height;
}
