#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""CI stage `models`: every model to its full bound, and random schedules from a seed of this run.

usage: models.py [--pct N]
"""
import argparse
import sys
import time

import programs


def model_programs():
    found = sorted((programs.ROOT / "build/plain/tests").glob("model_*"))
    return [path for path in found if path.is_file()]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pct", type=int, default=20000)
    options = parser.parse_args()
    programs.build("plain")
    started = time.monotonic()
    seed = programs.seed() % 2**32
    print(f"seed {seed}")
    full = {"JD_TEST_QUICK": "0"}
    jobs = [programs.Job([path], full) for path in model_programs()]
    jobs += [programs.Job([path, "--pct-only", "--pct", options.pct, "--seed", seed], full)
             for path in model_programs() if path.name != "model_litmus"]
    results = programs.run_all(jobs)
    return programs.finish(sum(each.passed for each in results),
                           sum(each.failed for each in results), started,
                           f"{len(model_programs())} programs")


if __name__ == "__main__":
    sys.exit(main())
