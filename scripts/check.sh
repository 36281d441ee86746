#!/usr/bin/env bash
# Everything that must hold before a release: format, lint, and each preset built and tested. Takes a while.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/format.sh --check
scripts/lint.sh
scripts/test.sh dev release asan tsan
