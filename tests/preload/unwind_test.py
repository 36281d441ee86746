"""Our walker against libunwind on real programs, and under everything that has stopped an unwinder inside malloc.

LEAKSHIM_SOAK=1: the long forms (scripts/soak.sh).
"""

import collections
import glob
import os
import re
import shutil
import tempfile

import harness

SOAK = os.environ.get("LEAKSHIM_SOAK") == "1"
TWO_WALKS = harness.program("libtwo_walks.so")
DEMO = os.path.join(harness.BUILD, "demo", "demo.jar")
EVERY_CALL = "lg_prof_sample:0"

PYTHON = """
import json, re, collections, threading, zlib
def work(n):
    for i in range(n):
        text = json.dumps({str(k): [k, str(k) * 3, {"x": k / 7}] for k in range(i % 40)})
        json.loads(text)
        re.sub(r"(\\d+)x", lambda m: m.group(1) * 2, text)
        sorted(collections.Counter(text).items(), key=lambda item: str(item))
        zlib.decompress(zlib.compress(text.encode()))
        try: int("no")
        except ValueError as error: str(error)
threads = [threading.Thread(target=work, args=(ROUNDS,)) for _ in range(2)]
[t.start() for t in threads]; work(ROUNDS); [t.join() for t in threads]
"""


def jdks():
    found = {os.path.realpath(path): path for path in [shutil.which("java") or "", *glob.glob("/usr/lib/jvm/*/bin/java")]
             if os.path.exists(path)}
    return list(found.values())


Walks = collections.namedtuple("Walks", "samples equal known frames unknown_code truncated stacks")


def two_walks(command, every, env=None, timeout=120):
    directory = tempfile.mkdtemp(prefix="leakshim-test-")
    out = os.path.join(directory, "walks")
    run = harness.run(command, preload=TWO_WALKS, timeout=timeout * (10 if SOAK else 1), directory=directory,
                      env={"TWO_WALKS_EVERY": str(every), "TWO_WALKS_OUT": out, **(env or {})})
    assert run.status == 0, run
    with open(out) as lines:
        text = lines.read()
    match = re.match(r"samples (\d+) equal (\d+) known (\d+) frames (\d+) outermost \d+ unknown-code (\d+) depth-limit \d+ truncated (\d+)\n",
                     text)
    assert match, text[:300]
    stacks = [tuple(line.split()[1:]) for line in text.splitlines()[1:]]
    return Walks(*(int(n) for n in match.groups()), list(zip(stacks[::2], stacks[1::2])))


def the_two_walks_agree():
    """Pc for pc on 99.99 % of the samples; of those that differ, each must be of a class that is understood.

    Classes, by what the walks ended with at the first pc in which they differ:
      - none is known: on these programs every stack was equal.
    """
    scale = 10 if SOAK else 1
    programs = {
        "exceptions": ([harness.program("odd_stacks"), "exceptions", str(700 * scale)], 2, None),
        "plugins": ([harness.program("odd_stacks"), "plugins", str(1500 * scale)], 1, None),
        "python": (["python3", "-c", PYTHON.replace("ROUNDS", str(150 * scale))], 11, {"PYTHONMALLOC": "malloc"}),
    }
    for java in jdks():
        programs[java] = ([java, "-jar", DEMO, str(4 * scale)], 1, None)
    total = equal = 0
    for name, (command, every, env) in programs.items():
        walks = two_walks(command, every, env)
        print(f"     {name}: {walks.samples} samples, {walks.frames / max(walks.samples, 1):.1f} frames, {walks.known} known, "
              f"{walks.unknown_code} ended in unknown code, {walks.truncated} truncated, {walks.samples - walks.equal} differ")
        assert walks.samples >= 5_000, (name, walks.samples)
        assert walks.equal >= walks.samples * 0.9999, (name, walks.stacks[:3])
        # Stacks that were known without a walk are among them, Java's as well.
        assert walks.known >= walks.samples * 0.02, (name, walks.known)
        total, equal = total + walks.samples, equal + walks.equal
    assert total >= 200_000 and equal >= total * 0.9999, (total, equal)


def nothing_hangs_and_every_stack_is_whole():
    seconds = 120 if SOAK else 15
    run = harness.run([harness.program("odd_stacks"), "all", str(seconds)], conf=EVERY_CALL, timeout=seconds + 45)
    assert run.status == 0 and run.stdout.endswith("fine\n") and run.stderr == "", run
    assert int(re.search(r"rounds (\d+)", run.stdout).group(1)) > 100 * seconds, run.stdout
    dump = harness.Dump(run.dumps[-1])
    dump.check_books()
    assert dump.books["samples"] > 10_000 * seconds, dump.books
    assert dump.books["truncated_stacks"] == 0, dump.books


def libunwind_survives_the_same():
    seconds = 60 if SOAK else 4
    run = harness.run([harness.program("odd_stacks"), "all", str(seconds)], conf=EVERY_CALL + ",prof_unwind:libunwind",
                      timeout=seconds + 45)
    assert run.status == 0 and run.stdout.endswith("fine\n") and run.stderr == "", run


def plugins_that_share_an_address_keep_their_stacks_apart():
    rounds = 50
    run = harness.run([harness.program("odd_stacks"), "plugins", str(rounds)], conf=EVERY_CALL)
    assert run.status == 0 and run.stderr == "", run
    assert int(re.search(r"met again (\d+)", run.stdout).group(1)) >= rounds, run.stdout
    report = harness.leakprof("--text", "--show_bytes", run.dumps[-1])
    assert report.returncode == 0, report
    rows = harness.rows_of(report.stdout)
    for name, kept in (("one", rounds * 1000), ("two", rounds * 3000)):
        for function in (f"allocate_{name}", f"call_{name}"):
            flat, cum = rows[function]
            assert cum == kept, (function, rows)
    # Rules of the wrong one would lose main() on the way.
    dump = harness.Dump(run.dumps[-1])
    assert dump.books["truncated_stacks"] == 0, dump.books
    assert rows["main"][1] >= rounds * 4000, rows


def a_hundred_thousand_frames_are_cut_at_the_limit():
    run = harness.run([harness.program("odd_stacks"), "recursion", "100000"], conf=EVERY_CALL + ",prof_accum:true")
    assert run.status == 0 and run.stderr == "", run
    dump = harness.Dump(run.dumps[-1])
    dump.check_books()
    assert dump.books["truncated_stacks"] == 0, dump.books
    assert max(len(frames) for frames, _, _, _ in dump.stacks) == 128


def a_handler_of_a_stack_overflow_may_allocate():
    for method in ("auto", "fp", "libunwind"):
        run = harness.run([harness.program("odd_stacks"), "overflow"], conf=f"{EVERY_CALL},prof_unwind:{method}")
        assert run.status == 0 and run.stdout == "fine\n" and run.stderr == "", (method, run)


def each_method_names_the_same_functions():
    for method in ("auto", "cfi", "libunwind", "fp"):
        run = harness.run([harness.program("odd_stacks_fp"), "chain", "500"],
                          conf=f"{EVERY_CALL},prof_accum:true,prof_unwind:{method}")
        assert run.status == 0 and run.stderr == "", (method, run)
        report = harness.leakprof("--collapsed", run.dumps[-1])
        assert report.returncode == 0, report
        stacks = [line.rsplit(" ", 1)[0].split(";") for line in report.stdout.splitlines()]
        chains = [stack for stack in stacks if "chain_leaf" in stack]
        assert chains, (method, report.stdout)
        for stack in chains:
            at = stack.index("chain_root")
            assert stack[at - 1:at + 3] == ["main", "chain_root", "chain_middle", "chain_leaf"], (method, stack)


def the_default_never_opens_libunwind():
    run = harness.run(["cat", "/proc/self/maps"], conf=EVERY_CALL)
    assert run.status == 0 and "libleakshim" in run.stdout and "libunwind" not in run.stdout, run.stdout


if __name__ == "__main__":
    harness.main({test.__name__: test for test in (
        the_two_walks_agree, nothing_hangs_and_every_stack_is_whole, libunwind_survives_the_same,
        plugins_that_share_an_address_keep_their_stacks_apart, a_hundred_thousand_frames_are_cut_at_the_limit,
        a_handler_of_a_stack_overflow_may_allocate, each_method_names_the_same_functions,
        the_default_never_opens_libunwind)})
