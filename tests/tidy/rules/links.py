# SPDX-License-Identifier: MIT
"""Relative links in Markdown point at files, and at headings that exist."""
import posixpath
import re

from tree import ROOT, Finding, line_of

NAME = "links"
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.*?) *#*$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)

SAMPLES = [
    ({"docs/a.md": "[b](b.md#two-words) [c](../docs/b.md) [d](https://x.y/z) `[x](gone.md)`\n",
      "docs/b.md": "## Two words\n"}, 0),
    ({"docs/a.md": "[b](b.md)\n"}, 1),
    ({"docs/a.md": "[b](b.md#three)\n", "docs/b.md": "## Two\n"}, 1),
]


def anchor(heading):
    heading = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r" ", "-", re.sub(r"[^\w\- ]", "", heading))


def exists(tree, target):
    return (target in tree.files or any(p.startswith(target.rstrip("/") + "/") for p in tree.files)
            or (ROOT / target).exists())


def problem(tree, path, target):
    file, _, heading = target.partition("#")
    where = posixpath.normpath(posixpath.join(posixpath.dirname(path), file)) if file else path
    if file and not exists(tree, where):
        return f"{target}: no such file"
    page = tree.files.get(where, "")
    if heading and where.endswith(".md") and heading not in map(anchor, HEADING.findall(page)):
        return f"{target}: no such heading in {where}"
    return None


def check(tree):
    for path, text in tree.select([""], (".md",)):
        prose = FENCE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
        for match in LINK.finditer(prose):
            if re.match(r"[a-z]+:", match[1]):
                continue
            message = problem(tree, path, match[1])
            if message:
                yield Finding(path, line_of(prose, match.start()), message)
