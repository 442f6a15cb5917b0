namespace Graph.Dsl;

/// <summary>What a score function is told of a query and a key beside their score. Both are fp32 scalars, whole numbers, and constants for the score's derivative.</summary>
public sealed class ScorePosition
{
    internal ScorePosition(Tensor distance, Tensor head) => (Distance, Head) = (distance, head);

    /// <summary>How many tokens the key lies before the query; 0: it is the query's own.</summary>
    public Tensor Distance { get; }

    /// <summary>The query head's index, from 0.</summary>
    public Tensor Head { get; }
}
