# SPDX-License-Identifier: MIT
"""Files of at most 800 lines (a warning above 500), functions of at most 70.

Waivers, with a reason: `tidy: long-file reason` anywhere, `tidy: long-function reason` in or just
above the function.
"""
import re

from tree import Finding, code_only

NAME = "sizes"
FILE_SOFT, FILE_HARD, FUNCTION_HARD = 500, 800, 70
WAIVER_REACH = 5


def sample(lines, note=""):
    return {"runtime/base/a.c": f"{note}int f(void)\n{{\n" + "    x;\n" * (lines - 2) + "}\n"}


SAMPLES = [
    (sample(70), 0),
    (sample(71), 1),
    (sample(71, "/* tidy: long-function a table */\n"), 0),
    ({"runtime/base/a.c": "x;\n" * 801}, 1),
    ({"runtime/base/a.c": "x;\n" * 600}, 0),
    ({"runtime/base/a.c": "/* tidy: long-file ADR 3 */\n" + "x;\n" * 801}, 0),
]


def functions(code):
    """(first line, last line) of each body: with Linux braces it stands between lone braces."""
    start = None
    for number, line in enumerate(code.split("\n"), 1):
        if line.rstrip() == "{":
            start = number
        elif start and re.match(r"}\s*$", line):
            yield start, number
            start = None


def check(tree):
    for path, text in tree.select(["runtime/", "include/", "tests/", "benchmarks/"]):
        lines = text.split("\n")
        count = text.count("\n")
        if count > FILE_HARD and "tidy: long-file " not in text:
            yield Finding(path, count, f"{count} lines, at most {FILE_HARD}: split along a concept")
        elif count > FILE_SOFT:
            yield Finding(path, count, f"{count} lines: is there a concept to split along?", False)
        for first, last in functions(code_only(text)):
            around = "\n".join(lines[max(0, first - 1 - WAIVER_REACH):last])
            if last - first + 1 > FUNCTION_HARD and "tidy: long-function " not in around:
                yield Finding(path, first, f"a function of {last - first + 1} lines, at most "
                              f"{FUNCTION_HARD}: extract its steps, name each for what it does")
