#!/usr/bin/env bash
# clang-tidy over every source (the tidy preset), shellcheck over the scripts, man's own warnings over the pages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/packages.sh
source scripts/packages.sh

need_packages "${build_packages[@]}" "${lint_packages[@]}" groff-base

shellcheck --external-sources scripts/*.sh .ci/run
for page in $(git ls-files '*.1' '*.3'); do
  warnings=$(groff -man -Tutf8 -ww -z "$page" 2>&1)
  if [[ -n $warnings ]]; then
    echo "$warnings" >&2
    exit 1
  fi
done
cmake --preset tidy >/dev/null
cmake --build --preset tidy --parallel "$(nproc)"
