using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Planning;

namespace Graph.Finetune.Data;

/// <summary>
/// One line of a data file as tokens. Labels[t] belongs to token t itself, as in Hugging Face's data: the id of token t, or -100 where no loss is taken. <see cref="Packing"/> shifts them.
/// </summary>
/// <param name="Line">Number of the line in its file, from 1.</param>
public sealed record Example(int[] Ids, int[] Labels, int Line)
{
    /// <summary>Labels that are left after the shift: the first token has nothing before it that could predict it.</summary>
    public int LabelCount => Labels.Skip(1).Count(l => l >= 0);
}

/// <summary>Which tokens the loss is taken on.</summary>
public enum LossOn
{
    /// <summary>All of a text, its prompt included.</summary>
    All,
    /// <summary>Only what answers a prompt, and the end of the text. A text without a prompt is all answer.</summary>
    Completion,
}

/// <summary>How lines become examples.</summary>
/// <param name="MaxTokens">The longest example in tokens (--seq), or null where they are cut into rows later (--concat).</param>
/// <param name="Tables">What ids and labels choose from: every one must have a row there.</param>
public sealed record DataOptions(int? MaxTokens, IReadOnlyList<EmbeddingTable> Tables, LossOn LossOn = LossOn.All);
