"""Makes the dumps of a fleet out of real ones.

    simulate.py OUT SEED... [--hosts 40] [--processes 200] [--dumps 10]

A SEED is a folder with the dumps of one process, and stands for a service of that name. Each simulated process writes
`OUT/<host>/leakshim.<pid>.<seq>.t<seq>.heap` from its seed's counts, stacks and names, with a host, pid, boot, start,
label and address space of its own: libraries, program, stacks and JIT code lie elsewhere in every process, by whole
pages, as the kernel's ASLR has it. Processes of `release=1.1` live through the seed's series; those of `release=1.0`
show its middle dump again and again, so that nothing grows in them. Prints a line of JSON that says what was made.
"""

import argparse
import glob
import json
import os
import random
import re

JAVA_BIT = 1 << 62
LOWEST = 0x10000000  # what lies below is linked to its address


def sequence(path):
    return int(re.search(r"\.(\d+)\.[a-z]\d+\.heap$", path).group(1))


class Template:
    """A dump cut into what stays and what is of one process: addresses, and `about` facts."""

    def __init__(self, path, addresses):
        self.parts = []  # text, or an index into `addresses`, or the name of a fact
        text = []

        def cut(what):
            if text:
                self.parts.append("".join(text))
                text.clear()
            self.parts.append(what)

        def address(word):
            value = int(word, 16)
            if value < LOWEST or value >= JAVA_BIT:
                text.append(word)
            else:
                cut(addresses.setdefault((value, word.startswith("0x")), len(addresses)))

        in_maps = False
        with open(path, errors="surrogateescape") as file:
            for line in file:
                if in_maps or line.startswith(("@ ", "# pc ", "# module ")):
                    # Of `# pc` the first address alone is one of the process; the other is one of the file.
                    limit = 1 if line.startswith("# pc ") else 0
                    last = 0
                    pattern = r"\b[0-9a-f]{8,16}(?=[- ])" if in_maps else r"0x[0-9a-f]+"
                    matches = re.finditer(pattern, line)
                    for count, match in enumerate(matches):
                        if (limit and count >= limit) or (in_maps and count >= 2):
                            break
                        text.append(line[last:match.start()])
                        address(match.group())
                        last = match.end()
                    text.append(line[last:])
                elif line.startswith("# about."):
                    key = line.split(" ", 2)[1].removeprefix("about.")
                    cut((key, line))
                else:
                    text.append(line)
                    in_maps |= line.startswith("MAPPED_LIBRARIES:")
        cut(("end", ""))
        facts = dict(part for part in self.parts if isinstance(part, tuple))
        self.time = float(facts["dump_time"].split()[2])
        self.uptime = float(facts["uptime"].split()[2])
        self.is_java = "jvm" in facts

    def write(self, path, words, facts):
        known = {key: f"# about.{key} {value}\n" for key, value in facts.items()}
        known["end"] = ""
        with open(path, "w", errors="surrogateescape") as file:
            file.write("".join(
                part if isinstance(part, str) else words[part] if isinstance(part, int) else known.get(part[0], part[1])
                for part in self.parts))


class Seed:
    def __init__(self, folder, dumps):
        self.name = os.path.basename(os.path.normpath(folder))
        self.addresses = {}
        paths = [path for path in sorted(glob.glob(os.path.join(folder, "*.heap")), key=sequence) if ".f" not in path]
        self.templates = [Template(path, self.addresses) for path in paths[-dumps:]]
        assert len(self.templates) == dumps, f"{folder}: {len(paths)} dumps, {dumps} are needed"

    def words(self, shift_of):
        return [f"{'0x' if prefixed else ''}{value + shift_of(value):x}" for value, prefixed in self.addresses]

    def command(self):
        if self.templates[0].is_java:
            return f"java -Xmx256m -cp /opt/{self.name}/lib/{self.name}.jar com.example.{self.name.title()} --port 80"
        return f"/opt/{self.name}/bin/{self.name} --port 80"


def simulate(out, folders, hosts=40, processes=200, dumps=10, start=1_795_000_000):
    seeds = [Seed(folder, dumps) for folder in folders]
    made = {"dumps": 0, "bytes": 0, "processes": []}
    draw = random.Random(1)
    for i in range(processes):
        seed = seeds[i % len(seeds)]
        leaks = i // len(seeds) % 2 == 0
        host = f"host{i % hosts:02}"
        folder = os.path.join(out, host)
        os.makedirs(folder, exist_ok=True)
        low, high = draw.randrange(1 << 20) << 12, draw.randrange(1 << 24) << 12
        # 0x7f...: downwards, so that nothing leaves user space; the rest, PIE programs and JIT code, upwards.
        words = seed.words(lambda value: -high if value >= 0x7e0000000000 else low)
        pid, began = 1000 + i, start + 10 * i
        about = {"pid": pid, "host": host, "boot_id": f"00000000-0000-4000-8000-{i % hosts:012}",
                 "start_time": f"{began}.000", "cmdline": seed.command(),
                 "label": f"release={'1.1' if leaks else '1.0'}"}
        if not seed.templates[0].is_java:
            about["executable"] = f"/opt/{seed.name}/bin/{seed.name}"
        for number, template in enumerate(seed.templates):
            facts = {**about, "seq": number, "dump_time": f"{began + template.uptime:.3f}",
                     "uptime": f"{template.uptime:.3f}", "reason": "time"}
            if "label" not in dict(part for part in template.parts if isinstance(part, tuple)):
                facts["host"] = f"{host}\n# about.label {about['label']}"
            path = os.path.join(folder, f"leakshim.{pid}.{number}.t{number}.heap")
            (template if leaks else seed.templates[dumps // 2]).write(path, words, facts)
            made["dumps"] += 1
            made["bytes"] += os.path.getsize(path)
        made["processes"].append({"pid": pid, "host": host, "seed": seed.name, "leaks": leaks, "label": about["label"]})
    return made


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("seeds", nargs="+")
    parser.add_argument("--hosts", type=int, default=40)
    parser.add_argument("--processes", type=int, default=200)
    parser.add_argument("--dumps", type=int, default=10)
    arguments = parser.parse_args()
    made = simulate(arguments.out, arguments.seeds, arguments.hosts, arguments.processes, arguments.dumps)
    print(json.dumps({key: value for key, value in made.items() if key != "processes"}))


if __name__ == "__main__":
    main()
