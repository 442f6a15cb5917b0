"""What the bench scripts share: Gemma 2's sizes, the executable under test, and its files."""
import json
import math
import subprocess
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

_9B = dict(hidden_size=3584, num_hidden_layers=42, num_attention_heads=16, num_key_value_heads=8, head_dim=256, intermediate_size=14336, query_pre_attn_scalar=256)
_27B = dict(hidden_size=4608, num_hidden_layers=46, num_attention_heads=32, num_key_value_heads=16, head_dim=128, intermediate_size=36864, query_pre_attn_scalar=144)
SIZES = {
    "2b": dict(hidden_size=2304, num_hidden_layers=26, num_attention_heads=8, num_key_value_heads=4, head_dim=256, intermediate_size=9216, query_pre_attn_scalar=256),
    "9b": _9B,
    "27b": _27B,
    "9b-2l": _9B | dict(num_hidden_layers=2),
    "27b-2l": _27B | dict(num_hidden_layers=2),
}


def config(variant):
    """transformers' configuration of a variant (softcaps 50 and 30, window 4096)."""
    from transformers import Gemma2Config
    return Gemma2Config(vocab_size=256000, max_position_embeddings=8192, sliding_window=4096, attn_logit_softcapping=50.0, final_logit_softcapping=30.0,
                        rms_norm_eps=1e-6, hidden_activation="gelu_pytorch_tanh", tie_word_embeddings=True, **SIZES[variant])


class Executable:
    """`gemma2` as a user starts it. Every call prints its command, so that a figure can be made again by hand."""

    def __init__(self, path, target_options=("--device", "cuda", "--dtype", "bf16")):
        self.path = str(Path(path).resolve())
        self.options = list(target_options)

    def run(self, verb, *arguments, device=True, check=True, environment=None):
        """Returns (seconds, standard output); raises with the program's last lines when it fails and check is set."""
        command = [self.path, verb, *map(str, arguments), *(self.options if device else [])]
        print("  $", " ".join(command), flush=True)
        start = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
        seconds = time.perf_counter() - start
        if check and done.returncode != 0:
            raise SystemExit(f"{verb} ended with code {done.returncode}:\n" + "\n".join(done.stdout.splitlines()[-20:]))
        return seconds, done.stdout


def metrics(folder):
    """The steps of a training run: metrics.jsonl of its output folder."""
    return [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines() if line.strip()]


def write_rows(path, rows):
    """JSON Lines of {input_ids, labels}."""
    with open(path, "w") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")


def embedding_scale_bf16(hidden):
    """sqrt(H) as bf16 runs use it (8 bits of mantissa: 9B 59.75, 27B 68.0)."""
    scale = math.sqrt(hidden)
    step = 2.0 ** (math.floor(math.log2(scale)) - 7)
    return round(scale / step) * step
