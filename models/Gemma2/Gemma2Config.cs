using System;

namespace Gemma2;

/// <summary>Sizes and constants of a Gemma 2. A variant is one of these, or one with some fields changed.</summary>
public sealed record Gemma2Config(int Layers, int Hidden, int Heads, int KvHeads, int HeadDim, int Ffn)
{
    public int Vocab { get; init; } = 256_000;
    public double Eps { get; init; } = 1e-6;
    public double RopeTheta { get; init; } = 10_000;

    /// <summary>Tokens that even layers see, the query itself included.</summary>
    public int Window { get; init; } = 4096;

    /// <summary>Scores are divided by the root of this, which is the head dim except in the 27B.</summary>
    public int QueryPreAttnScalar { get; init; } = 256;
    public double QueryScale => 1 / Math.Sqrt(QueryPreAttnScalar);

    /// <summary>Scores stay within ± this; null: not capped.</summary>
    public double? AttnSoftcap { get; init; } = 50;

    /// <summary>Logits stay within ± this; null: not capped.</summary>
    public double? FinalSoftcap { get; init; } = 30;

    public static Gemma2Config B2 { get; } = new(Layers: 26, Hidden: 2304, Heads: 8, KvHeads: 4, HeadDim: 256, Ffn: 9216);
    public static Gemma2Config B9 { get; } = new(Layers: 42, Hidden: 3584, Heads: 16, KvHeads: 8, HeadDim: 256, Ffn: 14336);
    public static Gemma2Config B27 { get; } = new(Layers: 46, Hidden: 4608, Heads: 32, KvHeads: 16, HeadDim: 128, Ffn: 36864) { QueryPreAttnScalar = 144 };

    /// <summary>A Gemma 2 in everything but size, for tests and for machines without a GPU.</summary>
    public static Gemma2Config Nano { get; } = new(Layers: 4, Hidden: 128, Heads: 4, KvHeads: 2, HeadDim: 32, Ffn: 256) { Vocab = 4096, Window = 16, QueryPreAttnScalar = 32 };
}
