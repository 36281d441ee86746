"""`leakshim status`, `dump` and `set` on running processes, and the page between them."""

import contextlib
import math
import os
import re
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time

import harness

CLI = os.path.join(harness.BUILD, "leakshim")
DEMO = os.path.join(harness.BUILD, "demo", "demo.jar")


class Running:
    """A program under the library with a temporary directory of its own, and the launcher to talk to it."""

    def __init__(self, command, conf, temporary=None, preload=harness.LIBRARY, stdin=None, stdout=subprocess.DEVNULL, user=None):
        self.directory = tempfile.mkdtemp(prefix="leakshim-test-")
        self.temporary = temporary or tempfile.mkdtemp(prefix="leakshim-test-")
        self.env = {name: value for name, value in os.environ.items() if name not in ("LEAKSHIM_CONF", "MALLOC_CONF")}
        self.env["TMPDIR"] = self.temporary
        self.user = os.geteuid() if user is None else user
        as_user = {} if user is None else {"user": user, "group": user, "extra_groups": []}
        if user is not None:
            for path in (self.directory, self.temporary):
                os.chown(path, user, user)
        self.process = subprocess.Popen(command, cwd=self.directory, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, text=True, **as_user,
                                        env={**self.env, "LD_PRELOAD": preload, "LEAKSHIM_CONF": conf})
        self.pid = str(self.process.pid)

    def cli(self, *arguments, **options):
        return subprocess.run([CLI, *arguments], env=self.env, capture_output=True, text=True, timeout=60,
                              errors="replace", **options)

    def pages(self, pid=None):
        places = [f"/run/user/{self.user}/leakshim", f"{self.temporary}/leakshim-{self.user}"]
        return [os.path.join(place, name) for place in places if os.path.isdir(place) for name in os.listdir(place)
                if name.startswith((pid or self.pid) + ".")]

    def wait_for_page(self):
        deadline = time.monotonic() + 20
        while not self.pages():
            assert time.monotonic() < deadline and self.process.poll() is None, self.process.poll()
            time.sleep(0.02)

    def end(self, status=0):
        _, err = self.process.communicate(timeout=60)
        assert self.process.returncode == status, (self.process.returncode, err)
        assert err == "", err
        assert not self.pages(), self.pages()


@contextlib.contextmanager
def busy(conf="lg_prof_sample:12", seconds=4, **options):
    running = Running([harness.program("host"), "busy", str(seconds)], conf, **options)
    try:
        running.wait_for_page()
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def a_dump_is_made_and_named():
    with busy() as running:
        for number in range(3):
            asked = running.cli("dump", running.pid)
            assert asked.returncode == 0 and asked.stderr == "", asked
            path = asked.stdout.strip()
            assert os.path.basename(path) == f"leakshim.{running.pid}.{number}.m{number}.heap", path
            dump = harness.Dump(path)
            dump.check_books()
            assert dump.about["reason"] == "request" and dump.books["samples"] > 0, dump.about
        whole = running.cli("status", running.pid).stdout
        assert "on, library" in whole and "3 written, 0 failed" in whole and path in whole, whole
        row = [line for line in running.cli("status").stdout.splitlines() if line.split()[0] == running.pid]
        assert len(row) == 1 and "host" in row[0], row
        running.end()


DEEP = {"malloc_system", "malloc_mapped", "malloc_used", "malloc_free", "malloc_free_chunks", "malloc_top", "private_dirty",
        "pss", "lazy_free"}


def memory_of(asked):
    """Of the dump whose path `leakshim dump` printed, or of a file."""
    path = asked if isinstance(asked, str) else asked.stdout.strip()
    assert path, asked
    with open(path) as file:
        return {key: int(value) for key, value in re.findall(r"^# memory\.(\w+) (\d+)$", file.read(), re.M)}


def a_deep_dump_asks_malloc_and_no_other_does():
    # One thread: malloc is asked by it. Several: by the dump task, which may wait for malloc's locks.
    for command in (["holes", "20000", "1", "60"], ["holes", "20000", "3", "60"]):
        running = Running([harness.program(command[0]), *command[1:]], "lg_prof_sample:12,prof_time_interval:1s")
        running.wait_for_page()
        time.sleep(0.3)
        shallow, deep, after = (memory_of(running.cli("dump", running.pid, *more)) for more in ([], ["--deep"], []))
        assert not DEEP & shallow.keys() and not DEEP & after.keys(), (shallow, after)
        assert DEEP <= deep.keys(), deep
        # 20 000 holes of 2 KiB between blocks of as much; one of each pair was freed.
        assert deep["malloc_free_chunks"] > 20_000 and 20_000 * 2_000 < deep["malloc_free"] < 80_000_000, deep
        assert deep["malloc_used"] > 20_000 * 2_000 and deep["malloc_free"] + deep["malloc_used"] == deep["malloc_system"], deep
        assert 80_000_000 < deep["private_dirty"] <= deep["rss_anon"] + deep["rss_file"] + (4 << 20), deep
        assert "--deep" in running.cli("dump", "--help").stdout
        while not any(".t0." in path for path in harness.dumps_in(running.directory)):
            assert running.process.poll() is None
            time.sleep(0.05)
        running.process.kill()
        assert running.process.communicate()[1] == ""
        timed = [path for path in harness.dumps_in(running.directory) if ".t" in os.path.basename(path)]
        assert timed and not any(DEEP & memory_of(path).keys() for path in timed), timed
    # Another allocator is not asked.
    running = Running([harness.program("host"), "busy", "60"], "lg_prof_sample:12",
                      preload=f"{harness.LIBRARY}:/usr/lib/x86_64-linux-gnu/libjemalloc.so.2")
    running.wait_for_page()
    deep = memory_of(running.cli("dump", running.pid, "--deep"))
    assert "private_dirty" in deep and "malloc_free" not in deep, deep
    running.process.kill()
    assert running.process.communicate()[1] == ""


def a_setting_takes_hold_and_old_samples_keep_their_weight():
    with busy() as running:
        assert running.cli("set", running.pid, "lg_prof_sample:10").returncode == 0
        before = harness.Dump(running.cli("dump", running.pid).stdout.strip())
        assert before.about["interval"] == "1024", before.about
        assert running.cli("set", running.pid, "lg_prof_sample:16").returncode == 0
        after = harness.Dump(running.cli("dump", running.pid).stdout.strip())
        assert after.about["interval"] == "65536", after.about
        assert running.cli("set", running.pid, "prof_time_interval:1s").returncode == 0
        running.end()
        assert any(".t0." in path for path in harness.dumps_in(running.directory))


def totals_stay_unbiased_over_changes_of_the_interval():
    """Blocks that stay, a fifth under each of five intervals, changed while others come and go: many runs, the mean of their
    errors, in units of what theory gives for one, within four standard errors; and their spread that of theory."""
    intervals, megabytes, size = (15, 18, 13, 17, 16), 4, 10_000
    runs = 200 if os.environ.get("LEAKSHIM_SOAK") else 16
    # Each block counts size/p with chance p.
    chances = [1 - math.exp(-size / 2 ** lg) for lg in intervals]
    blocks = megabytes * 1_000_000 // size
    sigma = math.sqrt(sum(blocks * size * size * (1 - chance) / chance for chance in chances))
    errors = []
    for seed in range(runs):
        steps = [str(megabytes * (n + 1)) for n in range(len(intervals))]
        running = Running(["env", "STEPS=1", harness.program("peaks"), "0", *steps],
                          f"lg_prof_sample:14,prof_seed:{seed},prof_time_interval:0,prof_only:peaks", stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE)
        for lg in intervals:
            assert running.process.stdout.readline() == "step\n"
            changed = running.cli("set", running.pid, f"lg_prof_sample:{lg}")
            assert changed.returncode == 0, changed
            running.process.stdin.write("x")
            running.process.stdin.flush()
        assert running.process.stdout.readline() == "step\n"
        dump = harness.Dump(running.cli("dump", running.pid).stdout.strip())
        dump.check_books()
        # Blocks of other sizes are the program's own.
        kept = [line for stack in dump.stacks for line in stack[1] if line[0] and 9_000 < line[1] / line[0] < 10_500]
        errors.append((sum(dump.estimate(line)[1] for line in kept) - len(intervals) * megabytes * 1e6) / sigma)
        running.process.kill()
        running.process.communicate()
    assert abs(statistics.fmean(errors)) <= 4 / math.sqrt(runs), errors
    assert abs(statistics.stdev(errors) - 1) <= 4 / math.sqrt(2 * runs), errors


def a_dormant_process_is_woken():
    running = Running([harness.program("host"), "busy", "5"], "lg_prof_sample:12,prof_active:false")
    running.wait_for_page()
    assert "dormant" in running.cli("status", running.pid).stdout
    asked = running.cli("dump", running.pid)
    assert asked.returncode == 3 and "dormant" in asked.stderr, asked
    assert running.cli("set", running.pid, "prof_active:true").returncode == 0
    whole = running.cli("status", running.pid).stdout
    assert "on since" in whole and "older blocks are unknown" in whole, whole
    dump = harness.Dump(running.cli("dump", running.pid).stdout.strip())
    assert dump.books["samples"] > 0, dump.books
    assert running.cli("set", running.pid, "prof_active:false").returncode == 0
    assert "dormant" in running.cli("status", running.pid).stdout
    running.process.kill()
    running.process.wait()


def after_a_kill_the_page_tells_the_last_state():
    with busy() as running:
        time.sleep(1.2)
        os.kill(int(running.pid), signal.SIGKILL)
        running.process.wait()
        assert len(running.pages()) == 1
        row = [line for line in running.cli("status").stdout.splitlines() if line.split()[0] == running.pid]
        assert len(row) == 1 and " dead " in row[0] and "~" in row[0], row
        assert " in " not in row[0], f"no dump comes any more: {row}"
        assert not running.pages()
        asked = running.cli("dump", running.pid)
        assert asked.returncode == 2 and "no process" in asked.stderr, asked


def of_many_dead_the_latest_are_told_and_all_cleaned_up():
    with busy() as running:
        time.sleep(1.2)
        running.process.kill()
        running.process.wait()
        page, = running.pages()
        with open(page, "rb") as file:
            content = file.read()
        for number in range(300):
            with open(page.replace(".page", f"{number}.page"), "wb") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(content)
        lines = running.cli("status").stdout.splitlines()
        ours = [line for line in lines if line.split()[0] == running.pid]
        assert len(ours) == 20 and all(" dead " in line for line in ours), lines
        assert "and 281 that ended before these dead ones" in lines, lines
        assert not running.pages(), running.pages()


def fork_children_that_end_at_once_leave_no_pages():
    program = """
import os, time
def work(): return [bytes(100_000) for _ in range(20)]
work()
ended = []
for _ in range(50):
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    ended.append(child)
    os.waitpid(child, 0)
child = os.fork()
if child: print(child, *ended, flush=True)
end = time.monotonic() + 30
while time.monotonic() < end:
    work()
    time.sleep(0.05)
"""
    running = Running(["python3", "-c", program], "lg_prof_sample:12,prof_final:false", stdout=subprocess.PIPE)
    alive = None
    try:
        alive, *ended = running.process.stdout.readline().split()
        assert len(ended) == 50 and len(running.pages(running.pid)) == 1, ended
        left = [page for pid in ended for page in running.pages(pid)]
        assert not left, left
        deadline = time.monotonic() + 20
        while not running.pages(alive):
            assert time.monotonic() < deadline, "the child that lives on has no page"
            time.sleep(0.05)
        rows = [line.split()[:2] for line in running.cli("status").stdout.splitlines()]
        assert [alive, "on"] in rows and [running.pid, "on"] in rows, rows
    finally:
        for pid in filter(None, (alive, running.pid)):
            os.kill(int(pid), signal.SIGKILL)
        running.process.wait()


def who_is_not_there_or_does_not_answer_is_told_by_status():
    with busy() as running:
        for arguments in (["dump"], ["dump", "1", "2"], ["set", running.pid], ["set", running.pid, "prof_active:maybe"],
                          ["set", running.pid, "lg_prof_sample:99"], ["dump", running.pid, "--wait=soon"], ["status", "1", "2"]):
            assert running.cli(*arguments).returncode == 1, arguments
        assert running.cli("dump", str(os.getpid())).returncode == 2
        assert running.cli("status", "4194304").returncode == 2
        os.kill(int(running.pid), signal.SIGSTOP)
        asked = running.cli("dump", running.pid, "--wait=0.3")
        assert asked.returncode == 3 and "has not answered in 0.3 s" in asked.stderr, asked
        os.kill(int(running.pid), signal.SIGCONT)
        # Answered late, and the next one is not confused by it.
        assert running.cli("dump", running.pid).returncode == 0


def a_process_that_ends_meanwhile_is_not_waited_for():
    with busy(seconds=60) as running:
        os.kill(int(running.pid), signal.SIGSTOP)
        asking = subprocess.Popen([CLI, "dump", running.pid, "--wait=40"], env=running.env, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True)
        time.sleep(0.5)
        running.process.kill()
        # Nobody has waited for the process yet: it is still listed, as a zombie.
        out, err = asking.communicate(timeout=20)
        assert asking.returncode == 2 and out == "" and ("has ended" in err or "any more" in err), (asking.returncode, err)


def another_user_is_refused():
    with busy() as running:
        os.chmod(running.temporary, 0o755)
        # Where the other user could see it at all.
        asked = running.cli("dump", running.pid, user=65534, group=65534, extra_groups=[])
        assert asked.returncode == 2 and "of another user" in asked.stderr, asked
        assert running.cli("dump", running.pid).returncode == 0


def what_others_planted_is_not_used():
    for plant in ("link", "open", "file"):
        temporary = tempfile.mkdtemp(prefix="leakshim-test-")
        place = f"{temporary}/leakshim-{os.geteuid()}"
        elsewhere = tempfile.mkdtemp(prefix="leakshim-test-")
        if plant == "link":
            os.symlink(elsewhere, place)
        elif plant == "open":
            os.mkdir(place)
            os.chmod(place, 0o777)
        else:
            open(place, "w").close()
        if os.path.isdir(f"/run/user/{os.geteuid()}"):
            continue
        run = harness.run([harness.program("host"), "busy", "1"], conf="lg_prof_sample:12,prof_final:false",
                          env={"TMPDIR": temporary})
        assert run.status == 0 and run.stderr == "", (plant, run)
        assert os.listdir(elsewhere) == [] and (plant != "open" or os.listdir(place) == []), plant


def a_damaged_page_harms_nobody():
    with busy() as running:
        (page,) = running.pages()
        with open(page, "r+b") as file:
            content = bytearray(file.read())
            # Texts without an end, counters of nonsense; the magic and who it is stay.
            content[64:3000] = b"\xff" * (3000 - 64)
            file.seek(0)
            file.write(content)
        assert running.cli("status").returncode == 0
        running.cli("status", running.pid)
        time.sleep(0.5)
        assert running.process.poll() is None
        with open(page, "r+b") as file:
            file.write(b"not a page at all")
        assert running.cli("dump", running.pid).returncode == 2
        assert running.process.wait(timeout=60) == 0


@contextlib.contextmanager
def redis(**options):
    """A redis-server of which somebody asks something small, now and then."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    running = Running(["redis-server", "--port", str(port), "--save", "", "--appendonly", "no"], "lg_prof_sample:12", **options)
    ended = threading.Event()

    def ask():
        number = 0
        connection = None
        while not ended.wait(0.005):
            with contextlib.suppress(OSError):
                connection = connection or socket.create_connection(("127.0.0.1", port), 5)
                connection.sendall(f"SET key{number} {'x' * 400}\r\n".encode())
                assert connection.recv(100) == b"+OK\r\n"
                number += 1

    client = threading.Thread(target=ask)
    client.start()
    try:
        yield running
    finally:
        ended.set()
        client.join()
        running.process.kill()
        running.process.communicate()


@contextlib.contextmanager
def started(command, conf, **options):
    running = Running(command, conf, **options)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.communicate()


def programs():
    """A C program that mostly sleeps, a server, and a JVM at work, each to be started with options."""
    yield "idle", lambda **options: started([harness.program("holes"), "1000", "1", "60", "1000"], "lg_prof_sample:12", **options)
    yield "redis", redis
    if os.path.exists(DEMO):
        yield "jvm", lambda **options: started(["java", "-jar", DEMO, "30"], "lg_prof_sample:14", **options)


def child_of(running):
    """The one child of `running`, once it is `holes`."""
    deadline = time.monotonic() + 20
    while True:
        assert time.monotonic() < deadline and running.process.poll() is None, running.process.poll()
        with contextlib.suppress(OSError, IndexError), open(f"/proc/{running.pid}/task/{running.pid}/children") as children:
            pid = children.read().split()[0]
            if os.path.basename(os.readlink(f"/proc/{pid}/exe")) == "holes":
                return pid
        time.sleep(0.02)


def processes_in_containers_are_found_from_the_host():
    conf = "lg_prof_sample:12,prof_only:holes"
    holes = f"exec {harness.program('holes')} 1000 1 60 1000"
    ways = {
        # A /tmp of its own, as PrivateTmp= gives, and pids of its own; then each alone.
        "container": (["--mount", "--pid", "--fork", "--kill-child"], "mount -t tmpfs none $TMPDIR && cd $TMPDIR && "),
        "private": (["--mount", "--fork", "--kill-child"], "mount -t tmpfs none $TMPDIR && cd $TMPDIR && "),
        "pids": (["--pid", "--fork", "--kill-child"], "cd $TMPDIR && "),
    }
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    for way, (spaces, before) in ways.items():
        with started(["unshare", *as_root, *spaces, "sh", "-c", before + holes], conf) as running:
            pid = child_of(running)
            deadline = time.monotonic() + 20
            # Twice: what `status` takes for dead it cleans up.
            for _ in range(2):
                while running.cli("status", pid).returncode != 0:
                    assert time.monotonic() < deadline, (way, running.cli("status", pid))
                    time.sleep(0.05)
                rows = [line.split()[:2] for line in running.cli("status").stdout.splitlines() if "holes" in line]
                assert [pid, "on"] in rows and not any(row[1] == "dead" for row in rows), (way, pid, rows)
            asked = running.cli("dump", pid)
            assert asked.returncode == 0 and asked.stderr == "", (way, asked)
            dump = harness.Dump(asked.stdout.strip())
            dump.check_books()
            assert dump.about["pid"] != pid or way == "private", (way, dump.about)
            assert running.cli("set", pid, "lg_prof_sample:10").returncode == 0, way
            # What the container puts in the page's place is not followed out of it.
            if way == "container":
                inside = f"/proc/{pid}/root{running.temporary}/leakshim-{os.geteuid()}"
                (page,) = os.listdir(inside)
                secret = os.path.join(running.directory, "secret")
                with open(secret, "wb") as file:
                    file.write(b"leakshm1" + bytes(4088))
                before_bytes = open(secret, "rb").read()
                os.unlink(os.path.join(inside, page))
                os.symlink(secret, os.path.join(inside, page))
                assert running.cli("dump", pid, "--wait=0.1").returncode == 2
                assert open(secret, "rb").read() == before_bytes


def status_dump_and_set_work_on_real_programs_for_their_user_and_for_root():
    for name, start in programs():
        for user in (None, 65534) if os.geteuid() == 0 else (None,):
            with start(user=user) as running:
                running.wait_for_page()
                figures = running.cli("status", running.pid)
                assert figures.returncode == 0 and "on, library" in figures.stdout, (name, user, figures)
                assert any(line.split()[0] == running.pid for line in running.cli("status").stdout.splitlines()), (name, user)
                assert running.cli("set", running.pid, "prof_active:false").returncode == 0, (name, user)
                assert "dormant" in running.cli("status", running.pid).stdout, (name, user)
                for setting in ("prof_active:true", "lg_prof_sample:10"):
                    assert running.cli("set", running.pid, setting).returncode == 0, (name, user, setting)
                asked = running.cli("dump", running.pid, "--wait=20")
                assert asked.returncode == 0, (name, user, asked)
                dump = harness.Dump(asked.stdout.strip())
                dump.check_books(nested=True)
                assert dump.about["interval"] == "1024" and dump.about["reason"] == "request", (name, user, dump.about)
                assert name != "jvm" or dump.about["java_frames"] == "on", dump.about
                owner = os.stat(asked.stdout.strip())
                assert owner.st_uid == (user or os.geteuid()) and owner.st_mode & 0o777 == 0o600, (name, user, owner)
                assert running.cli("set", running.pid, "prof_time_interval:1s").returncode == 0
                deadline = time.monotonic() + 20
                while not any(re.search(r"\.t\d+\.heap$", path) for path in harness.dumps_in(running.directory)):
                    assert time.monotonic() < deadline, (name, user, "no dump by the interval that was set")
                    time.sleep(0.05)
                if user is not None:
                    # Its user asks as well; a third is refused.
                    assert running.cli("dump", running.pid, user=user, group=user, extra_groups=[]).returncode == 0, (name, user)
                    refused = running.cli("dump", running.pid, user=12345, group=12345, extra_groups=[])
                    assert refused.returncode == 2 and refused.stdout == "", (name, refused)


if __name__ == "__main__":
    harness.main({test.__name__: test for test in (
        a_dump_is_made_and_named, a_deep_dump_asks_malloc_and_no_other_does, a_setting_takes_hold_and_old_samples_keep_their_weight,
        totals_stay_unbiased_over_changes_of_the_interval, a_dormant_process_is_woken, after_a_kill_the_page_tells_the_last_state,
        of_many_dead_the_latest_are_told_and_all_cleaned_up, fork_children_that_end_at_once_leave_no_pages,
        who_is_not_there_or_does_not_answer_is_told_by_status,
        a_process_that_ends_meanwhile_is_not_waited_for, another_user_is_refused, what_others_planted_is_not_used,
        a_damaged_page_harms_nobody, processes_in_containers_are_found_from_the_host, status_dump_and_set_work_on_real_programs_for_their_user_and_for_root)})
