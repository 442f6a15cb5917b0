using Graph.Dsl;

namespace Gemma2;

[GraphModel("2b")] public sealed partial class Gemma2_2B() : Gemma2Model(Gemma2Config.B2);
[GraphModel("9b")] public sealed partial class Gemma2_9B() : Gemma2Model(Gemma2Config.B9);
[GraphModel("27b")] public sealed partial class Gemma2_27B() : Gemma2Model(Gemma2Config.B27);

[GraphModel("nano")] public sealed partial class Gemma2_Nano() : Gemma2Model(Gemma2Config.Nano);

// Full finetuning (--full).
[GraphModel("2b-full", Full = true)] public sealed partial class Gemma2_2B_Full() : Gemma2Model(Gemma2Config.B2);
[GraphModel("9b-full", Full = true)] public sealed partial class Gemma2_9B_Full() : Gemma2Model(Gemma2Config.B9);
[GraphModel("nano-full", Full = true)] public sealed partial class Gemma2_Nano_Full() : Gemma2Model(Gemma2Config.Nano);

// For tests: what each softcap does, and one local and one global layer of the real sizes.
[GraphModel("nano-no-attn-softcap")] public sealed partial class Gemma2_Nano_NoAttnSoftcap() : Gemma2Model(Gemma2Config.Nano with { AttnSoftcap = null });
[GraphModel("nano-no-final-softcap")] public sealed partial class Gemma2_Nano_NoFinalSoftcap() : Gemma2Model(Gemma2Config.Nano with { FinalSoftcap = null });
[GraphModel("9b-2l")] public sealed partial class Gemma2_9B_2L() : Gemma2Model(Gemma2Config.B9 with { Layers = 2 });
[GraphModel("27b-2l")] public sealed partial class Gemma2_27B_2L() : Gemma2Model(Gemma2Config.B27 with { Layers = 2 });
