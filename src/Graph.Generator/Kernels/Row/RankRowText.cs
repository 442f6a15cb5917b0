using System;
using System.Linq;
using System.Text;
using Graph.Generator.IR;
using Graph.Generator.Schedules;

namespace Graph.Generator.Kernels;

/// <summary>
/// A pointwise row kernel on [T,R], R an adapter's rank. Its columns are a number of the run: the pitch of the first argument that is a matrix. So a block takes a fixed
/// number of rows, and its threads go over
/// their chunks of 8 columns.
/// </summary>
public static class RankRowText
{
    // Ranks of 16 give each thread half a chunk; with fewer rows a block would be nearly empty, with more there would be too few blocks.
    const int Block = 256, TileRows = 64;

    public static KernelInfo Info(Kernel kernel) => new(kernel.Name, KernelKind.Row, Block, 0, TileRows, 0, 1);

    public static string[] Parts(Kernel kernel, RowBody body) => new[] { "@prelude.cu", Print(kernel, body) };

    static string Print(Kernel kernel, RowBody body)
    {
        if (RowKernelText.HasReduction(body) || body.Heads > 0)
            throw new InvalidOperationException("row kernel " + kernel.Name + ": rows of a rank's width are pointwise and have no heads");
        var text = new StringBuilder(RowKernelText.Signature(kernel, body, Info(kernel)));
        text.Append("    // As many columns as the rank is padded to; what lies past the rank is computed, and nothing reads it.\n");
        text.Append("    const int chunks = ").Append(FirstMatrix(body)).Append("_pitch / 8;\n");
        text.Append("    for (int item = threadIdx.x; item < ").Append(N(TileRows)).Append(" * chunks; item += ").Append(N(Block)).Append(")\n    {\n");
        text.Append("        const int64 row = (int64)blockIdx.x * ").Append(N(TileRows))
            .Append(" + item / chunks;\n        const int column = item % chunks * 8;\n        if (row >= rows) return;\n\n");
        var statements = string.Concat(body.Inputs.Select(i => RowKernelText.Load(i, ""))) + RowKernelText.Statements(body, "", new RowKernelText.RowForm(
            (_, _) => throw new InvalidOperationException("row kernel " + kernel.Name + ": a sum over a rank"),
            name => name + "_rows + row * " + name + "_pitch + column",
            name => "if (column == 0) " + name + "_rows[row] = " + name + ";",
            Array.Empty<RowInput>()));
        foreach (var line in statements.TrimEnd('\n').Split('\n')) text.Append(line.Length == 0 ? "" : "    " + line).Append('\n');
        return text.Append("    }\n}\n").ToString();
    }

    /// <summary>Its pitch is the number of columns.</summary>
    public static string FirstMatrix(RowBody body) => body.Outputs.Where(o => !o.PerRow).Select(o => o.Name)
        .Concat(body.Inputs.Where(i => i.Kind == RowInputKind.Matrix).Select(i => i.Name)).FirstOrDefault()
        ?? throw new InvalidOperationException("row kernel: rows of a rank's width need an argument that is a matrix");

    static string N(int value) => NumberText.Int(value);
}
