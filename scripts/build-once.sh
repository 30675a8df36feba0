# shellcheck shell=sh
# For scripts that build a tool once, under .nabo/tools; they source it. It needs `tools`, and a function `fail` that prints a sentence and exits.
# `begin_build <result> <name> <seconds>` prints the result and ends the script if the result is there. Otherwise it takes the lock of that name, for which
# it waits so long at most, and makes `$work`, a directory that goes when the script ends. The lock is descriptor 9: programs that outlive the script must not
# inherit it.
begin_build() {
  print_if_built "$1"
  command -v go >/dev/null || fail "cannot build $2: there is no Go on PATH"
  command -v flock >/dev/null || fail "cannot build $2: there is no flock on PATH"
  mkdir -p "$tools"
  exec 9>"$tools/$2.lock"
  flock -w "$3" 9 || fail "cannot build $2: another process has held $tools/$2.lock for $(($3 / 60)) minutes"
  print_if_built "$1"
  work=$(mktemp -d "$tools/building.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  trap 'exit 130' INT TERM
}

# A result has its name only when it is whole.
print_if_built() {
  if [ -e "$1" ]; then
    echo "$1"
    exit 0
  fi
}
