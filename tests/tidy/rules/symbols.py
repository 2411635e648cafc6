# SPDX-License-Identifier: MIT
"""Each version script lists exactly what its public headers mark JD_API, by name."""
import re

from tree import ROOT, Finding, code_only

NAME = "symbols"
MAP = "runtime/jackdaw.map"
CURL_MAP = "runtime/adapters/curl/jackdaw-curl.map"
NODES = {MAP: "JACKDAW_0.1", CURL_MAP: "JACKDAW_CURL_0.1"}
ELSEWHERE = {"include/jackdaw/curl.h": CURL_MAP}  # headers of the libraries beside libjackdaw
DECLARATION = re.compile(r"^[^\n#]*?\bJD_API\b([^;{]*)[;{]", re.MULTILINE)

HEADER = "JD_API JD_NODISCARD int jd_a(void (*fn)(void), int b);\nJD_API extern const int jd_b;\n"
SAMPLES = [
    ({"include/jackdaw/x.h": HEADER, MAP: "jd_a;\njd_b;\n"}, 0),
    ({"include/jackdaw/x.h": "#define JD_API x\n/* JD_API int jd_c(void); */\n", MAP: ""}, 0),
    ({"include/jackdaw/x.h": HEADER, MAP: "jd_a;\n"}, 1),
    ({"include/jackdaw/x.h": HEADER, MAP: "jd_a;\njd_b;\njd_old;\n"}, 1),
    ({"include/jackdaw/curl.h": HEADER, CURL_MAP: "jd_a;\njd_b;\n"}, 0),
    ({"include/jackdaw/curl.h": HEADER, MAP: "jd_a;\njd_b;\n"}, 4),
]


def declared(tree, script=MAP):
    names = set()
    for path, text in tree.select(["include/jackdaw/"], (".h",)):
        if ELSEWHERE.get(path, MAP) != script:
            continue
        for match in DECLARATION.finditer(code_only(text)):
            words = re.findall(r"\b(jd_\w+)\s*\(", match[1]) or re.findall(r"\bjd_\w+", match[1])[-1:]
            names.update(words[:1])
    return names


def listed(tree, script=MAP):
    return set(re.findall(r"^\s*(jd_\w+);", tree.files.get(script, ""), re.MULTILINE))


def check(tree):
    for script in NODES:
        for name in sorted(declared(tree, script) ^ listed(tree, script)):
            missing = name in declared(tree, script)
            yield Finding(script, 1, f"{name} is {'missing' if missing else 'in no header of it'}: "
                          "run tests/tidy/symbols.py --write")


def fix(tree):
    for script, node in NODES.items():
        names = sorted(declared(tree, script))
        body = "global:\n" + "".join(f"    {name};\n" for name in names) if names else ""
        (ROOT / script).write_text(
            "# Public symbols, by name; written by tests/tidy/symbols.py --write from the headers.\n"
            f"{node} {{\n{body}local:\n    *;\n}};\n", encoding="utf-8")
