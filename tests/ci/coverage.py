#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Lines, branches and marks of runtime/ that the tests reach; fails below 90 % of lines or 75 % of branches,
or if the test of a coverage mark (base/mark.h) did not reach it.

usage: coverage.py [FILE...]     (./dev coverage; with files: what the last run did not reach in them)

clang's source coverage with counters in a mapped file: what a process counted is there however it ended
(_exit, abort, SIGKILL), and a switch of stacks means nothing to it. Every test program is an object of the
report, since a kernel in a header is compiled into the programs that use it; a line or a side of a branch
counts as reached when one of them reached it. Sides of assertions do not count: none may fail.
"""
import argparse
import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import time

import programs

BUILD = programs.ROOT / "build/coverage"
PROFILES = BUILD / "profiles"
LINES_MIN, BRANCHES_MIN = 90.0, 75.0
TOTALS = re.compile(r"^(\d+) passed, (\d+) failed$", re.M)
MARK = re.compile(r"^ {4}MARK_(\w+),", re.M)
MARK_REACHED = re.compile(r"^ok \d+ marks::(\w+)$", re.M)
ASSERTION = re.compile(r"\b(JD_ASSERT|JD_ASSERT_SLOW|static_assert)\(")


def run_tests():
    """(passed, failed) of all tests but the models, which compile kernels their own way."""
    PROFILES.mkdir(parents=True, exist_ok=True)
    for old in PROFILES.glob("*.profraw"):
        old.unlink()
    # %m: a file for each program; %c: counters live in the file.
    env = {**os.environ, "LLVM_PROFILE_FILE": f"{PROFILES}/%m%c.profraw"}
    done = subprocess.run([programs.ROOT / "dev", "test", "coverage"], env=env,
                          stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, check=False)
    totals = TOTALS.findall(done.stdout)
    if not totals or int(totals[-1][1]):
        print(done.stdout)
    return (int(totals[-1][0]), int(totals[-1][1])) if totals else (0, 1)


def marks():
    """(names of the marks that their tests have not reached, number of all)."""
    names = MARK.findall((programs.ROOT / "runtime/base/mark.h").read_text(encoding="utf-8"))
    reached = set()
    for log in (BUILD / "meson-logs").glob("testlog*.json"):
        for line in log.read_text(encoding="utf-8").splitlines():
            reached.update(MARK_REACHED.findall(json.loads(line).get("stdout", "")))
    return [name for name in names if name not in reached], len(names)


def objects():
    """The library and all programs that have a profile to match."""
    yield BUILD / "libjackdaw.so"
    yield BUILD / "jackdaw"
    for folder in ("tests", "docs/examples"):
        for path in sorted((BUILD / folder).iterdir()):
            if path.is_file() and os.access(path, os.X_OK):
                yield path


def export():
    """The report in lcov's form."""
    merged = BUILD / "merged.profdata"
    raw = sorted(PROFILES.glob("*.profraw"))
    if not raw:
        sys.exit("no profile: run ./dev coverage first")
    subprocess.run(["llvm-profdata-19", "merge", "-o", merged, *raw], check=True)
    first, *others = objects()
    return subprocess.run(["llvm-cov-19", "export", "-format=lcov", f"-instr-profile={merged}", first,
                           *(f"-object={path}" for path in others), programs.ROOT / "runtime"],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          check=True).stdout


class File:
    def __init__(self, path):
        self.path = path
        self.lines = collections.Counter()     # number: visits
        self.branches = collections.Counter()  # (line, block, side): visits
        source = pathlib.Path(path).read_text(encoding="utf-8").split("\n")
        self.assertions = {number for number, line in enumerate(source, 1)
                           if ASSERTION.search(line)}

    def add(self, kind, text):
        values = text.split(",")
        if kind == "DA":
            self.lines[int(values[0])] += int(values[1])
        elif kind == "BRDA" and int(values[0]) not in self.assertions:
            self.branches[tuple(map(int, values[:3]))] += int(values[3].replace("-", "0"))

    def name(self):
        return str(pathlib.Path(self.path).relative_to(programs.ROOT / "runtime"))

    def missing(self):
        """Lines that nothing reached, and lines with a branch that always went the same way."""
        lines = sorted(number for number in self.lines if not self.lines[number])
        one_way = {key[0] for key in self.branches if not self.branches[key]} - set(lines)
        return lines, sorted(one_way)


def read(report):
    files, current = {}, None
    for line in report.splitlines():
        kind, _, rest = line.partition(":")
        if kind == "SF":
            current = files.setdefault(rest, File(rest))
        elif kind in ("DA", "BRDA"):
            current.add(kind, rest)
    return [files[path] for path in sorted(files)]


def share(counter):
    """(reached, all, percent)."""
    reached = sum(value > 0 for value in counter.values())
    return reached, len(counter), 100.0 * reached / len(counter) if counter else 100.0


def ranges(numbers):
    """1, 2, 3, 7 as 1-3 7."""
    parts = []
    for number in numbers:
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return " ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def table(files):
    print(f"{'file':32}{'lines':>14}{'branches':>18}")
    for each in files:
        if each.lines:
            (a, b, lines), (c, d, branches) = share(each.lines), share(each.branches)
            print(f"{each.name():32}{lines:6.1f} %{a:5}/{b:<5}{branches:6.1f} %{c:5}/{d:<5}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="*", metavar="FILE", help="what the last run did not reach there")
    options = parser.parse_args()
    started = time.monotonic()
    passed, failed = (0, 0) if options.files else run_tests()
    files = read(export())
    for each in files:
        if any(each.path.endswith(name) for name in options.files):
            lines, one_way = each.missing()
            print(f"{each.name()}: not reached: {ranges(lines)}\n    one way only: {ranges(one_way)}")
    if options.files:
        return 0
    table(files)
    for what, least in (("lines", LINES_MIN), ("branches", BRANCHES_MIN)):
        total = collections.Counter()
        for each in files:
            total.update({(each.path, key): value for key, value in getattr(each, what).items()})
        reached, count, percent = share(total)
        good = percent >= least
        passed, failed = passed + good, failed + (not good)
        print(f"{'ok' if good else 'FAILED'}: {percent:.1f} % of {what} ({reached} of {count}), "
              f"at least {least:.0f} %")
    missed, count = marks()
    passed, failed = passed + (not missed), failed + bool(missed)
    print(f"{'FAILED' if missed else 'ok'}: {count - len(missed)} of {count} marks", *missed)
    return programs.finish(passed, failed, started)


if __name__ == "__main__":
    sys.exit(main())
