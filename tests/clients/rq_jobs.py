"""Jobs and settings of test_rq.py, as `rq worker --config rq_jobs` reads them. CAIRN_TEST_PORTS are those of the nodes."""

import os
import pathlib
import time

from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError, ReadOnlyError, TimeoutError
from redis.retry import Retry

JOB_LIMIT_S = 120
# As long as an election may take, and longer.
RETRY = Retry(ConstantBackoff(0.1), 600, (ConnectionError, TimeoutError, ReadOnlyError))

PORTS = os.environ.get("CAIRN_TEST_PORTS", "").split(",")
if len(PORTS) == 1:
    REDIS_PORT = PORTS[0]
else:
    SENTINEL = {
        "INSTANCES": [("127.0.0.1", int(port)) for port in PORTS],
        "MASTER_NAME": "mymaster",
        "CONNECTION_KWARGS": {"retry": RETRY},
    }


def square(n, record, gate=None):
    """The result; not before the file `gate` exists, if one is named. Each call leaves a line in the file `record`."""
    deadline = time.monotonic() + JOB_LIMIT_S
    while gate and not pathlib.Path(gate).exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with open(record, "a") as lines:
        lines.write(f"{n}\n")
    return n * n


def fails_at_first(n, record):
    """Fails the first time that it is called, for RQ to try again."""
    with open(record, "a+") as lines:
        lines.seek(0)
        is_first = f"{n}\n" not in lines.readlines()
        lines.write(f"{n}\n")
    if is_first:
        raise RuntimeError("not at the first attempt")
    return n * n
