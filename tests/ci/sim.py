#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""CI stage `sim`: many seeds of every simulation test, split among the processors.

usage: sim.py [--seeds N] [--first N] [--fresh N] [--build NAME]

Seeds FIRST.. (1..5000) always, and FRESH more that follow from the run's seed.
"""
import argparse
import sys
import time

import programs

CHUNK = 1250  # seeds of one job


def test_programs(build):
    found = sorted((programs.ROOT / "build" / build / "tests").glob("sim_*"))
    return [path for path in found if path.is_file()]


def jobs_of(build, first, count):
    for start in range(first, first + count, CHUNK):
        for path in test_programs(build):
            many = min(CHUNK, first + count - start)
            yield programs.Job([path], {"JD_SIM_FIRST": str(start), "JD_SIM_SEEDS": str(many),
                                        "JD_TEST_TIMEOUT_FACTOR": "30"})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5000)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--fresh", type=int, default=250)
    parser.add_argument("--build", default="clang")
    options = parser.parse_args()
    programs.build(options.build)
    started = time.monotonic()
    fresh = 10**6 + programs.seed() % 10**12
    print(f"seeds {options.first}..{options.first + options.seeds - 1} and from {fresh} on, "
          f"{options.fresh} of them")
    jobs = [*jobs_of(options.build, options.first, options.seeds),
            *jobs_of(options.build, fresh, options.fresh)]
    results = programs.run_all(jobs)
    return programs.finish(sum(each.passed for each in results),
                           sum(each.failed for each in results), started,
                           f"{len(test_programs(options.build))} programs")


if __name__ == "__main__":
    sys.exit(main())
