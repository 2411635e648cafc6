# SPDX-License-Identifier: MIT
"""Includes point one way: a layer sees itself and the layers above it in LAYERS.

This table is the architecture: docs/architecture.md carries its picture between the markers
`<!-- layers -->` and `<!-- /layers -->`; `./dev tidy --fix layers` writes it there.
"""
import re

from tree import ROOT, Finding, code_only, line_of

NAME = "layers"
LAYERS = {
    "base": "attributes, assertions, lists, clock, rng, allocation",
    "atomic": "C11 atomics vocabulary, backoff, Concurrency Kit",
    "trace": "emit side of observability: counters, event ring, probes",
    "fiber": "stacks and the context switch",
    "queue": "fork deque, ready queue, loop queue, inbox, injector",
    "reactor": "io_uring, epoll and simulated ports; fd table; ops; timers",
    "task": "future, task state, waiter node, scopes, local values",
    "sched": "worker loop, find-task policy, idle and wake, watchdog",
    "sync": "semaphore, mutex and others on the one waiter node",
    "executor": "blocking pools",
    "io": "one file per op family",
    "group": "groups, gather, wait, batch",
    "inspect": "read side of observability: metrics, task dump",
    "sim": "deterministic simulation",
    "api": "jd_run and friends: wires all layers",
    "cli": "the jackdaw command",
}
ORDER = list(LAYERS)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"([^"]+)"', re.MULTILINE)
MARKERS = re.compile(r"(<!-- layers -->\n).*?(<!-- /layers -->)", re.DOTALL)
README_LINES = 25
SEAMS = {("runtime/atomic/atomic.h", "check.h")}  # the model checker stands in for C11 there

GOOD = {"runtime/base/a.h": "", "runtime/base/README.md": "x",
        "runtime/queue/README.md": "x",
        "runtime/queue/a.c": '#include "base/a.h"\n#include "queue/b.h"\n#include <jackdaw/x.h>\n'}
SAMPLES = [
    (GOOD, 0),
    ({**GOOD, "runtime/base/a.h": '#include "queue/b.h"\n'}, 1),
    ({**GOOD, "runtime/base/a.h": '#include "b.h"\n'}, 1),
    ({**GOOD, "runtime/misc/a.h": ""}, 1),
    ({**GOOD, "runtime/base/README.md": "x\n" * 30}, 1),
    ({"runtime/base/a.h": ""}, 1),
    ({**GOOD, "docs/architecture.md": "<!-- layers -->\nold\n<!-- /layers -->\n"}, 1),
]


def picture():
    """The table as text, and as a chain: each layer may include all that the arrows lead to."""
    rows = [f"{name + '/':<10} {what}" for name, what in LAYERS.items()]
    chain = " --> ".join(reversed(ORDER))
    return ("```\n" + "\n".join(rows) + "\n```\n\n"
            + "```mermaid\nflowchart LR\n    " + chain + "\n```\n")


def check_include(layer, target):
    folder = target.split("/")[0]
    if "/" not in target:
        return f'write "{layer}/{target}": includes start at runtime/'
    if folder not in LAYERS:
        return f'"{folder}" is no layer; the table is in tests/tidy/rules/layers.py'
    if ORDER.index(folder) > ORDER.index(layer):
        return (f"{layer}/ may not include {folder}/, which is below it: pass a function pointer "
                f"down or move the code to {folder}/")
    return None


def check_readmes(tree):
    used = {path.split("/")[1] for path, _ in tree.select(["runtime/"]) if path.count("/") > 1}
    for layer in sorted(used & set(LAYERS)):
        path = f"runtime/{layer}/README.md"
        lines = tree.files.get(path, "").count("\n")
        if path not in tree.files:
            yield Finding(path, 1, "missing: what the layer owns, its invariant, its entry header")
        elif lines > README_LINES:
            yield Finding(path, 1, f"{lines} lines, at most {README_LINES}: move the rest to docs/")


def check(tree):
    for path, text in tree.select(["runtime/"]):
        layer = path.split("/")[1]
        if layer == "adapters":
            continue
        if layer not in LAYERS:
            yield Finding(path, 1, f'"{layer}" is no layer: add it to tests/tidy/rules/layers.py')
            continue
        code = code_only(text)
        for match in INCLUDE.finditer(code):
            message = check_include(layer, match[1])
            if message and (path, match[1]) not in SEAMS:
                yield Finding(path, line_of(code, match.start(1)), message)
    yield from check_readmes(tree)
    page = tree.files.get("docs/architecture.md", "")
    found = MARKERS.search(page)
    if found and picture() not in found[0]:
        yield Finding("docs/architecture.md", line_of(page, found.start()),
                      "the picture is not the table's: run ./dev tidy --fix layers")


def fix(tree):
    page = tree.files.get("docs/architecture.md", "")
    if MARKERS.search(page):
        fresh = MARKERS.sub(lambda match: match[1] + picture() + match[2], page)
        (ROOT / "docs/architecture.md").write_text(fresh, encoding="utf-8")
