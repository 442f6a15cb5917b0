"""The peer: transformers + PEFT on the same shape, random bf16 weights, LoRA r = 16 on all seven linears (--full: every weight is trained), fused AdamW.
One JSON line: tokens/s (median step, CUDA events) and peak memory.

    python3 bench/peer_huggingface.py --variant 9b [--batch 4 --seq 2048 --steps 6 --attention eager --no-checkpointing --data FILE]

Without --data the ids are random; with it (JSON Lines of {"input_ids": [...]}) rows are taken in order, cut and joined to full rows, as our --concat does.
Eager attention is the one that applies Gemma 2's attention softcap; sdpa drops it silently.
"""
import argparse
import json
import statistics

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

import gemma2


def build(variant, attention, checkpointing, full):
    torch.manual_seed(0)
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(gemma2.config(variant), attn_implementation=attention, dtype=torch.bfloat16)
    if not full:
        model = get_peft_model(model, LoraConfig(r=16, lora_alpha=16, lora_dropout=0.0, bias="none", target_modules=gemma2.TARGETS))
    model.train()
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    return model


def batches(options):
    """Token ids [batch, seq] for every step."""
    if options.data is None:
        generator = torch.Generator("cuda").manual_seed(0)
        while True:
            yield torch.randint(3, 256000, (options.batch, options.seq), device="cuda", generator=generator)
    ids = [i for line in open(options.data) for i in json.loads(line)["input_ids"]]
    size = options.batch * options.seq
    while True:
        for start in range(0, len(ids) - size + 1, size):
            yield torch.tensor(ids[start : start + size], device="cuda").view(options.batch, options.seq)


def measure(options):
    model = build(options.variant, options.attention, options.checkpointing, options.full)
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=2e-4, fused=True)
    torch.cuda.reset_peak_memory_stats()
    times, source = [], batches(options)
    for _ in range(options.steps):
        ids = next(source)
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    ms = statistics.median(times[2:])
    return dict(ms_median=round(ms, 2), tokens_per_second=round(options.batch * options.seq / ms * 1000), first_ms=round(times[0]), loss=loss.item(),
                peak_bytes=torch.cuda.max_memory_allocated())


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--variant", required=True, choices=gemma2.SIZES)
    arguments.add_argument("--batch", type=int, default=4)
    arguments.add_argument("--seq", type=int, default=2048)
    arguments.add_argument("--steps", type=int, default=6)
    arguments.add_argument("--attention", default="eager", choices=["eager", "sdpa", "flex_attention"])
    arguments.add_argument("--no-checkpointing", dest="checkpointing", action="store_false")
    arguments.add_argument("--full", action="store_true")
    arguments.add_argument("--data")
    options = arguments.parse_args()
    result = dict(peer="transformers", variant=options.variant, batch=options.batch, seq=options.seq,
                  attention=options.attention, full=options.full, checkpointing=options.checkpointing, torch=torch.__version__)
    try:
        result |= measure(options)
    except torch.cuda.OutOfMemoryError as error:  # a peer that does not fit is a result too
        result["error"] = str(error).splitlines()[0]
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
