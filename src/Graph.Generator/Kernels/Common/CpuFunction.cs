using Graph.Generator.IR;

namespace Graph.Generator.Kernels;

/// <summary>A traced function of attention or of the cross entropy as a struct, which the runtime's routines take as a generic argument.</summary>
static class CpuFunction
{
    const string Vector = "System.Numerics.Vector<float>";

    public static string Name(Kernel kernel) => kernel.Name + "_function";

    /// <summary>Variables of the function: s, distance and head, which is one number for all lanes.</summary>
    public static string Print(string name, Expr function)
    {
        var value = function.Substitute(v => Expr.Var(v == "head" ? "V(head)" : v));
        string Method(string head, params (string, Expr)[] results) =>
            "        [System.Runtime.CompilerServices.MethodImpl(System.Runtime.CompilerServices.MethodImplOptions.AggressiveInlining)]\n"
            + "        public static " + head + "\n        {\n"
            + ExprSource.Body(results, ExprLanguage.CSharp, "var", "            ") + "        }\n";
        return "\n    // " + ExprText.Print(function) + "\n    readonly struct " + name + "_function : Graph.Runtime.Cpu.IScore\n    {\n"
            + Method(Vector + " Value(" + Vector + " s, " + Vector + " distance, float head)", ("return ", value)) + "\n"
            + Method("void ValueAndDerivative(" + Vector + " s, " + Vector + " distance, float head, out " + Vector + " z, out " + Vector + " dz)",
                ("z = ", value), ("dz = ", value.Derivative("s"))) + "    }\n";
    }
}
