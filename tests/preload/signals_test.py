"""prof_signal: a dump on the signal that was named, for a process that has no use for it itself."""

import os
import re
import signal
import subprocess
import time

import harness

QUIET = "lg_prof_sample:12,prof_time_interval:0,prof_final:false,prof_keep:0"


def signals(what, number=signal.SIGUSR2, conf="prof_signal:SIGUSR2", status=0, **options):
    run = harness.run([harness.program("signals"), what, str(int(number))], conf=f"{QUIET},{conf}", **options)
    assert run.status == status and run.stdout.endswith("fine\n"), run
    for path in run.dumps:
        harness.Dump(path).check_books()
    return run


def start(command, conf, **options):
    directory = harness.tempfile.mkdtemp(prefix="leakshim-test-")
    env = {name: value for name, value in os.environ.items() if name not in ("LEAKSHIM_CONF", "MALLOC_CONF")}
    env.update(LD_PRELOAD=harness.LIBRARY, LEAKSHIM_CONF=f"{QUIET},{conf}")
    process = subprocess.Popen(command, cwd=directory, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    return process, directory


def wait_for_dumps(process, directory, count):
    deadline = time.monotonic() + 20
    while len(harness.dumps_in(directory)) < count:
        assert time.monotonic() < deadline and process.poll() is None, (process.poll(), count, os.listdir(directory))
        time.sleep(0.01)
    return harness.dumps_in(directory)


def has_handler(pid, number):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"^SigCgt:\s*(\w+)$", status.read(), re.M).group(1), 16) >> (number - 1) & 1


def a_busy_program_is_dumped_when_it_is_told_by_any_name_of_the_signal():
    for name, number in (("SIGUSR2", signal.SIGUSR2), ("USR1", signal.SIGUSR1), ("12", 12), ("40", 40)):
        process, directory = start([harness.program("host"), "busy", "30"], f"prof_signal:{name}")
        while not has_handler(process.pid, number):
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        for count in (1, 2):
            os.kill(process.pid, number)
            paths = wait_for_dumps(process, directory, count)
        process.kill()
        _, err = process.communicate(timeout=60)
        assert err == "", err
        names = [os.path.basename(path) for path in paths]
        assert names == [f"leakshim.{process.pid}.{n}.m{n}.heap" for n in (0, 1)], names
        for path in paths:
            dump = harness.Dump(path)
            dump.check_books()
            assert dump.about["reason"] == "request", dump.about


def a_program_that_ignores_the_signal_keeps_it_so_and_is_told():
    done = harness.run(["sh", "-c", f"trap '' USR2; exec {harness.program('signals')} masked 10"],
                       conf=f"{QUIET},prof_only:signals,prof_signal:USR2")
    assert done.status == 0 and done.stderr == "leakshim: prof_signal: this program ignores signal 12; no dumps on it\n", done
    # Without the option nothing is handled, and nothing said.
    run = harness.run([harness.program("host"), "signals"], conf=f"{QUIET},prof_signal:none")
    assert run.status == 0 and run.stderr == "", run


def a_program_that_takes_the_signal_later_has_it_and_is_told_once():
    run = signals("taken")
    assert run.stderr == "leakshim: prof_signal: this program has taken over signal 12; no dumps on it\n", run
    assert not run.dumps, run.dumps


def a_host_that_waits_goes_on_waiting():
    run = signals("waits")
    assert run.stderr == "" and len(run.dumps) == 1, run


def many_signals_are_few_dumps_one_at_a_time():
    run = signals("storm", conf="prof_signal:USR2")
    assert run.stderr == "" and len(run.dumps) >= 5, run
    numbers = sorted(int(harness.Dump(path).about["seq"]) for path in run.dumps)
    assert numbers == list(range(len(run.dumps))), numbers


def a_fork_child_inherits_it():
    run = signals("children")
    child = re.search(r"^child (\d+)$", run.stdout, re.M).group(1)
    assert run.stderr == "" and [harness.Dump(path).about["pid"] for path in run.dumps] == [child], run


def a_host_that_waits_for_the_signal_itself_gets_it():
    run = signals("masked")
    assert run.stderr == "" and not run.dumps, run


def a_jvm_keeps_its_own_and_gives_a_free_one():
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "Signalled.java")
    for number, dumps in ((40, True), (12, False)):
        process, directory = start(["java", "-XX:TieredStopAtLevel=1", "-Xshare:auto", source], f"prof_signal:{number},prof_only:java")
        assert process.stdout.readline() == "ready\n", process.communicate()
        if dumps:
            os.kill(process.pid, number)
            path, = wait_for_dumps(process, directory, 1)
            assert harness.Dump(path).about["java_frames"] == "on", harness.Dump(path).about
        else:
            time.sleep(1.5)
        process.terminate()
        _, err = process.communicate(timeout=60)
        said = "leakshim: prof_signal: this program has taken over signal 12; no dumps on it\n"
        # HotSpot suspends threads by SIGUSR2, and asks nobody.
        assert process.returncode == 143 and err == ("" if dumps else said), (number, err)


if __name__ == "__main__":
    harness.main({test.__name__: test for test in (
        a_busy_program_is_dumped_when_it_is_told_by_any_name_of_the_signal,
        a_program_that_ignores_the_signal_keeps_it_so_and_is_told, a_program_that_takes_the_signal_later_has_it_and_is_told_once,
        a_host_that_waits_goes_on_waiting, many_signals_are_few_dumps_one_at_a_time, a_fork_child_inherits_it,
        a_host_that_waits_for_the_signal_itself_gets_it, a_jvm_keeps_its_own_and_gives_a_free_one)})
