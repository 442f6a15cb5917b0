using Graph.Finetune.Training;
using Graph.Runtime.Planning;
using Xunit;

namespace Graph.Finetune.Tests.Training;

public class HostRequestTests
{
    /// <summary>What the machine had to give when a plan was made is what the plan is held to, however much there is later.</summary>
    [Fact]
    public void Require_OfAMeasuredMachine_HoldsToWhatItGave()
    {
        var request = new HostRequest { Given = 1L << 50 };
        Assert.Equal(request, request.Measured());
        Assert.Equal(1L << 50, request.Choices(DeviceProfile.Find("h200")!).Bytes);
        request.Require(1L << 50);
        Assert.Contains("this machine has", Assert.Throws<FinetuneException>(() => request.Require((1L << 50) + 1)).Message);
        Assert.InRange(new HostRequest().Measured().Given!.Value, 1, 1L << 50);
    }

    [Fact]
    public void Require_MoreThanAsked_NamesTheOption() =>
        Assert.Contains("--host-memory is", Assert.Throws<FinetuneException>(() => (new HostRequest(1 << 20) { Given = 1L << 50 }).Require(1 << 21)).Message);
}
