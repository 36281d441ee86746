"""When dumps are made, which of them stay, and what is told at exit."""

import os
import re
import time

import harness

FINE = "lg_prof_sample:12,prof_seed:3"


def peaks(*megabytes, conf, **options):
    run = harness.run([harness.program("peaks"), *map(str, megabytes)], conf=f"{FINE},{conf}", **options)
    assert run.stdout == "fine\n", run
    return run


def kinds(run):
    return [re.search(r"\.([iufmtp])\d+\.heap$", path).group(1) for path in run.dumps]


def new_peaks_are_dumped_and_nothing_else_is():
    run = peaks(20, 2, 20, 2, 21, 2, 40, conf="prof_gdump:true,prof_keep:0,prof_final:false", env={"PAUSE": "1"})
    assert run.status == 0 and run.stderr == "", run
    live = [harness.Dump(path).estimated_total()[1] / 1e6 for path in run.dumps]
    assert set(kinds(run)) == {"u"}, kinds(run)
    # Decided a tenth above the last one, made a moment later, when a little more may be alive.
    assert 5 <= len(live) <= 60 and all(later > before for before, later in zip(live, live[1:])), live
    assert live[-1] > 34, live
    assert [harness.Dump(path).about["reason"] for path in run.dumps] == ["peak"] * len(run.dumps)
    # 20 again and 21 are no new peaks: from there on it takes seven steps of a tenth to 40.
    assert sum(figure > 21.5 for figure in live) <= 8, live


def a_long_series_is_thinned_over_its_life():
    run = peaks(*[8, 1] * 60, conf="lg_prof_interval:22,prof_keep:12")
    assert run.status == 0 and run.stderr == "", run
    dumps = [harness.Dump(path) for path in run.dumps]
    assert len(dumps) == 12, run.dumps
    numbers = sorted(int(dump.about["seq"]) for dump in dumps)
    assert numbers[0] == 0 and numbers[-1] > 20 and numbers[-7:] == list(range(numbers[-1] - 6, numbers[-1] + 1)), numbers
    assert dumps[-1].about["reason"] == "final", dumps[-1].about
    assert dumps[-1].books["dumps_removed"] >= numbers[-1] - 13, dumps[-1].books


def a_directory_is_bounded_over_processes():
    directory = harness.tempfile.mkdtemp(prefix="leakshim-test-")
    for _ in range(3):
        peaks(*[8, 1] * 20, conf="lg_prof_interval:22,prof_disk:150K,prof_keep:0", directory=directory)
        time.sleep(0.02)
    paths = harness.dumps_in(directory)
    processes = {os.path.basename(path).split(".")[1] for path in paths}
    assert len(processes) == 3, paths
    for process in processes:
        of_it = [path for path in paths if f".{process}." in path]
        # The newest of each, and of those that are dead no more than that.
        assert len(of_it) >= 3 and ".f0." in of_it[-1], of_it


def what_is_left_at_exit_is_told():
    run = peaks(20, conf="prof_leak:true,prof_final:false")
    match = re.fullmatch(r"leakshim: not freed at exit: about ([0-9.]+) MiB in (\d+) objects, (\d+) samples, (\d+) stacks\n",
                         run.stderr)
    assert run.status == 0 and match, run
    # 2000 blocks of 10 000 bytes, nine in ten of them sampled.
    assert abs(float(match.group(1)) * 1.048576 - 20) < 0.6 and abs(int(match.group(2)) - 2000) < 100, run.stderr
    run = peaks(20, 0, conf="prof_leak:true,prof_final:false")
    assert run.status == 0 and re.fullmatch(r"leakshim: (nothing sampled is live at exit|not freed at exit: about \d.*)\n", run.stderr), run


def a_leak_can_be_an_exit_status():
    run = peaks(20, conf="prof_leak_error:true,prof_final:false")
    assert run.status == 1 and run.stderr == "" and run.stdout == "fine\n", run
    run = harness.run([harness.program("peaks")], conf="lg_prof_sample:30,prof_leak_error:true")
    assert run.status == 0, run


if __name__ == "__main__":
    harness.main({test.__name__: test for test in (
        new_peaks_are_dumped_and_nothing_else_is, a_long_series_is_thinned_over_its_life,
        a_directory_is_bounded_over_processes, what_is_left_at_exit_is_told, a_leak_can_be_an_exit_status)})
