"""Rate limits: fixed windows with INCR, sliding windows with sorted sets, allowances in a hash."""

import time
from concurrent.futures import ThreadPoolExecutor


def test_fixed_window_counter(connect, eventually):
    redis_client = connect(db=0)

    def is_request_allowed(user_id, max_requests=5, time_window=60):
        key = f"rate_limit:{user_id}"
        request_count = redis_client.incr(key)
        if request_count == 1:
            redis_client.expire(key, time_window)
        return request_count <= max_requests

    assert [is_request_allowed("alice") for _ in range(7)] == [True] * 5 + [False] * 2
    assert is_request_allowed("bob")
    assert 55 <= redis_client.ttl("rate_limit:alice") <= 60
    redis_client.pexpire("rate_limit:alice", 10)
    eventually(lambda: not redis_client.exists("rate_limit:alice"))
    assert is_request_allowed("alice")


class FixedWindowLimiter:
    def __init__(self, redis_client):
        self.redis = redis_client

    def is_allowed(self, key, limit, window_seconds):
        window_key = f"fw:{key}:{int(time.time() // window_seconds)}"
        pipe = self.redis.pipeline()
        pipe.incr(window_key)
        pipe.expire(window_key, window_seconds)
        results = pipe.execute()
        return results[0] <= limit


def test_fixed_window_lets_exactly_the_limit_through_under_concurrency(connect):
    limiter = FixedWindowLimiter(connect())
    # A window so long that none ends during the test.
    with ThreadPoolExecutor(16) as pool:
        allowed = list(pool.map(lambda _: limiter.is_allowed("api", 100, 10**9), range(400)))
    assert allowed.count(True) == 100


def test_sliding_window(connect):
    r = connect(decode_responses=True)

    def is_rate_limited(user_id, now, max_requests=3, window_seconds=60):
        key = f"rate_limit:{user_id}"
        r.zremrangebyscore(key, 0, now - window_seconds)
        if r.zcard(key) < max_requests:
            r.zadd(key, {now: now})
            r.expire(key, window_seconds)
            return False
        return True

    start = time.time()
    assert [is_rate_limited("alice", start + i) for i in range(4)] == [False, False, False, True]
    assert is_rate_limited("alice", start + 59.5)
    assert not is_rate_limited("alice", start + 60.5), "the first request has left the window"
    assert is_rate_limited("alice", start + 60.6)
    assert not is_rate_limited("bob", start)


class RateLimiter:
    def __init__(self, redis_client):
        self.redis = redis_client

    def is_allowed(self, key, limit, window):
        now = time.time()
        pipe = self.redis.pipeline()
        pipe.zremrangebyscore(key, 0, now - window)
        pipe.zcard(key)
        pipe.zadd(key, {str(now): now})
        pipe.expire(key, int(window))
        results = pipe.execute()
        current_count = results[1]
        if current_count < limit:
            return True, limit - current_count - 1
        return False, 0

    def allow_request(self, identifier, limit, period):
        return self.is_allowed(f"rate_limit:{identifier}", limit, period)


def test_sliding_window_in_one_pipeline_tells_what_remains(connect):
    client = connect()
    limiter = RateLimiter(client)
    answers = [limiter.allow_request("10.0.0.1", 3, 60) for _ in range(5)]
    assert answers == [(True, 2), (True, 1), (True, 0), (False, 0), (False, 0)]
    assert client.zcard("rate_limit:10.0.0.1") == 5
    assert 55 <= client.ttl("rate_limit:10.0.0.1") <= 60


def test_allowances_in_a_hash_count_down_and_are_reset(connect):
    r = connect(decode_responses=True)
    r.hset("allowance", mapping={"/search": 2, "/login": 1})
    assert [r.hincrby("allowance", "/search", -1) >= 0 for _ in range(3)] == [True, True, False]
    assert r.hincrby("allowance", "/login", -1) == 0
    r.hset("allowance", "/search", 2)
    assert r.hgetall("allowance") == {"/search": "2", "/login": "0"}
