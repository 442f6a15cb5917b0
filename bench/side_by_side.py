"""Us and the peers on one GPU, or on the CPU, in one run, taking turns, and the ratios.

    dotnet publish models/Gemma2 -c Release && bench/TorchSharpPeer/publish.sh
    python3 bench/side_by_side.py --exe artifacts/gemma2 --torchsharp artifacts/torchsharp-peer.tar.xz [--case 9b:4x2048 --case 9b:1x8192] [--rounds 2] [--report FILE]

    dotnet build -c Release models/Gemma2 && dotnet build -c Release -p:PeerLibtorch=cpu bench/TorchSharpPeer
    python3 bench/side_by_side.py --device cpu --exe models/Gemma2/bin/Release/net10.0/gemma2 --torchsharp bench/TorchSharpPeer/bin/Release/net10.0/torchsharp-peer [--rounds 5]

A case is VARIANT:ROWSxTOKENS.
Peers: transformers + PEFT with eager attention (the one that applies the attention softcap) and with flex_attention, and a TorchSharp program written as a C# user would write it;
both with gradient checkpointing, because a 9B at 8,192 tokens does not fit without.
Every round runs all of them one after the other, each in a process of its own on random ids; a figure is the median over
rounds of each process's median step. A peer that fails is a result too.
On the CPU all is fp32, the peer is TorchSharp with the libtorch it was built with, and nothing is computed twice.
"""
import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import peer_torchsharp

HERE = Path(__file__).resolve().parent


def last_json(command, timeout):
    """The JSON on the last line that a program prints, or {"error": what it said}."""
    try:
        done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return dict(error=f"no result within {timeout} s")
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if lines:
        return json.loads(lines[-1])
    said = (done.stderr + done.stdout).strip().splitlines()
    return dict(error=f"code {done.returncode}: {said[-1][:300] if said else 'it printed nothing'}")


def ours(options, variant, rows, length, recompute):
    return last_json([options.exe, "bench", "--variant", variant, "--model", "random:0", "--batch-tokens", rows * length,
                      "--seq", length, "--steps", options.steps, "--recompute", recompute,
                      "--device", options.device, "--dtype", "bf16" if options.device == "cuda" else "fp32", "--json"], options.timeout)


def transformers(options, variant, rows, length, attention):
    return last_json([sys.executable, HERE / "peer_huggingface.py", "--variant", variant, "--batch", rows, "--seq", length,
                      "--steps", options.peer_steps, "--attention", attention], options.timeout)


def torchsharp(options, program, variant, rows, length):
    arguments = ["--variant", variant, "--batch", rows, "--seq", length, "--steps", options.peer_steps]
    if options.device == "cuda":
        return peer_torchsharp.run(program, *arguments, timeout=options.timeout)
    return last_json([HERE.parent / "eng/run-with-newer-glibc.sh", options.torchsharp, *arguments, "--cpu", "--no-checkpointing"], options.timeout)


def contestants(options, program):
    """(name, function of variant, rows and length) in the order in which they take turns; ours first."""
    table = dict(hf=("transformers eager", lambda *case: transformers(options, *case, "eager")),
                 flex=("transformers flex", lambda *case: transformers(options, *case, "flex_attention")),
                 torchsharp=("TorchSharp eager", lambda *case: torchsharp(options, program, *case)))
    chosen = [peer for peer in options.peers.split(",") if peer]
    unknown = [peer for peer in chosen if peer not in table]
    if unknown:
        raise SystemExit(f"side_by_side: there is no peer {', '.join(unknown)}; peers are {', '.join(table)}")
    if "torchsharp" in chosen and options.torchsharp is None:
        raise SystemExit("side_by_side: the peer torchsharp needs --torchsharp FILE: on a GPU the package that bench/TorchSharpPeer/publish.sh makes, on the CPU the program")
    if options.device == "cpu" and chosen != ["torchsharp"]:
        raise SystemExit("side_by_side: on the CPU the only peer is torchsharp")
    return [("ours", lambda *case: ours(options, *case, options.recompute))] + [table[peer] for peer in chosen]


def run_case(options, case, program):
    variant, shape = case.split(":")
    rows, length = map(int, shape.split("x"))
    print(f"== {variant}, {rows} x {length:,}", flush=True)
    results = {}
    for turn in range(options.rounds):
        for name, run in contestants(options, program):
            result = run(variant, rows, length)
            results.setdefault(name, []).append(result)
            said = f"{result['tokens_per_second']:,.0f} tokens/s, {result['ms_median']:.1f} ms" if "tokens_per_second" in result else result.get("error", "no figure")
            print(f"  round {turn + 1}  {name:<20} {said}", flush=True)
    rates = {name: statistics.median(r["tokens_per_second"] for r in runs if "tokens_per_second" in r) if any("tokens_per_second" in r for r in runs) else None
             for name, runs in results.items()}
    print(f"  {'':<20} {'tokens/s':>10}  {'ours is':>8}", flush=True)
    for name, rate in rates.items():
        ratio = f"{rates['ours'] / rate:7.2f}x" if rate and rates["ours"] else ""
        print(f"  {name:<20} {f'{rate:,.0f}' if rate else 'failed':>10}  {ratio:>8}", flush=True)
    return dict(case=case, rates=rates, runs=results)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--exe", required=True)
    arguments.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    arguments.add_argument("--torchsharp", help="the TorchSharp peer: its package, on the CPU its program")
    arguments.add_argument("--peers", help="default: hf,flex,torchsharp; on the CPU torchsharp")
    arguments.add_argument("--case", action="append", help="default: 9b:4x2048; on the CPU nano:4x256")
    arguments.add_argument("--rounds", type=int, default=2)
    arguments.add_argument("--steps", type=int, default=20, help="timed steps of ours a round")
    arguments.add_argument("--peer-steps", type=int, default=8, help="steps of a peer a round, two of them not timed")
    arguments.add_argument("--recompute", default="auto")
    arguments.add_argument("--timeout", type=float, default=300)
    arguments.add_argument("--report")
    options = arguments.parse_args()
    on_cpu = options.device == "cpu"
    options.peers = options.peers or ("torchsharp" if on_cpu else "hf,flex,torchsharp")
    options.exe = str(Path(options.exe).resolve())
    with tempfile.TemporaryDirectory() as folder:
        program = peer_torchsharp.unpack(options.torchsharp, folder) if options.torchsharp and not on_cpu else None
        cases = []
        for case in options.case or ["nano:4x256" if on_cpu else "9b:4x2048"]:
            cases.append(run_case(options, case, program))
            if options.report:  # after every case: a later one may run out of time
                Path(options.report).write_text(json.dumps(dict(cases=cases), indent=1))
    sys.exit(0 if all(case["rates"]["ours"] for case in cases) else 1)


if __name__ == "__main__":
    main()
