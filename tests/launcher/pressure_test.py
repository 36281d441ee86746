"""What is left of a process that was killed: by the kernel at its memory limit, or by SIGKILL at any moment.

Pressure is looked at after a process's first minute, so the services run side by side, and the rest of the tests meanwhile. Where
no memory cgroup can be made (it takes root and a kernel that lets it), the leaking service is killed by hand, with dumps by
bytes.
"""

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "preload"))
import harness  # noqa: E402

SERVICE = os.environ.get("LEAKSHIM_SERVICE_JAR", "")
JAVA = ["java", "-XX:+UseSerialGC", "-Xmx48m", "-XX:ReservedCodeCacheSize=32m", "-XX:TieredStopAtLevel=1", "-jar", SERVICE]
LIMIT = 256 << 20
ARMED = 61
services = {}


class Cgroup:
    """A memory cgroup with a limit, below this process's own or at the top of the hierarchy, of version 1 or 2."""

    def __init__(self, name):
        self.path = None
        with open("/proc/self/mountinfo", encoding="utf-8") as file:
            mounts = [line.split(" - ") for line in file.read().splitlines()]
        for place, kind in mounts:
            kind, where = kind.split(" ", 1)[0], place.split(" ")[4]
            if kind == "cgroup" and "memory" in os.path.basename(where).split(","):
                self.version, limit, self.peak = 1, "memory.limit_in_bytes", "memory.max_usage_in_bytes"
            elif kind == "cgroup2" and os.path.exists(f"{where}/cgroup.controllers"):
                self.version, limit, self.peak = 2, "memory.max", "memory.current"
                with contextlib.suppress(OSError):
                    self._write(f"{where}/cgroup.subtree_control", "+memory")
            else:
                continue
            path = f"{where}/leakshim-test-{os.getpid()}-{name}"
            try:
                os.mkdir(path)
                self.path = path
                self._write(f"{path}/{limit}", LIMIT)
                for swap in ("memory.memsw.limit_in_bytes", "memory.swap.max"):
                    if os.path.exists(f"{path}/{swap}"):
                        self._write(f"{path}/{swap}", LIMIT if self.version == 1 else 0)
                return
            except OSError:
                self.remove()

    @staticmethod
    def _write(path, value):
        with open(path, "w", encoding="utf-8") as file:
            file.write(str(value))

    def enter(self):
        self._write(f"{self.path}/cgroup.procs", os.getpid())

    def used(self):
        with open(f"{self.path}/{self.peak}", encoding="utf-8") as file:
            return int(file.read())

    def remove(self):
        if self.path:
            for _ in range(100):
                with contextlib.suppress(OSError):
                    os.rmdir(self.path)
                    break
                time.sleep(0.05)
        self.path = None


def start(name, conf, arguments):
    group = Cgroup(name)
    directory = tempfile.mkdtemp(prefix="leakshim-test-")
    env = {key: value for key, value in os.environ.items() if key not in ("LD_PRELOAD", "LEAKSHIM_CONF", "MALLOC_CONF")}
    if not group.path:
        conf += ",lg_prof_interval:24"
    process = subprocess.Popen([*JAVA, *arguments], cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               preexec_fn=group.enter if group.path else None,
                               env={**env, "LD_PRELOAD": harness.LIBRARY, "LEAKSHIM_CONF": conf})
    services[name] = (process, group, directory)


def whole(path):
    """A dump to its last line; fails where it is cut."""
    dump = harness.Dump(path)
    dump.check_books()
    with open(path, "rb") as file:
        content = file.read()
    assert dump.maps.endswith("\n") and content.endswith(b"\n") and "[stack]" in dump.maps, path
    return dump


def fact(path, key):
    with open(path, encoding="utf-8", errors="replace") as file:
        return int(re.search(rf"^# memory\.{key} (\d+)$", file.read(), re.M)[1])


def names_the_leak(path):
    run = harness.leakprof("--text", "--cum", "--plumbing=none", path)
    # flat, its share, running sum, with callees, share, name
    shares = [float(row.split()[4].rstrip("%")) for row in run.stdout.splitlines() if "service.Main.forgetToEnd" in row]
    assert run.returncode == 0 and max(shares, default=0) > 90, run.stdout[:3000]


def a_service_that_leaks_is_dumped_before_the_kernel_kills_it():
    process, group, directory = services["leak"]
    if not group.path:
        deadline = time.monotonic() + 60
        while len(harness.dumps_in(directory)) < 6:
            assert time.monotonic() < deadline and process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.kill()
        process.communicate()
        names_the_leak(harness.dumps_in(directory)[-1])
        return
    try:
        out, err = process.communicate(timeout=150)
        assert process.returncode == -signal.SIGKILL and err == "", (process.returncode, out, err)
    finally:
        process.kill()
        process.wait()
        group.remove()
    dumps = [(path, whole(path)) for path in harness.dumps_in(directory)]
    percents = [100 * fact(path, "cgroup_working_set") // fact(path, "cgroup_limit")
                for path, dump in dumps if dump.about["reason"] == "pressure"]
    # Asked for with prof_pressure:80/90 and, from there, at each two percent more.
    assert percents == sorted(percents) and len(percents) >= 4, percents
    for step in (80, 90, 94):
        assert any(step <= percent <= step + 3 for percent in percents), (step, percents)
    assert dumps[-1][1].about["reason"] == "pressure", dumps[-1][1].about
    names_the_leak(dumps[-1][0])


def a_service_that_fills_its_page_cache_is_under_no_pressure():
    process, group, directory = services["read"]
    try:
        out, err = process.communicate(timeout=150)
        assert (process.returncode, out, err) == (0, "fine\n", ""), (process.returncode, out, err)
        assert not group.path or group.used() > 0.9 * LIMIT, f"{group.used()} of {LIMIT}: the page cache never filled it"
    finally:
        process.kill()
        process.wait()
        group.remove()
    reasons = [whole(path).about["reason"] for path in harness.dumps_in(directory)]
    assert reasons and "pressure" not in reasons, reasons


def a_kill_at_any_moment_leaves_whole_dumps_alone():
    chance = random.Random(4)
    directory = tempfile.mkdtemp(prefix="leakshim-test-")
    env = {**os.environ, "LD_PRELOAD": harness.LIBRARY,
           "LEAKSHIM_CONF": "lg_prof_sample:10,lg_prof_interval:18,prof_keep:0,prof_disk:0"}
    before, cut, turn = {}, 0, 0
    # Fifty times, and on until one has met a dump under way: what that left has no final name.
    while turn < 50 or cut == 0:
        assert turn < 400, "no kill met a dump under way"
        turn += 1
        process = subprocess.Popen([harness.program("peaks"), *["8", "1"] * 2000], cwd=directory, env=env,
                                   stdout=subprocess.DEVNULL, start_new_session=True)
        time.sleep(chance.uniform(0.02, 0.12))
        # The process alone, whose dump under way is still finished; or with it the task that writes, as the kernel does it.
        (os.kill if turn % 2 else os.killpg)(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        now = {}
        for path in harness.dumps_in(directory):
            status = os.stat(path)
            now[path] = (status.st_ino, status.st_size, status.st_mtime_ns)
            if path not in before:
                whole(path)
        assert all(now.get(path) == was for path, was in before.items()), "an earlier dump was lost or changed"
        before = now
        cut = max(cut, len(os.listdir(directory)) - len(now))
    assert len(before) >= 50, len(before)


if __name__ == "__main__":
    if SERVICE:
        start("leak", "lg_prof_sample:16,prof_pressure:80/90", ["leak", str((LIMIT >> 20) * 7 // 10), str(ARMED)])
        with tempfile.NamedTemporaryFile(delete=False) as sparse:
            sparse.truncate(64 << 30)
        start("read", "lg_prof_sample:16,prof_pressure:80/90,prof_time_interval:20s", ["read", sparse.name, str(ARMED + 10)])
    try:
        harness.main({test.__name__: test for test in (
            a_kill_at_any_moment_leaves_whole_dumps_alone,
            *([a_service_that_leaks_is_dumped_before_the_kernel_kills_it,
               a_service_that_fills_its_page_cache_is_under_no_pressure] if SERVICE else []))})
    finally:
        for left, its_group, _ in services.values():
            left.kill()
            left.wait()
            its_group.remove()
        if SERVICE:
            os.unlink(sparse.name)
