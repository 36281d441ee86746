#!/usr/bin/env python3
"""What the library's books take for each live sample, stack, thread and module, and what a dump makes a program wait.

    bench/overhead/memory.py build/release

Memory: the difference of two runs of memory_probe.cc, divided by the difference of their counts. Waiting: latency.cc alone,
sampled without dumps, with a dump each second beside it, and with the dump written by the thread itself.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile


def run(command, build, conf):
    env = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "LEAKSHIM_CONF", "MALLOC_CONF")}
    if conf is not None:
        env.update(LD_PRELOAD=os.path.join(build, "libleakshim.so"), LEAKSHIM_CONF=conf)
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(command, env=env, cwd=directory, capture_output=True, text=True, timeout=120, check=True)
        dumps = sorted((os.path.join(directory, name) for name in os.listdir(directory) if name.endswith(".heap")),
                       key=os.path.getmtime)
        books = open(dumps[-1]).read() if dumps else ""
    return done.stdout, books, len(dumps)


def bytes_for_each(build):
    """{what is counted: bytes of the library's books for each}, by its own count: the same each time."""
    bytes_by_kind = {}
    for kind, few, many in (("samples", 100_000, 500_000), ("stacks", 10_000, 60_000), ("threads", 10, 1010), ("modules", 10, 510)):
        mapped = []
        for count in (few, many):
            out = run([os.path.join(build, "memory_probe"), kind, str(count)], build, "lg_prof_sample:0,prof_prefix:,prof_mem:1G")[0]
            mapped.append(int(re.match(r"mapped (\d+)", out).group(1)))
        bytes_by_kind[kind] = (mapped[1] - mapped[0]) / (many - few)
    return bytes_by_kind


def waiting(build):
    arms = {"alone": (None, []), "no dumps": ("prof_prefix:", []), "each second": ("prof_time_interval:1s", []),
            "thread writes": ("prof_time_interval:1s", ["no-task"])}
    rounds = {name: [] for name in arms}
    stalls = {name: [] for name in arms}
    for _ in range(3):
        for name, (conf, more) in arms.items():
            conf = conf and f"lg_prof_sample:8,prof_keep:0,{conf}"
            out, books, _ = run([os.path.join(build, "latency"), "4", "20000", *more], build, conf)
            rounds[name].append([int(n) for n in out.split()[3:]])
            stalls[name] += [float(s) for s in re.findall(r"# books.longest_stall ([\d.]+)", books)]
    print(f"\n{'malloc + free, ns':20}" + "".join(f"{h:>12}" for h in ("p50", "p99", "p99.9", "p99.99", "longest")) + "   longest stall, s")
    for name, runs in rounds.items():
        print(f"{name:20}" + "".join(f"{statistics.median(r[i] for r in runs):12.0f}" for i in range(5)) +
              (f"   {statistics.median(stalls[name]):.6f}" if stalls[name] else ""))


if __name__ == "__main__":
    build_folder = os.path.abspath(sys.argv[1])
    print(f"{'for each':12}{'bytes':>8}")
    for name, each in bytes_for_each(build_folder).items():
        print(f"{name:12}{each:8.1f}")
    waiting(build_folder)
