#!/bin/sh
# Prints the path of Helm: the one on PATH, else one under .nabo/tools, built once by Go from the published module. That needs Go and
# takes some minutes of one core. Nothing else of the system is changed.
set -eu
version=v3.21.4
kubernetes=36 # the minor version that this Helm is released for
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
tools=$root/.nabo/tools
helm=$tools/helm-$version/helm

fail() {
  echo "nabo: $1" >&2
  exit 69
}

if found=$(command -v helm); then
  case $("$found" version --short 2>/dev/null) in
    v3.*) echo "$found" && exit 0 ;;
  esac
fi
. "$root/scripts/build-once.sh"
begin_build "$helm" helm 1200
echo "nabo: building Helm $version from its Go module (once, some minutes)…" >&2
# What its own release sets: `go install` alone makes one that takes itself for a client of Kubernetes 1.20.
flags="-s -w -X helm.sh/helm/v3/internal/version.version=$version"
for package in pkg/chartutil pkg/lint/rules; do
  flags="$flags -X helm.sh/helm/v3/$package.k8sVersionMajor=1 -X helm.sh/helm/v3/$package.k8sVersionMinor=$kubernetes"
done
export GOBIN="$work" CGO_ENABLED=0 GOFLAGS=
nice -n 10 timeout 1200 go install -trimpath -ldflags "$flags" "helm.sh/helm/v3/cmd/helm@$version" 9>&- >&2 ||
  fail "Helm $version could not be built (see above)"
mkdir -p "${helm%/*}"
mv "$work/helm" "$helm"
echo "$helm"
