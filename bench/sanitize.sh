#!/usr/bin/env bash
# compute-sanitizer memcheck and racecheck on training steps of nano and of two layers of 9B (head dim 256) and 27B (head dim 128), side by side.
#   usage: bench/sanitize.sh EXECUTABLE [VARIANT...]
# A sanitizer that never ran is green too, so each run must exit 0 AND print 'ERROR SUMMARY: 0 errors' (racecheck: 'RACECHECK SUMMARY: 0 hazards').
# racecheck runs every product on the emitted GEMM, because it reports hazards inside cuBLASLt's own split-K kernels (nvjet…), which synchronise through means that it does not see.
# On the real widths it watches all emitted kernels but the GEMM, which would take an hour under it; nano's run has the same GEMM text.
set -uo pipefail
exe=$1; shift
variants=("${@:-}"); [ -n "${variants[0]}" ] || variants=(nano 9b-2l 27b-2l)
root=$(cd "$(dirname "$0")/.." && pwd)
sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer /opt/cuda/bin/compute-sanitizer 2>/dev/null | head -1)
[ -n "$sanitizer" ] || { echo "sanitize: compute-sanitizer is not on PATH and not in /usr/local/cuda/bin"; exit 2; }

work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
# 150 + 87 tokens in two documents, a prompt without loss in the first: odd tile edges, a document border inside a tile.
python3 - "$work/data.jsonl" <<'PY'
import json, sys
with open(sys.argv[1], "w") as file:
    for length, masked in ((150, 20), (87, 0)):
        ids = [3 + (7 * i * i + 13 * i) % 4000 for i in range(length)]
        file.write(json.dumps(dict(input_ids=ids, labels=[-100] * masked + ids[masked:])) + "\n")
PY

one() {
    local variant=$1 tool=$2 log=$work/$1-$2.log model=random:0 gemm= watched=() start=$SECONDS
    [ "$variant" = nano ] && model=$root/tests/fixtures/reference/checkpoint
    if [ "$tool" = racecheck ]; then
        gemm=generated
        # Names of kernels that a schedule launches begin with k and their number; the rest are the optimizer's.
        [ "$variant" = nano ] || for part in k0 k1 k2 adamw gradient_norm cast_adapters loss_sum; do watched+=(--kernel-name kernel_substring=$part); done
    fi
    GRAPH_GEMM=$gemm GRAPH_CACHE=$work/cache timeout "${LIMIT:-400}" "$sanitizer" --tool "$tool" "${watched[@]}" --error-exitcode 97 --print-limit 20 \
        "$exe" train --variant "$variant" --model "$model" --data "$work/data.jsonl" \
        --out "$work/$variant-$tool" --seq 150 --batch-tokens 251 --steps 2 --rank 16 --seed 0 --device cuda --dtype bf16 >"$log" 2>&1
    local code=$? summary
    summary=$(grep -E '(ERROR|RACECHECK) SUMMARY: ' "$log" | tail -1)
    if [ $code = 0 ] && grep -qE 'ERROR SUMMARY: 0 errors|RACECHECK SUMMARY: 0 hazards displayed \(0 errors, 0 warnings\)' <<< "$summary"; then
        echo "ok   $variant $tool: $summary ($((SECONDS - start)) s)"
    else
        echo "FAIL $variant $tool: exit code $code, ${summary:-no summary line} ($((SECONDS - start)) s)"
        grep -E '=========' "$log" | head -40
        tail -5 "$log"
        return 1
    fi
}

mkdir -m 700 "$work/cache"
runs=()
for variant in "${variants[@]}"; do
    for tool in memcheck racecheck; do one "$variant" "$tool" & runs+=($!); done
done
failed=0
for run in "${runs[@]}"; do wait "$run" || failed=$((failed + 1)); done
[ $failed = 0 ]
