#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The runner's own test: its verdict on each planted test must be the one its suite names."""
import re
import subprocess
import sys

LINE = re.compile(r"^(ok|not ok) \d+ (\w+)::(\w+) ?(.*)$")
WANTED = {"pass": "ok", "skip": "skip", "fail": "not ok", "leak": "not ok"}
DETAIL = {"timeout": "timed out", "crash": "", "assertion": "failed assertion",
          "says_why": "no such device"}


def verdicts(planted):
    run = subprocess.run([planted], capture_output=True, text=True, timeout=50)
    for line in run.stdout.splitlines():
        match = LINE.match(line)
        if match:
            ok, suite, name, rest = match.groups()
            yield suite, name, "skip" if "# SKIP" in rest else ok, rest
    yield "status", "red", "ok" if run.returncode == 1 else "not ok", str(run.returncode)
    seeds = [line for line in run.stdout.splitlines() if line.startswith("# seed ")]
    yield "status", "seed_is_printed", "ok" if len(seeds) == 1 else "not ok", str(seeds)


def main():
    planted, leaks = sys.argv[1], "--leaks" in sys.argv
    listed = subprocess.run([planted, "--list"], capture_output=True, text=True).stdout.split()
    seen = list(verdicts(planted))
    print(f"1..{len(seen) + 1}")
    complete = len(seen) == len(listed) + 2
    print("ok" if complete else "not ok", "every listed test has a verdict")
    for suite, name, verdict, rest in seen:
        wanted = WANTED.get(suite, "ok")
        if suite == "leak" and not leaks:
            wanted = "ok"
        good = verdict == wanted and DETAIL.get(name, "") in rest
        print("ok" if good else "not ok", f"{suite}::{name} is {wanted}")
        if not good:
            print(f"# but was: {verdict} {rest}")


if __name__ == "__main__":
    main()
