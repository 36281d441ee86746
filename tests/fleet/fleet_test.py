"""What --leaks says of a fleet: which services leak, each suspect once, where and in which release.

The fleet is real dumps under other hosts, pids, times, labels and address spaces (simulate.py): half of each service's
processes, those of release 1.1, live through the leak; of the others nothing grows. With LEAKSHIM_SOAK=1 it is 2 000
dumps of 200 processes on 40 hosts, which take at most 30 seconds.
"""

import json
import os
import random
import re

import seeds
import simulate
from seeds import harness

folders = seeds.make()
hosts, processes = (40, 200) if seeds.SOAK else (6, 8 * len(folders))
fleet = harness.tempfile.mkdtemp(prefix="fleet-")
made = simulate.simulate(fleet, folders, hosts=hosts, processes=processes, dumps=seeds.DUMPS)
directories = sorted(os.path.join(fleet, host) for host in os.listdir(fleet))
services = {"gateway": "gateway", "billing": "java com.example.Billing", "orders": "java com.example.Orders"}

run, seconds = seeds.leakprof("--json", *directories)
assert run.returncode == 0 and run.stderr == "", (run.returncode, run.stderr)
print(f"{made['dumps']} dumps, {made['bytes'] / 1e6:.0f} MB: {seconds:.1f} s, {made['bytes'] / 1e6 / seconds:.0f} MB/s")
assert not seeds.SOAK or seconds <= 30, seconds
answer = json.loads(run.stdout)
whole = answer["fleet"]
assert (whole["processes"], whole["hosts"], whole["dumps"]) == (processes, hosts, made["dumps"]), whole

# A row is a service and a release; those that leak come first, and all of them grow.
rows = {(row["service"], row["label"]): row for row in whole["services"]}
assert len(rows) == 2 * len(folders), rows.keys()
for folder in folders:
    name = os.path.basename(folder)
    for leaks, label in ((True, "release=1.1"), (False, "release=1.0")):
        mine = [p for p in made["processes"] if p["seed"] == name and p["leaks"] == leaks]
        row = rows[services[name], label]
        assert row["processes"] == len(mine), (row, len(mine))
        assert row["hosts"] == len({p["host"] for p in mine}), row
        assert row["growing"] == (len(mine) if leaks else 0), row
        assert row["verdict"].startswith("growing" if leaks else "stable"), row
        if leaks:
            # All of them live through the same: their sum is so many times the worst.
            assert abs(row["growth_bytes_per_hour"] / len(mine) / row["worst"]["growth_bytes_per_hour"] - 1) < 0.01, row
order = [row["growing"] > 0 for row in whole["services"]]
assert order == sorted(order, reverse=True), order

# Every suspect stands once, however many address spaces it was seen in, and all of the release's processes show it.
stacks = [[frame["function"] for frame in suspect["stack"]] for suspect in whole["suspects"]]
assert len({tuple(stack) for stack in stacks}) == len(stacks), stacks
leaks = {"gateway": ["leak_fast", "leak_big_block"], "billing": ["leakPerClass"], "orders": ["leakStream", "leakDirect"]}
for folder in folders:
    name = os.path.basename(folder)
    count = sum(p["seed"] == name and p["leaks"] for p in made["processes"])
    for function in leaks[name]:
        found = [suspect for suspect, stack in zip(whole["suspects"], stacks) if any(function in frame for frame in stack)]
        assert found, (function, stacks)
        best = found[0]
        assert best["verdict"] == "growing" and best["processes"] == count, (function, best)
        shares = {share["label"]: (share["processes"], share["of"]) for share in best["services"]}
        assert shares["release=1.1"] == (count, count) and shares["release=1.0"][0] == 0, (function, shares)
        # Its rate is the sum of what the processes' own rows say.
        own = [leak["growth_bytes_per_hour"] for process in answer["processes"] for leak in process["leaks"]
               if leak["verdict"] == "growing" and leak["stack"] == best["stack"]]
        assert len(own) == count and abs(sum(own) / best["growth_bytes_per_hour"] - 1) < 1e-6, (function, len(own), count)

# The same, whoever was read first and by whichever thread.
again, _ = seeds.leakprof("--json", *directories)
assert again.stdout == run.stdout, "two runs differ"
random.Random(2).shuffle(directories)
shuffled = json.loads(seeds.leakprof("--json", *directories)[0].stdout)["fleet"]


def told(suspects):
    return sorted((suspect["processes"], suspect["hosts"], round(suspect["growth_bytes_per_hour"])) for suspect in suspects)


assert told(shuffled["suspects"]) == told(whole["suspects"]), "the order of directories matters"

# Text: the table first, then the suspects, then a few processes. One process has its own report and no table.
text = seeds.leakprof("--leaks", *sorted(directories))[0].stdout
growing = sum(p["leaks"] for p in made["processes"])
assert text.startswith(f"{processes} processes of {len(folders)} services on {hosts} hosts, {made['dumps']} dumps: "
                       f"{growing} grow\n") or len(folders) == 1, text[:200]
assert re.search(r"\nservice +label +processes growing hosts", text), text[:400]
assert len(re.findall(r" dumps over ", text)) == len(folders), text
assert "processes not told one by one" in text
files = sorted(os.path.join(directories[0], file) for file in os.listdir(directories[0]))
pid = re.search(r"leakshim\.(\d+)\.", files[0]).group(1)
one = seeds.leakprof("--leaks", *[file for file in files if f".{pid}." in file])[0].stdout
assert "processes" not in one and " dumps over " in one.splitlines()[0], one
two = {re.search(r"leakshim\.(\d+)\.", file).group(1) for file in (files[0], files[-1])}
two = seeds.leakprof("--leaks", *[file for file in files if any(f".{pid}." in file for pid in two)])[0].stdout
assert two.startswith("2 processes of ") and two.count(" dumps over ") == 2 and "one by one" not in two, two[:300]
print("ok")
