"""Parity with transformers + PEFT on a GPU: logits, adapter gradients, five training steps, and the adapter read back.

Each case builds a random checkpoint whose attention scores reach the softcap and an adapter with B != 0,
then runs the same token ids three ways: transformers + PEFT (eager) in fp32,
the same in bf16, and our executable in bf16.
The rule: our error against fp32 is at most 2x (logits, the losses of five training steps) and 3x (every adapter gradient) that of transformers' bf16.

    python3 bench/parity.py --exe artifacts/gemma2 [--case 2b:1024 --case 9b-2l:4097 ...] [--work DIR] [--report FILE]

Case `nano` takes tests/fixtures/reference instead, with its stored fp32 goldens as the reference. Exit code 1 when a check fails. Needs torch, transformers, peft and safetensors.
"""
import argparse
import gc
import json
import shutil
import sys
import time
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from transformers.models.gemma2 import modeling_gemma2

import gemma2

CASES = ["nano", "2b:1024", "9b-2l:4095", "9b-2l:4096", "9b-2l:4097", "27b-2l:4095", "27b-2l:4096", "27b-2l:4097"]
LOGITS, GRADIENTS, TRAINED = 2.0, 3.0, 2.0  # times the error of transformers' bf16; TRAINED is for the losses of the training steps
LOSSES = 0.005                        # relative, of one loss
FLOOR = 2.0 ** -10                    # an error of transformers below this is luck, not a measure: half a bf16 rounding
STEPS, LEARNING_RATE = 5, 1e-3
FIXTURE = gemma2.REPOSITORY / "tests" / "fixtures" / "reference"


class Scores:
    """Largest |q.k * scale| per layer, before the softcap, seen while the context is open."""

    def __enter__(self):
        self.largest = {}
        self.original = modeling_gemma2.eager_attention_forward

        def measured(module, query, key, value, *rest, **named):
            scaling = named.get("scaling") or module.scaling
            group = query.shape[1] // key.shape[1]
            for head in range(query.shape[1]):
                scores = (query[0, head].float() @ key[0, head // group].float().T).tril_().abs_().max().item() * scaling
                self.largest[module.layer_idx] = max(self.largest.get(module.layer_idx, 0.0), scores)
            return self.original(module, query, key, value, *rest, **named)

        modeling_gemma2.eager_attention_forward = measured
        return self

    def __exit__(self, *_):
        modeling_gemma2.eager_attention_forward = self.original


def build(variant, ids, folder, seed):
    """A random bf16 checkpoint and PEFT adapter (r = 16) in `folder`; returns the PEFT model and the smallest over layers of the largest score."""
    torch.manual_seed(seed)
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(gemma2.config(variant), attn_implementation="eager", dtype=torch.bfloat16)
    # Random layers with capped scores are chaotic: at full strength, 26 of them turn bf16's rounding into errors of the size of the logits, in every implementation.
    # Branches that sum to the size of one keep the residual stream in charge, as training does.
    branch = 0.7 / model.config.num_hidden_layers ** 0.5
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("norm.weight"):
                # The last norm above 1 spreads the logits until the final softcap bends them.
                centre = 2.0 if name == "model.norm.weight" else branch - 1 if "post_" in name else 0.0
                weight.normal_(centre, 0.1 * (branch if "post_" in name else 1.0))
        for _ in range(2):  # the second round corrects for what the first changed in the layers below
            with Scores() as scores:
                model.model(input_ids=ids, use_cache=False)
            for index, layer in enumerate(model.model.layers):
                factor = max(1.0, (48.0 / scores.largest[index])) ** 0.5
                layer.self_attn.q_proj.weight.mul_(factor)
                layer.self_attn.k_proj.weight.mul_(factor)
        with Scores() as scores:
            model.model(input_ids=ids, use_cache=False)
    model.save_pretrained(folder / "model", max_shard_size="2GB")

    peft = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, bias="none", target_modules=gemma2.TARGETS))
    with torch.no_grad():
        for name, weight in adapter_parameters(peft):
            if ".lora_B." in name:
                weight.normal_(0.0, 0.02)
            weight.copy_(weight.bfloat16())  # all three runs then start from the same numbers
    peft.save_pretrained(folder / "adapter")
    return peft, min(scores.largest.values())


def adapter_parameters(peft):
    """(name as PEFT's file has it, parameter) of every adapter matrix."""
    return [(name.replace(".default.", "."), weight) for name, weight in peft.named_parameters() if "lora_" in name]


def forward_backward(peft, ids, labels, rows):
    """loss, logits[rows] and every adapter gradient, in fp32 on the CPU."""
    peft.zero_grad(set_to_none=True)
    out = peft(input_ids=ids, labels=labels, use_cache=False)
    out.loss.backward()
    logits = out.logits.detach().reshape(-1, out.logits.shape[-1])[rows].float().cpu()
    return out.loss.item(), logits, {name: weight.grad.float().cpu() for name, weight in adapter_parameters(peft)}


def train(peft, ids, labels):
    """The losses of a few AdamW steps on one batch, as our `train` does them; the adapter is put back afterwards."""
    before = [(weight, weight.detach().clone()) for _, weight in adapter_parameters(peft)]
    weights = [weight for weight, _ in before]
    optimizer = torch.optim.AdamW(weights, lr=LEARNING_RATE, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad(set_to_none=True)
        loss = peft(input_ids=ids, labels=labels, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        for weight, value in before:
            weight.copy_(value)
    return losses


def furthest(losses, reference):
    """The largest relative error of a run's losses."""
    return max(abs(loss - exact) / exact for loss, exact in zip(losses, reference))


def distance(a, b):
    """|a - b| / |b|."""
    return ((a.double() - b.double()).norm() / b.double().norm().clamp_min(1e-30)).item()


class Report:
    """Collects checks; a case is the checks with its name."""

    def __init__(self):
        self.checks = []

    def check(self, case, what, value, limit, note=""):
        ok = value <= limit  # a NaN fails
        self.checks.append(dict(case=case, what=what, value=value, limit=limit, ok=ok, note=note))
        print(f"  {'ok  ' if ok else 'FAIL'} {what}: {value:.3g} (limit {limit:.3g}) {note}", flush=True)

    def compare(self, case, ours, peer, reference):
        """ours, peer, reference: (loss, logits, gradients)."""
        for name, measure in (("logits, relative L2", distance), ("logits, largest", lambda a, b: (a - b).abs().max().item())):
            floor = FLOOR if measure is distance else FLOOR * reference[1].abs().max().item()
            theirs = measure(peer[1], reference[1])
            self.check(case, name, measure(ours[1], reference[1]), LOGITS * max(theirs, floor), f"transformers bf16 {theirs:.3g}")
        if set(ours[2]) != set(reference[2]):
            raise SystemExit(f"{case}: our gradients' names differ from PEFT's: {sorted(set(ours[2]) ^ set(reference[2]))[:4]}")
        worst = []
        for name, gradient in reference[2].items():
            theirs = max(distance(peer[2][name], gradient), FLOOR)
            worst.append((distance(ours[2][name], gradient) / theirs, theirs, name))
        worst.sort(reverse=True)
        median = worst[len(worst) // 2][0]
        for ratio, theirs, name in worst[:3]:
            self.check(case, f"gradient {name.removeprefix('base_model.model.model.')}, error / transformers' bf16",
                       ratio, GRADIENTS, f"theirs {theirs:.3g}; median of {len(worst)}: {median:.2f}")
        self.check(case, "loss, relative", abs(ours[0] - reference[0]) / reference[0], LOSSES)


def ours_once(exe, variant, model, adapter, data, tokens, sequence, every, folder):
    """Our `eval --dump`: (loss, logits of every `every`-th token, gradients), and the ids in the order they were run."""
    dump = folder / "dump.safetensors"
    exe.run("eval", "--variant", variant, "--model", model, "--adapter", adapter, "--data", data,
            "--seq", sequence, "--batch-tokens", tokens, "--dump", dump, "--dump-every", every)
    tensors = load_file(dump)
    gradients = {name.removeprefix("grad."): value for name, value in tensors.items() if name.startswith("grad.")}
    return (tensors["loss"].item(), tensors["logits"], gradients), tensors["input_ids"]


def random_case(report, exe, case, work, seed):
    variant, tokens = case.split(":")[0], int(case.split(":")[1])
    folder = work / case.replace(":", "-")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, 256000, (1, tokens), generator=generator).cuda()
    labels = ids.clone()
    labels[:, : tokens // 8] = -100  # a prompt without loss
    gemma2.write_rows(folder / "data.jsonl", [dict(input_ids=ids[0].tolist(), labels=labels[0].tolist())])
    every = max(1, tokens // 48)
    rows = torch.arange(0, tokens, every)

    peft, largest = build(variant, ids, folder, seed)
    report.check(case, "40 / largest score of the layer where it is smallest", 40.0 / largest, 1.0, f"largest score {largest:.1f}")
    peer = forward_backward(peft, ids, labels, rows)
    peer_losses = train(peft, ids, labels)

    gc.collect(); torch.cuda.empty_cache()  # leave the memory to our process
    ours, ran = ours_once(exe, variant, folder / "model", folder / "adapter", folder / "data.jsonl", tokens, tokens, every, folder)
    if not torch.equal(ran.flatten().long(), ids[0].cpu()):
        raise SystemExit(f"{case}: eval ran other ids than the data holds")
    exe.run("train", "--variant", variant, "--model", folder / "model", "--adapter", folder / "adapter", "--data", folder / "data.jsonl", "--out", folder / "out", "--seq", tokens,
            "--batch-tokens", tokens, "--steps", STEPS, "--lr", LEARNING_RATE, "--schedule", "constant", "--warmup", 0, "--weight-decay", 0.01, "--clip", 1.0)
    losses = [step["loss"] for step in gemma2.metrics(folder / "out")]
    trained, _ = ours_once(exe, variant, folder / "model", folder / "out", folder / "data.jsonl", tokens, tokens, every, folder)

    # PEFT reads the adapter that we wrote: same loss as our eval of it.
    peft.load_adapter(str(folder / "out"), adapter_name="ours")
    peft.set_adapter("ours")
    with torch.no_grad():
        read_back = peft(input_ids=ids, labels=labels, use_cache=False).loss.item()
    peft.set_adapter("default")
    peft.delete_adapter("ours")

    # The reference last, in place: fp32 weights need the memory that bf16 ones had.
    # Its embedding scale is the rounded one, as this is a constant of bf16 runs and not an error of theirs.
    peft.float()
    use_rounded_embedding_scale(peft.get_base_model())
    reference = forward_backward(peft, ids, labels, rows)
    reference_losses = train(peft, ids, labels)

    report.compare(case, ours, peer, reference)
    print(f"  losses   ours {rounded(losses)}  transformers bf16 {rounded(peer_losses)}  fp32 {rounded(reference_losses)}", flush=True)
    if len(losses) != STEPS:
        raise SystemExit(f"{case}: train wrote {len(losses)} steps, not {STEPS}")
    theirs = furthest(peer_losses, reference_losses)
    report.check(case, f"losses of {STEPS} steps, largest relative error", furthest(losses, reference_losses), TRAINED * max(theirs, FLOOR), f"transformers bf16 {theirs:.3g}")
    report.check(case, "loss of our adapter in PEFT, relative difference to our eval", abs(read_back - trained[0]) / trained[0], LOSSES, f"{read_back:.5f} and {trained[0]:.5f}")
    shutil.rmtree(folder / "model")


def use_rounded_embedding_scale(model):
    embedding, hidden = model.model.embed_tokens, model.config.hidden_size
    if hasattr(embedding, "embed_scale"):  # releases whose embedding module multiplies by itself
        embedding.embed_scale.fill_(gemma2.embedding_scale_bf16(hidden))
    else:
        embedding.register_forward_hook(lambda _module, _inputs, out: out * (gemma2.embedding_scale_bf16(hidden) / hidden ** 0.5))


def rounded(losses):
    return " ".join(f"{loss:.4f}" for loss in losses)


def nano_case(report, exe, work):
    """The reference fixture in bf16: its two rows are two packed documents of one batch."""
    folder = work / "nano"
    folder.mkdir(parents=True, exist_ok=True)
    goldens = load_file(FIXTURE / "goldens.safetensors")
    ids, labels = goldens["input_ids"].long(), goldens["labels"].long()
    gemma2.write_rows(folder / "data.jsonl", [dict(input_ids=i, labels=l) for i, l in zip(ids.tolist(), labels.tolist())])
    rows = torch.arange(ids.numel())
    base = AutoModelForCausalLM.from_pretrained(FIXTURE / "checkpoint", dtype=torch.bfloat16, attn_implementation="eager").cuda()
    peft = PeftModel.from_pretrained(base, str(FIXTURE / "adapter_init"), is_trainable=True)
    peer = forward_backward(peft, ids.cuda(), labels.cuda(), rows)
    ours, ran = ours_once(exe, "nano", FIXTURE / "checkpoint", FIXTURE / "adapter_init", folder / "data.jsonl", ids.numel(), ids.shape[1], 1, folder)
    if not torch.equal(ran.flatten().long(), ids.flatten()):
        raise SystemExit("nano: eval ran other ids than the data holds, or in another order")
    numbers = json.loads((FIXTURE / "goldens.json").read_text())
    reference = (numbers["loss"], goldens["logits"].reshape(ids.numel(), -1), {name.removeprefix("grad."): value for name, value in goldens.items() if name.startswith("grad.")})
    report.compare("nano", ours, peer, reference)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--exe", required=True)
    arguments.add_argument("--case", action="append", help=f"default: {' '.join(CASES)}")
    arguments.add_argument("--work", default="/tmp/gemma2-parity")
    arguments.add_argument("--report", help="JSON of all checks")
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    exe, report = gemma2.Executable(options.exe), Report()
    for case in options.case or CASES:
        start = time.perf_counter()
        print(f"== {case}", flush=True)
        if case == "nano":
            nano_case(report, exe, Path(options.work))
        else:
            random_case(report, exe, case, Path(options.work), options.seed)
        gc.collect(); torch.cuda.empty_cache()
        print(f"  {time.perf_counter() - start:.0f} s", flush=True)
        if options.report:  # after every case: a later one may run out of time
            Path(options.report).write_text(json.dumps(dict(device=torch.cuda.get_device_name(), torch=torch.__version__, checks=report.checks), indent=1))
    failed = sum(not check["ok"] for check in report.checks)
    print(f"parity: {len(report.checks) - failed} checks ok, {failed} failed on {torch.cuda.get_device_name()}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
