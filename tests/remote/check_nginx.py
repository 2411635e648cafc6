#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`jackdaw batch` against nginx: what the program says is held against nginx's own access log.

usage: check_nginx.py JACKDAW [NAME...]      TAP; all is skipped when nginx or openssl is missing
"""
import collections
import contextlib
import inspect
import itertools
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import nginx  # noqa: E402
from watch import wait_until  # noqa: E402

SLOW = 30000  # bytes, in chunks of 10 kB with pauses of 0.1 s: limit_rate counts in chunks
SERVER = """
        keepalive_timeout 60;
        sendfile on;
        sendfile_max_chunk 10k;
        location /fast { return 200 "fast\\n"; }
        location /slow { limit_rate 100k; alias @folder/files/slow; }
        location /short { limit_rate 1000k; alias @folder/files/slow; }
        location /never { limit_rate 1; alias @folder/files/slow; }
        location /busy { return 503; }
        location /gone { return 404; }
        location /later { if ($is_first) { add_header Retry-After 1 always; return 503; }
                          return 200 "later\\n"; }
        location /first { if ($is_first) { return 503; } return 200 "not first\\n"; }
        location /once { keepalive_timeout 0; return 200 "once\\n"; }
        location /seven { limit_conn calls 7; limit_rate 100k; alias @folder/files/slow; }
"""
PATIENCE = 30 * int(os.environ.get("JD_TEST_TIMEOUT_FACTOR", "1"))
SUPPRESSIONS = "called_from_lib:libcurl\nrace:^on_socket$\n"  # why: tests/remote/test_curl.c


class Run:
    """One run of the program that has ended."""

    def __init__(self, process, out, err, results):
        self.status, self.out, self.err = process.returncode, out, err
        self.lines = read_results(results) if results and results.exists() else []
        self.by_number = {line["n"]: line for line in self.lines}

    def summary(self):
        return json.loads(self.out)


def read_results(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


class Bench:
    """The program, a folder for its files, the server."""

    def __init__(self, jackdaw, reactor, server, folder):
        self.jackdaw, self.server, self.folder = jackdaw, server, folder
        suppressions = folder / "tsan.supp"
        suppressions.write_text(SUPPRESSIONS)
        self.env = {**os.environ, "JACKDAW_REACTOR": reactor,
                    "TSAN_OPTIONS": f"{os.environ.get('TSAN_OPTIONS', '')}:suppressions={suppressions}"}

    def urls(self, path, count, tls=False):
        return [self.server.url(f"{path}?{i}", tls) for i in range(count)]

    def start(self, *words, stdin=subprocess.DEVNULL):
        return subprocess.Popen([self.jackdaw, "batch", "--json", *map(str, words)], env=self.env,
                                stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def end(self, process, results=None):
        out, err = process.communicate(timeout=PATIENCE)
        return Run(process, out, err, results)

    def file(self, name, urls):
        path = self.folder / name
        path.write_text("".join(f"{url}\n" for url in urls))
        return path

    def run(self, urls, *words):
        """With the URLs in a file and results in another."""
        results = self.folder / "results"
        results.unlink(missing_ok=True)
        words = ("--urls", self.file("urls", urls), "--output", results, *words)
        return self.end(self.start(*words), results)


def same(got, wanted, what=""):
    if got != wanted:
        raise AssertionError(f"{what}: {got!r}, not {wanted!r}")


def within(low, got, high, what=""):
    if not low <= got <= high:
        raise AssertionError(f"{what}: {got!r}, not {low!r} .. {high!r}")


def uris(rows):
    return collections.Counter(row.uri for row in rows)


def check_each_url_is_called_once(b):
    urls = b.urls("/fast", 2000)
    run = b.run(urls, "--limit", 20)
    rows = b.server.wait_rows(2000)
    same(run.status, 0, run.err)
    same(sorted(run.by_number), list(range(2000)), "numbers")
    same(len(run.lines), 2000, "results")
    same([run.by_number[i]["url"] for i in range(2000)], urls, "URLs")
    same({(line["ok"], line["status"], line["bytes"], line["attempts"]) for line in run.lines},
         {(True, 200, 5, 1)}, "outcomes")
    same(uris(rows), collections.Counter(f"/fast?{i}" for i in range(2000)), "nginx's totals")
    within(1, len({row.connection for row in rows}), 20, "connections")
    summary = run.summary()
    same((summary["ok"], summary["failed"], summary["bytes"]), (2000, 0, 10000), "summary")


def check_the_limit_holds_at_the_server(b):
    run = b.run(b.urls("/seven", 42), "--limit", 7)
    rows = b.server.wait_rows(42)
    same(collections.Counter(row.status for row in rows), {200: 42}, "599 is an eighth at once")
    within(6, nginx.at_once(rows), 7, "at once by the log")
    same(run.summary()["at_once_max"]["client"], 7, "at once")
    same({line["bytes"] for line in run.lines}, {SLOW}, "bytes")
    over = b.run(b.urls("/seven", 24), "--limit", 12)
    within(1, over.summary()["failed"], 23, "the server's own bound tells when ours is higher")


def check_retries_are_what_nginx_saw(b):
    words = ("--limit", 4, "--attempts", 4, "--retry-budget", 1000)
    run = b.run(b.urls("/first", 30), *words)
    rows = b.server.wait_rows(30)
    same(run.status, 0, run.err)
    seen = uris(rows)
    same([run.by_number[i]["attempts"] for i in range(30)],
         [seen[f"/first?{i}"] for i in range(30)], "attempts")
    within(31, len(rows), 34, "requests: one 503 for each connection")
    same(run.summary()["retried"], len(rows) - 30, "retried")
    b.server.forget()
    run = b.run(b.urls("/busy", 5), *words)
    same(run.status, 1)
    same({(line["ok"], line["status"], line["error"], line["attempts"]) for line in run.lines},
         {(False, 503, "HTTP status 503", 4)}, "outcomes")
    same(uris(b.server.wait_rows(20)), collections.Counter({f"/busy?{i}": 4 for i in range(5)}),
         "requests")
    b.server.forget()
    run = b.run(b.urls("/gone", 5), *words)
    same({(line["status"], line["attempts"]) for line in run.lines}, {(404, 1)}, "404 is an answer")


def check_retry_after_is_honoured(b):
    started = time.monotonic()
    run = b.run(b.urls("/later", 1), "--attempts", 2)
    same(run.lines[0]["status"], 200)
    within(1, time.monotonic() - started, PATIENCE, "seconds")
    within(0.95, abs(b.server.wait_rows(2)[1].at - b.server.rows()[0].at), PATIENCE, "between")


def check_deadlines_end_transfers(b):
    started = time.monotonic()
    run = b.run(b.urls("/never", 6), "--timeout", 0.3, "--attempts", 2, "--retry-budget", 1000,
                "--limit", 6)
    took = time.monotonic() - started
    same(run.status, 1)
    same({(line["ok"], line["attempts"]) for line in run.lines}, {(False, 2)}, "outcomes")
    within(300, min(line["ms"] for line in run.lines), 3000, "ms")
    same(run.summary()["timed_out"], 12, "timed out")
    within(0.6, took, PATIENCE, "seconds")
    rows = b.server.wait_rows(12)
    same(uris(rows), collections.Counter({f"/never?{i}": 2 for i in range(6)}), "requests")
    same({row.completed for row in rows}, {""}, "nginx saw the connections end")


def check_without_keep_alive(b):
    run = b.run(b.urls("/once", 200), "--limit", 10)
    rows = b.server.wait_rows(200)
    same(run.status, 0, run.err)
    same(len({row.connection for row in rows}), 200, "connections")


def check_tls_and_http2(b):
    refused = b.run(b.urls("/fast", 3, tls=True))
    same(refused.status, 1)
    same({(line["ok"], line["status"]) for line in refused.lines}, {(False, 0)}, "outcomes")
    same(b.server.rows(), [], "no request without trust")
    for trust in (("--cacert", b.server.folder / "cert.pem"), ("--insecure",)):
        b.server.forget()
        run = b.run(b.urls("/fast", 100, tls=True), "--limit", 10, *trust)
        same(run.status, 0, run.err)
        rows = b.server.wait_rows(100)
        same({row.protocol for row in rows}, {"HTTP/2.0"}, "protocol")
        same(len(uris(rows)), 100, "requests")


def check_what_is_sent(b):
    data = b.folder / "data"
    data.write_bytes(b"x" * 5000)
    run = b.run(b.urls("/fast", 3), "--data", f"@{data}", "--header", "X-Mine: jackdaw")
    same(run.status, 0, run.err)
    same({(row.method, row.length, row.mine) for row in b.server.wait_rows(3)},
         {("POST", "5000", "jackdaw")})
    b.server.forget()
    b.run(b.urls("/fast", 3), "--method", "DELETE")
    same({row.method for row in b.server.wait_rows(3)}, {"DELETE"})


def check_failures_are_counted_and_named(b):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # not listening
        refused = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        urls = [b.server.url("/fast"), "no url at all", refused, "gopher://127.0.0.1/",
                b.server.url("/gone"), "", "# a comment", b.server.url("/" + "x" * 70000),
                'http://127.0.0.1:1/"quoted"\\', b.server.url("/fast?last")]
        (b.folder / "latin").write_bytes(b"http://127.0.0.1:1/\xff\xed\xa0\x80\n"
                                          b"http://127.0.0.1:1/\xc3\xa4\n")
        results = b.folder / "results"
        run = b.end(b.start("--urls", "/nowhere/urls", "--urls", b.file("urls", urls), "--urls",
                            b.folder, "--urls", b.folder / "latin", "--output", results), results)
    same(run.status, 1)
    same([run.by_number[i]["ok"] for i in range(10)], [True] + [False] * 6 + [True] + [False] * 2,
         "outcomes")
    same(run.by_number[3]["status"], 0)
    same(run.by_number[3]["error"] != "", True)
    same(run.by_number[6]["url"], 'http://127.0.0.1:1/"quoted"\\')
    same(run.by_number[8]["url"], "http://127.0.0.1:1/\u00ff\u00ed\u00a0\u0080", "bytes")
    same(run.by_number[9]["url"], "http://127.0.0.1:1/\u00e4", "a text")
    for named in ("/nowhere/urls", str(b.folder)):
        same(f"cannot read '{named}'" in run.err, True, run.err)
    summary = run.summary()
    same((summary["count"], summary["ok"], summary["failed"], summary["unreadable"]), (10, 2, 8, 2))
    same(sum(each["count"] for each in summary["errors"]), 8)
    for each in summary["errors"]:
        same(any(line["url"].startswith(each["example"][:200]) for line in run.lines), True, each)
    same("no url at all" in {each["example"] for each in summary["errors"]}, True, "the only one")


def interrupt(b, urls, *words):
    """Interrupts a run when some results are there; then resumes it."""
    results = b.folder / "results"
    results.unlink(missing_ok=True)
    words = ("--urls", b.file("urls", urls), "--limit", 5, *words)
    process = b.start(*words, "--output", results)
    if not wait_until(lambda: results.exists() and results.stat().st_size >= 1000, b.folder, PATIENCE,
                      process):
        process.kill()
        raise AssertionError(process.communicate())
    process.send_signal(signal.SIGINT)
    first = b.end(process, results)
    return first, b.end(b.start(*words, "--resume", results), results)


def check_an_interrupt_drains_and_resume_completes(b):
    urls = b.urls("/short", 300)  # 30 ms each
    first, second = interrupt(b, urls)
    same(first.status, 130, first.err)
    summary = first.summary()
    same(summary["interrupted"], True)
    within(5, len(first.lines), 299, "done before")
    same((summary["pulled"], summary["ok"]), (len(first.lines),) * 2, "what was pulled is done")
    same(second.status, 0, second.err)
    same(second.summary()["skipped"], len(first.lines))
    same(sorted(line["n"] for line in second.lines), list(range(300)), "each once")
    same(uris(b.server.wait_rows(300)), collections.Counter(f"/short?{i}" for i in range(300)),
         "nginx's totals")


def runs_for(process, seconds):
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def is_pending(process, number):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    pending = next(line.split()[1] for line in status.splitlines() if line.startswith("ShdPnd:"))
    return bool(int(pending, 16) >> (number - 1) & 1)


def send_and_see_taken(process, number):
    """The next one would not be queued while this one is pending. Nothing tells when it no longer is, so
    that is looked at until it is so, while the process runs."""
    end = time.monotonic() + PATIENCE
    process.send_signal(number)
    while is_pending(process, number):
        if not runs_for(process, 0.01) or time.monotonic() > end:
            raise AssertionError(f"signal {number} is pending, status {process.poll()}")


def check_a_second_interrupt_stops(b):
    results = b.folder / "results"
    with contextlib.ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=20))
        silent.settimeout(PATIENCE)
        never = f"http://127.0.0.1:{silent.getsockname()[1]}/never"
        urls = b.urls("/short", 100) + [f"{never}?{i}" for i in range(20)]
        process = b.start("--urls", b.file("urls", urls), "--limit", 10, "--output", results)
        stack.callback(process.kill)
        for _ in range(10):  # when these have all the places, the others have ended
            stack.enter_context(silent.accept()[0])
        send_and_see_taken(process, signal.SIGINT)
        same(runs_for(process, 0.3), True, "the first one waits for what is in flight")
        process.send_signal(signal.SIGINT)
        run = b.end(process, results)
    same(run.status, 130, run.err)
    same(sorted(line["n"] for line in run.lines), list(range(100)), "each done URL, once")
    summary = run.summary()
    same((summary["ok"], summary["failed"], summary["cancelled"]), (100, 0, summary["pulled"] - 100))


def check_two_interrupts_lose_no_result(b):
    """Lines that wait in memory when the batch is cancelled are written all the same."""
    results = b.folder / "results"
    urls = b.file("urls", b.urls("/fast", 20000))
    for _ in range(4):
        results.unlink(missing_ok=True)
        b.server.forget()
        process = b.start("--urls", urls, "--limit", 50, "--output", results)
        b.server.wait_rows(500)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)  # another one: the same would not be queued twice
        run = b.end(process, results)
        summary = run.summary()
        same(run.status, 130, run.err)
        same(len(run.lines), summary["ok"] + summary["failed"], "results")
        same(summary["pulled"], len(run.lines) + summary["cancelled"], "pulled")


def check_an_interrupt_ends_the_wait_for_a_pipe(b):
    results = b.folder / "results"
    process = b.start("--urls", "-", "--output", results, stdin=subprocess.PIPE)
    process.stdin.write(f"{b.server.url('/fast')}\n{b.server.url('/fast?2')}\n")
    process.stdin.flush()
    b.server.wait_rows(2)
    process.send_signal(signal.SIGTERM)
    run = b.end(process, results)
    same(run.status, 130, run.err)
    same(len(run.lines), 2, "results")


def check_resume_mends_what_a_killed_run_left(b):
    urls = b.urls("/fast", 10)
    full = b.run(urls)
    results = b.folder / "results"
    lines = sorted(results.read_text().splitlines(keepends=True), key=lambda x: json.loads(x)["n"])
    results.write_text("".join(lines[:4]) + lines[4][:30])
    b.server.forget()
    urls[2] = b.server.url("/fast?changed")
    run = b.end(b.start("--urls", b.file("urls", urls), "--resume", results), results)
    same(run.status, 0, run.err + full.err)
    same(run.summary()["skipped"], 3, "not the one whose URL is another now")
    same(uris(b.server.wait_rows(7)), collections.Counter(
        ["/fast?changed"] + [f"/fast?{i}" for i in range(4, 10)]))
    results.write_text("something else\n")
    run = b.end(b.start("--urls", b.file("urls", urls), "--resume", results))
    same(run.status, 2, run.err)
    same(results.read_text(), "something else\n", "it is not ours")


def check_results_that_cannot_be_written_end_the_run(b):
    run = b.end(b.start("--urls", b.file("urls", b.urls("/fast", 20000)), "--output", "/dev/full"))
    same(run.status, 1)
    same(run.summary()["error"], 28, "ENOSPC")


def check_order(b):
    urls = [b.server.url("/slow" if i % 10 == 0 else f"/fast?{i}") for i in range(60)]
    run = b.run(urls, "--ordered", "--limit", 20)
    same([line["n"] for line in run.lines], list(range(60)), "order")


def check_rate(b):
    run = b.run(b.urls("/fast", 60), "--rate", 100, "--limit", 30)
    same(run.status, 0, run.err)
    within(100, run.summary()["token_wait_ms"]["p50"], PATIENCE * 1000, "up to 30 wait, 10 ms each")
    rows = sorted(row.at for row in b.server.wait_rows(60))
    within(0.55, rows[-1] - rows[0], PATIENCE, "seconds for 60 at 100/s")
    for i in range(len(rows) - 10):  # nginx's clock ticks in ms, and the machine may lag
        within(0, sum(rows[i] <= at < rows[i] + 0.1 for at in rows), 25, "in 0.1 s")


def check_hedges(b):
    run = b.run(b.urls("/slow", 10), "--hedge", 50, "--limit", 30)
    same(run.status, 0, run.err)
    within(11, len(b.server.wait_rows(11)), 20, "requests")
    same(len(run.lines), 10, "one outcome each")


def check_per_host(b):
    other = f"http://localhost:{b.server.port}"
    urls = b.urls("/slow", 12) + [f"{other}/slow?other{i}" for i in range(12)]
    run = b.run(urls, "--per-host", 3, "--limit", 12)
    same(run.status, 0, run.err)
    within(400, run.summary()["slot_wait_ms"]["max"], PATIENCE * 1000, "for three before it")
    rows = b.server.wait_rows(24)
    ours = [row for row in rows if "other" not in row.uri]
    within(2, nginx.at_once(ours), 3, "of one host")
    within(4, nginx.at_once(rows), 6, "of both")


@contextlib.contextmanager
def bench(jackdaw, reactor, server):
    with tempfile.TemporaryDirectory() as folder:
        server.forget()
        yield Bench(jackdaw, reactor, server, pathlib.Path(folder))


def run_check(check, jackdaw, reactor, server):
    """None, or why it failed."""
    try:
        with bench(jackdaw, reactor, server) as b:
            check(b)
    except Exception:  # whatever it is, it is this check's failure
        return traceback.format_exc()
    return None


def uring_is_refused(jackdaw):
    run = subprocess.run([jackdaw, "batch", "--count", "1"], capture_output=True, text=True,
                         env={**os.environ, "JACKDAW_REACTOR": "uring"})
    return run.returncode != 0


def main():
    jackdaw, names = sys.argv[1], sys.argv[2:]
    if nginx.missing():
        print(f"1..0 # SKIP {nginx.missing()} is not installed: ./dev setup")
        return
    checks = [(name[6:], check) for name, check in globals().items()
              if name.startswith("check_") and inspect.isfunction(check)
              and (not names or name[6:] in names)]
    reactors = ["epoll"] if uring_is_refused(jackdaw) else ["uring", "epoll"]
    quick = os.environ.get("JD_TEST_QUICK") == "1"  # each check on one port, in turn
    runs = list(zip(checks, itertools.cycle(reactors)) if quick else
                itertools.product(checks, reactors))
    print(f"1..{len(runs)}")
    files = {"slow": b"s" * SLOW}
    with nginx.Nginx(SERVER, files, tls=True) as server:
        for (name, check), reactor in runs:
            why = run_check(check, jackdaw, reactor, server)
            print("not ok" if why else "ok", f"{name.replace('_', ' ')} ({reactor})", flush=True)
            for line in (why or "").splitlines():
                print("#", line)


if __name__ == "__main__":
    main()
