#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Rounds of random tests with new seeds until the time is over or something fails.

usage: soak.py [MINUTES]      (10; ./dev soak)

In rotation: the stress mix and the laws of conservation, random programs in simulation, random schedules
of the models, the I/O tests; in the plain build and in those with sanitizers. Every round says its seed;
a failure says how to repeat it and ends the soak. The last line is `N passed, N failed`, N counting rounds.
"""
import os
import sys
import time

import programs

BUILDS = ("clang", "asan", "tsan")
TSAN = "halt_on_error=1:second_deadlock_stack=1"
ENVIRONMENT = {
    "clang": {"JD_TEST_TIMEOUT_FACTOR": "3"},
    "asan": {"JD_TEST_TIMEOUT_FACTOR": "12",
             "ASAN_OPTIONS": "detect_stack_use_after_return=1:detect_leaks=1"},
    "tsan": {"JD_TEST_TIMEOUT_FACTOR": "30", "TSAN_OPTIONS": TSAN},
}


def tests(build, pattern):
    folder = programs.ROOT / "build" / build / "tests"
    return [path for path in sorted(folder.glob(pattern)) if path.is_file()]


def of_build(build, path, env):
    prefix = ["setarch", "-R"] if build == "tsan" else []
    return programs.Job([*prefix, path], {**ENVIRONMENT[build], **env}, timeout=3600)


def stress(build, seed):
    return [of_build(build, path, {"JD_TEST_SEED": str(seed)})
            for pattern in ("stress_mix", "stress_laws*") for path in tests(build, pattern)]


def chaos(build, seed):
    count = 400 if build == "clang" else 100
    return [of_build(build, path, {"JD_SIM_FIRST": str(seed), "JD_SIM_SEEDS": str(count)})
            for path in tests(build, "sim_chaos")]


def models(_, seed):
    return [programs.Job([path, "--pct-only", "--pct", "5000", "--seed", str(seed)])
            for path in tests("plain", "model_*") if path.name != "model_litmus"]


def io(build, seed):
    return [of_build(build, path, {"JD_TEST_SEED": str(seed)}) for path in tests(build, "io_*")]


def rounds():
    """Endless: (name, jobs, how many beside each other). Stress has the machine for itself."""
    seed = programs.seed() % 10**15
    while True:
        for build in BUILDS:
            for kind, processes in ((stress, 1), (chaos, 2), (models, 2), (io, 1)):
                seed += 1000
                yield f"{kind.__name__} {build} seed {seed}", kind(build, seed), processes


def main():
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 10
    programs.build("plain", *BUILDS)
    started = time.monotonic()
    passed = failed = 0
    for name, jobs, processes in rounds():
        left = minutes * 60 - (time.monotonic() - started)
        if left <= 0:
            break
        print(f"{time.strftime('%H:%M:%S')} {name}: {len(jobs)} programs, {left / 60:.1f} min left",
              flush=True)
        results = programs.run_all(jobs, min(processes, os.cpu_count() or 1))
        if not jobs or any(each.failed for each in results):
            failed += 1
            print("stopped at the first failure; the commands above repeat it" if jobs else "no programs")
            break
        passed += 1
    return programs.finish(passed, failed, started, f"{passed + failed} rounds")


if __name__ == "__main__":
    sys.exit(main())
