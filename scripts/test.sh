#!/usr/bin/env bash
# Installs what is missing, builds, runs every test.
#
#   scripts/test.sh             release (all tests), asan and tsan (unit tests)
#   scripts/test.sh PRESET...   those of CMakePresets.json
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/packages.sh
source scripts/packages.sh

presets=("$@")
((${#presets[@]})) || presets=(release asan tsan)

need_packages "${build_packages[@]}" "${test_packages[@]}"

jobs=$(nproc)
for preset in "${presets[@]}"; do
  started=$SECONDS
  echo "== $preset"
  cmake --preset "$preset" >/dev/null
  cmake --build --preset "$preset" --parallel "$jobs"
  ctest --preset "$preset" --parallel "$jobs" --no-tests=error
  echo "== $preset: all tests passed, $((SECONDS - started)) s"
done
