"""TensorBoard's own reader on the event files of runs: every number that metrics.jsonl has is there, once, at its step.

    python3 bench/tensorboard.py OUT...        needs pip install tensorboard; exit code 1 where something differs, 2 where TensorBoard is missing"""
import json
import math
import struct
import sys
from pathlib import Path

# This file's folder comes first on the path, and the file has TensorBoard's name.
sys.path = [p for p in sys.path if Path(p or ".").resolve() != Path(__file__).resolve().parent]
try:
    from tensorboard import version
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
except ImportError as e:
    print(f"tensorboard cannot be imported ({e}); pip install tensorboard")
    sys.exit(2)

TAGS = {"train/loss": "loss", "train/learning_rate": "lr", "train/grad_norm": "grad_norm", "train/epoch": "epoch", "eval/loss": "eval_loss"}
failures = 0
for folder in sys.argv[1:]:
    steps = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    reader = EventAccumulator(folder, size_guidance={"scalars": 0})
    reader.Reload()
    for tag, field in TAGS.items():
        expected = [(s["step"], s[field]) for s in steps if field in s]
        events = [(e.step, e.value) for e in reader.Scalars(tag)] if tag in reader.Tags()["scalars"] else []
        # Events hold fp32; metrics.jsonl has null for what is not finite, and rounds epochs.
        same = len(events) == len(expected) and all(
            step == at and (not math.isfinite(value) if wanted is None else abs(value - struct.unpack("f", struct.pack("f", wanted))[0]) <= (1e-4 if field == "epoch" else 0))
            for (step, wanted), (at, value) in zip(expected, events))
        failures += not same
        print(f"{'ok  ' if same else 'FAIL'} {folder} {tag}: {len(events)} events, {len(expected)} in metrics.jsonl")
print(f"tensorboard {version.VERSION}: {'all scalars are those of metrics.jsonl' if failures == 0 else f'{failures} tags differ'}")
sys.exit(1 if failures else 0)
