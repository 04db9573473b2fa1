"""redis-py's asyncio side with its default settings, on one node and on three, while a server is lost."""

import asyncio

import pytest
import redis
from conftest import FOLLOW_LIMIT_S, NAME, follow, poll
from redis import asyncio as aioredis
from redis.asyncio.sentinel import Sentinel

# What an application has to expect of a server that goes away. Whatever else is raised fails the test.
RECONNECT = (redis.ConnectionError, redis.TimeoutError)


@pytest.fixture
def run():
    """Runs a coroutine to its end; all those of a test have one event loop."""
    with asyncio.Runner() as runner:
        yield runner.run


def connect(servers, **options):
    if servers.is_alone:
        return aioredis.Redis(port=servers.ports[0], **options)
    return Sentinel(servers.addresses, **options).master_for(NAME)


def everything_is_there(servers, acknowledged):
    values = servers.client().mget([f"key:{n}" for n in acknowledged])
    assert values == [str(n) for n in acknowledged]


def test_it_follows(servers, run):
    client = connect(servers)
    acknowledged, _ = follow(servers, lambda n: run(client.set(f"key:{n}", n)), RECONNECT)
    everything_is_there(servers, acknowledged)
    run(client.aclose())


def test_a_cluster_client_follows(cluster, run):
    client = aioredis.RedisCluster(host="127.0.0.1", port=cluster.ports[0])
    errors = (*RECONNECT, redis.exceptions.ClusterError)
    acknowledged, _ = follow(cluster, lambda n: run(client.set(f"key:{n}", n)), errors)
    everything_is_there(cluster, acknowledged)
    run(client.aclose())


def test_pipelines_are_done_whole_or_not_at_all(servers, run):
    client = connect(servers)

    async def write(n):
        async with client.pipeline(transaction=True) as pipeline:
            await pipeline.set(f"key:{n}", n).rpush("numbers", n).execute()

    acknowledged, _ = follow(servers, lambda n: run(write(n)), RECONNECT)
    everything_is_there(servers, acknowledged)
    there = [int(n) for n in servers.client().lrange("numbers", 0, -1)]
    assert set(acknowledged) <= set(there)
    assert servers.client().exists(*(f"key:{n}" for n in there)) == len(there)
    run(client.aclose())


def test_a_lock_survives(servers, run):
    holder, other = connect(servers), connect(servers)
    lock = holder.lock("lock", timeout=60)
    assert run(lock.acquire())
    servers.fail()

    def is_held():
        try:
            return not run(other.lock("lock", timeout=60, blocking=False).acquire())
        except RECONNECT:
            return False

    poll(is_held, FOLLOW_LIMIT_S, "the server's answer")
    assert run(holder.ttl("lock")) > 20
    run(lock.release())
    assert run(other.lock("lock", timeout=60, blocking=False).acquire())
    run(holder.aclose())
    run(other.aclose())


def test_a_subscriber_hears_again(servers, run):
    subscription = aioredis.Redis(port=servers.port_that_stays(), decode_responses=True).pubsub()
    run(subscription.subscribe("news"))
    heard = []

    def publish(text):
        try:
            servers.client().publish("news", text)
            message = run(subscription.get_message(ignore_subscribe_messages=True, timeout=0.05))
        except RECONNECT:
            return False
        if message:
            heard.append(message["data"])
        return text in heard

    poll(lambda: publish("before"), FOLLOW_LIMIT_S, "the first message")
    servers.fail()
    poll(lambda: publish("after"), FOLLOW_LIMIT_S, "a message after the server was away")
    run(subscription.aclose())
