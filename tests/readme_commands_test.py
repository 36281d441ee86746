"""The programs of this repository that its READMEs start are there and can be started."""

import glob
import os
import re
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
named, wrong = 0, []
for page in ["README.md", *glob.glob("*/README.md", root_dir=ROOT), "libleakshim/DEPLOY.md"]:
    with open(os.path.join(ROOT, page)) as file:
        text = file.read()
    for path in set(re.findall(r"(?<![\w./-])(?:bench|scripts)/[\w/.-]+\.(?:py|sh)\b", text)):
        if path == "scripts/packages.sh":  # read, not run
            continue
        named += 1
        if not os.access(os.path.join(ROOT, path), os.X_OK):
            wrong.append(f"{page}: {path} cannot be started")
print("\n".join(wrong) or f"{named} are fine")
sys.exit(1 if wrong or named < 8 else 0)
