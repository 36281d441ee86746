# Sourced by each script: a scratch directory that goes away, and ways to be judged. LEAKSHIM, PROGRAMS and HERE come from
# CTest.
unset LEAKSHIM_CONF LD_PRELOAD DUMMY_TELLS
scratch=$(mktemp -d "$PROGRAMS/scratch.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

# expect WHAT EXPECTED FOUND
expect() {
  if [ "$2" != "$3" ]; then
    printf '%s: expected\n%s\nfound\n%s\n' "$1" "$2" "$3"
    exit 1
  fi
}

# refused STATUS PATTERN ARGUMENT...: `leakshim run ARGUMENT...` exits with STATUS, says one line that matches and runs nothing.
refused() {
  wanted=$1 pattern=$2
  shift 2
  status=0
  "$LEAKSHIM" run "$@" >out 2>err || status=$?
  expect "exit status of $*" "$wanted" "$status"
  expect "stdout of $*" "" "$(cat out)"
  expect "lines on stderr of $*" 1 "$(wc -l <err)"
  grep -q "^leakshim: .*$pattern" err || expect "stderr of $*" "$pattern" "$(cat err)"
}
