"""What a training run costs on a GPU: speed beside transformers in the same run, memory, time to the first step, and whether two runs give the same bytes.

    python3 bench/throughput.py --exe artifacts/gemma2 --data gsm8k_train.jsonl [--only 9b,peer,2b,27b] [--work DIR] [--report FILE]

9B trains 50 steps of 8,192 tokens (rows of 2,048, --concat) twice from random:0: the first run with an empty kernel cache, the second with a warm one.
2B keeps everything; 27B drops what is cheap to rebuild. Options that this script does not know go to every `train`, for example --tokenizer.
"""
import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import gemma2

TOKENS, SEQUENCE = 8192, 2048
COMMON = ["--model", "random:0", "--concat", "--seq", SEQUENCE, "--batch-tokens", TOKENS, "--rank", 16, "--alpha", 16, "--seed", 0]


def digest(folder):
    return {name: hashlib.sha256((Path(folder) / name).read_bytes()).hexdigest() for name in ("adapter_model.safetensors", "adapter_config.json")}


def train(exe, variant, data, out, steps, cache, *more):
    """Runs `train`; returns its steps, seconds in total, and seconds from the start to the end of step 1 (as the run's own clock has them, and by the file's first line)."""
    shutil.rmtree(out, ignore_errors=True)
    environment = dict(os.environ, GRAPH_CACHE=str(cache))
    command = [exe.path, "train", "--variant", variant, *map(str, COMMON), "--data", str(data), "--out", str(out), "--steps", str(steps), *map(str, more), *exe.options]
    print("  $", " ".join(command), flush=True)
    start, first, log = time.perf_counter(), None, Path(out).with_suffix(".log")
    metrics = Path(out) / "metrics.jsonl"
    with open(log, "w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
        while process.poll() is None:
            if first is None and metrics.exists() and metrics.stat().st_size > 0:
                first = time.perf_counter() - start
            time.sleep(0.02)
    seconds = time.perf_counter() - start
    if process.returncode != 0:
        raise SystemExit(f"train {variant} ended with code {process.returncode}:\n" + "\n".join(log.read_text().splitlines()[-20:]))
    return gemma2.metrics(out), seconds, first if first is not None else seconds


def summary(steps):
    """Median speed of the steps after the second, and memory."""
    rates = sorted(step["tokens_per_second"] for step in steps[2:])
    last = steps[-1]
    return dict(steps=len(steps), tokens_per_second=rates[len(rates) // 2], step_ms=sorted(step["step_ms"] for step in steps[2:])[len(rates) // 2],
                first_loss=steps[0]["loss"], last_loss=last["loss"], peak_bytes=last["peak_bytes"], planned_peak_bytes=last["planned_peak_bytes"])


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--exe", required=True)
    arguments.add_argument("--data", required=True)
    arguments.add_argument("--only", default="9b,peer,2b,27b")
    arguments.add_argument("--work", default="/tmp/gemma2-throughput")
    arguments.add_argument("--steps", type=int, default=50)
    arguments.add_argument("--report")
    options, more_options = arguments.parse_known_args()
    parts, work = options.only.split(","), Path(options.work)
    work.mkdir(parents=True, exist_ok=True)
    exe, result, checks = gemma2.Executable(options.exe), {}, []

    def check(what, ok, note):
        checks.append(dict(what=what, ok=bool(ok), note=note))
        print(f"  {'ok  ' if ok else 'FAIL'} {what}: {note}", flush=True)

    def save():
        if options.report:
            Path(options.report).write_text(json.dumps(dict(result=result, checks=checks), indent=1))

    if "9b" in parts:
        print("== 9b", flush=True)
        cache = work / "cache"
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir(mode=0o700)
        cold, cold_seconds, cold_first = train(exe, "9b", options.data, work / "9b-1", options.steps, cache, *more_options)
        warm, warm_seconds, warm_first = train(exe, "9b", options.data, work / "9b-2", options.steps, cache, *more_options)
        nine = result["9b"] = summary(warm) | dict(cold_first_step_s=round(cold_first, 2), warm_first_step_s=round(warm_first, 2),
                                                   total_s=[round(cold_seconds, 1), round(warm_seconds, 1)])
        print("  " + json.dumps(nine), flush=True)
        check("9b, two runs give the same adapter bytes and losses",
              digest(work / "9b-1") == digest(work / "9b-2") and [s["loss"] for s in cold] == [s["loss"] for s in warm], str(digest(work / "9b-1")))
        check("9b, loss falls", sum(s["loss"] for s in warm[-5:]) < sum(s["loss"] for s in warm[:5]), f"{nine['first_loss']:.4f} to {nine['last_loss']:.4f}")
        check("9b, at least 7,100 tokens/s", nine["tokens_per_second"] >= 7100, f"{nine['tokens_per_second']:.0f}")
        check("9b, peak is the planned one", nine["peak_bytes"] == nine["planned_peak_bytes"],
              f"{nine['peak_bytes'] / 2**30:.2f} GiB, planned {nine['planned_peak_bytes'] / 2**30:.2f}")
        # The random weights are made on the device, but their upload is what a checkpoint's loading would be: the limits leave it out, this figure does not.
        check("9b, first step within 15 s, cold cache", cold_first < 15, f"{cold_first:.1f} s")
        check("9b, first step within 5 s, warm cache", warm_first < 5, f"{warm_first:.1f} s")
        save()
    if "peer" in parts:
        print("== transformers, 9b", flush=True)
        done = subprocess.run([sys.executable, str(Path(__file__).with_name("peer_huggingface.py")), "--variant", "9b",
                               "--batch", "4", "--seq", str(SEQUENCE)], stdout=subprocess.PIPE, text=True)
        peer = result["peer"] = json.loads(done.stdout.splitlines()[-1])
        print("  " + json.dumps(peer), flush=True)
        if "9b" in result and "tokens_per_second" in peer:
            ratio = result["9b"]["tokens_per_second"] / peer["tokens_per_second"]
            result["ratio"] = ratio
            check("9b, at least 1.9 times transformers' eager attention", ratio >= 1.9, f"{ratio:.2f}")
        save()
    for variant, more in (("2b", ["--recompute", "none"]), ("27b", ["--recompute", "cheap"])):
        if variant in parts:
            print(f"== {variant}", flush=True)
            steps, _, first = train(exe, variant, options.data, work / variant, 8, work / "cache", *more, *more_options)
            result[variant] = summary(steps) | dict(first_step_s=round(first, 2), recompute=more[1])
            print("  " + json.dumps(result[variant]), flush=True)
            check(f"{variant}, peak is the planned one", result[variant]["peak_bytes"] == result[variant]["planned_peak_bytes"], f"{result[variant]['peak_bytes'] / 2**30:.2f} GiB")
            save()

    failed = sum(not c["ok"] for c in checks)
    print(f"throughput: {len(checks) - failed} checks ok, {failed} failed", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
