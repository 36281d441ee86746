"""What the library asks of the kernel is the fixed list of libleakshim/README.md, and nothing at all where it is not wanted."""

import os
import re
import shutil

import harness

README = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../libleakshim/README.md")
# What the loader does to map one more library.
LOADING = {"openat", "read", "fstat", "newfstatat", "mmap", "mprotect", "munmap", "close", "pread64"}


def documented():
    with open(README) as readme:
        section = readme.read().split("## What it asks of the kernel")[1].split("\n## ")[0]
    return set(re.findall(r"`([a-z0-9_]+)`", section))


def traced(command, conf, preload=harness.LIBRARY):
    """[(call, rest of the line)] of a run, its tasks' calls included."""
    strace = shutil.which("strace")
    assert strace, "strace is not installed"
    directory = harness.tempfile.mkdtemp(prefix="leakshim-test-")
    out = os.path.join(directory, "strace.out")
    # Through env, so that the tracer itself is not profiled.
    wrapped = [strace, "-f", "-qq", "-o", out, "env", *([f"LD_PRELOAD={preload}"] if preload else []), f"LEAKSHIM_CONF={conf}",
               *command]
    run = harness.run(wrapped, preload=None, directory=directory, timeout=120)
    assert run.status == 0, run
    with open(out) as lines:
        calls = [re.match(r"\d+ +([a-z0-9_]+)(\(.*)", line) for line in lines]
    calls = [(match.group(1), match.group(2)) for match in calls if match]
    # The command itself begins where env has become it.
    begun = max(i for i, call in enumerate(calls) if call[0] == "execve")
    return run, calls[begun + 1:]


def a_profiled_program_makes_the_documented_calls_alone():
    known = documented()
    assert len(known) > 20, known
    seen = set()
    for command in (["host", "errno"], ["life", "busyforks", "5"], ["threads", "destructors"]):
        command = [harness.program(command[0]), *command[1:]]
        _, alone = traced(command, "", preload=None)
        run, ours = traced(command, "lg_prof_sample:10,lg_prof_interval:20,prof_keep:0")
        assert run.dumps, run
        extra = {name for name, _ in ours} - {name for name, _ in alone}
        assert extra <= known, f"not documented: {extra - known}"
        seen |= {name for name, _ in ours}
    # And most of what is listed is made: the list is no wish. The rest is for old kernels and refusals.
    assert len(known - seen) <= 10, f"documented, but not made: {known - seen}"


def a_program_that_is_not_meant_is_left_alone():
    sizes = harness.program("host")
    _, alone = traced([sizes, "wait"], "", preload=None)
    run, ours = traced([sizes, "wait"], "prof_only:nobody,lg_prof_sample:0")
    assert run.stderr == "" and not run.dumps, run
    extra = [call for call in ours if call[0] not in {name for name, _ in alone} | LOADING]
    assert [name for name, _ in extra] in ([], ["readlinkat"]), extra
    opened = [re.search(r'"(.*?)"', rest).group(1) for name, rest in ours if name == "openat" and '"' in rest]
    opened_alone = [re.search(r'"(.*?)"', rest).group(1) for name, rest in alone if name == "openat" and '"' in rest]
    assert sorted(opened) == sorted(opened_alone + [harness.LIBRARY]), opened
    count = {name: sum(1 for call, _ in calls if call == name) for calls in (alone,) for name in ("clone", "vfork", "write")}
    assert count == {name: sum(1 for call, _ in ours if call == name) for name in count}, count


def a_program_that_samples_nothing_opens_nothing():
    _, alone = traced(["/bin/true"], "", preload=None)
    run, ours = traced(["/bin/true"], "prof_seed:7")
    assert run.stderr == "" and not run.dumps and not os.path.exists(os.path.join(run.directory, "leakshim")), run
    opened = [re.search(r'"(.*?)"', rest).group(1) for name, rest in ours if name == "openat" and '"' in rest]
    opened_alone = [re.search(r'"(.*?)"', rest).group(1) for name, rest in alone if name == "openat" and '"' in rest]
    assert set(opened) - set(opened_alone) <= {harness.LIBRARY}, opened
    assert "write" not in {name for name, _ in ours}, ours


if __name__ == "__main__":
    harness.main({test.__name__: test for test in (
        a_profiled_program_makes_the_documented_calls_alone, a_program_that_is_not_meant_is_left_alone,
        a_program_that_samples_nothing_opens_nothing)})
