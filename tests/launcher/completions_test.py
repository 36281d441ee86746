"""Shell completion offers what the programs' own --help names."""

import os
import pty
import select
import signal
import subprocess
import sys
import time

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


def zsh_completes_both():
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe("zsh", ["zsh", "-f", "-i"], {**os.environ, "TERM": "dumb", "PATH": harness.BUILD + ":" + os.environ["PATH"]})
    seen, deadline = "", time.monotonic() + 60

    def types(keys, wanted):
        nonlocal seen
        seen = ""
        os.write(terminal, keys.encode())
        while wanted not in seen and time.monotonic() < deadline:
            if select.select([terminal], [], [], 1)[0]:
                seen += os.read(terminal, 1 << 16).decode(errors="replace")
        assert wanted in seen, (keys, seen)

    try:
        types(f"fpath=({FOLDER} $fpath); autoload -Uz compinit; compinit -u -D; unsetopt zle_bracketed_paste; echo rea''dy\n", "ready")
        for keys, wanted in (("leakprof --inuse_s", "leakprof --inuse_space"), ("leakprof --pac", "leakprof --pack="),
                             ("leakprof /usr/li", "leakprof /usr/lib"), ("leakshim st", "leakshim status"),
                             ("leakshim run --ev", "leakshim run --every")):
            types(keys + "\t", wanted)
            os.write(terminal, b"\x15")  # the line goes
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


if __name__ == "__main__":
    harness.main({test.__name__: test for test in (leakprofs_options_and_files, leakshims_commands_options_and_processes,
                                                   zsh_completes_both)})
