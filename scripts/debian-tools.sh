#!/bin/sh
# Prints a directory that holds containerd and ctr: the one on PATH, else one under .nabo/tools, unpacked from the
# distribution's packages. The system itself is left as it is: nothing is installed, no package list is changed.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
tools=$root/.nabo/tools
packages='containerd runc'

fail() {
  echo "nabo: $1" >&2
  exit 69
}

if containerd=$(command -v containerd) && command -v ctr >/dev/null; then
  dirname -- "$containerd"
  exit 0
fi

# The newest one that is complete: a directory gets its name only when it is.
unpacked() {
  for bin in "$tools"/containerd-*/usr/bin; do
    if [ -x "$bin/containerd" ] && [ -x "$bin/ctr" ]; then echo "$bin"; fi
  done | sort -V | tail -n 1
}

bin=$(unpacked)
if [ -n "$bin" ]; then
  echo "$bin"
  exit 0
fi

for tool in apt-get apt-cache dpkg-deb flock; do
  command -v "$tool" >/dev/null || fail "needs containerd and ctr on PATH; without $tool they cannot be taken from Debian's packages"
done

mkdir -p "$tools"
exec 9>"$tools/lock"
flock -w 300 9 || fail "another process has held $tools/lock for five minutes"
bin=$(unpacked)
if [ -n "$bin" ]; then
  echo "$bin"
  exit 0
fi

work=$(mktemp -d "$tools/unpacking.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
export DEBIAN_FRONTEND=noninteractive

echo 'nabo: fetching containerd from the distribution (once)…' >&2
# Package lists of our own when the system has none (a fresh container) or its own point at versions that are gone.
apt() { apt-get -qq -o APT::Sandbox::User=root "$@" >&2; }
apt_own() { apt -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" "$@"; }

cd "$work"
# shellcheck disable=SC2086 # a list of words
if ! apt download $packages 2>"$work/errors"; then
  mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
  apt_own update 2>>"$work/errors" && apt_own download $packages 2>>"$work/errors" || {
    cat "$work/errors" >&2
    fail "needs containerd and ctr on PATH; Debian's packages of them could not be fetched (see above)"
  }
fi

version=
for package in $packages; do
  dpkg-deb -x "$work/$package"_*.deb "$work/tree" || fail "cannot unpack the Debian package of $package"
  [ -n "$version" ] || version=$(dpkg-deb -f "$work/$package"_*.deb Version)-$(dpkg-deb -f "$work/$package"_*.deb Architecture)
done
# runc lives in sbin there; containerd's shim looks for it on PATH, so all of them go into one directory.
for extra in "$work"/tree/usr/sbin/*; do
  if [ -f "$extra" ]; then mv "$extra" "$work/tree/usr/bin/"; fi
done
[ -x "$work/tree/usr/bin/containerd" ] && [ -x "$work/tree/usr/bin/ctr" ] || fail "the distribution's containerd package holds no containerd and ctr"
mv "$work/tree" "$tools/containerd-$version"
unpacked
