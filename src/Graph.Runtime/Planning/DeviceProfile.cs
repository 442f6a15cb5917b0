using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;

namespace Graph.Runtime.Planning;

/// <summary>
/// What a device does in a second and what it takes for itself: all that a prediction needs to know of it.
/// Rates are what one operation alone reaches; <see cref="LaunchTimes"/> has
/// the share of them that each kind of launch
/// gets in a step.
/// </summary>
/// <param name="Name">As <c>--device-profile</c> takes it, or the device's own.</param>
/// <param name="Act">How it stores activations.</param>
/// <param name="MemoryBytes">Of its memory, what CUDA can give out.</param>
/// <param name="Tflops">10^12 operations a second of a large square product of activations.</param>
/// <param name="Gbps">10^9 bytes a second, read and written, of a copy in its memory.</param>
/// <param name="LaunchMicroseconds">What a launch of a graph takes beside its work.</param>
/// <param name="HostToDeviceGbps">10^9 bytes a second of a copy from page-locked host memory.</param>
/// <param name="DeviceToHostGbps">And to it.</param>
/// <param name="DriverBytes">What a process takes before it allocates anything: context, modules, the library's code.</param>
public sealed record DeviceProfile(string Name, ActType Act, long MemoryBytes, int Multiprocessors, double Tflops, double Gbps, double LaunchMicroseconds,
    double HostToDeviceGbps, double DeviceToHostGbps, long DriverBytes)
{
    /// <summary>
    /// Of a data sheet's peak, what a square product and a copy reach: 789 of 989 TFLOP/s and 4.54 of 4.8 TB/s on an H200. A copy over PCIe reaches about 0.85 of its lanes.
    /// </summary>
    const double ProductShare = 0.8, CopyShare = 0.945, BusShare = 0.85;

    /// <summary>
    /// Profiles that need no machine. The H200's figures are measured (docs/performance.md), the others follow from data sheets:
    /// dense TFLOP/s of 16-bit products with fp32 sums, memory, PCIe lanes. Measured on a machine, the device's own
    /// figures replace them.
    /// </summary>
    public static IReadOnlyList<DeviceProfile> All { get; } =
    [
        DataSheet("t4", ActType.F16, 14.56, 40, 65, 320, 15.75, 160),
        DataSheet("l4", ActType.Bf16, 22.05, 58, 121, 300, 31.5, 250),
        DataSheet("4090", ActType.Bf16, 23.5, 128, 165, 1008, 31.5, 330),
        DataSheet("a100-40", ActType.Bf16, 39.4, 108, 312, 1555, 31.5, 430),
        DataSheet("a100", ActType.Bf16, 79.2, 108, 312, 2039, 31.5, 430),
        DataSheet("h100", ActType.Bf16, 79.2, 132, 989, 3350, 63, 540),
        new("h200", ActType.Bf16, Gib(139.8), 132, 789, 4540, 3, 55, 55, 560L << 20),
    ];

    /// <summary>Null: there is no such profile.</summary>
    public static DeviceProfile? Find(string name) => All.FirstOrDefault(p => p.Name == name);

    /// <summary>
    /// Of a bus, what copies in a step reach, with gaps between them; and of a copy's time, what it costs the launches beside it. On an H200 steps with
    /// 86 to 690 ms of copies took 4 to 7 % of that longer than without, and waited as if the
    /// bus were a tenth slower.
    /// </summary>
    const double StepBusShare = 0.9, Interference = 0.05;

    /// <summary>Milliseconds of a copy between other launches of a step.</summary>
    public double CopyMilliseconds(Lane lane, long bytes) => bytes / (StepBusShare * (lane == Lane.ToHost ? DeviceToHostGbps : HostToDeviceGbps)) / 1e6;

    /// <summary>Milliseconds by which launches beside a copy take longer.</summary>
    public double CopySlows(Lane lane, long bytes) => Interference * CopyMilliseconds(lane, bytes);

    /// <summary>Activations are stored in 16 bits and kernels run as CUDA graphs; else it is a CPU.</summary>
    public bool IsGpu => Act != ActType.F32;

    /// <summary>A machine's cores, guessed: 30 GFLOP/s a core, 20 GB/s. Only the order of plans depends on it.</summary>
    public static DeviceProfile Cpu(long memoryBytes, int cores) => new("cpu", ActType.F32, memoryBytes, 1, 0.03 * cores, 20, 5, 20, 20, 0);

    static DeviceProfile DataSheet(string name, ActType act, double gib, int multiprocessors, double tflops, double gbps, double busGbps, int driverMib) =>
        new(name, act, Gib(gib), multiprocessors, ProductShare * tflops, CopyShare * gbps, 3, BusShare * busGbps, BusShare * busGbps, (long)driverMib << 20);

    static long Gib(double gib) => (long)(gib * (1L << 30));
}
