# SPDX-License-Identifier: MIT
"""What a rule sees: the text of the files, by path, and helpers to read C without parsing it."""
import pathlib
import re
import shutil
import subprocess
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEXT = {".c", ".h", ".S", ".py", ".md", ".build", ".txt", ".map", ".sh", ""}


@dataclass(frozen=True)
class Finding:
    path: str
    line: int
    message: str  # names the replacement
    fatal: bool = True

    def __str__(self):
        kind = "" if self.fatal else "warning: "
        return f"{self.path}:{self.line}: {kind}{self.message}"


class Tree:
    """Files by path relative to the root; samples of the rules are built from a dict."""

    def __init__(self, files):
        self.files = files

    def select(self, prefixes, suffixes=(".c", ".h")):
        for path, text in sorted(self.files.items()):
            if path.startswith(tuple(prefixes)) and path.endswith(tuple(suffixes)):
                yield path, text


def read_tree():
    """Tracked and new files, without what is ignored; everything but build/ where git is missing."""
    listing = shutil.which("git") and subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True,
        text=True)
    if listing and listing.returncode == 0:
        names = listing.stdout.split("\0")
    else:
        names = [str(p.relative_to(ROOT)) for p in ROOT.rglob("*")
                 if not {"build", ".git", "__pycache__"} & set(p.relative_to(ROOT).parts)]
    files = {}
    for name in names:
        path = ROOT / name
        if name and path.is_file() and path.suffix in TEXT:
            files[name] = path.read_text(encoding="utf-8", errors="replace")
    return Tree(files)


BLANKED = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+["<][^">]+[">]', re.MULTILINE)


def code_only(text):
    """Comments and literals become spaces; lines, columns and #include paths stay."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match[0])

    kept = {match.start(): match[0] for match in INCLUDE.finditer(text)}
    code = BLANKED.sub(blank, text)
    for start, include in kept.items():
        if code[start:start + len(include)].lstrip().startswith("#"):
            code = code[:start] + include + code[start + len(include):]
    return code


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def is_waived(text, line, what):
    """`tidy: allow WHAT reason` in a comment on the line or on the one above."""
    lines = text.split("\n")[max(0, line - 2):line]
    return any(re.search(rf"tidy: allow {re.escape(what)} \w", each) for each in lines)
