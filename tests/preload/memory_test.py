"""What the library keeps in memory, by its own count and by the kernel's: gates, since neither wobbles much."""

import os
import statistics
import subprocess
import sys
import tempfile

import harness

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "bench", "overhead"))
import memory  # noqa: E402

GATES = {"samples": 48, "stacks": 320, "threads": 4096, "modules": 512}  # bytes for each; the stacks have some 20 frames


def books_are_small():
    seen = memory.bytes_for_each(harness.BUILD)
    assert seen.keys() == GATES.keys(), seen
    for kind, gate in GATES.items():
        # Nothing at all cannot be: then they were not counted.
        assert 8 <= seen[kind] <= gate, f"{seen[kind]:.1f} bytes for each of the {kind}, at most {gate} allowed"


def peak_kib(command, *settings):
    with tempfile.TemporaryDirectory() as directory:
        out = os.path.join(directory, "cost")
        subprocess.run([os.path.join(harness.BUILD, "cost_of"), out, *settings, *command], cwd=directory, check=True,
                       stdout=subprocess.DEVNULL, timeout=60)
        with open(out) as file:
            return int(file.read().split()[1])


def a_programs_peak_grows_little():
    with_library = [f"LD_PRELOAD={harness.LIBRARY}", "LEAKSHIM_CONF=prof_final:false"]
    # The second is deep, and has some hundred samples.
    for command in ([os.path.join(harness.BUILD, "loops"), "churn", "300000"],
                    [os.path.realpath(sys.executable), "-S", "-c", "x = [str(i) * 40 for i in range(200000)]"]):
        alone, sampled = ([peak_kib(command, "PYTHONMALLOC=malloc", *more) for _ in range(9)] for more in ([], with_library))
        bar = 1.02 * statistics.median(alone) + 1024
        assert statistics.median(alone) < statistics.median(sampled) <= bar, (command, alone, sampled)


if __name__ == "__main__":
    harness.main({test.__name__: test for test in (books_are_small, a_programs_peak_grows_little)})
