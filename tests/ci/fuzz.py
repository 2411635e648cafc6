#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""CI stage `fuzz`: each target over its corpus, and then a short time on from it, with this run's seed.

usage: fuzz.py [--seconds N]

Begins from tests/fuzz/corpus alone, whatever earlier runs found. A target passes when no input broke
anything; one that did is kept, and the command that repeats it is printed.
"""
import argparse
import concurrent.futures
import os
import shutil
import sys
import time

import programs

sys.path.insert(0, str(programs.ROOT / "tests/fuzz"))
import run as fuzzing  # pylint: disable=wrong-import-position


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=20, help="for each target (20)")
    options = parser.parse_args()
    programs.build("fuzz")
    started = time.monotonic()
    seed = programs.seed() % (2**32 - 1) + 1  # 0 would be any
    print(f"seed {seed}")
    build = programs.ROOT / "build/fuzz"
    shutil.rmtree(build / "fuzz-ci", ignore_errors=True)
    targets = [fuzzing.Target(build, name, "fuzz-ci") for name in fuzzing.target_names()]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        right = list(pool.map(lambda target: target.run(options.seconds, seed), targets))
    return programs.finish(sum(right), len(right) - sum(right), started)


if __name__ == "__main__":
    sys.exit(main())
