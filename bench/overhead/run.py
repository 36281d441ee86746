#!/usr/bin/env python3
"""What the library costs whole programs, beside its peers: every command runs under each arm in turn, round after round.

    bench/overhead/run.py build/release              all of it: a quarter of an hour and more
    bench/overhead/run.py build/release --quick      two minutes, one table
    bench/overhead/run.py build/release --instructions   counted by callgrind, which does not wobble

CPU is user and system time of the command and its children, peak memory that of the largest of them (cost_of.c); loops
(loops.cc) report the CPU time of an operation themselves, without start-up. A ratio is taken within a round, where both
runs follow each other, so that a machine whose speed drifts does not decide; shown are the median of the rounds and the
quartiles. Every run is cut off after some minutes; a command that fails is told, not counted.
"""

import argparse
import collections
import glob
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import workloads

LIBRARIES = "/usr/lib/x86_64-linux-gnu"
LIMIT_SECONDS = 600

# preload: libraries in front; base: the arm that its ratios are over; shorter: how many times shorter loops run.
Arm = collections.namedtuple("Arm", "name preload env base shorter rounds", defaults=("alone", 1, 0))


def find_arms(build):
    """Arms whose libraries are there; a line for each that is left out."""
    shim = os.path.join(build, "libleakshim.so")
    jemalloc = os.path.join(LIBRARIES, "libjemalloc.so.2")
    tcmalloc = os.path.join(LIBRARIES, "libtcmalloc.so.4")
    heaptrack = next(iter(glob.glob("/usr/lib/heaptrack/libheaptrack_preload.so") +
                          glob.glob(f"{LIBRARIES}/heaptrack/libheaptrack_preload.so")), "libheaptrack_preload.so")
    every = [
        Arm("alone", [], {}),
        Arm("forward", [os.path.join(build, "libforward.so")], {}),
        Arm("leakshim", [shim], {}),
        Arm("jemalloc", [jemalloc], {}),
        Arm("je prof", [jemalloc], {"MALLOC_CONF": "prof:true,lg_prof_sample:19"}, "jemalloc"),
        Arm("leakshim/je", [shim, jemalloc], {}, "jemalloc"),
        Arm("tcmalloc", [tcmalloc], {}),
        Arm("tc sample", [tcmalloc], {"TCMALLOC_SAMPLE_PARAMETER": "524288"}, "tcmalloc"),
        # It takes part in few rounds: it is many times slower, and no noise hides that.
        Arm("heaptrack", [heaptrack], {"DUMP_HEAPTRACK_OUTPUT": "heaptrack.$$"}, "alone", 20, 1),
        # For single questions, see README.md; not part of the tables.
        Arm("forward direct", [os.path.join(build, "libforward_direct.so")], {}),
        Arm("leakshim 16", [shim], {"LEAKSHIM_CONF": "lg_prof_sample:16"}),
        Arm("je prof 16", [jemalloc], {"MALLOC_CONF": "prof:true,lg_prof_sample:16"}, "jemalloc"),
        Arm("leakshim 0", [shim], {"LEAKSHIM_CONF": "lg_prof_sample:0"}, "alone", 20),
    ]
    found = []
    for arm in every:
        missing = [library for library in arm.preload if not os.path.exists(library)]
        if missing:
            print(f"left out: {arm.name}, no {', '.join(missing)}")
        else:
            found.append(arm)
    return found


IN_TABLES = ("alone", "forward", "leakshim", "jemalloc", "je prof", "leakshim/je", "tcmalloc", "tc sample", "heaptrack")
IN_QUICK = ("alone", "leakshim", "jemalloc", "je prof", "leakshim/je")

Run = collections.namedtuple("Run", "cpu_s rss_mb per_op_ns")


class Failed(Exception):
    pass


def settings(workload, arm):
    env = {**arm.env, **workload.env}
    if arm.preload:
        env["LD_PRELOAD"] = ":".join(arm.preload)
    return env


def outer_environment():
    return {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "LEAKSHIM_CONF", "MALLOC_CONF")}


def left_behind(directory):
    """Dumps and raw output of the last run, which the next must not meet."""
    for pattern in ("leakshim.*", "heaptrack.*", "jeprof.*"):
        for path in glob.glob(os.path.join(directory, pattern)):
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)


def measure(build, workload, arm):
    left_behind(workload.directory)
    cost_file = os.path.join(workload.directory, "cost")
    command = [os.path.join(build, "cost_of"), cost_file, *(f"{k}={v}" for k, v in settings(workload, arm).items()),
               *workload.arguments(arm.shorter)]
    process = subprocess.Popen(command, cwd=workload.directory, env=outer_environment(), stdin=subprocess.DEVNULL,
                               stdout=workload.stdout, stderr=subprocess.PIPE, start_new_session=True)
    limit = threading.Timer(LIMIT_SECONDS, lambda: os.killpg(process.pid, signal.SIGKILL))
    limit.start()
    try:
        workload.drive()
        output, errors = process.communicate()
    finally:
        limit.cancel()
    if process.returncode != 0:
        raise Failed(f"{workload.name} under {arm.name}: status {process.returncode}: {errors.decode(errors='replace')[-300:]}")
    with open(cost_file) as costs:
        cpu_us, rss_kb = map(int, costs.read().split())
    match = re.search(rb"cpu_ns_per_op ([\d.]+)", output or b"")
    return Run(cpu_us / 1e6, rss_kb / 1024, float(match.group(1)) if match else None)


def count(workload, arm, shorter):
    """Instructions of the command and its children."""
    left_behind(workload.directory)
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(["valgrind", "--tool=callgrind", "--trace-children=yes", f"--callgrind-out-file={directory}/out.%p",
                               *workload.arguments(shorter)], cwd=workload.directory,
                              env={**outer_environment(), **settings(workload, arm)}, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=LIMIT_SECONDS,
                              errors="replace")
    counts = [int(n) for n in re.findall(r"Collected : (\d+)", done.stderr)]
    if done.returncode != 0 or not counts:
        raise Failed(f"{workload.name} under {arm.name}: {done.stderr[-300:]}")
    return sum(counts)


def count_all(workload, arm):
    """Of the command; of a loop for one operation, from two lengths, so that start-up and exit cancel."""
    if workload.operations is None:
        return count(workload, arm, 1)
    few, many = 200, 100
    return (count(workload, arm, many) - count(workload, arm, few)) / (workload.operations // many - workload.operations // few)


def cost(run):
    return run.per_op_ns if run.per_op_ns is not None else run.cpu_s


def ratios(rounds, arm, base, value):
    return sorted(value(r[arm]) / value(r[base]) for r in rounds if arm in r and base in r and value(r[base]) > 0)


def shown(values):
    """1.03 (1.01-1.05): median and quartiles."""
    if not values:
        return "-"
    median = statistics.median(values)
    digits = 1 if median >= 10 else 2
    if len(values) < 3:
        return f"{median:.{digits}f}"
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{median:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def print_table(head, rows):
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, ["-" * width for width in widths], *rows]:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")


def alone_text(rounds):
    runs = [r["alone"] for r in rounds if "alone" in r]
    if not runs:
        return "-"
    if runs[0].per_op_ns is not None:
        return f"{statistics.median(r.per_op_ns for r in runs):.1f} ns"
    return f"{statistics.median(r.cpu_s for r in runs):.2f} s"


def heads(arms):
    return [arm.name if arm.base == "alone" else f"{arm.name}:{arm.base}" for arm in arms if arm.name != "alone"]


def results(all_rounds, arms, with_memory_table):
    others = [arm for arm in arms if arm.name != "alone"]
    print(f"\nCPU, ratio to `alone` (after a colon: to that arm); the last column is the peak memory of leakshim\n")
    rows = []
    for name, rounds in all_rounds.items():
        rows.append([name, alone_text(rounds)] + [shown(ratios(rounds, arm.name, arm.base, cost)) for arm in others] +
                    [shown(ratios(rounds, "leakshim", "alone", lambda r: r.rss_mb))])
    print_table(["", "alone", *heads(arms), "peak"], rows)
    if not with_memory_table:
        return
    print("\nPeak memory, ratio to `alone` (after a colon: to that arm)\n")
    print_table(["", "alone", *heads(arms)],
                [[name, f"{statistics.median(r['alone'].rss_mb for r in rounds if 'alone' in r):.1f} MB"] +
                 [shown(ratios(rounds, arm.name, arm.base, lambda r: r.rss_mb)) for arm in others]
                 for name, rounds in all_rounds.items() if any("alone" in r for r in rounds)])


def print_instructions(works, arms):
    rows = []
    for workload in works:
        if not workload.countable:
            continue
        counts = {}
        for arm in arms:
            try:
                counts[arm.name] = count_all(workload, arm)
            except (Failed, subprocess.TimeoutExpired) as failure:
                print(f"failed: {failure}")
        if "alone" not in counts:
            continue
        if workload.operations is None:
            row = [f"{counts['alone'] / 1e6:.0f} M"]
            row += [f"{100 * (counts[arm.name] / counts[arm.base] - 1):+.2f} %" if arm.name in counts and arm.base in counts else "-"
                    for arm in arms if arm.name != "alone"]
        else:
            row = [f"{counts['alone']:.1f}"]
            row += [f"{counts[arm.name] - counts[arm.base]:+.1f}" if arm.name in counts and arm.base in counts else "-"
                    for arm in arms if arm.name != "alone"]
        rows.append([workload.name, *row])
    print("\nInstructions more than `alone` (after a colon: than that arm): of an operation of the loops, of the whole run of a program"
          "\n")
    print_table(["", "alone", *heads(arms)], rows)


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = int(open("/proc/meminfo").readline().split()[1]) >> 20
    return (f"{model}, {os.cpu_count()} cores, {memory} GiB, Linux {platform.release()}, {' '.join(platform.libc_ver())}; "
            f"{time.strftime('%Y-%m-%d %H:%M %Z')}, load {os.getloadavg()[0]:.1f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--instructions", action="store_true")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--arms", help="comma-separated; default: " + ",".join(IN_TABLES))
    parser.add_argument("--only", help="comma-separated names of loops and programs")
    parser.add_argument("--loop", action="append", default=[], metavar="'NAME OPERATIONS [THREADS [DEPTH]]'",
                        help="a loop with these arguments, instead of the usual ones")
    options = parser.parse_args()
    build = os.path.abspath(options.build)
    rounds = options.rounds or (5 if options.quick else 7)
    deadline = time.monotonic() + (95 if options.quick else 1e9)

    print(f"{sys.argv[0]} {' '.join(sys.argv[1:])}\n{machine()}")
    arms = [arm for arm in find_arms(build)
            if arm.name in ((options.arms or "").split(",") if options.arms else IN_QUICK if options.quick else IN_TABLES)]
    known = {arm.name for arm in arms}
    arms = [arm for arm in arms if arm.base in known]
    wanted = options.only.split(",") if options.only else None
    with tempfile.TemporaryDirectory(prefix="leakshim-bench-") as directory:
        small = options.quick or options.instructions
        works = []
        if options.loop:
            for text in options.loop:
                name, operations, *more = text.split()
                works.append(workloads.Workload(" ".join([name, *more]), [os.path.join(build, "loops"), name, "OPERATIONS", *more],
                                                directory, stdout=subprocess.PIPE, operations=int(operations)))
        else:
            works += [w for w in workloads.loops(build, directory, small) if not wanted or w.name in wanted]
            for name, prepare in workloads.PROGRAMS.items():
                if wanted and name not in wanted:
                    continue
                own = os.path.join(directory, name.replace(" ", "-"))
                os.mkdir(own)
                workload = prepare(build, own, small)
                if workload is None:
                    print(f"left out: {name}, not installed")
                else:
                    works.append(workload)
        if options.instructions:
            return print_instructions(works, arms)
        all_rounds = {workload.name: [] for workload in works}
        failures = {}
        took = 0
        for i in range(rounds):
            # A round that would end past the deadline is not begun.
            begun = time.monotonic()
            if i > 0 and begun + took > deadline:
                break
            for workload in works:
                order = arms[i % len(arms):] + arms[:i % len(arms)]
                one = {}
                for arm in order:
                    if arm.rounds and i >= arm.rounds or (workload.name, arm.name) in failures:
                        continue
                    try:
                        one[arm.name] = measure(build, workload, arm)
                    except Failed as failure:
                        failures[workload.name, arm.name] = failure
                all_rounds[workload.name].append(one)
            took = time.monotonic() - begun
            if sys.stderr.isatty():
                print(f"round {i + 1} of {rounds}: {took:.0f} s", file=sys.stderr)
        for failure in failures.values():
            print(f"failed: {failure}")
        print(f"{max(len(r) for r in all_rounds.values())} rounds")
        results(all_rounds, arms, not options.quick)


main()
