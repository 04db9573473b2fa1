"""Celery with Redis as its broker and for its results: a worker of processes, a thousand tasks, none of them lost."""

import json
import sys

from conftest import HERE, START_LIMIT_S, WORK_LIMIT_S, poll

TASKS = 1000
PROCESSES = 4


def test_a_thousand_tasks_have_results(servers, programs, tmp_path):
    environment = {"CAIRN_TEST_PORTS": ",".join(map(str, servers.ports))}
    words = ["-m", "celery", "--app", "celery_jobs", "worker", "--concurrency", str(PROCESSES), "--loglevel", "INFO"]
    worker = programs.start("worker", [sys.executable, *words], environment)
    producer = programs.start("producer", [sys.executable, HERE / "celery_jobs.py"], environment)

    half = TASKS // 2
    producer.say(f"0 {half}")
    assert producer.hear(WORK_LIMIT_S) == str(half)
    producer.say("")
    assert json.loads(producer.hear(WORK_LIMIT_S)) == [n * n for n in range(half)]

    # All processes have a task, and no answer with another one is on its way: that one would be lost, with any Redis.
    gate = tmp_path / "gate"
    producer.say(f"{half} {half + PROCESSES} {gate}")
    producer.hear(WORK_LIMIT_S)
    producer.say(f"{half + PROCESSES} {half + 2 * PROCESSES}")
    producer.hear(WORK_LIMIT_S)
    is_busy = lambda client: client.hlen("unacked") == PROCESSES and client.llen("celery") == PROCESSES
    poll(lambda: is_busy(servers.client()), START_LIMIT_S, "the worker to have its hands full")
    servers.fail()
    producer.say(f"{half + 2 * PROCESSES} {TASKS}")
    gate.touch()
    assert producer.hear(WORK_LIMIT_S) == str(TASKS)
    producer.say("")
    assert json.loads(producer.hear(WORK_LIMIT_S)) == [n * n for n in range(TASKS)]

    # What was done while the broker was away is done a second time, and then nothing is left.
    client = servers.client()
    poll(lambda: not client.exists("unacked", "celery"), WORK_LIMIT_S, "all messages to be acknowledged")
    assert worker.is_running()
