"""Each option that has an effect has a test which shows it: the table in README.md names it, it exists, and sets the option."""

import glob
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def text(path):
    with open(os.path.join(HERE, path), encoding="utf-8") as file:
        return file.read()


def tests():
    """{name as the table writes it: its body}."""
    found = {}
    for path in glob.glob(os.path.join(HERE, "*/*_test.py")):
        parts = re.split(r"^def (\w+)\(\):\n", text(path), flags=re.M)
        for name, body in zip(parts[1::2], parts[2::2]):
            found[f"{os.path.basename(path)[:-len('_test.py')]}.{name}"] = body
    return found


def problems(definition, table, bodies):
    options = re.findall(r"^OPTION\(\w+, (\w+),.*, kEffective,", definition, re.M)
    rows = re.findall(r"^\| (\w+) \| `(\w+\.\w+)` \|$", table, re.M)
    named = [option for option, _ in rows]
    yield from (f"{option} has no test in the table" for option in options if option not in named)
    for option, test in rows:
        if option not in options:
            yield f"{option} is no option that has an effect"
        elif test not in bodies:
            yield f"{option}: there is no test {test}"
        elif not re.search(rf"\b{option}:", bodies[test]):
            yield f"{option}: {test} never sets it"


def main():
    definition, table, bodies = text("../libleakshim/options.def"), text("README.md"), tests()
    found = list(problems(definition, table, bodies))
    # The check itself must be able to fail.
    assert len(list(problems(definition, table.replace("| prof_keep |", "| prof_kept |"), bodies))) >= len(found) + 2
    assert len(list(problems(definition, table.replace("bounds.a_long_series", "bounds.no_series"), bodies))) > len(found)
    assert len(list(problems(definition, table, {**bodies, "options.a_seed_makes_runs_alike": ""}))) > len(found)
    for problem in found:
        print(problem)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
