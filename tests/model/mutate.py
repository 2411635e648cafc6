#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Weakens every memory order of the kernels by one step and asks the models to notice.

For each kernel: each order word is weakened (seq_cst -> acq_rel, acquire or release as the operation
allows; acq_rel -> acquire and release; acquire, release -> relaxed), each fence is dropped, one at a
time, in a copy that comes first in the include path. The models of that kernel are compiled with
-fsanitize=thread (see check_tsan.c; the sanitizer's library is not used) and run. A mutant that no
model kills must stand in survivors.txt with a reason; an entry there that matches no surviving
mutant fails, too, so the list stays true.

usage: mutate.py [--kernel TEXT] [--changed-since COMMIT] [--jobs N] [--cc CC] [--include DIR] [--verbose]
"""
import argparse
import concurrent.futures
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RUNTIME = ROOT / "runtime"

KERNELS = {
    "atomic/spin.h": ["model_spin"],
    "queue/lifo.h": ["model_lifo"],
    "queue/ring.h": ["model_deque", "model_fifo"],
    "queue/deque.h": ["model_deque"],
    "queue/fifo.h": ["model_fifo"],
    "queue/inbox.h": ["model_inbox", "model_loop"],
    "queue/injector.h": ["model_injector"],
    "task/word.h": ["model_word", "model_wait_list"],
    "task/outcome.h": ["model_outcome"],
    "task/future.c": ["model_outcome"],
    "task/parker.c": ["model_parker"],
    "task/scope.c": ["model_scope"],
    "task/scope.h": ["model_scope"],
    "task/slab.c": ["model_slab"],
    "sched/idle.h": ["model_idle"],
    "sched/live.h": ["model_live"],
    "sched/ready.c": ["model_foreign"],
    "sched/fork.c": ["model_fork"],
    "sync/sem.h": ["model_sem"],
    "executor/roster.h": ["model_executor"],
    "group/batch_ask.c": ["model_batch"],
    "group/batch_slot.c": ["model_batch"],
    "task/handover.h": ["model_handover"],
    "reactor/timer.c": ["model_timer"],
    "reactor/timer.h": ["model_timer"],
    "reactor/waker.h": ["model_port"],
    "reactor/fd_table.c": ["model_fd_table"],
    "reactor/uring_queue.c": ["model_op"],
}
RUN = ["--quiet", "--fail-fast", "--pct", "4000", "--max", "100000"]
TIMEOUT_S = 120

LOAD = {"seq_cst": ["acquire"], "acquire": ["relaxed"]}
STORE = {"seq_cst": ["release"], "release": ["relaxed"]}
RMW = {"seq_cst": ["acq_rel"], "acq_rel": ["acquire", "release"], "acquire": ["relaxed"],
       "release": ["relaxed"]}
OPERATION = re.compile(r"\batom_(load|store|exchange|cas_weak|cas|fetch_add|fetch_sub|fetch_or|"
                       r"fetch_and|fence)\(")
FUNCTION = re.compile(r"^[a-z].*?\b(\w+)\((?!.*;\s*$)")


class Mutant:
    def __init__(self, kernel, function, operation, change, text):
        self.kernel, self.function, self.operation = kernel, function, operation
        self.change, self.text = change, text

    def key(self):
        return f"{self.kernel} | {self.function} | {self.operation} | {self.change}"


def without_comments(text):
    """Comments blanked, so that offsets stay."""
    return re.sub(r"/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.S)


def argument_spans(text, start):
    """Spans of the arguments of the call whose '(' ends at start, and the offset after its ')'."""
    spans, depth, begin, at = [], 0, start, start
    while True:
        c = text[at]
        if c in "([{":
            depth += 1
        elif c in ")]}" and depth > 0:
            depth -= 1
        elif c in ",)" and depth == 0:
            spans.append((begin, at))
            begin = at + 1
            if c == ")":
                return spans, at + 1
        at += 1


def function_at(lines, number):
    for line in reversed(lines[:number + 1]):
        found = FUNCTION.match(line)
        if found and not line.startswith("typedef"):
            return found.group(1)
    return "?"


def orders_of(kind, spans):
    """(span, weaker orders by order) for each order argument."""
    if kind in ("cas", "cas_weak"):
        return [(spans[-2], RMW), (spans[-1], LOAD)]
    return [(spans[-1], {"load": LOAD, "store": STORE}.get(kind, RMW))]


def mutants_of(kernel, source):
    code = without_comments(source)
    lines = code.split("\n")
    seen = {}
    for found in OPERATION.finditer(code):
        kind = found.group(1)
        spans, end = argument_spans(code, found.end())
        where = kernel, function_at(lines, code.count("\n", 0, found.start()))
        operation = re.sub(r"\s+", " ", code[found.start():end])
        nth = seen[where, operation] = seen.get((where, operation), 0) + 1
        operation += f" #{nth}" if nth > 1 else ""
        if kind == "fence":
            yield Mutant(*where, operation, "dropped",
                         source[:found.start()] + "((void)0)" + source[end:])
        for index, (span, weaker) in enumerate(orders_of(kind, spans)):
            order = code[span[0]:span[1]].strip()
            for weak in weaker.get(order, []):
                text = source[:span[0]] + " " + weak + source[span[1]:]
                note = " (failure)" if index else ""
                yield Mutant(*where, operation, f"{order}->{weak}{note}", text)


class Bench:
    def __init__(self, options, scratch):
        self.cc, self.scratch, self.includes = options.cc, scratch, options.include
        self.objects = []

    def flags(self, *first):
        paths = [*first, *self.includes, HERE, RUNTIME, ROOT / "include"]
        return ["-std=gnu11", "-D_GNU_SOURCE", "-DJD_CHECK", "-O1", "-w",
                *[f"-I{path}" for path in paths]]

    def build_checker(self):
        for source in sorted(HERE.glob("check_*.c")):
            out = self.scratch / (source.stem + ".o")
            subprocess.run([self.cc, *self.flags(), "-O2", "-c", source, "-o", out], check=True)
            self.objects.append(out)

    def run(self, model, folder):
        """None when the model passes, else the first line that says why not."""
        obj, exe = folder / "model.o", folder / model
        subprocess.run([self.cc, *self.flags(folder), "-fsanitize=thread", "-c",
                        HERE / f"{model}.c", "-o", obj], check=True)
        subprocess.run([self.cc, obj, *self.objects, "-o", exe], check=True)
        try:
            done = subprocess.run([exe, *RUN], capture_output=True, text=True, timeout=TIMEOUT_S,
                                  check=False)
        except subprocess.TimeoutExpired:
            return "timeout"
        if done.returncode == 0:
            return None
        bad = [line for line in done.stdout.split("\n") if "FAILED" in line]
        return bad[0] if bad else f"exit {done.returncode}"

    def judge(self, mutant, number):
        folder = self.scratch / f"m{number}"
        target = folder / mutant.kernel
        target.parent.mkdir(parents=True)
        target.write_text(mutant.text, encoding="utf-8")
        why = None
        for model in KERNELS[mutant.kernel]:
            why = why or self.run(model, folder)
        shutil.rmtree(folder)
        return why


def listed_survivors():
    reasons = {}
    for line in (HERE / "survivors.txt").read_text(encoding="utf-8").split("\n"):
        if line.strip() and not line.startswith("#"):
            key, _, reason = line.rpartition(" : ")
            if not key or not reason.strip():
                sys.exit(f"survivors.txt: not 'mutant : reason': {line}")
            reasons[key.strip()] = reason.strip()
    return reasons


def source_of(kernel, includes):
    for folder in [*includes, RUNTIME]:
        path = pathlib.Path(folder) / kernel
        if path.exists():
            return path.read_text(encoding="utf-8")
    sys.exit(f"no such kernel: {kernel}")


def changed_since(commit):
    """Kernels, or their models, that differ from a commit."""
    names = subprocess.run(["git", "diff", "--name-only", commit, "--", "runtime", "tests/model"],
                           cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return [kernel for kernel, models in KERNELS.items() if f"runtime/{kernel}" in names or
            any(f"tests/model/{model}.c" in names for model in models)]


def baseline(bench, kernels):
    """The models must pass unmutated, or every mutant would look killed."""
    folder = bench.scratch / "base"
    folder.mkdir()
    ok = True
    for model in sorted({model for kernel in kernels for model in KERNELS[kernel]}):
        why = bench.run(model, folder)
        if why:
            print(f"{model} fails without a mutation: {why}")
            ok = False
    return ok


def report(results, verbose):
    reasons, unknown, table, used = listed_survivors(), [], {}, set()
    for mutant, why in results:
        row = table.setdefault(mutant.kernel, [0, 0])
        row[0 if why else 1] += 1
        if why is None:
            used.add(mutant.key())
            reason = reasons.get(mutant.key())
            print(f"survived  {mutant.key()}\n            {reason or 'NO REASON LISTED'}")
            if not reason:
                unknown.append(mutant)
        elif verbose:
            print(f"killed    {mutant.key()}\n            {why}")
    print(f"{'kernel':24}{'killed':>8}{'survived':>10}")
    for kernel, (killed, survived) in table.items():
        print(f"{kernel:24}{killed:8}{survived:10}")
    stale = [key for key in reasons if key.split(" | ")[0] in table and key not in used]
    for key in stale:
        print(f"survivors.txt lists what does not survive: {key}")
    return len(results) - len(unknown), len(unknown) + len(stale)


def main():
    parser = argparse.ArgumentParser(description="order mutation of the lock-free kernels")
    parser.add_argument("--kernel", default="", help="only kernels whose path contains this")
    parser.add_argument("--changed-since", metavar="COMMIT", help="only kernels that differ from it")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--cc", default="gcc")
    parser.add_argument("--include", action="append", default=[],
                        help="folder that overrides headers of runtime/")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    started = time.monotonic()
    kernels = [kernel for kernel in KERNELS if options.kernel in kernel]
    if options.changed_since:
        changed = changed_since(options.changed_since)
        kernels = [kernel for kernel in kernels if kernel in changed]
        if not kernels:
            print("no kernel has changed")
            print("0 passed, 0 failed")
            return 0
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(options, pathlib.Path(name))
        bench.build_checker()
        if not kernels or not baseline(bench, kernels):
            return 1
        mutants = [mutant for kernel in kernels
                   for mutant in mutants_of(kernel, source_of(kernel, options.include))]
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            whys = list(pool.map(bench.judge, mutants, range(len(mutants))))
    passed, failed = report(list(zip(mutants, whys)), options.verbose)
    print(f"{len(mutants)} mutants, {time.monotonic() - started:.0f} s")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
