using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using Graph.Generator.IR;
using Graph.Generator.Ops;
using Graph.Generator.Passes;
using Graph.Generator.Schedules;

namespace Graph.Generator.Cuda;

/// <summary>A kernel's launch facts and its text in parts (<see cref="KernelText"/>).</summary>
public sealed record EmittedKernel(KernelInfo Info, EquatableArray<string> Parts);

/// <summary>
/// 11: CUDA C for one target. Row kernels are printed from their loop IR; attention, rope, cross entropy, GEMM and the optimizer are readable templates with literals and holes.
/// </summary>
public static class EmitCuda
{
    public static IReadOnlyList<EmittedKernel> Run(string target, IReadOnlyList<Kernel> kernels, IReadOnlyList<ProductEpilogue> epilogues) =>
        kernels.SelectMany(k => DqFromDs(target, k).Prepend(Emit(target, k)).Select(e => WithFunctions(e, k.Body)))
            .Concat((GemmTiles.HasWgmma(target) ? epilogues : Array.Empty<ProductEpilogue>()).SelectMany(e => Emit(target, e).Select(k => WithFunctions(k, e.Kernel.Body))))
            .Concat(GemmTiles.Kernels(target).Select(g => new EmittedKernel(g.Info, new[] { Elem(target) + g.Literals, "@prelude.cu", "@mma.cu" }.Concat(g.Templates).ToArray())))
            .Concat(RankTiles.Kernels(target).Select(r => new EmittedKernel(r.Info, r.Parts.Prepend(Elem(target) + r.Literals).ToArray())))
            .Concat(LabelRowKernels.All.Select(l => new EmittedKernel(l.Info, new[] { Elem(target) + Literals(("ROWS", N(l.Info.TileRows))), "@prelude.cu", "@" + l.Template })))
            .Concat(OptimizerKernels.All.Select(o => new EmittedKernel(o.Info, new[] { Elem(target), "@prelude.cu", "@segments.cu", "@" + o.Template })))
            .ToArray();

    /// <summary>All templates, in ordinal order.</summary>
    public static IReadOnlyList<string> TemplateNames { get; } =
        typeof(EmitCuda).Assembly.GetManifestResourceNames().Where(n => n.EndsWith(".cu", StringComparison.Ordinal)).OrderBy(n => n, StringComparer.Ordinal).ToArray();

    /// <summary>A template's text, embedded in this assembly because analyzers may not read files.</summary>
    public static string Template(string name)
    {
        using var stream = typeof(EmitCuda).Assembly.GetManifestResourceStream(name) ?? throw new InvalidOperationException("emit: there is no template " + name);
        using var reader = new StreamReader(stream, Encoding.UTF8);
        return reader.ReadToEnd().Replace("\r\n", "\n");
    }

    /// <summary>With Templates/functions.cu where the body's expressions, or their derivatives, call what it has.</summary>
    static EmittedKernel WithFunctions(EmittedKernel kernel, KernelBody body)
    {
        IEnumerable<Expr> values = body switch
        {
            RowBody row => row.Expressions,
            AttentionBody { Score: { } score } => new[] { score.Value },
            CrossEntropyBody loss => new[] { loss.Logit },
            RopeBody or AttentionBody => Array.Empty<Expr>(),
            _ => throw new InvalidOperationException("emit: no functions are known of " + kernel.Info.Name),
        };
        if (!values.Any(ExprLanguage.NeedsFunctions)) return kernel;
        return kernel with { Parts = kernel.Parts.SelectMany(p => p == "@prelude.cu" ? new[] { p, "@functions.cu" } : new[] { p }).ToArray() };
    }

    static EmittedKernel Emit(string target, Kernel kernel)
    {
        var elem = Header(target, kernel) + Elem(target);
        switch (kernel.Body)
        {
            case RowBody row:
                return new EmittedKernel(RowKernelText.Info(kernel, row), RowKernelText.Parts(kernel, row).Prepend(elem).ToArray());
            case RopeBody rope:
                // 32 bytes per thread and head: with four heads 32 KB of a block of 256 threads are in flight.
                const int threads = 256, tileHeads = 4;
                if (rope.HeadDim % 16 != 0) throw new ShapeError("rope: the head dim is " + N(rope.HeadDim) + "; the CUDA kernel turns heads of a multiple of 16");
                var rowThreads = rope.HeadDim / 16;
                var tileRows = threads / rowThreads;
                while (tileRows * rowThreads % 32 != 0) tileRows--;
                return new EmittedKernel(new KernelInfo(kernel.Name, KernelKind.Rope, tileRows * rowThreads, 0, tileRows, 0, (rope.Heads + tileHeads - 1) / tileHeads), new[]
                {
                    elem + Literals(("KERNEL_NAME", kernel.Name), ("HEADS", N(rope.Heads)), ("INVERSE", rope.Inverse ? "1" : "0"), ("TILE_ROWS", N(tileRows)), ("TILE_HEADS", N(tileHeads))) + Rotation(rope),
                    "@prelude.cu", "@rotation.cu", "@rope.cu",
                });
            case AttentionBody attention: return Attention(target, kernel, attention, elem);
            case CrossEntropyBody loss: return CrossEntropy(target, kernel, loss, elem);
            default: throw new InvalidOperationException("emit: no CUDA text for " + kernel.Name);
        }
    }

    static IEnumerable<EmittedKernel> Emit(string target, ProductEpilogue epilogue)
    {
        var (literals, work) = epilogue.Kernel.Body switch
        {
            RopeBody rope => (Literals(("TURNED", N(rope.Heads * rope.HeadDim))) + Rotation(rope), new[] { "@rotation.cu", "@rope_epilogue.cu" }),
            CrossEntropyBody loss => ("", new[] { LogitHoles(loss.Logit, log2: true, derivative: false), "@cross_entropy_epilogue.cu" }),
            AttentionBody => ("", new[] { "@attention_delta_epilogue.cu" }),
            _ => ("", new[] { EpilogueText.Print(epilogue) }),
        };
        yield return new EmittedKernel(GemmTiles.EpilogueInfo(epilogue.Name),
            new[] { Header(target, epilogue) + Elem(target) + GemmTiles.EpilogueLiterals(epilogue.Name, epilogue.Layout, epilogue.Form) + literals, "@prelude.cu", "@mma.cu", "@wgmma.cu" }.Concat(work).Append("@gemm_sm90.cu").ToArray());
        if (epilogue.Kernel.Body is CrossEntropyBody rest) yield return FromSums(target, epilogue, rest);
    }

    static EmittedKernel CrossEntropy(string target, Kernel kernel, CrossEntropyBody loss, string elem)
    {
        var tile = CrossEntropyTiles.For(target, loss.Vocab);
        return new EmittedKernel(new KernelInfo(kernel.Name, KernelKind.CrossEntropy, tile.Threads, tile.SharedBytes, 1, 0, 1), new[]
        {
            elem + Literals(("KERNEL_NAME", kernel.Name), ("VOCAB", N(loss.Vocab)), ("THREADS", N(tile.Threads)), ("BOUND", N(loss.Bound)), ("CACHED", N(tile.Cached))),
            "@prelude.cu", LogitHoles(loss.Logit, log2: false), "@cross_entropy.cu",
        });
    }

    /// <summary>What is left of a cross entropy when the product has summed the exponentials. 128 bytes a thread and two blocks of 512 a multiprocessor: all of it is in flight at once.</summary>
    static EmittedKernel FromSums(string target, ProductEpilogue epilogue, CrossEntropyBody loss)
    {
        const int threads = 512, chunks = 8, minBlocks = 2;
        var (name, parts) = (epilogue.FromSums, (loss.Vocab / 8 + threads * chunks - 1) / (threads * chunks));
        return new EmittedKernel(new KernelInfo(name, KernelKind.CrossEntropyFromSums, threads, 0, 1, 0, parts), new[]
        {
            Header(target, epilogue.Kernel) + Elem(target) + Literals(("KERNEL_NAME", name), ("VOCAB", N(loss.Vocab)), ("THREADS", N(threads)), ("PARTS", N(parts)), ("THREAD_CHUNKS", N(chunks)), ("MIN_BLOCKS", N(minBlocks)),
                ("SUMS", N(GemmKernel.RowSums(loss.Vocab)))),
            "@prelude.cu", LogitHoles(loss.Logit, log2: true, value: false), "@cross_entropy_from_sums.cu",
        });
    }

    static string Rotation(RopeBody rope) => Literals(("HEAD_DIM", N(rope.HeadDim)), ("THETA", rope.Theta.ToString("0.0###############", System.Globalization.CultureInfo.InvariantCulture)));

    static EmittedKernel Attention(string target, Kernel kernel, AttentionBody body, string elem)
    {
        var part = body.Part switch { AttentionPart.Forward => AttentionKernel.Forward, AttentionPart.Delta => AttentionKernel.Delta, AttentionPart.Dq => AttentionKernel.Dq, _ => AttentionKernel.Dkdv };
        // fp16 cannot hold 2^73, so it keeps the row maximum even for a bounded score.
        var bounded = body.Score is { IsBounded: true } && IsBf16(target);
        var wgmma = AttentionTiles.Wgmma(target, body.HeadDim, part);
        var tile = wgmma?.Tile ?? AttentionTiles.For(target, body.HeadDim, part);
        var literals = tile.Literals(kernel.Name, body.HeadDim, body.Heads / body.KvHeads, body.Score?.Window ?? 0, bounded);
        var template = "@attention_" + body.Part.ToString().ToLowerInvariant() + ".cu";
        string[] Parts(params string[] rest) => rest.Prepend("@prelude.cu").Prepend(elem + literals).ToArray();
        var parts = (body.Score is { } score ? ScoreHoles(score) : null, wgmma?.Template, part) switch
        {
            (null, _, _) => Parts(template),
            ({ } holes, null, AttentionKernel.Dkdv) => Parts("@mma.cu", "@attention_tiles.cu", "@attention_mma.cu", holes, template),
            ({ } holes, null, _) => Parts("@mma.cu", "@attention_tiles.cu", "@attention_mma.cu", holes, "@attention_softmax.cu", template),
            ({ } holes, { } on, AttentionKernel.Dkdv) => Parts("@mma.cu", "@wgmma.cu", "@attention_tiles.cu", "@attention_sm90.cu", "@score_gradients.cu", holes, "@attention_dkdv_sm90.cu", "@" + on + ".cu"),
            ({ } holes, { } on, _) => Parts("@mma.cu", "@wgmma.cu", "@attention_tiles.cu", "@attention_sm90.cu", holes, "@attention_softmax.cu", "@" + on + ".cu"),
        };
        var owned = part == AttentionKernel.Dkdv ? tile.TileK : tile.TileQ;
        var kind = body.Part switch
        {
            AttentionPart.Forward => KernelKind.AttentionForward,
            AttentionPart.Delta => KernelKind.AttentionDelta,
            AttentionPart.Dq => KernelKind.AttentionDq,
            AttentionPart.Dkdv => wgmma is null ? KernelKind.AttentionDkdv : KernelKind.AttentionDkdvToDs,
            _ => throw new InvalidOperationException("emit: unknown part of attention " + body.Part),
        };
        return new EmittedKernel(new KernelInfo(kernel.Name, kind, tile.Threads, tile.SharedBytes, owned, 0, part == AttentionKernel.Dkdv ? body.KvHeads : body.Heads), parts);
    }

    /// <summary>dq from the dS that the kernel of dk and dv kept, beside the kernel that computes all of it.</summary>
    static IEnumerable<EmittedKernel> DqFromDs(string target, Kernel kernel)
    {
        if (kernel.Body is not AttentionBody { Part: AttentionPart.Dq, Score: { } score } body || AttentionTiles.DqFromDs(target, body.HeadDim, body.Heads / body.KvHeads) is not { } tile) yield break;
        var name = kernel.FromDs;
        yield return new EmittedKernel(new KernelInfo(name, KernelKind.AttentionDqFromDs, tile.Threads, tile.SharedBytes, tile.TileQ, 0, body.Heads / 2), new[]
        {
            Header(target, kernel) + Elem(target) + tile.Literals(name, body.HeadDim, body.Heads / body.KvHeads, score.Window, false), "@prelude.cu", "@mma.cu", "@wgmma.cu", "@attention_tiles.cu", "@attention_sm90.cu", "@score_gradients.cu",
            "@attention_dq_from_ds_sm90.cu",
        });
    }

    /// <summary>
    /// The score function in the base-2 units of the templates: exp2 needs no further factor. What a function does not use of a pair's position costs nothing
    /// once it is inlined.
    /// </summary>
    static string ScoreHoles(ScoreFunction score)
    {
        var log2 = new Expr.Number(1.4426950408889634) * score.Value;
        return "// The score of a pair, s = q k, distance = q - k in tokens, head = the query head: " + ExprText.Print(score.Value) + ", traced from the model; in units of log2.\n"
            + "__device__ __forceinline__ float score_log2(float s, float distance, float head)\n{\n" + ExprSource.Body(new[] { ("return ", log2) }, ExprLanguage.Cuda, "const float", "    ") + "}\n\n"
            + "// The same, and d(score)/ds in natural units, from shared work.\n"
            + "__device__ __forceinline__ void score_log2_and_derivative(float s, float distance, float head, float& z, float& dz)\n{\n"
            + ExprSource.Body(new[] { ("z = ", log2), ("dz = ", score.Derivative) }, ExprLanguage.Cuda, "const float", "    ") + "}\n\n";
    }

    /// <summary>The logit function, z in natural units or in those of log2; the derivative is d(logit)/ds in natural units.</summary>
    /// <param name="value">The text needs z alone.</param>
    /// <param name="derivative">The text needs z together with the derivative.</param>
    static string LogitHoles(Expr logit, bool log2, bool value = true, bool derivative = true)
    {
        var name = log2 ? "logit_log2" : "logit";
        var z = log2 ? new Expr.Number(1.4426950408889634) * logit : logit;
        return "// logit(s) = " + ExprText.Print(logit) + ", traced from the model" + (log2 ? "; in units of log2.\n" : ".\n")
            + (value ? "__device__ __forceinline__ float " + name + "(float s)\n{\n" + ExprSource.Body(new[] { ("return ", z) }, ExprLanguage.Cuda, "const float", "    ") + "}\n\n" : "")
            + (derivative ? "__device__ __forceinline__ void " + name + "_and_derivative(float s, float& z, float& dz)\n{\n"
                + ExprSource.Body(new[] { ("z = ", z), ("dz = ", logit.Derivative("s")) }, ExprLanguage.Cuda, "const float", "    ") + "}\n\n" : "");
    }

    /// <summary>What was fused, from where, on which tensors: the first launch stands for all that share the kernel.</summary>
    static string Header(string target, Kernel kernel)
    {
        var text = new StringBuilder("// ").Append(kernel.Name).Append(" <").Append(target).Append(">  ").Append(kernel.Launches == 0 ? "recompute only" : "launches: " + N(kernel.Launches)).Append('\n');
        foreach (var line in kernel.Source) text.Append("//   ").Append(line).Append('\n');
        text.Append("// tensors of the first launch:").Append(string.Concat(kernel.FirstArguments.Select(a => " " + ScheduleText.Print(a)))).Append('\n');
        if (kernel.Body is RowBody row)
        {
            var moved = row.Outputs.Sum(o => o.PerRow ? 4 : row.Columns * 2) + row.Inputs.Sum(i => i.Kind switch { RowInputKind.Matrix or RowInputKind.Gather => row.Columns * 2, RowInputKind.PerRow or RowInputKind.PerHead => 4, _ => 0 });
            text.Append("// ").Append(row.Columns == RowBody.RankColumns ? "columns of a rank" : N(moved) + " bytes per row").Append(row.Heads > 0 ? ", " + N(row.Heads) + " rows a token" : "").Append("; fp32 in registers, one rounding per stored value\n");
        }
        return text.ToString();
    }

    static string Header(string target, ProductEpilogue epilogue)
    {
        var part = epilogue.Kernel.Body is CrossEntropyBody;
        var text = new StringBuilder("// ").Append(epilogue.Name).Append(" <").Append(target).Append(">  ").Append(part ? "the sums of " : "").Append(epilogue.Kernel.Name)
            .Append(" on the tiles of the product before it, which the schedule keeps as ").Append(part ? "one launch\n" : "two launches\n");
        foreach (var line in epilogue.Kernel.Source) text.Append("//   ").Append(line).Append('\n');
        return text.Append("// tensors of the first launch:").Append(string.Concat(epilogue.Kernel.FirstArguments.Select(a => " " + ScheduleText.Print(a)))).Append('\n').ToString();
    }

    static string Elem(string target) => Literals(("ELEM_BF16", IsBf16(target) ? "1" : "0"));

    // Turing has no bf16 arithmetic.
    static bool IsBf16(string target) => target != "sm_75";

    static string Literals(params (string Name, string Value)[] literals) => string.Concat(literals.Select(l => "#define " + l.Name + " " + l.Value + "\n"));

    static string N(int value) => NumberText.Int(value);
}
