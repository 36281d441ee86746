#!/usr/bin/env bash
# The tests that take long, in their long form: hours. What scripts/test.sh runs of them is a sample.
#
#   scripts/soak.sh             everything
#   scripts/soak.sh PART...     jvm, unwind, hazards, suites, servers, leaks, production, fuzz
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/packages.sh
source scripts/packages.sh

build=$PWD/build/release
export LEAKSHIM_BUILD=$build PYTHONDONTWRITEBYTECODE=1

# Every JVM configuration on every JDK, 200 starts and exits, doctored JVMs of every JDK.
soak_jvm() {
  export LEAKSHIM_JVM_PROGRAMS=$build/tests/jvm/programs LEAKSHIM_PRELOAD_PROGRAMS=$build/tests/preload/programs
  python3 tests/jvm/matrix_test.py --long
  python3 tests/jvm/starts_test.py 100
  python3 tests/jvm/doctored_test.py --long
}

# Two million stacks walked twice; minutes of threads that load, throw, allocate and iterate at once.
soak_unwind() {
  LEAKSHIM_SOAK=1 LEAKSHIM_PRELOAD_PROGRAMS=$build/tests/preload/programs python3 tests/preload/unwind_test.py
}

# Every test of a hazard 20 times, as many at once as there are processors; those of races repeat themselves 10 times in
# each, which makes 200. A test's output is shown where it fails.
soak_hazards() {
  export LEAKSHIM_PRELOAD_PROGRAMS=$build/tests/preload/programs LEAKSHIM_SOAK=1 LEAKSHIM_RACES=10
  local round
  for ((round = 1; round <= 20; round++)); do
    echo "== hazards: round $round of 20"
    # shellcheck disable=SC2016  # $0 is the inner shell's
    printf '%s\n' faults host library life limits loader operators syscalls threads trouble |
      xargs -P "$(nproc)" -n 1 bash -c 'out=$(python3 "tests/preload/$0_test.py" 2>&1) || { printf "%s\n" "$out"; exit 1; }'
  done
}

# Other people's tests; none may hang in 50 rounds.
soak_suites() {
  export LEAKSHIM_PRELOAD_PROGRAMS=$build/tests/preload/programs
  local suite
  for suite in glibc stress_ng allocators; do
    echo "== suites: $suite, 50 rounds"
    python3 tests/suites/suites_test.py "$suite" 50
  done
}

# Servers from Debian under their ordinary load.
soak_servers() {
  export LEAKSHIM_PRELOAD_PROGRAMS=$build/tests/preload/programs
  need_packages redis-server nginx-light postgresql tomcat10 nodejs
  local round
  for ((round = 1; round <= 5; round++)); do
    echo "== servers: round $round of 5"
    python3 tests/suites/servers_test.py
  done
}

# The labelled corpus of leaks, two minutes a program.
soak_leaks() {
  export LEAKSHIM_PRELOAD_PROGRAMS=$build/tests/leaks LEAKSHIM_CORPUS_JAR=$build/tests/leaks/corpus.jar
  export LEAKSHIM_DEMO_JAR=$build/demo/demo.jar
  python3 tests/leaks/corpus_test.py 120
}

# Two and a half million holes in 10 GB, a disk that comes and goes, 10 000 dumps of one process.
soak_production() {
  export LEAKSHIM_PRELOAD_PROGRAMS=$build/tests/preload/programs
  LEAKSHIM_SOAK=1 python3 tests/preload/production_test.py
}

# One libFuzzer target; its output is shown where it finds something.
fuzz_target() {
  local fuzz=build/fuzz entry=$1
  mkdir -p "$fuzz/corpus/$entry" "tests/fuzz/corpus/$entry"
  if ! "$fuzz/fuzz_$entry" -max_total_time="${LEAKSHIM_FUZZ_SECONDS:-600}" -timeout=60 -rss_limit_mb=3000 \
    -dict=tests/fuzz/words.dict -print_final_stats=1 -verbosity=0 -artifact_prefix="$fuzz/found/$entry-" \
    "$fuzz/corpus/$entry" "$fuzz/seeds/$entry" "tests/fuzz/corpus/$entry" >"$fuzz/$entry.log" 2>&1; then
    tail -n 100 "$fuzz/$entry.log"
    return 1
  fi
  echo "== fuzz: $entry: $(sed -n 's/^stat::number_of_executed_units: *//p' "$fuzz/$entry.log") inputs"
}

# The reader's libFuzzer targets under ASan and UBSan, as many at once as there are processors, ten minutes each or
# LEAKSHIM_FUZZ_SECONDS. What they find lies in build/fuzz/found: mended, it belongs into tests/fuzz/corpus. What they
# learn stays in build/fuzz/corpus for the next time.
soak_fuzz() {
  need_packages "${fuzz_packages[@]}"
  cmake --preset fuzz >/dev/null
  cmake --build --preset fuzz --parallel "$(nproc)"
  local fuzz=build/fuzz
  $fuzz/write_seeds $fuzz/seeds
  mkdir -p $fuzz/found
  export -f fuzz_target
  # shellcheck disable=SC2016  # $0 is the inner shell's
  printf '%s\n' $fuzz/fuzz_* | sed 's,.*/fuzz_,,' | xargs -P "$(nproc)" -n 1 bash -c 'fuzz_target "$0"'
}

parts=("$@")
((${#parts[@]})) || parts=(jvm unwind hazards suites servers leaks production fuzz)

need_packages "${build_packages[@]}" "${test_packages[@]}"
cmake --preset release >/dev/null
cmake --build --preset release --parallel "$(nproc)"
for part in "${parts[@]}"; do
  started=$SECONDS
  echo "== soak $part"
  "soak_$part"
  echo "== soak $part: passed, $((SECONDS - started)) s"
done
