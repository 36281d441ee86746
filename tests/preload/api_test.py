"""The C API of leakshim.h, from a program that is not linked with the library."""

import os
import re

import harness

API = harness.program("api")


def api(conf, preload=harness.LIBRARY, folder=None):
    directory = harness.tempfile.mkdtemp(prefix="leakshim-test-")
    path = os.path.join(directory, "mine")
    return harness.run([API, path], conf=conf, preload=preload, directory=directory), path


def without_the_library_every_function_is_null():
    run, path = api("lg_prof_sample:0", preload=None)
    assert run.status == 0 and run.stdout == "absent\n" and not os.path.exists(path), run


def with_it_all_do_what_the_header_says():
    # Also where no dump is wanted by itself, and in a process that begins asleep.
    for conf in ("lg_prof_sample:0,prof_final:false", "lg_prof_sample:0,prof_prefix:",
                 "lg_prof_sample:0,prof_active:false,prof_final:false"):
        run, path = api(conf)
        assert run.status == 0 and run.stdout == "fine\n" and run.stderr == "", (conf, run)
        assert sorted(os.listdir(run.directory)) == ["mine"], (conf, os.listdir(run.directory))
        assert os.stat(path).st_mode & 0o777 == 0o600
        dump = harness.Dump(path)
        dump.check_books()
        assert dump.about["reason"] == "request", dump.about
        # 201 of the first 301 and one later are alive, none of the 300 while it slept, 150 of the named thread.
        exact = {}
        for _, lines, threads, _ in dump.stacks:
            for uid, rows in threads.items():
                exact[uid] = exact.get(uid, 0) + sum(row[0] for row in rows if row[0] and row[1] == 1000 * row[0])
        names = {uid: fields[1] for uid, fields in dump.threads.items() if len(fields) > 1}
        by_name = {names.get(uid): count for uid, count in exact.items() if count}
        assert by_name.pop("named by a handler") == 202, (conf, by_name)
        (name, count), = by_name.items()
        assert count == 150 and name == "a name of more than the kernel's fifteen charac", (conf, name, count)


def what_is_off_says_so():
    run, path = api("prof:false")
    assert run.status == 0 and run.stdout == "off\n" and not os.path.exists(path), run


if __name__ == "__main__":
    harness.main({test.__name__: test for test in (
        without_the_library_every_function_is_null, with_it_all_do_what_the_header_says, what_is_off_says_so)})
