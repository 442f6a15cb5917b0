using System.Runtime.InteropServices;

namespace Graph.Runtime.Cuda;

/// <summary>CUlaunchConfig of cuda.h: 56 bytes on 64-bit machines.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct LaunchConfiguration
{
    uint gridX, gridY, gridZ, blockX, blockY, blockZ, sharedBytes;
    nint stream;
    LaunchAttribute* attributes;
    uint attributeCount;

    /// <summary>
    /// Lets a kernel's blocks take their places as soon as every block of the kernel before has allowed it (griddepcontrol.launch_dependents) or ended;
    /// they wait for its end and its stores themselves (griddepcontrol.wait). What was launched before must be a kernel.
    /// </summary>
    internal static int LaunchEarly(nint function, uint grid, uint block, uint shared, CudaStream on, void** parameters)
    {
        var attribute = new LaunchAttribute { Id = LaunchAttribute.ProgrammaticStreamSerialization, Value = 1 };
        var configuration = new LaunchConfiguration
        {
            gridX = grid, gridY = 1, gridZ = 1, blockX = block, blockY = 1, blockZ = 1, sharedBytes = shared, stream = on.DangerousGetHandle(), attributes = &attribute,
            attributeCount = 1,
        };
        return Driver.LaunchKernelEx(&configuration, function, parameters, null);
    }
}

/// <summary>CUlaunchAttribute of cuda.h: 72 bytes, of which the value takes 64.</summary>
[StructLayout(LayoutKind.Explicit, Size = 72)]
internal struct LaunchAttribute
{
    internal const int ProgrammaticStreamSerialization = 6;

    [FieldOffset(0)] internal int Id;
    [FieldOffset(8)] internal int Value;
}
