using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Ops;
using Graph.Generator.Schedules;

namespace Graph.Generator.Kernels;

/// <summary>Attention's kernels as CUDA C: templates with the tile's literals and the traced score.</summary>
static class AttentionText
{
    public static IEnumerable<EmittedKernel> Kernels(Target target, Kernel kernel, AttentionBody body)
    {
        yield return Main(target, kernel, body);
        if (body is { Part: AttentionPart.Dq, Score: { } score } && AttentionTiles.DqFromDs(target, body.HeadDim, body.Group) is { } tile)
            yield return DqFromDs(target, kernel, body, score, tile);
    }

    static EmittedKernel Main(Target target, Kernel kernel, AttentionBody body)
    {
        // fp16 cannot hold 2^73, so it keeps the row maximum even for a bounded score.
        var bounded = body.Score is { IsBounded: true } && target.HasBf16;
        var wgmma = AttentionTiles.Wgmma(target, body.HeadDim, body.Part);
        var tile = wgmma?.Tile ?? AttentionTiles.For(target, body.HeadDim, body.Part);
        var literals = CudaText.Header(AttentionSentence.Of(target, body), target, kernel) + CudaText.Elem(target)
            + tile.Literals(kernel.Name, body.HeadDim, body.Group, body.Score?.Window ?? 0, bounded);
        var template = "@attention_" + body.Part.ToString().ToLowerInvariant() + ".cu";
        string[] Parts(params string[] rest) => rest.Prepend("@prelude.cu").Prepend(literals).ToArray();
        var parts = (body.Score is { } score ? Functions(score) : null, wgmma?.Template, body.Part) switch
        {
            (null, _, _) => Parts(template),
            ({ } functions, null, AttentionPart.Dkdv) => Parts("@mma.cu", "@attention_tiles.cu", "@attention_mma.cu", functions, template),
            ({ } functions, null, _) => Parts("@mma.cu", "@attention_tiles.cu", "@attention_mma.cu", functions, "@attention_softmax.cu", template),
            ({ } functions, { } on, AttentionPart.Dkdv) =>
                Parts("@mma.cu", "@wgmma.cu", "@attention_tiles.cu", "@attention_sm90.cu", "@score_gradients.cu", functions, "@attention_dkdv_sm90.cu", "@" + on + ".cu"),
            ({ } functions, { } on, _) => Parts("@mma.cu", "@wgmma.cu", "@attention_tiles.cu", "@attention_sm90.cu", functions, "@attention_softmax.cu", "@" + on + ".cu"),
        };
        var (owned, heads) = body.Part == AttentionPart.Dkdv ? (tile.TileK, body.KvHeads) : (tile.TileQ, body.Heads);
        var kind = body.Part == AttentionPart.Dkdv && wgmma is not null ? KernelKind.AttentionDkdvToDs : body.Kind;
        return new EmittedKernel(new KernelInfo(kernel.Name, kind, tile.Threads, tile.SharedBytes, owned, 0, heads), parts);
    }

    /// <summary>dq from the dS that the kernel of dk and dv kept, beside the kernel that computes all of it.</summary>
    static EmittedKernel DqFromDs(Target target, Kernel kernel, AttentionBody body, ScoreFunction score, AttentionTile tile)
    {
        var name = AttentionBody.FromDs(kernel);
        return new EmittedKernel(new KernelInfo(name, KernelKind.AttentionDqFromDs, tile.Threads, tile.SharedBytes, tile.TileQ, 0, body.Heads / 2), new[]
        {
            CudaText.Header(AttentionSentence.OfDqFromDs(body), target, kernel, name) + CudaText.Elem(target)
                + tile.Literals(name, body.HeadDim, body.Group, score.Window, false),
            "@prelude.cu", "@mma.cu", "@wgmma.cu", "@attention_tiles.cu", "@attention_sm90.cu", "@score_gradients.cu", "@attention_dq_from_ds_sm90.cu",
        });
    }

    /// <summary>
    /// The score function in the base-2 units of the templates: exp2 needs no further factor. What a function does not use of a pair's position costs nothing
    /// once it is inlined.
    /// </summary>
    static string Functions(ScoreFunction score)
    {
        var log2 = new Expr.Number(1.4426950408889634) * score.Value;
        return "// The score of a pair, s = q k, distance = q - k in tokens, head = the query head: " + ExprText.Print(score.Value) + ", traced from the model; in units of log2.\n"
            + "__device__ __forceinline__ float score_log2(float s, float distance, float head)\n{\n"
            + ExprSource.Body(new[] { ("return ", log2) }, ExprLanguage.Cuda, "const float", "    ") + "}\n\n"
            + "// The same, and d(score)/ds in natural units, from shared work.\n"
            + "__device__ __forceinline__ void score_log2_and_derivative(float s, float distance, float head, float& z, float& dz)\n{\n"
            + ExprSource.Body(new[] { ("z = ", log2), ("dz = ", score.Derivative) }, ExprLanguage.Cuda, "const float", "    ") + "}\n\n";
    }
}
