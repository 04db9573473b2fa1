"""Queues: lists with BRPOP, a backup list, streams with consumer groups and reclaiming."""

import json
import threading

import pytest
import redis


def test_list_queue_delivers_in_order(connect):
    redis_client = connect(db=0)
    received = []

    def consume(queue_name, count):
        consumer = connect(db=0)
        for _ in range(count):
            _, message = consumer.brpop(queue_name)
            received.append(message.decode("utf-8"))

    consumer = threading.Thread(target=consume, args=("email_queue", 3))
    consumer.start()
    redis_client.lpush("email_queue", "Send welcome email to user@example.com")
    redis_client.lpush("email_queue", "Send password reset email to user@example.com")
    redis_client.lpush("email_queue", "Send invoice")
    consumer.join(timeout=20)
    assert received == [
        "Send welcome email to user@example.com",
        "Send password reset email to user@example.com",
        "Send invoice",
    ]
    assert redis_client.llen("email_queue") == 0


def test_each_message_goes_to_one_of_many_consumers(connect):
    producer = connect()
    received, guard = [], threading.Lock()

    def consume():
        client = connect()
        while True:
            _, message = client.brpop("jobs")
            if message == b"stop":
                return
            with guard:
                received.append(int(message))

    consumers = [threading.Thread(target=consume) for _ in range(4)]
    for consumer in consumers:
        consumer.start()
    for i in range(400):
        producer.lpush("jobs", i)
    for _ in consumers:
        producer.lpush("jobs", "stop")
    for consumer in consumers:
        consumer.join(timeout=20)
    assert sorted(received) == list(range(400))


def test_brpop_gives_up_after_its_timeout(connect):
    assert connect().brpop("nothing", timeout=0.05) is None


def test_brpoplpush_keeps_a_backup(connect):
    client = connect()
    client.lpush("queue", "a", "b")
    assert client.brpoplpush("queue", "processing", timeout=5) == b"a"
    assert client.lrange("processing", 0, -1) == [b"a"]
    assert client.lrem("processing", 1, "a") == 1
    assert client.blmove("queue", "processing", 5, "RIGHT", "LEFT") == b"b"
    assert client.lrange("processing", 0, -1) == [b"b"]


class RedisStreamQueue:
    def __init__(self, redis_client, stream_name):
        self.redis = redis_client
        self.stream = stream_name
        self.consumer_group = f"{stream_name}:group"

    def setup(self):
        try:
            self.redis.xgroup_create(self.stream, self.consumer_group, id="0", mkstream=True)
        except redis.exceptions.ResponseError as e:
            if "BUSYGROUP" not in str(e):
                raise

    def add_message(self, data):
        return self.redis.xadd(self.stream, data)

    def consume(self, consumer_name, count=1, block=5000):
        messages = self.redis.xreadgroup(
            self.consumer_group, consumer_name, {self.stream: ">"}, count=count, block=block
        )
        return entries_of(messages, self.stream)

    def acknowledge(self, message_id):
        return self.redis.xack(self.stream, self.consumer_group, message_id)


def entries_of(messages, stream):
    """The entries of one stream: RESP3 answers a map with a list of batches, RESP2 a list of pairs."""
    if isinstance(messages, dict):
        return [entry for batch in messages.get(stream, []) for entry in batch]
    return [entry for name, entries in messages or [] if name == stream for entry in entries]


@pytest.mark.parametrize("protocol", [2, 3])
def test_stream_workers_share_and_acknowledge(connect, protocol):
    queue = RedisStreamQueue(connect(decode_responses=True, protocol=protocol), "orders:queue")
    queue.setup()
    queue.setup()
    ids = [queue.add_message({"order": str(i)}) for i in range(5)]
    first = queue.consume("worker-1", count=2)
    second = queue.consume("worker-2", count=10)
    assert [entry[0] for entry in first + second] == ids
    assert [entry[1]["order"] for entry in first] == ["0", "1"]
    assert queue.consume("worker-1", block=10) == []

    for message_id, _ in first:
        assert queue.acknowledge(message_id) == 1
    assert queue.acknowledge(ids[0]) == 0
    pending = queue.redis.xpending(queue.stream, queue.consumer_group)
    assert pending["pending"] == 3
    assert pending["consumers"] == [{"name": "worker-2", "pending": 3}]


def test_what_a_dead_worker_left_is_reclaimed(connect):
    client = connect(decode_responses=True)
    queue = RedisStreamQueue(client, "orders:queue")
    queue.setup()
    ids = [queue.add_message({"n": i}) for i in range(3)]
    queue.consume("dead", count=3)

    details = client.xpending_range(queue.stream, queue.consumer_group, "-", "+", 10)
    assert [(d["message_id"], d["consumer"], d["times_delivered"]) for d in details] == [
        (message_id, "dead", 1) for message_id in ids
    ]
    _, claimed, _ = client.xautoclaim(queue.stream, queue.consumer_group, "alive", 0, count=2)
    assert [entry[0] for entry in claimed] == ids[:2]
    rest = client.xclaim(queue.stream, queue.consumer_group, "alive", 0, [ids[2]])
    assert rest == [(ids[2], {"n": "2"})]
    for message_id in ids:
        queue.acknowledge(message_id)
    assert client.xpending(queue.stream, queue.consumer_group)["pending"] == 0
    assert client.xlen(queue.stream) == 3


def test_worker_waits_for_what_comes(connect):
    queue = RedisStreamQueue(connect(decode_responses=True), "events")
    queue.setup()
    got = []

    def work():
        worker = RedisStreamQueue(connect(decode_responses=True), "events")
        while len(got) < 20:
            for message_id, data in worker.consume("w", count=5):
                got.append(json.loads(data["payload"]))
                worker.acknowledge(message_id)

    worker = threading.Thread(target=work)
    worker.start()
    for i in range(20):
        queue.add_message({"payload": json.dumps({"i": i})})
    worker.join(timeout=20)
    assert got == [{"i": i} for i in range(20)]
    assert queue.redis.xinfo_groups("events")[0]["pending"] == 0
