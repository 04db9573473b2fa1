"""A server for the use cases: cairn-server (CAIRN_SERVER_BIN), or with --server redis the real one."""

import os
import pathlib
import socket
import subprocess
import time

import pytest
import redis


def pytest_addoption(parser):
    parser.addoption("--server", choices=["cairn", "redis"], default="cairn", help="whom to test")


def server_command(name):
    if name == "redis":
        return [os.environ.get("REDIS_SERVER_BIN", "redis-server"), "--appendonly", "no"]
    root = pathlib.Path(__file__).parents[2]
    binary = os.environ.get("CAIRN_SERVER_BIN", root / "target" / "debug" / "cairn-server")
    if not pathlib.Path(binary).exists():
        pytest.exit(f"{binary} is missing: run cargo build -p cairn-server, or set CAIRN_SERVER_BIN", 2)
    return [str(binary)]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="session")
def port(request, tmp_path_factory):
    """The port of a server that lives as long as the tests run."""
    directory = tmp_path_factory.mktemp("server")
    port = free_port()
    log = directory / "server.out"
    command = server_command(request.config.getoption("--server"))
    command += ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory), "--save", ""]
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                redis.Redis(port=port, socket_timeout=1).ping()
                break
            except redis.exceptions.RedisError:
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.exit(f"{command[0]} does not serve:\n{log.read_text()}", 2)
                time.sleep(0.01)
        yield port
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def connect(port):
    """Makes clients of an empty server: connect(**options of redis.Redis)."""
    redis.Redis(port=port).flushall()
    clients = []

    def make(**options):
        options.setdefault("socket_timeout", 30)
        client = redis.Redis(host="localhost", port=port, **options)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def eventually():
    """Polls a condition for at most ten seconds."""

    def wait(condition):
        deadline = time.monotonic() + 10
        while not (result := condition()):
            assert time.monotonic() < deadline, "the condition did not come true"
            time.sleep(0.005)
        return result

    return wait
