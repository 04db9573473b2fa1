"""Servers for the client libraries, CAIRN_SERVER_BIN on 127.0.0.1: a group of three nodes, or one node alone."""

import os
import pathlib
import queue
import random
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest
import redis
from redis.sentinel import Sentinel

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
NAME = "mymaster"
START_LIMIT_S = 30
# What a client library may take until commands succeed again after a leader was killed: the election, and its own pauses
# between attempts, which for redis-py are fourteen seconds in all.
FOLLOW_LIMIT_S = 45
# What a worker may take for its jobs: far more than it needs, on a machine that does other work beside it.
WORK_LIMIT_S = 180
# Below those that the system gives to outgoing connections; the ports for other nodes are 10000 above.
PORTS = range(11000, 22000)


def free_ports(count):
    """Ports that nobody has, each with the one for other nodes. Tests that run side by side look at different ones."""

    def is_free(port):
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                return False
            return True

    part = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    parts = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    candidates = random.sample(PORTS[part::parts], 500)
    return [port for port in candidates if is_free(port) and is_free(port + 10000)][:count]


def node_modules():
    """Where the packages for node are; skips the test where they are missing."""
    modules = os.environ.get("CAIRN_NODE_MODULES")
    if not (modules and shutil.which("node")):
        pytest.skip("needs node, and its packages in CAIRN_NODE_MODULES")
    return modules


def poll(condition, limit_s, what):
    """The first true result of a condition."""
    deadline = time.monotonic() + limit_s
    while not (result := condition()):
        assert time.monotonic() < deadline, f"waited {limit_s} s for {what}"
        time.sleep(0.01)
    return result


class Cluster:
    """Three processes, or a single one that is not in cluster mode; and what they say about themselves."""

    def __init__(self, directory, flags=(), nodes=3):
        self.directory = directory
        self.flags = list(flags)
        self.ports = free_ports(nodes)
        self.processes = {}
        try:
            for port in self.ports:
                self.start(port)
            poll(self.leader, START_LIMIT_S, "a leader")
        except BaseException:
            self.stop()
            raise

    @property
    def is_alone(self):
        return len(self.ports) == 1

    def start(self, port):
        binary = os.environ.get("CAIRN_SERVER_BIN", ROOT / "target" / "debug" / "cairn-server")
        if not pathlib.Path(binary).exists():
            pytest.exit(f"{binary} is missing: run cargo build -p cairn-server, or set CAIRN_SERVER_BIN", 2)
        command = [binary, "--port", port, "--bind", "127.0.0.1", "--dir", self.directory / str(port), "--save", ""]
        if not self.is_alone:
            peers = ",".join(f"127.0.0.1:{port}" for port in self.ports)
            command += ["--cluster-enabled", "yes", "--cluster-peers", peers]
        command += self.flags
        (self.directory / str(port)).mkdir(exist_ok=True)
        with (self.directory / f"{port}.log").open("a") as log:
            self.processes[port] = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)

    def leads(self, port):
        """Whether the node leads and serves."""
        try:
            with redis.Redis(port=port, socket_timeout=1, socket_connect_timeout=1, retry=None) as client:
                if self.is_alone:
                    return client.ping()
                info = client.info("raft")
        except redis.RedisError:
            return False
        return info.get("raft_role") == "leader" and info.get("raft_serving") == 1

    def leader(self):
        """The port of the node that leads and serves, or None."""
        return next(filter(self.leads, list(self.processes)), None)

    def kill(self, port):
        """kill -9."""
        process = self.processes.pop(port)
        process.kill()
        process.wait()

    def kill_leader(self):
        leader = poll(self.leader, START_LIMIT_S, "a leader")
        self.kill(leader)
        return leader

    def fail(self):
        """What happens in the middle of a test: kill -9 of the leader; a node that is alone is started again."""
        port = self.kill_leader()
        if self.is_alone:
            self.start(port)

    def port_that_stays(self):
        """Of a node that is not going to be lost: a follower; or of the one that is started again."""
        return self.ports[0] if self.is_alone else self.followers()[0]

    def followers(self):
        leader = poll(self.leader, START_LIMIT_S, "a leader")
        return [port for port in self.processes if port != leader]

    def client(self, **options):
        """A plain client of whoever leads now, to look at what is there."""
        options.setdefault("decode_responses", True)
        return redis.Redis(port=poll(self.leader, START_LIMIT_S, "a leader"), **options)

    @property
    def addresses(self):
        return [("127.0.0.1", port) for port in self.ports]

    def connect(self, **options):
        """What an application connects with: to the one node, or by Sentinel to the one that leads."""
        if self.is_alone:
            return redis.Redis(port=self.ports[0], **options)
        return Sentinel(self.addresses, **options).master_for(NAME)

    def stop(self):
        for port in list(self.processes):
            self.kill(port)


def serve(directory, request, **options):
    cluster = Cluster(directory, **options)
    try:
        yield cluster
    finally:
        cluster.stop()
        if getattr(request.node, "failed", True):
            for log in sorted(directory.glob("*.log")):
                print(f"--- {log.name}\n" + "\n".join(log.read_text().splitlines()[-25:]))
        else:
            shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def cluster(tmp_path, request):
    """Three nodes; a parameter is what they get on their command lines."""
    yield from serve(tmp_path, request, flags=getattr(request, "param", ()))


@pytest.fixture
def one_node(tmp_path, request):
    yield from serve(tmp_path, request, nodes=1)


@pytest.fixture(params=[1, 3], ids=["one-node", "three-nodes"])
def servers(tmp_path, request):
    """One node, and three."""
    yield from serve(tmp_path, request, nodes=request.param)


class Program:
    """A process of a library, with its own children; lines go in and come out, and what it says of errors is in a log."""

    def __init__(self, command, environment, log):
        self.log = log
        with log.open("a") as errors:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                cwd=HERE,
                env={**os.environ, **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self, limit_s):
        """The next line that it prints."""
        deadline = time.monotonic() + limit_s
        while True:
            try:
                return self.lines.get(timeout=0.1)
            except queue.Empty:
                assert self.is_running() or not self.lines.empty(), f"{self.log.name}: the program has ended"
                assert time.monotonic() < deadline, f"{self.log.name}: nothing for {limit_s} s"

    def is_running(self):
        return self.process.poll() is None

    def kill(self):
        """With all the processes that it has started."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.process.stdin.close()


class Programs:
    def __init__(self, directory):
        self.directory = directory
        self.started = []

    def start(self, name, command, environment):
        program = Program(command, environment, self.directory / f"{name}.log")
        self.started.append(program)
        return program


@pytest.fixture
def programs(tmp_path):
    """Starts programs that end with the test."""
    programs = Programs(tmp_path)
    yield programs
    for program in programs.started:
        program.kill()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call":
        item.failed = report.failed
    return report


def follow(cluster, write, errors, before=100, after=100):
    """Writes, lets the server fail, and writes on with the same client. `write(n)` stores the number n; it may fail with one of
    `errors` until the client has found the new leader. Returns the acknowledged numbers and the seconds it took."""
    acknowledged, n, killed_at, resumed_after = [], 0, None, None
    deadline = time.monotonic() + START_LIMIT_S + FOLLOW_LIMIT_S
    left = after
    while left:
        n += 1
        if killed_at is None and len(acknowledged) >= before:
            cluster.fail()
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
