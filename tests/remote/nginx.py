# SPDX-License-Identifier: MIT
"""An nginx on free ports of the loopback, with a configuration written here, and its access log.

Used by check_nginx.py and by benchmarks/remote. Nothing is left when the `with` block ends.
"""
import collections
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

from watch import wait_until

FORMAT = ("log_format rows escape=json '{\"at\":$msec,\"took\":$request_time,\"status\":$status,"
          "\"connection\":$connection,\"uri\":\"$request_uri\",\"method\":\"$request_method\","
          "\"protocol\":\"$server_protocol\",\"mine\":\"$http_x_mine\","
          "\"length\":\"$content_length\",\"completed\":\"$request_completion\"}';")
MAIN = """daemon off;
master_process {master};
worker_processes {workers};
pid {folder}/pid;
error_log {folder}/error.log;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
    {format}
    access_log {log};
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 10000000;
    limit_conn_zone $server_port zone=calls:1m;
    limit_conn_status 599;
    map $connection_requests $is_first {{ 1 1; default 0; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        {tls}
        root {folder}/files;
        {server}
    }}
}}
"""
TLS = """listen 127.0.0.1:{port} ssl http2;
        ssl_certificate {folder}/cert.pem;
        ssl_certificate_key {folder}/key.pem;"""

Row = collections.namedtuple("Row", "at took status connection uri method protocol mine length completed")


def missing():
    """The name of a program that these tests need and that is not there, or None."""
    return next((name for name in ("nginx", "openssl")
                 if not shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")), None)


def program(name):
    return shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def make_certificate(folder):
    subprocess.run([program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                    "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
                    "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"],
                   check=True, capture_output=True)


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Nginx:
    """server: what stands in the server block; files: name -> bytes."""

    def __init__(self, server, files=None, tls=False, workers=1, logs=True):
        self.server, self.files, self.tls, self.workers, self.logs = server, files, tls, workers, logs
        self.process = None

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="jackdaw-nginx-"))
        self.folder.chmod(0o755)  # nginx's workers are another user when root starts it
        (self.folder / "files").mkdir()
        for name, data in (self.files or {}).items():
            (self.folder / "files" / name).write_bytes(data)
        if self.tls:
            make_certificate(self.folder)
        for _ in range(5):  # somebody else may take a port that was free
            if self.start():
                return self
        raise RuntimeError(f"nginx does not start: {self.error}")

    def start(self):
        self.port, self.tls_port = free_ports(2)
        tls = TLS.format(port=self.tls_port, folder=self.folder) if self.tls else ""
        (self.folder / "nginx.conf").write_text(MAIN.format(
            folder=self.folder, port=self.port, tls=tls, server=self.server.replace("@folder", str(self.folder)),
            workers=self.workers,
            format=FORMAT, master="on" if self.workers > 1 else "off",
            log=f"{self.folder}/access.log rows" if self.logs else "off"))
        self.process = subprocess.Popen(
            [program("nginx"), "-p", self.folder, "-c", self.folder / "nginx.conf"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        # The file with its number comes when it listens.
        if wait_until(lambda: answers(self.port), self.folder, 20, self.process):
            return True
        self.error = self.stop()
        return False

    def stop(self):
        self.process.terminate()
        return self.process.communicate()[1].decode(errors="replace")

    def __exit__(self, *ended):
        self.stop()
        shutil.rmtree(self.folder)

    def url(self, path, tls=False):
        return (f"https://127.0.0.1:{self.tls_port}{path}" if tls
                else f"http://127.0.0.1:{self.port}{path}")

    def rows(self):
        """Of the access log; nginx writes a row when a request has ended, perhaps a moment later."""
        path = self.folder / "access.log"
        text = path.read_text() if path.exists() else ""
        return [Row(**json.loads(line)) for line in text.splitlines()]

    def wait_rows(self, count, seconds=10):
        lines = 0

        def are_there():
            nonlocal lines
            lines += log.read().count(b"\n")
            return lines >= count

        with open(self.folder / "access.log", "rb") as log:
            wait_until(are_there, self.folder, seconds)
        return self.rows()

    def forget(self):
        path = self.folder / "access.log"
        if path.exists():
            os.truncate(path, 0)

    def worker_pids(self):
        kids = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in kids.split()] or [self.process.pid]


def at_once(rows):
    """Requests at once, from below: nginx's clock ticks in ms, so each is taken 2 ms shorter."""
    steps = sorted(step for row in rows
                   for step in ((row.at - row.took + 0.001, 1), (row.at - 0.001, -1)))
    now = most = 0
    for _, change in steps:
        now += change
        most = max(most, now)
    return most
