"""Publish and subscribe, by channel and by pattern, with subscribers in threads."""

import json
import threading
import time


class RedisPubSub:
    def __init__(self, redis_client):
        self.redis = redis_client

    def publish(self, channel, message):
        return self.redis.publish(channel, json.dumps(message))

    def subscribe(self, channel, callback):
        pubsub = self.redis.pubsub()
        pubsub.subscribe(channel)
        for message in pubsub.listen():
            if message["type"] == "message":
                if callback(json.loads(message["data"])) == "stop":
                    break
        pubsub.close()

    def pattern_subscribe(self, pattern, callback):
        pubsub = self.redis.pubsub()
        pubsub.psubscribe(pattern)
        for message in pubsub.listen():
            if message["type"] == "pmessage":
                if callback(message["channel"], json.loads(message["data"])) == "stop":
                    break
        pubsub.close()


def test_every_subscriber_gets_every_message_in_order(connect, eventually):
    publisher = RedisPubSub(connect())
    received = [[], []]

    def subscriber(number):
        def handle(data):
            received[number].append(data["title"])
            return "stop" if data["title"] == "end" else None

        RedisPubSub(connect()).subscribe("notifications", handle)

    threads = [threading.Thread(target=subscriber, args=(n,), daemon=True) for n in range(2)]
    for thread in threads:
        thread.start()
    eventually(lambda: publisher.redis.pubsub_numsub("notifications")[0][1] == 2)
    for title in ["one", "two", "end"]:
        assert publisher.publish("notifications", {"title": title, "timestamp": time.time()}) == 2
    for thread in threads:
        thread.join(timeout=10)
    assert received == [["one", "two", "end"]] * 2


def test_pattern_subscriber_hears_matching_channels_only(connect, eventually):
    publisher = RedisPubSub(connect())
    received = []

    def handle(channel, data):
        received.append((channel, data["title"]))
        return "stop" if data["title"] == "end" else None

    thread = threading.Thread(
        target=RedisPubSub(connect()).pattern_subscribe, args=("user:*:notifications", handle), daemon=True
    )
    thread.start()
    eventually(lambda: publisher.redis.pubsub_numpat() == 1)
    assert publisher.publish("user:1:notifications", {"title": "hello"}) == 1
    assert publisher.publish("user:1:messages", {"title": "not for you"}) == 0
    assert publisher.publish("user:2:notifications", {"title": "end"}) == 1
    thread.join(timeout=10)
    assert received == [(b"user:1:notifications", "hello"), (b"user:2:notifications", "end")]


def test_redis_py_worker_thread(connect, eventually):
    client = connect()
    received = []
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe(**{"news": lambda message: received.append(message["data"])})
    worker = pubsub.run_in_thread(sleep_time=0.01, daemon=True)
    eventually(lambda: client.pubsub_numsub("news")[0][1] == 1)
    client.publish("news", "extra")
    eventually(lambda: received == [b"extra"])
    worker.stop()
    worker.join(timeout=10)


def test_message_without_subscriber_is_gone(connect):
    client = connect()
    assert client.publish("notifications", "nobody hears") == 0
    pubsub = client.pubsub()
    pubsub.subscribe("notifications")
    assert pubsub.get_message(timeout=5)["type"] == "subscribe"
    assert pubsub.get_message(timeout=0.05) is None
