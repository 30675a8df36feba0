#!/bin/sh
# Runs the tests on a Kubernetes of their own, built once from its Go modules; see test/kubernetes/run.ts.
set -eu
cd "$(dirname -- "$0")/.."
sh scripts/setup.sh
exec "$(sh scripts/node26.sh)" test/kubernetes/run.ts "$@"
