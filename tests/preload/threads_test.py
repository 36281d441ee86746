"""Threads in every way of living and dying: what they cost is bounded, and none stops being sampled."""

import os
import re

import harness

THREADS = harness.program("threads")
ALL = "lg_prof_sample:0,prof_final:false"
OFTEN = "lg_prof_sample:12,lg_prof_interval:22,prof_keep:0"
RACES = int(os.environ.get("LEAKSHIM_RACES", "1"))  # ctest and scripts/soak.sh ask for more


def fine(*arguments, conf, nested=False, timeout=120):
    run = harness.run([THREADS, *arguments], conf=conf, timeout=timeout)
    assert run.status == 0 and run.stdout.endswith("fine\n") and run.stderr == "", run
    for path in run.dumps:
        harness.Dump(path).check_books(nested=nested)
    return run


def a_hundred_thousand_short_threads_leave_memory_flat():
    run = fine("short", "100000", conf=ALL)
    resident, own = (int(n) for n in re.search(r"grew (-?\d+) KiB, own memory (-?\d+) KiB", run.stdout).groups())
    # Each thread has its name kept, 32 bytes, for as long as its samples could live.
    assert resident < 8 << 10 and own < 4 << 10, run.stdout


def five_thousand_live_threads_cost_little_each():
    run = fine("live", "5000", conf=ALL)
    own = int(re.search(r"own memory (\d+) KiB", run.stdout).group(1))
    assert own < 5000 * 2, f"{own} KiB for 5 000 threads"


def allocations_after_the_threads_end_are_forwarded_and_booked():
    for conf in (ALL, OFTEN):
        fine("destructors", conf=conf)


def cancellation_leaves_nothing_locked():
    for conf in (ALL, OFTEN):
        for _ in range(RACES):
            fine("cancel", conf=conf)


def a_jump_out_of_an_allocation_leaves_no_guard_behind():
    for conf in (ALL, OFTEN):
        fine("jumps", conf=conf)


def handlers_that_allocate_meet_whole_books():
    for conf in (ALL, OFTEN):
        for _ in range(RACES):
            fine("handlers", conf=conf, nested=True)


if __name__ == "__main__":
    harness.main({test.__name__: test for test in (
        a_hundred_thousand_short_threads_leave_memory_flat, five_thousand_live_threads_cost_little_each,
        allocations_after_the_threads_end_are_forwarded_and_booked, cancellation_leaves_nothing_locked,
        a_jump_out_of_an_allocation_leaves_no_guard_behind, handlers_that_allocate_meet_whole_books)})
