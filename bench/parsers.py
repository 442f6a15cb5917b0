"""Damaged files through every parser of bytes from outside, with a process for each core: tests/Graph.Parsers.Fuzz shared out by the numbers of its inputs.

    python3 bench/parsers.py --exe artifacts/parsers-fuzz [--count 10000000] [--seconds 500] [--seed 0] [--jobs 16]

Prints the findings as they come, then a line for each parser and one for all. A process that dies or hangs is a finding too. Needs no GPU.
The exit code is 1 where something was found."""
import argparse, collections, os, re, resource, subprocess, sys, threading, time

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LINE = re.compile(r"(.{22}) +(\d+) inputs +([\d.]+) % accepted +(\d+) us, at most +(\d+) ms and +([\d.]+) MiB")

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("--exe", required=True)
p.add_argument("--count", type=int, default=10_000_000)
p.add_argument("--seconds", type=float, default=500, help="no further input is begun after these")
p.add_argument("--seed", type=int, default=0, help="number of the first input")
p.add_argument("--jobs", type=int, default=os.cpu_count())
a = p.parse_args()

found, kinds, lock, begin = [], collections.defaultdict(list), threading.Lock(), time.monotonic()


def work(job):
    first, behind = (a.seed + a.count * j // a.jobs for j in (job, job + 1))
    # A process keeps to one core: its parsers share work among threads where there are more.
    process = subprocess.Popen([os.path.abspath(a.exe), "--repository", REPOSITORY, "--jobs", "1", "--seed", str(first), "--count", str(behind - first),
                                "--seconds", str(a.seconds)],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | {"DOTNET_PROCESSOR_COUNT": "1"})
    other = ""
    for line in process.stdout:
        with lock:
            if kind := LINE.match(line):
                name, *numbers = kind.groups()
                kinds[name.strip()].append([float(n) for n in numbers])
            elif line.startswith("FOUND"):
                found.append(line)
                print(line, end="", flush=True)
            else:
                other += line
    if process.wait() not in (0, 1):
        at = f"/dev/shm/parsers-fuzz-{process.pid}/thread-0/number"
        number = open(at).read().strip() if os.path.exists(at) else "unknown"
        with lock:
            found.append(other)
            print(f"FOUND a process ended with {process.returncode} at --show {number}: {other[-2000:]}", flush=True)


threads = [threading.Thread(target=work, args=(job,)) for job in range(a.jobs)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for name, parts in sorted(kinds.items()):
    inputs = sum(n for n, *_ in parts)
    accepted, micros = (sum(part[0] * part[i] for part in parts) / inputs for i in (1, 2))
    print(f"{name:22} {inputs:10.0f} inputs {accepted:5.1f} % accepted {micros:7.0f} us, "
          f"at most {max(part[3] for part in parts):6.0f} ms and {max(part[4] for part in parts):6.1f} MiB")
total, took = sum(n for parts in kinds.values() for n, *_ in parts), time.monotonic() - begin
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
print(f"seed {a.seed}, {a.jobs} processes: {total:.0f} inputs, {len(found)} findings, {took:.0f} s, {total / took:.0f} inputs/s, peak of a process {peak} MiB")
sys.exit(1 if found or total == 0 else 0)
