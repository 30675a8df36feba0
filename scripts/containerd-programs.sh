#!/bin/sh
# Prints a directory with containerd, ctr and containerd-shim-runc-v2 of a version that no suite of Debian carries: `containerd-programs.sh 2.2`. The versions
# are the folders of test/support/containerd-programs. Go builds them once, from the modules that the folder pins, under .nabo/tools; a version takes some
# minutes of two cores. Exits with 69 where they cannot be built, for want of Go or of its module proxy.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
tools=$root/.nabo/tools
sources=$root/test/support/containerd-programs/$1

fail() {
  echo "nabo: $1" >&2
  exit 69
}

[ -f "$sources/go.mod" ] || fail "cannot build containerd $1: there is no $sources"
module=github.com/containerd/containerd/v2
version=$(sed -n "s#^[[:space:]]$module v\([^ ]*\).*#\1#p" "$sources/go.mod")
[ -n "$version" ] || fail "cannot build containerd $1: $sources/go.mod names no version of $module"
sum=$(cat "$sources/go.mod" "$sources/go.sum" "$0" | sha256sum | cut -c 1-12)
built=$tools/containerd-programs-$version-$sum

. "$root/scripts/build-once.sh"
begin_build "$built" "containerd-$1" 1800
export CGO_ENABLED=0 GOFLAGS=-mod=readonly
cd "$sources"
timeout 600 go mod download >&2 9>&- || fail "cannot build containerd $version: Go or the module proxy refuses its modules (see above)"
echo "nabo: building containerd $version from its Go modules (once, some minutes)…" >&2
# What its own Makefile sets.
nice -n 10 timeout 1800 go build -trimpath -buildvcs=false -ldflags "-s -w -X $module/version.Version=v$version" -o "$work/" tool >&2 9>&- || {
  echo "nabo: containerd $version could not be built (see above)" >&2
  exit 1
}
chmod 755 "$work"
mv "$work" "$built"
echo "$built"
