#!/bin/sh
# Runs the tests on a Kubernetes of their own, built once from its Go modules; see test/kubernetes/run.ts.
set -eu
cd "$(dirname -- "$0")/.."
sh scripts/setup.sh
# Here, so that what it says is seen while it builds. Where it cannot, the tests are skipped and say why.
sh scripts/kubernetes-programs.sh >/dev/null || :
exec "$(sh scripts/node26.sh)" test/kubernetes/run.ts "$@"
