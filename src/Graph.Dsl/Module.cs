using System;

namespace Graph.Dsl;

/// <summary>A part of a model: ordinary C# that calls ops and other modules.</summary>
public abstract class Module
{
    public abstract Tensor Forward(Tensor x);

    /// <summary>
    /// Names the ops recorded until the end of the <c>using</c>; scopes nest and are joined by dots. Names show in kernels, errors and plans; "layers.N" puts
    /// ops into decoder layer N.
    /// Memory is planned by layer: without exactly layers.N, recompute saves little (GRAPH012 where a scope looks like a layer and is none).
    /// </summary>
    protected static IDisposable Scope(string name) => Recorder.Enter(name);
}

/// <summary>One field of a checkpoint's config.json in Hugging Face's spelling, with the value it must have: int, double, bool, string, null, or a list of texts or ints.</summary>
public sealed record ConfigField(string Name, object? Value);

/// <summary>A whole model: token ids i32[T] in, logits [T,V] out. The generator appends the loss (mean cross entropy over labels that are not -100).</summary>
public abstract class LanguageModel : Module
{
    /// <summary>What a checkpoint's config.json must say to fit this model; a difference that <see cref="Changes"/> does not name is refused before anything is loaded.</summary>
    public abstract ConfigField[] CheckpointConfig { get; }

    /// <summary>
    /// In what this model differs from its checkpoint on purpose: fields of <see cref="CheckpointConfig"/> that config.json may have otherwise
    /// ("sliding_window"), tensors of the checkpoint that the model does not read ("model.layers.*.mlp.gate_proj.weight", where * stands for any text), and
    /// overridden members, which a checkpoint knows nothing of ("DecoderLayer.Mlp").
    /// All else must match. Errors: GRAPH009 for a name without a dot that is no such field.
    /// </summary>
    public virtual string[] Changes => [];
}
