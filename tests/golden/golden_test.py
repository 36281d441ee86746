"""Reports against what was agreed on: every file `leakprof ARGUMENTS.out` is named by the command that makes it.

`golden_test.py LEAKPROF` compares; with --update it writes the files anew, to be read before they are committed.
"""

import difflib
import os
import subprocess
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))
leakprof = os.path.abspath(sys.argv[1])
update = "--update" in sys.argv[2:]
names = sorted(name for name in os.listdir(FOLDER) if name.startswith("leakprof ") and name.endswith(".out"))
assert len(names) >= 10, "the golden files are missing"
failed = 0
for name in names:
    arguments = name.removesuffix(".out").split(" ")[1:]
    run = subprocess.run([leakprof, *arguments], cwd=FOLDER, capture_output=True, text=True, timeout=60)
    text = run.stdout + "".join(f"stderr: {line}\n" for line in run.stderr.splitlines()) + f"status: {run.returncode}\n"
    path = os.path.join(FOLDER, name)
    with open(path) as file:
        wanted = file.read()
    if text == wanted:
        continue
    if update:
        with open(path, "w") as file:
            file.write(text)
        print("updated:", name)
        continue
    failed += 1
    print("".join(difflib.unified_diff(wanted.splitlines(True), text.splitlines(True), name, "now")))
sys.exit(failed != 0)
