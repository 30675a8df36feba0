#!/bin/sh
# Installs the packages of the lock file if they are not there or not the ones of this checkout.
set -eu
cd "$(dirname -- "$0")/.."
stamp=node_modules/.nabo-setup
if [ -f "$stamp" ] && cmp -s package-lock.json "$stamp"; then exit 0; fi
echo "nabo: installing packages (once)…" >&2
npm ci --no-audit --no-fund --ignore-scripts --loglevel=error >&2
cp package-lock.json "$stamp"
