"""Whatever the kernel refuses us, and whenever: the host finishes with its right result, and one line at most is said."""

import errno
import os
import re

import harness

FAULTS = os.path.join(harness.PROGRAMS, "libfaults.so")
FOR_EVER = 1 << 40
# Numbers of x86-64, and what a kernel or a sandbox answers. The clone of the dump task, which is no function, is refused in
# host_test.
CALLS = {"mmap": (9, errno.ENOMEM), "munmap": (11, errno.EINVAL), "openat": (257, errno.EMFILE), "read": (0, errno.EIO),
         "write": (1, errno.ENOSPC), "close": (3, errno.EIO), "futex": (202, errno.ENOSYS),
         "renameat2": (316, errno.EXDEV), "wait4": (61, errno.ECHILD), "prctl": (157, errno.EPERM),
         "madvise": (28, errno.EINVAL), "getrandom": (318, errno.ENOSYS), "process_vm_readv": (310, errno.EPERM),
         "fchmod": (91, errno.EPERM), "fstat": (5, errno.EBADF), "readlinkat": (267, errno.EACCES),
         "getdents64": (217, errno.EIO), "tgkill": (234, errno.EPERM), "close_range": (436, errno.ENOSYS),
         "getcwd": (79, errno.ENOENT), "prlimit64": (302, errno.EPERM)}
CONF = "lg_prof_sample:10,lg_prof_interval:20,prof_keep:0,prof_only:life"


def run_with(call, number, error, first, count):
    directory = harness.tempfile.mkdtemp(prefix="leakshim-test-")
    mark = os.path.join(directory, "refused")
    run = harness.run([harness.program("life"), "busyforks", "3"], conf=CONF, preload=FAULTS, directory=directory, timeout=60,
                      env={"LEAKSHIM_FAULT": f"{number}:{error}:{first}:{count}:{mark}"})
    what = f"{call} {first} (+{count})"
    assert run.status == 0 and run.stdout == "fine\n", (what, run)
    assert all(re.match("leakshim: ", line) for line in run.stderr.splitlines()), (what, run.stderr)
    # One line for each process that could not write, and one more when the reason changes.
    assert run.stderr.count("\n") <= 12, (what, run.stderr)
    for path in run.dumps:
        assert os.path.getsize(path) > 0, (what, path)
        harness.Dump(path).check_books()
    # Where a file cannot be removed or renamed it stays; else nothing is left half done, and one dump runs at a time.
    assert call in ("openat",) or not [name for name in os.listdir(directory) if name.endswith(".tmp")], (what, run)
    return os.path.exists(mark), run


def the_library_for_faults_is_the_library():
    refused, run = run_with("nothing", 9999, 1, 1, 1)
    assert not refused and run.dumps and run.stderr == "", run


def the_nth_call_that_fails_changes_nothing_for_the_host():
    every = "LEAKSHIM_SOAK" in os.environ
    for call, (number, error) in CALLS.items():
        misses, first, fired = 0, 1, 0
        while misses < 2 and first < (400 if every else 50):
            refused, _ = run_with(call, number, error, first, 1)
            misses = 0 if refused else misses + 1
            fired += refused
            first += 1 if every or first < 6 else max(1, first // 2)
        assert fired or call in ("futex", "wait4", "getdents64", "tgkill", "getrandom", "process_vm_readv"), call


def on_a_kernel_that_wipes_no_pages_forks_are_told_by_their_id():
    for _ in range(5):
        directory = harness.tempfile.mkdtemp(prefix="leakshim-test-")
        mark = os.path.join(directory, "refused")
        # The first advice is against huge pages for the page, the second asks for it to be wiped: Linux before 4.14.
        run = harness.run([harness.program("life"), "rawforks"], conf=CONF, preload=FAULTS, directory=directory,
                          env={"LEAKSHIM_FAULT": f"28:{errno.EINVAL}:2:1:{mark}"})
        assert run.status == 0 and run.stdout == "fine\n" and run.stderr == "" and os.path.exists(mark), run
        assert len({harness.Dump(path).about["pid"] for path in run.dumps}) > 1, run.dumps
        assert not [name for name in os.listdir(directory) if name.endswith(".tmp")], os.listdir(directory)


def a_call_that_is_refused_for_ever_changes_nothing_for_the_host():
    for call, (number, error) in CALLS.items():
        for first in (1, 4, 12):
            run_with(call, number, error, first, FOR_EVER)


if __name__ == "__main__":
    harness.main({test.__name__: test for test in (
        the_library_for_faults_is_the_library, on_a_kernel_that_wipes_no_pages_forks_are_told_by_their_id, the_nth_call_that_fails_changes_nothing_for_the_host,
        a_call_that_is_refused_for_ever_changes_nothing_for_the_host)})
