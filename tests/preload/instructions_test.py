"""What the hooks cost, in instructions (valgrind's callgrind): they do not wobble, so this is a gate.

The length of a run is doubled and the difference taken, so start-up cancels. `python3 instructions_test.py --print` prints
the numbers.
"""

import os
import re
import subprocess
import sys
import tempfile

import harness

ROUNDS = 20_000
GATE = 15  # of a malloc and free pair, above the next allocator's own
BELOW = {"glibc": "", "jemalloc": "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"}


def instructions(rounds, preload):
    env = {name: value for name, value in os.environ.items()
           if name not in ("LD_PRELOAD", "LEAKSHIM_CONF", "MALLOC_CONF")}
    with tempfile.TemporaryDirectory() as directory:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={directory}/out"]
        if preload:
            # Sampling is on, but so rare that no sample falls into the run.
            env["LEAKSHIM_CONF"] = "lg_prof_sample:40,prof_seed:1"
            env["LD_PRELOAD"] = preload
        done = subprocess.run([*command, harness.program("pair"), str(rounds)], env=env, cwd=directory, capture_output=True,
                              text=True, timeout=120)
        match = re.search(r"Collected : (\d+)", done.stderr)
        assert done.returncode == 0 and match, done.stderr[-2000:]
        return int(match.group(1))


def of_a_pair(preload):
    return (instructions(2 * ROUNDS, preload) - instructions(ROUNDS, preload)) / ROUNDS


def added(below):
    return of_a_pair(":".join(filter(None, [harness.LIBRARY, below]))) - of_a_pair(below)


def a_pair_costs_few_instructions_more():
    for name, below in BELOW.items():
        more = added(below)
        # Fewer than two jumps cannot be: then the hooks were not there.
        assert 2 <= more <= GATE, f"{more:.2f} instructions a pair over {name}, at most {GATE} allowed"


if __name__ == "__main__":
    if sys.argv[1:] == ["--print"]:
        for name, below in BELOW.items():
            print(f"{name}: {added(below):.2f} instructions a pair more")
        sys.exit()
    harness.main({"a_pair_costs_few_instructions_more": a_pair_costs_few_instructions_more})
