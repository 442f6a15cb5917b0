#!/usr/bin/env bash
# Unpacks packages of Debian 13 into a folder and leaves the system as it is: no root, nothing installed.
#   usage: eng/debian-packages.sh FOLDER PACKAGE...
# apt gets a sources file and a list folder of its own; the mirror is the one this machine already uses, with the non-free component added.
set -euo pipefail
suite=trixie
folder=$1; shift

. /etc/os-release
if [ "$ID" != debian ] || ! command -v apt-get >/dev/null || [ "$(dpkg --print-architecture)" != amd64 ]; then
    echo "debian-packages: $* can be unpacked on Debian 12 or 13, amd64, but this is ${PRETTY_NAME:-$ID} on $(uname -m)" >&2
    exit 3
fi

mirror=$( (cat /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null || true) |
    sed -nE 's/^URIs: *([^ ]+).*/\1/p; s/^deb +(\[[^]]*\] +)?([^ ]+) .*/\2/p' | { grep -v security || true; } | head -1)
[ -n "$mirror" ] || { echo "debian-packages: no Debian mirror in /etc/apt/sources.list.d/debian.sources or /etc/apt/sources.list" >&2; exit 3; }

work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
mkdir -p "$work/sources" "$work/lists/partial" "$work/archives/partial" "$work/debs" "$folder"
printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main contrib non-free\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' \
    "$mirror" "$suite" > "$work/sources/newer.sources"
apt=(-q -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$work/sources" -o Dir::State::Lists="$work/lists" -o Dir::Cache::archives="$work/archives"
     -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o Acquire::Languages=none -o Acquire::Retries=3 -o APT::Sandbox::User=root)
log=$work/log
if ! { apt-get "${apt[@]}" update && (cd "$work/debs" && apt-get "${apt[@]}" download "$@"); } >"$log" 2>&1; then
    tail -5 "$log" >&2
    echo "debian-packages: apt could not download $* from suite $suite of this machine's Debian mirror" >&2
    exit 3
fi
for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$folder"; done
