#!/usr/bin/env bash
# The one test command: installs what the tests need (once, into .cache), builds once, runs every test project and prints 'N passed, N failed' last.
#   usage: eng/test.sh [PROJECT...]     for example: eng/test.sh Graph.Runtime.Tests
set -uo pipefail
cd "$(dirname "$0")/.."
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 CI=${CI:-}

command -v dotnet >/dev/null || { echo "test: the .NET 10 SDK is needed, but there is no 'dotnet' on PATH"; exit 2; }
eng/install-nvrtc.sh && eng/install-glibc-for-torch.sh && eng/install-chromium.sh >/dev/null || exit
if [ -d .cache/nvrtc/lib ]; then export GRAPH_NVRTC=$PWD/.cache/nvrtc/lib; fi

if [ $# -gt 0 ]; then projects=("$@"); else
    projects=()
    for project in tests/*/*.csproj; do
        name=$(basename "$project" .csproj)
        if grep -rqE '\[(Fact|Theory)' --include=*.cs --exclude-dir=obj "tests/$name"; then projects+=("$name"); else echo "test: $name holds no tests yet"; fi
    done
fi
if [ $# -gt 0 ]; then
    for name in "${projects[@]}"; do dotnet build -c Release -v q "tests/$name/$name.csproj" || exit; done
else
    dotnet build -c Release -v q Compiler.sln || exit
fi

passed=0 failed=0 skipped=0 broken=0
for name in "${projects[@]}"; do
    executable=tests/$name/bin/Release/net10.0/$name
    # A job that a shell started in the background ignores SIGINT, one under nohup SIGHUP, and so would the programs whose signals are tested.
    run=(env --default-signal=INT,HUP "$executable")
    case $name in *.Oracle.Tests|*.Fuzz.Tests) run=(eng/run-with-newer-glibc.sh "$executable") ;; esac
    log=$(mktemp)
    echo "== $name"
    "${run[@]}" -noLogo -noColor 2>&1 | tee "$log"
    code=${PIPESTATUS[0]}
    # xunit.v3 closes with: Total: 9, Errors: 0, Failed: 0, Skipped: 0, Not Run: 0, Time: 0.1s
    line=$(grep -E 'Total: [0-9]+, Errors: [0-9]+, Failed: [0-9]+, Skipped: [0-9]+' "$log" | tail -1)
    rm -f "$log"
    count() { sed -nE "s/.*$1: ([0-9]+).*/\1/p" <<< "$line"; }
    if [ -z "$line" ] || [ "$(count Total)" = 0 ]; then
        echo "test: $name ended with code $code and ran no test"
        broken=$((broken + 1))
        continue
    fi
    bad=$(( $(count Failed) + $(count Errors) ))
    if [ "$code" != 0 ] && [ "$bad" = 0 ]; then bad=1; fi
    failed=$((failed + bad)) skipped=$((skipped + $(count Skipped)))
    passed=$((passed + $(count Total) - $(count Failed) - $(count Skipped) - $(count 'Not Run')))
done
failed=$((failed + broken))

if [ $skipped -gt 0 ]; then echo "$passed passed, $failed failed, $skipped skipped"; else echo "$passed passed, $failed failed"; fi
[ $failed = 0 ]
