"""What watching costs: `train` with everything on beside `bench`, on the same plan.

    python3 bench/watched.py --exe artifacts/gemma2 --data gsm8k_train.jsonl [--variant 9b] [--steps 40] [--rounds 3] [--least 0.98]
        [--work DIR] [--report FILE] [further options of both]

`bench` times steps of full rows of random ids, from which nobody watches.
`train` runs as a person starts it: metrics.jsonl, event files, OpenTelemetry to a collector of this script, a live view on a pseudo-terminal, and a
checkpoint in the middle; rows are full (--concat), so that both have the same tokens. They take turns.
Steps that a save or the start delays are part of the figures by total time, and not of those by the median step.
Ends with one JSON line; the exit code is 1 where the median step's share is below --least."""
import argparse
import http.server
import json
import os
import pty
import select
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import gemma2


class Collector(http.server.BaseHTTPRequestHandler):
    received = 0

    def do_POST(self):
        Collector.received += len(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def on_terminal(command, environment):
    """Runs a command on a terminal of its own; returns its exit code and what it drew."""
    master, slave = pty.openpty()
    process = subprocess.Popen(command, stdout=slave, stderr=subprocess.STDOUT, env=environment)
    os.close(slave)
    drawn = b""
    while True:
        ready, _, _ = select.select([master], [], [], 0.2)
        if ready:
            try:
                part = os.read(master, 1 << 16)
            except OSError:
                break
            if not part:
                break
            drawn += part
        elif process.poll() is not None:
            break
    os.close(master)
    return process.wait(), drawn


def median(values):
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--exe", required=True)
    arguments.add_argument("--data", required=True)
    arguments.add_argument("--variant", default="9b")
    arguments.add_argument("--model", default="random:0")
    arguments.add_argument("--seq", type=int, default=2048)
    arguments.add_argument("--batch-tokens", type=int, default=8192)
    arguments.add_argument("--device", default="cuda")
    arguments.add_argument("--steps", type=int, default=40)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--least", type=float, default=0.98)
    arguments.add_argument("--tokenizer")
    arguments.add_argument("--work", default="/tmp/gemma2-watched")
    arguments.add_argument("--report")
    options, more = arguments.parse_known_args()

    collector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    environment = dict(os.environ, TERM="xterm-256color", OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{collector.server_port}",
                       OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf", OTEL_METRIC_EXPORT_INTERVAL="1000")
    exe, out = gemma2.Executable(options.exe, ()), Path(options.work)
    common = ["--variant", options.variant, "--model", options.model, "--seq", options.seq, "--batch-tokens", options.batch_tokens, "--device", options.device, *more]
    rounds = []
    for number in range(options.rounds):
        _, text = exe.run("bench", *common, "--steps", options.steps, "--json", device=False)
        bench = json.loads(text[text.index("{"):])
        shutil.rmtree(out, ignore_errors=True)
        tokenizer = ["--tokenizer", options.tokenizer] if options.tokenizer else []
        command = [exe.path, "train", *map(str, common), "--data", options.data, *tokenizer,
                   "--concat", "--steps", str(options.steps), "--save-every", str(options.steps // 2), "--out", str(out)]
        print("  $", " ".join(command), flush=True)
        code, drawn = on_terminal(command, environment)
        if code != 0:
            raise SystemExit(f"train ended with code {code}:\n" + drawn.decode(errors="replace")[-2000:])
        steps = gemma2.metrics(out)
        # The first two have what is made ready once, as bench leaves its first two out.
        timed = steps[2:]
        trained = options.batch_tokens / median([s["step_ms"] for s in timed]) * 1000
        overall = sum(s["tokens"] for s in timed) / sum(s["step_ms"] for s in timed) * 1000
        events = [f for f in os.listdir(out) if f.startswith("events.out.tfevents.")]
        watched = bool(events) and (out / "report.html").exists() and Collector.received > 0 and b"smoothed" in drawn
        rounds.append(dict(bench=bench["tokens_per_second"], train=trained, overall=overall, share=trained / bench["tokens_per_second"],
                           overall_share=overall / bench["tokens_per_second"], watched=watched, plans=[bench["planned_peak_bytes"], steps[-1]["planned_peak_bytes"]]))
        print("  " + json.dumps(rounds[-1]), flush=True)
    share = median([r["share"] for r in rounds])
    result = dict(variant=options.variant, steps=options.steps, share=round(share, 4), overall_share=round(median([r["overall_share"] for r in rounds]), 4),
                  otlp_bytes=Collector.received, rounds=rounds)
    if options.report:
        Path(options.report).write_text(json.dumps(result, indent=1))
    print(json.dumps(result))
    sys.exit(0 if share >= options.least and all(r["watched"] for r in rounds) else 1)


if __name__ == "__main__":
    main()
