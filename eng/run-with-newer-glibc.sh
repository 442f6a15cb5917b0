#!/usr/bin/env bash
# Runs a .NET executable (an apphost, as xunit.v3 test projects are) under the C library in .cache/glibc, or as it is when that folder is not there.
#   usage: eng/run-with-newer-glibc.sh EXECUTABLE [ARG...]
# Starting the loader by hand does not work: the .NET host finds its files through /proc/self/exe. So a copy beside the executable gets another interpreter.
set -euo pipefail
cache=$(cd "$(dirname "$0")/.." && pwd)/.cache/glibc
executable=$1; shift
[ -d "$cache" ] || exec "$executable" "$@"

lib=$cache/usr/lib/x86_64-linux-gnu
if [ ! "$executable.patched" -nt "$executable" ]; then
    cp "$executable" "$executable.new"
    "$lib/ld-linux-x86-64.so.2" --library-path "$lib" "$cache/usr/bin/patchelf" --set-interpreter "$lib/ld-linux-x86-64.so.2" "$executable.new"
    mv "$executable.new" "$executable.patched"
    touch "$executable.patched"
fi
export DOTNET_ROOT=${DOTNET_ROOT:-$(dirname "$(readlink -f "$(command -v dotnet)")")}
LD_LIBRARY_PATH=$lib exec "$executable.patched" "$@"
