"""The labelled corpus: programs of known guilt run under the library, and leakprof's verdicts on them.

`corpus_test.py [SECONDS]`: each program runs so long (16); longer runs give more dumps. All run side by side: they mostly
sleep. Java's cases need a JDK and are left out where CMake found none.
"""

import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "preload"))
import harness  # noqa: E402

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 16
CONF = "prof_time_interval:1s,lg_prof_sample:16,prof_keep:0"
JAR = os.environ.get("LEAKSHIM_CORPUS_JAR", "")


directories = []


def judge(directory, *arguments):
    directories.append(directory)
    run = harness.leakprof("--json", *arguments, directory)
    assert run.returncode == 0, run.stderr
    processes = json.loads(run.stdout)["processes"]
    return max(processes, key=lambda process: len(process["dumps"]))


def corpus(kind):
    run = harness.run([harness.program("corpus"), kind, str(SECONDS)], conf=CONF, timeout=SECONDS * 3 + 30)
    assert run.status == 0, (run.status, run.stderr)
    return run.directory, judge(run.directory)


def java(kind, *options):
    run = harness.run(["java", *options, "-Xmx256m", "-cp", JAR, "Corpus", kind, str(SECONDS)], conf=CONF,
                      timeout=SECONDS * 3 + 30)
    assert run.status == 0, (run.status, run.stderr)
    return run.directory, judge(run.directory)


def functions(leak):
    names = [frame["function"].replace("(anonymous namespace)::", "") for frame in leak["stack"]]
    return [name.split("(")[0] for name in names]


def verdict_of(process, name):
    """Rank and verdict of the row that shows a function with this name, best rank first."""
    for leak in process["leaks"]:
        if any(name in function for function in functions(leak)):
            return leak["rank"], leak["verdict"]
    return None, None


def others_do_not_grow(process, *leaks):
    for leak in process["leaks"]:
        if leak["verdict"] == "growing" and (leak["share_of_growth"] or 0) > 0.01:
            assert any(name in function for name in leaks for function in functions(leak)), (
                f"called growing: {functions(leak)[:6]} {leak['growth_ci95']}")


def mixed():
    directory, process = corpus("mixed")
    leaks = ["leak_slow", "leak_fast", "leak_bursty", "leak_big_block", "leak_per_request"]
    assert len(process["dumps"]) >= 12, len(process["dumps"])
    ranks = {name: verdict_of(process, name) for name in leaks}
    # The slow one is below 1 % of the growth in short runs and may be left open.
    for name in leaks[1:]:
        assert ranks[name][1] == "growing", f"{name}: {ranks[name]}"
        assert ranks[name][0] <= len(leaks), f"{name}: {ranks[name]}"
    others_do_not_grow(process, *leaks)
    for name in ("hold_startup", "hold_cache", "hold_lru", "hold_pool", "hold_batch", "hold_sawtooth"):
        assert verdict_of(process, name)[1] not in ("growing", "waits for GC"), f"{name}: {verdict_of(process, name)}"
    assert process["verdict"].startswith("growing in malloc"), process["verdict"]
    requests = [leak for leak in process["leaks"] if "leak_per_request" in functions(leak)]
    assert len(requests) == 1, "thirty callers of one leak are one row"
    # The rate that it really leaked: 40 000 bytes every 10 ms and a little.
    fast = next(leak for leak in process["leaks"] if "leak_fast" in functions(leak))
    low, high = fast["growth_ci95"]
    assert 0.6 * 40000 * 100 * 3600 < high and low < 40000 * 100 * 3600, (low, high)
    # With four dumps nothing is guessed.
    files = [dump["file"] for dump in process["dumps"]][4:8]
    run = harness.leakprof("--json", *files)
    few = json.loads(run.stdout)["processes"][0]
    assert few["verdict"].startswith("too few dumps"), few["verdict"]
    assert all(leak["verdict"] == "too few dumps" for leak in few["leaks"])
    # A truncated file among them is told, and the rest reported.
    shutil.copy(files[0], os.path.join(directory, "damaged.9.0.t0.heap"))
    with open(os.path.join(directory, "damaged.9.0.t0.heap"), "r+b") as file:
        file.truncate(1500)
    run = harness.leakprof("--leaks", directory)
    assert "damaged.9.0.t0.heap" in run.stderr and "growing in malloc" in run.stdout, run.stderr


def outside(kind, word):
    def test():
        _, process = corpus(kind)
        seen = process["verdict"], process["growth_by_class"], process["dumps"]
        assert process["verdict"].startswith("growing outside malloc"), seen
        assert word in process["verdict"], seen
    test.__name__ = kind
    return test


def java_native():
    _, process = java("native")
    assert verdict_of(process, "leakDirect")[1] == "growing", verdict_of(process, "leakDirect")
    assert verdict_of(process, "leakStream")[1] == "growing", verdict_of(process, "leakStream")
    assert verdict_of(process, "holdCache")[1] in ("stable", "cache-like", None), verdict_of(process, "holdCache")
    others_do_not_grow(process, "leakDirect", "leakStream")


def java_garbage():
    _, process = java("garbage")
    rank, verdict = verdict_of(process, "holdStream")
    assert verdict in ("waits for GC", "stable"), verdict
    others_do_not_grow(process)
    assert "waits for GC" in process["verdict"], process["verdict"]


def java_per_class():
    _, process = java("perclass")
    assert verdict_of(process, "leakPerClass")[1] == "growing", verdict_of(process, "leakPerClass")
    others_do_not_grow(process, "leakPerClass")


def both_profilers(command):
    """(ours, jemalloc's) of one run, with jemalloc and its own profiler beneath us."""
    jemalloc = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"
    run = harness.run(command, conf=CONF + ",prof_prefix:ours/ours", timeout=SECONDS * 3 + 30,
                      preload=f"{harness.LIBRARY}:{jemalloc}",
                      env={"MALLOC_CONF": "prof:true,lg_prof_sample:16,lg_prof_interval:24,prof_prefix:theirs"})
    assert run.status == 0, (run.status, run.stderr)
    directories.append(run.directory)
    ours = judge(os.path.join(run.directory, "ours"))
    theirs = [process for process in [judge(run.directory)] if process["dumps"]]
    assert theirs and len(theirs[0]["dumps"]) >= 12, theirs
    return ours, theirs[0]


def growing(process):
    return [leak for leak in process["leaks"] if leak["verdict"] in ("growing", "waits for GC")
            and (leak["share_of_growth"] or 0) > 0.03]


def jemallocs_series_of_cpp():
    ours, theirs = both_profilers([harness.program("corpus"), "mixed", str(SECONDS)])
    suspects = [{functions(leak)[0] for leak in growing(process)} for process in (ours, theirs)]
    assert suspects[0] == suspects[1] >= {"leak_fast", "leak_big_block", "leak_bursty"}, suspects


def jemallocs_series_of_java():
    """Jemalloc's stacks end where Java begins: ours are cut there as well."""
    ours, theirs = both_profilers(["java", "-jar", os.environ["LEAKSHIM_DEMO_JAR"], str(SECONDS)])

    def native(leak):
        names = [name for name in functions(leak) if not name.startswith(("java.", "jdk.", "demo.", "["))]
        return names[0] if names else "Unsafe_AllocateMemory0"
    # What our stack has from java.nio down is HotSpot's plumbing there.
    suspects = {"deflateInit2_", "new_entry"}
    for process in (ours, theirs):
        named = {native(leak) for leak in growing(process)[:4]}
        assert suspects <= named, (named, process["leaks"][:4])
    assert any("DirectByteBuffer" in name for leak in growing(ours)[:3] for name in functions(leak)), growing(ours)
    assert any("Unsafe_AllocateMemory0" in name for leak in growing(theirs)[:4] for name in functions(leak)), growing(theirs)


def java_classes():
    _, process = java("classes")
    assert "metaspace: classes" in process["verdict"], process["verdict"]


def demo():
    """The bundled demo: its three leaks lead, at the rates that it tells itself.

    An interval that should hold the truth in 99.8 % of runs is missed by one run in 170, with three of them: a miss
    counts if it comes twice.
    """
    missed = judge_demo()
    if missed:
        print(f"demo: once more: {missed}", flush=True)
        again = judge_demo()
        assert not again, f"twice: {missed}; {again}"


def judge_demo():
    """One run of it. Returns what was outside of its interval, if anything was."""
    run = harness.run(["java", "-jar", os.environ["LEAKSHIM_DEMO_JAR"], str(SECONDS)], conf=CONF, timeout=SECONDS * 3 + 30)
    assert run.status == 0, (run.status, run.stderr)
    truth = {}
    for line in run.stdout.splitlines():
        if line.startswith("truth "):
            fields = dict(field.split("=") for field in line.split()[1:])
            truth[fields["frame"]] = (fields["kind"], int(fields["bytes"]) / SECONDS * 3600)
    process = judge(run.directory)
    missed = []
    for frame, (kind, rate) in truth.items():
        rank, verdict = verdict_of(process, frame)
        if kind != "leak":
            assert verdict not in ("growing", "waits for GC"), f"{frame}: {verdict}"
            continue
        assert rank is not None and rank <= 3, f"{frame}: rank {rank}"
        assert verdict in ("growing", "waits for GC"), f"{frame}: {verdict}"
        low, high = process["leaks"][rank - 1]["growth_ci95"]
        # From 95 % to 99.8 %.
        slack = 0.3 * (high - low)
        if not low - slack <= rate <= high + slack:
            missed.append(f"{frame}: {rate} not within {low} to {high}")
    others_do_not_grow(process, *(frame for frame, (kind, _) in truth.items() if kind == "leak"))
    parts = process["growth_by_class"]
    total = process["rss_growth_bytes_per_hour"]
    assert abs(sum(parts.values()) - total) <= 0.1 * abs(total), (parts, total)
    assert parts["unexplained"] <= 0.1 * total, (parts, total)
    return missed


def releases():
    """Of two releases only the new leak is told apart."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda name: harness.run([harness.program(name), str(SECONDS)], conf=CONF,
                                                      timeout=SECONDS * 3 + 30), ["release1", "release2"]))
    directories.extend(run.directory for run in runs)
    run = harness.leakprof("--diff", "--json", runs[0].directory, runs[1].directory)
    assert run.returncode == 0, run.stderr
    rows = json.loads(run.stdout)["rows"]
    significant = [(row["change"], functions(row)[0]) for row in rows if row["significant"]]
    assert significant == [("new", "leak_sessions")], significant
    assert any(row["renamed"] and functions(row)[0] == "hold_records" for row in rows), "hold_entries was renamed"


def main():
    tests = [mixed, outside("fragments", "arenas"), outside("threads", "mostly named pool-7-*"),
             outside("files", "mapped files"), outside("maps", "anonymous memory"), releases, jemallocs_series_of_cpp]
    if JAR:
        tests += [java_native, java_garbage, java_per_class, java_classes, demo, jemallocs_series_of_java]
    started = time.monotonic()
    failures = 0
    with concurrent.futures.ThreadPoolExecutor(len(tests)) as pool:
        for test, future in [(test, pool.submit(test)) for test in tests]:
            try:
                future.result()
                print(f"ok   {test.__name__}", flush=True)
            except (AssertionError, StopIteration, subprocess.TimeoutExpired) as error:
                failures += 1
                print(f"FAIL {test.__name__}: {error!r}", flush=True)
    if not failures:
        for directory in directories:
            shutil.rmtree(directory, ignore_errors=True)
    print(f"{time.monotonic() - started:.0f} s")
    harness.failed = bool(failures)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
