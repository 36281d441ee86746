"""Shell completion offers what the programs' own --help names."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "preload"))
import harness  # noqa: E402

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools/completions")


def completed(program, *words):
    """What bash is offered behind `words`, the last of which is not finished."""
    script = """source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); compopt() { :; }
        "_$(basename "$1")" "$1"; printf '%s\\n' "${COMPREPLY[@]}" """
    path = os.path.join(harness.BUILD, program)
    done = subprocess.run(["bash", "-c", script, "bash", os.path.join(FOLDER, "leakprof.bash"), path, *words], capture_output=True,
                          text=True, timeout=30, cwd=harness.tempfile.mkdtemp(prefix="leakshim-test-"))
    assert done.stderr == "", done
    return done.stdout.split()


def leakprofs_options_and_files():
    assert completed("leakprof", "--inuse") == ["--inuse_objects", "--inuse_space"]
    assert completed("leakprof", "--text", "--pac") == ["--pack="]
    every = completed("leakprof", "--")
    assert {"--leaks", "--diff", "--focus=", "--sysroot=", "--debuginfod"} <= set(every), every
    assert completed("leakprof", "/usr/li")[0].startswith("/usr/li")


def leakshims_commands_options_and_processes():
    assert completed("leakshim", "s") == ["status", "set"]
    assert "--every" in [option.rstrip("=") for option in completed("leakshim", "run", "--e")]
    running = subprocess.Popen(["sleep", "60"], env={**os.environ, "LD_PRELOAD": harness.LIBRARY, "LEAKSHIM_CONF": "lg_prof_sample:0,prof_final:false"})
    try:
        for _ in range(100):
            offered = completed("leakshim", "dump", "")
            if str(running.pid) in offered:
                break
        assert str(running.pid) in offered, offered
    finally:
        running.kill()
        running.wait()


if __name__ == "__main__":
    harness.main({test.__name__: test for test in (leakprofs_options_and_files, leakshims_commands_options_and_processes)})
