"""The README's pipeline on a program that leaks, and its alert in a Prometheus of the test's own."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "preload"))
import harness  # noqa: E402

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
LEAKPROF = os.path.join(harness.BUILD, "leakprof")
ENV = {**os.environ, "PATH": f"{harness.BUILD}:{os.environ['PATH']}", "EVERY": "1s"}


def block(name):
    """The file `name` as the README has it."""
    with open(os.path.join(ROOT, "README.md")) as file:
        return re.search(rf"<!-- file: {re.escape(name)} -->\n```\w*\n(.*?)```", file.read(), re.S).group(1)


folder = harness.tempfile.mkdtemp(prefix="gates-")
with open(os.path.join(folder, "pipeline.sh"), "w") as file:
    file.write(block("pipeline.sh"))


def pipeline(where, command, **env):
    """The script's run in a folder of its own."""
    directory = os.path.join(folder, where)
    os.makedirs(directory)
    return subprocess.run(["sh", os.path.join(folder, "pipeline.sh"), *command], cwd=directory, env={**ENV, **env},
                          capture_output=True, text=True, timeout=120)


# Holds ten megabytes, of which some come and go all the time.
QUIET = """
import time
kept = [bytes(20_000) for _ in range(500)]
end = time.monotonic() + 13
for i in range(10 ** 9):
    kept[i * 7919 % 500] = bytes(20_000)
    if i % 100 == 0:
        time.sleep(0.01)
        if time.monotonic() > end:
            break
"""
LEAKING = [harness.program("corpus"), "mixed", "14"]


def a_pipeline_fails_on_growth_and_passes_with_a_suppression():
    run = pipeline("leaking", LEAKING)
    assert run.returncode == 3, run
    assert re.search(r"^leakprof: growth>10M/h: leak_\w+ of process \d+ grows by ", run.stderr, re.M), run.stderr
    made = subprocess.run([LEAKPROF, "--gen-suppressions", os.path.join(folder, "leaking", "profiles")], env=ENV, capture_output=True,
                          text=True, timeout=60)
    assert made.returncode == 0 and "fun:leak_" in made.stdout, made
    known = os.path.join(folder, "known.supp")
    with open(known, "w") as file:
        # And of another kind: whatever of this program's is called so.
        file.write(made.stdout + "leak:^leak_\n")
    run = pipeline("known", LEAKING, KNOWN=known)
    assert run.returncode == 0, run
    assert re.search(r"^leakprof: suppressed by .*known\.supp:\d+", run.stderr, re.M), run.stderr


def port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def get(url):
    with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.read().decode()
    return ""


def until(what, seconds=40):
    deadline = time.monotonic() + seconds
    while not (got := what()):
        assert time.monotonic() < deadline, what
        time.sleep(0.2)
    return got


def the_alert_fires_for_what_leaks_and_for_nothing_else():
    profiles = os.path.join(folder, "leaking", "profiles")
    quiet = harness.run(["/usr/bin/python3", "-c", QUIET], conf="prof_time_interval:1s,lg_prof_sample:14,prof_keep:0", timeout=60)
    assert quiet.status == 0 and len(quiet.dumps) >= 8, quiet
    collected = os.path.join(folder, "collected")
    os.makedirs(collected)
    for name, source in (("leaking", profiles), ("quiet", quiet.directory)):
        made = subprocess.run([LEAKPROF, f"--metrics={collected}/{name}.prom", source], capture_output=True, text=True, timeout=60)
        assert made.returncode == 0 and os.listdir(collected).count(f"{name}.prom") == 1, made
        with open(f"{collected}/{name}.prom") as file:
            checked = subprocess.run(["promtool", "check", "metrics"], stdin=file, capture_output=True, text=True, timeout=60)
        assert checked.returncode == 0 and checked.stderr == "", checked
    assert all(name.endswith(".prom") for name in os.listdir(collected))
    rules = os.path.join(folder, "leakshim.rules.yml")
    with open(rules, "w") as file:
        file.write(block("leakshim.rules.yml"))
    exported, served = port(), port()
    with open(os.path.join(folder, "prometheus.yml"), "w") as file:
        file.write("global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
                   f"rule_files: [{rules}]\n"
                   f"scrape_configs: [{{job_name: node, honor_labels: true, static_configs: [{{targets: ['127.0.0.1:{exported}']}}]}}]\n")
    with contextlib.ExitStack() as stack:
        for command in (["prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{exported}", "--collector.disable-defaults",
                         "--collector.textfile", f"--collector.textfile.directory={collected}"],
                        ["prometheus", f"--config.file={folder}/prometheus.yml", f"--web.listen-address=127.0.0.1:{served}",
                         f"--storage.tsdb.path={folder}/tsdb"]):
            with open(os.path.join(folder, command[0] + ".log"), "w") as log:
                process = stack.enter_context(subprocess.Popen(command, stdout=log, stderr=log, cwd=folder))
            stack.callback(process.terminate)
        until(lambda: "leakshim_growing" in get(f"http://127.0.0.1:{exported}/metrics"))
        assert "node_textfile_scrape_error 0" in get(f"http://127.0.0.1:{exported}/metrics")
        alerts = lambda: json.loads(get(f"http://127.0.0.1:{served}/api/v1/alerts") or '{"data": {"alerts": []}}')["data"]["alerts"]
        until(alerts)
        time.sleep(3)
        labels = {alert["labels"]["process"] for alert in alerts()}
        assert labels == {"corpus"} and alerts()[0]["state"] == "firing", alerts()
        assert re.search(r"corpus \d+ on \S+ grows by [0-9.]+[MG]iB an hour", alerts()[0]["annotations"]["summary"]), alerts()
        known = json.loads(get(f"http://127.0.0.1:{served}/api/v1/query?query=leakshim_growing"))["data"]["result"]
        assert {row["metric"]["process"]: row["value"][1] for row in known} == {"corpus": "1", os.path.basename(os.path.realpath("/usr/bin/python3")): "0"}, known


if __name__ == "__main__":
    harness.main({test.__name__: test for test in (a_pipeline_fails_on_growth_and_passes_with_a_suppression,
                                                   the_alert_fires_for_what_leaks_and_for_nothing_else)})
