"""Analytics: counters in hashes, unique visitors in sets and HyperLogLogs, events in streams, series in sorted sets."""

import json
import time
from concurrent.futures import ThreadPoolExecutor


class RedisAnalytics:
    def __init__(self, redis_client):
        self.redis = redis_client

    def track_event(self, event_name, user_id, metadata=None):
        now = time.time()
        today = time.strftime("%Y-%m-%d")
        pipe = self.redis.pipeline()
        pipe.hincrby(f"analytics:events:{today}", event_name, 1)
        pipe.sadd(f"analytics:users:{today}", user_id)
        pipe.pfadd(f"analytics:unique:{today}", user_id)
        pipe.xadd(
            "events:stream",
            {
                "event": event_name,
                "user_id": user_id,
                "timestamp": str(now),
                "metadata": json.dumps(metadata or {}),
            },
        )
        return pipe.execute()

    def get_daily_stats(self, date=None):
        date = date or time.strftime("%Y-%m-%d")
        events = self.redis.hgetall(f"analytics:events:{date}")
        return {
            "date": date,
            "total_events": sum(int(v) for v in events.values()),
            "unique_users": self.redis.scard(f"analytics:users:{date}"),
            "estimated_users": self.redis.pfcount(f"analytics:unique:{date}"),
            "events": events,
        }


def test_events_of_many_clients_are_all_counted(connect):
    client = connect(decode_responses=True)
    analytics = RedisAnalytics(client)
    day = time.strftime("%Y-%m-%d")
    first = analytics.track_event("signup", "user-0", {"plan": "free"})
    assert first[:3] == [1, 1, 1]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: analytics.track_event("click", f"user-{i % 50}"), range(499)))
    assert time.strftime("%Y-%m-%d") == day, "midnight passed during the test: run it again"

    stats = analytics.get_daily_stats()
    assert stats["events"] == {"signup": "1", "click": "499"}
    assert (stats["total_events"], stats["unique_users"]) == (500, 50)
    assert 48 <= stats["estimated_users"] <= 52
    assert client.xlen("events:stream") == 500
    _, oldest = client.xrange("events:stream", count=1)[0]
    assert (oldest["event"], json.loads(oldest["metadata"])) == ("signup", {"plan": "free"})


def test_dashboard(connect):
    r = connect(decode_responses=True)
    for _ in range(3):
        r.hincrby("analytics:today", "page_views", 1)
        r.zincrby("analytics:today:pages", 1, "/home")
    r.hincrby("analytics:today", "api_calls", 1)
    r.zincrby("analytics:today:pages", 1, "/products")
    assert r.hgetall("analytics:today") == {"page_views": "3", "api_calls": "1"}
    pages = r.zrevrange("analytics:today:pages", 0, 9, withscores=True)
    assert [tuple(page) for page in pages] == [("/home", 3.0), ("/products", 1.0)]


def test_time_series_in_a_sorted_set(connect):
    r = connect(decode_responses=True)
    now = int(time.time())
    for minute in range(120):
        r.zadd("metrics:cpu", {f"{minute}:{50 + minute % 7}": now - minute * 60})
    last_hour = r.zrangebyscore("metrics:cpu", now - 3600, now)
    assert len(last_hour) == 61
    assert r.zremrangebyscore("metrics:cpu", "-inf", f"({now - 3600}") == 59


def test_unique_visitors_of_several_days(connect):
    r = connect()
    for i in range(1000):
        r.pfadd("visitors:mon", f"user-{i}")
        r.pfadd("visitors:tue", f"user-{i + 500}")
    assert abs(r.pfcount("visitors:mon") - 1000) < 30
    assert abs(r.pfcount("visitors:mon", "visitors:tue") - 1500) < 45
    assert r.pfmerge("visitors:week", "visitors:mon", "visitors:tue")
    assert r.pfcount("visitors:week") == r.pfcount("visitors:mon", "visitors:tue")
