"""A real JVM under the shim: it notices nothing, and its dumps are read by stock jeprof and by leakprof to the same sums."""

import glob
import os
import re
import shutil

import harness

JAVA = os.path.realpath(shutil.which("java"))
DEMO = os.path.join(harness.BUILD, "demo", "demo.jar")


def total(report):
    match = re.match(r"Total: (\d+) B", report)
    assert match, report[:200]
    return int(match.group(1))


def the_well_known_command_with_only_the_librarys_name_replaced():
    run = harness.run(["java", "-jar", DEMO, "3"], timeout=120,
                      env={"MALLOC_CONF": "prof:true,lg_prof_interval:26,lg_prof_sample:16,prof_final:true"})
    assert run.status == 0 and run.stderr == "", run.stderr
    names = [os.path.basename(path) for path in run.dumps]
    assert all(re.fullmatch(r"jeprof\.\d+\.\d+\.(i\d+|f0)\.heap", name) for name in names), names
    assert sum(".f0." in name for name in names) == 1 and len(names) >= 3, names
    for path in run.dumps:
        harness.Dump(path).check_books()
        theirs = harness.jeprof("--show_bytes", "--text", JAVA, path)
        assert theirs.returncode == 0, theirs
        complaints = [line for line in theirs.stderr.splitlines() if not line.startswith("Using local file ")]
        assert not complaints, complaints
        ours = harness.leakprof("--show_bytes", "--text", path)
        assert ours.returncode == 0, ours
        assert total(ours.stdout) == total(theirs.stdout), (ours.stdout[:60], theirs.stdout[:60])


def every_collector_and_no_word_from_us():
    for collector in ("Serial", "Parallel", "G1", "Z", "Shenandoah"):
        run = harness.run(["java", f"-XX:+Use{collector}GC", "-jar", DEMO, "1"], timeout=120,
                          conf="lg_prof_sample:12,lg_prof_interval:22,prof_keep:0")
        assert run.status == 0 and run.stderr == "", (collector, run.stderr)
        assert len(run.dumps) >= 3, (collector, run.dumps)
        for path in run.dumps:
            harness.Dump(path).check_books()


def the_demos_leaks_are_its_first_rows():
    run = harness.run(["java", "-jar", DEMO, "4"], timeout=120)
    assert run.status == 0 and run.stderr == "", run.stderr
    dump = harness.Dump(run.dumps[-1])
    dump.check_books()
    truth = {match[0]: int(match[1]) for match in
             re.findall(r"^truth site=(\w+) .*kind=leak .*bytes=(\d+)", run.stdout, re.M)}
    assert len(truth) == 3, run.stdout
    report = harness.leakprof("--text", "--show_bytes", run.dumps[-1])
    rows = harness.rows_of(report.stdout)
    first = list(rows)[:3]
    for site, function in (("zlib", "deflateInit2_"), ("jni", "new_entry"), ("direct", "java.nio.DirectByteBuffer.<init>")):
        flat = [rows[function][0]] if function in first else []
        assert flat, (function, report.stdout)
        # One standard error of a leak of b bytes at the default interval is sqrt(b x 512 KiB); five of them.
        assert abs(flat[0] - truth[site]) <= 5 * (truth[site] * 2**19) ** 0.5, (site, flat, truth)


def starts_and_exits_are_silent():
    for conf in (None, "lg_prof_sample:0"):
        for _ in range(5):
            run = harness.run(["java", "-version"], conf=conf, timeout=60)
            assert run.status == 0 and "leakshim" not in run.stderr, run.stderr


if __name__ == "__main__":
    harness.main({test.__name__: test for test in (
        the_well_known_command_with_only_the_librarys_name_replaced, every_collector_and_no_word_from_us,
        the_demos_leaks_are_its_first_rows, starts_and_exits_are_silent)})
