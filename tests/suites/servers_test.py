"""Real servers run their ordinary load under the preload, with their results and without a word of ours.

    servers_test.py redis | nginx | postgres | tomcat | node | python

For scripts/soak.sh; the packages redis-server, nginx, postgresql, tomcat10 and nodejs must be there.
"""

import concurrent.futures
import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../preload"))
import harness  # noqa: E402

CONF = "lg_prof_sample:14,lg_prof_interval:25,prof_keep:8"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(port, seconds=30):
    for _ in range(seconds * 20):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"nobody listens on {port}")


class Server:
    """A server under the preload, from a folder of its own; ended by SIGTERM."""

    preload = harness.LIBRARY

    def __init__(self, command, port, conf=CONF, user=None):
        self.directory = harness.tempfile.mkdtemp(prefix="leakshim-test-")
        os.chmod(self.directory, 0o777)
        self.log = os.path.join(self.directory, "log")
        env = {**os.environ, "LD_PRELOAD": self.preload, "LEAKSHIM_CONF": f"{conf},prof_prefix:{self.directory}/leakshim"}
        wrapper = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([*wrapper, *command], cwd=self.directory, env=env, stdout=log, stderr=log)
        wait_for(port)

    def stop(self, how=signal.SIGTERM, status=(0,)):
        self.process.send_signal(how)
        assert self.process.wait(60) in status, (self.process.returncode, self.said())
        assert "leakshim: " not in self.said(), self.said()
        dumps = harness.dumps_in(self.directory)
        assert dumps, "the server left no dump"
        for path in dumps:
            harness.Dump(path).check_books(nested=True)
        assert not glob.glob(os.path.join(self.directory, "*.tmp"))
        return dumps

    def said(self):
        with open(self.log, errors="replace") as log:
            return log.read()


class Alone(Server):
    """The same without the preload."""

    preload = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)


def client(*command, timeout=300):
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done
    return done.stdout


def redis():
    port = free_port()
    server = Server(["redis-server", "--port", str(port), "--save", "", "--appendonly", "no"], port)
    out = client("redis-benchmark", "-p", str(port), "-n", "20000", "-c", "20", "-d", "200", "-r", "10000", "-q", "-t",
                 "set,get,lpush,lpop,zadd")
    assert len(re.findall(r"requests per second", out)) == 5, out
    keys = client("redis-cli", "-p", str(port), "dbsize")
    for _ in range(5):
        assert "Background saving started" in client("redis-cli", "-p", str(port), "bgsave")
        while "rdb_bgsave_in_progress:1" in client("redis-cli", "-p", str(port), "info", "persistence"):
            time.sleep(0.05)
        assert "rdb_last_bgsave_status:ok" in client("redis-cli", "-p", str(port), "info", "persistence")
    assert client("redis-cli", "-p", str(port), "dbsize") == keys
    server.stop()


def nginx():
    port = free_port()
    root = harness.tempfile.mkdtemp(prefix="leakshim-test-")
    with open(os.path.join(root, "page"), "wb") as page:
        page.write(b"x" * 100_000)
    conf = os.path.join(root, "nginx.conf")
    with open(conf, "w") as file:
        file.write(f"""daemon off; worker_processes 2; pid {root}/pid; error_log {root}/error.log warn; user root;
            events {{ }} http {{ access_log off; gzip on; gzip_types *; gzip_min_length 10; server {{ listen 127.0.0.1:{port};
            root {root}; }} }}""")
    server = Server(["nginx", "-e", f"{root}/error.log", "-c", conf], port, conf="lg_prof_sample:12,lg_prof_interval:24,prof_keep:8")

    def fetch(i):
        request = urllib.request.Request(f"http://127.0.0.1:{port}/page", headers={"Accept-Encoding": "gzip"} if i % 2 else {})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return len(answer.read())

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        sizes = list(pool.map(fetch, range(4000)))
    assert sizes[0] == 100_000 and set(sizes[::2]) == {100_000} and len(set(sizes[1::2])) == 1, set(sizes)
    server.process.send_signal(signal.SIGHUP)  # new workers
    time.sleep(1)
    assert fetch(0) == 100_000
    server.stop(signal.SIGQUIT)
    with open(os.path.join(root, "error.log")) as log:
        assert "leakshim: " not in log.read()


def postgres():
    (tools,) = glob.glob("/usr/lib/postgresql/*/bin")[-1:]
    root = harness.tempfile.mkdtemp(prefix="leakshim-test-")
    os.chmod(root, 0o777)
    data = os.path.join(root, "data")
    user = int(subprocess.run(["id", "-u", "postgres"], capture_output=True, text=True, check=True).stdout)
    as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if os.getuid() == 0 else []
    client(*as_user, f"{tools}/initdb", "-D", data, "-A", "trust")
    port = free_port()
    server = Server([f"{tools}/postgres", "-D", data, "-p", str(port), "-k", root, "-c", "max_parallel_workers_per_gather=2"],
                    port, user=user if as_user else None, conf="lg_prof_sample:14,lg_prof_interval:25,prof_keep:8,prof_fork:fresh")
    for _ in range(200):
        if subprocess.run([f"{tools}/pg_isready", "-q", "-h", root, "-p", str(port)]).returncode == 0:
            break
        time.sleep(0.1)
    bench = [*as_user, f"{tools}/pgbench", "-h", root, "-p", str(port), "postgres"]
    client(*bench, "-i", "-s", "3", "-q")
    out = client(*bench, "-c", "8", "-j", "2", "-t", "300")
    assert "number of failed transactions: 0" in out, out
    out = client(*as_user, f"{tools}/psql", "-h", root, "-p", str(port), "postgres", "-Atc",
                 "select count(*), sum(abalance) = (select sum(delta) from pgbench_history) from pgbench_accounts")
    assert out.strip() == "300000|t", out
    server.stop(signal.SIGINT)


# Sessions, compression, a direct buffer: what a page of a Java service takes from malloc.
PAGE = """<%@ page import="java.nio.ByteBuffer, java.util.zip.CRC32, java.util.zip.Deflater" %><%
  int n = Integer.parseInt(request.getParameter("n"));
  Integer seen = (Integer) session.getAttribute("seen");
  session.setAttribute("seen", seen == null ? 1 : seen + 1);
  byte[] text = "a line of text, ".repeat(n).getBytes();
  byte[] packed = new byte[text.length + 64];
  Deflater deflater = new Deflater();
  deflater.setInput(text);
  deflater.finish();
  int length = deflater.deflate(packed);
  deflater.end();
  CRC32 sum = new CRC32();
  sum.update(ByteBuffer.allocateDirect(length).put(packed, 0, length).flip());
%><%= n %> <%= length %> <%= sum.getValue() %> <%= session.getAttribute("seen") %>
"""


def tomcat():
    home = "/usr/share/tomcat10"
    base = harness.tempfile.mkdtemp(prefix="leakshim-test-")
    for folder in ("logs", "temp", "work", "webapps/ROOT"):
        os.makedirs(os.path.join(base, folder))
    shutil.copytree("/etc/tomcat10", os.path.join(base, "conf"), ignore=shutil.ignore_patterns("Catalina"))
    with open(os.path.join(base, "webapps/ROOT/page.jsp"), "w") as page:
        page.write(PAGE)
    port = free_port()
    with open(os.path.join(base, "conf/server.xml"), "w") as conf:
        conf.write(f"""<Server port="-1"><Service name="Catalina"><Connector port="{port}" address="127.0.0.1" maxThreads="20"
            compression="on" compressionMinSize="1"/><Engine name="Catalina" defaultHost="localhost"><Host name="localhost"
            appBase="webapps"/></Engine></Service></Server>""")
    os.environ.update(CATALINA_HOME=home, CATALINA_BASE=base, CATALINA_OPTS="-Xmx256m")

    def fetch(i):
        """A user asks 20 times in one session; what each answer said."""
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        answers = [opener.open(f"http://127.0.0.1:{port}/page.jsp?n={i + 1}", timeout=60).read().decode().split() for _ in range(20)]
        assert [int(answer[3]) for answer in answers] == list(range(1, 21)), answers
        return answers[0][:3]

    def serve(server):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(fetch, range(100)))
        said = [line for line in server.said().splitlines() if "SEVERE" in line or "WARNING" in line]
        return answers, sorted({re.sub(r"^\S+ \S+ |\[\d+\]", "", line) for line in said})

    command = [f"{home}/bin/catalina.sh", "run"]
    with Alone(command, port) as server:
        alone = serve(server)
    server = Server(command, port)
    assert serve(server) == alone
    server.stop(status=(143,))


NODE = """
const {Worker, isMainThread} = require('worker_threads'), zlib = require('zlib'), {execSync} = require('child_process');
if (!isMainThread) { let s = 0; for (let i = 0; i < 300; i++) s += zlib.gzipSync(Buffer.alloc(20000, i)).length;
  require('worker_threads').parentPort.postMessage(s); } else {
  let sums = [], left = 4;
  for (let i = 0; i < 4; i++) new Worker(__filename).on('message', s => { sums.push(s); if (--left == 0) {
    console.log(new Set(sums).size, execSync('echo hello').toString().trim()); } }); }
"""


def node():
    directory = harness.tempfile.mkdtemp(prefix="leakshim-test-")
    script = os.path.join(directory, "load.js")
    with open(script, "w") as file:
        file.write(NODE)
    for _ in range(3):
        run = harness.run(["node", script], conf=CONF, directory=directory, timeout=120)
        assert run.status == 0 and run.stdout == "1 hello\n" and run.stderr == "" and run.dumps, run


PYTHON = """
import subprocess, threading, json, zlib, multiprocessing
def work(n):
    return sum(len(zlib.compress(json.dumps(list(range(i % 500))).encode())) for i in range(n))
threads = [threading.Thread(target=work, args=(2000,)) for _ in range(4)]
[t.start() for t in threads]
said = [subprocess.run(["echo", str(i)], capture_output=True, text=True).stdout.strip() for i in range(50)]
[t.join() for t in threads]
with multiprocessing.get_context("fork").Pool(3) as pool:
    sums = set(pool.map(work, [500] * 12))
print(said == [str(i) for i in range(50)], len(sums))
"""


def python():
    for _ in range(3):
        run = harness.run(["/usr/bin/python3", "-c", PYTHON], conf=CONF, timeout=120)
        assert run.status == 0 and run.stdout == "True 1\n" and run.stderr == "" and run.dumps, run
        for path in run.dumps:
            harness.Dump(path).check_books()


if __name__ == "__main__":
    harness.main({test.__name__: test for test in (redis, nginx, postgres, tomcat, node, python)})
