"""Other people's tests give under the preload what they give without it.

    suites_test.py glibc | stress_ng | allocators [ROUNDS]

glibc: the malloc tests of Debian's glibc-source that build with a small header in place of glibc's own test library.
stress_ng: storms of malloc, fork, vfork, threads, clone, the loader, contexts.
Each runs with every allocation recorded and at the default interval. ROUNDS (1): a test that hangs once in fifty runs is
found by fifty.
"""

import concurrent.futures
import glob
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../preload"))
import harness  # noqa: E402

CONFS = ("lg_prof_sample:0,prof_prefix:", "lg_prof_sample:12,lg_prof_interval:22,prof_keep:8", "")
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 1
STUBS = ("support/check.h", "support/support.h", "support/xthread.h", "support/xunistd.h", "support/xsignal.h",
         "support/test-driver.h", "support/temp_file.h", "libc-diag.h", "array_length.h", "malloc-size.h")


def extracted():
    """A folder with the malloc tests, our header under the names of glibc's, and the programs that could be built."""
    (archive,) = glob.glob("/usr/src/glibc/glibc-*.tar.xz")
    folder = tempfile.mkdtemp(prefix="leakshim-test-")
    with tarfile.open(archive) as tar:
        for member in tar:
            parts = member.name.split("/")
            # Those about interposition bring a malloc of their own.
            if len(parts) == 3 and parts[1] == "malloc" and parts[2].startswith("tst-") and "interpose" not in parts[2]:
                member.name = "/".join(parts[1:])
                tar.extract(member, folder)
    for stub in STUBS:
        os.makedirs(os.path.dirname(os.path.join(folder, "include", stub)), exist_ok=True)
        with open(os.path.join(folder, "include", stub), "w"):
            pass  # support.h is there already
    shutil.copy(os.path.join(HERE, "glibc/driver.c"), os.path.join(folder, "include/support/test-driver.c"))
    shutil.copy(os.path.join(HERE, "glibc/skeleton.c"), os.path.join(folder, "test-skeleton.c"))

    def build(source):
        program = source[:-2]
        done = subprocess.run(["gcc", "-std=gnu11", "-O1", "-w", "-fno-builtin-malloc", "-D_GNU_SOURCE", "-include",
                               os.path.join(HERE, "glibc/support.h"), "-I", os.path.join(folder, "include"), "-I",
                               os.path.join(HERE, "glibc"), source, "-o", program, "-lpthread", "-ldl"],
                              capture_output=True, text=True)
        return program if done.returncode == 0 else None

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        programs = [p for p in pool.map(build, sorted(glob.glob(os.path.join(folder, "malloc/tst-*.c")))) if p]
    return folder, programs


def judge(program, conf, preload, expected):
    run = harness.run([program], conf=conf, preload=preload, timeout=120)
    assert run.status == expected, (os.path.basename(program), conf, preload, expected, run)
    # Some limit their own memory: then a dump may find none, which each process says once.
    said = [line for line in run.stderr.splitlines() if line.startswith("leakshim")]
    assert all("Out of memory" in line for line in said), run
    for path in run.dumps:
        harness.Dump(path).check_books(nested=True)
    shutil.rmtree(run.directory)


def glibc():
    folder, programs = extracted()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        alone = dict(zip(programs, pool.map(lambda p: harness.run([p], preload=None, timeout=120).status, programs)))
        good = sorted(program for program in programs if alone[program] == 0)
        print(f"{len(programs)} tests of glibc build, {len(good)} pass alone", flush=True)
        assert len(good) >= 20, alone
        for _ in range(ROUNDS):
            for conf in CONFS:
                list(pool.map(lambda program: judge(program, conf, harness.LIBRARY, 0), good))
    shutil.rmtree(folder)


STORMS = {"malloc": 20_000, "fork": 500, "vfork": 1_000, "pthread": 3_000, "clone": 200, "dynlib": 500, "context": 3_000}


def stress_ng():
    tool = shutil.which("stress-ng")
    assert tool, "stress-ng is not installed"
    for _ in range(ROUNDS):
        for storm, operations in STORMS.items():
            for conf in CONFS:
                command = [tool, f"--{storm}", "2", f"--{storm}-ops", str(operations), "--timeout", "60s", "--verify"]
                run = harness.run(command, conf=conf, timeout=100)
                assert run.status == 0 and "successful run completed" in run.stdout + run.stderr, (storm, conf, run)
                assert "leakshim:" not in run.stderr, (storm, run.stderr)
                shutil.rmtree(run.directory)


def allocators():
    folder, programs = extracted()
    chosen = [p for p in programs if os.path.basename(p) in ("tst-malloc", "tst-calloc", "tst-realloc", "tst-posix_memalign",
                                                               "tst-valloc", "tst-memalign", "tst-malloc-thread-exit")]
    assert len(chosen) >= 7, programs  # what forks in signal handlers hangs with jemalloc alone
    for library in ROUNDS * ("libjemalloc.so.2", "libtcmalloc_minimal.so.4", "libmimalloc.so.2.0"):
        behind = f"/usr/lib/x86_64-linux-gnu/{library}"
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for program in chosen:
                alone = harness.run([program], preload=behind, timeout=120).status
                list(pool.map(lambda conf: judge(program, conf, f"{harness.LIBRARY}:{behind}", alone), CONFS))
    shutil.rmtree(folder)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.argv[1:] = sys.argv[1:2]
    harness.main({test.__name__: test for test in (glibc, stress_ng, allocators)})
