# SPDX-License-Identifier: MIT
"""clang-format has nothing to change. Only version 14 judges: others lay out a few things anew."""
import re
import shutil
import subprocess

from tree import ROOT, Finding

NAME = "format"
FOLDERS = ["runtime/", "include/", "tests/", "benchmarks/", "docs/examples/"]
REPORT = re.compile(r"^(.*?):(\d+):\d+: (?:warning|error): code should be clang-formatted")
SAMPLES = []  # the tool's own business


def tool():
    for name in ("clang-format-14", "clang-format"):
        if shutil.which(name):
            version = subprocess.run([name, "--version"], capture_output=True, text=True).stdout
            if " version 14." in version:
                return name
    return None


def files(tree):
    return [path for path, _ in tree.select(FOLDERS)]


def check(tree):
    name, seen = tool(), set()
    if not name or not files(tree):
        return
    run = subprocess.run([name, "--dry-run", *files(tree)], cwd=ROOT, capture_output=True, text=True)
    for line in run.stderr.splitlines():
        match = REPORT.match(line)
        if match and match[1] not in seen:
            seen.add(match[1])
            yield Finding(match[1], int(match[2]), "layout: run ./dev tidy --fix format")


def fix(tree):
    if tool() and files(tree):
        subprocess.run([tool(), "-i", *files(tree)], cwd=ROOT, check=True)
