using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using Graph.Generator.IR;
using Graph.Generator.Passes;

namespace Graph.Generator.Cuda;

/// <summary>A row kernel as the epilogue of a product, for Templates/gemm_sm90.cu: the same expressions on the same stored values, so the same bits as the two launches give.</summary>
public static class EpilogueText
{
    /// <summary>Bytes of 128 rows x 64 columns of a matrix beside the product, a part of a stage.</summary>
    const int BoxBytes = 128 * 64 * 2;

    /// <summary>Matrices that the row kernel reads besides the product.</summary>
    public static IReadOnlyList<string> Beside(ProductEpilogue epilogue) =>
        ((RowBody)epilogue.Row.Body).Inputs.Select(i => i.Name).Where(n => !epilogue.FromProduct.Contains(n)).ToArray();

    /// <summary>The struct holds the outputs in the row kernel's order, a pointer and a pitch each as a cell of 16 bytes.</summary>
    public static string Print(ProductEpilogue epilogue)
    {
        var body = (RowBody)epilogue.Row.Body;
        var beside = Beside(epilogue);
        var text = new StringBuilder("#define BOX_BYTES ").Append(NumberText.Int(BoxBytes)).Append("\n\n// The outputs of ").Append(epilogue.Row.Name).Append(".\nstruct Epilogue\n{\n");
        foreach (var output in body.Outputs) text.Append("    elem* ").Append(output.Name).Append("_rows; int ").Append(output.Name).Append("_pitch;\n");
        text.Append("};\n\n");

        text.Append("// ").Append(epilogue.Row.Name).Append(" on 8 columns of a row; ").Append(string.Join(" and ", epilogue.FromProduct)).Append(epilogue.Paired ? ": the product's left and right half.\n" : ": the product.\n");
        text.Append("__device__ __forceinline__ void epilogue(const Epilogue& arguments, uint32_t beside, int64 row, int column, ").Append(string.Join(", ", epilogue.FromProduct.Select(n => "const float (&" + n + ")[8]"))).Append(")\n{\n");
        for (var i = 0; i < beside.Count; i++)
            text.Append("    float ").Append(beside[i]).Append("[8];\n    unpack8(load_shared4(beside").Append(i == 0 ? "" : " + " + NumberText.Int(i) + " * BOX_BYTES").Append("), ").Append(beside[i]).Append(");\n");
        foreach (var statement in body.Statements)
            text.Append(statement switch
            {
                RowStatement.Let let => RowKernelText.Let(let, n => n + "[j]"),
                RowStatement.Store store => "    store8(" + Place(store.Name) + ", " + store.Name + ");\n" + RowKernelText.Rounded(body, store),
                _ => throw new InvalidOperationException("epilogue: " + epilogue.Name + " has a statement that needs a whole row"),
            });
        return text.Append("}\n\n").ToString();
    }

    static string Place(string name) => "arguments." + name + "_rows + row * arguments." + name + "_pitch + column";
}
