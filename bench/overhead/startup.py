#!/usr/bin/env python3
"""What the library adds to the start of a process: `true`, alone and preloaded, by turns.

    bench/overhead/startup.py build/release [--runs 400]

Prints the medians of wall and CPU time, and of the differences between neighbours.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time


def run(program, env):
    begun = time.perf_counter_ns()
    child = os.posix_spawn(program, [program], env)
    _, status, usage = os.wait4(child, 0)
    took = time.perf_counter_ns() - begun
    if status != 0:
        raise SystemExit(f"{program} under {env}: status {status}")
    return took / 1e6, (usage.ru_utime + usage.ru_stime) * 1e3


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--runs", type=int, default=400)
    options = parser.parse_args()
    program = shutil.which("true")
    arms = {"alone": {}, "forward": {"LD_PRELOAD": os.path.abspath(os.path.join(options.build, "libforward.so"))},
            "leakshim": {"LD_PRELOAD": os.path.abspath(os.path.join(options.build, "libleakshim.so"))}}
    jemalloc = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"
    if os.path.exists(jemalloc):
        arms["jemalloc"] = {"LD_PRELOAD": jemalloc}
    rounds = []
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        for i in range(options.runs):
            order = list(arms)[i % len(arms):] + list(arms)[:i % len(arms)]
            rounds.append({name: run(program, arms[name]) for name in order})
        os.chdir("/")
    print(f"{'':10}{'wall ms':>9}{'more':>8}{'CPU ms':>9}{'more':>8}")
    for name in arms:
        wall, cpu = (statistics.median(r[name][k] for r in rounds) for k in (0, 1))
        more = [statistics.median(r[name][k] - r["alone"][k] for r in rounds) for k in (0, 1)]
        print(f"{name:10}{wall:9.3f}{more[0]:+8.3f}{cpu:9.3f}{more[1]:+8.3f}")


main()
