#!/bin/sh
# Prints a program with stargz-snapshotter's file system, which Go builds once from the modules that test/e2e/stargz pins, under .nabo/tools. That takes
# some minutes of two cores. Exits with 69 where it cannot be built, for want of Go or of its module proxy.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
sources=$root/test/e2e/stargz
tools=$root/.nabo/tools
version=$(sed -n 's|^\tgithub.com/containerd/stargz-snapshotter v||p' "$sources/go.mod")
sum=$(cat "$sources"/go.mod "$sources"/go.sum "$sources"/main.go "$0" | sha256sum | cut -c 1-12)
built=$tools/stargz-$version-$sum

fail() {
  echo "nabo: $1" >&2
  exit 69
}

. "$root/scripts/build-once.sh"
begin_build "$built" stargz 900
export CGO_ENABLED=0 GOFLAGS=-mod=readonly
(cd "$sources" && timeout 600 go mod download) >&2 9>&- ||
  fail 'cannot build the file system of stargz-snapshotter: its modules cannot be had from the module proxy'
echo "nabo: building the file system of stargz-snapshotter $version from its Go module (once, some minutes)…" >&2
(cd "$sources" && nice -n 10 timeout 900 go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$work/stargz" .) >&2 9>&- || {
  echo "nabo: the file system of stargz-snapshotter could not be built (see above)" >&2
  exit 1
}
mv "$work/stargz" "$built"
echo "$built"
