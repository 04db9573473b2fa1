"""Timelines: fan-out when writing, fan-out when reading."""

import itertools
import time


def test_fan_out_on_write(connect):
    redis_client = connect(db=0)
    redis_client.sadd("followers:ann", "ben", "cat")
    number = itertools.count(int(time.time()))

    def post_content(user, content):
        now = next(number)
        post_id = f"post:{user}:{now}"
        redis_client.set(post_id, content)
        for follower in redis_client.smembers(f"followers:{user}"):
            redis_client.zadd(f"timeline:{follower.decode('utf-8')}", {post_id: now})
        return post_id

    posts = [post_content("ann", text) for text in ("first", "second")]
    for follower in ("ben", "cat"):
        newest = redis_client.zrevrange(f"timeline:{follower}", 0, -1)
        assert [post.decode() for post in newest] == posts[::-1]
    assert redis_client.zcard("timeline:dan") == 0
    assert redis_client.mget(posts) == [b"first", b"second"]


def test_fan_out_on_read(connect):
    redis_client = connect(db=0)
    number = itertools.count(int(time.time()))

    def post_update(user, content):
        now = next(number)
        post_id = f"post:{user}:{now}"
        redis_client.set(post_id, content)
        redis_client.zadd(f"posts:{user}", {post_id: now})

    def get_dynamic_timeline(user, count=10):
        posts = []
        for followed in redis_client.smembers(f"following:{user}"):
            key = f"posts:{followed.decode()}"
            posts.extend(redis_client.zrevrange(key, 0, count - 1, withscores=True))
        posts.sort(reverse=True, key=lambda post: int(post[0].decode().split(":")[-1]))
        return [redis_client.get(post_id.decode()).decode() for post_id, _ in posts[:count]]

    redis_client.sadd("following:regular_user", "celebrity", "friend")
    for i in range(8):
        post_update("celebrity", f"celebrity {i}")
        post_update("friend", f"friend {i}")
        post_update("stranger", f"stranger {i}")
    assert get_dynamic_timeline("regular_user", 3) == ["friend 7", "celebrity 7", "friend 6"]
    assert len(get_dynamic_timeline("regular_user")) == 10
    assert get_dynamic_timeline("loner") == []
