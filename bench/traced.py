"""strace of a whole training run: no socket is opened and no other process started, with a checkpoint, evaluation, event files and the report written.

    python3 bench/traced.py --gemma2 artifacts/gemma2-nano [--device cuda] [--strace strace] [--keep FILE]

Prints what was called, each call with the library that made it; exit code 1 where there was one that should not be.
Needs strace 6 (built with stack traces), no GPU with --device cpu."""
import argparse, collections, os, re, subprocess, sys, tempfile

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CALLS = "socket,socketpair,connect,bind,listen,accept,accept4,sendto,sendmsg,sendmmsg,execve,execveat,fork,vfork,clone,clone3"

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("--gemma2", "--exe", required=True, dest="exe")
p.add_argument("--device", default="cpu")
p.add_argument("--strace", default="strace")
p.add_argument("--keep", help="receives strace's lines")
a = p.parse_args()

with tempfile.TemporaryDirectory() as folder:
    trace = a.keep or os.path.join(folder, "trace")
    environment = os.environ | {"GRAPH_CACHE": os.path.join(folder, "cache")}
    environment.pop("OTEL_EXPORTER_OTLP_ENDPOINT", None)
    # -k: who called. A filter in the kernel leaves all other calls at their speed; signals, with which .NET halts its threads, are many and say nothing.
    command = [*a.strace.split(), "-f", "--seccomp-bpf", "-k", "-s", "200", "-e", f"trace={CALLS}", "-e", "signal=none",
               "-o", trace, os.path.abspath(a.exe), "train", "--variant", "nano",
               "--model", "tests/fixtures/reference/checkpoint", "--data", "samples/nano.jsonl", "--device", a.device, "--seq", "128", "--batch-tokens", "256",
               "--steps", "8", "--grad-accum", "2",
               "--eval-data", "samples/nano.jsonl", "--eval-every", "3", "--save-every", "2", "--keep", "2", "--dropout", "0.1", "--out", os.path.join(folder, "out")]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    print(done.stdout.strip()[-600:])
    if done.returncode != 0:
        sys.exit(f"the run under strace ended with {done.returncode}")
    written = sorted(os.listdir(os.path.join(folder, "out")))
    with open(trace) as f:
        lines = f.readlines()

# A call, then the frames of who made it; of a call that another thread's cut in two they stand behind the second half.
calls, counts, open_, last = [], collections.Counter(), {}, None
for line in lines:
    if found := re.match(r"(\d+) +(\w+)\(", line):
        last = [found.group(2), line.strip(), []]
        calls.append(last)
        open_[found.group(1)] = last
        counts[last[0]] += 1
    elif found := re.match(r"(\d+) +<\.\.\. \w+ resumed", line):
        last = open_[found.group(1)]
    elif line.startswith(" > ") and last:
        last[2].append(line.strip()[2:])
first = next(c for c in calls if c[0] == "execve")
wrong = [c for c in calls if c is not first and not ("clone" in c[0] and "CLONE_THREAD" in c[1])]
for name, line, frames in wrong:
    libraries = list(dict.fromkeys(os.path.basename(frame.split("(")[0].strip()) for frame in frames))
    print(f"{line}\n    from {' < '.join(libraries[:6])}")
print(f"written: {' '.join(written)}")
print(f"{a.device}: {dict(counts)}; {len(wrong)} that are neither the start nor a thread")
sys.exit(1 if wrong else 0)
