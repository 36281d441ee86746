"""JVMs that start and end, one after the other: none hangs, and none prints more than it does without us.

Argument: how many at each interval (10).
"""

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


if __name__ == "__main__":
    harness.main({test.__name__: test for test in (
        starts_at_the_default_interval, starts_that_record_everything, starts_of_a_program_that_exits_in_every_way)})
