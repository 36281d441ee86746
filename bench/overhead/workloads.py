"""The commands that run.py measures: micro loops (loops.cc) and real programs on inputs that are made here, the same each time.

A workload is prepared once into a directory of its own and then run many times. `None` from prepare() means that the
program is not installed.
"""

import os
import random
import shutil
import subprocess
import sys
import time


class Workload:
    """`command` runs in `directory` with `env` on top of the arm's; OPERATIONS in it stands for a number that may be made
    smaller. `countable`: callgrind can run it."""

    def __init__(self, name, command, directory, env=None, stdout=subprocess.DEVNULL, operations=None, countable=True):
        self.name, self.command, self.directory, self.env = name, command, directory, env or {}
        self.stdout, self.operations, self.countable = stdout, operations, countable

    def arguments(self, shorter=1):
        """The command, with its number of operations divided where it has one."""
        if self.operations is None:
            return self.command
        return [word.replace("OPERATIONS", str(max(1, self.operations // shorter))) for word in self.command]

    def drive(self):
        """What else must happen while the command runs."""


# name: operations of a full run, further arguments
LOOPS = {
    "pair": (40_000_000, []),
    "churn": (5_000_000, []),
    "handoff": (4_000_000, []),
    "larson": (8_000_000, ["2"]),
    "grow": (8_000_000, []),
    "large": (4_000_000, []),
    "crowd": (8_000_000, ["64"]),
    "deep": (8_000_000, ["1", "40"]),
    "spawn": (8_000, []),
}


def loops(build, directory, quick):
    for name, (operations, more) in LOOPS.items():
        yield Workload(name, [os.path.join(build, "loops"), name, "OPERATIONS", *more], directory, stdout=subprocess.PIPE,
                       operations=operations // (4 if quick else 1))


def words(count):
    """Text of `count` words that compresses as text does."""
    dice = random.Random(1)
    known = ["".join(dice.choices("etaoinshrdlucmfw", k=dice.randint(2, 9))) for _ in range(4000)]
    return " ".join(dice.choices(known, cum_weights=[i * i for i in range(1, 4001)], k=count))


def javac(build, directory, quick):
    compiler = shutil.which("javac")
    if compiler is None:
        return None
    files = []
    for i in range(2 if quick else 20):
        name = os.path.join(directory, f"Made{i}.java")
        methods = "\n".join(
            f"  public List<String> method{m}(Map<String, Integer> in) {{\n"
            f"    return in.entrySet().stream().filter(e -> e.getValue() > {m}).map(e -> e.getKey() + \"{m}\")"
            ".sorted(Comparator.reverseOrder()).collect(Collectors.toList());\n  }" for m in range(40))
        with open(name, "w") as out:
            out.write(f"import java.util.*;\nimport java.util.stream.*;\npublic class Made{i} {{\n{methods}\n}}\n")
        files.append(name)
    return Workload("javac", [compiler, "-d", os.path.join(directory, "out"), *files], directory, countable=False)


def deflate(build, directory, quick):
    java, jar = shutil.which("java"), os.path.join(build, "bench.jar")
    if java is None or not os.path.exists(jar):
        return None
    return Workload("deflate", [java, "-cp", jar, "bench.DeflateLoop", "10000" if quick else "60000"], directory, countable=False)


def sqlite(build, directory, quick):
    shell = shutil.which("sqlite3")
    if shell is None:
        return None
    rows = 20_000 if quick else 150_000
    script = os.path.join(directory, "script.sql")
    with open(script, "w") as out:
        out.write(f"""
create table a(id integer primary key, name text, amount real);
insert into a with recursive n(i) as (select 1 union all select i + 1 from n where i < {rows})
  select i, printf('name-%d-%s', i % 977, hex(i * 7919 % 65536)), i * 0.37 from n;
create index by_name on a(name);
create table b as select name, count(*) as c, sum(amount) as s, group_concat(id % 10) as g from a group by name;
select count(*), sum(length(g)), sum(length(upper(name) || lower(g))) from b;
select count(*) from a x join b y on x.name = y.name where y.s > x.amount;
update a set name = substr(name, 3) || id where id % 3 = 0;
delete from a where id % 5 = 0;
select count(distinct name) from a;
""")
    return Workload("sqlite", [shell, ":memory:", f".read {script}"], directory)


def python(build, directory, quick):
    # Past the wrappers of version managers: a shell script would be measured too.
    interpreter = next((path for path in ("/usr/bin/python3", sys.executable) if os.access(path, os.X_OK)), None)
    if interpreter is None:
        return None
    script = os.path.join(directory, "script.py")
    with open(script, "w") as out:
        out.write(f"""
import collections, json
rows = [{{"id": i, "name": f"name {{i % 977}}", "tags": [str(i * k % 101) for k in range(8)]}} for i in range({6_000 if quick else 60_000})]
text = json.dumps(rows)
count = collections.Counter(tag for row in json.loads(text) for tag in row["tags"])
groups = collections.defaultdict(list)
for row in rows:
    groups[row["name"]].append(sorted(row["tags"]))
print(len(text), len(count), sum(len(g) for g in groups.values()))
""")
    return Workload("python", [interpreter, "-s", "-S", script], directory, {"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0"})


def gxx(build, directory, quick):
    compiler = shutil.which("g++")
    if compiler is None:
        return None
    source = os.path.join(directory, "source.cc")
    with open(source, "w") as out:
        out.write("#include <map>\n#include <string>\n#include <vector>\n")
        if not quick:
            out.write("#include <algorithm>\n#include <functional>\n#include <regex>\n#include <sstream>\n")
        for i in range(3 if quick else 15):
            out.write(f"struct Made{i} {{ std::map<std::string, std::vector<Made{i}>> more; int n = {i}; }};\n"
                      f"int Walk{i}(const Made{i}& from) {{ int sum = from.n; for (auto& [name, all] : from.more) "
                      f"for (auto& one : all) sum += Walk{i}(one) + static_cast<int>(name.size()); return sum; }}\n")
        if not quick:
            out.write("bool Matches(const std::string& s) { return std::regex_match(s, std::regex(\"a+b|c*\")); }\n")
    return Workload("g++", [compiler, "-std=c++17", "-O1", "-c", source, "-o", os.path.join(directory, "source.o")], directory)


def git(build, directory, quick):
    program = shutil.which("git")
    if program is None:
        return None
    commits, dice = 1000 if quick else 10_000, random.Random(2)
    env = {"GIT_DIR": os.path.join(directory, "repository"), "GIT_CONFIG_NOSYSTEM": "1", "HOME": directory, "GIT_PAGER": "cat"}
    stream, files = [], {}
    text = words(20_000).split()
    for i in range(commits):
        name = f"folder{dice.randrange(20)}/file{dice.randrange(100)}.txt"
        lines = files.setdefault(name, [])
        for _ in range(dice.randint(1, 12)):
            at = dice.randrange(len(text) - 12)
            lines.insert(dice.randint(0, len(lines)), " ".join(text[at:at + 12]))
        body = "\n".join(lines[-80:]) + "\n"
        stream.append(f"commit refs/heads/main\ncommitter A <a@example.org> {1_600_000_000 + i * 60} +0000\ndata 6\nchange\n"
                      f"M 100644 inline {name}\ndata {len(body)}\n{body}\n")
    full = dict(os.environ, **env)
    subprocess.run([program, "init", "-q", "--bare"], env=full, check=True)
    subprocess.run([program, "fast-import", "--quiet"], env=full, input="".join(stream), text=True, check=True)
    return Workload("git log", [program, "log", "-p", "--stat", "-M", "main"], directory, env)


class Redis(Workload):
    """The server alone is measured; the load comes from redis-benchmark, outside."""

    def __init__(self, server, client, directory, requests):
        self.port, self.client, self.requests = "26379", client, str(requests)
        super().__init__("redis", [server, "--port", self.port, "--save", "", "--dir", directory, "--io-threads", "1"], directory,
                         countable=False)

    def drive(self):
        cli = self.client.replace("benchmark", "cli")
        for _ in range(200):
            if subprocess.run([cli, "-p", self.port, "ping"], capture_output=True).stdout == b"PONG\n":
                break
            time.sleep(0.05)
        try:
            subprocess.run([self.client, "-p", self.port, "-q", "-n", self.requests, "-r", "100000", "-d", "100", "-P", "16", "-t",
                            "set,get,lpush,lpop,hset,zadd"], stdout=subprocess.DEVNULL, check=True, timeout=120)
        finally:
            subprocess.run([cli, "-p", self.port, "shutdown", "nosave"], capture_output=True)


def redis(build, directory, quick):
    server, client = shutil.which("redis-server"), shutil.which("redis-benchmark")
    return Redis(server, client, directory, 40_000 if quick else 200_000) if server and client else None


def zstd(build, directory, quick):
    program = shutil.which("zstd")
    if program is None:
        return None
    source = os.path.join(directory, "text")
    with open(source, "w") as out:
        out.write(words(200_000 if quick else 1_200_000))
    return Workload("zstd", [program, "-q", "-f", "-13", "-T1", source, "-o", source + ".zst"], directory)


PROGRAMS = {"javac": javac, "deflate": deflate, "sqlite": sqlite, "python": python, "g++": gxx, "git log": git, "redis": redis,
            "zstd": zstd}
