using Graph.Runtime.Cuda;
using Graph.Runtime.Devices;
using Xunit;

namespace Graph.Runtime.Tests.Cuda;

public class DriverErrorTests
{
    // Exit code 4 wherever the driver finds no memory: page-locked memory and graphs too.
    [Theory, InlineData("cuMemHostAlloc of 5 bytes"), InlineData("cuGraphInstantiate")]
    public void Check_OutOfMemory_IsAMemoryError(string call) =>
        Assert.Contains(call, Assert.Throws<DeviceMemoryException>(() => Driver.Check(Driver.OutOfMemory, call)).Message);
}
