#!/usr/bin/env bash
# Formats every C and C++ source that git knows; with --check, only names those that are not formatted, and fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/packages.sh
source scripts/packages.sh

case "${1-}" in
  "") mode=(-i) ;;
  --check) mode=(--dry-run --Werror) ;;
  *)
    echo "usage: scripts/format.sh [--check]" >&2
    exit 1
    ;;
esac

need_packages clang-format
git ls-files -z --cached --others --exclude-standard -- '*.c' '*.cc' '*.h' | xargs -0r clang-format --style=file "${mode[@]}"
