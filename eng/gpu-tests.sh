#!/usr/bin/env bash
# Publishes the GPU tests as one native file and puts it into a folder with what it needs, ready to copy to a machine with a GPU (which needs no .NET).
#   usage: eng/gpu-tests.sh [FOLDER]        default: artifacts/gpu-tests
# There: FOLDER/run.sh runs everything; OUT (default: FOLDER/out) receives verified.json, which becomes snapshots/verified.json, and the log.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-artifacts/gpu-tests}
mkdir -p "$folder"
dotnet publish -c Release -v q -r linux-x64 -p:PublishDir="$(realpath "$folder")/" tests/Graph.Gpu.Tests/Graph.Gpu.Tests.csproj
rm -f "$folder"/*.dbg "$folder"/*.pdb
cp -r tests/fixtures/reference "$folder/" 2>/dev/null || true
cp snapshots/verified.json "$folder/" 2>/dev/null || true
cat > "$folder/run.sh" <<'RUN'
#!/usr/bin/env bash
# Runs the GPU tests beside this file: run.sh [CHECK...]; OUT receives verified.json and gpu-tests.log.
# Kernels in the verified.json beside this file are not run again; ALL=1 runs them too. Exit code 1: something failed; the log's last lines say what.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${OUT:-$here/out}
mkdir -p "$out"
known=(); [ ! -f "$here/verified.json" ] || [ -n "${ALL:-}" ] || known=(--known "$here/verified.json")
timeout "${LIMIT:-540}" "$here/gpu-tests" --out "$out" --fixture "$here/reference" --time "${known[@]}" "$@" 2>&1 | tee "$out/gpu-tests.log" |
    grep --line-buffered -vE '^(ok   |time |FAIL )[0-9a-z-]+ sm_[0-9a]+ k?[a-z0-9_]+( error| [0-9T])'
code=${PIPESTATUS[0]}
[ "$code" != 124 ] || echo "run: the time of ${LIMIT:-540} s is over"
exit "$code"
RUN
chmod +x "$folder/run.sh"
echo "$folder: $(du -sh "$folder" | cut -f1); run $folder/run.sh on a machine with a GPU"
