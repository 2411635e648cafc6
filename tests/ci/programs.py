# SPDX-License-Identifier: MIT
"""Test programs beside each other, one per processor; their lines added up. Used by the stages."""
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINE = re.compile(r"^(?:(ok|not ok) \d+ [^#]*(# SKIP)?|model [^:]+: (FAILED)?)")
TAIL_LINES = 40


class Job:
    """A program with its arguments and what it needs in the environment."""

    def __init__(self, argv, env=None, timeout=1800):
        self.argv, self.env, self.timeout = [str(word) for word in argv], env or {}, timeout

    def command(self):
        """As a person types it, from the root of the repository."""
        words = [f"{name}={value}" for name, value in self.env.items()] + self.argv
        return " ".join(words).replace(f"{ROOT}/", "")


class Result:
    def __init__(self, job, passed, failed, text):
        self.job, self.passed, self.failed, self.text = job, passed, failed, text


def judge(text, status):
    """(passed, failed) of a TAP program or a model; silence and an unexplained status are failures."""
    lines = [match for match in map(LINE.match, text.splitlines()) if match]
    failed = sum(match[1] == "not ok" or match[3] is not None for match in lines)
    skipped = sum(match[2] is not None for match in lines)
    if failed == 0 and (status != 0 or not lines):
        failed = 1
    return max(len(lines) - failed - skipped, 0), failed


def run(job):
    try:
        done = subprocess.run(job.argv, env={**os.environ, **job.env}, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
                              errors="replace", timeout=job.timeout, check=False, cwd=ROOT)
        return Result(job, *judge(done.stdout, done.returncode), done.stdout)
    except subprocess.TimeoutExpired as error:
        text = (error.stdout or b"").decode(errors="replace")
        return Result(job, 0, 1, f"{text}\nno end after {job.timeout} s")


def show(result):
    print(f"FAILED: {result.job.command()}")
    for line in result.text.splitlines()[-TAIL_LINES:]:
        print(f"    {line}")
    sys.stdout.flush()


def run_all(jobs, processes=os.cpu_count()):
    """The results, in the order of the jobs; failures are shown at once."""
    results = {}
    with concurrent.futures.ThreadPoolExecutor(processes) as pool:
        futures = {pool.submit(run, job): number for number, job in enumerate(jobs)}
        for future in concurrent.futures.as_completed(futures):
            results[futures[future]] = future.result()
            if future.result().failed:
                show(future.result())
    return [results[number] for number in sorted(results)]


def build(*names):
    """Ends the stage when it does not compile."""
    subprocess.run([ROOT / "dev", "build", *names], check=True, stdin=subprocess.DEVNULL)


def seed():
    """The run's seed, as the tests know it."""
    text = os.environ.get("JD_TEST_SEED")
    return int(text, 0) if text else int.from_bytes(os.urandom(5), "little")


def finish(passed, failed, started, note=""):
    """The last lines of a stage; answers its exit status."""
    print(f"{note}{', ' if note else ''}{time.monotonic() - started:.0f} s")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0
