"""`leakshim check` on programs and on running processes: what it finds, and what it says to do about it."""

import contextlib
import glob
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "preload"))
import harness  # noqa: E402

CLI = os.path.join(harness.BUILD, "leakshim")
DEMO = os.path.join(harness.BUILD, "demo", "demo.jar")
LAUNCHER_PROGRAMS = os.environ["LEAKSHIM_LAUNCHER_PROGRAMS"]
IS_ROOT = os.geteuid() == 0
NOBODY = {"user": 65534, "group": 65534, "extra_groups": []}
CLEAN = {name: value for name, value in os.environ.items()
         if not name.startswith(("LEAKSHIM_", "MALLOC_", "LD_", "GLIBC_"))}


def check(what, env=None, **options):
    """(status, [(mark, text)], stderr)."""
    run = subprocess.run([CLI, "check", str(what)], env={**CLEAN, **(env or {})}, capture_output=True, text=True, timeout=60,
                         **options)
    rows = [re.fullmatch(r"(ok  |warn|no  )  (\w[\w ]*: .+)", line) for line in run.stdout.splitlines()]
    assert all(rows), run.stdout
    assert (run.returncode == 0) == (bool(rows) and not any(row[1] == "no  " for row in rows)), run
    return run.returncode, [(row[1].strip(), row[2]) for row in rows], run.stderr


def has(findings, mark, *words):
    assert any(found == mark and all(word in text for word in words) for found, text in findings), \
        f"no {mark} with {words} in\n" + "\n".join(map(str, findings))


def refused(what, *words, env=None, mark="no", **options):
    status, findings, err = check(what, env, **options)
    assert status == 2 and err == "", (status, findings, err)
    has(findings, mark, *words)


@contextlib.contextmanager
def running(command, env=None, wait_for=None, **options):
    """A process; `wait_for`: a text that its maps must have first, "" for the start of its program."""
    directory = tempfile.mkdtemp(prefix="leakshim-test-")
    os.chmod(directory, 0o777)
    process = subprocess.Popen(command, env={**CLEAN, **(env or {})}, cwd=directory, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, **options)
    process.directory = directory
    try:
        deadline = time.monotonic() + 20
        while wait_for:
            with open(f"/proc/{process.pid}/maps", encoding="utf-8", errors="replace") as maps:
                if wait_for in maps.read():
                    break
            assert time.monotonic() < deadline and process.poll() is None, (command, process.poll())
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()


def shimmed(conf="lg_prof_sample:12", **more):
    return {"LD_PRELOAD": harness.LIBRARY, "LEAKSHIM_CONF": conf, **more}


def sleeping(**options):
    return running(["sleep", "60"], wait_for="libc", **options)


def wait_for_page(pid):
    """Until the process has sampled: `status` knows it."""
    deadline = time.monotonic() + 20
    while subprocess.run([CLI, "status", str(pid)], env=CLEAN, capture_output=True, timeout=60).returncode != 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def a_program_that_works_is_said_to():
    status, findings, err = check("ls")
    assert status == 0 and err == "", (status, findings, err)
    has(findings, "ok", "program: ", "/ls is dynamically linked")
    has(findings, "ok", f"library: {harness.LIBRARY}, glibc 2.")
    has(findings, "ok", "dumps: ", "can be written")
    has(findings, "ok", "malloc: no tunables")
    assert any(text.startswith("memory limit: ") for _, text in findings), findings


def programs_out_of_reach_are_told_with_what_to_do():
    directory = tempfile.mkdtemp(prefix="leakshim-test-")

    def script(name, text):
        path = os.path.join(directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, 0o755)
        return path

    static = os.path.join(LAUNCHER_PROGRAMS, "launcher_static")
    refused(static, "statically linked", "Link it dynamically")
    refused(script("of_static", f"#!{static} -x\n"), "launcher_static is statically linked")
    refused(os.path.join(LAUNCHER_PROGRAMS, "launcher_musl"), "built for musl", "Debian image")
    refused(script("clears", "#!/usr/bin/env -i sh\n"), "clears the environment", "behind that")
    refused(script("gone", "#!/no/such/shell\n"), "/no/such/shell, which does not exist")
    refused(harness.program("own_malloc"), "has a malloc of its own", "allocator's profiler")
    refused(harness.program("asan_static"), "AddressSanitizer", "build without")
    refused(harness.program("asan_shared"), "libasan.so", "build without the sanitizer")
    arm = os.path.join(directory, "arm")
    with open(static, "rb") as file, open(arm, "wb") as other:
        content = bytearray(file.read())
        content[18:20] = struct.pack("<H", 183)
        other.write(content)
    os.chmod(arm, 0o755)
    refused(arm, "another architecture", "Use a build of the program for")
    if IS_ROOT:
        privileged = shutil.copy("/bin/true", os.path.join(directory, "privileged"))
        os.chown(privileged, 65534, 65534)
        os.chmod(privileged, 0o4755)
        refused(privileged, "setuid", "Run a copy without")


def scripts_are_followed_to_their_program():
    directory = tempfile.mkdtemp(prefix="leakshim-test-")
    inner, outer = os.path.join(directory, "inner"), os.path.join(directory, "outer")
    for path, text in ((inner, "#!/usr/bin/env -S -u NOTHING FOO=1 sh -e\n"), (outer, f"#! {inner} x\n")):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, 0o755)
    status, findings, _ = check(outer)
    assert status == 0, findings
    has(findings, "ok", f"{outer} is a script for {inner} is a script for /usr/bin/env", "/sh", "check that as well")


def allocators_beneath_are_welcome():
    status, findings, _ = check(harness.program("operators_jemalloc"))
    assert status == 0, findings
    has(findings, "ok", "linked with libjemalloc.so.2", "stays beneath")
    (jemalloc,) = glob.glob("/usr/lib/*/libjemalloc.so.2")
    with running([harness.program("host"), "busy", "20"], env=shimmed(LD_PRELOAD=f"{harness.LIBRARY}:{jemalloc}"),
                 wait_for="libjemalloc") as process:
        wait_for_page(process.pid)
        status, findings, _ = check(process.pid)
        assert status == 0, findings
        has(findings, "ok", "libjemalloc.so.2 is loaded, and stays beneath")
    with running(["sleep", "60"], env=shimmed(LD_PRELOAD=f"{jemalloc}:{harness.LIBRARY}"), wait_for="libleakshim") as process:
        refused(process.pid, "malloc: ", "libjemalloc.so.2 stands before libleakshim.so", "name libleakshim.so first")


def a_running_process_is_told_whole():
    with running([harness.program("host"), "busy", "20"], env=shimmed()) as process:
        wait_for_page(process.pid)
        status, findings, _ = check(process.pid)
        assert status == 0, findings
        has(findings, "ok", f"library: {harness.LIBRARY} is loaded")
        has(findings, "ok", "options: LEAKSHIM_CONF=lg_prof_sample:12")
        has(findings, "ok", "sampling: one in 4.0K, ", " samples, 0 dumps")
        has(findings, "ok", f"dumps: {process.directory} can be written")
        subprocess.run([CLI, "set", str(process.pid), "prof_active:false"], env=CLEAN, check=True, timeout=60)
        status, findings, _ = check(process.pid)
        assert status == 0, findings
        has(findings, "warn", "dormant", f"leakshim set {process.pid} prof_active:true")


def what_keeps_the_library_out_is_told():
    directory = tempfile.mkdtemp(prefix="leakshim-test-")
    os.chmod(directory, 0o755)
    library = os.path.join(directory, "libleakshim.so")
    with sleeping() as process:
        refused(process.pid, "LD_PRELOAD is not set", "leakshim run -- sleep 60")
    with sleeping(env={"LD_PRELOAD": "libc.so.6"}) as process:
        refused(process.pid, "LD_PRELOAD=libc.so.6 does not name libleakshim.so")
    with sleeping(env={"LD_PRELOAD": library}) as process:
        refused(process.pid, f"{library} does not exist there")
        shutil.copy(harness.LIBRARY, library)
        refused(process.pid, "installed since", "Start the process anew")
    with sleeping(env={"LD_PRELOAD": "libleakshim.so"}) as process:
        refused(process.pid, "none of the loader's folders", "Write its whole path")
    with open(library, "r+b") as file:
        file.seek(18)
        file.write(struct.pack("<H", 183))
    with sleeping(env={"LD_PRELOAD": library}) as process:
        refused(process.pid, "built for another architecture")
    with open(library, "w", encoding="utf-8") as file:
        file.write("no library")
    with sleeping(env={"LD_PRELOAD": library}) as process:
        refused(process.pid, f"{library} is no library")
    if IS_ROOT:
        shutil.copy(harness.LIBRARY, library)
        os.chmod(library, 0o600)
        with sleeping(env={"LD_PRELOAD": library}, **NOBODY) as process:
            refused(process.pid, f"{library} cannot be read", "chmod 644")
    with running([os.path.join(LAUNCHER_PROGRAMS, "launcher_static"), "60"], env=shimmed(), wait_for="launcher_static") as process:
        refused(process.pid, "is statically linked")


def options_that_silence_the_library_are_told():
    with running(["sleep", "60"], env=shimmed("prof:false"), wait_for="libleakshim") as process:
        refused(process.pid, "LEAKSHIM_CONF=prof:false", "take prof:false out")
    with running(["sleep", "60"], env=shimmed("prof_only:java/tomcat*"), wait_for="libleakshim") as process:
        refused(process.pid, "prof_only:java/tomcat* leaves sleep out")
    status, findings, _ = check("sleep", env={"LEAKSHIM_CONF": "prof_only:java/sl?ep,prof_pressure:off"})
    assert status == 0, findings
    has(findings, "warn", "prof_pressure:off", "take it out")
    has(check("sleep", env={"LEAKSHIM_CONF": "nonsense"})[1], "warn", "nonsense is not key:value")
    has(check("sleep", env={"MALLOC_CONF": "narenas:1"})[1], "ok", "options: none set")
    has(check("sleep", env={"MALLOC_CONF": "prof:true,prof_prefix:"})[1], "warn", "prof_prefix is empty")


def tunables_of_glibc_are_told():
    _, findings, _ = check("ls", env={"MALLOC_ARENA_MAX": "2", "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"})
    has(findings, "ok", "MALLOC_ARENA_MAX=2 holds")
    has(findings, "ok", "GLIBC_TUNABLES=glibc.malloc.tcache_count=0 holds")
    has(check("ls", env={"MALLOC_CHECK_": "3"})[1], "warn", "MALLOC_CHECK_=3", "unset it")


def a_dump_directory_that_cannot_be_used_is_told():
    directory = tempfile.mkdtemp(prefix="leakshim-test-")
    os.chmod(directory, 0o755)
    status, findings, _ = check("ls", env={"LEAKSHIM_CONF": f"prof_prefix:{directory}/%h/new/x"})
    assert status == 0, findings
    has(findings, "ok", f"dumps: {directory} can be written")
    assert os.listdir(directory) == [], "check makes nothing"
    if not IS_ROOT:
        return
    refused("ls", "dumps: /proc/self", "cannot be written", "no dump can be written", "name another directory",
            env={"LEAKSHIM_CONF": "prof_prefix:/proc/self/x"})
    with running(["sleep", "60"], env=shimmed(f"prof_prefix:{directory}/x"), wait_for="libleakshim", **NOBODY) as process:
        status, findings, _ = check(process.pid)
        assert status == 0, findings
        has(findings, "warn", f"dumps: {directory} cannot be written, its user may not write there", "leakshim-UID")


def java_frames_are_told_on_or_off_and_why():
    has(check("java")[1], "ok", "java: JVM ", "HotSpot: stacks go on into Java frames")
    has(check("java", env={"LEAKSHIM_CONF": "prof_java:false"})[1], "warn", "Java frames off: prof_java:false", "take it out")
    for conf, mark, words in (("lg_prof_sample:12", "ok", "Java frames on"),
                              ("lg_prof_sample:12,prof_java:false", "warn", "Java frames off: prof_java:false")):
        with running(["java", "-jar", DEMO, "30"], env=shimmed(conf, JAVA_TOOL_OPTIONS=f"-Dx={harness.LIBRARY}"),
                     wait_for="libjvm") as process:
            wait_for_page(process.pid)
            status, findings, _ = check(process.pid)
            assert status == 0, findings
            has(findings, "warn", "JAVA_TOOL_OPTIONS", "no agent")
            has(findings, *(("ok", "the first dump says") if mark == "ok" else ("warn", "prof_java:false")))
            subprocess.run([CLI, "dump", str(process.pid)], env=CLEAN, check=True, stdout=subprocess.DEVNULL, timeout=60)
            status, findings, _ = check(process.pid)
            assert status == 0, findings
            has(findings, mark, "java: JVM OpenJDK", words)
            assert not any("first dump says" in text for _, text in findings), findings


def a_container_is_told_with_where_its_files_are():
    if not IS_ROOT:
        return
    with running(["unshare", "--mount", "--pid", "--fork", "--kill-child", harness.program("host"), "busy", "20"],
                 env=shimmed(prof := "lg_prof_sample:12"), wait_for="libleakshim") as process:
        deadline = time.monotonic() + 20
        children = ""
        while not children:
            assert time.monotonic() < deadline
            with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="utf-8") as file:
                children = file.read().strip()
            time.sleep(0.02)
        _, findings, _ = check(children)
        has(findings, "ok", "container: to itself it is process 1", f"/proc/{children}/root")
        has(findings, "ok", f"LEAKSHIM_CONF={prof}")
        has(findings, "ok", "dumps: ", f"from here /proc/{children}/root{process.directory}")


def bad_usage_and_missing_processes_have_their_status():
    for arguments in ([], ["1", "2"], ["--frob"], [""]):
        run = subprocess.run([CLI, "check", *arguments], env=CLEAN, capture_output=True, text=True, timeout=60)
        assert run.returncode == 1 and run.stdout == "" and "usage: leakshim check PID" in run.stderr, (arguments, run)
    run = subprocess.run([CLI, "check", "--help"], env=CLEAN, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0 and "Exit status: 0 it works" in run.stdout, run
    for what, words in (("4194304", "no process 4194304"), ("99999999999", "no process"), ("no-such-command", "not found"),
                        ("./4711", "not found")):
        status, findings, err = check(what)
        assert (status, findings) == (2, []) and words in err and err.count("\n") == 1, (what, status, findings, err)
    zombie = subprocess.Popen(["true"])
    time.sleep(0.2)
    assert "has ended" in check(zombie.pid)[2]
    zombie.wait()
    if IS_ROOT:
        status, _, err = check(os.getpid(), **NOBODY)
        assert status == 2 and "ask as that user or as root" in err, (status, err)


def colours_are_for_terminals():
    def on_terminal(env):
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(CLI, [CLI, "check", "ls"], {**CLEAN, **env})
        out = b""
        with contextlib.suppress(OSError):
            while chunk := os.read(terminal, 4096):
                out += chunk
        os.waitpid(pid, 0)
        os.close(terminal)
        return out
    assert b"\033[32mok  \033[0m  program: " in on_terminal({"TERM": "xterm"})
    for env in ({"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "dumb"}):
        out = on_terminal(env)
        assert b"ok    program: " in out and b"\033" not in out, out


def a_hostile_process_writes_nothing_to_the_terminal():
    with running(["sh", "-c", "sleep 60; :", "\033]0;title\007\n"], wait_for="libc", env={"MALLOC_X": "\033[2J"}) as process:
        out = subprocess.run([CLI, "check", str(process.pid)], env=CLEAN, capture_output=True, timeout=60).stdout
        assert b"\033" not in out and b"\007" not in out and b"sleep 60; : ?]0;title" in out, out


if __name__ == "__main__":
    harness.main({test.__name__: test for test in (
        a_program_that_works_is_said_to, programs_out_of_reach_are_told_with_what_to_do, scripts_are_followed_to_their_program,
        allocators_beneath_are_welcome, a_running_process_is_told_whole, what_keeps_the_library_out_is_told,
        options_that_silence_the_library_are_told, tunables_of_glibc_are_told, a_dump_directory_that_cannot_be_used_is_told,
        *([java_frames_are_told_on_or_off_and_why] if os.path.exists(DEMO) else []),
        a_container_is_told_with_where_its_files_are, bad_usage_and_missing_processes_have_their_status, colours_are_for_terminals,
        a_hostile_process_writes_nothing_to_the_terminal)})
