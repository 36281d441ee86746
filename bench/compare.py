#!/usr/bin/env python3
"""Runs malloc_bench alone and under libleakshim.so in turn and prints the ratio of CPU times, median of the rounds.

    bench/compare.py build/release [--rounds 7] [--conf lg_prof_sample:19] [--below /path/liballocator.so] [--filter Pair]

Both runs of a round follow each other, so that a machine whose speed drifts does not decide; the order alternates.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys


def measure(build, preload, conf, pattern):
    env = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "LEAKSHIM_CONF", "MALLOC_CONF")}
    if preload:
        env["LD_PRELOAD"] = preload
        env["LEAKSHIM_CONF"] = conf
    done = subprocess.run([os.path.join(build, "malloc_bench"), "--benchmark_format=json", "--benchmark_min_time=0.1",
                           f"--benchmark_filter={pattern}"], env=env, capture_output=True, text=True, check=True)
    return {row["name"]: row["cpu_time"] for row in json.loads(done.stdout)["benchmarks"]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--conf", default="prof_prefix:")
    parser.add_argument("--below", default="")
    parser.add_argument("--filter", default=".")
    options = parser.parse_args()
    library = os.path.abspath(os.path.join(options.build, "libleakshim.so"))
    arms = {"bare": options.below, "shim": f"{library}:{options.below}" if options.below else library}
    rounds = []
    for i in range(options.rounds):
        order = list(arms) if i % 2 == 0 else list(reversed(arms))
        rounds.append({arm: measure(options.build, arms[arm], options.conf, options.filter) for arm in order})
        print(f"\rround {i + 1} of {options.rounds}", end="", file=sys.stderr if sys.stderr.isatty() else open(os.devnull, "w"))
    print(f"{'':24}{'bare ns':>10}{'shim ns':>10}{'ratio':>8}{'min':>7}{'max':>7}")
    for name in rounds[0]["bare"]:
        bare = statistics.median(r["bare"][name] for r in rounds)
        shim = statistics.median(r["shim"][name] for r in rounds)
        ratios = sorted(r["shim"][name] / r["bare"][name] for r in rounds)
        print(f"{name:24}{bare:10.2f}{shim:10.2f}{statistics.median(ratios):8.3f}{ratios[0]:7.3f}{ratios[-1]:7.3f}")


main()
