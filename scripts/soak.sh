#!/usr/bin/env bash
# The long runs: what CI does once, many times over, because a race shows once in fifty. Hours; nothing here is in CI.
#
#   scripts/soak.sh            all
#   scripts/soak.sh NAME...    some: hazards, suites, servers
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/packages.sh
source scripts/packages.sh

need_packages "${build_packages[@]}" "${test_packages[@]}"
cmake --preset release >/dev/null
cmake --build --preset release --parallel "$(nproc)"
export LEAKSHIM_BUILD=$PWD/build/release LEAKSHIM_PRELOAD_PROGRAMS=$PWD/build/release/tests/preload/programs

# --- hazards: every test of a hazard 20 times; those of races repeat themselves 10 times in each, which makes 200 ---------
hazards() {
  local round test
  for ((round = 1; round <= 20; round++)); do
    for test in faults host library life limits loader operators syscalls threads trouble; do
      echo "== hazards: round $round of 20, $test"
      LEAKSHIM_RACES=10 python3 "tests/preload/${test}_test.py"
    done
  done
}

# --- suites: other people's tests; none may hang in 50 rounds -------------------------------------------------------------
suites() {
  local suite
  for suite in glibc stress_ng allocators; do
    echo "== suites: $suite, 50 rounds"
    python3 tests/suites/suites_test.py "$suite" 50
  done
}

# --- servers: their ordinary load ------------------------------------------------------------------------------------------
servers() {
  need_packages redis-server nginx-light postgresql nodejs
  local round
  for ((round = 1; round <= 5; round++)); do
    echo "== servers: round $round of 5"
    python3 tests/suites/servers_test.py
  done
}

parts=("$@")
((${#parts[@]})) || parts=(hazards suites servers)
for part in "${parts[@]}"; do
  "$part"
done
echo "== soak: all held"
