# SPDX-License-Identifier: MIT
"""Programs shown in Markdown are programs that are built and run.

`<!-- program: docs/examples/x.c -->` right above a ```c block: the block is that file, without its
licence line. `./dev tidy --fix snippets` writes it there. A ```c block of a whole program (it has a
main) needs the line.
"""
import re

from tree import ROOT, Finding, line_of

NAME = "snippets"
BLOCK = re.compile(r"(?:^<!-- program: (\S+) -->\n)?^```c\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LICENCE = "/* SPDX-License-Identifier: MIT */\n"

PROGRAM = "int main(void)\n{\n    return 0;\n}\n"
SHOWN = f"# Page\n\n<!-- program: docs/examples/a.c -->\n```c\n{PROGRAM}```\n"
SAMPLES = [
    ({"docs/examples/a.c": LICENCE + PROGRAM, "README.md": SHOWN}, 0),
    ({"docs/examples/a.c": LICENCE + PROGRAM + "\n", "README.md": SHOWN}, 1),
    ({"README.md": SHOWN}, 1),
    ({"README.md": f"```c\n{PROGRAM}```\n"}, 1),
    ({"README.md": "```c\nint x;\n```\n"}, 0),
]


def program(tree, path):
    text = tree.files.get(path)
    return None if text is None else text.removeprefix(LICENCE)


def check(tree):
    for path, text in tree.select([""], (".md",)):
        for block in BLOCK.finditer(text):
            line = line_of(text, block.start())
            if not block[1]:
                if re.search(r"\bmain\(", block[2]):
                    yield Finding(path, line, "a program that nobody builds: put it into "
                                  "docs/examples/ and `<!-- program: PATH -->` above the block")
            elif program(tree, block[1]) is None:
                yield Finding(path, line, f"{block[1]}: no such file")
            elif program(tree, block[1]) != block[2]:
                yield Finding(path, line, f"differs from {block[1]}: run ./dev tidy --fix snippets")


def fix(tree):
    def fresh(block):
        text = program(tree, block[1]) if block[1] else None
        return block[0] if text is None else f"<!-- program: {block[1]} -->\n```c\n{text}```"

    for path, text in tree.select([""], (".md",)):
        if BLOCK.search(text) and BLOCK.sub(fresh, text) != text:
            (ROOT / path).write_text(BLOCK.sub(fresh, text), encoding="utf-8")
