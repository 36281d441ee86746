"""Code that was compiled at run time has its name in reports: from the perf map, as long as that is there, into the dump."""

import os
import re
import shutil

import harness

ROWS, INDEX = "JS:*make_rows /srv/rules.js:12:3", "JS:~(anonymous) /srv/rules.js:40"


def run(*arguments, program="jit"):
    done = harness.run([harness.program(program), *arguments], conf="lg_prof_sample:0,prof_final:false")
    assert done.status == 0 and done.stderr == "", done
    code = re.search(r"^code (\w+) (\w+) (\w+) (\w+)$", done.stdout, re.M).groups()
    dump = re.search(r"^dump (.*)$", done.stdout, re.M).group(1)
    pid = re.search(r"\.(\d+)\.\d+\.\w+\.heap$", dump).group(1)
    return dump, code, f"perf-{pid}.map"


def rows_of(path):
    report = harness.leakprof("--text", "--show_bytes", path)
    assert report.returncode == 0 and report.stderr == "", report.stderr
    return harness.rows_of(report.stdout)


def check_named(path):
    rows = rows_of(path)
    assert rows.get(ROWS) == (100_000, 100_000) and rows.get(INDEX) == (2_400, 2_400), rows


def write_map(path, code):
    with open(path, "w") as file:
        file.write(f"{code[0]} {code[1]} {ROWS}\n{code[2]} {code[3]} {INDEX}\n")


def the_dump_keeps_the_names_when_the_map_is_gone():
    dump, code, name = run("map")
    os.unlink(f"/tmp/{name}")
    check_named(dump)
    pcs = {symbol for module, _, symbol in harness.Dump(dump).pcs.values() if module == 0}
    # The return address of the call: 16 bytes into the function.
    assert pcs >= {f"{ROWS}+0x10", f"{INDEX}+0x10"}, pcs
    raw = os.path.join(os.path.dirname(dump), "raw")
    with open(raw, "w") as file:
        file.write(harness.leakprof("--raw", dump).stdout)
    rows = harness.rows_of(harness.jeprof("--text", "--show_bytes", raw).stdout)
    assert rows[ROWS] == (100_000, 100_000) and rows[INDEX.replace("(", "[").replace(")", "]")] == (2_400, 2_400), rows


def a_map_of_this_machine_or_beside_the_dump_will_do_later():
    dump, code, name = run()
    nameless = [row for row in rows_of(dump) if row.startswith("[unknown code] 0x")]
    assert len(nameless) == 2, rows_of(dump)
    try:
        write_map(f"/tmp/{name}", code)
        check_named(dump)
        compat = harness.leakprof("--jeprof-compat", "--text", dump).stdout
        assert "?? ??:0" in compat and "JS:" not in compat, compat
    finally:
        os.unlink(f"/tmp/{name}")
    assert not [row for row in rows_of(dump) if row.startswith("JS:")]
    write_map(os.path.join(os.path.dirname(dump), name), code)
    check_named(dump)


def a_program_that_takes_mallocs_address_at_a_fixed_one_is_seen_as_well():
    dump, code, name = run("map", program="jit_fixed")
    os.unlink(f"/tmp/{name}")
    check_named(dump)  # the leaf is our malloc, not the program's PLT: it is hidden


def a_map_that_is_not_the_processs_own_is_not_read():
    if os.geteuid() != 0:
        return  # only root can give a file away
    dump, code, name = run()
    try:
        write_map(f"/tmp/{name}", code)
        os.chown(f"/tmp/{name}", 4711, 4711)
        assert not [row for row in rows_of(dump) if row.startswith("JS:")], rows_of(dump)
    finally:
        os.unlink(f"/tmp/{name}")


def node_names_its_functions():
    node = shutil.which("node")
    if node is None:
        return  # the program above is node's stand-in where there is none
    script = """
        function leakHere(list, size) { list.push(Buffer.allocUnsafeSlow(size)); }
        function fill() { const list = []; for (let i = 0; i < 20000; i++) leakHere(list, 3000 + i % 8); return list; }
        const kept = fill(); process.stdout.write(String(kept.length));
    """
    done = harness.run([node, "--perf-basic-prof", "-e", script], timeout=120,
                       conf="lg_prof_sample:12,lg_prof_interval:24,prof_unwind:libunwind")
    assert done.status == 0 and done.stdout == "20000" and done.stderr == "", done
    names = set()
    for path in done.dumps:
        names |= {symbol for module, _, symbol in harness.Dump(path).pcs.values() if module == 0 and symbol}
        pid = re.search(r"\.(\d+)\.\d+\.\w+\.heap$", path).group(1)
        if os.path.exists(f"/tmp/perf-{pid}.map"):
            os.unlink(f"/tmp/perf-{pid}.map")
    assert [name for name in names if name.startswith("JS:")], (done.dumps, names)


if __name__ == "__main__":
    harness.main({name: test for name, test in list(globals().items())
                  if callable(test) and getattr(test, "__module__", "") == "__main__"
                  and name not in ("run", "rows_of", "check_named", "write_map")})
