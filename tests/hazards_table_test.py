"""The table of hazards in README.md has every hazard, and every test that it names exists."""

import glob
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# Hazards of each section.
SECTIONS = {1: 8, 2: 9, 3: 12, 4: 18, 5: 10, 6: 9, 7: 13, 8: 8, 9: 10, 10: 5, 11: 7, 12: 5}


def text(path):
    with open(os.path.join(HERE, path)) as file:
        return file.read()


def existing():
    """Names of tests as the table writes them."""
    names = set()
    for path in glob.glob(os.path.join(HERE, "*/*_test.py")):
        room = os.path.basename(path)[:-len("_test.py")]
        if os.path.basename(os.path.dirname(path)) in ("suites", "compat"):
            room = os.path.basename(os.path.dirname(path))
        names |= {f"{room}.{name}" for name in re.findall(r"^def (\w+)\(\):", text(path), re.M)}
    for path in glob.glob(os.path.join(HERE, "unit/**/*.cc"), recursive=True):
        names |= {f"{fixture}.{test}" for fixture, test in re.findall(r"^TEST(?:_F|_P)?\((\w+),\s*(\w+)\)", text(path), re.M)}
    return names


def problems(table, tests):
    rows = re.findall(r"^\| (\d+\.\d+) \| (.+?) \| (.+) \|$", table, re.M)
    ids = [row[0] for row in rows]
    wanted = [f"{section}.{n}" for section, count in SECTIONS.items() for n in range(1, count + 1)]
    yield from (f"{each} is missing" for each in wanted if each not in ids)
    yield from (f"{each} is there twice" for each in set(ids) if ids.count(each) > 1)
    yield from (f"{each} is no hazard of the list" for each in ids if each not in wanted)
    for hazard, _, cell in rows:
        named = re.findall(r"`([^`]+)`", cell)
        for name in named:
            if re.fullmatch(r"\w+\.\w+", name) and not os.path.splitext(name)[1] in (".py", ".sh"):
                if name not in tests:
                    yield f"{hazard}: there is no test {name}"
            elif "/" in name or name.endswith((".py", ".sh")):
                where = (name, os.path.join("preload", name), os.path.join("..", name))
                if not any(os.path.exists(os.path.join(HERE, path)) for path in where):
                    yield f"{hazard}: there is no {name}"
        if not named and not re.match(r"(None|Cannot)\b.{20,}", cell):
            yield f"{hazard} has neither a test nor a reason"


def main():
    table, tests = text("README.md"), existing()
    found = list(problems(table, tests))
    # The check itself must be able to fail.
    assert list(problems(table.replace("| 3.4 |", "| 3.44 |"), tests)) != found
    assert list(problems(table.replace("life.every_way_out_is_the_programs_own", "life.no_such_test"), tests)) != found
    for problem in found:
        print(problem)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
