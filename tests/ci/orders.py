#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""CI stage `orders`: each memory order of the changed kernels weakened by a step; a model must notice.

usage: orders.py [all | COMMIT]

Changed means since the merge base with origin's default branch, or since the commit before, and what is
not committed. Where no kernel with orders has changed, one is taken in turn: a stage that runs nothing
proves nothing.
"""
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/model"))
import mutate  # noqa: E402


def git(*words):
    """What git says, "" when it refuses (no such commit in a shallow clone)."""
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def base():
    head = git("rev-parse", "HEAD")
    upstream = git("rev-parse", "--verify", "-q", "origin/HEAD") or \
        git("rev-parse", "--verify", "-q", "origin/main")
    merge = git("merge-base", "HEAD", upstream) if upstream else ""
    return merge if merge and merge != head else git("rev-parse", "--verify", "-q", "HEAD~1")


def has_orders(kernel):
    return any(True for _ in mutate.mutants_of(kernel, mutate.source_of(kernel, [])))


def selection(word):
    if word == "all":
        return []
    commit = word or base()
    if commit and any(has_orders(kernel) for kernel in mutate.changed_since(commit)):
        return ["--changed-since", commit]
    kernels = sorted(kernel for kernel in mutate.KERNELS if has_orders(kernel))
    turn = int(git("rev-list", "--count", "HEAD") or 0) % len(kernels)
    print(f"no kernel with orders has changed since {commit or 'the beginning'}; {kernels[turn]} in its turn")
    return ["--kernel", kernels[turn]]


def main():
    arguments = selection(sys.argv[1] if len(sys.argv) > 1 else "")
    print("mutate.py", *arguments, flush=True)
    return subprocess.run([sys.executable, ROOT / "tests/model/mutate.py", *arguments],
                          check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
