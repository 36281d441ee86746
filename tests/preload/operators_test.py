"""Operator new and delete in every form, and jemalloc's extended calls: each block is counted exactly once, whoever
provides the operators, and out of memory is what it is without us."""

import os
import re

import harness

ALL = "lg_prof_sample:0,prof_final:false"
PLUGIN = os.path.join(harness.PROGRAMS, "liboperators_plugin.so")
ALLOCATORS = {"glibc": None, "jemalloc": "libjemalloc.so.2", "tcmalloc": "libtcmalloc_minimal.so.4",
              "mimalloc": "libmimalloc.so.2.0"}
FORMS, ROUNDS, BYTES = 12, 100, 72


def preloads():
    for name, library in ALLOCATORS.items():
        if library is None:
            yield name, harness.LIBRARY, None
        else:
            path = f"/usr/lib/x86_64-linux-gnu/{library}"
            yield name, f"{harness.LIBRARY}:{path}", path


def programs():
    """(how, command, preload with us, preload without us)"""
    for name, preload, alone in preloads():
        yield f"linked, {name} preloaded", [harness.program("operators")], preload, alone
        yield f"static, {name} preloaded", [harness.program("operators_static")], preload, alone
        yield f"late, {name} preloaded", [harness.program("operators_late"), PLUGIN], preload, alone
        if alone:
            yield f"linked with {name}", [harness.program(f"operators_{name}")], harness.LIBRARY, None


def dumps_of(run):
    return {word: harness.Dump(path) for word, path in re.findall(r"^(alive|grown|gone) (\S+)$", run.stdout, re.M)}


def every_form_is_counted_exactly_once():
    for how, command, preload, _ in programs():
        run = harness.run([*command, "forms"], conf=ALL, preload=preload)
        assert run.status == 0 and run.stderr == "", (how, run)
        counted = re.findall(r"^(.*): (\d+) of (\d+)$", run.stdout, re.M)
        assert len(counted) == FORMS and all(samples == rounds for _, samples, rounds in counted), (how, run.stdout)
        dumps = dumps_of(run)
        for dump in dumps.values():
            dump.check_books()
            assert dump.books["unseen_frees"] == 0, (how, dump.books)
        objects, size = (dumps["alive"].total[i] - dumps["gone"].total[i] for i in range(2))
        assert objects == FORMS * ROUNDS, (how, objects)
        # libstdc++'s aligned forms round the size up to the alignment, and we see what it asks for.
        assert FORMS * ROUNDS * BYTES <= size <= FORMS * ROUNDS * 128, (how, size)


def out_of_memory_is_what_it_is_without_us():
    for how, command, preload, alone_preload in programs():
        if "mimalloc" in how:
            continue  # its C build ends the process instead of throwing, alone as with us
        alone = harness.run([*command, "throw"], preload=alone_preload)
        for conf in (ALL, "prof_seed:3"):
            run = harness.run([*command, "throw"], conf=conf, preload=preload)
            # jemalloc's nothrow forms end the process where a handler throws, alone too.
            assert run.status == alone.status and run.status in (0, -6), (how, alone, run)
            assert (run.stdout, run.stderr) == (alone.stdout, alone.stderr), (how, run, alone)
        assert "mine after" in run.stdout and "bad_alloc after 3" in run.stdout, (how, run.stdout)


def a_program_with_operators_of_its_own_keeps_them():
    for name, preload, alone_preload in preloads():
        alone = harness.run([harness.program("operators_replaced")], preload=alone_preload)
        run = harness.run([harness.program("operators_replaced")], conf=ALL, preload=preload)
        assert (run.status, run.stdout, run.stderr) == (alone.status, alone.stdout, alone.stderr), (name, run, alone)
    run = harness.run([harness.program("operators_replaced")], conf=ALL)
    assert run.status == 0 and "5 news, 5 deletes" in run.stdout, run


def extended_calls_are_counted_where_jemalloc_is_behind_and_work_elsewhere():
    for name, preload, _ in preloads():
        run = harness.run([harness.program("operators"), "extended"], conf=ALL, preload=preload)
        assert run.status == 0 and "extended fine" in run.stdout and run.stderr == "", (name, run)
        dumps = dumps_of(run)
        alive, grown, gone = (dumps[word].total for word in ("alive", "grown", "gone"))
        assert [alive[i] - gone[i] for i in range(2)] == [ROUNDS, ROUNDS * 1000], (name, alive, gone)
        assert [grown[i] - gone[i] for i in range(2)] == [ROUNDS, ROUNDS * 100_000], (name, grown, gone)
        for dump in dumps.values():
            dump.check_books()
            assert dump.books["unseen_frees"] == 0, (name, dump.books)


if __name__ == "__main__":
    harness.main({test.__name__: test for test in (
        every_form_is_counted_exactly_once, out_of_memory_is_what_it_is_without_us,
        a_program_with_operators_of_its_own_keeps_them,
        extended_calls_are_counted_where_jemalloc_is_behind_and_work_elsewhere)})
