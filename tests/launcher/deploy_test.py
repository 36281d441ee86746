"""The snippets of libleakshim/DEPLOY.md, as far as one machine can try them: with the paths of this build in place of the
installed ones, nothing else changed."""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "preload"))
import harness  # noqa: E402

TWIN = os.environ.get("LEAKSHIM_TWIN_JAR", "")
IS_ROOT = os.geteuid() == 0
INSTALLED = "/usr/local/lib/libleakshim.so"
CLEAN = {name: value for name, value in os.environ.items()
         if not name.startswith(("LEAKSHIM_", "MALLOC_", "LD_", "GLIBC_"))}
with open(os.path.join(HERE, "..", "..", "libleakshim", "DEPLOY.md"), encoding="utf-8") as page:
    SNIPPETS = dict(re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", page.read(), re.S))


def fresh():
    directory = tempfile.mkdtemp(prefix="leakshim-test-")
    os.chmod(directory, 0o755)
    return directory


def run(command, env, directory, status=0, **options):
    ran = subprocess.run(command, env={**CLEAN, **env}, cwd=directory, capture_output=True, text=True, timeout=60, **options)
    assert ran.returncode == status, (command, ran)
    return ran


def dumps_below(directory):
    return sorted(glob.glob(os.path.join(directory, "**", "*.heap"), recursive=True))


def the_page_has_what_is_tried_here():
    assert sorted(SNIPPETS) == ["Dockerfile", "app.service.d/leakshim.conf", "pod.yaml", "setenv.sh", "start.sh"], list(SNIPPETS)
    with open(os.path.join(HERE, "..", "..", "README.md"), encoding="utf-8") as readme:
        assert "(libleakshim/DEPLOY.md)" in readme.read()


def the_drop_in_is_a_unit_and_its_environment_profiles():
    text = SNIPPETS["app.service.d/leakshim.conf"]
    directory = fresh()
    if shutil.which("systemd-analyze"):
        os.mkdir(f"{directory}/app.service.d")
        with open(f"{directory}/app.service", "w", encoding="utf-8") as file:
            file.write("[Unit]\nDescription=An application\n[Service]\nExecStart=/bin/true\n")
        for snippet, complaint in ((text, ""), (text.replace("StateDirectory=", "StateDirectori="), "StateDirectori")):
            with open(f"{directory}/app.service.d/leakshim.conf", "w", encoding="utf-8") as file:
                file.write(snippet)
            verified = subprocess.run(["systemd-analyze", "verify", f"{directory}/app.service"], capture_output=True, text=True,
                                      timeout=60, env={**CLEAN, "SYSTEMD_UNIT_PATH": f"{directory}:"})
            said = "".join(line for line in verified.stderr.splitlines() if directory in line)
            assert (complaint in said) if complaint else said == "", verified
    env = dict(re.findall(r"^Environment=(\w+)=(.*)$", text, re.M))
    assert "%" not in env["LEAKSHIM_CONF"].replace("%%", ""), env
    state = re.search(r"^StateDirectory=(.*)$", text, re.M)[1]
    assert f"prof_prefix:/var/lib/{state}/" in env["LEAKSHIM_CONF"], "the directory that the unit makes"
    env = {"LD_PRELOAD": env["LD_PRELOAD"].replace(INSTALLED, harness.LIBRARY),
           "LEAKSHIM_CONF": env["LEAKSHIM_CONF"].replace("/var/lib", directory).replace(":java", ":peaks")}
    run(["sh", "-c", f"/bin/ls >&2; exec '{harness.program('peaks')}' 20"], env, directory)
    assert len(dumps_below(f"{directory}/{state}")) == 1, dumps_below(directory)


def copy_with_libraries(program, root, place):
    """A program at `place` below `root`, with the libraries that it needs where it looks for them."""
    os.makedirs(os.path.dirname(root + place), exist_ok=True)
    shutil.copy(program, root + place)
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True, timeout=60).stdout
    for library in re.findall(r"(/\S+) \(0x", listed):
        os.makedirs(os.path.dirname(root + library), exist_ok=True)
        shutil.copy(os.path.realpath(library), root + library)


def the_image_profiles_without_a_network_and_with_nothing_else_in_it():
    if not IS_ROOT:
        return
    text = SNIPPETS["Dockerfile"]
    root = fresh()
    copy_with_libraries(harness.program("peaks"), root, "/app")
    target = re.search(r"^COPY libleakshim.so (\S+)$", text, re.M)[1]
    os.makedirs(os.path.dirname(root + target), exist_ok=True)
    shutil.copy(harness.LIBRARY, root + target)
    env = dict(re.findall(r"^ENV (\w+)=(.*)$", text, re.M))
    (command,) = re.findall(r'^CMD \["([^"]+)"\]$', text, re.M)
    (volume,) = re.findall(r"^VOLUME (\S+)$", text, re.M)
    os.mkdir(root + volume)
    # env sets what the image sets behind unshare and chroot, as a container's process gets it.
    copy_with_libraries(shutil.which("env"), root, "/bin/env")
    settings = [f"{name}={value}" for name, value in env.items()]
    for _ in range(2):
        run(["unshare", "--net", "--pid", "--fork", "--uts", "sh", "-c", 'hostname web-1; exec chroot "$@"', "sh", root, "/bin/env",
             *settings, command, "20"], {}, root)
    dumps = [os.path.relpath(path, root + volume) for path in dumps_below(root + volume)]
    # Process 1 twice, in one directory: both are kept.
    assert len(dumps) == 2 and all(path.startswith("web-1/leakshim.1.") for path in dumps), dumps


def the_pod_shares_the_library_and_its_group_reads_the_dumps():
    text = SNIPPETS["pod.yaml"]
    directory = fresh()
    # Two blanks a level, no tabs, and every volume that is mounted is there: what a parser and the API would refuse first.
    assert "\t" not in text and all((len(line) - len(line.lstrip())) % 2 == 0 for line in text.splitlines()), text
    volumes = set(re.findall(r"^    - name: (\w+)\n      emptyDir", text, re.M))
    mounts = set(re.findall(r"\{name: (\w+), mountPath", text))
    assert volumes == mounts == {"leakshim", "profiles"}, (volumes, mounts)
    for volume in volumes:
        os.mkdir(f"{directory}/{volume}")
    group = int(re.search(r"fsGroup: (\d+)", text)[1])
    reader, reader_group = map(int, re.search(r"runAsUser: (\d+), runAsGroup: (\d+)", text).groups())

    def here(value):
        return re.sub(r"(?<![\w/])/(leakshim|profiles)/", rf"{directory}/\1/", value.replace(INSTALLED, harness.LIBRARY))
    (initial,) = re.findall(r'command: \[sh, -c, "(.*)"\]', text)
    run(["sh", "-ec", here(initial)], {}, directory)
    env = {name: here(value.strip('"')) for name, value in re.findall(r'\{name: ([A-Z_]+), value: (".*?"|\S+?)\}', text)}
    assert env["LD_PRELOAD"] == f"{directory}/leakshim/libleakshim.so", env
    env["LEAKSHIM_CONF"] = env["LEAKSHIM_CONF"].replace(":java", ":peaks")
    options = {}
    if IS_ROOT:
        os.chown(f"{directory}/profiles", 0, group)
        os.chmod(f"{directory}/profiles", 0o2775)
        options = {"user": 1000, "group": 1000, "extra_groups": [group]}
    run([harness.program("peaks"), "20"], env, directory, **options)
    (dump,) = dumps_below(f"{directory}/profiles")
    assert os.stat(dump).st_mode & 0o777 == 0o640, oct(os.stat(dump).st_mode)
    assert harness.Dump(dump).about["label"] == "release=1.42"
    if IS_ROOT:
        run(["cat", dump], {}, directory, user=reader, group=reader_group, extra_groups=[])
        run(["cat", dump], {}, directory, status=1, user=reader, group=reader, extra_groups=[])


def launch_scripts_profile_the_java_at_their_end():
    directory = fresh()
    for name in ("setenv.sh", "start.sh"):
        # A program that ends at once has a sample of a Java thread for certain if sampling is finer.
        text = SNIPPETS[name].replace(INSTALLED, harness.LIBRARY).replace("prof_only:java", "prof_only:java,lg_prof_sample:12")
        with open(f"{directory}/{name}", "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(f"{directory}/{name}", 0o755)
        run(["sh", "-n", name], {}, directory)
        if shutil.which("shellcheck"):
            run(["shellcheck", "--shell=sh", name], {}, directory)
    with open(f"{directory}/catalina.sh", "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\n. ./setenv.sh\nls >/dev/null\nexec java -jar \"$1\" 0 </dev/null\n")
    os.chmod(f"{directory}/catalina.sh", 0o755)
    ran = run(["./catalina.sh", TWIN], {"CATALINA_BASE": directory}, directory)
    assert "hook ran" in ran.stdout and ran.stderr == "", ran
    (dump,) = dumps_below(f"{directory}/profiles")
    assert harness.Dump(dump).about["java_frames"] == "on", harness.Dump(dump).about
    ran = run(["./start.sh", TWIN], {"PROFILES": f"{directory}/more", "PATH": f"{harness.BUILD}:{CLEAN['PATH']}"}, directory,
              status=1, stdin=subprocess.DEVNULL)
    # Without an argument the program ends by an exception: its own status.
    assert ran.stderr.startswith(f"leakshim: profiling java; dumps in {directory}/more/leakshim.*; first in 30 s\n"), ran
    assert len(dumps_below(f"{directory}/more")) == 1, (ran, os.listdir(f"{directory}/more"))


if __name__ == "__main__":
    harness.main({test.__name__: test for test in (
        the_page_has_what_is_tried_here, the_drop_in_is_a_unit_and_its_environment_profiles,
        the_image_profiles_without_a_network_and_with_nothing_else_in_it,
        the_pod_shares_the_library_and_its_group_reads_the_dumps,
        *([launch_scripts_profile_the_java_at_their_end] if TWIN else []))})
