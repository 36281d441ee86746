#!/bin/sh
# Writes the golden reports anew from the release build. Read the difference before you commit it.
set -eu
cd "$(dirname "$0")/.."
cmake --preset release >/dev/null
cmake --build --preset release --target leakprof
python3 tests/golden/golden_test.py build/release/leakprof --update
