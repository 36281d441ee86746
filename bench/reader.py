#!/usr/bin/env python3
"""How long leakprof --text takes, beside jeprof on the same files, and how much memory.

    bench/reader.py build/release [--rounds N] [--large]

Three profiles: of a Java process by jemalloc (javac at work), of 20 000 made-up stacks in leakprof's own functions (12 MB), and
with --large one of 1 GB, which jeprof does not read in any time. Rounds are interleaved; the table has medians. `cold` is without
what leakprof keeps on disk about binaries.
"""

import argparse
import os
import random
import re
import shutil
import statistics
import subprocess
import tempfile
import time

JEMALLOC = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"
BASE = 0x555555000000


def java_profile(folder):
    home = os.path.dirname(os.path.dirname(os.path.realpath(shutil.which("javac"))))
    classes = "".join(f"class C{i} {{ java.util.Map<String, Integer> m = new java.util.TreeMap<>(); int f(int x) {{ return m.size() + x; }} }}\n"
                      for i in range(300))
    with open(os.path.join(folder, "All.java"), "w") as file:
        file.write(classes)
    conf = f"prof:true,prof_final:true,prof_accum:true,lg_prof_sample:12,prof_prefix:{folder}/java"
    subprocess.run([os.path.join(home, "bin", "javac"), "-d", folder, os.path.join(folder, "All.java")], check=True, timeout=300,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ, LD_PRELOAD=JEMALLOC, MALLOC_CONF=conf))
    dumps = [os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".heap")]
    # The launcher is a process too.
    return os.path.join(home, "bin", "javac"), max(dumps, key=os.path.getsize)


def functions_of(program):
    lines = subprocess.run(["nm", "-n", program], capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    return [int(line.split()[0], 16) for line in lines if re.match(r"[0-9a-f]+ [tT] ", line)]


def made_profile(path, program, stacks, size_bytes):
    """Writes `stacks` different stacks of about as many bytes, in functions of `program`."""
    chance = random.Random(1)
    addresses = [BASE + start + chance.randrange(4, 16) for start in functions_of(program)]
    # Runs of six frames, so that stacks share what their callers are.
    runs = [" ".join(f"{chance.choice(addresses):#x}" for _ in range(6)) for _ in range(20_000)]
    per_stack = size_bytes / stacks
    length = max(1, round((per_stack - 30) / len(runs[0])))
    with open(path, "w") as file:
        file.write(f"heap_v2/524288\n  t*: {stacks}: {stacks * 4096} [0: 0]\n")
        for start in range(0, stacks, 10_000):
            file.write("".join(f"@ {chance.choice(addresses):#x} {' '.join(chance.choices(runs, k=length))}\n"
                               "  t*: 1: 4096 [0: 0]\n" for _ in range(min(10_000, stacks - start))))
        file.write(f"\nMAPPED_LIBRARIES:\n{BASE:x}-{BASE + (1 << 28):x} r-xp 00000000 08:01 42 {program}\n")


def timed(command, **more):
    """(seconds, peak MB) of `command`."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, command
    return time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", action="store_true")
    arguments = parser.parse_args()
    leakprof = os.path.realpath(os.path.join(arguments.build, "leakprof"))
    folder = tempfile.mkdtemp(prefix="leakshim-bench-")
    print("| profile | | seconds | CPU seconds | peak MB |\n| --- | --- | --- | --- | --- |")

    def table(name, profile, readers, rounds):
        figures = {reader: [] for reader in readers}
        for _ in range(rounds):
            for reader, (command, cold) in readers.items():
                cache = os.path.join(folder, "cold" if cold else "warm")
                if cold:
                    shutil.rmtree(cache, ignore_errors=True)
                figures[reader].append(timed(command, env=dict(os.environ, XDG_CACHE_HOME=cache)))
        with open(profile, "rb") as file:
            stacks = sum(line.startswith(b"@") for line in file)
        for reader, rows in figures.items():
            seconds, cpu, peak = (statistics.median(row[i] for row in rows) for i in range(3))
            print(f"| {name}, {os.path.getsize(profile) / 1e6:.1f} MB, {stacks} stacks | {reader} | {seconds:.2f} | {cpu:.2f} | {peak:.0f} |",
                  flush=True)

    try:
        program, profile = java_profile(folder)
        made = os.path.join(folder, "made.heap")
        made_profile(made, leakprof, 20_000, 12_000_000)
        for name, program, profile in (("Java", program, profile), ("made up", leakprof, made)):
            ours = [leakprof, "--text", program, profile]
            lines = [leakprof, "--text", "--lines", program, profile]
            subprocess.run(ours, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, timeout=60,
                           env=dict(os.environ, XDG_CACHE_HOME=os.path.join(folder, "warm")))
            table(name, profile,
                  {"leakprof": (ours, False), "leakprof, cold": (ours, True), "leakprof --lines": (lines, False),
                   "leakprof --lines, cold": (lines, True), "jeprof": (["jeprof", "--text", program, profile], False)},
                  arguments.rounds)
        if arguments.large:
            large = os.path.join(folder, "large.heap")
            made_profile(large, leakprof, 1_900_000, 1_000_000_000)
            table("made up", large, {"leakprof": ([leakprof, "--text", large], False)}, 1)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


main()
