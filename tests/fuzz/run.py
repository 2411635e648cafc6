#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs fuzz targets for a time and says what came of it.

usage: run.py BUILD [TARGET] [SECONDS]        each target (or one) for so long (60)
       run.py BUILD --minimise [TARGET]       what was found new joins tests/fuzz/corpus/TARGET

What a target finds interesting goes to BUILD/fuzz-work/TARGET/corpus, and inputs that end in an
error to BUILD/fuzz-work/TARGET/found. Exit status 1 when there was one.
"""
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORPUS = ROOT / "tests/fuzz/corpus"
CORPUS_BYTES_MAX = 32 * 1024  # per target, as it is part of the repository
LIMITS = ["-timeout=30", "-rss_limit_mb=4096", "-print_final_stats=1", "-use_value_profile=0"]
LENGTHS = {"choices": 6000, "program": 1500, "address": 300, "cgroup": 1000, "config": 200,
           "command": 200, "http": 400}


def environment():
    """Fake stacks for use-after-return would cost most of the speed; the asan build has them."""
    env = dict(os.environ)
    env.setdefault("ASAN_OPTIONS", "detect_stack_use_after_return=0")
    env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
    env.setdefault("ASAN_SYMBOLIZER_PATH", "/usr/bin/llvm-symbolizer-19")
    return env


class Target:
    def __init__(self, build, name, work="fuzz-work"):
        self.name = name
        self.program = build / "tests/fuzz" / f"fuzz_{name}"
        self.seeds = CORPUS / name
        self.work = build / work / name
        self.corpus = self.work / "corpus"
        self.found = self.work / "found"
        for folder in (self.seeds, self.corpus, self.found):
            folder.mkdir(parents=True, exist_ok=True)

    def call(self, args, log):
        command = [str(self.program), f"-max_len={LENGTHS.get(self.name, 1000)}", *LIMITS, *args]
        with open(log, "w", encoding="utf-8") as out:
            return subprocess.run(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                                  env=environment(), check=False).returncode

    def run(self, seconds, seed=0):
        """The corpus, then what libFuzzer makes of it; seed 0 is another one each time."""
        log = self.work / "log"
        status = self.call([f"-max_total_time={seconds}", f"-seed={seed}",
                            f"-artifact_prefix={self.found}/", str(self.corpus), str(self.seeds)],
                           log)
        text = log.read_text(encoding="utf-8", errors="replace")
        self.report(text, status)
        return status == 0

    def report(self, text, status):
        figures = dict(re.findall(r"^stat::(\w+):\s+(\d+)", text, re.M))
        coverage = re.findall(r"cov: (\d+) ft: (\d+) corp: (\S+)", text)
        loaded = re.search(r"\((\d+) inline 8-bit counters\)", text)
        cov, features, corpus = coverage[-1] if coverage else ("?", "?", "?")
        print(f"{self.name:10} {figures.get('number_of_executed_units', '?'):>9} runs, "
              f"{figures.get('average_exec_per_sec', '?'):>6}/s, "
              f"{cov} of {loaded.group(1) if loaded else '?'} edges, {features} features, "
              f"corpus {corpus}", flush=True)
        if status == 0:
            return
        for line in text.splitlines():
            if re.search(r"wrong: |runtime error: |ERROR: |JD_ASSERT|assertion", line):
                print(f"  {line}")
        found = re.findall(r"Test unit written to (\S+)", text)
        for path in found:
            print(f"  again: JD_FUZZ_TRACE=1 {self.program} {path}")
        print(f"  log: {self.work / 'log'}", flush=True)

    def minimise(self):
        """The smallest set with the same features; what is too much for the repository stays out."""
        merged = self.work / "merged"
        subprocess.run(["rm", "-rf", str(merged)], check=True)
        merged.mkdir()
        status = self.call(["-merge=1", str(merged), str(self.seeds), str(self.corpus)],
                           self.work / "merge.log")
        if status != 0:
            print(f"{self.name}: merge failed, see {self.work / 'merge.log'}")
            return False
        files = sorted(merged.iterdir(), key=lambda f: f.stat().st_size)
        kept, left = 0, CORPUS_BYTES_MAX - sum(f.stat().st_size for f in self.seeds.iterdir())
        have = {f.read_bytes() for f in self.seeds.iterdir()}
        for path in files:
            data = path.read_bytes()
            if data in have or len(data) > left:
                continue
            (self.seeds / path.name[:12]).write_bytes(data)
            left -= len(data)
            kept += 1
        print(f"{self.name}: {kept} new inputs, {len(files)} in the smallest set")
        return True


def target_names():
    return sorted(p.stem[5:] for p in (ROOT / "tests/fuzz").glob("fuzz_*.c"))


def main():
    build, *words = sys.argv[1:]
    build = pathlib.Path(build).resolve()
    names = target_names()
    minimise = "--minimise" in words
    seconds = next((int(w) for w in words if w.isdigit()), 60)
    asked = [w for w in words if not w.isdigit() and not w.startswith("--")]
    unknown = set(asked) - set(names)
    if unknown:
        sys.exit(f"no target {' '.join(unknown)}; there are {' '.join(names)}")
    targets = [Target(build, name) for name in asked or names]
    right = [t.minimise() if minimise else t.run(seconds) for t in targets]
    sys.exit(0 if all(right) else 1)


if __name__ == "__main__":
    main()
