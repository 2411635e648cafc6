#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`jackdaw batch` against nginx, wrk and `xargs curl` on this machine: what must hold, and by how much.

usage: run.py JACKDAW [throughput|interrupts|million]...      all three; needs nginx, wrk, curl

  throughput  100,000 GETs at --limit 200: never more than 200 at once at the server (nginx itself
              refuses the 201st), RSS below 40 MiB, at least 10 x `xargs -P200 -n1 curl` and
              0.25 x `wrk -c200`
  interrupts  50 runs are interrupted at a random moment, every other one twice, and resumed: each URL
              has one result in the end; after one interrupt nginx saw each URL once
  million     1,000,000 URLs from a pipe in flat memory

JACKDAW_BENCH_SCALE=0.1 makes all of it smaller. Exit status 1 when something does not hold. Numbers of
a machine that does other things at the same time are worth little: the ratios less so than the rates.
"""
import collections
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/remote"))
import nginx  # noqa: E402

SCALE = float(os.environ.get("JACKDAW_BENCH_SCALE", "1"))
LIMIT = 200
RSS_MAX_KIB = 40 * 1024
BODY = b"x" * 200
failed = []


def claim(holds, text):
    print(f"{'holds' if holds else 'FAILS'}  {text}", flush=True)
    if not holds:
        failed.append(text)


def status_field(pid, name):
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    line = next((line for line in text.splitlines() if line.startswith(name + ":")), None)
    return int(line.split()[1]) if line else None


class Watched:
    """A run of the program, its memory looked at every 10 ms."""

    def __init__(self, words, stdin=subprocess.DEVNULL):
        self.samples, started = [], time.monotonic()
        process = subprocess.Popen(words, stdin=stdin, stdout=subprocess.PIPE, text=True)
        while process.poll() is None:
            rss = status_field(process.pid, "VmRSS")
            if rss:
                self.samples.append((time.monotonic() - started, rss))
            self.peak = status_field(process.pid, "VmHWM") or getattr(self, "peak", 0)
            time.sleep(0.01)
        self.seconds = time.monotonic() - started
        self.status, self.summary = process.returncode, json.loads(process.stdout.read())


def url_file(folder, server, count, path="/file"):
    file = pathlib.Path(folder, "urls")
    file.write_text("".join(f"{server.url(path)}?{i}\n" for i in range(count)))
    return file


def server(location, **more):
    return nginx.Nginx(f"keepalive_timeout 60; location / {{ {location} }}", {"file": BODY}, **more)


def bound_and_memory(jackdaw, folder):
    count = int(100000 * SCALE)
    # One worker: with two, one may still count a request whose answer the client has.
    with server(f"limit_conn calls {LIMIT};") as s:
        file = url_file(folder, s, count)
        run = Watched([jackdaw, "batch", "--json", "--urls", file, "--limit", str(LIMIT), "--output",
                       f"{folder}/results"])
        rows = s.wait_rows(count, 60)
        refused = sum(row.status != 200 for row in rows)
        claim(refused == 0 and len(rows) == count,
              f"{len(rows)} of {count} GETs at nginx, {refused} refused as number {LIMIT + 1}")
        claim(set(collections.Counter(row.uri for row in rows).values()) == {1},
              "each URL was asked for once")
    claim(run.status == 0 and run.summary["ok"] == count, f"{run.summary['ok']} ok")
    claim(run.peak < RSS_MAX_KIB, f"peak RSS {run.peak / 1024:.1f} MiB, below 40")


def xargs_rate(file, count):
    head = "".join(file.read_text().splitlines(keepends=True)[:count])
    started = time.monotonic()
    subprocess.run(["xargs", "-P", str(LIMIT), "-n", "1", "curl", "-s", "-o", "/dev/null"],
                   input=head, text=True, check=True)
    return count / (time.monotonic() - started)


def wrk_rate(url):
    out = subprocess.run(["wrk", f"-c{LIMIT}", "-t2", "-d2s", url], check=True, capture_output=True,
                         text=True).stdout
    return float(next(line for line in out.splitlines() if "Requests/sec" in line).split()[1])


def throughput(jackdaw):
    with tempfile.TemporaryDirectory() as folder:
        bound_and_memory(jackdaw, folder)
        for workers in (1, 2):
            with server("", workers=workers, logs=False) as s:
                file = url_file(folder, s, int(100000 * SCALE))
                words = [jackdaw, "batch", "--json", "--urls", file, "--limit", str(LIMIT)]
                # In turn, and the best of each: what else the machine does meets all of them.
                rates = [(wrk_rate(s.url("/file")), Watched(words).summary["calls_per_second"])
                         for _ in range(5)]
                curl = xargs_rate(file, max(400, int(2000 * SCALE)))
            wrk, ours = (max(column) for column in zip(*rates))
            print(f"nginx with {workers} worker{'s' * (workers > 1)}: jackdaw {ours:.0f}/s, "
                  f"wrk {wrk:.0f}/s, xargs curl {curl:.0f}/s; all: "
                  + ", ".join(f"{b:.0f} beside {a:.0f}" for a, b in rates))
            claim(ours >= 10 * curl, f"{ours / curl:.1f} x xargs -P{LIMIT} curl, at least 10")
            claim(ours >= 0.25 * wrk, f"{ours / wrk:.2f} x wrk -c{LIMIT}, at least 0.25")


def interrupted(jackdaw, file, results, rng, seconds, twice):
    process = subprocess.Popen([jackdaw, "batch", "--json", "--urls", file, "--limit", str(LIMIT),
                                "--output", results], stdout=subprocess.PIPE, text=True)
    time.sleep(rng.uniform(0, seconds))
    process.send_signal(signal.SIGINT)
    if twice:
        time.sleep(rng.uniform(0, 0.02))
        process.send_signal(signal.SIGINT)
    out = process.communicate(timeout=60)[0]
    return process.returncode, json.loads(out) if out else None


def read_numbers(results):
    return [json.loads(line)["n"] for line in results.read_text().splitlines()] \
        if results.exists() else []


def quiet_rows(s):
    """When nginx has dealt with all that it was sent, also by a client that has gone."""
    rows, before = s.rows(), -1
    while len(rows) != before:
        before = len(rows)
        time.sleep(0.5)
        rows = s.rows()
    return rows


def interrupt_once(jackdaw, s, folder, rng, seconds, count, twice):
    """How many were done and how many cancelled; None: something is wrong."""
    results = pathlib.Path(folder, "results")
    results.unlink(missing_ok=True)
    s.forget()
    status, summary = interrupted(jackdaw, f"{folder}/urls", results, rng, seconds, twice)
    first = read_numbers(results)
    told = len(first) == (summary["ok"] + summary["failed"] if summary else 0)
    end = subprocess.run([jackdaw, "batch", "--json", "--urls", f"{folder}/urls", "--limit", str(LIMIT),
                          "--resume", results], capture_output=True, text=True)
    second = json.loads(end.stdout)
    each_once = sorted(read_numbers(results)) == list(range(count))
    asked = collections.Counter(row.uri for row in quiet_rows(s))
    repeated = sum(n - 1 for n in asked.values())
    cancelled = summary["cancelled"] if summary else 0
    right = (told and each_once and end.returncode == 0 and second["skipped"] == len(first)
             and second["ok"] == count - len(first) and len(asked) == count
             and repeated <= cancelled and (twice or cancelled == 0) and status in (0, 130, -2))
    if not right:
        print(f"  status {status}, twice {twice}: {len(first)} done, {cancelled} cancelled, told {told}; "
              f"{len(asked)} asked for, {repeated} again; resumed: {end.returncode}, each once "
              f"{each_once}, {second['skipped']} skipped, {second['ok']} ok {end.stderr}")
    return (len(first), cancelled) if right else None


def interrupts(jackdaw):
    rng = random.Random(int(os.environ.get("JD_TEST_SEED", time.time_ns())))
    rounds, count = max(4, int(50 * SCALE)), 6000
    with tempfile.TemporaryDirectory() as folder, server("") as s:
        file = url_file(folder, s, count)
        started = time.monotonic()
        subprocess.run([jackdaw, "batch", "--json", "--urls", file, "--limit", str(LIMIT)], check=True,
                       capture_output=True)
        seconds = time.monotonic() - started
        ends = [interrupt_once(jackdaw, s, folder, rng, seconds, count, i % 2 == 1)
                for i in range(rounds)]
    right = [end for end in ends if end]
    amid = sum(0 < done < count for done, _ in right)
    claim(len(right) == rounds, f"{len(right)} of {rounds} interrupted runs were completed by --resume, "
          f"each URL once ({amid} stopped between first and last, {sum(c for _, c in right)} calls "
          "cancelled by a second Ctrl-C)")


def million(jackdaw):
    count = int(1000000 * SCALE)
    with tempfile.TemporaryDirectory() as folder, server("", logs=False) as s:
        seq = subprocess.Popen(["seq", "-f", s.url("/file?%.0f"), str(count)], stdout=subprocess.PIPE)
        run = Watched([jackdaw, "batch", "--json", "--urls", "-", "--limit", str(LIMIT), "--output",
                       f"{folder}/results"], stdin=seq.stdout)
        seq.wait()
    claim(run.status == 0 and run.summary["ok"] == count,
          f"{run.summary['ok']} of {count} URLs from a pipe in {run.seconds:.1f} s")
    early = max(rss for at, rss in run.samples if at <= run.seconds / 10)
    claim(run.peak <= early + 2048, f"RSS after a tenth {early / 1024:.1f} MiB, at most "
          f"{run.peak / 1024:.1f} MiB: flat within 2 MiB")


def main():
    absent = nginx.missing() or next((name for name in ("wrk", "curl", "xargs")
                                      if not shutil.which(name)), None)
    if len(sys.argv) < 2 or absent:
        sys.exit(f"{absent} is not installed" if absent else __doc__)
    jackdaw = str(pathlib.Path(sys.argv[1]).resolve())
    for name in sys.argv[2:] or ["throughput", "interrupts", "million"]:
        {"throughput": throughput, "interrupts": interrupts, "million": million}[name](jackdaw)
    print(f"{len(failed)} of the claims fail" if failed else "all claims hold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
