"""The host does not notice: what it waits for, closes, blocks and becomes is as it was without us."""

import os
import re
import subprocess
import time

import harness

# A dump every MiB, several hundred in a run.
OFTEN = "lg_prof_sample:12,lg_prof_interval:20,prof_keep:0"


def host(what, dumps=True, conf=OFTEN, nested=False):
    run = harness.run([harness.program("host"), what], conf=conf, timeout=120)
    assert run.status == 0 and run.stdout == "fine\n", run
    assert run.stderr == "", run.stderr
    if dumps:
        # A dump that is due while another is written waits for it: a short run may have few.
        assert len(run.dumps) >= 2, run.dumps
    for path in run.dumps:
        harness.Dump(path).check_books(nested=nested)
    return run


def waitpid_meets_the_hosts_children_alone():
    host("wait")


def a_single_threaded_host_may_unshare():
    host("unshare")


def a_host_that_gives_up_root_stays_unprivileged():
    directory = harness.tempfile.mkdtemp(prefix="leakshim-test-")
    os.chmod(directory, 0o777)
    run = harness.run([harness.program("host"), "setuid"], conf=OFTEN, directory=directory)
    assert run.status == 0 and run.stdout == "fine\n" and run.stderr == "", run
    assert len(run.dumps) >= 2, run.dumps


def under_seccomp_the_thread_that_noticed_writes():
    run = host("seccomp")
    assert all(harness.Dump(path).maps for path in run.dumps)


def signals_reach_the_host_and_no_task():
    host("signals", nested=True)


def a_closed_pipe_is_closed_for_its_reader():
    host("pipes")


def errno_is_left_alone():
    host("errno")
    run = harness.run([harness.program("host"), "errno"], conf="lg_prof_sample:0,prof_prefix:/proc/x/y,lg_prof_interval:16")
    assert run.status == 0 and run.stdout == "fine\n", run
    assert run.stderr.count("\n") == 1 and "cannot write dumps to /proc/x/y" in run.stderr, run.stderr


def edge_cases_are_those_of_the_next_allocator():
    allocators = {None: [], "libjemalloc.so.2": ["common"], "libtcmalloc_minimal.so.4": ["common"],
                  "libmimalloc.so.2.0": ["common"]}
    for allocator, arguments in allocators.items():
        behind = f"/usr/lib/x86_64-linux-gnu/{allocator}" if allocator else None
        alone = harness.run([harness.program("edges"), *arguments], preload=behind)
        assert alone.status == 0 and alone.stdout.count("\n") > 80, alone
        for conf in ("lg_prof_sample:0", "lg_prof_sample:4,prof_seed:1", "lg_prof_sample:19"):
            run = harness.run([harness.program("edges"), *arguments], conf=conf,
                              preload=f"{harness.LIBRARY}:{behind}" if behind else harness.LIBRARY)
            assert (run.status, run.stdout, run.stderr) == (alone.status, alone.stdout, alone.stderr), (allocator, run, alone)
            before, after = (harness.Dump(path) for path in run.dumps if ".m" in path.rsplit("/", 1)[1])
            before.check_books(), after.check_books()
            assert before.total[:2] == after.total[:2], (allocator, conf, before.total, after.total)
            assert after.books["unseen_frees"] == after.books["dropped_memory"] == 0, (allocator, after.books)


def blocks_from_before_our_constructor_stay_valid():
    early = os.path.join(harness.PROGRAMS, "libbootstrap_constructor.so")
    for order in (f"{harness.LIBRARY}:{early}", f"{early}:{harness.LIBRARY}"):
        run = harness.run([harness.program("edges")], conf="lg_prof_sample:0", preload=order)
        assert run.status == 0 and "early blocks fine" in run.stdout and run.stderr == "", run


def another_allocator_in_front_is_told_in_one_line():
    jemalloc = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"
    run = harness.run(["/bin/true"], conf="lg_prof_sample:0", preload=f"{jemalloc}:{harness.LIBRARY}")
    assert run.status == 0 and run.stderr.count("\n") == 1 and "libjemalloc.so.2" in run.stderr, run
    assert not run.dumps
    for allocator in ("libjemalloc.so.2", "libtcmalloc_minimal.so.4", "libmimalloc.so.2.0"):
        path = f"/usr/lib/x86_64-linux-gnu/{allocator}"
        run = harness.run([harness.program("edges")], conf="lg_prof_sample:0", preload=f"{harness.LIBRARY}:{path}")
        # Alone, jemalloc and tcmalloc may fall over what they lack of the family and glibc's answers for; with us the
        # family is whole. Where they stand, the answers are theirs.
        alone = harness.run([harness.program("edges")], preload=path)
        assert run.status == 0 and len(run.dumps) == 3, (allocator, run)
        if alone.status == 0:
            assert (run.stdout, run.stderr) == (alone.stdout, alone.stderr), (allocator, run, alone)


def a_helper_that_samples_nothing_leaves_nothing():
    run = harness.run(["/bin/sh", "-c", "for i in 1 2 3 4 5; do /bin/ls / > /dev/null; done; (true); /bin/echo hi"],
                      conf="prof_seed:7")  # a seed whose first gap is long: by chance a helper may be sampled, and then it tells
    assert run.stdout == "hi\n" and run.stderr == "" and os.listdir(run.directory) == [], run


def a_pid_namespace_gives_two_processes_the_same_name():
    directory = harness.tempfile.mkdtemp(prefix="leakshim-test-")
    sizes = harness.program("sizes")
    for _ in range(3):
        done = subprocess.run(["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "env",
                               f"LD_PRELOAD={harness.LIBRARY}", "LEAKSHIM_CONF=lg_prof_sample:10", sizes, "1000x500"],
                              cwd=directory, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and done.stderr == "", done
        time.sleep(0.05)  # a start time is known to 10 ms
    dumps = harness.dumps_in(directory)
    assert len(dumps) == 6, dumps
    assert len({harness.Dump(path).about["start_time"] for path in dumps}) == 3


def a_program_in_parts_has_whole_stacks():
    run = harness.run([harness.program("apart")], conf="lg_prof_sample:0")
    assert run.status == 0 and run.stderr == "", run
    dump = harness.Dump(run.dumps[-1])
    assert dump.books["truncated_stacks"] == 0, dump.books
    rows = harness.rows_of(harness.leakprof("--text", "--show_bytes", run.dumps[-1]).stdout)
    assert rows["allocate_apart"][0] == 500_000 and rows["main"][1] == 500_000, rows


if __name__ == "__main__":
    harness.main({test.__name__: test for test in (
        waitpid_meets_the_hosts_children_alone, a_single_threaded_host_may_unshare,
        a_host_that_gives_up_root_stays_unprivileged, under_seccomp_the_thread_that_noticed_writes,
        signals_reach_the_host_and_no_task, a_closed_pipe_is_closed_for_its_reader, errno_is_left_alone,
        edge_cases_are_those_of_the_next_allocator, blocks_from_before_our_constructor_stay_valid,
        another_allocator_in_front_is_told_in_one_line, a_helper_that_samples_nothing_leaves_nothing,
        a_pid_namespace_gives_two_processes_the_same_name, a_program_in_parts_has_whole_stacks)})
