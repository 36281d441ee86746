"""JVMs that start and end, one after the other: none hangs, and none prints more than it does without us.

Argument: how many at each interval (10).
"""

import os
import subprocess
import sys

import jvms
import harness

STARTS = int(sys.argv.pop(1)) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 10
SECONDS = 60  # a start takes well under one


def starts(conf):
    alone = {jdk: subprocess.run([jvms.java(jdk), "-version"], capture_output=True, text=True, timeout=SECONDS)
             for jdk in jvms.jdks()}
    for number in range(STARTS):
        jdk, expected = list(alone.items())[number % len(alone)]
        run = harness.run([jvms.java(jdk), "-version"], conf=conf, timeout=SECONDS)
        what = f"start {number} of JDK {jdk.release}, {conf}"
        assert run.status == expected.returncode == 0, f"{what}: {run.status}\n{run.stderr}"
        assert (run.stdout, run.stderr) == (expected.stdout, expected.stderr), f"{what}:\n{run.stdout}{run.stderr}"
        for path in run.dumps:
            harness.Dump(path).check_books()


def starts_at_the_default_interval():
    starts(None)


def starts_that_record_everything():
    starts("lg_prof_sample:0")


def starts_of_a_program_that_exits_in_every_way():
    """Return from main, System.exit, Runtime.halt, an uncaught exception: with other threads still running."""
    for jdk in jvms.jdks():
        for way, status in (("return", 0), ("exit", 3), ("halt", 4), ("throw", 1)):
            for conf in (None, "lg_prof_sample:0"):
                command = [jvms.java(jdk), "-cp", jvms.STRESS, "stress.Exit", way]
                run = harness.run(command, conf=conf, timeout=SECONDS)
                what = f"{way} on JDK {jdk.release}, {conf}"
                assert run.status == status, f"{what}: {run.status}\n{run.stderr}"
                others = [line for line in run.stderr.splitlines() if "meant to end" not in line and "\tat stress." not in line]
                assert run.stdout == "" and not others, f"{what}: {run.stdout}{run.stderr}"


def starts_behind_looks_at_what_jvms_there_are():
    """A libjvm that does not run can be unloaded; the one that then runs has its Java frames, wherever it lies.

    The first that is looked at is none that can be read.
    """
    unusable = os.path.join(jvms.PROGRAMS, "unknown_jvm_0", "libjvm.so")
    libraries = [os.path.join(jdk.home, "lib", "server", "libjvm.so") for jdk in jvms.jdks()]
    for chosen in libraries:
        for conf, more in (("lg_prof_sample:0", []), ("lg_prof_sample:0", ["--sandbox"]), ("lg_prof_sample:0,prof_java:false", []),
                           ("lg_prof_sample:0,prof_unwind:libunwind", [])):
            command = [os.path.join(jvms.PROGRAMS, "looks"), *more, unusable,
                       *(other for other in libraries if other != chosen), chosen]
            run = harness.run(command, conf=f"{conf},prof_accum:true", timeout=SECONDS)
            assert (run.status, run.stdout, run.stderr) == (0, "done\n", ""), (command, conf, run)
            dump = harness.Dump(run.dumps[-1])
            dump.check_books()
            named = any(kind != "unknown" for kind, *_ in dump.java.values())
            assert named == ("prof_java:false" not in conf), (command, conf, dump.java)


if __name__ == "__main__":
    harness.main({test.__name__: test for test in (
        starts_at_the_default_interval, starts_that_record_everything, starts_of_a_program_that_exits_in_every_way,
        starts_behind_looks_at_what_jvms_there_are)})
