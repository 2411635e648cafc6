#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Adds up the test logs of several builds; the last line is `N passed, N failed`.

usage: summary.py [--broken "NAME..."] NAME...    (builds in build/NAME; a broken one did not compile)

A TAP program counts by its lines, a plain one as one test. A program that failed without a red line
(crashed, timed out, ended early) counts as one failure more. A build without any log is a failure:
silence is not success. What the first programs that failed said follows the names.
"""
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINE = re.compile(r"^(ok|not ok)\b[^#\n]*(# *skip\S*)?", re.IGNORECASE)
GREEN = {"OK", "EXPECTEDFAIL"}
QUIET = re.compile(r"^(ok\b|TAP version|\d+\.\.\d+)")
SAID_LINES = 12  # of a stream: what a tool has to say comes first
SAID_PROGRAMS = 3


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.names = []
        self.said = {}

    def fail(self, name):
        self.failed += 1
        self.names.append(name)

    def quote(self, entry):
        """Of a program that failed: what it said beside its green lines."""
        said = [line for line in entry.get("stdout", "").splitlines() if not QUIET.match(line)]
        self.said[entry["name"]] = said[:SAID_LINES] + entry.get("stderr", "").splitlines()[:SAID_LINES]

    def add(self, entry):
        """One program of meson's log."""
        lines = [match for match in map(LINE.match, entry.get("stdout", "").splitlines()) if match]
        red = [match for match in lines if match[1].lower() == "not ok"]
        green = entry["result"] in GREEN
        for match in lines:
            if match[1].lower() == "not ok":
                self.fail(f"{entry['name']}: {match.string}")
            elif match[2]:
                self.skipped += 1
            else:
                self.passed += 1
        if entry["result"] == "SKIP" and not lines:
            self.skipped += 1
        elif not green and entry["result"] != "SKIP" and not red:
            self.fail(f"{entry['name']}: {entry['result']}")
        elif green and not lines:
            self.passed += 1
        if red or not green and entry["result"] != "SKIP":
            self.quote(entry)


def tally_build(name):
    tally = Tally()
    logs = sorted((ROOT / "build" / name / "meson-logs").glob("testlog*.json"))
    entries = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
    for entry in entries:
        tally.add(entry)
    if not entries:
        tally.fail("no test ran")
    return tally


def main():
    args = sys.argv[1:]
    broken = []
    if args and args[0] == "--broken":
        broken, args = args[1].split(), args[2:]
    passed = failed = 0
    for name in args:
        tally = tally_build(name) if name not in broken else Tally()
        if name in broken:
            tally.fail("does not compile")
        print(f"{name}: {tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped")
        for line in tally.names:
            print(f"  {line}")
        for program, said in list(tally.said.items())[:SAID_PROGRAMS]:
            print(f"  {program} said:")
            for line in said:
                print(f"    {line}")
        passed += tally.passed
        failed += tally.failed
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
