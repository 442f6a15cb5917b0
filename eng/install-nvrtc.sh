#!/usr/bin/env bash
# NVRTC without a GPU: puts libnvrtc and its builtins into .cache/nvrtc/lib. Does nothing when they are there already or the system has its own.
# NVRTC 12.4 assembles cubins for sm_75 to sm_90a on any x86-64 machine with glibc 2.34 or newer.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=.cache/nvrtc

[ -e $cache/lib/libnvrtc.so.12 ] && exit 0
for name in libnvrtc.so.12 libnvrtc.so.13; do
    if ldconfig -p 2>/dev/null | grep -q "$name " || ls /usr/local/cuda/lib64/$name /usr/local/cuda/targets/*/lib/$name >/dev/null 2>&1; then
        echo "install-nvrtc: using the system's $name"
        exit 0
    fi
done

echo "install-nvrtc: unpacking NVRTC 12 into $cache"
rm -rf $cache.new
if ! bash eng/debian-packages.sh $cache.new libnvrtc12 libnvrtc-builtins12.4; then
    echo "install-nvrtc: NVRTC 12 or 13 is needed to compile kernels;" \
        "install the CUDA toolkit's cuda-nvrtc package, so that ldconfig or /usr/local/cuda knows libnvrtc.so.12 or .13" >&2
    exit 3
fi
mkdir -p $cache.new/lib
mv $cache.new/usr/lib/x86_64-linux-gnu/libnvrtc* $cache.new/lib/
mv $cache.new/usr/share/doc $cache.new/licenses
rm -rf $cache.new/usr $cache
mv $cache.new $cache
