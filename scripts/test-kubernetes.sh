#!/bin/sh
# Runs the tests on a Kubernetes of their own, built once from its Go modules; see test/kubernetes/run.ts.
set -eu
cd "$(dirname -- "$0")/.."
sh scripts/setup.sh
# Here, so that its progress is seen while it builds. Where it cannot build, or Go cannot get its modules, run.ts says so in one line, and decides whether
# the run has failed.
sh scripts/kubernetes-programs.sh 2>&1 >/dev/null | grep --line-buffered -v -e '^nabo: cannot build' -e '^go: ' >&2 || :
exec "$(sh scripts/node26.sh)" test/kubernetes/run.ts "$@"
