using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using Graph.Generator.Schedules;

namespace Graph.Generator.Kernels;

/// <summary>A row kernel as the epilogue of a product, for gemm_sm90.cu: the same expressions on the same stored values, so the same bits as the two launches give.</summary>
public static class EpilogueText
{
    /// <summary>The kernels of a product and its epilogue.</summary>
    internal static IEnumerable<EmittedKernel> Kernels(Target target, ProductEpilogue epilogue)
    {
        if (!target.HasWgmma) yield break;
        var (literals, work) = epilogue.Kernel.Body switch
        {
            RopeBody rope => rope.Epilogue(),
            CrossEntropyBody loss => ("", loss.Epilogue()),
            AttentionBody { Part: AttentionPart.Delta } => ("", new[] { "@attention_delta_epilogue.cu" }),
            RowBody row => ("", new[] { Print(epilogue, row) }),
            _ => throw new InvalidOperationException("epilogue: " + epilogue.Kernel.Name + " has no text on the tiles of a product"),
        };
        yield return new EmittedKernel(GemmTiles.EpilogueInfo(epilogue.Name),
            new[] { Header(target, epilogue) + CudaText.Elem(target) + GemmTiles.EpilogueLiterals(epilogue.Name, epilogue.Layout, epilogue.Form) + literals,
                "@prelude.cu", "@mma.cu", "@wgmma.cu" }
                .Concat(work).Append("@gemm_sm90.cu").ToArray());
        if (epilogue.Kernel.Body is CrossEntropyBody rest) yield return rest.FromSums(target, epilogue.Kernel);
    }

    static string Header(Target target, ProductEpilogue epilogue)
    {
        var product = "Product " + GemmTiles.Formula(epilogue.Layout, true);
        string Bytes(int columns) => FusedOps.Number(2 * columns) + " bytes a token";
        const string stored = "D is written only where something else reads it.";
        return CudaText.Header(epilogue.Kernel.Body switch
        {
            RopeBody rope => product + " with RoPE on its tiles: the " + Bytes(rope.Heads * rope.HeadDim) + " of its " + FusedOps.Count(rope.Heads, "turned head")
                + " are written once, turned, instead of written, read and written again.",
            CrossEntropyBody loss => product + ", the logits, with the loss's sums of exponentials on its tiles: "
                + FusedOps.Number(GemmKernel.RowSums(loss.Vocab)) + " sums a row, of " + FusedOps.Number(GemmKernel.TileColumns)
                + " columns each, instead of a pass over the row's " + FusedOps.Number(2 * loss.Vocab) + " bytes.",
            AttentionBody { Part: AttentionPart.Delta } delta => product + ", which is do, with attention's delta on its tiles, the sum of do * o over each of "
                + FusedOps.Count(delta.Heads, "head") + ": " + Bytes(delta.Heads * delta.HeadDim) + " of D are not read again for it, and " + stored,
            RowBody row => product + " with " + string.Join(" + ", epilogue.Kernel.Fused.Ops) + " on its tiles: "
                + Bytes(row.Columns * epilogue.Places.Count) + " of D are not read again for it, and " + stored,
            _ => throw new InvalidOperationException("epilogue: " + epilogue.Kernel.Name + " has no sentence on the tiles of a product"),
        }, target, epilogue.Kernel, epilogue.Name);
    }

    /// <summary>The struct holds the row kernel's arguments but for the product, in its order, a pointer and a pitch each as a cell of 16 bytes.</summary>
    static string Print(ProductEpilogue epilogue, RowBody body)
    {
        var fromProduct = epilogue.Places.Select(p => body.Inputs[p - body.Outputs.Count].Name).ToArray();
        var beside = body.Inputs.Select(i => i.Name).Where(n => !fromProduct.Contains(n)).ToArray();
        var text = new StringBuilder("// What ").Append(epilogue.Kernel.Name).Append(" writes, and reads besides the product.\nstruct Epilogue\n{\n");
        foreach (var output in body.Outputs) text.Append("    elem* ").Append(output.Name).Append("_rows; int ").Append(output.Name).Append("_pitch;\n");
        foreach (var input in beside) text.Append("    const elem* ").Append(input).Append("_rows; int ").Append(input).Append("_pitch;\n");
        text.Append("};\n\nstruct Beside").Append(beside.Length == 0 ? " {}" : "\n{\n    uint4 " + string.Join(", ", beside) + ";\n}").Append(";\n\n");

        text.Append("__device__ __forceinline__ Beside load_beside(const Epilogue& arguments, int64 row, int column)\n{\n    return {").Append(beside.Length == 0 ? "" : " ")
            .Append(string.Join(", ", beside.Select(n => "*reinterpret_cast<const uint4*>(" + Place(n) + ")"))).Append(beside.Length == 0 ? "};\n}\n\n" : " };\n}\n\n");

        text.Append("// ").Append(epilogue.Kernel.Name).Append(" on 8 columns of a row; ").Append(string.Join(" and ", fromProduct))
            .Append(epilogue.Form.Halves ? ": the product's left and right half.\n" : ": the product.\n");
        text.Append("__device__ __forceinline__ void epilogue(const Epilogue& arguments, const Beside& beside, int64 row, int column, ")
            .Append(string.Join(", ", fromProduct.Select(n => "const float (&" + n + ")[8]"))).Append(")\n{\n");
        foreach (var input in beside) text.Append("    float ").Append(input).Append("[8];\n    unpack8(beside.").Append(input).Append(", ").Append(input).Append(");\n");
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
