"""ioredis and node-redis with their default settings, while a server is lost."""

import json
import time

import pytest
from conftest import FOLLOW_LIMIT_S, HERE, START_LIMIT_S, node_modules, poll


class Writer:
    """write.cjs at work."""

    def __init__(self, programs, library, kind, ports):
        command = ["node", HERE / "write.cjs", library, kind, *ports]
        self.program = programs.start("write", command, {"NODE_PATH": node_modules()})
        self.acknowledged, self.failures = [], []

    def run_until(self, count, limit_s):
        """Until so many more writes are acknowledged."""
        deadline = time.monotonic() + limit_s
        wanted = len(self.acknowledged) + count
        while len(self.acknowledged) < wanted:
            left = deadline - time.monotonic()
            assert left > 0, f"{count} writes take longer than {limit_s} s: {self.failures[-3:]}"
            word, n, *why = self.program.hear(left).split(maxsplit=2)
            if word == "acknowledged":
                self.acknowledged.append(int(n))
            else:
                self.failures.append(" ".join(why))


@pytest.mark.parametrize("library", ["ioredis", "redis"])
@pytest.mark.parametrize("kind", ["plain", "cluster", "sentinel"])
def test_it_follows(cluster, programs, library, kind):
    ports = cluster.followers() if kind == "plain" else cluster.ports
    follows(cluster, Writer(programs, library, kind, ports))


@pytest.mark.parametrize("library", ["ioredis", "redis"])
def test_it_goes_on_after_a_restart(one_node, programs, library):
    follows(one_node, Writer(programs, library, "plain", one_node.ports))


def follows(servers, writer):
    writer.run_until(100, START_LIMIT_S)
    assert writer.failures == []
    servers.fail()
    failed = time.monotonic()
    while not writer.program.lines.empty():
        writer.run_until(1, FOLLOW_LIMIT_S)
    writer.run_until(1, FOLLOW_LIMIT_S)
    print(f"resumed after {time.monotonic() - failed:.2f} s; failures: {writer.failures}")
    writer.run_until(100, FOLLOW_LIMIT_S)
    writer.program.kill()
    values = servers.client().mget([f"key:{n}" for n in writer.acknowledged])
    assert values == [str(n) for n in writer.acknowledged]


def test_what_node_redis_caches_is_what_the_server_has(servers, programs):
    program = programs.start("cached", ["node", HERE / "cached.cjs", *servers.ports], {"NODE_PATH": node_modules()})

    def get():
        program.say("key")
        return json.loads(program.hear(FOLLOW_LIMIT_S))

    def is_cached():
        before = get()["hits"]
        return get()["hits"] > before

    servers.client().set("key", "first")
    assert get()["value"] == "first"
    poll(is_cached, FOLLOW_LIMIT_S, "an answer from the cache")
    servers.client().set("key", "second")
    poll(lambda: get()["value"] == "second", FOLLOW_LIMIT_S, "the cache to drop what has changed")
    poll(is_cached, FOLLOW_LIMIT_S, "an answer from the cache")
    servers.fail()
    # Nobody tells a client without a connection: it has to drop everything.
    servers.client().set("key", "third")
    poll(lambda: get()["value"] == "third", FOLLOW_LIMIT_S, "the cache to be as the server after it was away")
    poll(is_cached, FOLLOW_LIMIT_S, "an answer from the cache")
