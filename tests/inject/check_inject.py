#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The ports when the kernel answers otherwise: traffic.c under `strace -e inject`.

usage: check_inject.py PROGRAM [--only TEXT] [--verbose] [--sanitized]

A case names a port and what is injected. It passes when the program ends in time, the injection
took place, and the program printed the totals of an undisturbed run; or, where the case says so,
the documented error and status 3. Wrong totals, another error, a crash and a hang are red.

What is injected must be an answer that the kernel, a seccomp filter or a supervisor could give. A
call that is answered by strace is not carried out; so close(2) gets delays only (its descriptor
would stay open), and an eventfd is never told EAGAIN (full) while it is empty.

JD_TEST_QUICK=1: of the scans over the n-th call every fourth, and nothing under a sanitizer. There
the scans are left out, since its own calls fail, too, and so are leaks: ptrace is in use.
"""
import os
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass

SECONDS = 20
TRIES = 5  # strace counts by thread, and who makes which call is the scheduler's choice
STATUS_FAILED = 3
CHECKED = "sigaltstack", "sched_getaffinity"  # a sanitizer aborts when its own ones fail
QUICK = os.environ.get("JD_TEST_QUICK") == "1"
PORTS = "uring", "epoll"
HIT = re.compile("INJECTED|DELAYED|--- SIGURG")


@dataclass(frozen=True)
class Case:
    port: str
    inject: tuple           # of "SYSCALL:what:when=..."
    allowed: tuple = ()     # errors that the program may end with instead
    reactor: str = ""       # the reactor that must have been chosen
    must_hit: bool = True   # the injection must have taken place

    @property
    def name(self):
        return f"{self.port or 'auto'}: {', '.join(self.inject) or 'as it is'}"


def cases_of_uring():
    def uring(*inject, **how):
        return Case("uring", inject, **how)

    def auto(*inject, **how):
        return Case("", inject, **how)

    # Refused at the start: another port, or the documented error for who insists.
    for error in "ENOSYS", "EPERM":
        yield auto(f"io_uring_setup:error={error}", reactor="epoll")
        yield uring(f"io_uring_setup:error={error}", allowed=(error,))
        yield auto(f"io_uring_enter:error={error}", reactor="epoll")
        yield auto(f"io_uring_register:error={error}", reactor="epoll")
    yield auto("io_uring_setup:error=ENOMEM", reactor="epoll")
    yield auto("io_uring_setup:error=ENOMEM:when=2+", reactor="epoll")  # too little for all rings
    yield auto("io_uring_setup:error=ENOMEM:when=3", reactor="epoll")
    yield auto("madvise:error=EINVAL", reactor="epoll")  # rings are kept from children by it
    yield auto("io_uring_setup:error=EMFILE", allowed=("EMFILE",))
    yield auto("io_uring_setup:error=ENFILE:when=2", allowed=("ENFILE",))
    yield auto("io_uring_setup:error=EINVAL:when=1")  # an older kernel: fewer flags
    yield auto("io_uring_setup:error=EINVAL", reactor="epoll")
    # In operation, again and again.
    for error in "EINTR", "EAGAIN", "EBUSY", "ENOMEM":
        for when in "2+2", "5+3", "8+1..8":
            yield uring(f"io_uring_enter:error={error}:when={steps(when)}",
                        allowed=() if error == "EINTR" else (error,))
    yield uring("io_uring_enter:delay_enter=3000:when=2+5")
    yield uring("io_uring_enter:delay_exit=3000:when=3+5")
    for error in "EINTR", "EAGAIN", "EBUSY", "ENOMEM":
        yield uring(f"io_uring_register:error={error}:when=3+2")
    yield uring("io_uring_register:delay_enter=3000:when=3+3")
    # The direct calls beside the ring.
    for error in "EINTR", "EAGAIN":
        yield uring(f"sendto:error={error}:when=2+2")  # the first is of the self-test


def steps(when):
    """N+S, or N+1..M written out as strace knows it: the N-th to the (N+M)-th call."""
    match = re.fullmatch(r"(\d+)\+1\.\.(\d+)", when)
    return f"{match[1]}..{int(match[1]) + int(match[2])}" if match else when


def cases_of_signals():
    """Real interruptions: the program has a handler for SIGURG, without SA_RESTART."""
    for port, calls in (("uring", ("io_uring_enter", "io_uring_register", "sendto")),
                        ("epoll", ("epoll_pwait2", "epoll_wait", "recvfrom", "sendto", "accept4",
                                   "connect", "preadv2", "pwritev2"))):
        for call in *calls, "futex", "write", "read":
            yield Case(port, (f"{call}:signal=SIGURG:when=1+2",), must_hit=call != "read")


def cases_of_epoll():
    def epoll(*inject, **how):
        return Case("epoll", inject, reactor="epoll", **how)

    for error in "EINTR", "EAGAIN":
        for call in "recvfrom", "sendto", "accept4", "preadv2", "pwritev2":
            # The file is not to be waited for, so it hands on what it is told.
            allowed = ("EAGAIN",) if call in ("preadv2", "pwritev2") else ()
            for when in "1+2", "2+3":
                yield epoll(f"{call}:error={error}:when={when}", allowed=allowed)
        yield epoll(*(f"{call}:error={error}:when=1+2" for call in ("recvfrom", "sendto")))
    yield epoll("preadv2:error=ENOSYS", allowed=("ENOSYS",))
    yield epoll("madvise:error=EINVAL")  # no huge pages, no guard markers: an older kernel
    yield epoll("epoll_pwait2:error=ENOSYS")  # before 5.11
    yield epoll("epoll_pwait2:error=EPERM")   # seccomp
    yield epoll("epoll_pwait2:error=EINTR:when=1+2")
    yield epoll("epoll_pwait2:error=ENOSYS", "epoll_wait:error=EINTR:when=1+2")
    yield epoll("epoll_wait:error=EINTR:when=1+2")
    yield epoll("epoll_ctl:error=ENOMEM:when=6+3", allowed=("ENOMEM",))
    yield epoll("epoll_ctl:error=ENOSPC:when=6+3", allowed=("ENOSPC",))
    yield epoll("epoll_create1:error=EMFILE", allowed=("EMFILE",))
    yield epoll("epoll_create1:error=ENOMEM:when=2", allowed=("ENOMEM",))
    for error in "ECONNABORTED", "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EPERM":
        yield epoll(f"accept4:error={error}:when=1+2")
    for call in "epoll_pwait2", "epoll_wait", "epoll_ctl", "recvfrom", "accept4", "connect":
        yield epoll(f"{call}:delay_enter=2000:when=1+4")


def cases_of_both():
    for port in PORTS:
        def both(*inject, port=port, **how):
            return Case(port, inject, **how)

        # The wake device and the parkers.
        yield both("eventfd2:error=EMFILE", allowed=("EMFILE",))
        yield both("eventfd2:error=ENOMEM:when=2", allowed=("ENOMEM",))
        yield both("write:error=EINTR:when=1+2")
        yield both("read:error=EINTR:when=20+2", must_hit=False)
        yield both("write:delay_enter=2000:when=1+3")
        yield both("read:delay_exit=2000:when=20+3", must_hit=False)
        yield both("futex:delay_enter=2000:when=2+3")
        yield both("futex:delay_exit=2000:when=2+3")
        # Threads, signals, the nudge.
        yield both("clone3:error=EAGAIN", allowed=("EAGAIN",))
        yield both("clone3:error=EAGAIN:when=2", allowed=("EAGAIN",))
        yield both("clone3:error=EAGAIN:when=3")
        yield both("sigaltstack:error=ENOMEM")
        yield both("membarrier:error=EPERM")
        yield both("membarrier:error=ENOSYS")
        yield both("membarrier:error=EINVAL:when=2+")
        yield both("sched_getaffinity:error=EPERM", must_hit=False)
        yield both("rseq:error=ENOSYS", must_hit=False)
        # Stacks.
        for error in "ENOMEM", "EINTR", "EAGAIN":
            # EINTR, EAGAIN: a weaker guard; but a ring that children would share is refused.
            yield both(f"madvise:error={error}:when=20+2", allowed=("ENOMEM", error))
        yield both("close:delay_enter=1000:when=3+3")
        yield both("socket:error=ENOBUFS:when=4", allowed=("ENOBUFS",))
        yield both("pipe2:error=ENFILE", allowed=("ENFILE",))


SCANNED = {
    "mmap": ("ENOMEM",), "mprotect": ("ENOMEM",), "openat": ("EMFILE", "ENOENT", "EACCES"),
    "eventfd2": ("EMFILE", "ENFILE"), "epoll_create1": ("EMFILE", "ENFILE"),
    "io_uring_setup": ("ENFILE", "EMFILE"), "socketpair": ("EMFILE",), "socket": ("ENFILE",),
    "fcntl": ("EINTR",), "setsockopt": ("ENOBUFS",), "bind": ("EADDRINUSE",),
    "listen": ("EADDRINUSE",), "getsockname": ("ENOBUFS",), "lseek": ("EINTR",),
}


def cases_of_scans(program):
    """The n-th call of the program itself fails, for each n: by its main thread, or by a worker."""
    for call, errors in SCANNED.items():
        for port in PORTS:
            first, last = own_calls(program, port, call)
            for number in range(first, max(last, first + 1) + 1, 4 if QUICK else 1):
                error = errors[number % len(errors)]
                yield Case(port, (f"{call}:error={error}:when={number}",),
                           allowed=(error, "EAGAIN"), must_hit=False)


# --- Running ----------------------------------------------------------------------------------------


@dataclass
class Run:
    status: object  # None: too late
    output: str
    trace: str
    errors: str


def run(program, port, inject=(), trace=()):
    env = dict(os.environ, JACKDAW_REACTOR=port or "auto")
    if "signal=" in str(inject):
        env["TRAFFIC_SIGNAL"] = "1"
    env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
    calls = sorted({text.split(":")[0] for text in inject} | set(trace))
    with tempfile.NamedTemporaryFile("r", encoding="utf-8", errors="replace") as log:
        command = ["strace", "-f", "--seccomp-bpf", "-qqq", "-o", log.name]
        if calls:
            command += ["-e", "trace=" + ",".join(calls)]
            command += [word for text in inject for word in ("-e", "inject=" + text)]
            command += ["--", program]
        else:
            command = [program]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, env=env, start_new_session=True)
        try:
            output, errors = process.communicate(timeout=SECONDS * factor())
            status = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, errors = process.communicate()
            status = None
        return Run(status, output, log.read(), errors)


def factor():
    return float(os.environ.get("JD_TEST_TIMEOUT_FACTOR", "1"))


def last_line(text):
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""


def own_calls(program, port, call):
    """Which calls of the main thread are the program's own: behind its getppid()."""
    trace = run(program, port, trace=(call, "getppid")).trace
    main = trace.split(maxsplit=1)[0]
    calls = [line.split()[1] for line in trace.splitlines() if line.split()[0] == main]
    before = next(i for i, text in enumerate(calls) if text.startswith("getppid"))
    return before + 1, sum(text.startswith(call + "(") for text in calls)


def judge(case, result, totals):
    """What is wrong, or an empty string."""
    if result.status is None:
        return f"it hangs: {last_line(result.output)}"
    if case.must_hit and not HIT.search(result.trace):
        return "nothing was injected"
    line = last_line(result.output)
    if result.status == STATUS_FAILED and line.split()[-1] in case.allowed:
        return ""
    if result.status != 0:
        return f"status {result.status}: {line}"
    if line != totals:
        return f"wrong totals: {line}"
    if case.reactor and f"reactor {case.reactor}" not in result.output:
        return f"not on {case.reactor}: {result.output!r}"
    return ""


def why_not(sanitized):
    """Why nothing can be injected, or an empty string."""
    if sanitized and QUICK:
        return "the quick run leaves it to the build without sanitizers"
    try:
        if subprocess.run(["strace", "-f", "--seccomp-bpf", "-qqq", "-o", "/dev/null", "-e",
                           "inject=getppid:error=EPERM", "true"], capture_output=True,
                          timeout=SECONDS).returncode == 0:
            return ""
    except FileNotFoundError:
        return "there is no strace here"
    return "ptrace is refused here"


def all_cases(program, sanitized):
    cases = [*cases_of_uring(), *cases_of_epoll(), *cases_of_both(), *cases_of_signals()]
    if sanitized:
        return [case for case in cases if case.inject[0].split(":")[0] not in CHECKED]
    return [*cases, *cases_of_scans(program)]


def main():
    program = sys.argv[1]
    only = sys.argv[sys.argv.index("--only") + 1] if "--only" in sys.argv else ""
    sanitized = "--sanitized" in sys.argv
    first = run(program, "epoll")
    totals = last_line(first.output)
    uring = "reactor io_uring" in run(program, "").output
    refused = why_not(sanitized)
    cases = [Case(port, (), must_hit=False) for port in PORTS]
    if not refused:
        cases += all_cases(program, sanitized)
    cases = [case for case in cases if only in case.name]
    print(f"1..{len(cases) + bool(refused)}")
    red = 0
    for number, case in enumerate(cases, 1):
        if not uring and case.port != "epoll":
            print(f"ok {number} {case.name} # SKIP no io_uring here")
            continue
        for _ in range(TRIES):
            result = run(program, case.port, case.inject)
            if not case.must_hit or result.status is None or HIT.search(result.trace):
                break
        wrong = judge(case, result, totals) if totals.startswith("total") else \
            f"no totals to compare: {first}"
        print("not ok" if wrong else "ok", number, case.name, flush=True)
        if wrong or "--verbose" in sys.argv:
            print(f"# {wrong or last_line(result.output)}")
            print(*(f"#   {text}" for text in result.errors.splitlines()[-12:]), sep="\n")
        red += bool(wrong)
    if refused:
        print(f"ok {len(cases) + 1} inject # SKIP {refused}")
    return 1 if red else 0


if __name__ == "__main__":
    sys.exit(main())
