"""`leakshim run COMMAND` against COMMAND: whoever started it, and the command itself, cannot tell them apart but by the two
variables that are set, the library, and one line on stderr."""

import contextlib
import glob
import os
import pty
import re
import resource
import signal
import subprocess
import sys
import tempfile
import termios
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "preload"))
import harness  # noqa: E402

CLI = os.path.join(harness.BUILD, "leakshim")
TELL = os.path.join(os.environ["LEAKSHIM_LAUNCHER_PROGRAMS"], "tell")
TWIN = os.environ.get("LEAKSHIM_TWIN_JAR", "")
CLEAN = {name: value for name, value in os.environ.items()
         if not name.startswith(("LEAKSHIM_", "MALLOC_", "LD_", "GLIBC_"))}
LINE = r"leakshim: profiling \S+; dumps in \S+\.\*; first in 30 s\n"
OURS = re.compile(r"^environment (LD_PRELOAD|LEAKSHIM_CONF)=.*\n", re.M)


def nameless(text, pid, directory):
    """`text` without its process's own number and directory; the number is looked for where it is one: 388 is in 8388608 too."""
    return re.sub(rf"\b(pid|parent|group|session) {pid}\b", r"\1 PID", text.replace(directory, "DIR"))


def pair(command, **options):
    """The same started bare and by `leakshim run`: two (status, stdout, stderr) without what differs by intent."""
    results = []
    for prefix in ([], [CLI, "run", "--"]):
        directory = tempfile.mkdtemp(prefix="leakshim-test-")
        mine = dict(options)
        if "stdin" in mine:
            mine["stdin"] = mine["stdin"]()
        process = subprocess.Popen([*prefix, *command], **{"env": CLEAN, "cwd": directory, **mine}, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        out, err = process.communicate(mine.pop("input", None), timeout=60)
        out, err = out.decode(errors="surrogateescape"), err.decode()
        if prefix:
            assert len(OURS.findall(out)) in (0, 2), out
            assert re.fullmatch(LINE + "(?s:.*)", err), err
            out, err = OURS.sub("", out), re.sub("^" + LINE, "", err)
        out = re.sub(r"pipe:\[\d+\]", "pipe", nameless(out, process.pid, directory))
        results.append((process.returncode, out, err))
    return results


def same(command, **options):
    bare, run = pair(command, **options)
    assert bare == run, "\n".join(["bare and run differ:", *(f"- {a}\n+ {b}" for a, b in zip(
        [str(bare[0]), *bare[1].splitlines(), bare[2]], [str(run[0]), *run[1].splitlines(), run[2]]) if a != b)])
    return run


def a_process_finds_all_as_it_was_left():
    status, out, _ = same([TELL, "7", "a b", "", "-o", "--"], stdin=lambda: subprocess.DEVNULL)
    assert status == 7 and "argument a b\nargument \nargument -o\nargument --\n" in out and "pid PID parent" in out, out


def odd_beginnings_are_handed_on():
    """Signals ignored, blocked and pending, limits, timers, groups: what a supervisor may have set before it starts one."""
    def odd():
        os.setsid()
        os.umask(0o027)
        os.nice(3)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD})
        os.kill(os.getpid(), signal.SIGUSR1)
        signal.setitimer(signal.ITIMER_REAL, 1000)
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, 1 << 30))
    status, out, _ = same([TELL, "3"], preexec_fn=odd, stdin=lambda: subprocess.DEVNULL, restore_signals=False)
    assert status == 3 and "timer 1" in out and "Umask:\t0027" in out and "group PID session PID" in out, out
    assert re.search(r"ShdPnd:\t0*200\n", out) and re.search(r"SigIgn:\t[0-9a-f]*1001\n", out), out


def descriptors_are_neither_opened_nor_closed_nor_read():
    with tempfile.TemporaryFile() as file, tempfile.TemporaryFile() as other:
        file.write(b"first\nsecond\n")
        file.flush()

        def stand_at_the_second_line():
            file.seek(6)
            return file
        status, out, _ = same([TELL, "0"], stdin=stand_at_the_second_line, pass_fds=(file.fileno(), other.fileno()))
        assert status == 0 and out.endswith("second\n") and f"fd {other.fileno()} " in out and " at 6 " in out, out
    for missing in ((0,), (0, 1), (2,), (0, 2), (0, 1, 2)):
        for prefix in ([], [CLI, "run", "--"]):
            with tempfile.TemporaryDirectory() as directory:
                script = f'"{TELL}" 5 >"$0"' if 1 in missing else f'exec "{TELL}" 5'
                command = ["sh", "-c", script, f"{directory}/out"]
                run = subprocess.run([*prefix, *command], env=CLEAN, cwd=directory, capture_output=True, timeout=60,
                                     preexec_fn=lambda: [os.close(fd) for fd in missing])
                assert run.returncode == 5, (missing, run)
                # A line for a descriptor that is not open goes nowhere, and not into a file.
                assert sorted(os.listdir(directory)) == (["out"] if 1 in missing else []), os.listdir(directory)


def the_environment_is_kept_byte_for_byte():
    env = {b"EMPTY": b"", b"BYTES": b"\xff\xfe = \n", b"PATH": CLEAN["PATH"].encode(), b"LANG": b"de_DE.UTF-8"}
    status, out, _ = same([TELL, "0"], env=env, stdin=lambda: subprocess.DEVNULL)
    assert status == 0 and "environment BYTES=\udcff\udcfe = \n" in out, out


def every_exit_status_is_the_commands():
    for status in (0, 1, 2, 3, 126, 127, 128, 255):
        assert same(["sh", "-c", f"exit {status}"])[0] == status
    # What the shell says where there is nothing to start.
    for name, status in (("./none", 127), ("/", 126), (os.path.abspath(__file__), 126)):
        for prefix in ("", f"'{CLI}' run -- "):
            run = subprocess.run(["sh", "-c", f"{prefix}{name}"], env=CLEAN, capture_output=True, timeout=60)
            assert run.returncode == status, (prefix, name, run)


def death_by_a_signal_is_the_commands():
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP, signal.SIGABRT, signal.SIGSEGV, signal.SIGPIPE):
        status, _, _ = same([TELL, "signal", str(int(number))], stdin=lambda: subprocess.DEVNULL,
                            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))
        assert status == -number, (number, status)


def standard_input_arrives_whole():
    data = os.urandom(3_000_000)
    for prefix in ([], [CLI, "run", "--"]):
        run = subprocess.run([*prefix, "cat"], env=CLEAN, input=data, capture_output=True, timeout=60,
                             cwd=tempfile.mkdtemp(prefix="leakshim-test-"))
        assert run.returncode == 0 and run.stdout == data, prefix


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, command):
        self.directory = tempfile.mkdtemp(prefix="leakshim-test-")
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(self.directory)
            os.execvpe(command[0], command, CLEAN)
        self.out = b""

    def read_until(self, text, seconds=30):
        deadline = time.monotonic() + seconds
        os.set_blocking(self.fd, False)
        while text not in self.out:
            assert time.monotonic() < deadline, self.out
            with contextlib.suppress(OSError):
                self.out += os.read(self.fd, 65536)
            time.sleep(0.01)

    def type(self, text):
        os.write(self.fd, text)

    def end(self):
        _, status = os.waitpid(self.pid, 0)
        with contextlib.suppress(OSError):
            while chunk := os.read(self.fd, 65536):
                self.out += chunk
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


def a_terminal_stays_the_commands():
    told = []
    for prefix in ([], [CLI, "run", "--"]):
        terminal = Terminal([*prefix, TELL, "4"])
        terminal.read_until(b"name tell")
        attributes = termios.tcgetattr(terminal.fd)
        terminal.type(b"typed\n")
        terminal.read_until(b"typed\r\ntyped\r\n")
        terminal.type(b"\x04")
        status = terminal.end()
        text = nameless(terminal.out.decode().replace("\r\n", "\n"), terminal.pid, terminal.directory)
        text = re.sub(r"/dev/pts/\d+", "TTY", text)
        told.append((status, attributes, re.sub("^" + LINE, "", OURS.sub("", text))))
    assert told[0] == told[1], told
    assert told[0][0] == 4 and "tty 1" in told[0][2] and "terminal's group 1" in told[0][2], told[0]


def keys_of_the_terminal_reach_the_command():
    for prefix in ([], [CLI, "run", "--"]):
        terminal = Terminal([*prefix, TELL])
        terminal.read_until(b"name tell")
        terminal.type(b"\x03")
        assert terminal.end() == -signal.SIGINT, prefix
        terminal = Terminal([*prefix, TELL, "6"])
        terminal.read_until(b"name tell")
        # As a session leader without a shell above it cannot be stopped by a key; by a signal it can.
        os.kill(terminal.pid, signal.SIGSTOP)
        _, status = os.waitpid(terminal.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), status
        os.kill(terminal.pid, signal.SIGCONT)
        terminal.type(b"\x04")
        assert terminal.end() == 6, prefix


def java_cannot_tell_either():
    jar = ["java", "-Xshare:auto", "-jar", TWIN]
    for how, status in (("0", 0), ("77", 77), ("throw", 1), ("halt", 9)):
        result = same([*jar, how, "a b"], stdin=lambda: subprocess.DEVNULL)
        assert result[0] == status, (how, result)
        assert ("hook ran" in result[1]) == (how != "halt"), result
    ends = []
    for prefix in ([], [CLI, "run", "--"]):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
            process = subprocess.Popen([*prefix, *jar, "wait"], env=CLEAN, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL, text=True, cwd=tempfile.mkdtemp(prefix="leakshim-test-"))
            while process.stdout.readline() != "waiting\n":
                assert process.poll() is None
            process.send_signal(number)
            out, _ = process.communicate(timeout=60)
            ends.append((process.returncode, out))
    assert ends[:3] == ends[3:] and [end[0] for end in ends[:3]] == [143, 130, -9], ends


def each_allocator_of_debian_serves_beneath():
    served = 0
    for name, file in (("jemalloc", "libjemalloc.so.2"), ("mimalloc", "libmimalloc.so.2*"), ("tcmalloc", "libtcmalloc_minimal.so.4")):
        directory = tempfile.mkdtemp(prefix="leakshim-test-")
        run = subprocess.run([CLI, "run", "--allocator", name, "--sample=4K", "--", harness.program("peaks"), "20"], env=CLEAN,
                             cwd=directory, capture_output=True, text=True, timeout=60)
        if not glob.glob(f"/usr/lib/*/{file}"):
            assert run.returncode == 127 and "apt install lib" in run.stderr, run
            continue
        served += 1
        assert (run.returncode, run.stdout) == (0, "fine\n"), run
        (path,) = harness.dumps_in(directory)
        dump = harness.Dump(path)
        dump.check_books()
        assert f"/lib{name}" in dump.maps, dump.maps
        assert abs(dump.estimated_total()[1] / 1e6 - 20) < 1.5, (name, dump.estimated_total())
    assert served > 0, "no allocator is installed"


if __name__ == "__main__":
    harness.main({test.__name__: test for test in (
        a_process_finds_all_as_it_was_left, odd_beginnings_are_handed_on, descriptors_are_neither_opened_nor_closed_nor_read,
        the_environment_is_kept_byte_for_byte, every_exit_status_is_the_commands, death_by_a_signal_is_the_commands,
        standard_input_arrives_whole, a_terminal_stays_the_commands, keys_of_the_terminal_reach_the_command,
        *([java_cannot_tell_either] if TWIN else []), each_allocator_of_debian_serves_beneath)})
