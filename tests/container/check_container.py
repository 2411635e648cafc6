#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Jackdaw where containers put it: behind a seccomp profile, in control groups with little of everything,
with 256 KiB of locked memory, on a read-only root; and with all of it at once.

usage: check_container.py BOX JACKDAW SUBSET [--only TEXT] [--verbose]

In each box (box.c): what it must refuse is refused; `jackdaw batch` does all its calls within its bound;
a subset of the contract and I/O tests passes. A box that this machine cannot build is skipped, and says
why. Control groups are made below our own one (version 1), or beside it (version 2).
"""
import contextlib
import json
import os
import pathlib
import select
import subprocess
import sys
import time
from dataclasses import dataclass

SECONDS = 60
NOT_HERE = 125
COUNT, LIMIT = 400, 50
PERIOD = 100000
MIB = 1 << 20
CPUS = len(os.sched_getaffinity(0))


class NotHere(Exception):
    """This machine cannot build the box."""


@dataclass(frozen=True)
class Box:
    name: str
    seccomp: bool = False
    read_only: bool = False
    memlock: int = 0
    memory: int = 0
    pids: int = 0
    cpu_percent: int = 0
    below: bool = False  # the program is in a group below the one with the quota
    workers: int = 0     # that the runtime must choose
    burns: bool = False  # to be shown that the quota bites; nothing else runs

    def options(self):
        return [*(["--seccomp"] if self.seccomp else []),
                *(["--read-only"] if self.read_only else []),
                *(["--memlock", str(self.memlock)] if self.memlock else [])]

    def limits(self):
        """(controller, file of version 1, file of version 2, what 1 says, what 2 says)"""
        if self.cpu_percent:
            quota = self.cpu_percent * PERIOD // 100
            yield "cpu", (("cpu.cfs_period_us", PERIOD), ("cpu.cfs_quota_us", quota)), \
                (("cpu.max", f"{quota} {PERIOD}"),)
        if self.memory:
            yield "memory", (("memory.limit_in_bytes", self.memory),
                             ("?memory.memsw.limit_in_bytes", self.memory)), \
                (("memory.max", self.memory), ("?memory.swap.max", 0))
        if self.pids:
            yield "pids", (("pids.max", self.pids),), (("pids.max", self.pids),)


BOXES = (
    Box("seccomp", seccomp=True),
    Box("a hundredth of a CPU", cpu_percent=1, burns=True),  # less than a busy machine leaves us
    Box("half a CPU", cpu_percent=50, workers=1),
    Box("half a CPU, by the group above", cpu_percent=50, workers=1, below=True),
    Box("one and a half CPUs", cpu_percent=150, workers=min(2, CPUS)),
    Box("64 MiB", memory=64 * MIB),
    Box("64 pids", pids=64),
    Box("256 KiB of locked memory", memlock=256 << 10),
    Box("read-only root", read_only=True),
    Box("all of it", seccomp=True, read_only=True, memlock=256 << 10, memory=64 * MIB, pids=64,
        cpu_percent=50, workers=1),
)


# --- Control groups ---------------------------------------------------------------------------------


def unescaped(text):
    return text.encode().decode("unicode_escape")


def mounts_of_cgroups():
    """(version, controllers, where it is mounted, which group is mounted there)"""
    for line in pathlib.Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        left, _, right = line.partition(" - ")
        root, point = (unescaped(word) for word in left.split()[3:5])
        kind, _, options = right.split(maxsplit=2)
        if kind == "cgroup":
            yield 1, options.split(","), point, root
        elif kind == "cgroup2":
            controllers = pathlib.Path(point, "cgroup.controllers")
            with contextlib.suppress(OSError):
                yield 2, controllers.read_text(encoding="utf-8").split(), point, root


def own_path(version, controller):
    for line in pathlib.Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, names, path = line.split(":", 2)
        if (version == 2 and not names) or (version == 1 and controller in names.split(",")):
            return path
    raise NotHere(f"no control group of {controller}")


def enabled_in(folder):
    return set((folder / "cgroup.subtree_control").read_text(encoding="utf-8").split())


def parent_of_new(controller, beside):
    """(version, folder) in which groups with this controller, and those beside it, can be made."""
    for version, controllers, point, root in mounts_of_cgroups():
        if controller not in controllers:
            continue
        path = own_path(version, controller)
        below = path[len(root):] if root != "/" and path.startswith(root) else path
        folder = pathlib.Path(point, below.lstrip("/"))
        if not folder.is_dir():
            folder = pathlib.Path(point)
        if version == 1:
            return 1, folder
        wanted = set(beside) & set(controllers)  # one group for all: a process is in one only
        while not wanted <= enabled_in(folder) and folder != pathlib.Path(point):
            folder = folder.parent
        for each in wanted - enabled_in(folder):
            (folder / "cgroup.subtree_control").write_text(f"+{each}", encoding="utf-8")
        return 2, folder
    raise NotHere(f"no control groups of {controller}")


def wait_for_one(pids, seconds):
    """Until one of these processes has ended, at most."""
    with contextlib.ExitStack() as stack:
        ends = []
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                ends.append(os.pidfd_open(int(pid)))
                stack.callback(os.close, ends[-1])
        if len(ends) == len(pids):
            select.select(ends, [], [], seconds)


def remove_group(folder):
    """A group can be removed when its last process has left it. That may be a little after its end, and
    version 1 has no event for it: without a process it is tried again, for a few seconds."""
    end = time.monotonic() + 5
    while folder.exists():
        try:
            folder.rmdir()
        except OSError as busy:
            pids = (folder / "cgroup.procs").read_text(encoding="utf-8").split()
            if time.monotonic() > end:
                raise RuntimeError(f"{folder} is not empty: {pids}") from busy
            wait_for_one(pids, max(0, end - time.monotonic()) if pids else 0.01)


def make_groups(box, made):
    """The options for box.c; the folders go to made."""
    options = []
    beside = [controller for controller, _, _ in box.limits()]
    for controller, first, second in box.limits():
        version, parent = parent_of_new(controller, beside)
        folder = parent / f"jackdaw-box-{os.getpid()}"
        if not folder.exists():
            folder.mkdir()
            made.append(folder)
            options += ["--cgroup", str(folder)]
        for name, value in first if version == 1 else second:
            with contextlib.suppress(*([OSError] if name[0] == "?" else [])):
                (folder / name.lstrip("?")).write_text(str(value), encoding="utf-8")
        if box.below:
            made.append(folder / "below")
            made[-1].mkdir()
            options[-1] = str(made[-1])
        if box.burns:
            options += ["--cpu-stat", str(folder / "cpu.stat")]
        elif controller != "cpu":
            options += [f"--{controller}", str(getattr(box, controller))]
    return options


@contextlib.contextmanager
def groups_of(box):
    made = []
    try:
        try:
            options = make_groups(box, made)
        except OSError as error:
            raise NotHere(f"control groups: {error}") from error
        yield options
    finally:
        for folder in reversed(made):
            remove_group(folder)


# --- What runs in the boxes -------------------------------------------------------------------------


class Lab:
    def __init__(self, programs, verbose):
        self.box, self.jackdaw, self.subset = programs
        self.verbose = verbose
        self.count = self.red = 0

    def run(self, options, *command, **env):
        factor = float(os.environ.get("JD_TEST_TIMEOUT_FACTOR", "1"))
        try:
            return subprocess.run([self.box, *options, *command], capture_output=True, text=True,
                                  timeout=SECONDS * factor, env=dict(os.environ, **env), check=False)
        except subprocess.TimeoutExpired as late:
            return subprocess.CompletedProcess(late.cmd, "too late", str(late.stdout), str(late.stderr))

    def say(self, name, wrong, done=None):
        self.count += 1
        print("not ok" if wrong else "ok", self.count, name, flush=True)
        if wrong:
            self.red += 1
            print(f"# {wrong}")
        if done and (wrong or self.verbose):
            print(*(f"#   {line}" for line in (done.stdout + done.stderr).splitlines()[-40:]), sep="\n")

    def skip(self, name, why):
        self.count += 1
        print(f"ok {self.count} {name} # SKIP {why}", flush=True)

    def check(self, box):
        try:
            with groups_of(box) as options:
                self.check_in(box, [*box.options(), *options])
        except NotHere as why:
            self.skip(box.name, why)

    def check_in(self, box, options):
        name = f"{box.name}: what it must refuse is refused"
        done = self.run(options, "--", "/bin/true")
        if done.returncode == NOT_HERE:
            raise NotHere(done.stderr.strip())
        if box.burns or not box.cpu_percent or box.seccomp:
            done = self.run(options, "--bites")
            if done.returncode == NOT_HERE:
                self.skip(name, done.stderr.strip())
            else:
                self.say(name, done.returncode and f"status {done.returncode}", done)
        if box.burns:
            return
        self.check_batch(box, options)
        if box.pids:
            self.check_batch(box, options, str(2 * box.pids))
        self.check_subset(box, options)

    def check_batch(self, box, options, workers=""):
        done = self.run(options, "--", self.jackdaw, "batch", "--count", str(COUNT), "--limit", str(LIMIT),
                        "--json", **({"JACKDAW_WORKERS": workers} if workers else {}))
        name = f"{box.name}: jackdaw batch" + (f" with {workers} workers" if workers else "")
        self.say(name, wrong_batch(box, done, workers), done)

    def check_subset(self, box, options):
        env = {"JD_TEST_TIMEOUT_FACTOR": os.environ.get("JD_TEST_TIMEOUT_FACTOR", "4")}
        if box.cpu_percent:
            env["BOX_CPU_PERCENT"] = str(box.cpu_percent)
        done = self.run(options, "--", self.subset, **env)
        passed = sum(line.startswith("ok ") and "# SKIP" not in line for line in done.stdout.splitlines())
        wrong = done.returncode and f"status {done.returncode}" or (passed < 20 and f"only {passed} passed")
        self.say(f"{box.name}: {passed} tests of contract and I/O", wrong, done)


def wrong_batch(box, done, workers):
    """What is wrong with a run of the command, or an empty string."""
    if done.returncode != 0:
        return f"status {done.returncode}"
    said = json.loads(done.stdout)
    for key, value in {"pulled": COUNT, "ok": COUNT, "server_requests": COUNT, "failed": 0, "cancelled": 0,
                       "error": 0, "interrupted": False}.items():
        if said[key] != value:
            return f"{key} is {said[key]}"
    if max(said["at_once_max"].values()) > LIMIT:
        return f"more than {LIMIT} at once: {said['at_once_max']}"
    if box.seccomp and said["reactor"] != "epoll":
        return f"reactor {said['reactor']} in spite of the filter"
    if not workers and box.workers and said["workers"] != box.workers:
        return f"{said['workers']} workers"
    return ""


def main():
    words = [word for word in sys.argv[1:] if word != "--verbose"]
    only = words.pop(words.index("--only") + 1) if "--only" in words else ""
    programs = [os.path.abspath(word) for word in words if word != "--only"]
    lab = Lab(programs, "--verbose" in sys.argv)
    for variable in ("JACKDAW_WORKERS", "JACKDAW_REACTOR"):
        os.environ.pop(variable, None)
    for box in BOXES:
        if only in box.name:
            lab.check(box)
    print(f"1..{lab.count}")
    return 1 if lab.red else 0


if __name__ == "__main__":
    sys.exit(main())
