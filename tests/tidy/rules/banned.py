# SPDX-License-Identifier: MIT
"""Calls that have a better spelling here, each with its replacement and the places that may.

A line is waived by `tidy: allow WORD reason` in a comment on it or on the line above, WORD being the
call. The table is the rule: extend `allowed` there when a file becomes the one place for something.
"""
import re
from dataclasses import dataclass

from tree import Finding, code_only, is_waived, line_of

NAME = "banned"


@dataclass(frozen=True)
class Ban:
    pattern: str      # group 1 is the word
    instead: str
    where: tuple = ("runtime/",)
    allowed: tuple = ()  # path prefixes


BANS = [
    Ban(r"\b(usleep|nanosleep|clock_nanosleep|sleep)\s*\(",
        "no sleeps: a future, a sync point or the fake clock in tests; jd_sleep in tasks",
        ("runtime/", "tests/", "benchmarks/")),
    Ban(r"\b(rand|random|srand|srandom|rand_r|drand48)\s*\(",
        "base/rng.h: seeded, repeatable (in tests: jd_test_seed())", ("runtime/", "tests/")),
    Ban(r"\b(clock_gettime|gettimeofday|getrandom)\s*\(",
        "base/clock.h or base/rng.h: the simulator replaces them there",
        allowed=("runtime/base/", "runtime/cli/")),
    Ban(r"\b(atomic_(?:load|store|exchange|compare_exchange_\w+|fetch_\w+|thread_fence|init)"
        r"(?:_explicit)?)\s*\(",
        "atom_* of atomic/atomic.h, with the order written out", allowed=("runtime/atomic/",)),
    Ban(r"\b(__(?:atomic|sync)_\w+)\s*\(",
        "atom_* of atomic/atomic.h, which the model checker sees",
        allowed=("runtime/atomic/", "runtime/base/")),
    Ban(r"(?<![\w.>])(malloc|calloc|realloc|free|aligned_alloc|posix_memalign|strn?dup|asprintf|"
        r"mallocx|rallocx|s?dallocx)\s*\(",
        "mem_alloc, mem_free of base/alloc.h: sized, counted, made to fail by tests",
        allowed=("runtime/base/", "runtime/cli/", "runtime/adapters/")),
    Ban(r"(?<![\w.>])(errno)\b(?!\.h)",
        "an error code in the return value; a layer that may run inside a task must not touch errno, "
        "whose address is cached across a suspension: make the call in a noinline function of "
        "base/, fiber/, reactor/ or executor/ that returns -errno",
        allowed=("runtime/base/", "runtime/fiber/", "runtime/reactor/", "runtime/executor/",
                 "runtime/inspect/", "runtime/cli/", "runtime/adapters/",
                 "runtime/task/parker.c")),  # parks plain threads only
    Ban(r"(?<!\w)(assert)\s*\(", "JD_ASSERT of base/assert.h: on in every build"),
    Ban(r"\b(__thread|_Thread_local|thread_local)\b",
        "the accessor for the current worker: thread-locals live in the files that tests/tidy/rules/"
        "banned.py lists, behind a noinline function",
        allowed=("runtime/sched/current.c", "runtime/reactor/reactor.c", "runtime/executor/",
                 "runtime/sim/sim.c", "runtime/cli/")),
    Ban(r"#[ \t]*include[ \t]+<(ck_\w+)\.h>", "a wrapper in atomic/, the only folder that knows CK",
        allowed=("runtime/atomic/",)),
    Ban(r"#[ \t]*include[ \t]+<(jemalloc)/", "base/alloc.h, the only one that knows jemalloc",
        allowed=("runtime/base/",)),
    Ban(r"#[ \t]*include[ \t]+<(liburing)", "the ops of reactor/, the only folder that knows rings",
        allowed=("runtime/reactor/",)),
]
UNFINISHED = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX"]) + r")\b")

SAMPLES = [
    ({"runtime/io/a.c": "/* free(x) */\njd_sleep(1);\nmem_free(p, 1);\nmap->free(p);\n"
                        "#include <errno.h>\natom_load(&x, relaxed);\n"}, 0),
    ({"runtime/io/a.c": "free(p);\n"}, 1),
    ({"runtime/base/a.c": "free(p);\nreturn -errno;\n"}, 0),
    ({"runtime/io/a.c": "return -errno;\n"}, 1),
    ({"tests/unit/a.c": "usleep(1);\n"}, 1),
    ({"tests/unit/a.c": "/* tidy: allow usleep a worker that blocks is the point */\nusleep(1);\n"},
     0),
    ({"tests/unit/a.c": "/* tidy: allow usleep */\nusleep(1);\n"}, 1),
    ({"runtime/io/a.c": "atomic_load(&x);\n"}, 1),
    ({"runtime/io/a.c": "static_assert(1, \"\");\nassert(x);\n"}, 1),
    ({"runtime/io/a.c": "#include <ck_ring.h>\n"}, 1),
    ({"runtime/io/a.c": "static _Thread_local int x;\n"}, 1),
    ({"runtime/io/a.c": "/* " + "TO" + "DO: later */\n"}, 1),
]


def check(tree):
    for path, text in tree.select(["runtime/", "include/", "tests/", "benchmarks/"]):
        code = code_only(text)
        for ban in BANS:
            if not path.startswith(ban.where) or path.startswith(ban.allowed or ("\0",)):
                continue
            for match in re.finditer(ban.pattern, code):
                line = line_of(code, match.start(1))
                if not is_waived(text, line, match[1]):
                    yield Finding(path, line, f"{match[1]}: use {ban.instead}")
        for match in UNFINISHED.finditer(text):
            yield Finding(path, line_of(text, match.start()),
                          f"{match[1]}: finish it, or open an issue and say what is missing")
