"""Limits of memory, files and descriptors, our own and the host's: the host gets what it would get, and the books tell."""

import math
import os
import re
import statistics
import subprocess

import harness

LIMITS = harness.program("limits")


def theory(rate, sizes):
    """Mean and standard deviation of an estimate at this rate: each block counts s/p with chance p."""
    mean = variance = 0.0
    for size, count in sizes:
        p = 1 - math.exp(-size / rate)
        mean += size * count
        variance += count * size * size * (1 - p) / p
    return mean, math.sqrt(variance)


def at_the_memory_cap_totals_stay_unbiased():
    # So many that the interval comes to spread totals by more than the few blocks that are dropped (and told) weigh.
    for conf, sizes in (("lg_prof_sample:0,prof_mem:1M", [(16, 100_000)]),
                        ("lg_prof_sample:0,prof_mem:1M", [(16, 90_000), (700, 9_000), (5_000, 9_000), (90_000, 180)]),
                        ("lg_prof_sample:3,prof_mem:2M", [(40, 200_000)])):
        errors = []
        for _ in range(40):
            run = harness.run([harness.program("sizes"), *[f"{size}x{count}" for size, count in sizes]],
                              conf=f"{conf},prof_final:false")
            assert run.status == 0 and run.stderr == "", run
            dump = harness.Dump(run.stdout.split()[1])
            dump.check_books()
            blocks = sum(count for _, count in sizes)
            assert dump.books["thinned"] > 1000 and dump.books["dropped_memory"] < blocks / 1000, dump.books
            assert dump.books["own_memory"] <= (1 << 20 if "prof_mem:1M" in conf else 2 << 20), dump.books
            assert int(dump.about["interval"]) == dump.rate > 8, dump.about
            mean, sigma = theory(dump.rate, sizes)
            errors.append((dump.estimated_total()[1] - mean) / sigma)
        # Of n values with spread 1: their mean within 4/sqrt(n), their spread within 4/sqrt(2n).
        assert abs(statistics.fmean(errors)) <= 4 / math.sqrt(len(errors)), (conf, sizes, statistics.fmean(errors))
        assert abs(statistics.stdev(errors) - 1) <= 4 / math.sqrt(2 * len(errors)), (conf, sizes, statistics.stdev(errors))


def at_the_memory_cap_threads_share_what_there_is():
    run = harness.run([harness.program("stress"), "4000000", "8000"],
                      conf="lg_prof_sample:0,prof_mem:1M,prof_final:false", timeout=120)
    assert run.status == 0 and run.stderr == "", run
    objects, size = (int(n) for n in re.search(r"^kept (\d+) (\d+)$", run.stdout, re.M).groups())
    dump, empty = (harness.Dump(re.search(rf"^{word} (.*)$", run.stdout, re.M).group(1)) for word in ("dump", "empty"))
    dump.check_books(), empty.check_books()
    assert dump.books["thinned"] > 1000, dump.books
    _, sigma = theory(dump.rate, [(size / objects, objects)])
    estimate = dump.estimated_total()[1] - empty.estimated_total()[1]
    assert abs(estimate - size) <= 5 * sigma + 0.01 * size, f"estimated {estimate:.0f}, true {size}, sigma {sigma:.0f}"
    # A record that was thinned is no false leak: what the blocks leave behind is nothing.
    assert empty.total[0] < dump.total[0] / 20, (empty.total, dump.total)


def address_space_that_runs_out_is_the_hosts_to_see():
    for what in ("as", "realloc"):
        alone = harness.run([LIMITS, what], preload=None)
        assert alone.status == 0 and alone.stdout == "fine\n", alone
        for conf in ("lg_prof_sample:0", "lg_prof_sample:12,lg_prof_interval:24", "lg_prof_sample:19"):
            run = harness.run([LIMITS, what], conf=conf, timeout=120)
            assert run.status == 0 and run.stdout == "fine\n", (what, conf, run)
            # A dump that came just then is told.
            assert re.fullmatch("(leakshim: cannot write dumps to .*: Out of memory; tried again later\n)?", run.stderr), run
            for path in run.dumps:
                harness.Dump(path).check_books()


def without_a_descriptor_left_the_task_still_writes():
    run = harness.run([LIMITS, "nofile"], conf="lg_prof_sample:12,lg_prof_interval:22,prof_keep:0,prof_final:false")
    assert run.status == 0 and run.stdout == "fine\n" and run.stderr == "", run
    assert len(run.dumps) >= 2, run.dumps


def locked_memory_grows_by_what_we_use():
    alone, run = (harness.run([LIMITS, "mlockall"], preload=preload, conf="lg_prof_sample:0,prof_prefix:")
                  for preload in (None, harness.LIBRARY))
    assert alone.status == run.status == 0 and run.stderr == "", (alone, run)
    locked = [int(re.search(r"VmLck:\s+(\d+) kB", each.stdout).group(1)) for each in (alone, run)]
    # Four of it are the filter's, of which without mlockall() little is ever there.
    assert locked[1] - locked[0] < 7 << 10, locked


def a_read_only_file_system_is_one_line():
    directory = harness.tempfile.mkdtemp(prefix="leakshim-test-")
    script = f"""mount -t tmpfs -o ro none {directory} && cd {directory} && LD_PRELOAD={harness.LIBRARY} \
        LEAKSHIM_CONF=lg_prof_sample:8,lg_prof_interval:18 TMPDIR={directory} {harness.program('host')} errno"""
    done = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script], capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 0 and done.stdout == "fine\n", done
    assert done.stderr.count("\n") == 1 and "Read-only file system" in done.stderr, done.stderr


def a_symbolic_link_in_the_way_is_not_followed():
    directory = harness.tempfile.mkdtemp(prefix="leakshim-test-")
    target = os.path.join(directory, "target")
    with open(target, "w") as file:
        file.write("untouched")
    # The dumps' own names are taken by links to a file that must not be written.
    script = f"for i in 0 1; do ln -s {target} leakshim.$$.$i.m0.heap; ln -s {target} leakshim.$$.$i.f0.heap; done; " \
             f"exec {harness.program('sizes')} 1000x2000"
    run = harness.run(["sh", "-c", script], conf="lg_prof_sample:8,prof_only:sizes", directory=directory)
    assert run.status == 0 and run.stderr == "" and open(target).read() == "untouched", run
    written = [path for path in run.dumps if not os.path.islink(path)]
    assert len(written) == 2 and all(os.stat(path).st_mode & 0o777 == 0o600 for path in written), written


if __name__ == "__main__":
    harness.main({test.__name__: test for test in (
        at_the_memory_cap_totals_stay_unbiased, at_the_memory_cap_threads_share_what_there_is,
        address_space_that_runs_out_is_the_hosts_to_see, without_a_descriptor_left_the_task_still_writes,
        locked_memory_grows_by_what_we_use, a_read_only_file_system_is_one_line,
        a_symbolic_link_in_the_way_is_not_followed)})
