#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""CI stage `hash`: same seed, same run, whatever the compiler, the allocator and the process.

usage: hash.py [--seeds N]

Every simulation test runs the same seeds in a gcc and in a clang build (different allocators and
assertions, too), and some of them once more in a process of their own. Each run leaves the hash of its
trace; one scenario passes when all its hashes are equal. What stage `sim` has run just so counts: then
the runs of its build are not repeated.
"""
import argparse
import collections
import pathlib
import sys
import tempfile
import time

import programs
import sim

BUILDS = ("valgrind", "clang")  # the first is gcc's; both have our runner
AGAIN = 200  # seeds that run twice in each build
SLOW = {"sim_liveness": 10}  # a burn is 300,000 looks at the clock: a tenth of the seeds


def seeds_of(program, seeds):
    return max(seeds // SLOW.get(program, 1), 1)


def job(path, build, folder, nth, seeds):
    return programs.Job([path], {"JD_SIM_FIRST": "1", "JD_SIM_SEEDS": str(seeds),
                                 "JD_TEST_TIMEOUT_FACTOR": "60",
                                 "JD_SIM_HASHES": str(folder / f"{path.name}-{build}-{nth}")})


def jobs_of(folder, seeds, builds):
    """All seeds in `builds`, then some in all builds. By name the long programs come late: last first."""
    for build in builds:
        for path in reversed(sim.test_programs(build)):
            yield job(path, build, folder, 0, seeds_of(path.name, seeds))
    for build in BUILDS:
        for path in reversed(sim.test_programs(build)):
            yield job(path, build, folder, 1, min(AGAIN, seeds_of(path.name, seeds)))


def read_hashes(paths, seeds):
    """For each scenario and seed the hashes of the records it stands in, in order."""
    hashes = collections.defaultdict(lambda: collections.defaultdict(list))
    for path in paths:
        seen = collections.Counter()
        last = seeds_of(path.name.split("-")[0], seeds)
        for line in path.read_text().splitlines():
            place, seed, value = line.split()
            if int(seed) > last:
                continue  # of stage `sim`
            # A place that several tests share has its seeds several times, in the same order.
            nth = seen[place, seed] = seen[place, seed] + 1
            hashes[f"{place} #{nth}"][int(seed)].append((path.name, value))
    return hashes


def compare(hashes):
    """(scenarios with equal hashes, with different ones, hashes compared)."""
    same = different = count = 0
    for scenario, seeds in sorted(hashes.items()):
        odd = [(seed, found) for seed, found in sorted(seeds.items())
               if len({value for _, value in found}) != 1 or
               {name.split("-")[1] for name, _ in found} != set(BUILDS)]
        count += sum(len(found) for found in seeds.values())
        same, different = same + (not odd), different + bool(odd)
        if odd:
            print(f"FAILED: {scenario}: {len(odd)} of {len(seeds)} seeds, the first is {odd[0][0]}:")
            for name, value in odd[0][1]:
                print(f"    {value} in {name}")
    return same, different, count


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5000)
    options = parser.parse_args()
    programs.build(*BUILDS)
    started = time.monotonic()
    made = {build: sim.hashes_of(build, options.seeds) for build in BUILDS}
    for build in BUILDS:
        if made[build]:
            print(f"{build}: as stage sim ran it")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        results = programs.run_all(
            list(jobs_of(folder, options.seeds, [build for build in BUILDS if not made[build]])))
        paths = [*sorted(folder.iterdir()), *(path for files in made.values() for path in files)]
        same, different, count = compare(read_hashes(paths, options.seeds))
    different += sum(each.failed for each in results)
    return programs.finish(same, different, started,
                           f"seeds 1..{options.seeds}, {count} hashes of {same} scenarios are equal")


if __name__ == "__main__":
    sys.exit(main())
