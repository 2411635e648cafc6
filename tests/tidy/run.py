#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the rules of tests/tidy/rules over the tree. Each rule first judges its own samples.

usage: run.py [--fix] [RULE...]      the last line is `N passed, N failed`

A rule is a module with NAME, SAMPLES (files, number of fatal findings) and check(tree).
"""
import importlib
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from tree import Finding, Tree, read_tree  # noqa: E402

RULES = ["layers", "pairs", "ordering_table", "sizes", "banned", "marks", "texts", "links", "snippets",
         "symbols", "format"]


def judge_samples(rule):
    for number, (files, expected) in enumerate(rule.SAMPLES):
        found = [each for each in rule.check(Tree(files)) if each.fatal]
        if len(found) != expected:
            yield Finding(f"tests/tidy/rules/{rule.NAME}.py", 1,
                          f"sample {number}: {len(found)} findings, not {expected}: "
                          + "; ".join(map(str, found)))


def main():
    args = [arg for arg in sys.argv[1:] if not arg.startswith("-")]
    tree = read_tree()
    passed = failed = 0
    for name in args or RULES:
        rule = importlib.import_module(f"rules.{name}")
        if "--fix" in sys.argv and hasattr(rule, "fix"):
            rule.fix(tree)
            tree = read_tree()
        findings = list(judge_samples(rule)) or list(rule.check(tree))
        fatal = [each for each in findings if each.fatal]
        print(f"{'FAIL' if fatal else 'ok  '} {name}")
        for each in findings:
            print(f"  {each}")
        passed, failed = passed + (not fatal), failed + bool(fatal)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
