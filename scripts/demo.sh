#!/bin/sh
# Three nodes on this machine pull an image one after the other; see bench/demo/README.md.
set -eu
cd "$(dirname -- "$0")/.."
if [ "$(id -u)" != 0 ]; then
  echo 'nabo: the demo needs root, for network namespaces and containerd: sudo npm run demo' >&2
  exit 77
fi
sh scripts/setup.sh
exec "$(sh scripts/node26.sh)" bench/demo/run.ts "$@"
