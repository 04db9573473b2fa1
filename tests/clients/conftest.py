"""Three nodes for the client libraries: CAIRN_SERVER_BIN, on 127.0.0.1."""

import os
import pathlib
import random
import shutil
import socket
import subprocess
import time

import pytest
import redis

ROOT = pathlib.Path(__file__).parents[2]
NAME = "mymaster"
START_LIMIT_S = 30
# What a client library may take until commands succeed again after a leader was killed: the election, and its own pauses
# between attempts.
FOLLOW_LIMIT_S = 15


def free_ports(count):
    """Ports below those that the system gives to outgoing connections, each with the one for other nodes."""

    def is_free(port):
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                return False
            return True

    candidates = random.sample(range(11000, 22000), 1000)
    return [port for port in candidates if is_free(port) and is_free(port + 10000)][:count]


def poll(condition, limit_s, what):
    """The first true result of a condition."""
    deadline = time.monotonic() + limit_s
    while not (result := condition()):
        assert time.monotonic() < deadline, f"waited {limit_s} s for {what}"
        time.sleep(0.01)
    return result


class Cluster:
    """Three processes, and what they say about themselves."""

    def __init__(self, directory, flags=()):
        self.directory = directory
        self.flags = list(flags)
        self.ports = free_ports(3)
        self.processes = {}
        for port in self.ports:
            self.start(port)
        poll(self.leader, START_LIMIT_S, "a leader")

    def start(self, port):
        peers = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        binary = os.environ.get("CAIRN_SERVER_BIN", ROOT / "target" / "debug" / "cairn-server")
        if not pathlib.Path(binary).exists():
            pytest.exit(f"{binary} is missing: run cargo build -p cairn-server, or set CAIRN_SERVER_BIN", 2)
        command = [binary, "--port", port, "--bind", "127.0.0.1", "--dir", self.directory / str(port), "--save", ""]
        command += ["--cluster-enabled", "yes", "--cluster-peers", peers, *self.flags]
        (self.directory / str(port)).mkdir(exist_ok=True)
        with (self.directory / f"{port}.log").open("a") as log:
            self.processes[port] = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)

    def info(self, port):
        with redis.Redis(port=port, socket_timeout=1, socket_connect_timeout=1, retry=None) as client:
            return client.info("raft")

    def leader(self):
        """The port of the node that leads and serves, or None."""
        for port in self.processes:
            try:
                info = self.info(port)
            except redis.RedisError:
                continue
            if info.get("raft_role") == "leader" and info.get("raft_serving"):
                return port
        return None

    def kill(self, port):
        """kill -9."""
        process = self.processes.pop(port)
        process.kill()
        process.wait()

    def kill_leader(self):
        leader = poll(self.leader, START_LIMIT_S, "a leader")
        self.kill(leader)
        return leader

    def followers(self):
        leader = poll(self.leader, START_LIMIT_S, "a leader")
        return [port for port in self.processes if port != leader]

    def client(self):
        """A plain client of whoever leads now, to look at what is there."""
        return redis.Redis(port=poll(self.leader, START_LIMIT_S, "a leader"), decode_responses=True)

    def stop(self):
        for port in list(self.processes):
            self.kill(port)


@pytest.fixture
def cluster(tmp_path, request):
    cluster = None
    try:
        cluster = Cluster(tmp_path, getattr(request, "param", ()))
        yield cluster
    finally:
        if cluster is not None:
            cluster.stop()
        failed = getattr(request.node, "failed", True)
        if failed:
            for log in sorted(tmp_path.glob("*.log")):
                print(f"--- {log.name}\n" + "\n".join(log.read_text().splitlines()[-25:]))
        else:
            shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call":
        item.failed = report.failed
    return report


def follow(cluster, write, errors, before=100, after=100):
    """Writes, kills the leader, and writes on with the same client. `write(n)` stores the number n; it may fail with one of
    `errors` until the client has found the new leader. Returns the acknowledged numbers and the seconds it took."""
    acknowledged, n, killed_at, resumed_after = [], 0, None, None
    deadline = time.monotonic() + START_LIMIT_S + FOLLOW_LIMIT_S
    left = after
    while left:
        n += 1
        if killed_at is None and len(acknowledged) >= before:
            cluster.kill_leader()
            killed_at = time.monotonic()
        try:
            write(n)
        except errors as error:
            assert killed_at is not None, f"nothing has happened yet: {error!r}"
            assert time.monotonic() - killed_at < FOLLOW_LIMIT_S, f"the client does not find the leader: {error!r}"
            time.sleep(0.01)
            continue
        assert time.monotonic() < deadline
        acknowledged.append(n)
        if killed_at is not None:
            if resumed_after is None:
                resumed_after = time.monotonic() - killed_at
            left -= 1
    assert resumed_after < FOLLOW_LIMIT_S
    return acknowledged, resumed_after
