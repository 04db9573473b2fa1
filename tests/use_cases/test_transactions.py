"""Pipelines, transactions and optimistic locking."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from redis.exceptions import ResponseError, WatchError


def test_pipeline_answers_in_order(connect):
    r = connect(decode_responses=True)
    pipe = r.pipeline()
    pipe.set("key1", "val1")
    pipe.set("key2", "val2")
    pipe.get("key1")
    pipe.incr("n")
    assert pipe.execute() == [True, True, "val1", 1]


def test_large_pipeline_without_transaction(connect):
    r = connect()
    pipe = r.pipeline(transaction=False)
    for i in range(20_000):
        pipe.set(f"k{i}", i)
    assert all(pipe.execute())
    assert r.dbsize() == 20_000


def test_watch_notices_another_writer(connect):
    r, other = connect(decode_responses=True), connect()
    r.mset({"balance:user_123": 500, "balance:user_456": 0})
    with r.pipeline() as pipe:
        pipe.watch("balance:user_123")
        assert int(pipe.get("balance:user_123")) >= 100
        other.set("balance:user_123", 50)
        pipe.multi()
        pipe.decrby("balance:user_123", 100)
        pipe.incrby("balance:user_456", 100)
        with pytest.raises(WatchError):
            pipe.execute()
    assert r.mget("balance:user_123", "balance:user_456") == ["50", "0"]


def test_money_is_neither_made_nor_lost(connect):
    r = connect()
    r.mset({"a": 1000, "b": 1000})

    def move(i):
        source, target = ("a", "b") if i % 2 else ("b", "a")

        def transfer(pipe):
            if int(pipe.get(source)) < 10:
                pipe.multi()
                return
            pipe.multi()
            pipe.decrby(source, 10)
            pipe.incrby(target, 10)

        r.transaction(transfer, source)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(move, range(200)))
    assert int(r.get("a")) + int(r.get("b")) == 2000
    assert int(r.get("a")) >= 0


def test_error_in_a_transaction_leaves_the_rest_done(connect):
    r = connect()
    r.set("text", "abc")
    pipe = r.pipeline()
    pipe.set("before", 1)
    pipe.incr("text")
    pipe.set("after", 1)
    answers = pipe.execute(raise_on_error=False)
    assert isinstance(answers[1], ResponseError)
    assert r.mget("before", "after") == [b"1", b"1"]
