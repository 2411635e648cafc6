# SPDX-License-Identifier: MIT
"""The version script lists exactly what the public headers mark JD_API, by name."""
import re

from tree import ROOT, Finding, code_only

NAME = "symbols"
MAP = "runtime/jackdaw.map"
NODE = "JACKDAW_0.1"
DECLARATION = re.compile(r"^[^\n#]*?\bJD_API\b([^;{]*)[;{]", re.MULTILINE)

HEADER = "JD_API JD_NODISCARD int jd_a(void (*fn)(void), int b);\nJD_API extern const int jd_b;\n"
SAMPLES = [
    ({"include/jackdaw/x.h": HEADER, MAP: "jd_a;\njd_b;\n"}, 0),
    ({"include/jackdaw/x.h": "#define JD_API x\n/* JD_API int jd_c(void); */\n", MAP: ""}, 0),
    ({"include/jackdaw/x.h": HEADER, MAP: "jd_a;\n"}, 1),
    ({"include/jackdaw/x.h": HEADER, MAP: "jd_a;\njd_b;\njd_old;\n"}, 1),
]


def declared(tree):
    names = set()
    for _, text in tree.select(["include/jackdaw/"], (".h",)):
        for match in DECLARATION.finditer(code_only(text)):
            words = re.findall(r"\b(jd_\w+)\s*\(", match[1]) or re.findall(r"\bjd_\w+", match[1])[-1:]
            names.update(words[:1])
    return names


def listed(tree):
    return set(re.findall(r"^\s*(jd_\w+);", tree.files.get(MAP, ""), re.MULTILINE))


def check(tree):
    for name in sorted(declared(tree) ^ listed(tree)):
        missing = name in declared(tree)
        yield Finding(MAP, 1, f"{name} is {'missing' if missing else 'in no public header'}: "
                      "run tests/tidy/symbols.py --write")


def fix(tree):
    names = sorted(declared(tree))
    body = "global:\n" + "".join(f"    {name};\n" for name in names) if names else ""
    (ROOT / MAP).write_text(
        "# Public symbols, by name; written by tests/tidy/symbols.py --write from the headers.\n"
        f"{NODE} {{\n{body}local:\n    *;\n}};\n", encoding="utf-8")
