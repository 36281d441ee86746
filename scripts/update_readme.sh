#!/usr/bin/env bash
# Fills README.md from real runs: the output blocks from the commands named here, the options table from the library's list.
# A block is what stands between `<!-- output:NAME -->` and `<!-- /output -->`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/packages.sh
source scripts/packages.sh

# fill NAME COMMAND...: the block's new text is the command and all that it printed. No path of this machine gets in.
fill() {
  local name=$1 output
  shift
  output=$(mktemp)
  if ! env -u TMPDIR -u LEAKSHIM_CONF "$@" >"$output" 2>&1; then
    cat "$output" >&2
    echo "update_readme.sh: $* failed; README.md keeps its old block" >&2
    rm -f "$output"
    return 1
  fi
  python3 - "$name" "$*" "$PWD" "$output" <<'PYTHON'
import re, sys
name, command, here, output = sys.argv[1:]
text = open(output, errors="replace").read().replace(here + "/", "").rstrip()
block = f"<!-- output:{name} -->\n```\n$ {command}\n{text}\n```\n<!-- /output -->"
readme = open("README.md").read()
pattern = re.compile(rf"<!-- output:{re.escape(name)} -->.*?<!-- /output -->", re.S)
filled, count = pattern.subn(lambda _: block, readme)
if count != 1:
    sys.exit(f"README.md: expected one block output:{name}, found {count}")
open("README.md", "w").write(filled)
PYTHON
  rm -f "$output"
}

need_packages "${build_packages[@]}" python3
fill demo scripts/run.sh
python3 scripts/options_table.py --write README.md
