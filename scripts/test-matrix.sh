#!/bin/sh
# Runs the tests that have to do with containerd against each version that can be had, from 1.6 to 2.4; see test/matrix.ts.
set -eu
cd "$(dirname -- "$0")/.."
sh scripts/setup.sh
exec "$(sh scripts/node26.sh)" test/matrix.ts "$@"
