#!/usr/bin/env bash
# Headless Chromium for the tests of the HTML pages: takes the system's, or unpacks Debian's chromium-headless-shell with what it needs into .cache/chromium;
# nothing is installed on the system, and no root is needed.
# Prints the path of the program to run.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=.cache/chromium

for name in chromium-headless-shell chromium chromium-browser google-chrome; do
    if command -v $name >/dev/null; then command -v $name; exit 0; fi
done
if [ ! -x $cache/run ]; then
    . /etc/os-release
    if [ "$ID" != debian ] || ! command -v apt-get >/dev/null; then
        echo "install-chromium: install chromium (or google-chrome); this can unpack it on Debian only, but this is ${PRETTY_NAME:-$ID}" >&2
        exit 3
    fi
    echo "install-chromium: unpacking chromium-headless-shell into $cache" >&2
    work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
    mkdir -p "$work/lists/partial" "$work/debs"
    # The machine's own sources, but lists of our own: they may be empty or another user's.
    apt=(-q -o Dir::State::Lists="$work/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
         -o Acquire::Languages=none -o Acquire::Retries=3 -o APT::Sandbox::User=root -o APT::Get::List-Cleanup=0)
    log=$work/log
    if ! { apt-get "${apt[@]}" update && apt-get "${apt[@]}" -s --no-install-recommends install chromium-headless-shell fonts-dejavu-core > "$work/plan" &&
           (cd "$work/debs" && apt-get "${apt[@]}" download $(sed -nE 's/^Inst ([^ ]+) .*/\1/p' "$work/plan")); } >"$log" 2>&1; then
        tail -5 "$log" >&2
        echo "install-chromium: apt could not download chromium-headless-shell; install chromium" >&2
        exit 3
    fi
    rm -rf $cache.new $cache
    mkdir -p $cache.new
    for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" $cache.new; done
    cat > $cache.new/run <<'RUN'
#!/usr/bin/env bash
here=$(cd "$(dirname "$0")" && pwd)
lib=$here/usr/lib/x86_64-linux-gnu
export LD_LIBRARY_PATH=$lib:$here/lib/x86_64-linux-gnu:$(find "$lib" -mindepth 1 -maxdepth 1 -type d | paste -sd:)${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
[ -e /etc/fonts/fonts.conf ] || export FONTCONFIG_FILE=$here/fonts.conf
exec "$here/usr/lib/chromium/chromium-headless-shell" "$@"
RUN
    chmod +x $cache.new/run
    # Where the system has fonts and no list of them, or none at all.
    echo "<fontconfig><dir>/usr/share/fonts</dir><dir>$PWD/$cache/usr/share/fonts</dir><cachedir>$PWD/$cache/fonts</cachedir></fontconfig>" > $cache.new/fonts.conf
    mv $cache.new $cache
fi
echo "$PWD/$cache/run"
