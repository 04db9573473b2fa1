"""Locks: SETNX, SET NX EX with release by script, redis-py's own Lock, a limited number of workers."""

import threading
import time
import uuid

import pytest
import redis


def test_setnx_is_won_once(connect):
    client = connect()
    assert client.setnx("lock_key", "locked") == 1
    assert client.setnx("lock_key", "locked") == 0
    client.delete("lock_key")
    assert client.setnx("lock_key", "locked") == 1


def test_simple_lock_ends_by_itself(connect, eventually):
    redis_client = connect(db=0)

    def acquire_lock(lock_name, timeout=10):
        return redis_client.set(lock_name, "locked", ex=timeout, nx=True) is not None

    assert acquire_lock("resource_lock", timeout=1)
    assert not acquire_lock("resource_lock")
    eventually(lambda: acquire_lock("resource_lock"))
    redis_client.delete("resource_lock")
    assert acquire_lock("resource_lock")


class RedisLock:
    RELEASE = """
    if redis.call("get", KEYS[1]) == ARGV[1] then
        return redis.call("del", KEYS[1])
    else
        return 0
    end
    """

    def __init__(self, redis_client, lock_name, timeout=10):
        self.redis = redis_client
        self.lock_name = f"lock:{lock_name}"
        self.timeout = timeout
        self.token = str(uuid.uuid4())
        self.acquired = False

    def acquire(self, blocking=True, blocking_timeout=30):
        start_time = time.time()
        while True:
            if self.redis.set(self.lock_name, self.token, nx=True, ex=self.timeout):
                self.acquired = True
                return True
            if not blocking or time.time() - start_time >= blocking_timeout:
                return False
            time.sleep(0.002)

    def release(self):
        if not self.acquired:
            return False
        self.acquired = False
        return self.redis.eval(self.RELEASE, 1, self.lock_name, self.token)

    def __enter__(self):
        self.acquire()
        return self

    def __exit__(self, exc_type, exc_val, exc_tb):
        self.release()


def test_only_the_owner_releases(connect):
    client = connect()
    owner, other = RedisLock(client, "payment:1"), RedisLock(client, "payment:1")
    assert owner.acquire()
    assert not other.acquire(blocking=False)
    other.acquired = True
    assert other.release() == 0
    assert client.exists("lock:payment:1")
    assert owner.release() == 1
    assert other.acquire(blocking=False)
    assert 5 <= client.ttl("lock:payment:1") <= 10


def test_lock_excludes_under_contention(connect):
    client = connect()
    client.set("balance", 0)

    def add(times):
        for _ in range(times):
            with RedisLock(client, "balance"):
                # Read, think, write: wrong without the lock.
                client.set("balance", int(client.get("balance")) + 1)

    threads = [threading.Thread(target=add, args=(25,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert int(client.get("balance")) == 200
    assert not client.exists("lock:balance")


def test_redis_py_lock(connect):
    client = connect()
    with client.lock("redis-py", timeout=10) as lock:
        assert lock.owned()
        assert not client.lock("redis-py", timeout=10, blocking=False).acquire()
        assert lock.extend(10)
        assert 15 <= client.ttl("redis-py") <= 20
        assert lock.reacquire()
        assert 5 <= client.ttl("redis-py") <= 10
    assert not client.exists("redis-py")


def test_redis_py_lock_that_ran_out_cannot_be_released(connect, eventually):
    client = connect()
    lock = client.lock("short", timeout=0.05)
    assert lock.acquire()
    eventually(lambda: not client.exists("short"))
    other = client.lock("short", timeout=10)
    assert other.acquire()
    with pytest.raises(redis.exceptions.LockError):
        lock.release()
    assert other.owned()
    other.release()


def test_redis_py_lock_waits_its_turn(connect):
    client = connect()
    order = []

    def worker(name):
        with client.lock("turns", timeout=10, sleep=0.005, blocking_timeout=20):
            order.append((name, "in"))
            order.append((name, "out"))

    threads = [threading.Thread(target=worker, args=(i,)) for i in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(order) == 20
    assert all(enter[0] == leave[0] for enter, leave in zip(order[::2], order[1::2]))


def test_only_so_many_workers_reach_the_database(connect):
    client = connect()
    inside, most = 0, 0
    guard = threading.Lock()

    def query():
        nonlocal inside, most
        slot = None
        while slot is None:
            for candidate in range(3):
                if client.set(f"db-slot:{candidate}", "busy", nx=True, ex=10):
                    slot = candidate
                    break
            else:
                time.sleep(0.002)
        with guard:
            inside += 1
            most = max(most, inside)
        time.sleep(0.005)
        with guard:
            inside -= 1
        client.delete(f"db-slot:{slot}")

    threads = [threading.Thread(target=query) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= most <= 3
    assert client.dbsize() == 0
