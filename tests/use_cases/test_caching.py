"""Caches: cache-aside with a time to live, pages, invalidation by pattern, queries by their hash, Django's cache."""

import hashlib
import json


def test_cache_aside_asks_the_source_once(connect):
    cache = connect(db=0)
    fetched = []

    def get_weather(city):
        cache_key = f"weather:{city}"
        cached_data = cache.get(cache_key)
        if cached_data:
            return cached_data.decode("utf-8")
        fetched.append(city)
        data = f"sunny in {city}"
        cache.setex(cache_key, 60, data)
        return data

    assert get_weather("Oslo") == "sunny in Oslo"
    assert get_weather("Oslo") == "sunny in Oslo"
    assert fetched == ["Oslo"]
    assert 0 < cache.ttl("weather:Oslo") <= 60


def test_cached_entry_is_fetched_anew_after_its_time(connect, eventually):
    cache = connect()
    cache.psetex("weather:Oslo", 500, "old")
    assert cache.get("weather:Oslo") == b"old"
    eventually(lambda: cache.get("weather:Oslo") is None)


class RedisCache:
    def __init__(self, redis_client):
        self.redis = redis_client

    def _make_key(self, prefix, identifier):
        return f"cache:{prefix}:{identifier}"

    def get_page(self, url):
        cached = self.redis.get(self._make_key("page", url))
        return json.loads(cached) if cached else None

    def set_page(self, url, content, ttl=3600):
        self.redis.setex(self._make_key("page", url), ttl, json.dumps(content))

    def invalidate_page(self, url):
        self.redis.delete(self._make_key("page", url))

    def invalidate_pattern(self, pattern):
        cursor = 0
        while True:
            cursor, keys = self.redis.scan(cursor, match=f"cache:page:{pattern}*", count=100)
            if keys:
                self.redis.delete(*keys)
            if cursor == 0:
                break


def test_pages_are_cached_and_invalidated(connect):
    client = connect()
    cache = RedisCache(client)
    cache.set_page("/home", {"html": "<h1>hi</h1>", "status": 200})
    assert cache.get_page("/home") == {"html": "<h1>hi</h1>", "status": 200}
    assert 3590 <= client.ttl("cache:page:/home") <= 3600
    cache.invalidate_page("/home")
    assert cache.get_page("/home") is None


def test_invalidating_a_pattern_takes_all_of_it_and_nothing_else(connect):
    client = connect()
    cache = RedisCache(client)
    with client.pipeline(transaction=False) as pipe:
        for i in range(1500):
            pipe.setex(f"cache:page:/products/{i}", 3600, json.dumps(i))
            pipe.setex(f"cache:page:/users/{i}", 3600, json.dumps(i))
        pipe.execute()
    cache.invalidate_pattern("/products/")
    assert client.dbsize() == 1500
    assert cache.get_page("/products/7") is None
    assert cache.get_page("/users/1499") == 1499


def test_user_profile_comes_from_the_cache_the_second_time(connect):
    client = connect()
    database = {7: {"name": "Ada"}}

    def get_user_profile(user_id):
        cache_key = f"user:profile:{user_id}"
        profile = client.get(cache_key)
        if profile:
            return json.loads(profile)
        profile = database.get(user_id)
        if profile:
            client.setex(cache_key, 3600, json.dumps(profile))
        return profile

    assert get_user_profile(7) == {"name": "Ada"}
    database.clear()
    assert get_user_profile(7) == {"name": "Ada"}
    assert get_user_profile(8) is None
    assert client.exists("user:profile:8") == 0


def test_query_results_are_kept_in_a_hash_under_the_hash_of_the_query(connect):
    client = connect(decode_responses=True)

    def query(sql):
        field = hashlib.sha256(sql.encode()).hexdigest()
        if (cached := client.hget("query_cache", field)) is not None:
            return json.loads(cached), "hit"
        rows = [[1, "a"], [2, "b"]]
        client.hset("query_cache", field, json.dumps(rows))
        client.expire("query_cache", 300)
        return rows, "miss"

    assert query("SELECT * FROM t") == ([[1, "a"], [2, "b"]], "miss")
    assert query("SELECT * FROM t") == ([[1, "a"], [2, "b"]], "hit")
    assert query("SELECT 1")[1] == "miss"
    assert client.hlen("query_cache") == 2


def test_django_cache(connect, port):
    from django.conf import settings

    connect()
    if not settings.configured:
        location = f"redis://127.0.0.1:{port}/1"
        backend = "django.core.cache.backends.redis.RedisCache"
        settings.configure(CACHES={"default": {"BACKEND": backend, "LOCATION": location}})
    from django.core.cache import cache

    cache_key = "products:list:all"
    assert cache.get(cache_key) is None
    cache.set(cache_key, [{"id": 1, "name": "Lamp"}], 60 * 15)
    assert cache.get(cache_key) == [{"id": 1, "name": "Lamp"}]
    assert cache.add(cache_key, "other") is False
    cache.set("hits", 1)
    assert cache.incr("hits", 5) == 6
    cache.set_many({"a": 1, "b": 2}, timeout=60)
    assert cache.get_many(["a", "b", "c"]) == {"a": 1, "b": 2}
    assert cache.touch("a", 120) is True
    cache.delete_many(["a", "b"])
    assert cache.get("a") is None
    cache.clear()
    assert cache.get(cache_key) is None
