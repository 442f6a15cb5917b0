#!/usr/bin/env bash
# Accepts what the snapshot tests received: moves every NAME.received.EXT in snapshots/ and docs/ over NAME.EXT. Read the differences first.
set -euo pipefail
cd "$(dirname "$0")/.."
shopt -s nullglob
for received in snapshots/*.received.* docs/*.received.*; do
    approved=${received/.received/}
    echo "$approved"
    mv "$received" "$approved"
done
