"""--sql: a fleet of real dumps in SQLite and in a PostgreSQL server of the test's own, with the numbers of --leaks.

    database_test.py sqlite | postgres

The queries are those of tools/database/SCHEMA.md. With LEAKSHIM_SOAK=1 the fleet is 2 000 dumps, at 20 MB/s or more.
"""

import glob
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time

import seeds
import simulate
from seeds import harness

HERE = os.path.dirname(os.path.abspath(__file__))
PASSWORD = "s3cret/w@rd"
ENCODED = "s3cret%2Fw%40rd"


class SqliteTarget:
    def __init__(self):
        self.target = os.path.join(harness.tempfile.mkdtemp(), "fleet.sqlite")
        self.shown = self.target

    def ask(self, sql):
        connection = sqlite3.connect(self.target)
        try:
            return [list(row) for row in connection.execute(sql)]
        finally:
            connection.close()

    def damage(self, sql):
        connection = sqlite3.connect(self.target)
        connection.executescript(sql)
        connection.close()

    def stop(self):
        pass


class PostgresTarget:
    """A server on a socket in a folder, that asks for a password."""

    def __init__(self):
        self.tools = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
        self.root = harness.tempfile.mkdtemp(prefix="pg-")
        os.chmod(self.root, 0o777)
        self.data = os.path.join(self.root, "data")
        password = os.path.join(self.root, "password")
        with open(password, "w") as file:
            file.write(PASSWORD)
        as_user = []
        if os.getuid() == 0:  # which the server refuses
            as_user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
            os.chmod(harness.tempfile.tempdir, 0o755)
        env = {**os.environ, "HOME": self.root}
        subprocess.run([*as_user, f"{self.tools}/initdb", "-D", self.data, "-U", "fleet", "-A", "scram-sha-256", "--pwfile",
                        password, "-E", "UTF8", "--no-locale", "-N"], check=True, capture_output=True, cwd=self.root, env=env)
        self.log = open(os.path.join(self.root, "log"), "w")
        self.process = subprocess.Popen(
            [*as_user, f"{self.tools}/postgres", "-D", self.data, "-k", self.root, "-c", "listen_addresses=", "-c", "fsync=off"],
            cwd=self.root, env=env, stdout=self.log, stderr=self.log)
        for _ in range(300):
            if subprocess.run([f"{self.tools}/pg_isready", "-q", "-h", self.root]).returncode == 0:
                break
            assert self.process.poll() is None, open(self.log.name).read()
            time.sleep(0.1)
        host = self.root.replace("/", "%2F")
        self.target = f"postgresql://fleet:{ENCODED}@{host}/postgres"
        self.shown = f"postgresql://fleet:***@{host}/postgres"

    def psql(self, sql, *options):
        return subprocess.run([f"{self.tools}/psql", "-X", "-q", "-h", self.root, "-U", "fleet", "-d", "postgres", *options, "-c", sql],
                              env={**os.environ, "PGPASSWORD": PASSWORD, "PGOPTIONS": "-c search_path=leakshim"},
                              capture_output=True, text=True, timeout=120, check=True).stdout

    def ask(self, sql):
        def value(text):
            try:
                return float(text) if "." in text or "e" in text else int(text)
            except ValueError:
                return text or None
        return [[value(cell) for cell in line.split("\t")] for line in self.psql(sql, "-At", "-F", "\t").splitlines()]

    def damage(self, sql):
        self.psql(sql)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(60) == 0, self.process.returncode
        self.log.close()


def load(target, *paths, status=0):
    started = time.monotonic()
    run = harness.leakprof(f"--sql={target}", *paths, timeout=250)
    assert run.returncode == status, (run.returncode, run.stdout, run.stderr)
    for text in (run.stdout, run.stderr):
        assert PASSWORD not in text and ENCODED not in text and "s3cret" not in text, text
    return run, time.monotonic() - started


def near(a, b):
    return abs(a - b) <= 1e-6 * max(abs(a), abs(b)) + 1  # byte an hour


def tables(database):
    names = ("processes", "dumps", "stacks", "frames", "stack_frames", "stack_values")
    return {name: database.ask(f"SELECT count(*) FROM {name}")[0][0] for name in names}


def whole(database):
    """No dump is there without its values: they add up to what it says of itself."""
    return database.ask("""SELECT d.id FROM dumps d LEFT JOIN stack_values v ON v.dump_id = d.id GROUP BY d.id, d.live_bytes
                           HAVING abs(coalesce(sum(v.bytes), 0) - d.live_bytes) > 1e-6 * d.live_bytes + 1e-3""") == []


def same_as_leaks(database, directories):
    """The page's queries against --leaks."""
    with open(os.path.join(HERE, "../../tools/database/SCHEMA.md")) as page:
        held, growth, leaks = re.findall(r"```sql\n(.*?)```", page.read(), re.S)
    answer = json.loads(harness.leakprof("--json", *directories, timeout=250).stdout)
    services = {(row["service"], row["label"]): row for row in answer["fleet"]["services"]}
    rows = database.ask(held)
    assert len(rows) == len(services), rows
    for service, label, processes, hosts, live in rows:
        row = services[service, label]
        assert (processes, hosts) == (row["processes"], row["hosts"]) and abs(live - row["live_bytes"]) <= 1 + 1e-9 * live, (row, live)

    rows = {(host, str(pid)): rate for _, _, host, pid, rate, _ in database.ask(growth)}
    assert len(rows) == len(answer["processes"]), len(rows)
    compared = 0
    for process in answer["processes"]:
        if process["growth_since"] == process["dumps"][0]["time"]:
            compared += 1
            assert near(rows[process["host"], str(process["pid"])], process["rss_growth_bytes_per_hour"]), (
                process["pid"], rows[process["host"], str(process["pid"])], process["rss_growth_bytes_per_hour"])
    assert compared >= 4, f"{compared} processes are measured over all their dumps"

    rows = database.ask(leaks)
    by_function = {}
    for service, label, function, processes, hosts, rate in rows:
        by_function[service, label, function] = (processes, hosts, rate)
    compared = []
    for suspect in answer["fleet"]["suspects"]:
        own = [(process, leak) for process in answer["processes"] for leak in process["leaks"]
               if leak["verdict"] == suspect["verdict"] and leak["stack"] == suspect["stack"]]
        function = suspect["stack"][0]["function"].replace("(anonymous namespace)::", "").split("(")[0]
        alone = sum(leak["stack"][0] == suspect["stack"][0] for leak in own[0][0]["leaks"]) == 1 if own else False
        if len(own) == suspect["processes"] and alone and all(
                leak["growth_since"] == process["dumps"][0]["time"] for process, leak in own):
            (share,) = [share for share in suspect["services"] if share["processes"] > 0]
            processes, hosts, rate = by_function[share["service"], share["label"], function]
            assert (processes, hosts) == (suspect["processes"], suspect["hosts"]), (function, processes, hosts)
            assert near(rate, suspect["growth_bytes_per_hour"]), (function, rate, suspect["growth_bytes_per_hour"])
            compared.append(function)
    assert "leak_big_block" in compared or "leak_fast" in compared, compared
    print("compared with --leaks:", ", ".join(compared))


def main(kind):
    folders = seeds.make()
    hosts, processes = (40, 200) if seeds.SOAK else (6, 8 * len(folders))
    fleet = harness.tempfile.mkdtemp(prefix="fleet-")
    made = simulate.simulate(fleet, folders, hosts=hosts, processes=processes, dumps=seeds.DUMPS)
    directories = sorted(os.path.join(fleet, host) for host in os.listdir(fleet))
    database = SqliteTarget() if kind == "sqlite" else PostgresTarget()

    # In two parts, the second over the first: each dump once.
    half = directories[:len(directories) // 2]
    run, first = load(database.target, *half)
    assert run.stderr == "" and run.stdout.startswith(f"{database.shown}: "), (run.stdout, run.stderr)
    before = tables(database)
    assert whole(database) and 0 < before["dumps"] < made["dumps"], before
    run, second = load(database.target, *directories)
    assert f"{made['dumps'] - before['dumps']} dumps of " in run.stdout and f" added, {before['dumps']} were there" in run.stdout, run.stdout
    after = tables(database)
    assert (after["dumps"], after["processes"]) == (made["dumps"], processes), after
    assert whole(database)
    rate = made["bytes"] / 1e6 / (first + second)
    print(f"{made['dumps']} dumps, {made['bytes'] / 1e6:.0f} MB: {first + second:.1f} s, {rate:.0f} MB/s; {after}")
    assert not seeds.SOAK or rate >= 20, rate
    # Again changes nothing.
    content = database.ask("SELECT count(*), sum(dump_id), sum(stack_id), min(bytes), max(bytes) FROM stack_values")
    run, _ = load(database.target, *reversed(directories))
    assert f": 0 dumps of 0 processes added, {made['dumps']} were there" in run.stdout, run.stdout
    assert tables(database) == after and database.ask("SELECT count(*), sum(dump_id), sum(stack_id), min(bytes), max(bytes) FROM stack_values") == content
    same_as_leaks(database, directories)

    # What names hold is data: quotes, tabs, backslashes, bytes that are no UTF-8.
    odd = harness.tempfile.mkdtemp()
    with open(os.path.join(odd, "x.1.0.t0.heap"), "wb") as file:
        file.write(b"heap_v2/1\n  t*: 1: 100 [0: 0]\n# leakshim 1\n# about.pid 1\n# about.start_time 1.5\n# about.seq 0\n"
                   b"# about.dump_time 1795000000.25\n# about.label it's\t\\N\xff\"; DROP TABLE dumps\n@ 0x4000000000000010\n  t*: 1: 100 [0: 0]\n"
                   b"# java 0x4000000000000010 compiled shop.\\tA'b f 1 A.java\n\nMAPPED_LIBRARIES:\n")
    load(database.target, odd)
    assert database.ask("SELECT count(*) FROM processes WHERE label LIKE 'it''s%DROP TABLE dumps'")[0][0] == 1
    assert database.ask("SELECT function FROM frames WHERE file = 'A.java'") == [["shop.\\tA'b.f"]]

    # Killed at any moment: whole dumps, and the next run completes it.
    interrupted(kind, database, directories, made)

    # Of another version: refused, and nothing changes.
    database.damage("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    run, _ = load(database.target, odd, status=2)
    assert "version 99" in run.stderr, run.stderr
    (others_files if kind == "sqlite" else others_schemas)(database, odd)
    database.stop()
    print("ok")


def interrupted(kind, database, directories, made):
    if kind == "postgres":
        database.damage("DROP SCHEMA leakshim CASCADE")
    else:
        database.target = os.path.join(os.path.dirname(database.target), "interrupted.sqlite")
    partial = 0
    for attempt in range(8):
        run = subprocess.Popen([harness.LEAKPROF, f"--sql={database.target}", *directories], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
        time.sleep(0.05 * 1.6 ** attempt)
        run.kill()
        if run.wait() == 0:
            break
        try:
            partial += 1 if whole(database) else 100
        except (sqlite3.OperationalError, subprocess.CalledProcessError):
            pass  # no tables yet
    assert partial < 100, "a dump is there in part"
    load(database.target, *directories)
    assert whole(database) and tables(database)["dumps"] == made["dumps"], tables(database)


def others_files(_, odd):
    folder = harness.tempfile.mkdtemp()
    text, other, script = (os.path.join(folder, name) for name in ("notes.txt", "other.sqlite", "cut.sqlite"))
    with open(text, "w") as file:
        file.write("not a database\n" * 20)
    connection = sqlite3.connect(other)
    connection.executescript("CREATE TABLE dumps (id INTEGER); INSERT INTO dumps VALUES (7);")
    connection.close()
    with open(script, "wb") as file:
        file.write(b"SQLite format 3\0")
    for path in (text, other, script):
        with open(path, "rb") as file:
            before = file.read()
        run, _ = load(path, odd, status=2)
        assert "not a database that leakprof made" in run.stderr, run.stderr
        with open(path, "rb") as file:
            assert file.read() == before, path
        assert sorted(os.listdir(folder)) == ["cut.sqlite", "notes.txt", "other.sqlite"]
    run, _ = load(folder, odd, status=2)
    assert "not a file" in run.stderr, run.stderr
    run, _ = load("mysql://root:s3cret@db/x", odd, status=2)
    assert "mysql://: neither a file" in run.stderr, run.stderr


def others_schemas(database, odd):
    database.damage("DROP SCHEMA leakshim CASCADE; CREATE SCHEMA leakshim; CREATE TABLE leakshim.dumps (id int)")
    run, _ = load(database.target, odd, status=2)
    assert "a schema leakshim that leakprof did not make" in run.stderr and database.shown in run.stderr, run.stderr
    assert database.ask("SELECT count(*) FROM pg_tables WHERE schemaname = 'leakshim'") == [[1]]
    # Passwords that are wrong, or that make another URL of the URL: refused, and not told.
    host = database.root.replace("/", "%2F")
    for url in (f"postgresql://fleet:s3cret-wrong@{host}/postgres", "postgresql://fleet:s3cret/w@localhost:1/x",
                "postgresql://fleet:s3cret@w@localhost:1/x", "postgresql://fleet:s3cret?w@localhost:1/x",
                "postgresql://localhost:1/x?user=fleet&password=s3cret", "postgresql://fleet:s3cret@localhost:nonsense/x",
                "postgres://fleet:s3cret@localhost:1/x?nonsense=s3cret", "postgresql://fleet:s3cret%zz@localhost:1/x"):
        run, _ = load(url, odd, status=2)
        assert run.stderr.count("\n") == 1, run.stderr


main(sys.argv[1])
