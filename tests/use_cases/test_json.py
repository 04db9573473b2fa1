"""Documents: sessions, inventory and a token bucket kept as JSON."""

import threading
import time
from datetime import timedelta

import pytest
import redis

pytestmark = pytest.mark.usefixtures("documents")


@pytest.fixture
def documents(request):
    if request.config.getoption("--server") == "redis":
        pytest.skip("Redis has documents since 8.0")


def test_session_is_changed_in_part(connect):
    r = connect(decode_responses=True)
    session_id = "abc"
    session_data = {
        "user_id": "user_123",
        "username": "alice",
        "cart": [],
        "preferences": {},
        "last_activity": time.time(),
    }
    r.json().set(f"session:{session_id}", "$", session_data)
    r.expire(f"session:{session_id}", timedelta(minutes=30))

    now = time.time()
    r.json().set(f"session:{session_id}", "$.last_activity", now)
    r.expire(f"session:{session_id}", timedelta(minutes=30))

    r.json().arrappend(f"session:{session_id}", "$.cart", {"product_id": "prod_789", "qty": 1})

    assert r.json().get(f"session:{session_id}", "$.user_id") == ["user_123"]
    assert r.json().get(f"session:{session_id}") == session_data | {
        "last_activity": now,
        "cart": [{"product_id": "prod_789", "qty": 1}],
    }
    assert 1790 <= r.ttl(f"session:{session_id}") <= 1800


def test_session_expires_by_itself(connect, eventually):
    r = connect(decode_responses=True)
    r.json().set("session:abc", "$", {"user_id": "user_123"})
    r.pexpire("session:abc", 50)
    eventually(lambda: r.json().get("session:abc") is None)


def purchase(r):
    new_stock = r.json().numincrby("product:123", "$.stock", -1)
    if new_stock[0] >= 0:
        return "Purchase successful"
    r.json().numincrby("product:123", "$.stock", 1)
    return "Out of stock"


def test_inventory_is_never_oversold(connect):
    r = connect(decode_responses=True)
    r.json().set("product:123", "$", {"name": "Laptop", "price": 999, "stock": 25})
    sold = []

    def customer():
        own = connect(decode_responses=True)
        sold.extend(purchase(own) for _ in range(10))

    customers = [threading.Thread(target=customer) for _ in range(5)]
    for thread in customers:
        thread.start()
    for thread in customers:
        thread.join(timeout=30)
    # A sale that is taken back keeps others from buying meanwhile: never more, and with nobody else around all of them.
    while purchase(r) == "Purchase successful":
        sold.append("Purchase successful")
    assert sold.count("Purchase successful") == 25
    assert r.json().get("product:123", "$.stock") == [0]
    assert r.json().get("product:123") == {"name": "Laptop", "price": 999, "stock": 0}


def test_inventory_in_a_transaction(connect):
    r = connect(decode_responses=True)
    r.json().set("product:123", "$", {"name": "Laptop", "price": 999, "stock": 1})

    def buy():
        pipeline = r.pipeline()
        pipeline.json().get("product:123", "$.stock")
        pipeline.json().numincrby("product:123", "$.stock", -1)
        result = pipeline.execute()
        if result[1][0] >= 0:
            return "Success"
        r.json().numincrby("product:123", "$.stock", 1)
        return "Out of stock"

    assert [buy(), buy(), buy()] == ["Success", "Out of stock", "Out of stock"]
    assert r.json().get("product:123", "$.stock") == [0]


def test_token_bucket(connect):
    r = connect(decode_responses=True)
    clock = 1_700_000_000.25

    def check_rate_limit_token_bucket(user_id, now, capacity=100, refill_rate=10):
        key = f"tokens:{user_id}"
        data = r.json().get(key)
        if not data:
            r.json().set(key, "$", {"tokens": capacity, "last_refill": now})
            r.expire(key, 3600)
            return True
        elapsed = now - data["last_refill"]
        new_tokens = min(capacity, data["tokens"] + (elapsed * refill_rate))
        if new_tokens >= 1:
            r.json().set(key, "$", {"tokens": new_tokens - 1, "last_refill": now})
            return True
        return False

    allowed = [check_rate_limit_token_bucket("alice", clock, capacity=5) for _ in range(8)]
    # The first call fills the bucket and takes nothing.
    assert allowed == [True] * 6 + [False] * 2
    assert check_rate_limit_token_bucket("bob", clock)
    assert check_rate_limit_token_bucket("alice", clock + 0.125, capacity=5)
    assert r.json().get("tokens:alice") == {"tokens": 0.25, "last_refill": clock + 0.125}
    assert 3590 <= r.ttl("tokens:alice") <= 3600


@pytest.mark.parametrize("protocol", [2, 3])
def test_every_command_of_the_client(connect, protocol):
    r = connect(decode_responses=True, protocol=protocol)
    doc = {"name": "lamp", "price": 4.5, "tags": ["a", "b"], "stock": {"lyon": 7, "berlin": 0}, "on": True}
    assert r.json().set("d", "$", doc)
    assert r.json().set("d", "$", {}, nx=True) is None
    assert r.json().set("d", "$.colour", "red", xx=True) is None
    assert r.json().get("d") == doc
    assert r.json().get("d", "$.stock.*") == [7, 0]
    assert r.json().get("d", ".name", ".price") == {".name": "lamp", ".price": 4.5}
    assert r.json().mset([("e", "$", {"name": "desk"}), ("f", "$", [1])])
    assert r.json().mget(["d", "e", "none"], "$.name") == [["lamp"], ["desk"], None]
    assert r.json().merge("e", "$", {"name": None, "size": {"w": 1}})
    assert r.json().get("e") == {"size": {"w": 1}}
    assert r.json().arrappend("d", "$.tags", "c", "d") == [4]
    assert r.json().arrinsert("d", "$.tags", 1, "x") == [5]
    assert r.json().arrindex("d", "$.tags", "c") == [3]
    assert r.json().arrlen("d", "$.tags") == [5]
    # The client leaves the text of an element as it is.
    assert r.json().arrpop("d", "$.tags", 1) == ['"x"']
    assert r.json().arrtrim("d", "$.tags", 0, 1) == [2]
    assert r.json().numincrby("d", "$.stock.lyon", 3) == [10]
    assert r.json().nummultby("d", "$.price", 2) == [9.0]
    assert r.json().strappend("d", "!", "$.name") == [5]
    assert r.json().strlen("d", "$.name") == [5]
    assert r.json().toggle("d", "$.on") == [0]
    assert r.json().objkeys("d", "$.stock") == [["lyon", "berlin"]]
    assert r.json().objlen("d", "$.stock") == [2]
    assert r.json().type("d", "$.name") == [["string"], [["string"]]][protocol - 2]
    assert r.json().resp("f", "$") == [["[", 1]]
    assert r.json().debug("MEMORY", "d") > 0
    assert r.json().clear("d", "$.stock") == 1
    assert r.json().delete("d", "$.tags") == 1
    assert r.json().forget("f") == 1
    assert r.json().get("d") == {"name": "lamp!", "price": 9.0, "stock": {}, "on": False}
    with pytest.raises(redis.ResponseError, match="new objects must be created at the root"):
        r.json().set("none", "$.x", 1)
    assert r.json().get("none") is None
