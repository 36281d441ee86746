"""Names and lines wherever they lie: in the binary, in debug files here or below a sysroot, with a server, or nowhere."""

import io
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "preload"))
import harness  # noqa: E402


def tool(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def build_id_of(path):
    return re.search(r"Build ID: ([0-9a-f]+)", tool("readelf", "-n", path)).group(1)


class Profiled:
    """A program of its own folder, a dump of it, and what strip takes off."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="leakshim-test-")
        self.binary = os.path.join(self.folder, "names")
        shutil.copy(harness.program("names"), self.binary)
        run = harness.run([self.binary], conf="lg_prof_sample:0")
        assert run.status == 0 and len(run.dumps) == 1, run
        self.dump = run.dumps[0]
        self.whole = os.path.join(self.folder, "names.whole")
        self.debug = os.path.join(self.folder, "kept.debug")
        shutil.copy(self.binary, self.whole)
        tool("objcopy", "--only-keep-debug", self.whole, self.debug)
        self.build_id = build_id_of(self.whole)

    def strip(self):
        tool("strip", "--strip-all", self.binary)

    def place_of_build_id(self, root, ending, build_id=None):
        build_id = build_id or self.build_id
        path = os.path.join(root, "usr/lib/debug/.build-id", build_id[:2], build_id[2:] + ending)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def report(self, *flags, **env):
        """Rows of the report, and what was said; nobody is asked but whom `env` names."""
        full = {**os.environ, "DEBUGINFOD_URLS": "", **env}
        run = subprocess.run([harness.LEAKPROF, "--text", *flags, self.dump], capture_output=True, text=True, timeout=60, env=full)
        assert run.returncode == 0, run
        return run.stdout, run.stderr

    def whole_report(self, *flags, **env):
        out, err = self.report("--lines", *flags, **env)
        assert re.search(r"allocate_inlined \(inline\) .*names\.c:8$", out, re.M), (out, err)
        assert re.search(r"hold_blocks .*names\.c:14$", out, re.M) and err == "", (out, err)


def the_binary_names_what_its_debug_information_has():
    Profiled().whole_report()


def without_symbols_it_is_the_file_and_the_offset():
    profiled = Profiled()
    profiled.strip()
    out, err = profiled.report("--lines")
    assert "hold_blocks" not in out and re.search(r"names\+0x[0-9a-f]+$", out, re.M) and err == "", (out, err)


def a_debug_file_is_found_by_its_link_and_below_a_sysroot():
    profiled = Profiled()
    profiled.strip()
    tool("objcopy", f"--add-gnu-debuglink={profiled.debug}", profiled.binary)
    profiled.whole_report()
    os.remove(profiled.debug)
    assert "hold_blocks" not in profiled.report("--lines")[0]
    root = os.path.join(profiled.folder, "root")
    tool("objcopy", "--only-keep-debug", profiled.whole, profiled.place_of_build_id(root, ".debug"))
    profiled.whole_report(f"--sysroot={root}")
    profiled.whole_report(f"--sysroot=/nowhere,{root}")
    # Also where the binary is gone, and a debug file of another build is of no use.
    os.remove(profiled.binary)
    profiled.whole_report("--sysroot=/nowhere", f"--lib_prefix={root}")
    shutil.copy(harness.program("sizes"), profiled.place_of_build_id(root, ".debug"))
    assert "hold_blocks" not in profiled.report("--lines", f"--sysroot={root}")[0]


def a_binary_kept_below_a_sysroot_stands_for_one_that_is_gone():
    profiled = Profiled()
    root = os.path.join(profiled.folder, "root")
    kept = root + profiled.binary
    os.makedirs(os.path.dirname(kept))
    os.rename(profiled.binary, kept)
    profiled.whole_report(f"--sysroot={root}")
    os.rename(kept, profiled.place_of_build_id(root, ""))
    profiled.whole_report(f"--sysroot={root}")


def names_with_debug_information_are_kept_for_the_next_time():
    profiled = Profiled()
    profiled.strip()
    tool("objcopy", f"--add-gnu-debuglink={profiled.debug}", profiled.binary)
    cache = os.path.join(profiled.folder, "cache")

    def kept():
        return {name: os.stat(os.path.join(cache, name)) for name in os.listdir(cache) if profiled.build_id in name}

    profiled.whole_report("--no-cache", LEAKPROF_CACHE=cache)
    assert not os.path.exists(cache)
    profiled.whole_report(LEAKPROF_CACHE=cache)
    first = kept()
    assert len(first) == 1, first
    name, = first
    path = os.path.join(cache, name)
    # Whose answers are taken: another name in the file is another name in the report.
    with open(path, "rb") as file:
        original = file.read()
    changed = original[:-4].replace(b"hold_blocks", b"HOLD_BLOCKS")
    with open(path, "wb") as file:
        file.write(changed + zlib.crc32(changed).to_bytes(4, "little"))
    assert "HOLD_BLOCKS" in profiled.report("--lines", LEAKPROF_CACHE=cache)[0]
    profiled.whole_report("--no-cache", LEAKPROF_CACHE=cache)
    # A damaged one is found anew, and mended.
    with open(path, "wb") as file:
        file.write(changed + b"\0\0\0\0")
    profiled.whole_report(LEAKPROF_CACHE=cache)
    with open(path, "rb") as file:
        assert file.read() == original
    # Without debug information nothing is kept; with another debug file what was kept is of no use.
    os.rename(profiled.debug, profiled.debug + ".away")
    assert "hold_blocks" not in profiled.report("--lines", LEAKPROF_CACHE=cache)[0] and len(kept()) == 1
    os.rename(profiled.debug + ".away", profiled.debug)
    os.utime(profiled.debug, (1, 1))
    profiled.whole_report(LEAKPROF_CACHE=cache)
    assert len(kept()) == 2, kept()


def symbols_in_gnu_debugdata_give_the_names():
    profiled = Profiled()
    symbols = os.path.join(profiled.folder, "mini")
    keep = os.path.join(profiled.folder, "keep")
    with open(keep, "w") as file:
        file.write("hold_blocks\n")
    tool("objcopy", "-S", "--remove-section=.gdb_index", "--remove-section=.comment", f"--keep-symbols={keep}", profiled.debug, symbols)
    tool("xz", symbols)
    profiled.strip()
    tool("objcopy", f"--add-section=.gnu_debugdata={symbols}.xz", profiled.binary)
    out, err = profiled.report()
    assert re.search(r" hold_blocks$", out, re.M) and err == "", (out, err)
    # A damaged one is none.
    with open(symbols + ".xz", "r+b") as file:
        file.truncate(os.path.getsize(symbols + ".xz") // 2)
    tool("objcopy", f"--update-section=.gnu_debugdata={symbols}.xz", profiled.binary)
    out, err = profiled.report()
    assert "hold_blocks" not in out and "names+0x" in out, (out, err)


def chroot_of(*programs):
    """A root with these programs and the libraries that they need, and nothing else."""
    root = tempfile.mkdtemp(prefix="leakshim-test-")
    for path in programs:
        needed = re.findall(r"(/\S+) \(0x", tool("ldd", path))
        for file in [path, *needed]:
            place = root + (file if file != path else "/" + os.path.basename(path))
            os.makedirs(os.path.dirname(place), exist_ok=True)
            shutil.copy(file, place)
    return root


def a_packed_profile_reads_with_names_where_nothing_else_is():
    profiled = Profiled()
    profiled.strip()
    tool("objcopy", f"--add-gnu-debuglink={profiled.debug}", profiled.binary)
    os.remove(profiled.whole)
    archive = os.path.join(profiled.folder, "case.tar.zst")
    packed = subprocess.run([harness.LEAKPROF, f"--pack={archive}", profiled.dump], capture_output=True, text=True, timeout=60)
    assert packed.returncode == 0 and packed.stdout == archive + "\n" and packed.stderr == "", packed
    again = subprocess.run([harness.LEAKPROF, f"--pack={archive}", profiled.dump], capture_output=True, text=True, timeout=60)
    assert again.returncode == 2 and "exists" in again.stderr, again
    reads_elsewhere(archive)


def reads_elsewhere(archive):
    """In a root without a single file of the profiled machine."""
    root = chroot_of(harness.LEAKPROF)
    shutil.copy(archive, os.path.join(root, "case.tar.zst"))
    for _ in range(2):  # unpacked, and as it was left
        run = subprocess.run(["unshare", "--user", "--map-root-user", "chroot", root, "/leakprof", "--unpack=/case.tar.zst", "--text",
                              "--lines"], capture_output=True, text=True, timeout=60)
        assert run.returncode == 0 and run.stderr == "", run
        assert re.search(r"allocate_inlined \(inline\) .*names\.c:8$", run.stdout, re.M), run.stdout
        assert re.search(r"hold_blocks .*names\.c:14$", run.stdout, re.M), run.stdout
    assert sorted(os.listdir(os.path.join(root, "case"))) == ["profiles", "root"], os.listdir(root)


def debug_information_shared_with_others_is_found_and_packed():
    profiled = Profiled()
    shared, root = os.path.join(profiled.folder, "shared.debug"), os.path.join(profiled.folder, "root")
    shutil.copy(profiled.binary, profiled.binary + ".other")
    tool("dwz", "-m", shared, "-M", shared, profiled.binary, profiled.binary + ".other")
    profiled.whole_report()
    archive = os.path.join(profiled.folder, "case.tar.zst")
    tool(harness.LEAKPROF, f"--pack={archive}", profiled.dump)
    away = root + shared
    os.makedirs(os.path.dirname(away))
    os.rename(shared, away)
    os.utime(profiled.binary)  # nothing that was kept
    assert "allocate_inlined" not in profiled.report("--lines")[0]
    profiled.whole_report(f"--sysroot={root}")
    os.rename(away, profiled.place_of_build_id(root, ".debug", build_id_of(away)))
    os.utime(profiled.binary)
    profiled.whole_report(f"--sysroot={root}")
    reads_elsewhere(archive)


def an_archive_that_is_damaged_or_not_ours_leaves_nothing_behind():
    folder = tempfile.mkdtemp(prefix="leakshim-test-")
    profiled = Profiled()
    tool(harness.LEAKPROF, f"--pack={folder}", profiled.dump)
    (name,) = os.listdir(folder)
    with open(os.path.join(folder, name), "rb") as file:
        whole = file.read()

    def refused(bytes_, why):
        path = os.path.join(folder, "x.tar.zst")
        with open(path, "wb") as file:
            file.write(bytes_)
        run = subprocess.run([harness.LEAKPROF, f"--unpack={path}", "--text"], capture_output=True, text=True, timeout=60)
        assert run.returncode == 2 and run.stderr.startswith(f"leakprof: {path}: ") and why in run.stderr, run
        assert sorted(os.listdir(folder)) == sorted([name, "x.tar.zst"]), os.listdir(folder)

    for size in (0, 10, len(whole) // 2, len(whole) - 100):
        refused(whole[:size], "")
    for member, kind in (("../out", tarfile.REGTYPE), ("root/../../out", tarfile.REGTYPE), ("/root/out", tarfile.REGTYPE),
                         ("other", tarfile.REGTYPE), ("root/link", tarfile.SYMTYPE), ("profiles/device", tarfile.CHRTYPE)):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            info = tarfile.TarInfo(member)
            info.type, info.linkname = kind, "/etc"
            tar.addfile(info, io.BytesIO(b"") if kind == tarfile.REGTYPE else None)
        refused(out.getvalue(), "not made by leakprof --pack")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def a_debuginfod_server_is_asked_for_what_is_missing():
    profiled = Profiled()
    served = os.path.join(profiled.folder, "served")
    os.mkdir(served)
    shutil.copy(profiled.debug, served)
    profiled.strip()
    os.remove(profiled.whole)
    os.remove(profiled.debug)
    port = free_port()
    env = {"DEBUGINFOD_URLS": f"http://127.0.0.1:{port}", "DEBUGINFOD_CACHE_PATH": os.path.join(profiled.folder, "cache")}
    log = open(os.path.join(profiled.folder, "log"), "w")
    server = subprocess.Popen(["debuginfod", "-v", "-p", str(port), "-d", ":memory:", "-F", served], stdout=log, stderr=log,
                              env={**os.environ, "DEBUGINFOD_URLS": ""})
    try:
        for _ in range(300):
            with open(log.name) as said:
                if re.search(r"recorded buildid|scanned.*kept\.debug|fts traversed", said.read()):
                    break
            time.sleep(0.1)
        time.sleep(1)  # what it recorded is to be seen
        out, _ = profiled.report("--lines", "--no-debuginfod", **env)
        assert "hold_blocks" not in out, out
        profiled.whole_report(**env)
        assert "hold_blocks" in profiled.report(**env)[0]
    finally:
        server.kill()
        server.wait()
    profiled.whole_report(**env)  # from the cache: the server is gone


def a_server_that_says_nothing_costs_no_more_than_its_limit():
    profiled = Profiled()
    profiled.strip()
    os.remove(profiled.whole)
    os.remove(profiled.debug)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(5)
        env = {"DEBUGINFOD_URLS": f"http://127.0.0.1:{silent.getsockname()[1]}",
               "DEBUGINFOD_CACHE_PATH": os.path.join(profiled.folder, "cache")}
        started = time.monotonic()
        out, err = profiled.report("--lines", "--debuginfod_limit=1", **env)
        assert time.monotonic() - started < 15, "it waited on"
    assert re.fullmatch(r"leakprof: debuginfod: nothing for \S+ within 1 s; no server is asked again .*\n", err), err
    assert "names+0x" in out, out


if __name__ == "__main__":
    harness.main({name: test for name, test in list(globals().items())
                  if callable(test) and getattr(test, "__module__", "") == "__main__"
                  and name not in ("tool", "build_id_of", "free_port", "chroot_of", "reads_elsewhere", "Profiled")})
