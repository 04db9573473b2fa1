"""Throttling: workers read a stream, take a lock to reach the database, and put back what they could not do."""

import threading
import time


def test_failed_lock_puts_the_message_back_with_backoff(connect):
    client = connect(decode_responses=True)
    client.xgroup_create("queries", "workers", id="0", mkstream=True)
    for i in range(20):
        client.xadd("queries", {"query": i, "attempt": 0})
    done, inside, most = set(), 0, 0
    guard = threading.Lock()

    def run(query):
        nonlocal inside, most
        with guard:
            inside += 1
            most = max(most, inside)
        time.sleep(0.002)
        with guard:
            inside -= 1
            done.add(query)

    def work(name):
        r = connect(decode_responses=True, protocol=2)
        deadline = time.monotonic() + 25
        while len(done) < 20 and time.monotonic() < deadline:
            for _, entries in r.xreadgroup("workers", name, {"queries": ">"}, count=1, block=20) or []:
                for message_id, message in entries:
                    lock = r.lock("database", timeout=10, blocking=False)
                    if lock.acquire():
                        run(message["query"])
                        lock.release()
                    else:
                        attempt = int(message["attempt"]) + 1
                        time.sleep(min(0.001 * 2**attempt, 0.05))
                        r.xadd("queries", {"query": message["query"], "attempt": attempt})
                    r.xack("queries", "workers", message_id)

    threads = [threading.Thread(target=work, args=(f"w{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert done == {str(i) for i in range(20)}
    assert most == 1, "never two at the database"
    assert client.xpending("queries", "workers")["pending"] == 0
    assert client.xlen("queries") >= 20
