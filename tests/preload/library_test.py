"""What the built library needs, exports and imports: the lists that keep it loadable everywhere."""

import re
import subprocess

import harness

HOOKS = {"malloc", "calloc", "realloc", "reallocarray", "free", "posix_memalign", "aligned_alloc", "memalign", "valloc",
         "pvalloc", "free_sized", "free_aligned_sized", "malloc_usable_size"}
# jemalloc's extended calls, and the twenty forms of operator new and delete.
HOOKS |= {"mallocx", "rallocx", "xallocx", "dallocx", "sdallocx", "nallocx"}
HOOKS |= {f"_Zn{kind}m{rest}" for kind in "wa" for rest in ("", "RKSt9nothrow_t", "St11align_val_t",
                                                             "St11align_val_tRKSt9nothrow_t")}
HOOKS |= {f"_Zd{kind}Pv{rest}" for kind in "la" for rest in ("", "m", "RKSt9nothrow_t", "St11align_val_t",
                                                              "mSt11align_val_t", "St11align_val_tRKSt9nothrow_t")}
API = {"leakshim_version", "leakshim_dump", "leakshim_dump_to", "leakshim_set_active", "leakshim_name_thread",
       "leakshim_read_counters"}
# The loader's list of loaded objects: data, not a function.
IMPORTS = {"_r_debug"}


def tool(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def needs_libc_alone():
    needed = re.findall(r"NEEDED.*\[(.*)\]", tool("readelf", "-dW", harness.LIBRARY))
    assert set(needed) <= {"libc.so.6", "ld-linux-x86-64.so.2"}, needed


def no_symbol_version_above_2_17():
    versions = re.findall(r"GLIBC_(\d+)\.(\d+)", tool("readelf", "-VW", harness.LIBRARY))
    assert versions, "no version at all: has the library been stripped of its imports?"
    assert all((int(major), int(minor)) <= (2, 17) for major, minor in versions), versions


def exports_the_hooks_and_the_api_alone():
    names = {line.split()[-1].split("@")[0] for line in tool("nm", "-D", "--defined-only", harness.LIBRARY).splitlines()}
    assert names == HOOKS | API, names ^ (HOOKS | API)


def imports_nothing_that_allocates_locks_or_prints():
    names = {line.split()[-1].split("@")[0] for line in tool("nm", "-D", "--undefined-only", harness.LIBRARY).splitlines()}
    assert names == IMPORTS, names ^ IMPORTS


def thread_local_data_is_small_and_initial_exec():
    headers = tool("readelf", "-lW", harness.LIBRARY)
    size = int(re.search(r"^\s+TLS\s+\S+ \S+ \S+ \S+ (0x[0-9a-f]+)", headers, re.M).group(1), 16)
    assert size <= 256, f"{size} bytes of thread-local data come off every thread's stack"
    assert "STATIC_TLS" in tool("readelf", "-dW", harness.LIBRARY)


def every_relocation_is_done_at_start():
    assert re.search(r"BIND_NOW|FLAGS_1.*NOW", tool("readelf", "-dW", harness.LIBRARY))


def a_call_that_is_no_sample_stays_in_one_cache_line():
    """From a hook's entry to its jump to the next allocator: what the instruction cache holds of it."""
    code = tool("objdump", "-d", "--no-show-raw-insn", harness.LIBRARY)
    for hook in ("malloc", "calloc", "realloc", "free", "posix_memalign", "aligned_alloc", "free_sized", "_Znwm", "_ZdlPv"):
        body = re.search(rf"^[0-9a-f]+ <{hook}>:\n(.*?)\n(?:\n|$)", code, re.M | re.S)
        assert body, f"no {hook}"
        instructions = [line.strip().split(":\t") for line in body.group(1).splitlines()]
        jump = next((at for at, text in instructions if re.match(r"jmp\s+\*.*%rip", text)), None)
        assert jump is not None, (hook, instructions)
        start, end = int(instructions[0][0], 16), int(jump, 16) + 5
        assert start // 64 == end // 64, f"{hook}: from {start:#x} to {end:#x}"


if __name__ == "__main__":
    harness.main({test.__name__: test for test in (
        needs_libc_alone, no_symbol_version_above_2_17, exports_the_hooks_and_the_api_alone,
        imports_nothing_that_allocates_locks_or_prints, thread_local_data_is_small_and_initial_exec,
        every_relocation_is_done_at_start, a_call_that_is_no_sample_stays_in_one_cache_line)})
