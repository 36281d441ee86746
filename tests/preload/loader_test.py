"""The loader and other libraries: deep binding, namespaces, auditors, run paths, sanitizers, other preloads on both sides."""

import glob
import os
import re
import shutil
import subprocess

import harness

ALL = "lg_prof_sample:0"
OFTEN = "lg_prof_sample:10,lg_prof_interval:20,prof_keep:0"
PLUGIN = os.path.join(harness.PROGRAMS, "libplugin.so")
HOST = harness.program("loader_host")
LIBRARIES = "/usr/lib/x86_64-linux-gnu"
ONE_LINE = r"leakshim: not profiling: .* provides malloc in front of libleakshim\.so; name libleakshim\.so first in LD_PRELOAD\n"


def same_as_alone(command, conf, stderr="", env=None, preload=harness.LIBRARY, alone_preload=None):
    alone = harness.run(command, preload=alone_preload, env=env)
    run = harness.run(command, conf=conf, env=env, preload=preload, timeout=120)
    assert (run.status, run.stdout) == (alone.status, alone.stdout), (command, run, alone)
    assert re.fullmatch(stderr + re.escape(alone.stderr), run.stderr), (command, run.stderr, alone.stderr)
    for path in run.dumps:
        harness.Dump(path).check_books()
    return run


def plugins_in_every_kind_of_scope():
    for what in ("deepbind", "dlmopen", "runpath", "plain"):
        for conf in (ALL, OFTEN):
            run = same_as_alone([HOST, what, PLUGIN], conf)
            assert run.status == 0 and run.stdout.endswith("fine\n") and run.dumps, run
    # A plugin that is bound to glibc's own beside another allocator: what each gives it also takes.
    jemalloc = f"{LIBRARIES}/libjemalloc.so.2"
    for what in ("dlmopen", "runpath", "plain"):
        same_as_alone([HOST, what, PLUGIN], ALL, preload=f"{harness.LIBRARY}:{jemalloc}", alone_preload=jemalloc)


def an_auditor_has_a_namespace_of_its_own():
    audit = os.path.join(harness.PROGRAMS, "libaudit.so")
    run = same_as_alone([HOST, "plain", PLUGIN], OFTEN, env={"LD_AUDIT": audit})
    assert run.status == 0 and run.dumps, run


def dlerror_tells_what_the_host_did():
    for conf in (ALL, OFTEN):
        run = same_as_alone([HOST, "dlerror", PLUGIN], conf)
        assert run.status == 0 and "no_such_symbol" in run.stdout, run


def a_program_with_a_static_allocator_keeps_it():
    run = same_as_alone([harness.program("own_malloc")], ALL, stderr=ONE_LINE)
    assert run.stdout == "fine\n" and "the program itself" in run.stderr and not run.dumps, run


def a_program_at_fixed_addresses_is_profiled_with_the_hooks_own_names():
    run = same_as_alone([harness.program("fixed")], ALL)
    (path,) = run.dumps
    dump = harness.Dump(path)
    (mine,) = [stack for stack in dump.stacks if any(line[:2] == (50, 50_000) for line in stack[1])]
    assert dump.pcs[mine[0][0]][2] == "malloc+0x0", dump.pcs[mine[0][0]]
    rows = harness.rows_of(harness.leakprof("--text", "--show_bytes", path).stdout)
    assert rows["site_of_blocks"][0] == 50_000, rows


def a_program_with_its_own_libunwind_keeps_it():
    for unwind, stderr in (("cfi", ""), ("fp", ""), ("libunwind", "leakshim: prof_unwind: .*using our own unwinder\n")):
        run = same_as_alone([harness.program("own_unwind")], f"{OFTEN},prof_unwind:{unwind}", stderr=stderr)
        assert run.status == 0 and run.dumps, run


def address_sanitizer_stays_and_we_are_passive():
    run = same_as_alone([harness.program("asan_static")], ALL, stderr=ONE_LINE)
    assert run.stdout == "fine\n" and not run.dumps, run
    # A shared one wants to be first; where it is not, it ends the program itself, in front of whatever library.
    runtime = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True).stdout.strip()
    run = same_as_alone([harness.program("asan_shared")], ALL, stderr=ONE_LINE, preload=f"{runtime}:{harness.LIBRARY}",
                        alone_preload=runtime)
    assert run.stdout == "fine\n" and "libasan" in run.stderr and not run.dumps, run


def other_preloads_stand_on_both_sides():
    beside = {"faketime": glob.glob(f"{LIBRARIES}/faketime/libfaketime.so.1"),
              "eatmydata": glob.glob(f"{LIBRARIES}/libeatmydata.so*"),
              "fakeroot": glob.glob(f"{LIBRARIES}/libfakeroot/libfakeroot-sysv.so")}
    env = {"FAKETIME": "-15d", "FAKETIME_DONT_FAKE_MONOTONIC": "0"}
    for name, found in beside.items():
        assert found, f"{name} is not installed"
        for order in ("{ours}:{other}", "{other}:{ours}"):
            preload = order.format(ours=harness.LIBRARY, other=found[0])
            for command in ([harness.program("host"), "wait"], [harness.program("sizes"), "1000x5000"]):
                run = harness.run(command, conf="lg_prof_sample:10,lg_prof_interval:20,prof_keep:0,prof_time_interval:1s", env=env,
                                  preload=preload)
                assert run.status == 0 and run.stderr == "" and run.dumps, (name, order, run)
                for path in run.dumps:
                    dump = harness.Dump(path)
                    dump.check_books()
                    # Our times are the kernel's, whatever the host is told.
                    assert abs(float(dump.about["dump_time"]) - os.path.getmtime(path)) < 60, dump.about


def fakeroot_runs_its_command_under_us():
    assert shutil.which("fakeroot"), "fakeroot is not installed"
    script = f"LD_PRELOAD={harness.LIBRARY}:$LD_PRELOAD; export LD_PRELOAD; id -u; touch f; chown 12:34 f; stat -c %u:%g f; " \
             f"exec {harness.program('sizes')} 1000x2000"
    run = harness.run(["fakeroot", "sh", "-c", script], conf="lg_prof_sample:8,prof_only:sizes", preload=None)
    assert run.status == 0 and run.stdout.startswith("0\n12:34\ndump ") and run.stderr == "", run


def glibcs_malloc_checker_works_on_both_sides():
    checker = f"{LIBRARIES}/libc_malloc_debug.so.0"
    assert os.path.exists(checker), checker
    env = {"MALLOC_CHECK_": "3"}
    # Behind us it is the allocator that we serve; in front of us it is one that we cannot see through.
    run = harness.run([HOST, "plain", PLUGIN], conf=ALL, env=env, preload=f"{harness.LIBRARY}:{checker}")
    assert run.status == 0 and run.stdout == "fine\n" and run.stderr == "" and run.dumps, run
    # And it is the one that checks: a broken block is noticed as without us. It looks for its magic byte, which is never
    # 1, from the block's end down: what a block holds by chance must not look like it.
    broken = "import ctypes; c = ctypes.CDLL(None); c.malloc.restype = ctypes.c_void_p; p = c.malloc(24); " \
             "ctypes.memset(p, 1, 25); c.free(ctypes.c_void_p(p))"
    for preload in (checker, f"{harness.LIBRARY}:{checker}"):
        run = harness.run(["/usr/bin/python3", "-c", broken], conf=ALL, env=env, preload=preload)
        assert run.status == -6 and "invalid pointer" in run.stderr, (preload, run)
    run = harness.run([HOST, "plain", PLUGIN], conf=ALL, env=env, preload=f"{checker}:{harness.LIBRARY}")
    assert run.status == 0 and run.stdout == "fine\n" and re.fullmatch(ONE_LINE, run.stderr) and not run.dumps, run


def jemallocs_own_profiler_and_ours_go_side_by_side():
    for command in ([harness.program("stress"), "400000", "500"], [harness.program("loader_host"), "plain", PLUGIN]):
        run = harness.run(command, conf=OFTEN, env={"MALLOC_CONF": "prof:true,lg_prof_sample:10,lg_prof_interval:22"},
                          preload=f"{harness.LIBRARY}:{LIBRARIES}/libjemalloc.so.2", timeout=120)
        assert run.status == 0, run
        ours = [line for line in run.stderr.splitlines() if line.startswith("leakshim: ")]
        assert len(ours) == 1 and "jemalloc's own profiler is on as well; our dumps go to leakshim.shim.*" in ours[0], run.stderr
        mine = [path for path in run.dumps if "leakshim.shim." in path]
        assert mine
        for path in mine:
            harness.Dump(path).check_books()


def double_frees_still_reach_the_allocator_that_notices():
    script = "import ctypes; c = ctypes.CDLL(None); c.malloc.restype = ctypes.c_void_p; p = ctypes.c_void_p(c.malloc({0})); " \
             "c.free(p); c.free(p)"
    for size in (24, 5000, 1 << 20):
        alone, run = (harness.run(["python3", "-c", script.format(size)], preload=preload,
                                  conf="lg_prof_sample:0,prof_final:false") for preload in (None, harness.LIBRARY))
        assert alone.status != 0 and (run.status, run.stderr) == (alone.status, alone.stderr), (run, alone)


if __name__ == "__main__":
    harness.main({name: test for name, test in list(globals().items())
                  if callable(test) and getattr(test, "__module__", "") == "__main__" and name != "same_as_alone"})
