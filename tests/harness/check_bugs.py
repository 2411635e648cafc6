#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The sanitizers' own test: each planted bug must be red, and for its own reason.

usage: check_bugs.py PROGRAM SANITIZERS    (as meson's b_sanitize: address,undefined or thread)

A suite of planted_bugs.c names the sanitizer that must speak. Its tests are skipped where the build
has no such sanitizer; those of the suite `clean` must pass in every build.
"""
import re
import subprocess
import sys

LINE = re.compile(r"^(ok|not ok) \d+ (\w+)::(\w+) ?(.*)$")
NEEDS = {"asan": "address", "ubsan": "undefined", "tsan": "thread", "clean": None}
SAYS = {
    "leak_in_a_task": "LeakSanitizer: detected memory leaks",
    "use_after_return": "stack-use-after-return",
    "overrun_on_a_task_stack": "stack-buffer-overflow",
    "use_after_free_over_a_suspension": "heap-use-after-free",
    "overflow_in_a_task": "signed integer overflow",
    "race_of_two_workers": "ThreadSanitizer: data race",
    "write_after_a_cancelled_read": "heap-use-after-free",
}


def run(program, suite, name):
    """Whether the runner said ok, and all that was printed."""
    done = subprocess.run([program, "--filter", f"{suite}/{name}"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", timeout=100,
                          check=False)
    lines = [match for match in map(LINE.match, done.stdout.splitlines()) if match]
    if len(lines) != 1 or (lines[0][1] == "ok") != (done.returncode == 0):
        return None, done.stdout
    return lines[0][1] == "ok", done.stdout


def judge(program, suite, name):
    green, text = run(program, suite, name)
    if suite == "clean":
        return green is True, text
    return green is False and SAYS[name] in text, text


def main():
    program, sanitizers = sys.argv[1], sys.argv[2].split(",")
    listed = subprocess.run([program, "--list"], capture_output=True, text=True,
                            check=True).stdout.split()
    print(f"1..{len(listed)}")
    for number, test in enumerate(listed, 1):
        suite, name = test.split("/")
        if NEEDS[suite] and NEEDS[suite] not in sanitizers:
            print(f"ok {number} {name} # SKIP the build has no {suite}")
            continue
        good, text = judge(program, suite, name)
        print("ok" if good else "not ok", number, f"{suite}::{name} is",
              "green" if suite == "clean" else f"red: {SAYS[name]}")
        if not good:
            print("".join(f"# {line}\n" for line in text.splitlines()[-60:]), end="")


if __name__ == "__main__":
    main()
