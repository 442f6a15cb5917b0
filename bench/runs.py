"""Runs that are killed, find the disk full, share their folder, are damaged or stopped: all go on to the bytes of a run that nothing happened to.

    python3 bench/runs.py --gemma2 artifacts/gemma2-nano [--kills 200] [--disks 50] [--pairs 50] [--damages 12] [--matrix 1] [--jobs N] [--seed N] [--dir FOLDER]

Needs the executable, Python's own library and files of this repository; no GPU. Full disks are small tmpfs mounts, which need root.
A case that fails prints a line, with what makes it again; a line for each kind comes last, then one of JSON. The exit code is 1 where a run was lost."""
import argparse, concurrent.futures, json, os, random, re, shutil, signal, subprocess, sys, tempfile, threading, time

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TIMES = ("tokens_per_second", "step_ms")
MEMORY = ("peak_bytes", "planned_peak_bytes")
SAVED_OFTEN = "--seq 128 --batch-tokens 128 --rank 4 --schedule cosine --warmup 3 --grad-accum 2 --dropout 0.1 --save-every 1 --keep 2"
STEPS = 16

# Every one is stopped and killed on its way.
MATRIX = {
    "shuffled and packed": "",
    "one document a row": "--packing off --batch-tokens 256",
    "joined and cut": "--concat",
    "dropout": "--dropout 0.2",
    "accumulated": "--grad-accum 3",
    "constant": "--schedule constant --warmup 5",
    "linear": "--schedule linear --min-lr 1e-5",
    "cosine with restarts": "--schedule cosine --warmup 2 --restarts 2",
    "8-bit moments": "--optimizer adamw8bit",
    "8-bit moments, dropout, accumulated": "--optimizer adamw8bit --dropout 0.1 --grad-accum 2",
    "skipped steps": "--lr 1e30 --max-skipped 1000",
    "evaluated": "--eval-data samples/nano.jsonl --eval-every 3",
    "ends early": "--eval-data samples/nano.jsonl --eval-every 1 --early-stopping-patience 2 --lr 1",
    "LoRA+ and rsLoRA": "--lora-plus-ratio 16 --rslora",
    "ranks that differ": "--rank-pattern mlp.*=8 --layers 0-1",
    "weights of files": "--data samples/nano.jsonl:1.5",
    "many epochs": "--batch-tokens 8192 --grad-accum 1",
    "split": "--seq 32 --over-length split --loss-on completion",
    "recomputed": "--recompute full",
    "in 4 bits": "--quant nf4",
    "weights streamed": "--stream-weights on",
    "streamed": "--data {large} --over-length truncate",
    "streamed, accumulated, joined": "--data {large} --concat --grad-accum 2",
    "streamed to the next windows": "--data {large} --over-length truncate --batch-tokens 8192 --grad-accum 8",
}


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--gemma2", "--exe", required=True, dest="exe")
    p.add_argument("--variant", default="nano")
    p.add_argument("--model", default="tests/fixtures/reference/checkpoint")
    p.add_argument("--tokenizer", help="of a model that has none, as random:SEED")
    p.add_argument("--data", default="samples/nano.jsonl")
    p.add_argument("--device", default="cpu")
    p.add_argument("--vram", help="as train has it; processes beside each other share the card")
    p.add_argument("--more", default=SAVED_OFTEN, help="further options of the runs that are killed")
    p.add_argument("--kills", type=int, default=200)
    p.add_argument("--disks", type=int, default=50)
    p.add_argument("--pairs", type=int, default=50)
    p.add_argument("--damages", type=int, default=12, help="places in each file of a checkpoint that are cut, and as many where a bit is turned")
    p.add_argument("--matrix", type=int, default=1, help="interrupted runs of each setting")
    p.add_argument("--settings", nargs="*", choices=MATRIX, default=list(MATRIX), metavar="NAME", help="of the matrix these alone")
    p.add_argument("--jobs", type=int, default=1, help="cases beside each other")
    p.add_argument("--seed", type=int, default=int(time.time()))
    p.add_argument("--dir", help="where the runs' folders are made; the system's temporary folder when left out")
    return p.parse_args()


def content(out, apart):
    """What a run leaves: all files by name but those that hold times, some fields of metrics apart.
    Of checkpoints the newest: where a run was stopped decides which others there are."""
    files = {}
    checkpoints = os.path.join(out, "checkpoints")
    newest = max((int(d[5:]) for d in os.listdir(checkpoints) if d[5:].isdigit()), default=0) if os.path.isdir(checkpoints) else 0
    for folder, _, names in os.walk(out):
        for name in names:
            path = os.path.join(folder, name)
            key = os.path.relpath(path, out)
            if key in (".lock", "report.html", "run-facts.json") or key.startswith("events.out.tfevents.") or re.fullmatch(rf"checkpoints/step-(?!{newest}/)\d+/.*", key):
                continue
            with open(path, "rb") as f:
                files[key] = f.read()
    lines = files.get("metrics.jsonl", b"").decode().splitlines()
    files["metrics.jsonl"] = [{k: v for k, v in json.loads(line).items() if k not in apart} for line in lines]
    if os.path.islink(os.path.join(out, "best")):
        files["best"] = os.readlink(os.path.join(out, "best"))
    return files


def difference(is_, should_be):
    """How two runs' contents differ, in words; none: they do not."""
    if is_ == should_be:
        return ""
    only, missing = sorted(is_.keys() - should_be.keys()), sorted(should_be.keys() - is_.keys())
    changed = sorted(k for k in is_.keys() & should_be.keys() if is_[k] != should_be[k])
    return "; ".join(f"{what}: {', '.join(names)}" for what, names in (("too many", only), ("missing", missing), ("other bytes", changed)) if names)


class Run:
    """A started process; its lines are read by a thread, so that waiting for one can end when the process does."""

    def __init__(self, command, environment):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY, env=environment)
        self.step, self.changed = 0, threading.Condition()
        self.first = None
        self.errors = []
        self.threads = [threading.Thread(target=self.read), threading.Thread(target=lambda: self.errors.append(self.process.stderr.read()))]
        for thread in self.threads:
            thread.start()

    def read(self):
        for line in self.process.stdout:
            with self.changed:
                if found := re.match(r"step (\d+)/", line):
                    self.step, self.first = int(found.group(1)), self.first or time.monotonic()
                self.changed.notify_all()
        with self.changed:
            self.step = 1 << 30
            self.changed.notify_all()

    def to_step(self, step):
        """Whether the step came; else the process has ended."""
        with self.changed:
            self.changed.wait_for(lambda: self.step >= step)
            return self.step < 1 << 30

    def end(self, limit=600):
        """Exit code and standard error."""
        try:
            self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            self.errors.append(f"; it did not end within {limit} seconds")
        for thread in self.threads:
            thread.join()
        return self.process.returncode, "".join(self.errors).strip()


class Bench:
    def __init__(self, a, root):
        self.a, self.root = a, root
        # Processes beside each other share the cores, two at most for each.
        threads = max(1, min(2, os.cpu_count() // a.jobs))
        self.environment = os.environ | {"GRAPH_CACHE": os.path.join(root, "cache"), "DOTNET_PROCESSOR_COUNT": str(threads)}
        # What a driver's context takes is counted by the memory that is free, which processes beside each other change.
        self.apart = TIMES + MEMORY if a.device != "cpu" and a.jobs > 1 else TIMES
        self.environment.pop("OTEL_EXPORTER_OTLP_ENDPOINT", None)

    def command(self, more, data=None):
        more = [*([] if "--data" in more else ["--data", data or self.a.data]), *(("--tokenizer", self.a.tokenizer) if self.a.tokenizer else ()),
                *(("--vram", self.a.vram) if self.a.vram else ()), *more]
        return [os.path.abspath(self.a.exe), "train", "--variant", self.a.variant, "--model", self.a.model, "--device", self.a.device, "--steps", str(STEPS), *more]

    def start(self, command, out, *more):
        return Run([*command, "--out", out, *more], self.environment)

    def whole(self, command, name):
        """Content of the run that nothing happens to, how long it took, and how long a step of it."""
        out = os.path.join(self.root, name)
        begin = time.monotonic()
        run = self.start(command, out)
        code, error = run.end()
        if code != 0:
            sys.exit(f"the uninterrupted run '{name}' ended with {code}: {error}\n{' '.join(command)} --out {out}")
        end = time.monotonic()
        return content(out, self.apart), end - begin, (end - run.first) / STEPS

    def finish(self, command, out, expected, said=None):
        """Goes on to the end. Why the run is lost; none: it is not."""
        code, error = self.start(command, out, "--resume").end()
        if code != 0:
            return f"--resume ended with {code}: {error}"
        if said is None and "it is passed over" in error:
            return error
        if said is not None and said not in error:
            return f"nothing was said of {said}: {error}"
        return difference(content(out, self.apart), expected)

    def kill(self, rng, out):
        """Kills a run at a random moment: any time, behind a step, or while something is being saved. Whether it was in the middle of a save."""
        for again in range(rng.choice([1, 1, 1, 2, 3])):
            run = self.start(self.saved_often, out, "--resume")
            how = rng.choice(["time", "step", "saving", "saving"])
            if how == "time":
                time.sleep(rng.uniform(0, self.took))
            elif run.to_step(rng.randint(0, STEPS - 1)):
                while how == "saving" and run.process.poll() is None and not unfinished(out):
                    time.sleep(0.0001)
                time.sleep(rng.uniform(0, 0.003) if how == "saving" else rng.uniform(0, 2 * self.took / STEPS))
            run.process.send_signal(signal.SIGKILL)
            killed = run.end()[0] == -signal.SIGKILL
        return killed, unfinished(out)

    def killed(self, rng, out):
        killed = False
        while not killed:
            # One that had ended before it was killed says nothing.
            shutil.rmtree(out, ignore_errors=True)
            killed, saving = self.kill(rng, out)
        return self.finish(self.saved_often, out, self.expected), "while something was being saved" if saving else ""

    def full(self, rng, out):
        disk = out + ".disk"
        os.mkdir(disk)
        need = sum(len(v) for k, v in self.expected.items() if k != "metrics.jsonl") // 1024 * 3 // 2
        fill = rng.random() < 0.5
        size = rng.randint(8, need) if not fill else 16384
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "graph-runs", disk], check=True)
        try:
            out = os.path.join(disk, "out")
            run = self.start(self.saved_often, out)
            if fill and run.to_step(rng.randint(0, STEPS - 1)):
                time.sleep(rng.uniform(0, self.took / STEPS))
                fill_up(os.path.join(disk, "filler"), rng.randint(0, 300) * 1024)
            code, error = run.end()
            if code not in (0, 3) or (code == 3 and not one_sentence(error)):
                return f"on a disk of {size} KB it ended with {code}: {error}", ""
            if os.path.exists(os.path.join(disk, "filler")):
                os.remove(os.path.join(disk, "filler"))
            subprocess.run(["mount", "-o", "remount,size=256m", disk], check=True)
            lost = self.finish(self.saved_often, out, self.expected)
            return lost and f"after a disk of {size} KB{', filled on the way,' if fill else ''} {lost}; before: {error}", "without an end" if code == 3 else ""
        finally:
            subprocess.run(["umount", "-l", disk], check=True)
            os.rmdir(disk)

    def pair(self, rng, out):
        first = self.start(self.saved_often, out)
        if rng.random() < 0.3:
            time.sleep(rng.uniform(0, self.took / 2))
        else:
            first.to_step(rng.randint(1, STEPS - 4))
        how = rng.choice([[], ["--resume"], ["--overwrite"]])
        second = self.start(self.saved_often, out, *how)
        codes, errors = zip(second.end(), first.end())
        # Where both have just begun, either may be the one that owns the folder.
        if sorted(codes) != [0, 2] or not one_sentence(errors[codes.index(2)]):
            return f"second process {how}: exit codes {codes[1]} and {codes[0]}: {errors}", ""
        return difference(content(out, self.apart), self.expected), "before the first owned it" if codes[0] == 0 else ""

    def stopped(self):
        """A run that was stopped behind some checkpoints: the folder that damages are tried on."""
        self.some = self.command("--seq 128 --batch-tokens 128 --rank 4 --schedule cosine --warmup 3 --save-every 4 --keep 3".split())
        self.some_whole = self.whole(self.some, "damaged-whole")[0]
        self.base = os.path.join(self.root, "damaged-base")
        run = self.start(self.some, self.base)
        run.to_step(13)
        run.process.send_signal(signal.SIGTERM)
        code, error = run.end()
        steps = sorted(int(d[5:]) for d in os.listdir(os.path.join(self.base, "checkpoints")))
        if code != 143 or len(steps) != 3 or steps[-1] == STEPS:
            sys.exit(f"the run that was stopped ended with {code} and has checkpoints of {steps}: {error}")
        self.newest = os.path.join("checkpoints", f"step-{steps[-1]}")

    def damages(self, count):
        """Every file of the newest checkpoint, cut and changed at some places, doubled, emptied, removed; and all checkpoints at once."""
        folder = os.path.join(self.base, self.newest)
        for name in sorted(os.listdir(folder)):
            size, rng = os.path.getsize(os.path.join(folder, name)), random.Random(f"{self.a.seed} {name}")
            for at in {0, 1, size // 2, size - 1} | {rng.randrange(size) for _ in range(max(0, count - 4))}:
                yield name, "cut", at
            for at in {0, 7, size - 1} | {rng.randrange(size) for _ in range(max(0, count - 3))}:
                yield name, "turned", at
            yield from ((name, what, 0) for what in ("doubled", "longer", "removed", "zeros", "everywhere"))

    def damage(self, rng, out, name, what, at):
        shutil.copytree(self.base, out, symlinks=True)
        folders = [self.newest] if what != "everywhere" else [os.path.join("checkpoints", d) for d in os.listdir(os.path.join(out, "checkpoints"))]
        for folder in folders:
            path = os.path.join(out, folder, name)
            with open(path, "rb") as f:
                good = bytearray(f.read())
            if what == "turned":
                good[at] ^= 1 << rng.randrange(8)
            bytes_ = {"cut": good[:at], "turned": good, "doubled": good + good, "longer": good + b"\n", "zeros": bytes(len(good)), "everywhere": good[:-1]}.get(what)
            os.remove(path)
            if bytes_ is not None:
                with open(path, "wb") as f:
                    f.write(bytes_)
        if what != "everywhere":
            return self.finish(self.some, out, self.some_whole, said=self.newest), ""
        code, error = self.start(self.some, out, "--resume").end()
        return "" if code == 3 and one_sentence(error) else f"all checkpoints were damaged, and it ended with {code}: {error}", ""

    def large(self):
        """JSON Lines of more than is held in memory."""
        path, rng = os.path.join(self.root, "large.jsonl"), random.Random(5)
        with open(os.path.join(REPOSITORY, "samples/nano.jsonl")) as f:
            words = " ".join(json.loads(line).get("text", line) for line in f).split()
        text = " ".join(rng.choice(words) for _ in range(400_000))
        with open(path, "w") as f:
            while f.tell() < 70 << 20:
                at = rng.randrange(len(text) - 4000)
                f.write(json.dumps({"text": text[at:at + rng.randint(200, 4000)]}) + "\n")
        return path

    def setting(self, rng, out, name):
        options = MATRIX[name].format(large=self.large_path).split()
        # Of an option that is given twice the second counts for nobody, so the standard ones make room.
        standard = {"--seq": "128", "--batch-tokens": "128", "--rank": "4"}
        command = self.command([w for k, v in standard.items() if k not in options for w in (k, v)] + options + "--save-every 2 --keep 2".split())
        with self.lock:
            expected = self.wholes.get(name) or self.wholes.setdefault(name, concurrent.futures.Future())
            mine = not expected.running() and not expected.done() and expected.set_running_or_notify_cancel()
        if mine:
            expected.set_result(self.whole(command, "whole " + name))
        whole, _, each = expected.result()
        skipped = sum(m["skipped"] for m in whole["metrics.jsonl"])
        if ("skipped" in name) != (skipped > 0):
            return f"{skipped} steps were skipped", ""
        stops, tries = 0, 0
        while stops < rng.randint(1, 3):
            run = self.start(command, out, "--resume")
            if run.to_step(rng.randint(1, max(1, len(whole["metrics.jsonl"]) - 1))):
                time.sleep(rng.uniform(0, each))
            run.process.send_signal(rng.choice([signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL]))
            code, error = run.end()
            if code not in (0, 129, 130, 143, -9):
                return f"stopped, it ended with {code}: {error}", ""
            stops, tries = stops + (code != 0), tries + 1
            if code == 0 and stops > 0:
                break
            if code == 0:
                # One that had ended before it was stopped says nothing.
                shutil.rmtree(out)
                if tries == 50:
                    return "50 runs had ended before they were stopped", ""
        lost = self.finish(command, out, whole)
        return lost and f"{lost}; {' '.join(command)}", f"stopped {stops} times" if stops > 1 else "stopped once"


class Progress:
    """Every few seconds a line, so that what is cut off has said how far it came."""

    def __init__(self, kind, cases):
        self.kind, self.cases, self.done, self.lost, self.begin, self.lock = kind, cases, 0, 0, time.monotonic(), threading.Lock()
        self.said = self.begin

    def ended(self, failure):
        with self.lock:
            self.done, self.lost, now = self.done + 1, self.lost + bool(failure), time.monotonic()
            if now - self.said >= 10:
                self.said = now
                print(f"  {self.kind}: {self.done} of {self.cases}, {self.lost} lost, {now - self.begin:.0f} s", flush=True)


def unfinished(out):
    """Something is half written: a name beside the one that it will have."""
    aside = (".partial", ".replaced", ".old", ".next")
    try:
        return any(name.endswith(aside) for folder in (out, os.path.join(out, "checkpoints")) if os.path.isdir(folder) for name in os.listdir(folder))
    except OSError:
        return False


def fill_up(path, leave):
    """Takes the room that a disk has, but for some bytes."""
    free = os.statvfs(os.path.dirname(path))
    with open(path, "wb", buffering=0) as f:
        left = max(0, free.f_bavail * free.f_frsize - leave)
        try:
            while left > 0:
                left -= f.write(bytes(min(left, 1 << 16)))
        except OSError:
            pass


def one_sentence(error):
    """Standard error ends with one line of an error, and nothing of a stack trace is there."""
    lines = error.splitlines()
    return sum(line.startswith("error: ") for line in lines) == 1 and "   at " not in error and "fault of the program" not in error


def main():
    a = parse()
    root = tempfile.mkdtemp(prefix="graph-runs-", dir=a.dir)
    bench = Bench(a, root)
    print(f"seed {a.seed}, {a.jobs} cases beside each other, {root}", flush=True)
    bench.saved_often = bench.command(a.more.split())
    if a.kills or a.disks or a.pairs:
        bench.expected, bench.took, _ = bench.whole(bench.saved_often, "whole")
    bench.lock, bench.wholes = threading.Lock(), {}
    kinds = [("kills", bench.killed, [()] * a.kills), ("full disks", bench.full, [()] * a.disks), ("second processes", bench.pair, [()] * a.pairs)]
    if a.damages:
        bench.stopped()
        kinds.append(("damages", bench.damage, list(bench.damages(a.damages))))
    if a.matrix:
        bench.large_path = bench.large()
        kinds.append(("settings", bench.setting, [(name,) for name in a.settings for _ in range(a.matrix)]))
    report, lost = {"seed": a.seed}, []

    def case(progress, kind, run, number, arguments):
        out = os.path.join(root, f"{kind} {number}")
        try:
            failure, note = run(random.Random(f"{a.seed} {kind} {number}"), out, *arguments)
        except Exception as e:
            failure, note = f"{type(e).__name__}: {e}", ""
        if failure:
            print(f"lost: seed {a.seed}, {kind} {number} {' '.join(map(str, arguments))}: {failure} (kept in {out})", flush=True)
        else:
            shutil.rmtree(out, ignore_errors=True)
        progress.ended(failure)
        return failure, note

    for kind, run, cases in kinds:
        if kind == "full disks" and cases and os.geteuid() != 0:
            lost.append("full disks need root to mount a tmpfs; give --disks 0 to leave them out")
            print(lost[-1])
            continue
        begin = time.monotonic()
        progress = Progress(kind, len(cases))
        with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
            done = list(pool.map(lambda c: case(progress, kind, run, *c), enumerate(cases)))
        failed, notes = [f for f, _ in done if f], [n for _, n in done if n]
        lost += failed
        report[kind] = {"cases": len(cases), "lost": len(failed)} | {n: notes.count(n) for n in set(notes)}
        print(f"{kind}: {len(cases)} cases, {len(failed)} lost{''.join(f', {notes.count(n)} {n}' for n in sorted(set(notes)))}, {time.monotonic() - begin:.0f} s", flush=True)

    print(json.dumps(report))
    if not lost:
        shutil.rmtree(root)
    sys.exit(1 if lost else 0)


main()
