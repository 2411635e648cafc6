#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Public symbols: headers, version script and library say the same.

usage: symbols.py            compare the headers with runtime/jackdaw.map (what ./dev tidy does)
       symbols.py --write    write the map from the headers
       symbols.py LIBRARY [MAP]
                             TAP: every name of its headers is exported by the shared library
"""
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from rules import symbols  # noqa: E402
from tree import read_tree  # noqa: E402


def exported(library):
    table = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True,
                           check=True).stdout
    return {line.split()[-1].split("@")[0] for line in table.splitlines()}


def check_library(tree, library, script=symbols.MAP):
    names = symbols.declared(tree, script)
    missing = sorted(names - exported(library)) if names else ["any name at all"]
    print("1..1\nnot ok" if missing else "1..1\nok", "every public function is in the library")
    for name in missing:
        print("# missing:", name)


def main():
    tree = read_tree()
    if sys.argv[1:] == ["--write"]:
        symbols.fix(tree)
    elif len(sys.argv) > 1:
        check_library(tree, *sys.argv[1:])
    else:
        findings = list(symbols.check(tree))
        print(*findings, sep="\n")
        return 1 if findings else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
