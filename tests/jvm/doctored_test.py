"""JVMs that are not what they seem: each degrades to native frames and one `[java]`, and no harm is done.

The doctored ones are real JVMs whose tables about themselves (gHotSpotVMStructs and its siblings) were edited before they
started: entries that are missing, of another type, at absurd places. Either Java frames are off and the dump says why,
or they are as right as ever. Without arguments a part of the edits on one JDK, --long: all on every JDK.
"""

import concurrent.futures
import os
import re
import sys
import tempfile

import jvms
import harness

LONG = "--long" in sys.argv
ABREAST = 2
SEEDS = {}
FIELDS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "libleakshim", "jvm", "vm_fields.def")
TABLES = ("gHotSpotVMStructs", "gHotSpotVMTypes", "gHotSpotVMIntConstants", "gHotSpotVMLongConstants")
# Far beyond any object, before it, unaligned.
ABSURD_OFFSETS = (0x7FFFFFF0, -64, 3)
# Where something else lies.
WRONG_OFFSETS = (0, 8, 24)
ABSURD_ADDRESSES = (0, 1, 0x7FFFFFFFF000, -8)
ABSURD_SIZES = (0, 3, 1 << 40, -1)


def doctored(jdk, edit, names=True):
    """Runs a little of the stress program in a JVM that was edited so. Returns what the dump says of Java frames.

    names: Java frames must be right where they are on, and one `[java]` where they are off.
    """
    directory = tempfile.mkdtemp(prefix="leakshim-doctored-")
    truth = os.path.join(directory, "truth")
    command = [os.path.join(jvms.PROGRAMS, "doctored"), os.path.join(jdk.home, "lib", "server", "libjvm.so"), edit,
               f"-Djava.class.path={jvms.STRESS}", "-XX:+UnlockDiagnosticVMOptions", "-XX:+ShowHiddenFrames",
               "--enable-native-access=ALL-UNNAMED", f"-XX:ErrorFile={directory}/hs_err.txt", "--", "stress.Main", "0.2",
               truth, "hot", "zip", "upcalls", "classes"]
    if jdk.release < 17:
        command.remove("--enable-native-access=ALL-UNNAMED")
    # A seed with which nothing is sampled while libjvm is loaded: the tables must not be read before the edit.
    for seed in range(SEEDS.get(jdk, 1), 200):
        run = harness.run(command, timeout=60, directory=directory,
                          conf=f"lg_prof_sample:16,prof_accum:true,prof_seed:{seed}")
        if run.status != 7:
            break
        SEEDS[jdk] = seed + 1
    what = f"{jdk.release}, {edit}"
    assert run.status not in (2, 7), f"{what}: {run.stderr}"
    assert (run.status, run.stdout, run.stderr) == (0, "done\n", ""), f"{what} in {directory}: {run}"
    dump = harness.Dump(run.dumps[-1])
    dump.check_books()
    says = dump.about.get("java_frames", "absent")
    if not names:
        return says
    told = jvms.read_truth(truth)
    seen = 0
    for frames, lines, _, _ in dump.stacks:
        if not any(dump.symbol(frame) == "stress_block" for frame in frames):
            continue
        named = [dump.java[frame] for frame in frames if frame in dump.java]
        shown = "\n  ".join([dump.symbol(frame) for frame in frames if frame in dump.pcs] + list(map(str, named)))
        assert named, f"{what}: {says}, and a stack into Java without a Java frame\n  {shown}"
        seen += sum(line[2] for line in lines)
        if len(named) == 1 and named[0][0] == "unknown":
            assert frames[-1] in dump.java, f"{what}: {says}\n  {shown}"
            continue
        for _, _, count, size in lines:
            assert size % count == 0 and size // count in told, f"{what}: {count} blocks of {size} bytes below\n  {shown}"
            _, how, chain = told[size // count]
            judged = jvms.verdict(named, how, chain, len(frames) >= jvms.DEPTH)
            assert judged == "right", f"{what}: {says}\n  {shown}\nnot\n  " + "\n  ".join(map(str, chain))
    assert says == "on" or re.match("off: .", says), f"{what}: {dump.about}"
    assert seen >= 10, f"{what}: {seen}"
    return says


def outcomes(edits_of, names=True):
    """Judges the edits that edits_of(jdk) gives, a few abreast. Returns {(jdk, edit): what the dump says}."""
    runs = [(jdk, edit) for jdk in (jvms.jdks() if LONG else jvms.jdks()[:1]) for edit in edits_of(jdk)]
    failed, says = [], {}
    with concurrent.futures.ThreadPoolExecutor(min(ABREAST, os.cpu_count())) as pool:
        for run, done in [(run, pool.submit(doctored, *run, names)) for run in runs]:
            try:
                says[run] = done.result()
            except AssertionError as error:
                failed.append(str(error))
    assert not failed, f"{len(failed)} of {len(runs)}:\n" + "\n".join(failed)
    off = sum(said != "on" for said in says.values())
    print(f"     {len(runs)} edits, Java frames off in {off}", flush=True)
    return says


def wanted(jdk):
    """What the library looks for in this JDK's tables: (FIELD, STATIC or SIZE, type, name)."""
    with open(FIELDS, encoding="utf-8") as lines:
        rows = re.findall(r'^(FIELD|STATIC|SIZE)\(\w+, "([^"]+)", (?:"([^"]+)", \w+, )?"([\d ]*)"\)', lines.read(), re.M)
    found = [(kind, where, name) for kind, where, name, releases in rows if str(jdk.release) in releases.split()]
    assert found or jdk.release not in (8, 11, 17, 21, 25), rows
    return found


def an_untouched_jvm_has_its_frames():
    for jdk in jvms.jdks():
        says = doctored(jdk, "none")
        assert says == "on", f"{jdk.release}: {says}"


def tables_that_are_no_tables():
    edits = [f"{verb} {table}" for table in TABLES for verb in ("no-table", "wild-table", "endless")]
    for layout in ("StructEntryArrayStride", "StructEntryTypeNameOffset", "StructEntryFieldNameOffset",
                   "StructEntryOffsetOffset", "StructEntryAddressOffset", "StructEntryIsStaticOffset",
                   "StructEntryTypeStringOffset", "TypeEntryArrayStride", "TypeEntryTypeNameOffset", "TypeEntrySizeOffset",
                   "IntConstantEntryArrayStride", "IntConstantEntryNameOffset", "IntConstantEntryValueOffset",
                   "LongConstantEntryArrayStride", "LongConstantEntryNameOffset", "LongConstantEntryValueOffset"):
        edits += [f"stride gHotSpotVM{layout} {number}" for number in (0, 1, -8, 1 << 40)]
    outcomes(lambda jdk: edits)


def a_missing_entry():
    says = outcomes(lambda jdk: [f"drop-type {where}" if kind == "SIZE" else f"drop {where} {name}"
                                 for kind, where, name in wanted(jdk)])
    for (jdk, edit), said in says.items():
        if edit in ("drop JavaThread _anchor", "drop Method _constMethod", "drop-type ConstMethod"):
            assert re.match(f"off: .*{edit.split()[1]}", said), f"{jdk.release}, {edit}: {said}"


def in_turn(jdk, field_edits, static_edits, size_edits):
    """The edits of each wanted entry; in the short form one, each entry's turn being another one's."""
    for number, (kind, where, name) in enumerate(wanted(jdk)):
        edits = {"FIELD": field_edits, "STATIC": static_edits, "SIZE": size_edits}[kind]
        each = [edit.format(f"{where} {name}" if name else where) for edit in edits]
        yield from each if LONG else each[number % len(each):][:1]


def entries_that_cannot_be():
    other = ["string {} char", "static {}"]
    outcomes(lambda jdk: in_turn(jdk, other + ["offset {} %d" % offset for offset in ABSURD_OFFSETS],
                                 other + ["offset {} %d" % address for address in ABSURD_ADDRESSES],
                                 ["size {} %d" % size for size in ABSURD_SIZES]))


def entries_that_are_wrong():
    """They lie where they could: the walker meets things that are not what it takes them for. Names cannot be right then."""
    places = ["offset {} %d" % offset for offset in WRONG_OFFSETS]
    outcomes(lambda jdk: (edit for edit in in_turn(jdk, places, [""], [""]) if edit), names=False)


def unknown_jvm(tables):
    library = os.path.join(jvms.PROGRAMS, f"unknown_jvm_{tables}", "libjvm.so")
    run = harness.run([os.path.join(jvms.PROGRAMS, "unknown_jvm_host"), library, "1000"], conf="lg_prof_sample:0", timeout=60)
    assert (run.status, run.stdout, run.stderr) == (0, "done\n", ""), run
    dump = harness.Dump(run.dumps[-1])
    dump.check_books()
    says = dump.about.get("java_frames", "absent")
    assert says != "on", dump.about
    stacks = [stack for stack in dump.stacks if any(dump.symbol(frame) == "unknown_jvm_block" for frame in stack[0])]
    assert sum(line[0] for stack in stacks for line in stack[1]) == 1000, stacks
    for frames, _, _, _ in stacks:
        assert dump.symbol(frames[-2]) == "unknown_jvm_block", frames
        last = frames[-1]
        generated = last not in dump.java and dump.pcs[last][0] == 0
        assert generated or dump.java[last][0] == "unknown", (frames, dump.java)


def a_libjvm_without_tables():
    unknown_jvm(0)


def a_libjvm_with_empty_tables():
    unknown_jvm(1)


def a_libjvm_whose_tables_point_nowhere():
    unknown_jvm(2)


if __name__ == "__main__":
    sys.argv = [argument for argument in sys.argv if argument != "--long"]
    harness.main({test.__name__: test for test in (
        an_untouched_jvm_has_its_frames, tables_that_are_no_tables, a_missing_entry, entries_that_cannot_be,
        entries_that_are_wrong, a_libjvm_without_tables, a_libjvm_with_empty_tables, a_libjvm_whose_tables_point_nowhere)})
