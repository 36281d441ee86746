"""Stock jeprof and leakprof on the same files: the same totals, the same rows, and files of ours that both can read."""

import concurrent.futures
import difflib
import functools
import http.server
import itertools
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "preload"))
import harness  # noqa: E402

SYMBOLS = """--- symbol
binary=program
0x1000 leaf
0x1fff alpha::beta(int, char const*)
0x2000 alpha::beta(int, char const*)
0x2fff outer--middle--inner
0x3fff Templ<int>::call
0x4fff main
0x5000 malloc
---
--- heap
"""

CASES = {
    "plain": "heap_v2/524288\n  t*: 3: 300 [0: 0]\n@ 0x1000 0x2000 0x5000\n  t*: 3: 300 [0: 0]\n  t1: 3: 300 [0: 0]\n",
    "several lines of one stack": "heap_v2/1024\n  t*: 5: 500 [0: 0]\n@ 0x1000 0x2000\n  t*: 3: 48 [0: 0]\n"
                                  "  t*: 2: 452 [0: 0]\n",
    "repeated stacks": "heap_v2/4096\n@ 0x1000 0x2000\n  t*: 1: 10 [0: 0]\n@ 0x1000 0x3000\n  t*: 1: 20 [0: 0]\n"
                       "@ 0x1000 0x2000\n  t*: 1: 30 [0: 0]\n",
    "no correction": "heap_v2/0\n@ 0x1000 0x2000\n  t*: 7: 70 [9: 90]\n",
    "cumulative": "heap_v2/524288\n@ 0x1000 0x2000\n  t*: 0: 0 [9: 90]\n@ 0x1000 0x3000\n  t*: 1: 4096 [2: 8192]\n",
    "the allocator as leaf": "heap_v2/524288\n@ 0x5000 0x2000 0x4000\n  t*: 3: 300 [0: 0]\n",
    "recursion": "heap_v2/524288\n@ 0x1000 0x2000 0x2000 0x4000 0x2000\n  t*: 3: 300 [0: 0]\n",
    "inlined": "heap_v2/524288\n@ 0x1000 0x3000 0x5000\n  t*: 3: 300 [0: 0]\n",
    "lines that both skip": "heap_v2/524288\n# a remark\n@ 0x1000 0x2000\n  t*: 3: 300 [0: 0]\n# age 1 2 3\n\n",
    "tabs and no 0x": "heap_v2/524288\n@ 1000 2000\n\tt*:\t3: 300 [0: 0]\n",
    "ties": "heap_v2/524288\n@ 0x1000\n  t*: 1: 10 [0: 0]\n@ 0x2000\n  t*: 1: 10 [0: 0]\n@ 0x4000 0x5000\n  t*: 1: 10 [0: 0]\n",
    "gperftools, exact": "heap profile: 3: 300 [5: 500] @ heapprofile\n 3: 300 [5: 500] @ 0x1000 0x2000 0x5000\n",
    "tcmalloc, sampled": "heap profile: 3: 300 [5: 500] @ heap_v2/524288\n 3: 300 [5: 500] @ 0x1000 0x2000\n"
                         " 2: 700 [2: 700] @ 0x1000 0x3000\n",
    "tcmalloc, sampled, old": "heap profile: 3: 300 [5: 500] @ heap/524289\n 3: 301 [5: 503] @ 0x1000 0x2000\n"
                              " 7: 7000 [11: 11000] @ 0x1000 0x3000\n 1: 999999 [1: 999999] @ 0x3000\n",
    "tcmalloc, very old": "heap profile: 3: 300 [3: 300]\n 3: 300 [3: 300] @ 0x1000 0x2000\n",
    "growth": "heap profile: 3: 300 [3: 300] @ growthz\n 3: 300 [3: 300] @ 0x1000 0x2000\n",
    "large numbers": "heap_v2/524288\n@ 0x1000 0x2000\n  t*: 123456: 999999999999 [0: 0]\n",
}
VALUES = ["--inuse_space", "--inuse_objects", "--alloc_space", "--alloc_objects"]


def written(text, name="x.heap"):
    path = os.path.join(tempfile.mkdtemp(prefix="leakshim-test-"), name)
    with open(path, "w") as file:
        file.write(text)
    return path


def both(*arguments):
    ours, theirs = harness.leakprof(*arguments), harness.jeprof(*arguments)
    assert ours.returncode == 0, ours
    return ours.stdout, theirs.stdout


def symbolized_files_are_read_to_the_same_text():
    for name, body in CASES.items():
        path = written(SYMBOLS + body)
        for value in VALUES:
            for more in (["--show_bytes"], [], ["--cum", "--show_bytes"]):
                ours, theirs = both("--text", value, *more, path)
                assert theirs or value.startswith("--alloc"), f"{name}: jeprof printed nothing"
                assert ours == theirs, f"{name} {value} {more}\nours:\n{ours}\njeprof's:\n{theirs}"


# Each with what jeprof makes of it, run beside ours on the same file.
SPELLINGS = ["--CUM", "-cum", "+cum", "--cu", "--cum --nocum", "--cum --no-cum", "--cum --NOCU", "--Focus=alpha",
             "--focus --text", "-focus alpha", "--foc alpha", "--text --notext", "--inuse_o", "--alloc_space --noalloc_s",
             "--show", "--ig=beta", "--re leaf", "--ex leaf", "--drop", "--th=1", "--total_delay", "--conten", "--seconds 3",
             "--debug-s", "--thread *"]
REFUSED = ["--cum=1", "--cum=", "--focus=", "--nonsense", "--nobase=x", "---cum", "--=x", "--n", "--inuse", "-5", "--te",
           "--lines --files", "--inuse_space --alloc_space", "--text --collapsed", "--deb"]


def options_are_spelt_as_in_jeprof():
    path = written(SYMBOLS + CASES["plain"])
    for spelling in SPELLINGS:
        ours, theirs = both(*spelling.split(" "), path)
        assert ours == theirs, f"{spelling}\nours:\n{ours}\njeprof's:\n{theirs}"
    for spelling in REFUSED:
        ours, theirs = harness.leakprof(*spelling.split(" "), path), harness.jeprof(*spelling.split(" "), path)
        assert ours.returncode == theirs.returncode == 1, (spelling, ours, theirs.returncode)
        assert ours.stdout == "" and ours.stderr.count("\n") == 1, ours


def filters_do_what_jeprofs_do():
    path = written(SYMBOLS + CASES["repeated stacks"] + "@ 0x2000 0x3000 0x5000\n  t*: 4: 4000 [0: 0]\n")
    for option in ("--focus=alpha", "--focus=inner", "--ignore=beta", "--retain=leaf", "--exclude=alpha", "--focus=^leaf$"):
        ours, theirs = both("--text", "--show_bytes", option, path)
        assert ours == theirs, f"{option}\nours:\n{ours}\njeprof's:\n{theirs}"


def a_base_is_subtracted_alike():
    old = written(SYMBOLS + CASES["repeated stacks"], "old.heap")
    new = written(SYMBOLS + CASES["repeated stacks"].replace("1: 30", "3: 900"), "new.heap")
    for more in ([], ["--drop_negative"]):
        for first, second in ((old, new), (new, old)):
            ours, theirs = both("--text", "--show_bytes", f"--base={first}", *more, second)
            # Where a sum is negative jeprof prints -0.0% and the like; the values must be equal all the same.
            assert harness.rows_of(ours) == harness.rows_of(theirs), f"ours:\n{ours}\njeprof's:\n{theirs}"


def collapsed_stacks_are_the_same_set():
    for name in ("plain", "repeated stacks", "recursion", "inlined"):
        path = written(SYMBOLS + CASES[name])
        ours, theirs = both("--collapsed", path)
        assert sorted(ours.splitlines()) == sorted(theirs.splitlines()), f"{name}\nours:\n{ours}\njeprof's:\n{theirs}"
        assert ours.splitlines() == sorted(ours.splitlines()), "in order, each time"


def canonical(dot):
    """A graph's lines in an order that does not depend on how equal values were sorted: edges by the labels they join."""
    labels = dict(re.findall(r'^(N\d+) \[label="(.*?)\\n[-0-9]', dot, re.M))
    named = [re.sub(r"^N\d+ \[", "[", re.sub(r"^(N\d+) -> (N\d+)", lambda m: " -> ".join(map(labels.get, m.groups())), line))
             for line in dot.splitlines()]
    return named[:3] + sorted(named[3:])


GRAPH = SYMBOLS + """heap_v2/524288
@ 0x1000 0x2000 0x4000 0x5000
  t*: 3: 3000000 [0: 0]
  t1: 2: 2000000 [0: 0]
@ 0x1000 0x3000 0x5000
  t*: 1: 200000 [0: 0]
  t1: 1: 200000 [0: 0]
@ 0x9000 0x3000 0xffffffffff600000 0x5000
  t*: 1: 200011 [0: 0]
@ 0x5000 0x2000 0x2000 0x5000
  t*: 2: 100000 [0: 0]
@ 0x3000 0x2000 0x5000
  t*: 2: 10007 [0: 0]
@ 0x1000 0x9001
  t*: 2: 20007 [0: 0]
"""


def the_call_graph_is_the_same():
    path = written(GRAPH)
    old = written(GRAPH.replace("3: 3000000", "1: 100000").replace("2: 100000", "4: 900000"), "old.heap")
    none = 0
    for options in ("", "--addresses", "--files", "--show_bytes", "--inuse_objects", "--heapcheck", "--nodecount=3",
                    "--nodefraction=.5", "--edgefraction=.4", "--maxdegree=1", "--focus=inner", "--ignore=inner",
                    "--exclude=alpha", f"--base={old}", f"--base={old} --heapcheck", f"--base={old} --drop_negative",
                    f"--base={path}", "--thread=1", "--thread=*", "--nodecount=0", "--alloc_space"):
        arguments = ["--dot", *options.split(), path]
        ours, theirs = harness.leakprof("--jeprof-compat", *arguments), harness.jeprof(*arguments)
        assert ours.returncode == theirs.returncode, (options, ours, theirs)
        assert canonical(ours.stdout) == canonical(theirs.stdout), f"{options}\n{ours.stdout}\njeprof's:\n{theirs.stdout}"
        dropping = [re.search("Dropping.*", done.stderr) for done in (ours, theirs)]
        assert (dropping[0] and dropping[0].group()) == (dropping[1] and dropping[1].group()), (options, ours, theirs)
        none += ours.stdout == ""
    assert none == 3, f"{none} graphs are empty: of what is equal, of no node, of no value"


def rows_and_percentages_are_the_same_in_each_granularity():
    path = written(GRAPH)
    old = written(GRAPH.replace("3: 3000000", "1: 100000").replace("2: 100000", "40: 900000000"), "old.heap")
    for granularity in ("--functions", "--addresses", "--files"):
        for options in ("--show_bytes", f"--base={old}", f"--base={path}", "--focus=inner", "--thread=*"):
            arguments = ["--text", granularity, *options.split(), path]
            ours, theirs = harness.leakprof("--jeprof-compat", *arguments), harness.jeprof(*arguments)
            assert ours.stdout == theirs.stdout, f"{arguments}\n{ours.stdout}\njeprof's:\n{theirs.stdout}"


JEMALLOC = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"


@functools.cache
def corpus():
    """[(program, profile)]: jemalloc's profiles and ours, of C++ with and without debug information, python3 and Java."""
    profiles = []
    java = shutil.which("java")
    java_home = os.path.dirname(os.path.dirname(os.path.realpath(java))) if java else None
    commands = [[harness.program("calls")], [harness.program("calls_bare")],
                [os.path.realpath(sys.executable), "-S", "-c", "[str(i) * 9 for i in range(9999)]"]]
    if java_home:
        commands.append([os.path.join(java_home, "bin", "java"), "-version"])
    for command in commands:
        run = harness.run(command, preload=JEMALLOC, env={
            "MALLOC_CONF": "prof:true,prof_final:true,prof_accum:true,lg_prof_sample:12,prof_prefix:jeprof"})
        profiles.append((command[0], run.dumps[0]))
    run = harness.run(commands[0], conf="lg_prof_sample:12,prof_accum:true")
    profiles.append((commands[0][0], run.dumps[-1]))
    return profiles


def settled(text, cumulative):
    """A report's rows, those of equal values in the order of their names.

    jeprof adds doubles in the order of a hash, which differs from run to run: of rows whose values are equal as printed, the
    sums may differ in the last bit, and the rows come either way. The running percentage then counts behind the last alone.
    """
    column = 3 if cumulative else 0
    rows = [line.split(None, 5) for line in text.splitlines()]
    whole = [row for row in rows if len(row) == 6]
    groups = [list(group) for _, group in itertools.groupby(whole, key=lambda row: row[column])]
    return [row for row in rows if len(row) != 6], [
        (group[-1][2], sorted((row[:2], row[3:]) for row in group)) for group in groups]


def same_text(arguments, order=None):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        theirs = pool.submit(harness.jeprof, *arguments)
        ours, theirs = harness.leakprof("--jeprof-compat", *arguments), theirs.result()
    assert ours.returncode == theirs.returncode, (arguments, ours.stderr, theirs.returncode, theirs.stderr)
    order = order or (lambda text: settled(text, "--cum" in arguments))
    left, right = order(ours.stdout), order(theirs.stdout)
    assert left == right, f"{arguments}\n" + "\n".join(
        difflib.unified_diff(theirs.stdout.splitlines(), ours.stdout.splitlines(), "jeprof", "ours", lineterm="", n=0))
    return ours.stdout


def rows_of_equal_values_are_the_same_in_any_order():
    sizes = [(1, 16), (1, 4000), (3, 300), (7, 1777)]
    path = written(SYMBOLS + "heap_v2/4096\n" + "".join(
        f"@ {0x9000 + 64 * i + below:#x} {below:#x}\n  t*: {count}: {size} [0: 0]\n"
        for i, (count, size) in enumerate(sizes) for below in (0x1000, 0x4000)))
    arguments = ["--text", "--show_bytes", "--cum", path]
    ours, orders = harness.leakprof("--jeprof-compat", *arguments).stdout, set()
    for seed in range(20):
        theirs = harness.jeprof(*arguments, env={"PERL_HASH_SEED": str(seed), "PERL_PERTURB_KEYS": "0"}).stdout
        assert settled(ours, cumulative=True) == settled(theirs, cumulative=True), f"ours:\n{ours}\njeprof's:\n{theirs}"
        orders.add(theirs)
    assert len(orders) > 1, "jeprof's own order did not depend on its hashes"
    changed = ours.replace("28.1%", "28.2%", 1)
    assert changed != ours and settled(changed, cumulative=True) != settled(ours, cumulative=True)


def real_profiles_read_to_the_same_text():
    for number, (program, profile) in enumerate(corpus()):
        for options in ([[], ["--lines"], ["--files"], ["--alloc_objects"], ["--lines", "--focus=calls.cc:4."],
                         ["--ignore=main", "--exclude=start"]] if number == 0 else [["--addresses", "--cum"]]):
            assert same_text(["--text", "--show_bytes", *options, program, profile]), (program, options)
        if number < 3:
            same_text(["--collapsed", program, profile], lambda text: sorted(text.splitlines()))
        if number == 0:
            same_text(["--dot", program, profile], canonical)


def options_for_symbols_work_as_in_jeprof():
    program, profile = corpus()[0]
    folder = tempfile.mkdtemp(prefix="leakshim-test-")
    for tool in ("nm", "addr2line", "objdump", "c++filt"):
        os.symlink(shutil.which(tool), os.path.join(folder, "our-" + tool))
    for options in (["--add_lib=" + program], ["--debug-syms-by-id", "--lib_prefix=/nowhere/,/"],
                    [f"--tools={folder}/our-,nm:{shutil.which('nm')}"]):
        same_text(["--text", "--lines", "--show_bytes", *options, program, profile])
    done = harness.leakprof("--jeprof-compat", "--tools=/nowhere/", program, profile)
    assert done.returncode == 2 and "no nm in '/nowhere/'" in done.stderr, done


def in_build(tool, *arguments):
    """Run where the paths of sources in the debug information begin."""
    return subprocess.run([tool, *arguments], capture_output=True, text=True, timeout=60, cwd=harness.BUILD)


def routines(text):
    """Functions of one name come in any order."""
    return sorted(text.split("ROUTINE ="))


def functions_are_listed_alike():
    for program, profile in (corpus()[0], corpus()[1], corpus()[4]):
        for options in (["--list=ns::"], ["--disasm=^(ns|main|over)", "--show_bytes"],
                        ["--list=recurse|main", "--show_bytes", "--focus=recurse"], ["--disasm=recurse", "--inuse_objects"],
                        ["--list=main$"]):
            ours = in_build(harness.LEAKPROF, "--jeprof-compat", *options, program, profile)
            theirs = in_build("jeprof", *options, program, profile)
            assert ours.returncode == theirs.returncode == 0, (options, ours, theirs)
            assert routines(ours.stdout) == routines(theirs.stdout), f"{options}\n" + "\n".join(difflib.unified_diff(
                theirs.stdout.splitlines(), ours.stdout.splitlines(), "jeprof", "ours", lineterm="", n=0))
            assert ours.stdout or program.endswith("bare") or options == ["--list=main$"], (program, options)


def listings_need_no_program_and_no_address_in_a_name():
    _, profile = corpus()[4]
    listing = in_build(harness.LEAKPROF, "--list=^ns::Cache::put\\(int|^main$", "--show_bytes", profile)
    assert listing.returncode == 0 and listing.stdout.count("ROUTINE") == 2, listing
    rows = harness.rows_of(harness.leakprof("--text", "--lines", "--show_bytes", profile).stdout)
    line = re.search(r"^ *(\S+) +(\S+) +(\d+): +node->numbers.resize", listing.stdout, re.M)
    row = next(value for name, value in rows.items()
               if name.startswith("ns::Cache::put ") and name.endswith(f"calls.cc:{line.group(3)}"))
    assert abs(int(line.group(2)) - row[1]) <= 1, (row, listing.stdout)
    nothing = in_build(harness.LEAKPROF, "--list=no_such_function", profile)
    assert nothing.returncode == 0 and "no function that matches" in nothing.stderr, nothing
    missing = in_build(harness.LEAKPROF, "--disasm=main", "--tools=objdump:/nowhere/objdump,/usr/bin/", profile)
    assert missing.returncode == 2 and "/nowhere/objdump" in missing.stderr, missing


def commands_answer_alike():
    program, profile = corpus()[0]
    commands = "\n".join(["top", "top3", "text5 --cum", "top --lines -main -recurse", "  top4   -put", "list ns::outer|recurse",
                          "list recurse -main", "disasm recurse", "", "nonsense", "help", "top3 something", "quit", "top"]) + "\n"
    for options in ([], ["--focus=main", "--show_bytes"], ["--ignore=recurse", "--inuse_objects"], ["--lines"]):
        run = lambda tool, *more: subprocess.run([tool, *more, *options, "--interactive", program, profile], input=commands,
                                                 capture_output=True, text=True, timeout=60, cwd=harness.BUILD)
        ours, theirs = run(harness.LEAKPROF, "--jeprof-compat"), run("jeprof")
        assert ours.returncode == theirs.returncode == 0, (options, ours, theirs)
        assert ours.stdout == theirs.stdout, f"{options}\n" + "\n".join(difflib.unified_diff(
            theirs.stdout.splitlines(), ours.stdout.splitlines(), "jeprof", "ours", lineterm="", n=0))
        assert ours.stderr.count("(leakprof) ") == 13 and "Unknown command" in ours.stderr, ours.stderr


def a_terminal_gets_a_prompt_with_completion_and_history():
    program, profile = corpus()[0]
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execv(harness.LEAKPROF, ["leakprof", program, profile])
    seen = ""

    def expect(pattern):
        nonlocal seen
        deadline = time.monotonic() + 30
        while not re.search(pattern, seen):
            assert time.monotonic() < deadline, f"no {pattern} in {seen!r}"
            if select.select([terminal], [], [], 1)[0]:
                seen += os.read(terminal, 1 << 16).decode(errors="replace")
        seen = ""

    try:
        expect(r"\(leakprof\) ")
        os.write(terminal, b"top2\n")
        expect(r"(?s)Total: .*MB.*\(leakprof\) ")
        os.write(terminal, b"\x1b[A\n")  # the line before
        expect(r"(?s)Total: .*MB.*\(leakprof\) ")
        os.write(terminal, b"li\t ns::rec\t\n")
        expect(r"(?s)Total: .*ROUTINE =+ ns::recurse in .*\(leakprof\) ")
        os.write(terminal, b"quit\n")
        assert os.waitpid(pid, 0)[1] == 0
    finally:
        os.close(terminal)


class Pprof(http.server.BaseHTTPRequestHandler):
    """A process that serves its heap profile."""
    pages = {"/pprof/heap": CASES["plain"], "/pprof/cmdline": "/opt/served\0--option\0"}
    symbols, posted = "num_symbols: 5\n", []

    def answer(self, text):
        self.send_response(404 if text is None else 200)
        self.end_headers()
        self.wfile.write((text or "").encode())

    def do_GET(self):
        self.answer(self.symbols if self.path == "/pprof/symbol" else self.pages.get(self.path))

    def do_HEAD(self):
        self.answer("")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.posted.append((self.path, body))
        names = dict(re.findall(r"^0x(\w+) (.*)$", SYMBOLS, re.M))
        self.answer("".join(f"{pc}\t{names[pc[2:].lstrip('0')]}\n" for pc in body.split("+") if pc[2:].lstrip("0") in names))

    def log_message(self, *_):
        pass


def a_served_profile_is_fetched_as_by_jeprof():
    folder = tempfile.mkdtemp(prefix="leakshim-test-")
    env = dict(os.environ, JEPROF_TMPDIR=folder, no_proxy="*")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pprof) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_port}"
        run = lambda tool, *arguments: subprocess.run([tool, *arguments], capture_output=True, text=True, timeout=60, env=env)
        for options in (["--text"], ["--dot"], ["--text", "--retain=le[a]f|beta"], ["--collapsed"]):
            for url in (f"http://{address}/pprof/heap", f"{address}/pprof/heap"):
                Pprof.posted.clear()
                ours, theirs = run(harness.LEAKPROF, "--jeprof-compat", *options, url), run("jeprof", *options, url)
                assert ours.returncode == theirs.returncode == 0 and ours.stdout, (ours, theirs)
                assert canonical(ours.stdout) == canonical(theirs.stdout), f"{ours.stdout}\njeprof's:\n{theirs.stdout}"
                assert len(Pprof.posted) == 2 and Pprof.posted[0] == Pprof.posted[1], Pprof.posted
        kept = re.search(r"the profile is in (\S+)", run(harness.LEAKPROF, "--text", f"http://{address}").stderr).group(1)
        assert os.path.dirname(kept) == folder and os.path.basename(kept).startswith("served."), kept
        with open(kept) as file:
            assert file.read() == CASES["plain"]
        Pprof.symbols = None
        nameless = run(harness.LEAKPROF, "--text", f"http://{address}/pprof/heap")
        assert nameless.returncode == 0 and "names nothing" in nameless.stderr and "Total: 1.5 MB" in nameless.stdout, nameless
        gone = run(harness.LEAKPROF, f"http://{address}/pprof/growth")
        assert gone.returncode == 2 and "404" in gone.stderr, gone
        server.shutdown()
    gone = run(harness.LEAKPROF, f"http://{address}/pprof/heap")
    assert gone.returncode == 2 and gone.stdout == "" and address in gone.stderr, gone


def addresses_on_standard_input_are_named_alike():
    program, profile = corpus()[0]
    dump = harness.Dump(profile)
    addresses = sorted({frame for frames, *_ in dump.stacks for frame in frames})
    text = dump.maps + "".join("%#x\n" % address for address in addresses) + "0xdead of nothing\nno address\n"
    run = lambda tool, *options: subprocess.run([tool, *options, "--symbols", program], input=text, capture_output=True,
                                                text=True, timeout=60)
    ours, theirs = run(harness.LEAKPROF, "--jeprof-compat"), run("jeprof")
    assert ours.stdout == theirs.stdout and ours.returncode == 0, (ours, theirs)
    named = run(harness.LEAKPROF).stdout.splitlines()
    assert len(named) == len(addresses) + 1 and named[-1] == "??", named
    same = sum(a == b for a, b in zip(named, theirs.stdout.splitlines()))
    assert same > len(addresses) / 2 and "ns::recurse" in named, (same, named, theirs.stdout)


def callgrinds_tools_read_the_calls():
    program, profile = corpus()[0]
    folder = tempfile.mkdtemp(prefix="leakshim-test-")
    for options in ([], ["--focus=recurse"], ["--inuse_objects"]):
        path = os.path.join(folder, "callgrind.out.1")
        with open(path, "w") as file:
            file.write(harness.leakprof("--callgrind", *options, program, profile).stdout)
        done = subprocess.run(["callgrind_annotate", "--inclusive=yes", "--auto=no", "--threshold=100", "--show-percs=no", path],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and not done.stderr, done
        number = lambda line: int(line.split()[0].replace(",", ""))
        total = next(number(line) for line in done.stdout.splitlines() if "PROGRAM TOTALS" in line)
        rows = harness.rows_of(harness.leakprof("--text", "--show_bytes", *options, program, profile).stdout)
        assert abs(total - sum(flat for flat, _ in rows.values())) < len(rows), (total, rows)
        for function in ("ns::recurse", "main", "ns::outer"):
            if function not in rows:
                continue
            shown = sum(number(line) for line in done.stdout.splitlines() if re.search(rf":{function}\b", line))
            assert abs(shown - rows[function][1]) < len(rows), (options, function, shown, rows[function], done.stdout)


def graphs_are_drawn_by_graphviz_and_shown_by_what_the_desktop_has():
    path = written(SYMBOLS + CASES["plain"])
    for option, magic in (("--svg", "<?xml"), ("--gif", "GIF8"), ("--pdf", "%PDF-"), ("--ps", "%!PS-")):
        done = subprocess.run([harness.LEAKPROF, option, path], capture_output=True, timeout=60)
        assert done.returncode == 0 and done.stdout.decode("latin1").startswith(magic), (option, done)
    folder = tempfile.mkdtemp(prefix="leakshim-test-")
    env = dict(os.environ, PATH=folder, TMPDIR=folder)
    run = lambda option: subprocess.run([harness.LEAKPROF, option, path], capture_output=True, text=True, env=env, timeout=60)
    missing = run("--svg")
    assert missing.returncode == 2 and "graphviz" in missing.stderr and missing.stdout == "", missing
    os.symlink(shutil.which("dot"), os.path.join(folder, "dot"))
    missing = run("--gv")
    assert missing.returncode == 2 and "gv, xdg-open" in missing.stderr, missing
    for viewer in ("gv", "evince", "xdg-open"):
        with open(os.path.join(folder, viewer), "w") as script:
            script.write("#!/bin/sh\necho %s \"$@\"\n" % viewer)
        os.chmod(script.name, 0o755)
    for option, expected in (("--gv", r"gv --scale=0 --noantialias (\S+\.ps)\n"), ("--evince", r"evince (\S+\.pdf)\n"),
                             ("--web", r"xdg-open (\S+\.svg)\n")):
        done = run(option)
        match = re.fullmatch(expected, done.stdout)
        assert done.returncode == 0 and match and os.path.getsize(match.group(1)) > 500, (option, done)


def what_jeprof_gets_wrong_is_right():
    bare = written(SYMBOLS + "heap_v2/524288\n@ 0x1000\n  t*: 1: 1000 [0: 0]\n@\n  t*: 2: 9000 [0: 0]\n")
    rows = harness.rows_of(harness.leakprof("--text", "--show_bytes", bare).stdout)
    assert rows["[no stack]"][0] > rows["leaf"][0], rows
    compat, theirs = harness.leakprof("--jeprof-compat", "--text", "--show_bytes", bare), harness.jeprof(
        "--text", "--show_bytes", bare)
    assert compat.stdout == theirs.stdout, (compat.stdout, theirs.stdout)


def dumps_of_jemalloc_itself_add_up_alike():
    run = harness.run([harness.program("truth"), "2", "3000"], preload="/usr/lib/x86_64-linux-gnu/libjemalloc.so.2",
                      env={"MALLOC_CONF": "prof:true,prof_final:true,lg_prof_sample:10,prof_prefix:jeprof"})
    path = run.dumps[-1]
    ours, theirs = both("--text", "--show_bytes", harness.program("truth"), path)
    assert ours.splitlines()[0] == theirs.splitlines()[0], (ours[:200], theirs[:200])
    ours, theirs = harness.rows_of(ours), harness.rows_of(theirs)
    for site in ("site_malloc", "site_calloc", "site_large", "site_grow", "Make"):
        if site in theirs:
            assert ours.get(site, (0, 0))[1] == theirs[site][1], (site, ours.get(site), theirs[site])


def a_raw_profile_has_its_names_for_jeprof_too():
    run = harness.run([harness.program("truth"), "2", "3000"], conf="lg_prof_sample:0,prof_final:false")
    dump = re.search(r"^dump (.*)$", run.stdout, re.M).group(1)
    path = written(harness.leakprof("--raw", dump).stdout)
    ours = harness.rows_of(harness.leakprof("--text", "--show_bytes", dump).stdout)
    for reader in (harness.leakprof, harness.jeprof):
        rows = harness.rows_of(reader("--text", "--show_bytes", path).stdout)
        for site in ("site_malloc", "site_calloc", "site_large", "site_posix"):
            assert rows[site] == ours[site], (reader.__name__, site, rows.get(site), ours[site])


JAVA_DUMP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "shop.4712.3.t3.heap")


def java_frames_have_their_names_in_jeprof():
    path = written(harness.leakprof("--raw", JAVA_DUMP).stdout)
    theirs = harness.jeprof("--text", "--show_bytes", path)
    assert theirs.returncode == 0, theirs
    rows, ours = harness.rows_of(theirs.stdout), harness.rows_of(harness.leakprof("--text", "--show_bytes", JAVA_DUMP).stdout)
    java = [name for name in ours if name.startswith(("java.", "shop.", "[compiling] shop.", "[java]", "LuaJIT:"))]
    assert len(java) == 14, ours
    for name in java:
        # What we hide as plumbing is jeprof's leaf: there only the second column is the same.
        theirs_row = rows.get(name.replace("<init>", "[init]"))
        assert theirs_row is not None and theirs_row[1] == ours[name][1], (name, theirs_row, ours[name])
    assert not [name for name in rows if re.match(r"(0x)?[0-9a-f]{16}", name)], rows
    # Also when a Java frame is the leaf, and read back by ourselves.
    leaf = written(re.sub(r"@( 0x7f\w+)+ (?=0x4)", "@ ", harness.leakprof("--raw", JAVA_DUMP).stdout))
    ours, theirs = both("--text", "--show_bytes", leaf)
    assert "jdk.internal.misc.Unsafe.allocateMemory0" in theirs and "java.util.zip.Deflater.init" in theirs, theirs
    compat, theirs = both("--jeprof-compat", "--text", "--show_bytes", leaf)[0], harness.jeprof(
        "--text", "--show_bytes", leaf).stdout
    assert compat == theirs, (compat, theirs)


def a_series_is_not_a_sum():
    run = harness.run([harness.program("sizes"), "1000x5000"], conf="lg_prof_sample:8")
    assert len(run.dumps) == 2
    last = harness.leakprof("--text", "--show_bytes", run.dumps[-1])
    series = harness.leakprof("--text", "--show_bytes", *run.dumps)
    assert series.stdout == last.stdout and "1 earlier dump" in series.stderr, series
    added = harness.leakprof("--jeprof-compat", "--text", "--show_bytes", *run.dumps)
    assert re.match(r"Total: (\d+)", added.stdout).group(1) != re.match(r"Total: (\d+)", last.stdout).group(1)


def a_wrong_binary_is_refused_for_names():
    run = harness.run([harness.program("truth"), "1", "2000"], conf="lg_prof_sample:0,prof_final:false")
    dump = re.search(r"^dump (.*)$", run.stdout, re.M).group(1)
    done = harness.leakprof("--text", harness.program("sizes"), dump)
    assert done.returncode == 0 and done.stderr.count("\n") == 1 and "build id" in done.stderr, done.stderr
    assert "site_malloc" not in done.stdout and "truth+0x" in done.stdout, done.stdout


HELPERS = (written, both, canonical, corpus, settled, same_text, in_build, routines, Pprof)

if __name__ == "__main__":
    harness.main({name: test for name, test in list(globals().items())
                  if callable(test) and getattr(test, "__module__", "") == "__main__" and test not in HELPERS})
