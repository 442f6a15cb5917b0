"""Runs that are killed, that find the disk full and that share their folder: all go on to the bytes of a run that nothing happened to.

    python3 bench/runs.py --exe artifacts/gemma2 [--variant nano --model tests/fixtures/reference/checkpoint --data samples/nano.jsonl --device cpu] [--kills 200] [--disks 50] [--pairs 50] [--seed N]

Full disks are small tmpfs mounts, which need root. Ends with one JSON line; the exit code is 1 where a run was lost."""
import argparse, json, os, random, shutil, signal, subprocess, sys, tempfile, time

TIMES = ("tokens_per_second", "step_ms")


def parse():
    p = argparse.ArgumentParser()
    p.add_argument("--exe", required=True)
    p.add_argument("--variant", default="nano")
    p.add_argument("--model", default="tests/fixtures/reference/checkpoint")
    p.add_argument("--data", default="samples/nano.jsonl")
    p.add_argument("--device", default="cpu")
    p.add_argument("--steps", type=int, default=30)
    p.add_argument("--more", default="--seq 64 --batch-tokens 64 --rank 4 --schedule cosine --warmup 3 --grad-accum 2 --save-every 1 --keep 2", help="further options of train")
    p.add_argument("--kills", type=int, default=200)
    p.add_argument("--disks", type=int, default=50)
    p.add_argument("--pairs", type=int, default=50)
    p.add_argument("--seed", type=int, default=int(time.time()))
    return p.parse_args()


def content(out):
    """What a finished run leaves, times apart."""
    files = {}
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        with open(os.path.join(out, name), "rb") as f:
            files[name] = f.read()
    with open(os.path.join(out, "metrics.jsonl")) as f:
        files["metrics"] = [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in f]
    checkpoints = os.path.join(out, "checkpoints")
    newest = max((d for d in os.listdir(checkpoints) if d[5:].isdigit()), key=lambda d: int(d[5:]))
    for name in sorted(os.listdir(os.path.join(checkpoints, newest))):
        with open(os.path.join(checkpoints, newest, name), "rb") as f:
            files[newest + "/" + name] = f.read()
    return files


def main():
    a = parse()
    rng = random.Random(a.seed)
    command = [a.exe, "train", "--variant", a.variant, "--model", a.model, "--data", a.data, "--device", a.device, "--steps", str(a.steps), *a.more.split()]
    root = tempfile.mkdtemp(prefix="graph-runs-")
    failures = []

    def start(out, *more):
        return subprocess.Popen([*command, "--out", out, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(out, *more):
        process = start(out, *more)
        text, error = process.communicate()
        return process.returncode, text, error

    def to_step(process, step):
        for line in process.stdout:
            if line.startswith(f"step {step}/"):
                return

    whole = os.path.join(root, "whole")
    begin = time.monotonic()
    code, _, error = run(whole)
    if code != 0:
        sys.exit(f"the uninterrupted run ended with {code}: {error}")
    took = time.monotonic() - begin
    expected = content(whole)

    def finish(out, what):
        code, _, error = run(out, "--resume")
        try:
            same = code == 0 and content(out) == expected
        except OSError as e:
            same, error = False, str(e)
        if not same:
            failures.append(f"{what}: exit code {code}, {error.strip()}")
            kept = out + ".failed"
            shutil.copytree(out, kept)
            print("failed:", failures[-1], "kept in", kept, flush=True)
        elif "passed over" in error:
            failures.append(f"{what}: {error.strip()}")

    kills = folders = 0
    while kills < a.kills:
        out = os.path.join(root, f"kill{folders}")
        folders += 1
        for _ in range(rng.randint(1, 5)):
            process = start(out, "--resume")
            time.sleep(rng.uniform(0, took * 1.1))
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += process.returncode == -signal.SIGKILL
        finish(out, f"seed {a.seed}, killed run {folders}")
        shutil.rmtree(out)
    print(f"{kills} kills of {folders} runs, {len(failures)} lost", flush=True)

    for i in range(a.disks if os.geteuid() == 0 else 0):
        disk = os.path.join(root, f"disk{i}")
        os.mkdir(disk)
        size = rng.choice([16, 300, 900, 1500, 2500, 4000, 6000]) + rng.randint(0, 200)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "graph-runs", disk], check=True)
        try:
            out = os.path.join(disk, "out")
            code, _, error = run(out)
            if code not in (0, 3):
                failures.append(f"disk of {size} KB: exit code {code}, {error.strip()}")
            subprocess.run(["mount", "-o", "remount,size=256m", disk], check=True)
            finish(out, f"seed {a.seed}, disk of {size} KB")
        finally:
            subprocess.run(["umount", disk], check=True)
    if a.disks and os.geteuid() != 0:
        failures.append("full disks need root to mount a tmpfs; give --disks 0 to leave them out")

    for i in range(a.pairs):
        out = os.path.join(root, f"pair{i}")
        first = start(out)
        to_step(first, rng.randint(1, a.steps // 2))
        how = rng.choice([[], ["--resume"], ["--overwrite"]])
        code, _, error = run(out, *how)
        _, first_error = first.communicate()
        if code != 2 or first.returncode != 0 or content(out) != expected:
            failures.append(f"pair {i} {how}: exit codes {first.returncode} and {code}, {first_error.strip()} {error.strip()}")
        shutil.rmtree(out)

    print(json.dumps({"seed": a.seed, "kills": kills, "runs": folders, "disks": a.disks, "pairs": a.pairs, "lost": len(failures), "failures": failures[:10]}))
    if not failures:
        shutil.rmtree(root)
    sys.exit(1 if failures else 0)


main()
