"""Servers of the benchmarks, and as little of a client as the figures need."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
CAIRN = os.environ.get("CAIRN_SERVER_BIN", str(ROOT / "target" / "release" / "cairn-server"))
REDIS = os.environ.get("REDIS_SERVER_BIN", "redis-server")
TICK = os.sysconf("SC_CLK_TCK")
START_LIMIT_S = 120


class Client:
    """As little of a Redis client as the figures need."""

    def __init__(self, port, timeout=120):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    @staticmethod
    def encode(*words):
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            word = word if isinstance(word, bytes) else str(word).encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
        return b"".join(parts)

    def read(self):
        line = self.file.readline()
        if not line:
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
        return rest

    def call(self, *words):
        self.socket.sendall(self.encode(*words))
        return self.read()

    def pipeline(self, requests, window=1000):
        """Sends an iterable of encoded requests, reading replies a window behind."""
        sent = 0
        buffer = []
        for request in requests:
            buffer.append(request)
            if len(buffer) == window:
                self.socket.sendall(b"".join(buffer))
                for _ in buffer:
                    self.read()
                sent += len(buffer)
                buffer.clear()
        self.socket.sendall(b"".join(buffer))
        for _ in buffer:
            self.read()
        return sent + len(buffer)

    def info(self, section):
        text = self.call("INFO", section).decode()
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def cpu_seconds(pid):
    """Of user and system, so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server of our own on a free port, or on this one, with an empty directory."""

    def __init__(self, kind, flags, directory=None, port=None, wait=True):
        self.kind = kind
        self.directory = directory or tempfile.mkdtemp(prefix="bench-")
        self.port = port or free_port()
        binary = CAIRN if kind == "cairn" else REDIS
        command = [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.directory,
                   "--enable-debug-command", "yes", *flags]
        self.started = time.monotonic()
        self.log = open(os.path.join(self.directory, "out.txt"), "ab")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT)
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self):
        while True:
            try:
                if Client(self.port, 5).call("PING") == b"PONG":
                    break
            except (OSError, RuntimeError, ConnectionError):
                pass
            if self.process.poll() is not None or time.monotonic() - self.started > START_LIMIT_S:
                sys.exit(f"{self.kind} does not serve: see {self.directory}/out.txt")
            time.sleep(0.002)
        self.ready_after = time.monotonic() - self.started

    def client(self):
        return Client(self.port)

    def cpu_seconds(self):
        return cpu_seconds(self.process.pid)

    def rss(self):
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    def rss_of_family(self):
        """With the children: Redis's snapshot is made by a forked process; shared pages count once for each."""
        total = self.rss()
        for pid in subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True).stdout.split():
            try:
                smaps = Path(f"/proc/{pid}/smaps_rollup").read_text()
                total += 1024 * sum(int(line.split()[1]) for line in smaps.splitlines() if line.startswith("Private"))
            except OSError:
                pass
        return total

    def stop(self, keep=False):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        if not keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.log.close()
