"""The tables of docs/performance.md from the JSON of `bench`, `kernels bench` and side_by_side.py.

    gemma2 bench --variant 9b --json > 9b.json
    python3 bench/tables.py 9b.json [MORE.json ...] [--all]        --all: every kernel instead of groups of them
"""
import argparse
import json
import re
from pathlib import Path

# The first pattern that fits a kernel's name is its row.
GROUPS = [
    ("attention forward", r"attention_forward"), ("attention backward, dq", r"attention_dq"), ("attention backward, dk and dv", r"attention_dkdv"),
    ("attention delta alone", r"^k\d+_attention_delta"),
    ("RoPE alone", r"^k\d+_rope"), ("head: logits and dX", r"^gemm \w+ (logits|d_norm)"), ("head: softcap, loss, dlogits", r"cross_entropy"),
    ("head: rows with a label gathered, scattered", r"label_rows"), ("optimizer: norm, clip, AdamW", r"^(gradient_norm|adamw|loss_sum)"),
    ("copies and fills", r"^(scalars|inputs|gradients = 0|optimizer scalars|result)$"),
    ("products with an epilogue: q, k, v; gate, up; dX of down and of o", r"^gemm.*, k\d+_"), ("the other products of the layers", r"^gemm.*\btflops$"),
    ("products of rank R: S, G, dA, dB", r"^(gemm|g, grad_b)"), ("GeGLU, forward and backward", r"^k\d+_(mul$|d_(up|gate)_proj|d_mul)"),
    ("norms, residual sums and their backward", r"^k\d+_"),
]


def rate(row):
    return f"{row['tflops']:.0f} TFLOP/s" if "tflops" in row else f"{row['gbps'] / 1000:.2f} TB/s"


def group_of(kernel):
    name = kernel["name"] + (" tflops" if kernel["name"].startswith("gemm") and "tflops" in kernel else "")
    return next((title for title, pattern in GROUPS if re.search(pattern, name)), "other")


def weighted(kernels, field):
    """The mean over time: launches of 1 ms count ten times as much as those of 0.1 ms."""
    return sum(k[field] * k["ms"] for k in kernels) / max(1e-12, sum(k["ms"] for k in kernels))


def step_tables(bench, every):
    print(f"{bench['variant']}, {bench['tokens'] // bench['seq']} x {bench['seq']:,} tokens, recompute {bench['plan']}, "
          f"{bench['device']} ({bench['target']}), median of {bench['steps']} steps\n")
    print("| step | tokens/s | device at work | idle | peak |\n|---|---|---|---|---|")
    print(f"| {bench['ms_median']:.1f} ms ({bench['ms_least']:.1f}-{bench['ms_most']:.1f}) | {bench['tokens_per_second']:,.0f} "
          f"| {bench['busy_ms']:.1f} ms | {100 * bench['idle_share']:.2f} % | {bench['peak_bytes'] / 2**30:.1f} GiB |\n")
    print(f"| op (limits measured in the run: {bench['limit_tflops']:.0f} TFLOP/s, {bench['limit_gbps'] / 1000:.2f} TB/s) "
          "| launches | ms | % of the step | measured | of the limit |\n|---|---|---|---|---|---|")
    if every:
        for k in bench["kernels"]:
            print(f"| `{k['name']}` | {k['count']} | {k['ms']:.2f} | {100 * k['share']:.1f} | {rate(k)} | {100 * k['of_limit']:.0f} % |")
        return
    groups = {}
    for kernel in bench["kernels"]:
        groups.setdefault(group_of(kernel), []).append(kernel)
    for title, kernels in sorted(groups.items(), key=lambda g: -sum(k["ms"] for k in g[1])):
        field = "tflops" if "tflops" in kernels[0] else "gbps"
        mean = {field: weighted([k for k in kernels if field in k], field)}
        print(f"| {title} | {sum(k['count'] for k in kernels)} | {sum(k['ms'] for k in kernels):.1f} | {100 * sum(k['share'] for k in kernels):.1f} "
              f"| {rate(mean)} | {100 * weighted(kernels, 'of_limit'):.0f} % |")


def op_tables(ops):
    print(f"{ops['variant']}, {ops['tokens']} tokens in documents of {ops['seq']:,}, {ops['device']} ({ops['target']}), median of {ops['repeats']} launches, each from memory\n")
    print(f"| op (limits: {ops['limit_tflops']:.0f} TFLOP/s, {ops['limit_gbps'] / 1000:.2f} TB/s) | shape | on | ms | measured | of the limit "
          "| emitted GEMM, of cuBLASLt's speed | of the speed without adapters |\n|---|---|---|---|---|---|---|---|")
    for op in ops["ops"]:
        emitted = f"{op['emitted_of_cublaslt']:.2f}" if "emitted_of_cublaslt" in op else ""
        plain = f"{op['of_plain']:.3f}" if "of_plain" in op else ""
        print(f"| `{op['name']}` | {op['shape']} | {op['on']} | {op['ms_median']:.3f} | {rate(op)} | {100 * op['of_limit']:.0f} % | {emitted} | {plain} |")


def case_table(report):
    print("| case | program | tokens/s | ours is |\n|---|---|---|---|")
    for case in report["cases"]:
        for name, speed in case["rates"].items():
            ratio = f"{case['rates']['ours'] / speed:.2f}x" if speed and case["rates"]["ours"] else ""
            print(f"| {case['case']} | {name} | {f'{speed:,.0f}' if speed else 'failed'} | {ratio} |")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("files", nargs="+")
    arguments.add_argument("--all", action="store_true")
    options = arguments.parse_args()
    for file in options.files:
        # The executable may have said something before its JSON.
        text = Path(file).read_text()
        data = json.loads(text[text.index("{"):])
        if "kernels" in data:
            step_tables(data, options.all)
        elif "ops" in data:
            op_tables(data)
        elif "cases" in data:
            case_table(data)
        else:
            raise SystemExit(f"tables: {file} is of neither bench, kernels bench nor side_by_side.py")
        print()


if __name__ == "__main__":
    main()
