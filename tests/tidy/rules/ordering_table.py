# SPDX-License-Identifier: MIT
"""Every order tag of runtime/ has its row in docs/internals/memory-ordering.md, and every row its tag.

A row is `| [AREA-n] | files | edge | what breaks |`. The files are those in which the tag stands;
`./dev tidy --fix ordering_table` writes them, adds rows for new tags, and drops those of gone ones.
What the edge is and what breaks without it is for people to write: an empty cell is a finding.
"""
import re

from rules.pairs import DEFINITIONS, TAG
from tree import ROOT, Finding, line_of

NAME = "ordering_table"
PAGE = "docs/internals/memory-ordering.md"
ROW = re.compile(r"^\| \[([A-Z][A-Z0-9_]*-\d+[a-z]?)\] \|([^|\n]*)\|([^|\n]*)\|([^|\n]*)\|$",
                 re.MULTILINE)

CODE = {"runtime/queue/a.h": "/* [DQ-1] */\n", "runtime/queue/b.c": "/* pairs with [DQ-1] */\n"}
SAMPLES = [
    ({**CODE, PAGE: "| [DQ-1] | queue/a.h, queue/b.c | a to b | b reads too early |\n"}, 0),
    ({}, 0),
    (CODE, 1),
    ({**CODE, PAGE: "# no table\n"}, 1),
    ({**CODE, PAGE: "| [DQ-1] | queue/a.h | a to b | b reads too early |\n"}, 1),
    ({**CODE, PAGE: "| [DQ-1] | queue/a.h, queue/b.c | a to b | |\n"}, 1),
    ({PAGE: "| [DQ-1] | queue/a.h | a to b | b reads too early |\n"}, 1),
]


def sites(tree):
    """Files of each tag, without `runtime/`, in order."""
    found = {}
    for path, text in tree.select(["runtime/"]):
        if path == DEFINITIONS:
            continue
        for tag in TAG.findall(text):
            files = found.setdefault(tag, [])
            if path.removeprefix("runtime/") not in files:
                files.append(path.removeprefix("runtime/"))
    return found


def check(tree):
    page, rows = tree.files.get(PAGE, ""), {}
    found = sites(tree)
    for row in ROW.finditer(page):
        tag, files = row[1], ", ".join(found.get(row[1], []))
        rows[tag] = row
        if tag not in found:
            yield Finding(PAGE, line_of(page, row.start()), f"[{tag}] stands nowhere in runtime/")
        elif row[2].strip() != files:
            yield Finding(PAGE, line_of(page, row.start()),
                          f"[{tag}] stands in {files}: run ./dev tidy --fix ordering_table")
        elif not row[3].strip() or not row[4].strip():
            yield Finding(PAGE, line_of(page, row.start()),
                          f"[{tag}]: say what the edge is, and what breaks without it")
    for tag in sorted(set(found) - set(rows)):
        yield Finding(PAGE, 1, f"[{tag}] has no row; it stands in {', '.join(found[tag])}")


def fix(tree):
    page, found = tree.files.get(PAGE, ""), sites(tree)

    def fresh(row):
        files = found.pop(row[1], None)
        if files is None:
            return "\0"
        return f"| [{row[1]}] | {', '.join(files)} |{row[3]}|{row[4]}|"

    page = ROW.sub(fresh, page).replace("\0\n", "")
    end = max((row.end() for row in ROW.finditer(page)), default=len(page))
    new = "".join(f"\n| [{tag}] | {', '.join(files)} | | |" for tag, files in sorted(found.items()))
    (ROOT / PAGE).write_text(page[:end] + new + page[end:], encoding="utf-8")
