using System.Collections.Generic;
using System.Linq;

namespace Graph.Finetune.Adapters;

/// <summary>The adapter of one linear: A [Rank, In] and B [Out, Rank], fp32, row-major. Linear is the schedule's name, for example model.layers.0.self_attn.q_proj.</summary>
public sealed record AdapterModule(string Linear, int Rank, float[] A, float[] B);

/// <summary>A LoRA adapter as PEFT stores it: y += scale · (x·Aᵀ)·Bᵀ with scale α/r, or α/√r with <paramref name="RsLora"/>. One rank for all modules.</summary>
/// <param name="Targets">Module names that have adapters: last parts such as q_proj, or whole names.</param>
/// <param name="Layers">The decoder layers with adapters, or null for all.</param>
/// <param name="Dropout">What the adapter was trained with; it changes nothing here.</param>
public sealed record AdapterFile(int Rank, double Alpha, bool RsLora, IReadOnlyList<string> Targets, IReadOnlyList<AdapterModule> Modules, IReadOnlyList<int>? Layers = null, double Dropout = 0)
{
    public double Scale => Alpha / (RsLora ? System.Math.Sqrt(Rank) : Rank);

    /// <summary>Rank of a linear, 0 where it has no adapter: what <c>RankTable.Create</c> asks.</summary>
    public int RankOf(string linear) => Modules.FirstOrDefault(m => m.Linear == linear)?.Rank ?? 0;
}
