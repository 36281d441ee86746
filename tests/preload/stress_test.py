"""The live set is exact at the end of many operations in which threads free and resize each other's blocks."""

import re

import harness


def dump_named(run, word):
    return harness.Dump(re.search(rf"^{word} (.*)$", run.stdout, re.M).group(1))


def ten_million_operations_recorded_one_by_one():
    run = harness.run([harness.program("stress"), "10000000", "1000"], conf="lg_prof_sample:0,prof_final:false", timeout=300)
    assert run.status == 0 and run.stderr == "", run
    objects, size = (int(n) for n in re.search(r"^kept (\d+) (\d+)$", run.stdout, re.M).groups())
    before, dump, empty = (dump_named(run, word) for word in ("before", "dump", "empty"))
    for each in (before, dump, empty):
        each.check_books()
        assert each.books["dropped_memory"] == 0, each.books
    # What the program keeps for itself (its lists, its threads' stacks of lists) is alive at the end too.
    grown = [dump.total[i] - empty.total[i] for i in range(2)]
    assert grown == [objects, size], f"reported {grown}, true {[objects, size]}"
    assert dump.books["samples"] >= 5_000_000


def a_thousand_million_operations_sampled():
    run = harness.run([harness.program("stress"), "1000000000", "20000"], conf="lg_prof_sample:12,prof_final:false",
                      timeout=600)
    assert run.status == 0 and run.stderr == "", run
    objects, size = (int(n) for n in re.search(r"^kept (\d+) (\d+)$", run.stdout, re.M).groups())
    dump, empty = dump_named(run, "dump"), dump_named(run, "empty")
    for each in (dump, empty):
        each.check_books()
        assert each.books["dropped_memory"] == 0, each.books
    # Every sample of a kept block is gone once the block is freed: what is left is the program's own, a few samples of its
    # lists, the same before and after.
    left = empty.total[0]
    assert left <= 40, f"{left} samples of freed blocks are still alive"
    estimate = dump.estimated_total()[1] - empty.estimated_total()[1]
    samples = dump.total[0] - empty.total[0]
    sigma = (size * 4096) ** 0.5
    assert abs(estimate - size) <= 4 * sigma, f"estimated {estimate:.0f}, true {size}, {samples} samples, sigma {sigma:.0f}"


if __name__ == "__main__":
    harness.main({test.__name__: test for test in (
        ten_million_operations_recorded_one_by_one, a_thousand_million_operations_sampled)})
