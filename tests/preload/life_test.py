"""The life of a process: forks of every kind, exec chains, daemons, changed roots and users, and each way out."""

import glob
import os
import re
import shutil
import subprocess

import harness

OFTEN = "lg_prof_sample:12,lg_prof_interval:20,prof_keep:0"
LIFE = harness.program("life")
RACES = int(os.environ.get("LEAKSHIM_RACES", "1"))  # ctest and scripts/soak.sh ask for more


def life(*arguments, conf=OFTEN, status=0, timeout=120, stderr="", **options):
    run = harness.run([LIFE, *arguments], conf=conf, timeout=timeout, **options)
    assert run.status == status and re.fullmatch(stderr, run.stderr), run
    for path in run.dumps:
        harness.Dump(path).check_books()
    assert not glob.glob(os.path.join(run.directory, "*.tmp")), os.listdir(run.directory)
    return run


def fine(*arguments, **options):
    run = life(*arguments, **options)
    assert run.stdout.endswith("fine\n"), run
    return run


def said_dumps(run):
    return {word: harness.Dump(path) for word, path in re.findall(r"^(\w+) (/\S+)$", run.stdout, re.M)}


def of_size(dump, size):
    """Live samples of exactly the blocks that the program made of this size (sizes of their own class)."""
    classes = {1000: (1000, 1000), 2000: (1920, 2048), 3000: (2816, 3072)}
    low, high = classes[size]
    return sum(line[0] for stack in dump.stacks for line in stack[1] if line[0] and low <= line[1] / line[0] <= high)


def fork_children_inherit_begin_afresh_or_are_off():
    run = fine("forkmodes", conf="lg_prof_sample:0,prof_final:false")
    dumps = said_dumps(run)
    assert [of_size(dumps[who], 1000) for who in ("parent", "child", "grandchild")] == [1000, 900, 900], run.stdout
    assert [of_size(dumps[who], 2000) for who in ("parent", "child", "grandchild")] == [0, 500, 500]
    assert "fork" not in dumps["parent"].about and dumps["child"].about["fork"] == "inherit"

    run = fine("forkmodes", conf="lg_prof_sample:0,prof_final:false,prof_fork:fresh")
    dumps = said_dumps(run)
    assert [of_size(dumps[who], 1000) for who in ("parent", "child", "grandchild")] == [1000, 0, 0], run.stdout
    assert [of_size(dumps[who], 2000) for who in ("parent", "child", "grandchild")] == [0, 500, 0]
    assert [of_size(dumps[who], 3000) for who in ("parent", "child", "grandchild")] == [0, 0, 10]
    assert "fork" not in dumps["parent"].about and dumps["child"].about["fork"] == "fresh"
    assert 500 <= dumps["child"].books["samples"] < 600, dumps["child"].books
    assert 1_000_000 <= dumps["child"].books["allocated"] < 1_200_000, dumps["child"].books

    run = fine("forkmodes", conf="lg_prof_sample:0,prof_fork:off")
    assert re.search(r"^child refused -19$", run.stdout, re.M) and re.search(r"^grandchild refused -19$", run.stdout, re.M)
    assert len(run.dumps) == 2 and len(said_dumps(run)) == 1, run  # the parent's two


def a_fork_from_busy_threads_never_hangs():
    for mode in ("inherit", "fresh", "off"):
        for conf in ("lg_prof_sample:0,prof_prefix:", OFTEN):
            for _ in range(RACES):
                fine("busyforks", "60", conf=f"{conf},prof_fork:{mode}")


def forks_without_handlers_are_noticed():
    run = fine("rawforks")
    assert len({harness.Dump(path).about["pid"] for path in run.dumps}) > 1, run.dumps


def children_in_our_memory_harm_nobody():
    for conf in (OFTEN, "lg_prof_sample:0,prof_prefix:"):
        for what in ("vfork", "clonevm", "spawn"):
            run = fine(what, conf=conf)
            # A dump is of the process, never of a child that borrowed its memory.
            assert len({harness.Dump(path).about["pid"] for path in run.dumps}) <= 1, run.dumps


def an_exec_chain_profiles_its_last_program():
    sizes = harness.program("sizes")
    run = harness.run(["sh", "-c", f"exec timeout 20 env A=1 nice {sizes} 1000x500"], conf="lg_prof_sample:0,prof_only:sizes")
    assert run.status == 0 and run.stderr == "", run
    assert {harness.Dump(path).about["executable"] for path in run.dumps} == {sizes}, run.dumps
    run = harness.run(["bash", "-c", "for i in $(seq 50); do /bin/true; echo x | sed s/x/y/ >/dev/null; done; echo done"],
                      conf="prof_only:nobody")
    assert run.stdout == "done\n" and run.stderr == "" and os.listdir(run.directory) == [], run


def what_the_filter_leaves_out_does_not_know_us():
    sizes = harness.program("sizes")
    # Bad options and all: not a word, not a file.
    for pattern in ("java", "size", "sizes?", "java/tomcat*"):
        run = harness.run([sizes, "1000x500"], conf=f"prof_only:{pattern},lg_prof_sample:99,nonsense:1,abort_conf:true")
        assert run.status == 3 and run.stderr == "" and os.listdir(run.directory) == [], (pattern, run)
    for pattern in ("sizes", "s*s", "java/s?zes", "*"):
        run = harness.run([sizes, "1000x500"], conf=f"prof_only:{pattern},lg_prof_sample:0")
        assert run.status == 0 and len(run.dumps) == 2, (pattern, run)


def a_daemon_that_closes_everything_keeps_its_files_its_own():
    # Where dumps fail, the one line is said before descriptor 2 is closed, and then never again.
    failing = "lg_prof_sample:4,lg_prof_interval:18,prof_prefix:/proc/no/where"
    for conf, stderr in ((OFTEN, ""), (failing, "leakshim: cannot write dumps.*\n")):
        directory = harness.tempfile.mkdtemp(prefix="leakshim-test-")
        run = life("daemon", os.path.join(directory, "own"), conf=conf, stderr=stderr)
        assert run.stdout == "", run
        for i in range(8):
            with open(os.path.join(directory, f"own.{i}"), "rb") as own:
                assert own.read() == b"0123456789\n" * 200, f"own.{i}"


def a_changed_root_or_a_closed_proc_costs_dumps_at_most():
    root = harness.tempfile.mkdtemp(prefix="leakshim-test-")
    run = harness.run([LIFE, "chroot", root], conf=OFTEN)
    assert run.status == 0 and run.stdout == "fine\n" and run.stderr.count("\n") <= 1, run
    run = fine("dumpable")
    assert len(said_dumps(run)) == 1
    if os.getuid() == 0:
        # As somebody else: /proc/self/maps is root's then.
        directory = harness.tempfile.mkdtemp(prefix="leakshim-test-")
        os.chmod(directory, 0o777)
        done = harness.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", LIFE, "dumpable"],
                           conf=OFTEN + ",prof_only:life", directory=directory)
        assert done.status == 0 and done.stdout.endswith("fine\n") and done.stderr == "" and done.dumps, done


def under_strict_seccomp_a_warm_thread_makes_no_call():
    fine("strict", conf="lg_prof_sample:12,prof_prefix:")


def a_privileged_program_takes_no_orders():
    if os.getuid() != 0:
        return  # only root can make one
    directory = harness.tempfile.mkdtemp(prefix="leakshim-test-")
    os.chmod(directory, 0o777)
    program = os.path.join(directory, "secure")
    shutil.copy(harness.program("secure"), program)
    os.chmod(program, 0o4755)
    conf = {"LEAKSHIM_CONF": "lg_prof_sample:0,confirm_conf:true"}
    for wrapper in ([], ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]):
        done = subprocess.run([*wrapper, program], cwd=directory, env={**os.environ, **conf}, capture_output=True, text=True,
                              timeout=60)
        assert done.returncode == 0 and done.stdout == ("secure 1\n" if wrapper else "secure 0\n"), done
        # Linked with the library: alone it obeys, with its privileges it does not.
        assert bool(done.stderr) == (not wrapper), (wrapper, done.stderr)
    assert len(harness.dumps_in(directory)) == 1, os.listdir(directory)


def every_way_out_is_the_programs_own():
    for how, status, final in (("exit", 0, 1), ("_exit", 0, 0), ("quick", 0, 1), ("abort", -6, 0), ("kill", -9, 0),
                               ("pthread", 0, 1), ("nested", 0, 1), ("quick_from_exit", 0, 1), ("handlers", 0, 1),
                               ("exec", 0, 0), ("term", -15, 0)):
        earlier = 0
        for _ in range(3 * RACES):
            run = fine("exit", how, conf="lg_prof_sample:10,lg_prof_interval:19,prof_keep:0", status=status)
            finals = [path for path in run.dumps if re.search(r"\.f\d+\.heap$", path)]
            assert len(finals) == final, (how, run.dumps)
            earlier += len(run.dumps) - final
        # On a busy machine a process may be killed before its first dump is whole.
        assert earlier >= 3 * RACES // 2, (how, earlier)


def a_dump_at_quick_exit_is_whole_and_may_be_an_exit_status():
    run = fine("exit", "quick", conf="lg_prof_sample:0,prof_time_interval:0")
    assert [re.search(r"\.(\d+\.f0)\.heap$", path).group(1) for path in run.dumps] == ["0.f0"], run.dumps
    dump = harness.Dump(run.dumps[0])
    assert dump.about["reason"] == "final" and dump.total[0] >= 1, dump.total
    fine("exit", "quick", conf="lg_prof_sample:0,prof_time_interval:0,prof_final:false,prof_leak_error:true", status=1)
    assert not fine("exit", "quick", conf="lg_prof_sample:0,prof_time_interval:0,prof_final:false").dumps


def a_jvm_leaves_a_dump_however_it_ends_by_itself():
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "Endings.java")
    for how, status, final in (("return", 0, 1), ("exit", 3, 1), ("hook", 3, 1), ("halt", 4, 1), ("term", 143, 1), ("kill", 137, 0)):
        # As a shell tells it: a JVM that is told to end exits by itself.
        command = ["sh", "-c", f"java -XX:TieredStopAtLevel=1 -Xshare:auto {source} {how}; exit $?"]
        run = harness.run(command, conf="lg_prof_sample:14,prof_time_interval:0,prof_only:java", timeout=120)
        assert run.status == status and "leakshim" not in run.stderr, (how, run)
        finals = [path for path in run.dumps if re.search(r"\.f\d+\.heap$", path)]
        assert len(finals) == len(run.dumps) == final, (how, run.dumps)
        assert all(harness.Dump(path).about["java_frames"] == "on" for path in finals), how


def valgrind_replaces_malloc_and_callgrind_does_not():
    tool = shutil.which("valgrind")
    assert tool, "valgrind is not installed"
    edges = [LIFE, "forkmodes"]
    # Memcheck puts its own in front of every malloc, so that we are never called: nothing sampled, nothing said.
    run = harness.run([tool, "-q", "--error-exitcode=9", *edges], conf="lg_prof_sample:0,prof_final:false", timeout=120)
    assert run.status == 0 and "fine" in run.stdout and run.stderr == "", run
    assert all(dump.books["samples"] == 0 for dump in said_dumps(run).values()), run
    out = os.path.join(run.directory, "callgrind.out")
    run = harness.run([tool, "-q", "--tool=callgrind", f"--callgrind-out-file={out}", *edges],
                      conf="lg_prof_sample:0,prof_final:false", timeout=120)
    # Valgrind remarks on the call by which the unwinder asks whether a page can be read.
    said = [line for line in run.stderr.splitlines() if "sigprocmask: unknown 'how'" not in line]
    assert run.status == 0 and not said, run
    assert of_size(said_dumps(run)["parent"], 1000) == 1000, run.stdout
    # Valgrind ends a program that clones as the dump task does.
    run = harness.run([tool, "-q", "--tool=none", *edges], conf="lg_prof_sample:0,lg_prof_interval:15,prof_keep:0", timeout=120)
    assert run.status == 0 and "fine" in run.stdout and any(re.search(r"\.i\d+\.heap$", path) for path in run.dumps), run


def java_starts_children_in_each_of_its_ways():
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "Children.java")
    for way in ("FORK", "VFORK", "POSIX_SPAWN"):
        command = ["java", f"-Djdk.lang.Process.launchMechanism={way}", "-Xshare:auto", "-XX:TieredStopAtLevel=1", source, "20"]
        run = harness.run(command, conf="lg_prof_sample:16,lg_prof_interval:24,prof_keep:0,prof_only:java", timeout=120)
        assert run.status == 0 and run.stdout == "20 children said hello\n", (way, run)
        assert not [line for line in run.stderr.splitlines() if "leakshim" in line], run.stderr
        assert run.dumps, way


if __name__ == "__main__":
    harness.main({test.__name__: test for test in (
        fork_children_inherit_begin_afresh_or_are_off, a_fork_from_busy_threads_never_hangs,
        forks_without_handlers_are_noticed, children_in_our_memory_harm_nobody, an_exec_chain_profiles_its_last_program,
        what_the_filter_leaves_out_does_not_know_us, a_daemon_that_closes_everything_keeps_its_files_its_own,
        a_changed_root_or_a_closed_proc_costs_dumps_at_most, under_strict_seccomp_a_warm_thread_makes_no_call,
        a_privileged_program_takes_no_orders, every_way_out_is_the_programs_own,
        a_dump_at_quick_exit_is_whole_and_may_be_an_exit_status, a_jvm_leaves_a_dump_however_it_ends_by_itself,
        valgrind_replaces_malloc_and_callgrind_does_not, java_starts_children_in_each_of_its_ways)})
