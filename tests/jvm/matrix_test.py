"""The stress program under every collector, compiler and memory layout: undisturbed, and its Java frames whole and right.

Without arguments each configuration once, by turns on the JDKs that are there, for a second each. --long: each on every
JDK, for longer. A test's name after that runs it alone.
"""

import concurrent.futures
import os
import sys

import jvms
import harness

LONG = "--long" in sys.argv
SECONDS = 10 if LONG else 1
ABREAST = 2  # JVMs at a time; more only make each other late

COMPILERS = {
    "default": [],
    "interpreter": ["-Xint"],
    "compile at once": ["-Xcomp"],
    "C1": ["-XX:TieredStopAtLevel=1"],
    "C2": ["-XX:-TieredCompilation"],
}
OTHERS = {
    "uncompressed": ["-XX:-UseCompressedOops", "-XX:-UseCompressedClassPointers", "-Xshare:off"],
    "no shared archive": ["-Xshare:off"],
    "native memory tracking": ["-XX:NativeMemoryTracking=detail"],
    "checked JNI": ["-Xcheck:jni"],
    "small stacks": ["-Xss256k"],
    "one code heap": ["-XX:-SegmentedCodeCache"],
    "frames without inlining": ["-XX:-Inline"],
}


def in_turn(cells):
    """[(jdk, flags)]: every cell on every JDK, or each on the next."""
    jdks = jvms.jdks()
    if LONG:
        return [(jdk, flags) for flags in cells for jdk in jdks]
    return [(jdks[i % len(jdks)], flags) for i, flags in enumerate(cells)]


def all_of(runs, judge):
    """Runs `judge` of each, a few abreast; fails with everything that failed."""
    failed = []
    with concurrent.futures.ThreadPoolExecutor(min(ABREAST, os.cpu_count())) as pool:
        pending = {pool.submit(judge, *run): run for run in runs}
        for done in concurrent.futures.as_completed(pending):
            try:
                print(f"     {done.result()}", flush=True)
            except AssertionError as error:
                failed.append(str(error))
    assert not failed, f"{len(failed)} of {len(runs)}:\n" + "\n".join(failed)


def sampled(jdk, flags):
    what, result = jvms.stress(jdk, flags, SECONDS, timeout=SECONDS + 120)
    figures = jvms.check_java(what, result)
    kinds = {frame[0] for frame in result.dump.java.values()}
    if "-Xint" in flags:
        assert not kinds & {"compiled", "inlined"}, f"{what}: {kinds}"
    if "-Xcomp" in flags:
        assert "compiled" in kinds, f"{what}: {kinds}"
    return f"{what}: {figures}"


def every_collector_with_every_compiler():
    cells = [(collector, flags) for flags in COMPILERS.values() for collector in ("G1", "Serial", "Parallel", "Z", "Shenandoah")]
    runs = in_turn(cells)
    have = {jdk: jvms.collectors(jdk) for jdk in {jdk for jdk, _ in runs}}
    all_of([(jdk, [f"-XX:+Use{collector}GC", *flags]) for jdk, (collector, flags) in runs if collector in have[jdk]], sampled)


def other_layouts():
    all_of(in_turn(list(OTHERS.values())), sampled)


def every_block_of_classes_that_come_and_go():
    """Every allocation is recorded, so each block that the program counted must be there, under the names it knows."""
    def recorded(jdk, flags):
        what, result = jvms.stress(jdk, flags, 3 * SECONDS, works=("classes", "hot", "collector"), conf="lg_prof_sample:0",
                                   timeout=3 * SECONDS + 120)
        return f"{what}: {jvms.check_java(what, result, all_recorded=True)}"
    all_of([(jdk, flags) for jdk in jvms.jdks() for flags in ([], ["-Xint"], ["-XX:TieredStopAtLevel=1"])], recorded)


if __name__ == "__main__":
    sys.argv = [argument for argument in sys.argv if argument != "--long"]
    harness.main({test.__name__: test for test in (
        every_collector_with_every_compiler, other_layouts, every_block_of_classes_that_come_and_go)})
