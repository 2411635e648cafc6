# SPDX-License-Identifier: MIT
"""Every source says its licence; no file names a machine of ours."""
import re

from tree import Finding, line_of

NAME = "texts"
SOURCES = (".c", ".h", ".S", ".py", ".sh", "meson.build")
# Spelled in parts, or this file would be its own finding.
MACHINE = re.compile(r"(?<![\w.])/(?:" + "wo" + r"rk|home|root)/\w[\w/.-]*"
                     r"|https?://[\w.-]+\.(?:internal|local|lan|corp)\b")

SAMPLES = [
    ({"runtime/base/a.c": "/* SPDX-License-Identifier: MIT */\n"}, 0),
    ({"runtime/base/a.c": "int x;\n"}, 1),
    ({"docs/a.md": "in /" + "home/me/src\n"}, 1),
    ({"docs/a.md": "fetch http://mirror." + "internal/debian\n"}, 1),
    ({"docs/a.md": "tests/" + "home/x and https://kernel.org/\n"}, 0),
]


def check(tree):
    for path, text in sorted(tree.files.items()):
        one_line_list = path.startswith("runtime/") and path.endswith("meson.build")
        if path.endswith(SOURCES) and not one_line_list:
            if "SPDX-License-Identifier: MIT" not in "\n".join(text.split("\n")[:3]):
                yield Finding(path, 1, "the first line is /* SPDX-License-Identifier: MIT */")
        for match in MACHINE.finditer(text):
            yield Finding(path, line_of(text, match.start()),
                          f"{match[0]} exists on one machine only: use a path of the repository")
