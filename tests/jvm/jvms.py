"""The JVMs of this machine, the stress program under the preloaded library, and what its dumps must say."""

import collections
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "preload"))
import harness  # noqa: E402

PROGRAMS = os.environ["LEAKSHIM_JVM_PROGRAMS"]
STRESS = os.path.join(PROGRAMS, "stress.jar")
KINDS = {"interpreted", "compiled", "inlined", "native", "compiling", "unknown"}
DEPTH = 128  # prof_bt_max
# What the stack of a carrier has below a virtual thread.
CARRIER = {("jdk.internal.vm.Continuation", "enterSpecial"), ("jdk.internal.vm.Continuation", "run")}

Jdk = collections.namedtuple("Jdk", "home release")


def java(jdk):
    return os.path.join(jdk.home, "bin", "java")


def jdks():
    """HotSpot JDKs of this machine, one a release: that of `java` first, then those beside it."""
    homes = [os.path.dirname(os.path.dirname(os.path.realpath(shutil.which("java"))))]
    homes += [os.environ["JAVA_HOME"]] if "JAVA_HOME" in os.environ else []
    homes += sorted(os.path.realpath(home) for home in glob.glob("/usr/lib/jvm/*"))
    found = {}
    for home in homes:
        if not os.path.exists(os.path.join(home, "lib", "server", "libjvm.so")):
            continue
        with open(os.path.join(home, "release"), encoding="utf-8") as lines:
            match = re.search(r'^JAVA_VERSION="(?:1\.)?(\d+)', lines.read(), re.M)
        if match:
            found.setdefault(int(match.group(1)), Jdk(home, int(match.group(1))))
    assert found, f"no HotSpot JDK in {homes}"
    return list(found.values())


def accepts(jdk, *flags):
    """Whether this JVM starts with these flags."""
    run = subprocess.run([java(jdk), *flags, "-version"], capture_output=True, timeout=60)
    return run.returncode == 0


def collectors(jdk):
    return [name for name in ("G1", "Serial", "Parallel", "Z", "Shenandoah") if accepts(jdk, f"-XX:+Use{name}GC")]


def mangled(text):
    """JNI's way to write a class or a method in a symbol."""
    escapes = {".": "_", "/": "_", "_": "_1", ";": "_2", "[": "_3"}
    return "".join(c if c.isascii() and c.isalnum() else escapes.get(c, f"_0{ord(c):04x}") for c in text)


def no_address(name):
    """A hidden class by its name alone."""
    return re.sub(r"[/+]0x[0-9a-f]+$", "", name)


Stress = collections.namedtuple("Stress", "run dump truth classes")


def stress(jdk, flags, seconds, works=(), conf="lg_prof_sample:10", timeout=120):
    """Runs the stress program; judges that it was not disturbed and that the books add up."""
    directory = tempfile.mkdtemp(prefix="leakshim-jvm-")
    truth, log = os.path.join(directory, "truth"), os.path.join(directory, "classes.log")
    command = [java(jdk), *flags, "-XX:MaxMetaspaceSize=24m", "-XX:+UnlockDiagnosticVMOptions", "-XX:+ShowHiddenFrames",
               f"-Xlog:class+load=info:file={log}:none:filecount=0", f"-XX:ErrorFile={directory}/hs_err.txt", "-jar",
               STRESS, str(seconds), truth, *works]
    what = f"{jdk.release} {' '.join(flags)} {conf}"
    run = harness.run(command, timeout=timeout, directory=directory, conf=conf + ",prof_accum:true,prof_time_interval:1s")
    assert run.status == 0, f"{what}: status {run.status} in {directory}\n{run.stdout[-3000:]}\n{run.stderr[-3000:]}"
    # What a newer VM says of the flag that it was given is its own affair.
    said = re.sub(r"(?m)^.*VM warning: Option \w+ was deprecated .*\n", "", run.stderr)
    assert said == "", f"{what}: {said[:2000]}"
    assert run.stdout.splitlines()[-1] == "done", f"{what}: {run.stdout[-2000:]}"
    assert "leakshim" not in run.stdout, f"{what}: {run.stdout[:2000]}"
    if "-Xcheck:jni" not in flags:
        others = [line for line in run.stdout.splitlines()[:-1] if " warning: " not in line]
        assert not others, f"{what}: {others[:20]}"
    assert run.dumps, f"{what}: no dump"
    for path in run.dumps:
        dump = harness.Dump(path)
        dump.check_books()
    with open(log, encoding="utf-8", errors="replace") as lines:
        classes = {no_address(line.split(" ", 1)[0]) for line in lines}
    result = Stress(run, dump, read_truth(truth), classes)
    return what, result


def read_truth(path):
    """{size: (blocks, how to compare, [(class, method, line, file)], leaf first)}."""
    truth = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            size, blocks, how, *chain = line.rstrip("\n").split("\t")
            frames = [frame.split(" ") for frame in chain]
            truth[int(size)] = (int(blocks), how, [(c, m, int(n), f) for c, m, n, f in frames])
    return truth


def same(frame, known):
    """A frame of a dump against one that the program knows; only files may be left out."""
    _, where, method, line, source = frame
    return (where, method, line) == known[:3] and (source == known[3] or "-" in (source, known[3]))


def verdict(java_frames, how, known, at_limit):
    """right; cut: right as far as it goes; wrong."""
    if how == "end":
        java_frames = java_frames[-len(known):]
    if how == "begin":
        # A virtual thread: its outer frames may lie in the heap, and the frames of its carrier follow.
        mounted = next((i for i, frame in enumerate(java_frames) if frame[1:3] in CARRIER), len(java_frames))
        own = java_frames[:mounted]
        return "right" if 0 < len(own) <= len(known) and all(map(same, own, known)) else "wrong"
    if len(java_frames) > len(known) or not all(map(same, java_frames, known)):
        return "wrong"
    if len(java_frames) == len(known) or at_limit:
        return "right"
    return "cut"


def check_java(what, result, all_recorded=False):
    """Names, completeness and books of the last dump of a run. Returns a line of figures."""
    dump = result.dump
    says = dump.about.get("java_frames", "nothing")
    assert says == "on", f"{what}: java_frames says {says}"
    assert dump.about.get("jvm"), f"{what}: no version of the JVM"
    check_frames(what, dump, result.classes)
    samples, whole, limited, cut = (dump.books[f"java_{key}"] for key in ("samples", "whole", "depth_limit", "cut"))
    assert samples == whole + limited + cut, f"{what}: {dump.books}"
    cut -= below_signals(dump)
    assert cut <= samples // 1000, f"{what}: {cut} of {samples} samples were cut short"
    tally, blocks = check_truth(what, dump, result.truth)
    assert tally["right"] >= 20, f"{what}: {tally}"
    assert tally["cut"] <= (tally["right"] + tally["cut"]) // 1000, f"{what}: {tally}"
    if all_recorded and not dump.books["dropped_memory"]:
        known = sum(entry[0] for entry in result.truth.values())
        assert abs(known - tally["right"]) <= known // 1000, f"{what}: {known} blocks, {tally}"
        for size, (count, _, chain) in result.truth.items():
            assert blocks[size] <= count, f"{what}: {blocks[size]} blocks of {count} seen under {chain}"
    return f"{samples} Java samples, {cut} cut, {limited} at the limit; {dict(tally)}"


def below_signals(dump):
    """Samples of the JVM's own signal handler above Java code: it may have struck where no frame had been made yet."""
    return sum(line[2] for frames, lines, _, extra in dump.stacks if extra.get("truncated")
               and any(dump.symbol(frame) == "JVM_handle_linux_signal" for frame in frames) for line in lines)


def check_frames(what, dump, classes):
    """Each class existed, and each native method lies above the C function that it is bound to."""
    for kind, where, method, line, _ in dump.java.values():
        assert kind in KINDS, f"{what}: {kind}"
        assert kind == "unknown" or (where in classes and method), f"{what}: no class {where} (method {method})"
        assert kind != "unknown" or (where, method, line) == ("-", "-", 0), f"{what}: {where} {method} {line}"
    for frames, _, _, _ in dump.stacks:
        for inner, outer in zip(frames, frames[1:]):
            symbol = dump.symbol(inner)
            if symbol.startswith("Java_") and outer in dump.java:
                kind, where, method, _, _ = dump.java[outer]
                bound = f"Java_{mangled(where)}_{mangled(method)}"
                assert kind == "native" and (symbol == bound or symbol.startswith(bound + "__")), \
                    f"{what}: {symbol} called by {dump.java[outer]}"


def check_truth(what, dump, truth):
    """The stacks of blocks whose size tells their Java frames. ({verdict: blocks}, {size: blocks}), no verdict wrong."""
    tally, blocks = collections.Counter(), collections.Counter()
    for frames, lines, _, _ in dump.stacks:
        if not any(dump.symbol(frame) == "stress_block" for frame in frames):
            continue
        java_frames = [dump.java[frame] for frame in frames if frame in dump.java]
        for _, _, count, size in lines:
            each, rest = divmod(size, count)
            told = truth.get(each)
            shown = "\n  ".join(map(str, java_frames))
            assert rest == 0 and told, f"{what}: {count} blocks of {size} bytes, not of one known size, below\n  {shown}"
            judged = verdict(java_frames, told[1], told[2], len(frames) >= DEPTH)
            known = "\n  ".join(map(str, told[2]))
            assert judged != "wrong", f"{what}: {count} blocks of {each} bytes are below\n  {shown}\nnot ({told[1]})\n  {known}"
            tally[judged] += count
            blocks[each] += count
    return tally, blocks
