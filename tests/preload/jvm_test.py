"""A real JVM under the shim: it notices nothing, and its dumps are read by stock jeprof and by leakprof to the same sums."""

import glob
import os
import re
import shutil

import harness

JAVA = os.path.realpath(shutil.which("java"))
DEMO = os.path.join(harness.BUILD, "demo", "demo.jar")
SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "scripts", "demo", "java", "demo")


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


def line_of(source, text):
    """The number of the one line of the demo's source that holds `text`."""
    with open(os.path.join(SOURCES, source), encoding="utf-8") as lines:
        found = [number for number, line in enumerate(lines, 1) if text in line]
    assert len(found) == 1, (source, text, found)
    return found[0]


def worker(source, *calls):
    """The demo's frames below a leak, leaf first: `calls` are (method, text of its line) in `source`, then the thread's.

    The streams are main's own work."""
    frames = [("demo." + source, method, line_of(source + ".java", text)) for method, text in calls]
    frames.append(("demo.Pace", "run", line_of("Pace.java", "work.upTo(share)")))
    if source == "ForgottenStreams":
        frames.append(("demo.Main", "main", line_of("Main.java", "pace.run(streams")))
    else:
        frames.append(("demo.Main", "lambda$start", line_of("Main.java", "pace.run(work)")))
    return frames


def the_demos_leaks_are_unbroken_stacks_with_right_lines():
    run = harness.run(["java", "-jar", DEMO, "4"], timeout=120)
    assert run.status == 0 and run.stderr == "", run.stderr
    dump = harness.Dump(run.dumps[-1])
    truth = dict(re.findall(r"^truth site=(\w+) .*kind=leak bytes=(\d+)", run.stdout, re.M))
    # What C calls last, how the JDK goes on, and the demo's part.
    leaks = {
        "zlib": (["deflateInit2_", "Java_java_util_zip_Deflater_init"],
                 [("java.util.zip.Deflater", "init"), ("java.util.zip.Deflater", "<init>")],
                 worker("ForgottenStreams", ("openWithoutEnd", "new Deflater()"), ("openUpTo", "openWithoutEnd();"))),
        "jni": (["Java_demo_NativeIndex_remember"], [("demo.NativeIndex", "remember")],
                worker("NativeIndex", ("addWithoutRemove", "!remember("), ("addUpTo", "addWithoutRemove();"))),
        "direct": ([], [("jdk.internal.misc.Unsafe", "allocateMemory0"), ("jdk.internal.misc.Unsafe", "allocateMemory"),
                        ("java.nio.DirectByteBuffer", "<init>"), ("java.nio.ByteBuffer", "allocateDirect")],
                   worker("SessionBuffers", ("putWithoutExpiry", "allocateDirect("), ("acceptUpTo", "putWithoutExpiry(sess"))),
    }
    for site, (native, library, demo) in leaks.items():
        right = 0
        for frames, lines, _, extra in dump.stacks:
            java = [dump.java[frame] for frame in frames if frame in dump.java]
            if demo[0][:2] not in [(frame[1], frame[2]) for frame in java]:
                continue
            shown = "\n  ".join([dump.symbol(frame) for frame in frames if frame in dump.pcs] + [str(frame) for frame in java])
            first = next(i for i, frame in enumerate(frames) if frame in dump.java)
            above = [dump.symbol(frame) for frame in frames[:first]]
            if site == "zlib" and "deflateInit2_" not in above:
                continue  # the small blocks beside zlib's: the z_stream, locks
            if java[0][0] == "compiling" or any(re.match(r"(\w+Runtime|Runtime1)::", name) for name in above):
                continue  # the VM's own: while it compiles the method, or links a call in it
            assert above[len(above) - len(native):] == native, f"{site}:\n  {shown}"
            assert all(frame in dump.java for frame in frames[first:first + len(java)]), f"{site}:\n  {shown}"
            assert java[0][0] == "native" and "truncated" not in extra, f"{site}:\n  {shown}"
            # Hidden frames of lambdas lie between; constructors call each other.
            named = [frame[1:4] for frame in java if "$$Lambda" not in frame[1]]
            split = next(i for i, frame in enumerate(named) if frame[:2] == demo[0][:2])
            steps = [frame[:2] for frame in named[:split]]
            assert [step for i, step in enumerate(steps) if i == 0 or step != steps[i - 1]] == library, f"{site}:\n  {shown}"
            assert all(line > 0 for _, _, line in named[1:split]), f"{site}:\n  {shown}"
            rest = [(where, re.sub(r"\$\d+$", "", method), line) for where, method, line in named[split:]]
            assert rest[:len(demo)] == demo, f"{site}: not {demo}\n  {shown}"
            thread = {("java.lang.Thread", "run"), ("java.lang.Thread", "runWith")}
            assert {frame[:2] for frame in rest[len(demo):]} <= thread, f"{site}:\n  {shown}"
            assert rest[-1][:2] == ("demo.Main", "main") if site == "zlib" else rest[-1][:2] in thread, f"{site}:\n  {shown}"
            right += sum(dump.estimate(line)[1] for line in lines)
        leaked = int(truth[site])
        assert abs(right - leaked) <= 5 * (leaked * 2**19) ** 0.5, f"{site}: {right} of {leaked} bytes under its stack"
    report = harness.leakprof("--collapsed", run.dumps[-1])
    assert "java.util.zip.Deflater.<init>;java.util.zip.Deflater.init;Java_java_util_zip_Deflater_init;deflateInit2_" \
        in report.stdout, report.stdout[:3000]


def starts_and_exits_are_silent():
    for conf in (None, "lg_prof_sample:0"):
        for _ in range(5):
            run = harness.run(["java", "-version"], conf=conf, timeout=60)
            assert run.status == 0 and "leakshim" not in run.stderr, run.stderr


if __name__ == "__main__":
    harness.main({test.__name__: test for test in (
        the_well_known_command_with_only_the_librarys_name_replaced, every_collector_and_no_word_from_us,
        the_demos_leaks_are_its_first_rows, the_demos_leaks_are_unbroken_stacks_with_right_lines,
        starts_and_exits_are_silent)})
