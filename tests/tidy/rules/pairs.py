# SPDX-License-Identifier: MIT
"""Every order stronger than relaxed carries a tag [AREA-n], and every tag has two sides.

The tag stands on the line of the operation or in the six lines above. A tag that occurs once is an
edge with one end: name the partner, or say that it pairs with itself.
"""
import re

from tree import Finding, code_only, line_of

NAME = "pairs"
REACH = 6
TAG = re.compile(r"\[([A-Z][A-Z0-9_]*-\d+[a-z]?)\]")
OPERATION = re.compile(
    r"\batom_(?:load|store|exchange|cas|cas_weak|fetch_\w+|fence)\s*\(")
STRONG = re.compile(r"[(,]\s*(acquire|release|acq_rel|seq_cst)\s*[,)]")
DEFINITIONS = "runtime/atomic/atomic.h"

SAMPLES = [
    ({"runtime/queue/a.c": "/* [DQ-1] */\nx = atom_load(&a, acquire);\n"
                           "atom_store(&a, f(1), release); /* [DQ-1] */\n"}, 0),
    ({"runtime/queue/a.c": "atom_store(&a, 1, relaxed);\n"}, 0),
    ({"runtime/queue/a.c": "atom_store(&a, 1, release);\n"}, 1),
    ({"runtime/queue/a.c": "atom_cas(&a, &b,\n    1, acq_rel, relaxed); /* far [DQ-1] */\n"
                           "/* [DQ-1] */"}, 0),
    ({"runtime/queue/a.c": "/* [DQ-1] pairs with [DQ-2] */\n/* [DQ-2] */\n"}, 1),
    ({"runtime/queue/a.c": "/* [TASK-1] pairs with itself: one RMW chain */\n"}, 0),
    ({"runtime/queue/a.c": "/* [TASK-1]\n" + " *\n" * 7 + " [TASK-1] */\n"
                           "/*\n\n\n\n\n\n\n\n*/\natom_load(&a, seq_cst);\n"}, 1),
]


def call_text(code, start):
    """From the operation's name to its closing parenthesis."""
    depth = 0
    for end in range(start, len(code)):
        depth += (code[end] == "(") - (code[end] == ")")
        if code[end] == ")" and depth == 0:
            return code[start:end + 1]
    return code[start:]


def check_operations(path, text):
    code, lines = code_only(text), text.split("\n")
    for match in OPERATION.finditer(code):
        call = call_text(code, match.start())
        strong = STRONG.search(call)
        if not strong:
            continue
        first = line_of(code, match.start())
        last = first + call.count("\n")
        if not any(TAG.search(line) for line in lines[max(0, first - 1 - REACH):last]):
            yield Finding(path, first, f"{strong[1]} without a tag: write [AREA-n] with the name of "
                          "the partner on this line or just above (docs: memory ordering)")


def check(tree):
    sites, lonely = {}, {}
    for path, text in tree.select(["runtime/"]):
        if path != DEFINITIONS:
            yield from check_operations(path, text)
        for match in TAG.finditer(text):
            sites.setdefault(match[1], []).append((path, line_of(text, match.start())))
            lonely[match[1]] = "itself" not in text[match.end():match.end() + 200]
    for tag, places in sorted(sites.items()):
        if len(places) == 1 and lonely[tag]:
            yield Finding(*places[0], f"[{tag}] has one side: tag its partner too, or write "
                          "`pairs with itself`")
