"""What options of one line do, each seen in a run with it and one without. The rest have tests of their own; tests/README.md
says where."""

import os
import re
import tempfile

import harness

PEAKS = [harness.program("peaks"), "20"]


def peaks(conf, **options):
    run = harness.run(PEAKS, conf=conf, **options)
    assert run.status == 0 and run.stdout == "fine\n" and run.stderr == "", run
    return run


def one_dump(conf):
    (path,) = peaks(conf).dumps
    dump = harness.Dump(path)
    dump.check_books()
    return dump


def prof_false_only_forwards():
    temporary = tempfile.mkdtemp(prefix="leakshim-test-")
    assert peaks("prof:false,lg_prof_sample:12", env={"TMPDIR": temporary}).dumps == []
    assert os.listdir(temporary) == []
    assert len(peaks("prof:true,lg_prof_sample:12").dumps) == 1


def the_interval_is_the_power_of_two_asked_for():
    exact = one_dump("lg_prof_sample:0")
    # 2000 blocks of 10 000 bytes, and little beside them.
    assert exact.rate == 0 and exact.books["samples"] >= 2000 and 20_000_000 <= exact.total[1] < 20_300_000, exact.total
    for lg in (12, 16):
        dump = one_dump(f"lg_prof_sample:{lg}")
        assert dump.rate == 1 << lg and dump.about["interval"] == str(1 << lg), dump.about
        assert abs(dump.estimated_total()[1] / 20e6 - 1) < 6 * ((1 << lg) / 20e6) ** 0.5, dump.estimated_total()


def a_label_is_in_every_dump():
    assert one_dump("lg_prof_sample:12,prof_label:release=1.42 b").about["label"] == "release=1.42 b"
    assert "label" not in one_dump("lg_prof_sample:12").about


def the_mode_of_dumps_is_the_one_asked_for():
    for conf, mode in (("prof_mode:0640", 0o640), ("prof_mode:0600", 0o600), ("prof_leak:false", 0o600)):
        (path,) = peaks(f"lg_prof_sample:12,{conf}").dumps
        assert os.stat(path).st_mode & 0o777 == mode, (conf, oct(os.stat(path).st_mode))


def dumps_come_each_so_many_bytes():
    run = harness.run([harness.program("peaks"), *["8", "1"] * 8], conf="lg_prof_sample:12,lg_prof_interval:23,prof_final:false")
    kinds = [re.search(r"\.(\w)\d+\.heap$", path)[1] for path in run.dumps]
    # Eight times 7 or 8 MB, one for each 8 MiB of them; one that is due while another is written is left out.
    assert set(kinds) == {"i"} and 4 <= len(kinds) <= 8, kinds
    assert harness.run([harness.program("peaks"), *["8", "1"] * 8], conf="lg_prof_sample:12,prof_final:false").dumps == []


def the_final_dump_can_be_left_out():
    assert peaks("lg_prof_sample:12,prof_final:false").dumps == []
    (path,) = peaks("lg_prof_sample:12,prof_final:true").dumps
    assert path.endswith(".f0.heap"), path


def stacks_are_as_deep_as_asked_for():
    assert max(len(stack[0]) for stack in one_dump("lg_prof_sample:12").stacks) > 3
    dump = one_dump("lg_prof_sample:12,prof_bt_max:3")
    assert max(len(stack[0]) for stack in dump.stacks) == 3


def the_command_line_can_be_kept_out():
    assert one_dump("lg_prof_sample:12").about["cmdline"].endswith("/peaks 20")
    dump = one_dump("lg_prof_sample:12,prof_cmdline:false")
    assert "cmdline" not in dump.about, dump.about
    with open(dump.path, encoding="utf-8") as file:
        assert "peaks 20" not in file.read()


def a_seed_makes_runs_alike():
    def samples(seed):
        return one_dump(f"lg_prof_sample:16,prof_seed:{seed}").total
    first = samples(7)
    assert samples(7) == first
    assert len({samples(seed) for seed in range(8, 14)} - {first}) > 1


if __name__ == "__main__":
    harness.main({test.__name__: test for test in (
        prof_false_only_forwards, the_interval_is_the_power_of_two_asked_for, a_label_is_in_every_dump,
        the_mode_of_dumps_is_the_one_asked_for, dumps_come_each_so_many_bytes, the_final_dump_can_be_left_out,
        stacks_are_as_deep_as_asked_for, the_command_line_can_be_kept_out, a_seed_makes_runs_alike)})
