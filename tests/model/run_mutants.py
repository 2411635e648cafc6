#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Breaks the kernels on purpose, one way at a time, and wants the models to notice each.

A patch in mutants/ says in its head what is broken, which history it repeats, and after "Models:"
which models must fail. It is applied to copies of the files that it names, which come first in the
include path, so the models compile the broken source in place of the real one. A patch that no
longer applies, or that all its models survive, fails the run.

usage: run_mutants.py [--only TEXT] [--jobs N] [--cc CC] [--verbose]
"""
import argparse
import concurrent.futures
import pathlib
import re
import sys
import tempfile
import time

import mutate

HERE = mutate.HERE
HUNK = re.compile(r"^@@ -(\d+)")
MODELS = re.compile(r"^Models: (.+)$", re.M)


def hunks_of(text):
    """(file below runtime/, line, old text, new text) of each hunk of a unified diff."""
    name, hunks = None, []
    for line in text.split("\n"):
        start = HUNK.match(line)
        if line.startswith("+++ b/runtime/"):
            name = line[len("+++ b/runtime/"):]
        elif start:
            hunks.append((name, int(start[1]), [], []))
        elif hunks and line[:1] in (" ", "-", "+"):
            if line[0] != "+":
                hunks[-1][2].append(line[1:] + "\n")
            if line[0] != "-":
                hunks[-1][3].append(line[1:] + "\n")
    return [(name, line, "".join(old), "".join(new)) for name, line, old, new in hunks]


def apply(hunk, folder):
    """To a copy below `folder`; the place nearest to the hunk's line. False: its text is gone."""
    name, line, old, new = hunk
    target = folder / name
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text((mutate.RUNTIME / name).read_text(encoding="utf-8"), encoding="utf-8")
    text = target.read_text(encoding="utf-8")
    places = [found.start() for found in re.finditer(re.escape(old), text)]
    if not places:
        return False
    at = min(places, key=lambda place: abs(text.count("\n", 0, place) + 1 - line))
    target.write_text(text[:at] + new + text[at + len(old):], encoding="utf-8")
    return True


def judge(bench, patch, folder):
    """(caught, what says so)."""
    text = patch.read_text(encoding="utf-8")
    hunks = hunks_of(text)
    if not hunks or not all(apply(hunk, folder) for hunk in hunks):
        return False, "does not apply: write it anew for the source as it is now"
    for model in MODELS.search(text)[1].split():
        why = bench.run(model, folder)
        if why:
            return True, why
    return False, "no model noticed"


def run_all(options, patches, scratch):
    bench = mutate.Bench(options, scratch)
    bench.build_checker()
    folders = [scratch / patch.stem for patch in patches]
    for folder in folders:
        folder.mkdir()
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        return list(pool.map(lambda pair: judge(bench, *pair), zip(patches, folders)))


def main():
    parser = argparse.ArgumentParser(description="broken kernels, which the models must notice")
    parser.add_argument("--only", default="", help="only patches whose name contains this")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--cc", default="gcc")
    parser.add_argument("--verbose", action="store_true", help="say what each model said")
    options = parser.parse_args()
    options.include = []
    started = time.monotonic()
    patches = sorted(path for path in (HERE / "mutants").glob("*.patch")
                     if options.only in path.stem)
    with tempfile.TemporaryDirectory() as name:
        results = run_all(options, patches, pathlib.Path(name))
    for patch, (caught, why) in zip(patches, results):
        if options.verbose or not caught:
            print(f"{'caught' if caught else 'MISSED'}  {patch.stem}\n          {why[:160]}")
    caught = sum(result[0] for result in results)
    print(f"{caught} of {len(patches)} mutants caught, {time.monotonic() - started:.0f} s")
    print(f"{caught} passed, {len(patches) - caught} failed")
    return 0 if patches and caught == len(patches) else 1


if __name__ == "__main__":
    sys.exit(main())
