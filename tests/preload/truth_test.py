"""What is reported is what happened: exactly without sampling, without bias and with the expected spread with it."""

import math
import re
import statistics

import harness


def fields(text, word):
    return re.search(rf"^{word} (.*)$", text, re.M).group(1).split()


def check_sites(report, truth, column, what):
    rows = harness.rows_of(report.stdout)
    for site, numbers in truth.items():
        reported = rows.get(site, (0, 0))[0]
        assert reported == numbers[column], f"{what}: {site}: reported {reported}, true {numbers[column]}\n{report.stdout}"


def every_site_is_exact():
    run = harness.run([harness.program("truth"), "4", "20000"], conf="lg_prof_sample:0,prof_accum:true,prof_final:false")
    assert run.status == 0, run
    assert run.stderr == "", run.stderr
    (path,) = fields(run.stdout, "dump")
    truth = {line.split()[0]: [int(n) for n in line.split()[1:]] for line in run.stdout.splitlines()
             if line.startswith("site_")}
    dump = harness.Dump(path)
    dump.check_books()
    # Each allocation was counted once, however the allocator's functions call each other.
    assert dump.books["unseen_frees"] == 0, dump.books
    for column, flag in enumerate(["--inuse_objects", "--inuse_space", "--alloc_objects", "--alloc_space"]):
        ours = harness.leakprof("--text", "--show_bytes", flag, path)
        assert ours.returncode == 0, ours.stderr
        check_sites(ours, truth, column, f"leakprof {flag}")
        theirs = harness.jeprof("--text", "--show_bytes", flag, harness.program("truth"), path)
        assert theirs.returncode == 0, theirs.stderr
        check_sites(theirs, truth, column, f"jeprof {flag}")


SIZES = [(8, 60_000), (64, 20_000), (1024, 2_000), (16 << 10, 200), (256 << 10, 40), (4 << 20, 8), (64 << 20, 3)]
MIXED = [(24, 30_000), (700, 3_000), (5_000, 500), (90_000, 60), (3 << 20, 5)]
RUNS = 200
LG = 16


def theory(sizes):
    """Mean and standard deviation of the estimate: each block counts s/p with chance p."""
    mean = sum(size * count for size, count in sizes)
    variance = 0.0
    for size, count in sizes:
        p = 1 - math.exp(-size / 2**LG)
        variance += count * size * size * (1 - p) / p
    return mean, math.sqrt(variance)


def check_estimates(name, values, sizes):
    mean, sigma = theory(sizes)
    error = sigma / math.sqrt(len(values))
    average = statistics.fmean(values)
    # Classes above 1 KiB are corrected at their mean size: exact to 0.1 %.
    assert abs(average - mean) <= 3 * error + 1e-3 * mean, \
        f"{name}: mean {average:.0f}, true {mean}, {(average - mean) / error if error else 0:.1f} standard errors"
    spread = statistics.stdev(values)
    # The standard deviation of n normal values is known to 1/sqrt(2n): 4 sigmas. Where nearly every block is a sample the
    # spread is a handful of misses and not normal.
    if sigma > 1e-3 * mean:
        assert abs(spread / sigma - 1) <= 4 / math.sqrt(2 * len(values)) + 0.05, \
            f"{name}: spread {spread:.0f}, theory {sigma:.0f}"


def estimates_are_unbiased_and_spread_as_theory_says():
    arguments = [f"{size}x{count}" for size, count in SIZES] + ["mixed"] + [f"{size}x{count}" for size, count in MIXED]
    by_size = {size: [] for size, _ in SIZES}
    mixed_bytes = []
    for seed in range(RUNS):
        run = harness.run([harness.program("sizes"), *arguments],
                          conf=f"lg_prof_sample:{LG},prof_seed:{seed},prof_final:false")
        assert run.status == 0, run
        dump = harness.Dump(fields(run.stdout, "dump")[0])
        dump.check_books()
        # The stacks of the program's own sites: of each size exactly one, and one with several.
        estimates = {size: 0.0 for size in by_size}
        mixed = 0.0
        for frames, lines, _, _ in dump.stacks:
            total = 0.0
            classes = set()
            for line in lines:
                total += dump.estimate(line)[1]
                classes.add(line[1] / line[0])
            if any(size in classes for size in (24, 700, 5_000, 90_000, 3 << 20)):
                mixed += total
            elif len(classes) == 1 and (size := classes.pop()) in estimates:
                estimates[size] += total
        for size, value in estimates.items():
            by_size[size].append(value)
        mixed_bytes.append(mixed)
    for size, count in SIZES:
        check_estimates(f"{size} B", by_size[size], [(size, count)])
    check_estimates("mixed sizes on one stack", mixed_bytes, MIXED)


def the_same_seed_takes_the_same_samples():
    totals = set()
    for _ in range(3):
        run = harness.run([harness.program("sizes"), "100x50000"], conf="lg_prof_sample:12,prof_seed:7,prof_final:false")
        totals.add(harness.Dump(fields(run.stdout, "dump")[0]).sampled_total())
    assert len(totals) == 1, totals


if __name__ == "__main__":
    harness.main({test.__name__: test for test in (
        every_site_is_exact, estimates_are_unbiased_and_spread_as_theory_says, the_same_seed_takes_the_same_samples)})
