#!/usr/bin/env bash
# The tests that take long, in their long form. What scripts/test.sh runs of them is a sample.
#
#   scripts/soak.sh             everything
#   scripts/soak.sh PART...     jvm, unwind
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

parts=("$@")
((${#parts[@]})) || parts=(jvm unwind)

need_packages "${build_packages[@]}" "${test_packages[@]}"
cmake --preset release >/dev/null
cmake --build --preset release --parallel "$(nproc)"
for part in "${parts[@]}"; do
  started=$SECONDS
  echo "== soak $part"
  "soak_$part"
  echo "== soak $part: passed, $((SECONDS - started)) s"
done
