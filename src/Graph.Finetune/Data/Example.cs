using System.Collections.Generic;
using Graph.Runtime.Planning;

namespace Graph.Finetune.Data;

/// <summary>
/// One line of a data file as tokens. Labels[t] belongs to token t itself, as in Hugging Face's data: the
/// id of token t, or -100 where no loss is taken. <see cref="Packing"/> shifts them.
/// </summary>
/// <param name="Line">Number of the line, from 1, in its block of the file.</param>
public sealed record Example(int[] Ids, int[] Labels, int Line)
{
    /// <summary>There is something to learn from.</summary>
    public bool Learns => Packing.Learns(Labels);
}

/// <summary>Which tokens the loss is taken on.</summary>
public enum LossOn
{
    /// <summary>All of a text, its prompt included.</summary>
    All,
    /// <summary>Only what answers a prompt, and the end of the text. A text without a prompt is all answer.</summary>
    Completion,
}

/// <summary>What becomes of an example that is longer than the longest document may be.</summary>
public enum OverLength
{
    /// <summary>It ends the run, with the line's number.</summary>
    Error,
    /// <summary>It is left out.</summary>
    Drop,
    /// <summary>Its first tokens stay.</summary>
    Truncate,
    /// <summary>It becomes several documents, all but the last of the full length.</summary>
    Split,
}

/// <summary>How lines become examples.</summary>
/// <param name="MaxTokens">The longest example in tokens (--seq), or null where they are cut into rows later (--concat).</param>
/// <param name="Tables">What ids and labels choose from: every one must have a row there.</param>
public sealed record DataOptions(int? MaxTokens, IReadOnlyList<EmbeddingTable> Tables, LossOn LossOn = LossOn.All, OverLength OverLength = OverLength.Error);
