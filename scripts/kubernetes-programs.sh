#!/bin/sh
# Prints a directory with Kubernetes' programs (kube-apiserver, kube-controller-manager, kube-scheduler, kube-proxy, kubelet, kubectl: one
# binary under several names) and CoreDNS. Go builds them once, from the modules that test/kubernetes/programs pins, under .nabo/tools.
# That takes some ten minutes of two cores. Exits with 69 where they cannot be built, for want of Go or of its module proxy.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
sources=$root/test/kubernetes/programs
tools=$root/.nabo/tools
version=$(sed -n 's|^\tk8s.io/kubernetes v||p' "$sources/kube/go.mod")
minor=${version#*.}
sum=$(cat "$sources"/*/go.mod "$sources"/*/go.sum "$sources"/*/main.go "$0" | sha256sum | cut -c 1-12)
built=$tools/kubernetes-$version-$sum

fail() {
  echo "nabo: $1" >&2
  exit 69
}

. "$root/scripts/build-once.sh"
begin_build "$built" kubernetes 2400
chmod 755 "$work"
export CGO_ENABLED=0 GOFLAGS=-mod=readonly
for program in kube coredns; do
  (cd "$sources/$program" && timeout 600 go mod download) >&2 9>&- ||
    fail 'cannot build Kubernetes: its modules cannot be had from the module proxy'
done
echo "nabo: building Kubernetes $version and CoreDNS from their Go modules (once, some ten minutes)…" >&2
package=k8s.io/component-base/version
flags="-s -w -X $package.gitVersion=v$version -X $package.gitMajor=${version%%.*} -X $package.gitMinor=${minor%%.*} -X $package.gitTreeState=clean"
build() {
  # In the module's directory, whose go.mod holds.
  (cd "$sources/$1" && nice -n 10 timeout 2400 go build -trimpath -buildvcs=false -ldflags "$2" -o "$work/$1" .) >&2 9>&- || {
    echo "nabo: $1 could not be built (see above)" >&2
    exit 1
  }
}
build kube "$flags"
build coredns '-s -w'
for name in kube-apiserver kube-controller-manager kube-proxy kube-scheduler kubectl kubelet; do ln -s kube "$work/$name"; done
mv "$work" "$built"
echo "$built"
