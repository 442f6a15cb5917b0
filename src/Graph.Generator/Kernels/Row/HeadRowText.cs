using System;
using System.Linq;
using System.Text;
using Graph.Generator.IR;
using Graph.Generator.Schedules;

namespace Graph.Generator.Kernels;

/// <summary>
/// A row kernel whose rows are heads: D columns each, N of them side by side in a token's row. Up to 256 columns a row is a part of a warp and a block has many of them; a
/// wider row has a block of its own.
/// Every thread keeps 8 neighbouring columns, as in the kernels of whole rows.
/// </summary>
public static class HeadRowText
{
    const int WarpSize = 32, Block = 256;

    /// <summary>Threads of a row, threads of a block, tokens of a block, and blocks of these tokens' rows.</summary>
    readonly record struct Geometry(int Lanes, int Block, int Tokens, int Blocks)
    {
        public int Lines => Block / Lanes;
        public bool OneWarp => Lanes <= WarpSize;
    }

    static Geometry Of(RowBody body)
    {
        var threads = (body.Columns + 7) / 8;
        if (threads > WarpSize)
        {
            var block = (threads + WarpSize - 1) / WarpSize * WarpSize;
            return new Geometry(block, block, 1, body.Heads);
        }
        // A power of two, so that sums are a tree of shuffles.
        var lanes = 1;
        while (lanes < threads) lanes *= 2;
        var tokens = Math.Max(1, Block / (lanes * body.Heads));
        return new Geometry(lanes, Block, tokens, (tokens * body.Heads * lanes + Block - 1) / Block);
    }

    public static KernelInfo Info(Kernel kernel, RowBody body) => Of(body) is var g ? new KernelInfo(kernel.Name, KernelKind.Row, g.Block, 0, g.Tokens, 0, g.Blocks) : null!;

    public static string[] Parts(Kernel kernel, RowBody body) =>
        !RowKernelText.HasReduction(body) ? new[] { "@prelude.cu", Print(kernel, body) }
        : new[] { "@prelude.cu", Of(body).OneWarp ? "@head_rows.cu" : "@rows.cu", Print(kernel, body) };

    static string Print(Kernel kernel, RowBody body)
    {
        if (body.Columns % 8 != 0) throw new InvalidOperationException("row kernel " + kernel.Name + ": heads of " + body.Columns + " columns cannot be read 8 at a time");
        var (g, reduces) = (Of(body), RowKernelText.HasReduction(body));
        var text = new StringBuilder(RowKernelText.Signature(kernel, body, Info(kernel, body)));
        if (reduces && !g.OneWarp) text.Append("    __shared__ float scratch[2][WARP_SIZE];\n");
        text.Append("    // A line is a head of one of the block's tokens; its columns are 8 a thread.\n");
        text.Append("    const int line = blockIdx.y * ").Append(N(g.Lines)).Append(" + threadIdx.x / ").Append(N(g.Lanes)).Append(", place = threadIdx.x % ")
            .Append(N(g.Lanes)).Append(" * 8;\n");
        text.Append("    const int64 token = (int64)blockIdx.x * ").Append(N(g.Tokens)).Append(" + line / ").Append(N(body.Heads)).Append(";\n");
        text.Append("    const bool inside = line < ").Append(N(g.Tokens * body.Heads)).Append(" && token < rows && place < ").Append(N(body.Columns)).Append(";\n");
        text.Append(reduces ? "    // Threads without columns read the first ones, add zeros to the sums and store nothing: loads without branches.\n"
            : "    if (!inside) return;\n");
        string Inside(string value) => reduces ? "inside ? " + value + " : 0" : value;
        text.Append("    const int64 row = ").Append(Inside("token")).Append(";\n");
        text.Append("    const int head = ").Append(Inside("line % " + N(body.Heads))).Append(", inner = ").Append(Inside("place")).Append(", column = head * ")
            .Append(N(body.Columns)).Append(" + inner;\n\n");
        foreach (var input in body.Inputs) text.Append(Load(input));
        var guard = reduces ? "if (inside) " : "";
        text.Append(RowKernelText.Statements(body, guard, new RowKernelText.RowForm(
            (part, sum) => g.OneWarp ? "lanes_sum<" + N(g.Lanes) + ">(" + part + ")" : "row_block_sum(" + part + ", scratch[" + N(sum % 2) + "])",
            name => name + "_rows + row * " + name + "_pitch + column",
            name => "if (" + (reduces ? "inside && " : "") + "inner == 0) " + name + "_rows[row * " + name + "_pitch + head] = " + name + ";",
            Array.Empty<RowInput>())));
        return text.Append("}\n").ToString();
    }

    static string Load(RowInput input) => input.Kind switch
    {
        RowInputKind.Matrix or RowInputKind.Scalar or RowInputKind.PerRow => RowKernelText.Load(input, ""),
        RowInputKind.PerHead => "    const float " + input.Name + " = " + input.Name + "_rows[row * " + input.Name + "_pitch + head];\n",
        RowInputKind.HeadScalar => "    const float " + input.Name + " = to_float(" + input.Name + "_vectors[(int64)head * " + input.Name + "_pitch]);\n",
        RowInputKind.Vector => RowKernelText.Load8(input.Name, input.Name + "_vector + inner", ""),
        RowInputKind.HeadVector => RowKernelText.Load8(input.Name, input.Name + "_vectors + (int64)head * " + input.Name + "_pitch + inner", ""),
        _ => throw new InvalidOperationException("row kernel: " + input.Kind + " is no input of rows that are heads"),
    };

    static string N(int value) => NumberText.Int(value);
}
