#!/bin/sh
# Prints the path of a Node of at least version 26: the one on PATH, else the one that npm brought.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
new_enough() { [ "$("$1" -p 'Number(process.versions.node.split(".")[0]) >= 26' 2>/dev/null)" = true ]; }
if node=$(command -v node) && new_enough "$node"; then
  echo "$node"
  exit 0
fi
for node in "$root"/node_modules/node-linux-*/bin/node; do
  if [ -x "$node" ] && new_enough "$node"; then
    echo "$node"
    exit 0
  fi
done
echo "nabo: needs Node 26 or newer; run 'npm ci' here, which brings it for Linux on amd64 and arm64" >&2
exit 69
