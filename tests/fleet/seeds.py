"""The real dumps that fleets are made of: the corpus's program under the library, and where there is a JDK, Java's."""

import concurrent.futures
import glob
import os
import shutil
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "preload"))
import harness  # noqa: E402

SOAK = os.environ.get("LEAKSHIM_SOAK") == "1"
DUMPS = 10


def record(folder, name, sample, command):
    """Dumps of `command`, one a second, until there are enough of them."""
    made = os.path.join(folder, name)
    os.makedirs(made)
    run = harness.run(command, conf=f"prof_time_interval:1s,lg_prof_sample:{sample},prof_keep:0,prof_fork:off", timeout=90)
    assert run.status == 0, (name, run.status, run.stderr)
    for path in glob.glob(os.path.join(run.directory, "*.heap")):
        shutil.move(path, made)
    return made


def make():
    """Folders, each with the dumps of one process."""
    folder = harness.tempfile.mkdtemp(prefix="seeds-")
    seconds = str(DUMPS + 3)
    jobs = [("gateway", 16, [harness.program("corpus"), "mixed", seconds])]
    jar = os.path.join(harness.PROGRAMS, "corpus.jar")
    if os.path.exists(jar) and shutil.which("java"):
        java = ["java", "-Xmx256m", "-cp", jar, "Corpus"]
        jobs += [("billing", 14, [*java, "perclass", seconds]), ("orders", 8 if SOAK else 12, [*java, "native", seconds])]
    with concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(lambda job: record(folder, *job), jobs))


def leakprof(*arguments):
    """The run, and how long it took."""
    started = time.monotonic()
    run = harness.leakprof(*arguments)
    return run, time.monotonic() - started
