"""When something is wrong: one clear line, a documented exit status, and a host that does not notice."""

import os
import re
import resource
import shutil
import subprocess
import tempfile

import harness

ONE_DUMP = "lg_prof_sample:10"


def sizes(**options):
    return harness.run([harness.program("sizes"), "1000x2000"], **options)


def lines_of(run):
    return run.stderr.splitlines()


def a_bad_option_is_one_line_and_the_default_stays():
    cases = {
        "lg_prof_sampel:3": ["lg_prof_sampel", "lg_prof_sample"],
        "lg_prof_sample:99": ["lg_prof_sample:99", "63"],
        "prof_final:yes": ["prof_final:yes", "true"],
        "prof_time_interval:soon": ["prof_time_interval:soon"],
        "prof_mode:0644": ["prof_mode:0644", "0600"],
        "prof_unwind:magic": ["prof_unwind:magic", "libunwind"],
    }
    for conf, words in cases.items():
        run = sizes(conf=f"{conf},lg_prof_sample:10" if "lg_prof_sample:" not in conf else conf)
        assert run.status == 0, run
        said = lines_of(run)
        assert len(said) == 1 and said[0].startswith("leakshim: "), (conf, said)
        assert all(word in said[0] for word in words), (conf, said)
        assert run.dumps, conf


def malformed_options_do_not_stop_the_host():
    for conf in ("nonsense", "a:b:c,,", ":", "prof_prefix", "\x01\xff"):
        run = harness.run(["/bin/echo", "hi"], conf=conf)
        assert run.status == 0 and run.stdout == "hi\n" and 1 <= len(lines_of(run)) <= 3, (conf, run)


def abort_conf_makes_a_bad_option_fatal():
    run = harness.run(["/bin/echo", "hi"], conf="abort_conf:true,lg_prof_sample:x")
    assert run.status == 1 and run.stdout == "" and len(lines_of(run)) >= 1, run


def confirm_conf_tells_every_option_and_which_have_no_effect():
    run = harness.run(["/bin/echo", "hi"], conf="confirm_conf:true,prof_content:16")
    assert run.status == 0 and run.stdout == "hi\n", run
    assert re.search(r"prof_content:16.*no effect", run.stderr), run.stderr
    assert re.search(r"lg_prof_sample:19", run.stderr), run.stderr


def an_unwritable_prefix_falls_back_but_for_root():
    directory = tempfile.mkdtemp(prefix="leakshim-test-")
    os.chmod(directory, 0o777)
    closed = os.path.join(directory, "closed")
    os.mkdir(closed, 0o555)
    command = [harness.program("sizes"), "1000x2000"]
    if os.getuid() == 0:
        run = harness.run(command, conf=f"{ONE_DUMP},prof_prefix:/proc/none/x")
        assert run.status != 0 and len(lines_of(run)) == 1, run  # `sizes` itself asks for the dump and tells that it failed
        assert "cannot write dumps to /proc/none/x.*" in run.stderr and "prof_prefix" in run.stderr, run.stderr
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]
    run = harness.run(command, conf=f"{ONE_DUMP},prof_prefix:{closed}/deep/x", env={"TMPDIR": directory})
    assert run.status == 0 and len(lines_of(run)) == 1, run
    uid = 65534 if os.getuid() == 0 else os.getuid()
    fallback = os.path.join(directory, f"leakshim-{uid}")
    assert fallback in run.stderr and "Permission denied" in run.stderr, run.stderr
    assert len(harness.dumps_in(fallback)) == 2, os.listdir(directory)


def folders_of_the_prefix_are_made_and_patterns_replaced():
    run = sizes(conf=f"{ONE_DUMP},prof_prefix:a/b-%e/%h-%p-%%x")
    assert run.status == 0 and run.stderr == "", run
    (folder,) = os.listdir(os.path.join(run.directory, "a"))
    assert folder == "b-sizes"
    for name in os.listdir(os.path.join(run.directory, "a", folder)):
        assert re.fullmatch(rf"{re.escape(os.uname().nodename)}-\d+-%x\.\d+\.\d+\.[mf]0\.heap", name), name


def no_prefix_means_no_dump():
    run = harness.run([harness.program("host"), "errno"], conf="lg_prof_sample:10,prof_prefix:,lg_prof_interval:20")
    assert run.status == 0 and run.stderr == "" and os.listdir(run.directory) == [], run


def a_full_disk_is_told_once_and_leaves_nothing_half_done():
    directory = tempfile.mkdtemp(prefix="leakshim-test-")
    script = f"""mount -t tmpfs -o size=16k none {directory} && cd {directory} &&
        LD_PRELOAD={harness.LIBRARY} LEAKSHIM_CONF=lg_prof_sample:8,lg_prof_interval:18,prof_accum:true \
        {harness.program('host')} errno; echo status $?; ls -A {directory}"""
    done = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script], capture_output=True,
                          text=True, timeout=120)
    assert "fine\nstatus 0\n" in done.stdout, done
    said = [line for line in done.stderr.splitlines() if line.startswith("leakshim: ")]
    assert len(said) == 1 and "No space left on device" in said[0], done.stderr
    assert ".tmp" not in done.stdout, done.stdout


def a_file_size_limit_kills_nobody():
    limited = ["sh", "-c", f"ulimit -f 8; exec {harness.program('host')} errno"]
    run = harness.run(limited, conf="lg_prof_sample:8,lg_prof_interval:18,prof_accum:true")
    assert run.status == 0 and run.stdout == "fine\n", run
    assert len(lines_of(run)) == 1 and "File size limit reached" in run.stderr, run.stderr


def every_dump_is_a_file_of_its_own():
    run = harness.run([harness.program("host"), "errno"], conf="lg_prof_sample:12,lg_prof_interval:22,prof_keep:0")
    # One that is due while another is being written comes later, so a slow machine makes fewer.
    assert len(run.dumps) >= 5, run.dumps
    numbers = sorted(int(harness.Dump(path).about["seq"]) for path in run.dumps)
    assert numbers == list(range(len(run.dumps))), numbers


def time_dumps_come_at_their_times():
    run = harness.run([harness.program("host"), "busy", "4"], conf="lg_prof_sample:16,prof_time_interval:1s")
    uptimes = [float(harness.Dump(path).about["uptime"]) for path in run.dumps if ".t" in os.path.basename(path)]
    assert len(uptimes) == 3, uptimes
    for due, uptime in enumerate(uptimes, 1):
        # The start that uptimes count from is known to a clock tick.
        assert due - 0.01 <= uptime < due + 0.3, uptimes


def the_first_automatic_dump_comes_after_half_a_minute():
    run = harness.run([harness.program("host"), "busy", "39"], timeout=90)
    uptimes = [float(harness.Dump(path).about["uptime"]) for path in run.dumps if ".t" in os.path.basename(path)]
    assert len(uptimes) == 2 and 29.99 <= uptimes[0] < 30.5 and 37.49 <= uptimes[1] < 38, uptimes


def a_bad_profile_is_one_line_and_status_two():
    good = sizes(conf=ONE_DUMP).dumps[0]
    with open(good) as file:
        text = file.read()
    directory = tempfile.mkdtemp(prefix="leakshim-test-")

    def made(name, content):
        path = os.path.join(directory, name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    middle = text.index("  t*:", text.index("@ "))
    cases = {
        "missing": os.path.join(directory, "no-such-file.heap"),
        "empty": made("empty.heap", b""),
        "binary": made("binary.heap", os.urandom(100_000)),
        "directory": directory,
        "broken": made("broken.heap", (text[:middle] + "  t*: 12: x\n" + text[middle:]).encode()),
        "huge line": made("huge.heap", b"heap_v2/524288\n@ " + b"0x1 " * 3_000_000),
        "truncated": made("truncated.heap", text[:middle + 7].encode()),
    }
    for name, path in cases.items():
        done = harness.leakprof("--text", path)
        assert done.returncode == 2, (name, done)
        said = done.stderr.strip().splitlines()
        assert len(said) == 1 and os.path.basename(path) in said[0], (name, said)
    done = harness.leakprof("--no-such-option", good)
    assert done.returncode == 1 and "no-such-option" in done.stderr, done


def a_dump_has_its_names_where_no_binary_is():
    run = harness.run([harness.program("truth"), "2", "500"], conf="lg_prof_sample:0,prof_final:false")
    dump = re.search(r"^dump (.*)$", run.stdout, re.M).group(1)
    at_home = set(harness.rows_of(harness.leakprof("--text", "--show_bytes", dump).stdout))
    root = tempfile.mkdtemp(prefix="leakshim-test-")
    tool = os.path.join(root, "tool")
    os.mkdir(tool)
    shutil.copy(harness.LEAKPROF, tool)
    for path in re.findall(r"(/\S+) \(0x", subprocess.run(["ldd", harness.LEAKPROF], capture_output=True, text=True).stdout):
        shutil.copy(path, tool)
    shutil.copy(dump, os.path.join(root, "x.heap"))
    loader = "/tool/ld-linux-x86-64.so.2"
    done = subprocess.run(["unshare", "--user", "--map-root-user", "chroot", root, loader, "--library-path", "/tool",
                           "/tool/leakprof", "--text", "--show_bytes", "/x.heap"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done
    away = set(harness.rows_of(done.stdout))
    exported = {name for name in away if not re.search(r"\+0x[0-9a-f]+$", name)}
    assert exported and exported <= at_home, exported - at_home
    assert "site_malloc" not in away and any(name.startswith("truth+0x") for name in away), away
    assert not any(re.match(r"(0x)?[0-9a-f]{8,}", name) for name in away), away


if __name__ == "__main__":
    harness.main({name: test for name, test in list(globals().items())
                  if callable(test) and getattr(test, "__module__", "") == "__main__" and name not in ("sizes", "lines_of")})
