using System.Linq;
using Graph.Runtime.Cuda;
using Xunit;

namespace Graph.Runtime.Tests.Cuda;

public sealed class CompilerLogTests
{
    // As ptxas 12.4 prints it: entries in its own order, a called function's frame after its caller's lines.
    const string Log = """
        ptxas warning : Local memory used for function 'attention_dq', size of stack frame: 544 bytes
        ptxas warning : Registers are spilled to local memory in function 'attention_dq', 660 bytes spill stores, 824 bytes spill loads
        ptxas info    : (C7508) Potential Performance Loss: 'setmaxnreg' ignored; unable to determine register count at entry.
        ptxas info    : (C7511) Potential Performance Loss: wgmma.mma_async instructions are serialized due to the presence of Extern calls in the function 'attention_dq'
        ptxas info    : 0 bytes gmem
        ptxas info    : Compiling entry function 'attention_delta' for 'sm_80'
        ptxas info    : Function properties for attention_delta
        ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
        ptxas info    : Used 12 registers, used 1 barriers, 64 bytes smem, 360 bytes cmem[0], 8 bytes cmem[2]
        ptxas info    : Compiling entry function 'attention_dq' for 'sm_80'
        ptxas info    : Function properties for attention_dq
        ptxas         .     544 bytes stack frame, 660 bytes spill stores, 824 bytes spill loads
        ptxas info    : Used 255 registers, 544 bytes cumulative stack size, 364 bytes cmem[0]
        ptxas info    : Function properties for _Z6helperPfi
        ptxas         .     600 bytes stack frame, 40 bytes spill stores, 8 bytes spill loads
        """;

    [Fact]
    public void Functions_TwoEntriesAndAHelper_CountsTheHelperWithItsCaller() => Assert.Equal(
        [new FunctionUsage("attention_delta", 12, 64, 0, 0, 0), new FunctionUsage("attention_dq", 255, 0, 600, 700, 832)],
        CompilerLog.Functions(Log));

    [Fact]
    public void Warnings_SpillsAndIgnoredHints_AreEachListed()
    {
        var warnings = CompilerLog.Warnings(Log);
        Assert.Equal(4, warnings.Count);
        Assert.Equal([false, false, true, true], warnings.Select(w => w.Contains("(C75")));
    }

    [Fact]
    public void EmptyLog_HasNothing()
    {
        Assert.Empty(CompilerLog.Functions(""));
        Assert.Empty(CompilerLog.Warnings("ptxas info    : 0 bytes gmem\n"));
    }
}
