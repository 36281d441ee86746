#!/usr/bin/env python3
"""What a sample with Java frames costs: times every sample in a running JVM (bench/sample_probe.cc).

    bench/java_samples.py build/release [--java PATH] [--rounds 5] [--bytes 16384] [-- JAVA ARGUMENTS...]

Without arguments: a loop that makes Deflaters, about 3 native and 6 Java frames above the thread's start. Prints the median of
the rounds' percentiles, in ns.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile


def clock_ghz():
    """Cycles of the time stamp counter a ns, as the kernel told at boot or /proc/cpuinfo says."""
    for line in open("/proc/cpuinfo"):
        if line.startswith("cpu MHz"):
            return float(line.split(":")[1]) / 1000
    return 1.0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--java", default="java")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bytes", default="16384")
    own, _, arguments = " ".join(sys.argv[1:]).partition(" -- ")
    options = parser.parse_args(own.split())
    build = os.path.abspath(options.build)
    arguments = arguments.split() or ["-cp", os.path.join(build, "bench.jar"), "bench.DeflateLoop", "30000"]
    rounds = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as directory:
            out = os.path.join(directory, "probe")
            env = dict(os.environ, LD_PRELOAD=os.path.join(build, "libsample_probe.so"), PROBE_OUT=out, PROBE_BYTES=options.bytes,
                       PROBE_CENTI_GHZ=str(round(clock_ghz() * 100)))
            subprocess.run([options.java, *arguments], env=env, stdout=subprocess.DEVNULL, check=True, timeout=300)
            counts, times = open(out).read().splitlines()
            rounds.append([int(n) for n in times.split()[1:]])
    print(counts)
    print("ns: " + "  ".join(f"{name} {statistics.median(r[i] for r in rounds):.0f}"
                             for i, name in enumerate(("p50", "p90", "p99", "mean"))))


main()
