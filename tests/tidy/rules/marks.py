# SPDX-License-Identifier: MIT
"""Each coverage mark of base/mark.h is set somewhere in runtime/ and reached by the test of its name."""
import re

from tree import Finding, code_only, line_of

NAME = "marks"
TABLE = "runtime/base/mark.h"
ENTRY = re.compile(r"\bMARK_(\w+)\s*,")
SET = re.compile(r"\bMARK\((\w+)\)")
TEST = re.compile(r"\bMARK_TEST\((\w+)\)")

HEADER = "enum mark_id {\n    MARK_A, /* one */\n    MARK_B,\n    MARK_COUNT\n};\n"
SOURCE = "MARK(A);\nMARK(B);\n"
SAMPLES = [
    ({TABLE: HEADER, "runtime/a/a.c": SOURCE,
      "tests/marks/test_a.c": "MARK_TEST(A)\nMARK_TEST(B)\n"}, 0),
    ({TABLE: HEADER, "runtime/a/a.c": SOURCE, "tests/marks/test_a.c": "MARK_TEST(A)\n"}, 1),
    ({TABLE: HEADER, "runtime/a/a.c": "/* MARK(A) */\nMARK(B);\n",
      "tests/marks/test_a.c": "MARK_TEST(A)\nMARK_TEST(B)\n"}, 1),
    ({TABLE: HEADER, "runtime/a/a.c": SOURCE,
      "tests/marks/test_a.c": "MARK_TEST(A)\nMARK_TEST(B)\nMARK_TEST(B)\n"}, 1),
]


def names(tree, prefix, pattern):
    found = []
    for _, text in tree.select([prefix]):
        found += pattern.findall(code_only(text))
    return found


def check(tree):
    text = tree.files.get(TABLE, "")
    is_set, tested = names(tree, "runtime/", SET), names(tree, "tests/marks/", TEST)
    for match in ENTRY.finditer(code_only(text)):
        name, line = match[1], line_of(text, match.start())
        if name not in is_set:
            yield Finding(TABLE, line, f"no MARK({name}) in runtime/: set it, or take it off the list")
        if tested.count(name) != 1:
            yield Finding(TABLE, line, f"{tested.count(name)} tests MARK_TEST({name}) in tests/marks/: "
                                       "write one that reaches the path")
