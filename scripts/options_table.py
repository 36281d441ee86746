#!/usr/bin/env python3
"""Prints the options of libleakshim/options.def for its readers.

    options_table.py                   the Markdown table of README.md
    options_table.py --man             the OPTIONS section of the manual page
    options_table.py --check FILE      exit status 1 unless FILE holds that table between its two markers
    options_table.py --write FILE      puts it there

The table stands between a line `<!-- options -->` and a line `<!-- /options -->` (a second `<!-- options -->` will do).
"""

import argparse
import collections
import pathlib
import sys

DEFINITIONS = pathlib.Path(__file__).resolve().parent.parent / "libleakshim" / "options.def"
BEGIN = "<!-- options -->"
NO_EFFECT_YET = "*Accepted, no effect yet*"
ENDS = ("<!-- /options -->", BEGIN)

Option = collections.namedtuple("Option", "type name standard under_malloc_conf allowed unit effect help")


def split_arguments(text):
    """The arguments of a macro call: split at commas outside of string literals, literals unquoted."""
    arguments, current, quoted, escaped = [], "", False, False
    for c in text:
        if escaped:
            current += c
            escaped = False
        elif quoted and c == "\\":
            escaped = True
        elif c == '"':
            quoted = not quoted
        elif c == "," and not quoted:
            arguments.append(current.strip())
            current = ""
        else:
            current += c
    arguments.append(current.strip())
    return arguments


def read_options(path=DEFINITIONS):
    options = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.startswith("OPTION("):
            continue
        arguments = split_arguments(line[len("OPTION("):line.rindex(")")])
        if len(arguments) != len(Option._fields):
            sys.exit(f"{path}:{number}: {len(arguments)} arguments, expected {len(Option._fields)}")
        options.append(Option(*arguments))
    return options


def values(option):
    """What may be written as the value, in words a user reads; '' where the default shows it well enough."""
    if option.type in ("Number", "Bytes"):
        low, _, high = option.allowed.partition("..")
        words = f"{low} to {high}" if high else f"from {low}"
        return f"{option.unit}, {words}" if option.unit else words
    if option.type == "Bool":
        return "true, false"
    if option.type == "Percents":
        return "two percentages, off"
    if option.type == "Duration":
        return "time" if "auto" not in option.allowed else "auto, time"
    if option.type == "Signal":
        return "none, signal"
    if option.type == "Seed":
        return "random, number"
    if option.type == "Text":
        return "text"
    return option.allowed.replace("|", ", ")


def default(option):
    return option.standard if option.standard else "(none)"


def remarks(option):
    text = option.help
    if option.under_malloc_conf != "SAME":
        text += f" (default under `MALLOC_CONF`: {option.under_malloc_conf})"
    if option.effect == "kNotYet":
        text += ". " + NO_EFFECT_YET
    return text


def markdown(options):
    lines = ["| key | default | value | meaning |", "|---|---|---|---|"]
    for option in options:
        if option.effect != "kNoMeaning":
            lines.append(f"| {option.name} | {default(option)} | {values(option)} | {remarks(option)} |")
    others = ", ".join(option.name for option in options if option.effect == "kNoMeaning")
    lines.append(f"| {others} | | | jemalloc's; accepted, no meaning here |")
    return "\n".join(lines) + "\n"


def roff(text):
    text = text.replace(NO_EFFECT_YET, NO_EFFECT_YET.strip("*")).replace("\\", "\\e").replace("-", "\\-")
    parts = text.split("`")
    for i in range(1, len(parts), 2):
        parts[i] = f"\\fB{parts[i]}\\fR"
    text = "".join(parts)
    return "\\&" + text if text.startswith((".", "'")) else text


def man(options):
    lines = [".SH OPTIONS"]
    for option in options:
        if option.effect == "kNoMeaning":
            continue
        lines += [".TP", f"\\fB{roff(option.name)}\\fR:\\fI{roff(values(option))}\\fR",
                  roff(f"{remarks(option)}. Default: {default(option)}.")]
    others = ", ".join(option.name for option in options if option.effect == "kNoMeaning")
    lines += [".PP", roff(f"Accepted for jemalloc's sake, without meaning here: {others}.")]
    return "\n".join(lines) + "\n"


def between_markers(text, path):
    """Where the table begins and ends in `text`."""
    lines = text.splitlines(keepends=True)
    stripped = [line.strip() for line in lines]
    if BEGIN not in stripped:
        sys.exit(f"{path}: no line {BEGIN}")
    begin = stripped.index(BEGIN) + 1
    for end in range(begin, len(lines)):
        if stripped[end] in ENDS:
            return sum(map(len, lines[:begin])), sum(map(len, lines[:end]))
    sys.exit(f"{path}: no line {ENDS[0]} after {BEGIN}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--man", action="store_true", help="print the section of the manual page")
    action.add_argument("--check", metavar="FILE", type=pathlib.Path, help="compare the table in FILE")
    action.add_argument("--write", metavar="FILE", type=pathlib.Path, help="update the table in FILE")
    arguments = parser.parse_args()

    options = read_options()
    if arguments.man:
        sys.stdout.write(man(options))
        return 0
    table = markdown(options)
    path = arguments.check or arguments.write
    if path is None:
        sys.stdout.write(table)
        return 0
    text = path.read_text()
    begin, end = between_markers(text, path)
    if text[begin:end] == table:
        return 0
    if arguments.check:
        print(f"{path}: the options table is not that of {DEFINITIONS.name}; run scripts/options_table.py --write {path}",
              file=sys.stderr)
        return 1
    path.write_text(text[:begin] + table + text[end:])
    return 0


if __name__ == "__main__":
    sys.exit(main())
