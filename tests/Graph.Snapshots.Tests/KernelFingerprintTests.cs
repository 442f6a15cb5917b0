using Graph.Runtime.Cuda;
using Xunit;

namespace Graph.Snapshots.Tests;

public sealed class KernelFingerprintTests
{
    [Theory]
    [InlineData("int a; // why\nint  b;", "int a;\n/* other\nwords */ int b;")]
    [InlineData("asm(\"a; // kept\");", "asm( \"a; // kept\" ) ;")]
    public void Of_OnlyCommentsAndSpaceDiffer_IsEqual(string a, string b) => Assert.Equal(KernelFingerprint.Of(a), KernelFingerprint.Of(b));

    [Theory]
    [InlineData("int a;", "int b;")]
    [InlineData("asm(\"a b\");", "asm(\"ab\");")]
    [InlineData("asm(\"// a\");", "asm(\"// b\");")]
    [InlineData("f(\"\\\"\"); // x", "f(\"\\\\\"); // x")]
    public void Of_CodeDiffers_Differs(string a, string b) => Assert.NotEqual(KernelFingerprint.Of(a), KernelFingerprint.Of(b));
}
