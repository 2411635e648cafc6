#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""CI stage `sim`: many seeds of every simulation test, split among the processors.

usage: sim.py [--seeds N] [--first N] [--fresh N] [--build NAME]

Seeds FIRST.. (1..5000) always, and FRESH more that follow from the run's seed. The hashes of the seeds
from 1 on stay with the build, for stage `hash`: hashes_of() knows whether they are still true.
"""
import argparse
import hashlib
import json
import shutil
import sys
import time

import programs

CHUNK = 1250  # seeds of one job


def test_programs(build):
    found = sorted((programs.ROOT / "build" / build / "tests").glob("sim_*"))
    return [path for path in found if path.is_file()]


def jobs_of(build, first, count, hashes=None):
    for start in range(first, first + count, CHUNK):
        for path in test_programs(build):
            env = {"JD_SIM_FIRST": str(start), "JD_SIM_SEEDS": str(min(CHUNK, first + count - start)),
                   "JD_TEST_TIMEOUT_FACTOR": "30"}
            if hashes:
                env["JD_SIM_HASHES"] = str(hashes / f"{path.name}-{build}-from{start}")
            yield programs.Job([path], env)


def hashes_folder(build):
    return programs.ROOT / "build" / build / "sim-hashes"


def digests(build):
    """What the hashes depend on: the library is linked into each program."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in test_programs(build)}


def hashes_of(build, seeds):
    """The files that a run of all programs of this build has left for seeds 1..N at least; or []."""
    folder = hashes_folder(build)
    try:
        made = json.loads((folder / "complete").read_text())
    except (OSError, ValueError):
        return []
    if made["seeds"] < seeds or made["programs"] != digests(build):
        return []
    return sorted(folder.glob("sim_*"))


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
    hashes = hashes_folder(options.build) if options.first == 1 else None
    if hashes:
        shutil.rmtree(hashes, ignore_errors=True)
        hashes.mkdir()
    jobs = [*jobs_of(options.build, options.first, options.seeds, hashes),
            *jobs_of(options.build, fresh, options.fresh)]
    results = programs.run_all(jobs)
    if hashes and not any(each.failed for each in results):
        made = {"seeds": options.seeds, "programs": digests(options.build)}
        (hashes / "complete").write_text(json.dumps(made))
    return programs.finish(sum(each.passed for each in results),
                           sum(each.failed for each in results), started,
                           f"{len(test_programs(options.build))} programs")


if __name__ == "__main__":
    sys.exit(main())
