#!/bin/sh
# Prints a directory that holds a tool of the tests: `containerd` (with ctr and runc; if nothing is named), `buildah`,
# `docker-registry`, `docker.io` (dockerd), `faketime` (with its library in ../lib), `nftables` (nft), `nginx`, `podman`, `prometheus` (its promtool) or `skopeo`. It is the one on PATH, else one under
# .nabo/tools, unpacked from the distribution's packages. The system itself is left as it is: nothing is installed, no package list is changed.
# `containerd@1.6`, `containerd@1.7` and `containerd@2.1` are what Debian's suites bookworm, trixie and sid carry, whatever suite
# this system is (from sid also a later 2.x). They come from the system's own mirror, by package lists of their own.
# `busybox-static` is always the unpacked one, together with the libraries that Node needs: enough for a root file system.
# `kubernetes-node` is always unpacked too: etcd, nft, iptables (as xtables-nft-multi) with their libraries, and the CNI plugins in ../lib/cni.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
tools=$root/.nabo/tools
tool=${1:-containerd}

fail() {
  echo "nabo: $1" >&2
  exit 69
}

suite=
case $tool in
  containerd@1.6) suite=bookworm pattern='1\.6\.' ;;
  containerd@1.7) suite=trixie pattern='1\.7\.' ;;
  containerd@2.1) suite=sid pattern='2\.[1-9][0-9]*\.' ;;
esac
case $tool in
  containerd | containerd@1.6 | containerd@1.7 | containerd@2.1) programs='containerd ctr' packages='containerd runc' ;;
  docker-registry) programs=docker-registry packages=docker-registry ;;
  faketime) programs=faketime packages='faketime libfaketime' ;;
  prometheus) programs=promtool packages=prometheus ;;
  busybox-static) programs=busybox packages='busybox-static libatomic1 libc6 libgcc-s1 libstdc++6' ;;
  kubernetes-node)
    programs='etcd nft xtables-nft-multi'
    packages='etcd-server containernetworking-plugins nftables iptables libnftables1 libnftnl11 libmnl0 libjansson4 libxtables12 libip4tc2
      libip6tc2 libnetfilter-conntrack3 libnfnetlink0 libedit2 libbsd0 libmd0 libtinfo6'
    ;;
  # Their libraries too, as far as the system lacks them.
  docker.io) programs=dockerd packages= ;;
  nftables) programs=nft packages= ;;
  buildah | nginx | skopeo | podman) programs=$tool packages= ;;
  *) fail "knows no tool $tool" ;;
esac
# By its name alone, where the suite says which version.
package=${tool%@*}
[ "$tool" != kubernetes-node ] || package=etcd-server
words=$(echo "$programs" | sed 's/ / and /g')

has_all() {
  for program in $programs; do [ -x "$1/$program" ] || return 1; done
}

# Programs of another system's packages may not run on this one.
is_wanted() {
  has_all "$1" || return 1
  [ -z "$suite" ] || "$1/containerd" --version 2>/dev/null | grep -Eq "^containerd [^ ]+ v?$pattern"
}

first=${programs%% *}
case $tool in
  busybox-static | kubernetes-node) on_path= ;;
  *) on_path=yes ;;
esac
if [ -n "$on_path" ] && found=$(command -v "$first") && is_wanted "$(dirname -- "$found")"; then
  dirname -- "$found"
  exit 0
fi

# The newest one that is complete: a directory gets its name only when it is.
unpacked() {
  for bin in "$tools/$tool"-*/usr/bin "$tools/${tool%@*}"-*/usr/bin; do
    if is_wanted "$bin"; then echo "$bin"; fi
  done | sort -V | tail -n 1
}

bin=$(unpacked)
if [ -n "$bin" ]; then
  echo "$bin"
  exit 0
fi

for needed in apt-get apt-cache dpkg-deb flock; do
  command -v "$needed" >/dev/null || fail "needs $words on PATH; without $needed they cannot be taken from Debian's packages"
done

mkdir -p "$tools"
exec 9>"$tools/lock"
flock -w 300 9 || fail "another process has held $tools/lock for five minutes"
bin=$(unpacked)
if [ -n "$bin" ]; then
  echo "$bin"
  exit 0
fi

work=$(mktemp -d "$tools/unpacking.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
export DEBIAN_FRONTEND=noninteractive

# What an update does besides by this system's configuration (a container's may empty its cache) is none of our business.
for hook in Pre-Invoke Post-Invoke Post-Invoke-Success; do echo "#clear APT::Update::$hook;"; done >"$work/apt.conf"
# Package lists of our own when the system has none (a fresh container) or its own point at versions that are gone.
apt() { apt-get -qq -c "$work/apt.conf" -o APT::Sandbox::User=root "$@" >&2; }
apt_own() { apt -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" "$@"; }
# The lists of one suite, whose signature must be Debian's.
apt_suite() { apt_own -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=- "$@"; }
# shellcheck disable=SC2086 # a list of words
fetch() {
  if [ -n "$packages" ]; then
    "$1" download $packages
  else
    "$1" -o "Dir::Cache::archives=$work/archives" -y --no-install-recommends --download-only install "$package" &&
      mv "$work"/archives/*.deb .
  fi
}

# Each `deb <uri>` of this system with a component `main`, one a line: one of them is Debian's archive, as its signature will show.
mirrors() {
  etc=$(apt-config shell etc Dir::Etc/d) && eval "$etc"
  set -- "$etc"/sources.list.d/*.list
  cat "$etc/sources.list" "$@" 2>/dev/null |
    sed -n 's/^[[:space:]]*deb[[:space:]]\{1,\}\(\[[^]]*\][[:space:]]*\)\{0,1\}\([^[:space:]]\{1,\}\)[[:space:]].*[[:space:]]main\([[:space:]].*\)\{0,1\}$/\2/p'
  for sources in "$etc"/sources.list.d/*.sources; do
    [ -f "$sources" ] || continue
    awk 'BEGIN { RS = ""; FS = "\n" } {
      uris = ""; main = 0; off = 0; last = ""
      for (i = 1; i <= NF; i++) {
        if ($i ~ /^#/) continue
        key = tolower($i); value = $i
        if (key ~ /^[a-z-]+:/) { last = key; sub(/:.*/, "", last); sub(/^[^:]*:/, "", value) }
        if (last == "uris") uris = uris " " value
        if (last == "components" && " " value " " ~ /[ \t]main[ \t]/) main = 1
        if (last == "enabled" && tolower(value) ~ /no|false/) off = 1
      }
      n = split(uris, list, " ")
      if (main && !off) for (j = 1; j <= n; j++) print list[j]
    }' "$sources"
  done
}

# Sets up the lists of $suite. Fails if no mirror of this system has it, signed by Debian.
find_suite() {
  for keyring in /usr/share/keyrings/debian-archive-keyring.pgp /usr/share/keyrings/debian-archive-keyring.gpg ''; do
    [ -f "$keyring" ] && break
  done
  [ -n "$keyring" ] || fail "cannot have $tool: there is no keyring of Debian to check the suite $suite with"
  mirrors >"$work/mirrors"
  # Security updates and the like stand beside the archive, and have no such suite.
  for uri in $(awk '!seen[$0]++' "$work/mirrors"); do
    rm -rf "$work/lists" "$work/cache"
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
    echo "deb [signed-by=$keyring] $uri $suite main" >"$work/sources.list"
    # What cannot be verified, or not be reached, is only a warning of `update`.
    if apt_suite -o APT::Update::Error-Mode=any -o Acquire::Languages=none update 2>>"$work/errors"; then return 0; fi
  done
  return 1
}

cd "$work"
mkdir -p archives/partial "$work/lists/partial" "$work/cache/archives/partial"
if [ -n "$suite" ]; then
  echo "nabo: fetching $tool from Debian's suite $suite (once)…" >&2
  find_suite || {
    cat "$work/errors" >&2 2>/dev/null || :
    fail "cannot have $tool: Debian's suite $suite is not to be had from this system's package sources"
  }
  fetch apt_suite 2>>"$work/errors" || {
    cat "$work/errors" >&2
    fail "cannot have $tool: the packages of Debian's suite $suite could not be fetched (see above)"
  }
else
  echo "nabo: fetching $tool from the distribution (once)…" >&2
  fetch apt 2>"$work/errors" || { apt_own update 2>>"$work/errors" && fetch apt_own 2>>"$work/errors"; } || {
    cat "$work/errors" >&2
    fail "needs $words on PATH; Debian's packages of them could not be fetched (see above)"
  }
fi

for deb in "$work"/*.deb; do
  dpkg-deb -x "$deb" "$work/tree" || fail "cannot unpack $deb"
done
version=$(dpkg-deb -f "$work/$package"_*.deb Version)-$(dpkg-deb -f "$work/$package"_*.deb Architecture)
# runc lives in sbin there; containerd's shim looks for it on PATH, so all of them go into one directory.
mkdir -p "$work/tree/usr/bin"
for extra in "$work"/tree/usr/sbin/* "$work"/tree/bin/*; do
  if [ -f "$extra" ]; then mv "$extra" "$work/tree/usr/bin/"; fi
done
has_all "$work/tree/usr/bin" || fail "the distribution's $tool package holds no $words"
if [ -n "$suite" ]; then
  is_wanted "$work/tree/usr/bin" || fail "cannot have $tool: what Debian's suite $suite carries is $version, or does not run here"
  # No pull needs runc: where the suite's does not run here, the system's own is looked for on PATH.
  "$work/tree/usr/bin/runc" --version >/dev/null 2>&1 || rm -f "$work/tree/usr/bin/runc"
fi
if [ -z "$packages" ]; then
  # It must find the libraries that came with it.
  mv "$work/tree/usr/bin/$first" "$work/tree/usr/bin/$first.bin"
  {
    echo '#!/bin/sh'
    # shellcheck disable=SC2016 # for the script to expand
    echo 'tree=$(CDPATH="" cd -- "$(dirname -- "$0")/../.." && pwd)'
    # shellcheck disable=SC2016
    echo 'LD_LIBRARY_PATH=$(find "$tree" -name "*.so.*" -exec dirname {} + | sort -u | paste -sd:) exec "$0.bin" "$@"'
  } >"$work/tree/usr/bin/$first"
  chmod 755 "$work/tree/usr/bin/$first"
fi
mv "$work/tree" "$tools/$tool-$version"
unpacked
