"""Runs programs under the preloaded library and reads the dumps they leave.

Every run has a time limit; a program that exceeds it is asked for the stacks of all its threads (gdb) before it is killed.
"""

import atexit
import collections
import glob
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.parse

BUILD = os.environ["LEAKSHIM_BUILD"]  # build/<preset>, set by CTest
LIBRARY = os.path.join(BUILD, "libleakshim.so")
LEAKPROF = os.path.join(BUILD, "leakprof")
PROGRAMS = os.environ["LEAKSHIM_PRELOAD_PROGRAMS"]


def program(name):
    return os.path.join(PROGRAMS, name)


def _clean_up_unless_failed():
    if not failed:
        shutil.rmtree(tempfile.tempdir, ignore_errors=True)


# What runs leave behind lies in one folder, which stays if a test fails. Others than root work in there too.
failed = False
tempfile.tempdir = tempfile.mkdtemp(prefix="leakshim-tests-")
os.chmod(tempfile.tempdir, 0o755)
os.environ["LEAKPROF_CACHE"] = os.path.join(tempfile.tempdir, "names")  # not the user's
os.environ["LEAKPROF_HISTORY"] = "off"
_owner = os.getpid()
atexit.register(lambda: _clean_up_unless_failed() if os.getpid() == _owner else None)

Run = collections.namedtuple("Run", "status stdout stderr dumps directory")


def stacks_of(pid):
    try:
        return subprocess.run(["gdb", "-batch", "-p", str(pid), "-ex", "thread apply all bt"], capture_output=True,
                              text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"no stacks: {error}"


def run(command, conf=None, env=None, timeout=60, directory=None, preload=LIBRARY, stdin=None):
    """Runs `command` (a list) under the shim in a fresh directory. `conf` becomes LEAKSHIM_CONF; None leaves it unset."""
    directory = directory or tempfile.mkdtemp(prefix="leakshim-test-")
    full = dict(os.environ)
    for name in ("LEAKSHIM_CONF", "MALLOC_CONF", "LD_PRELOAD"):
        full.pop(name, None)
    if preload:
        full["LD_PRELOAD"] = preload
    if conf is not None:
        full["LEAKSHIM_CONF"] = conf
    full.update(env or {})
    # The preload goes to the program alone, not to python's own helper processes.
    process = subprocess.Popen(command, cwd=directory, env=full, stdin=stdin, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, errors="replace")
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        stacks = stacks_of(process.pid)
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"{command} hung for {timeout} s\n{stacks}\nstdout: {out[-2000:]}\nstderr: {err[-2000:]}")
    return Run(process.returncode, out, err, dumps_in(directory), directory)


def dumps_in(directory):
    """Dumps of one directory, in the order in which each process made them."""
    def order(path):
        numbers = [int(n) for n in re.findall(r"\.(\d+)", os.path.basename(path))]
        return (os.path.getmtime(path), numbers)
    return sorted(glob.glob(os.path.join(directory, "*.heap")), key=order)


class Dump:
    """One dump, read without leakprof, so that the two check each other."""

    def __init__(self, path):
        self.path = path
        self.about, self.books, self.facts = {}, {}, {}
        self.pcs, self.modules, self.threads = {}, {}, {}
        self.java = {}  # address: (kind, class, method, line, file)
        self.stacks = []  # (frames, [(objects, bytes, accum objects, accum bytes)], {uid: the same})
        with open(path, errors="replace") as lines:
            text = lines.read()
        body, _, self.maps = text.partition("\nMAPPED_LIBRARIES:\n")
        rows = body.splitlines()
        match = re.fullmatch(r"heap_v2/(\d+)", rows[0])
        assert match, f"{path}: bad header {rows[0]!r}"
        self.rate = int(match.group(1))
        self.total = self._counts(rows[1])
        stack = None
        for row in rows[2:]:
            if row.startswith("@"):
                stack = (tuple(int(f, 16) for f in row.split()[1:]), [], collections.defaultdict(list), {})
                self.stacks.append(stack)
            elif row.startswith("  t*:"):
                stack[1].append(self._counts(row))
            elif row.startswith("  t"):
                if stack is not None:
                    stack[2][int(row.split(":")[0].strip()[1:])].append(self._counts(row))
            elif row.startswith("# about."):
                key, _, value = row[8:].partition(" ")
                self.about[key] = value
            elif row.startswith("# books."):
                key, _, value = row[8:].partition(" ")
                self.books[key] = float(value) if "." in value else int(value)
            elif row.startswith("# pc "):
                fields = row.split(" ")
                self.pcs.setdefault(int(fields[2], 16), (int(fields[3]), int(fields[4], 16), " ".join(fields[5:])))
            elif row.startswith("# java "):
                address, kind, *names = row.split(" ", 7)[2:]
                where, method, line, source = map(urllib.parse.unquote, names)
                self.java[int(address, 16)] = (kind, where, method, int(line), source)
            elif row.startswith("# module "):
                fields = row.split(" ", 7)
                self.modules[int(fields[2])] = fields[3:]
            elif row.startswith("# thread "):
                fields = row.split(" ", 4)
                self.threads[int(fields[2])] = fields[3:]
            elif row.startswith("# age "):
                stack[3]["age"] = [int(n) for n in row.split()[2:]]
            elif row.startswith("# truncated"):
                stack[3]["truncated"] = True

    def symbol(self, frame):
        """The dynamic symbol that a native frame lies in, mangled, or ""."""
        return self.pcs.get(frame, (0, 0, ""))[2].partition("+")[0]

    @staticmethod
    def _counts(row):
        match = re.search(r": (\d+): (\d+) \[(\d+): (\d+)\]", row)
        assert match, row
        return tuple(int(n) for n in match.groups())

    def estimate(self, counts):
        """(objects, bytes) that sampled counts of one line stand for: Poisson rule, as jeprof applies it."""
        objects, size, _, _ = counts
        if objects == 0 or self.rate == 0:
            return objects, size
        scale = 1 / (1 - math.exp(-(size / objects) / self.rate))
        return objects * scale, size * scale

    def estimated_total(self):
        pairs = [self.estimate(line) for stack in self.stacks for line in stack[1]]
        return sum(p[0] for p in pairs), sum(p[1] for p in pairs)

    def sampled_total(self):
        lines = [line for stack in self.stacks for line in stack[1]]
        return tuple(sum(line[i] for line in lines) for i in range(4))

    def check_books(self, nested=False):
        """What must hold in every dump. `nested`: the program allocates in signal handlers, maybe inside a sample."""
        assert self.sampled_total() == self.total, f"{self.path}: header {self.total}, lines {self.sampled_total()}"
        assert nested or self.books["dropped_nested"] == 0, f"{self.path}: our own rooms allocated: {self.books}"
        for frames, lines, threads, _ in self.stacks:
            for column in range(4):
                whole = sum(line[column] for line in lines)
                parts = sum(line[column] for of_thread in threads.values() for line in of_thread)
                assert whole == parts, f"{self.path}: threads of {frames} do not add up"


def leakprof(*arguments, timeout=60):
    return subprocess.run([LEAKPROF, *arguments], capture_output=True, text=True, timeout=timeout)


def rows_of(report):
    """{function: (flat, cum)} of a --text report with --show_bytes or objects."""
    rows = {}
    for line in report.splitlines():
        fields = line.split(None, 5)
        if len(fields) == 6 and fields[1].endswith("%"):
            rows[fields[5].strip()] = (float(fields[0]), float(fields[3]))
    return rows


def jeprof(*arguments, timeout=120, env={}):
    tool = shutil.which("jeprof")
    assert tool, "jeprof is not installed"
    return subprocess.run([tool, *arguments], capture_output=True, text=True, timeout=timeout, env={**os.environ, **env})


def main(tests):
    """Runs the tests named on the command line, or all; one line each."""
    wanted = sys.argv[1:] or list(tests)
    global failed  # what atexit sees
    failures = 0
    failed = True  # also when what follows ends by an exception
    for name in wanted:
        try:
            tests[name]()
            print(f"ok   {name}", flush=True)
        except AssertionError as error:
            failures += 1
            print(f"FAIL {name}: {error}", flush=True)
    failed = bool(failures)
    sys.exit(1 if failures else 0)
