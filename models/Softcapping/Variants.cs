using Graph.Dsl;

namespace Gemma2;

// Each size as it was trained, with the cap of attention's scores alone, with that of the logits alone, and with none. The nano is for a try on the CPU.

[GraphModel("2b")] public sealed partial class Gemma2_2B() : Gemma2Model(Gemma2Config.B2);

[GraphModel("2b-attention")]
public sealed partial class Gemma2_2B_Attention() : Gemma2Model(Gemma2Config.B2 with { FinalSoftcap = null })
{
    public override string[] Changes => ["final_logit_softcapping"];
}

[GraphModel("2b-logits")]
public sealed partial class Gemma2_2B_Logits() : Gemma2Model(Gemma2Config.B2 with { AttnSoftcap = null })
{
    public override string[] Changes => ["attn_logit_softcapping"];
}

[GraphModel("2b-none")]
public sealed partial class Gemma2_2B_None() : Gemma2Model(Gemma2Config.B2 with { AttnSoftcap = null, FinalSoftcap = null })
{
    public override string[] Changes => ["attn_logit_softcapping", "final_logit_softcapping"];
}

[GraphModel("9b")] public sealed partial class Gemma2_9B() : Gemma2Model(Gemma2Config.B9);

[GraphModel("9b-attention")]
public sealed partial class Gemma2_9B_Attention() : Gemma2Model(Gemma2Config.B9 with { FinalSoftcap = null })
{
    public override string[] Changes => ["final_logit_softcapping"];
}

[GraphModel("9b-logits")]
public sealed partial class Gemma2_9B_Logits() : Gemma2Model(Gemma2Config.B9 with { AttnSoftcap = null })
{
    public override string[] Changes => ["attn_logit_softcapping"];
}

[GraphModel("9b-none")]
public sealed partial class Gemma2_9B_None() : Gemma2Model(Gemma2Config.B9 with { AttnSoftcap = null, FinalSoftcap = null })
{
    public override string[] Changes => ["attn_logit_softcapping", "final_logit_softcapping"];
}

[GraphModel("27b")] public sealed partial class Gemma2_27B() : Gemma2Model(Gemma2Config.B27);

[GraphModel("27b-attention")]
public sealed partial class Gemma2_27B_Attention() : Gemma2Model(Gemma2Config.B27 with { FinalSoftcap = null })
{
    public override string[] Changes => ["final_logit_softcapping"];
}

[GraphModel("27b-logits")]
public sealed partial class Gemma2_27B_Logits() : Gemma2Model(Gemma2Config.B27 with { AttnSoftcap = null })
{
    public override string[] Changes => ["attn_logit_softcapping"];
}

[GraphModel("27b-none")]
public sealed partial class Gemma2_27B_None() : Gemma2Model(Gemma2Config.B27 with { AttnSoftcap = null, FinalSoftcap = null })
{
    public override string[] Changes => ["attn_logit_softcapping", "final_logit_softcapping"];
}

[GraphModel("nano")] public sealed partial class Gemma2_Nano() : Gemma2Model(Gemma2Config.Nano);

[GraphModel("nano-attention")]
public sealed partial class Gemma2_Nano_Attention() : Gemma2Model(Gemma2Config.Nano with { FinalSoftcap = null })
{
    public override string[] Changes => ["final_logit_softcapping"];
}

[GraphModel("nano-logits")]
public sealed partial class Gemma2_Nano_Logits() : Gemma2Model(Gemma2Config.Nano with { AttnSoftcap = null })
{
    public override string[] Changes => ["attn_logit_softcapping"];
}

[GraphModel("nano-none")]
public sealed partial class Gemma2_Nano_None() : Gemma2Model(Gemma2Config.Nano with { AttnSoftcap = null, FinalSoftcap = null })
{
    public override string[] Changes => ["attn_logit_softcapping", "final_logit_softcapping"];
}
