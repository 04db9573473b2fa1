"""The application of test_celery.py: for its worker, and as a program for who gives it tasks.

CAIRN_TEST_PORTS are those of the nodes. The program reads lines: `FIRST END [GATE]` gives tasks for these numbers, and an empty
one waits for the results of them all. It answers each with a line: how many were given, or the results in JSON."""

import json
import os
import pathlib
import sys
import time

from celery import Celery

PORTS = os.environ["CAIRN_TEST_PORTS"].split(",")
MASTER = {"master_name": "mymaster"}
# As long as an election may take, and longer.
RETRY = {"max_retries": 200, "interval_start": 0.05, "interval_step": 0.05, "interval_max": 0.5}
# How long a message may be with a worker that says nothing: then another one gets it.
VISIBILITY_S = 20
RESULT_LIMIT_S = 120


def url():
    if len(PORTS) == 1:
        return f"redis://127.0.0.1:{PORTS[0]}/0"
    return ";".join(f"sentinel://127.0.0.1:{port}/0" for port in PORTS)


app = Celery("celery_jobs", broker=url(), backend=url())
app.conf.update(
    # What Celery's manual asks for where no task and no result may be lost.
    task_acks_late=True,
    result_backend_always_retry=True,
    result_backend_max_retries=200,
    result_backend_max_sleep_between_retries_ms=500,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={
        **MASTER,
        "visibility_timeout": VISIBILITY_S,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    },
    task_publish_retry_policy=RETRY,
    result_backend_transport_options={**MASTER, "retry_policy": RETRY},
)


@app.task
def square(n, gate=None):
    """The result; not before the file `gate` exists, if one is named."""
    deadline = time.monotonic() + RESULT_LIMIT_S
    while gate and not pathlib.Path(gate).exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return n * n


def main():
    results = []
    for line in sys.stdin:
        words = line.split()
        if words:
            first, end, *gate = words
            results += [square.delay(n, *gate) for n in range(int(first), int(end))]
            print(len(results), flush=True)
        else:
            print(json.dumps([result.get(timeout=RESULT_LIMIT_S) for result in results]), flush=True)


if __name__ == "__main__":
    main()
