"""What leakprof takes in and gives out: packed files, other tools' formats, and other tools on ours."""

import gzip
import os
import shutil
import subprocess
import sys
import tempfile

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


if __name__ == "__main__":
    harness.main({name: test for name, test in list(globals().items())
                  if callable(test) and getattr(test, "__module__", "") == "__main__"
                  and name not in ("content", "written", "report")})
