#!/usr/bin/env bash
# TorchSharp's native library needs libstdc++ with GLIBCXX_3.4.32 (GCC 13). Where the system's is older, this unpacks Debian 13's C and C++ libraries,
# and patchelf, into .cache/glibc; eng/run-with-newer-glibc.sh runs the oracle tests under them. Prints nothing and does nothing when it is not needed.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=.cache/glibc

[ -e $cache/usr/bin/patchelf ] && exit 0
system=$(ldconfig -p | sed -nE 's/.*libstdc\+\+\.so\.6 .*x86-64.*=> //p' | head -1)
if [ -n "$system" ] && grep -qa 'GLIBCXX_3\.4\.32' "$system"; then exit 0; fi

echo "install-glibc-for-torch: ${system:-libstdc++} lacks GLIBCXX_3.4.32; unpacking newer libraries into $cache"
rm -rf $cache.new
if ! bash eng/debian-packages.sh $cache.new libc6 libstdc++6 libgcc-s1 libgomp1 patchelf; then
    echo "install-glibc-for-torch: the oracle tests need libstdc++ of GCC 13 or newer (Debian 13, Ubuntu 24.04)" >&2
    exit 3
fi
rm -rf $cache
mv $cache.new $cache
