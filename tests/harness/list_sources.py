#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What meson builds from a folder without a list in it, one line per program: suite name kind path.

kind: harness (tests of jd_test.h) or main (a main of its own and its exit status; 77 is a skip).
  tests       tests/{unit,contract,io,fault,sim,marks,remote,stress}/**/test_*.c and tests/stress/**/*.c
  model       tests/model/*.c except check*.c
  benchmarks  benchmarks/{micro,net}/**/*.c
  examples    docs/examples/*.c
  shared      tests/support/*.c, tests/model/check*.c: in libraries, listed so that one more is noticed
  fuzz        tests/fuzz/fuzz_*.c
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SUITES = {"unit": "test_*.c", "contract": "test_*.c", "io": "test_*.c", "fault": "test_*.c",
          "sim": "test_*.c", "marks": "test_*.c", "remote": "test_*.c",
          "stress": "*.c"}


def kind_of(path):
    return "main" if re.search(r"^int main\(", path.read_text(encoding="utf-8"), re.M) else "harness"


def name_of(path, folder):
    parts = path.relative_to(folder).with_suffix("").parts
    return "_".join(parts).replace("test_", "")


def rows(folder, suite, pattern, kind=None):
    for path in sorted(folder.rglob(pattern)):
        yield suite, name_of(path, folder), kind or kind_of(path), path.relative_to(ROOT)


def listing(what):
    if what == "tests":
        for suite, pattern in SUITES.items():
            yield from rows(ROOT / "tests" / suite, suite, pattern)
    elif what == "model":
        for row in rows(ROOT / "tests/model", "model", "*.c", "main"):
            if not row[3].name.startswith("check"):
                yield row
    elif what == "benchmarks":
        for suite in ("micro", "net"):
            yield from rows(ROOT / "benchmarks" / suite, suite, "*.c", "main")
    elif what == "fuzz":
        yield from rows(ROOT / "tests/fuzz", "fuzz", "fuzz_*.c", "main")
    elif what == "examples":
        yield from rows(ROOT / "docs/examples", "examples", "*.c", "main")
    elif what == "shared":
        yield from rows(ROOT / "tests/support", "support", "*.c")
        yield from rows(ROOT / "tests/model", "check", "check*.c")


def main():
    for what in sys.argv[1:] or ["tests", "model", "benchmarks", "examples", "shared", "fuzz"]:
        for row in listing(what):
            print(*row)


if __name__ == "__main__":
    main()
