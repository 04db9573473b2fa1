"""What every tutorial shows: values with a time to live, memory figures, eviction settings, the client's handshake."""

from datetime import timedelta

import pytest
import redis


def test_temporary_data(connect):
    r = connect(decode_responses=True)
    r.setex("temp:token", 3600, "token_value")
    r.set("key", "value")
    assert r.ttl("key") == -1
    r.expire("key", timedelta(hours=1))
    assert 3590 <= r.ttl("key") <= 3600
    assert r.persist("key")
    assert r.ttl("key") == -1
    assert r.ttl("missing") == -2


def test_memory_usage_grows_with_the_value(connect):
    r = connect()
    r.hset("user:123", mapping={"name": "Ada", "mail": "ada@example.com"})
    small = r.memory_usage("user:123")
    r.hset("user:123", "bio", "x" * 10_000)
    assert small > 0
    assert r.memory_usage("user:123") > small + 9_000
    assert r.memory_usage("missing") is None


def test_memory_limit_and_policy_are_settings(connect):
    r = connect(decode_responses=True)
    r.config_set("maxmemory", "2gb")
    r.config_set("maxmemory-policy", "allkeys-lru")
    try:
        assert r.config_get("maxmemory*")["maxmemory"] == str(2 * 1024**3)
        assert r.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}
    finally:
        r.config_set("maxmemory", "0")
        r.config_set("maxmemory-policy", "noeviction")


@pytest.mark.parametrize("protocol", [2, 3])
def test_client_introduces_itself(connect, protocol):
    r = connect(protocol=protocol, client_name="my-service", decode_responses=True)
    assert r.ping()
    assert r.client_getname() == "my-service"
    assert r.client_info()["db"] == 0
    assert r.info("server")["redis_mode"] == "standalone"
    assert r.echo("héllo") == "héllo"


def test_any_bytes_are_a_key_and_a_value(connect):
    r = connect()
    everything = bytes(range(256))
    r.set(everything, everything * 1000)
    assert r.get(everything) == everything * 1000


def test_errors_have_their_types(connect):
    r = connect()
    r.set("text", "abc")
    with pytest.raises(redis.exceptions.ResponseError, match="not an integer"):
        r.incr("text")
    with pytest.raises(redis.exceptions.ResponseError, match="WRONGTYPE"):
        r.lpush("text", "x")
    with pytest.raises(redis.exceptions.NoScriptError):
        r.evalsha("0" * 40, 0)


def test_databases_are_separate(connect):
    first, second = connect(db=0), connect(db=1)
    first.set("k", "in 0")
    assert second.get("k") is None
    second.set("k", "in 1")
    assert (first.get("k"), second.get("k")) == (b"in 0", b"in 1")
