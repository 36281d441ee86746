"""What leakprof takes in and gives out: packed files, other tools' formats, and other tools on ours."""

import gzip
import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "preload"))
import harness  # noqa: E402

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden")
NATIVE = os.path.join(GOLDEN, "service.4711.2.t2.heap")
OLDER = os.path.join(GOLDEN, "service.4711.1.t1.heap")
JAVA = os.path.join(GOLDEN, "shop.4712.3.t3.heap")


def content(path):
    with open(path, "rb") as file:
        return file.read()


def written(data, name="x.heap"):
    path = os.path.join(tempfile.mkdtemp(prefix="leakshim-test-"), name)
    with open(path, "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())
    return path


def report(*arguments, **more):
    done = subprocess.run([harness.LEAKPROF, *arguments], capture_output=True, timeout=60, **more)
    assert done.returncode == 0, done
    return done.stdout.decode()


def packed_profiles_read_as_they_would_unpacked():
    plain = report("--text", NATIVE)
    packed = gzip.compress(content(NATIVE))
    assert report("--text", written(packed, "no-hint-in-this-name")) == plain
    assert report("--text", "-", input=packed) == plain and report("--text", "-", input=content(NATIVE)) == plain
    # A pipe by its name, which can be read only once.
    shell = subprocess.run(["bash", "-c", f"'{harness.LEAKPROF}' --text <(cat '{NATIVE}')"], capture_output=True, text=True,
                           timeout=60)
    assert shell.stdout == plain, shell
    base = written(gzip.compress(content(OLDER)), "service.4711.1.t1.heap.gz")
    assert report("--text", f"--base={base}", NATIVE) == report("--text", f"--base={OLDER}", NATIVE)


def a_packed_series_is_a_series():
    folder, packed = os.path.join(GOLDEN, "series"), tempfile.mkdtemp(prefix="leakshim-test-")
    for name in os.listdir(folder):
        with gzip.open(os.path.join(packed, name + ".gz"), "wb") as file:
            file.write(content(os.path.join(folder, name)))
    assert report("--leaks", packed) == report("--leaks", folder)
    files = [os.path.join(packed, f"leakshim.4711.{number}.t{number}.heap.gz") for number in range(3)]
    done = harness.leakprof("--text", *files)
    assert "earlier dumps of the same process left out" in done.stderr, done.stderr


def what_is_cut_off_is_status_2_and_names_the_file():
    path = written(gzip.compress(content(NATIVE))[:300], "cut.heap.gz")
    done = harness.leakprof("--text", path)
    assert done.returncode == 2 and not done.stdout, done
    assert done.stderr == f"leakprof: {path}: gzip data cut off at byte 300\n", done.stderr


def a_bomb_does_not_fill_the_memory():
    path = written(gzip.compress(b"heap_v2/0\n" + bytes(80 << 20)), "bomb.gz")
    done = harness.leakprof("--text", path)
    assert done.returncode == 2 and "unpacks to more than" in done.stderr, done


def pprof(*arguments):
    """Stock `go tool pprof`; {function: (flat, cum)} and the total, in whole bytes or blocks."""
    command = ["go", "tool", "pprof", "-top", "-relative_percentages", "-unit=B", "-nodecount=100000", "-nodefraction=0", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=dict(os.environ, HOME="/nonexistent"))
    assert done.returncode == 0 and "rror" not in done.stderr, done
    total = re.search(r"% of (-?\d+)B? total", done.stdout)
    rows = {}
    for line in done.stdout.splitlines():
        fields = line.split(None, 5)
        if len(fields) == 6 and fields[1].endswith("%"):
            rows[fields[5].removesuffix(" (inline)")] = tuple(int(fields[i].removesuffix("B")) for i in (0, 3))
    return rows, int(total.group(1)) if total else 0


def same_numbers(ours, theirs, rounding):
    # Ours are cut to whole numbers, theirs rounded so that the total is right.
    assert ours and set(ours) == set(theirs), (set(ours) ^ set(theirs))
    for name in ours:
        for mine, their in zip(ours[name], theirs[name]):
            assert abs(mine - their) <= rounding, (name, ours[name], theirs[name])


def go_pprof_reads_our_proto():
    for profile in (NATIVE, JAVA, os.path.join(GOLDEN, "symbolized.heap")):
        path = written(b"", "x.pb.gz")
        assert report("--proto=" + path, profile) == ""
        assert subprocess.run([harness.LEAKPROF, "--proto", profile], capture_output=True).stdout == content(path)
        for value in ("inuse_space", "inuse_objects", "alloc_space", "alloc_objects"):
            text = report("--show_bytes", f"--{value}", profile)
            rows, total = pprof(f"-sample_index={value}", path)
            ours = {name.removesuffix(" (inline)"): row for name, row in harness.rows_of(text).items()}
            if not ours:
                assert not total and value.startswith("alloc"), (profile, value)
                continue
            same_numbers(ours, rows, 3)
            assert abs(total - int(text.split()[1])) <= 1, (total, text.split()[:2])


def the_value_flag_is_what_pprof_shows_first():
    path = written(b"", "x.pb.gz")
    report("--inuse_objects", "--focus=Cache", "--proto=" + path, NATIVE)
    rows, total = pprof(path)
    same_numbers(harness.rows_of(report("--inuse_objects", "--focus=Cache", NATIVE)), rows, 1)


def threads_and_sizes_are_labels_for_pprof():
    path = written(b"", "x.pb.gz")
    report("--proto=" + path, JAVA)
    for tag, thread in (("thread=report-worker", "2"), ("thread_id=4713", "2"), ("thread=C2", "3")):
        _, total = pprof("-tagfocus=" + tag, path)
        text = report("--show_bytes", "--thread=" + thread, JAVA)
        assert abs(total - int(re.search(r": (\d+) B", text).group(1))) <= 20, (tag, total, text[:40])
    assert 0 < pprof("-tagfocus=bytes=1mb:", path)[1] < pprof(path)[1]


def a_terminal_gets_no_proto():
    master, slave = pty.openpty()
    done = subprocess.run([harness.LEAKPROF, "--proto", NATIVE], stdout=slave, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(slave)
    os.close(master)
    assert done.returncode == 1 and "--proto=FILE" in done.stderr, done
    done = harness.leakprof("--proto=/nonexistent/x", NATIVE)
    assert done.returncode == 2 and "/nonexistent/x" in done.stderr, done


def typed(lines, **env):
    """What a terminal shows after `lines` were typed, each at its prompt."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(harness.LEAKPROF, ["leakprof", "--interactive", NATIVE], {**os.environ, "TERM": "xterm", **env})
    seen, deadline = "", time.monotonic() + 60
    try:
        for number, line in enumerate(lines):
            while seen.count("(leakprof) ") <= number and time.monotonic() < deadline:
                if select.select([terminal], [], [], 1)[0]:
                    seen += os.read(terminal, 1 << 16).decode(errors="replace")
            assert time.monotonic() < deadline, seen
            os.write(terminal, line)
        assert os.waitpid(pid, 0)[1] == 0
    finally:
        os.close(terminal)
    return seen


def typed_lines_are_there_the_next_time():
    state = tempfile.mkdtemp(prefix="leakshim-test-")
    file = os.path.join(state, "state", "leakshim", "leakprof_history")
    env = {"XDG_STATE_HOME": os.path.join(state, "state"), "LEAKPROF_HISTORY": ""}
    typed([b"top1\n", b"quit\n"], **env)
    assert content(file) == b"top1\nquit\n" and os.stat(file).st_mode & 0o777 == 0o600
    assert os.stat(os.path.dirname(file)).st_mode & 0o777 == 0o700
    # Two lines up is top1, which answers again.
    assert "zcalloc" in typed([b"\x1b[A\x1b[A\n", b"quit\n"], **env)
    assert content(file) == b"top1\nquit\n" * 2
    # Not for ever, and nothing that would do things to the terminal.
    with open(file, "ab") as more:
        more.write(b"top\x1b[2J\n" + b"top2\n" * 2000)
    typed([b"quit\n"], **env)
    assert content(file) == b"top2\n" * 1000 + b"quit\n"
    typed([b"quit\n"], **{**env, "LEAKPROF_HISTORY": "off"})
    assert content(file).count(b"quit") == 1
    own = os.path.join(state, "own")
    typed([b"quit\n"], LEAKPROF_HISTORY=own)
    assert content(own) == b"quit\n"


def peek_counts_a_call_once_in_a_stack():
    path = written("--- symbol\n0x1000 a\n0x2000 b\n---\n--- heap\nheap_v2/0\n"
                   "@ 0x1000 0x2001 0x1001 0x2001\n  t*: 1: 30 [0: 0]\n")
    lines = report("--peek=^a$", "--show_bytes", path).splitlines()
    assert [line.split() for line in lines if line.endswith(" b")] == [["30", "100.0%", "|", "b"]] * 2, lines


def a_proto_reads_back_ours_and_gos():
    for profile in (NATIVE, JAVA, os.path.join(GOLDEN, "symbolized.heap")):
        path = report_proto(profile)
        # As Go writes it, which numbers everything anew.
        go = written(b"", "go.pb.gz")
        subprocess.run(["go", "tool", "pprof", "-proto", "-output=" + go, path], check=True, capture_output=True, timeout=60)
        unpacked = written(gzip.decompress(content(path)), "x.pb")
        for value in ("--inuse_space", "--inuse_objects", "--alloc_space"):
            wanted = harness.rows_of(report("--show_bytes", value, profile))
            for copy in (path, go, unpacked):
                rows = harness.rows_of(report("--show_bytes", value, copy))
                assert set(rows) == set(wanted), (set(rows) ^ set(wanted))
                for name in rows:
                    assert all(abs(a - b) <= 3 for a, b in zip(rows[name], wanted[name])), (name, rows[name], wanted[name])
    assert report("--thread=4713", report_proto(JAVA)).startswith("Total (t4713): 45.0 MB")


def report_proto(profile):
    path = written(b"", "x.pb.gz")
    report("--proto=" + path, profile)
    return path


def a_difference_made_by_pprof_is_read_as_pprof_reads_it():
    protos = []
    for profile in (OLDER, NATIVE):
        protos.append(written(b"", "x.pb.gz"))
        assert report("--proto=" + protos[-1], profile) == ""
    old, new = protos
    ours = harness.rows_of(report("--show_bytes", "--base=" + OLDER, NATIVE))
    assert any(row[1] < 0 for row in ours.values()), ours
    for how in ("-diff_base=", "-base="):
        difference = written(b"", "difference.pb.gz")
        subprocess.run(["go", "tool", "pprof", "-proto", "-output=" + difference, how + old, new], check=True, capture_output=True,
                       timeout=60)
        for value in ("inuse_space", "inuse_objects"):
            rows = harness.rows_of(report("--show_bytes", "--" + value, difference))
            theirs = {name: row for name, row in pprof("-sample_index=" + value, difference)[0].items() if any(row)}
            assert any(row[1] < 0 for row in theirs.values()), theirs
            same_numbers(rows, theirs, 0)
        same_numbers(harness.rows_of(report("--show_bytes", difference)), ours, 3)
        for arguments, status in ((["--raw", difference], 1), (["--leaks", difference], 2)):
            done = harness.leakprof(*arguments)
            assert done.returncode == status and done.stderr and not done.stdout, done


def raw_is_read_alike_by_jeprof_and_google_pprof():
    for profile in (NATIVE, JAVA, os.path.join(GOLDEN, "symbolized.heap")):
        path = written(report("--raw", profile))
        for value in ("--inuse_space", "--inuse_objects", "--alloc_space", "--alloc_objects"):
            # They cut what jeprof's list names; so does --jeprof-compat.
            ours = report("--text", "--show_bytes", "--jeprof-compat", value, path)
            for tool in ("jeprof", "google-pprof"):
                done = subprocess.run([tool, "--text", "--show_bytes", value, path], capture_output=True, text=True, timeout=60)
                assert done.returncode == 0, done
                assert done.stdout == ours, f"{tool} {profile} {value}\n{done.stdout}\nours:\n{ours}"
        # And by ourselves as what it was made of.
        text, same = (report("--text", "--show_bytes", file) for file in (path, profile))
        assert text.splitlines()[0] == same.splitlines()[0], (text, same)
        assert harness.rows_of(text).get("[no stack]") == harness.rows_of(same).get("[no stack]")
    assert report("--thread=2", written(report("--raw", JAVA))).startswith("Total (t2): 45.0 MB")


def what_shrank_is_dropped_by_name_across_builds():
    old, new = (written(f"--- symbol\n0x{at}00 leaf\n0x{at}0f main\n---\nheap_v2/0\n  t*: 5: {size} [0: 0]\n@ 0x{at}00 0x{at}10\n"
                        f"  t*: 5: {size} [0: 0]\n") for at, size in ((1, 700), (2, 1000)))
    text = report("--show_bytes", "--base=" + old, "--drop_negative", new)
    assert harness.rows_of(text) == {"leaf": (300, 300), "main": (0, 300)}, text


def a_proto_of_something_else_is_named():
    # One sample type of CPU time: samples/count, cpu/nanoseconds.
    cpu = (b"\x0a\x04\x08\x01\x10\x02\x0a\x04\x08\x03\x10\x04\x32\x00\x32\x07samples\x32\x05count\x32\x03cpu"
           b"\x32\x0bnanoseconds")
    done = harness.leakprof("--text", written(cpu, "cpu.pb"))
    assert done.returncode == 2 and "found one of samples, cpu" in done.stderr, done.stderr


if __name__ == "__main__":
    harness.main({name: test for name, test in list(globals().items())
                  if callable(test) and getattr(test, "__module__", "") == "__main__"
                  and name not in ("content", "written", "report", "pprof", "same_numbers", "report_proto", "typed")})
