"""Libraries of locks, on one node and on three: a lock that is held stays so while the server is lost."""

import threading
import time

import redis
import redis_lock
from conftest import FOLLOW_LIMIT_S, WORK_LIMIT_S, poll
from pottery import Redlock

HOLD_S = 60


def again(call):
    """The result of a call that an application makes again while the server is away."""
    deadline = time.monotonic() + FOLLOW_LIMIT_S
    while True:
        try:
            return call()
        except (redis.ConnectionError, redis.TimeoutError):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_redis_lock_wakes_who_waits(servers):
    def make(**options):
        return redis_lock.Lock(servers.connect(), "door", expire=HOLD_S, **options)

    holder = make(auto_renewal=True)
    assert holder.acquire(blocking=False)
    entered = threading.Event()

    def wait():
        lock = make()
        if again(lock.acquire):
            entered.set()
            again(lock.release)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    poll(lambda: servers.client().info("clients")["blocked_clients"], WORK_LIMIT_S, "the other one to wait")
    servers.fail()
    assert not again(lambda: make().acquire(blocking=False))
    assert not entered.is_set()
    again(holder.release)
    assert entered.wait(WORK_LIMIT_S)
    waiting.join(WORK_LIMIT_S)
    assert not make().locked()


def test_redlock(servers):
    masters = {servers.connect(socket_timeout=FOLLOW_LIMIT_S)}
    lock = Redlock(key="printer", masters=masters, auto_release_time=HOLD_S)
    other = Redlock(key="printer", masters=masters, auto_release_time=HOLD_S)
    assert lock.acquire()
    servers.fail()
    # While no server answers, nobody gets the lock and nobody knows of one; then whoever had it has it still.
    assert not other.acquire(blocking=False)
    poll(lock.locked, FOLLOW_LIMIT_S, "the lock to be known again")
    assert not other.acquire(blocking=False)
    lock.extend()
    lock.release()
    assert other.acquire(blocking=False)
    other.release()
    assert other.locked() == 0
