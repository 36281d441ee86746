#!/usr/bin/env bash
# Installs what is missing, builds, runs COMMAND under the profiler and prints its top leaks.
#
#   scripts/run.sh                    a Java program of ours that leaks in three ways for 20 s
#   scripts/run.sh COMMAND [ARGS...]  any program; its exit status is passed on
#
# Dumps go to a fresh directory under TMPDIR, or under build/. LEAKSHIM_CONF is passed on too. Ctrl-C ends COMMAND, not the
# report.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/packages.sh
source "$root/scripts/packages.sh"

build=$root/build/release

# Says nothing if all goes well and quickly; all that was said if not.
build_release() {
  local log=$root/build/release.log pid started=$SECONDS status=0
  mkdir -p "$root/build"
  (cd "$root" && cmake --preset release && cmake --build --preset release --parallel "$(nproc)" \
    --target libleakshim.so leakshim_cli leakprof leakdemo_jar) >"$log" 2>&1 </dev/null &
  pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    sleep 0.1
    if [[ -t 2 ]] && ((SECONDS - started >= 1)); then
      printf '\r\033[Kbuilding %s' "$(tail -n 1 "$log" | cut -c 1-60)" >&2
    fi
  done
  [[ -t 2 ]] && printf '\r\033[K' >&2
  wait "$pid" || status=$?
  if ((status != 0)); then
    cat "$log" >&2
    echo "run.sh: the build failed (log: $log)" >&2
    exit 1
  fi
}

# why_no_dump STATUS PROGRAM
why_no_dump() {
  local status=$1 program=$2
  echo "run.sh: no dump was written. Likely reasons:"
  if ((status > 128)); then
    echo "  - $program was ended by signal $((status - 128)) before the first dump was due; ask for them sooner:"
    echo "      LEAKSHIM_CONF=prof_time_interval:5s scripts/run.sh ..."
  fi
  echo "  - it gave back all that was sampled, or allocated too little: one allocation is recorded per 512 KiB on average."
  echo "      LEAKSHIM_CONF=lg_prof_sample:12 scripts/run.sh ...    records one per 4 KiB"
  echo "  - it left by _exit, and so never came to its last dump."
  echo "  - it only started another program, and that one is statically linked or setuid; name that one as COMMAND to be told."
}

need_packages "${build_packages[@]}"
build_release

base=${TMPDIR:-$root/build}
mkdir -p "$base"
session=$(mktemp -d "$base/leakshim.XXXXXX")
# leakshim makes it when it has found nothing wrong with COMMAND.
dumps=$session/dumps
options=(-o "$dumps")
if (($# == 0)); then
  # Short-lived, so more often than the default: growth shows only in a series.
  options+=(--every 2s)
  set -- java -jar "$build/demo/demo.jar"
fi

trap : INT
status=0
"$build/leakshim" run "${options[@]}" -- "$@" || status=$?

if [[ ! -d $dumps ]]; then
  # leakshim has said why it did not start COMMAND.
  rmdir "$session"
  exit "$status"
fi
count=$(find "$dumps" -name '*.heap' | wc -l)
if ((count > 0)); then
  printf '\n%d dumps in %s; what they say:\n\n' "$count" "$dumps"
  "$build/leakprof" --leaks --top=5 "$dumps" || echo "run.sh: leakprof could not read $dumps" >&2
else
  rm -r "$session"
  why_no_dump "$status" "$1" >&2
fi
exit "$status"
