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
import shutil
import subprocess
import sys
import tempfile
import time

import mutate

HERE = mutate.HERE
NAMED = re.compile(r"^\+\+\+ b/runtime/(\S+)", re.M)
MODELS = re.compile(r"^Models: (.+)$", re.M)


def judge(bench, patch, folder):
    """(caught, what says so)."""
    text = patch.read_text(encoding="utf-8")
    for name in NAMED.findall(text):
        target = folder / "runtime" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(mutate.RUNTIME / name, target)
    done = subprocess.run(["patch", "-p1", "--quiet", "--no-backup-if-mismatch", "-i", patch],
                          cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return False, f"does not apply: {done.stdout.strip()}"
    for model in MODELS.search(text).group(1).split():
        why = bench.run(model, folder, folder / "runtime")
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
    return 0 if patches and caught == len(patches) else 1


if __name__ == "__main__":
    sys.exit(main())
