"""BullMQ: a thousand jobs, some of them delayed and some tried again, with the server away in the middle."""

import json

import pytest
from conftest import HERE, WORK_LIMIT_S, node_modules

JOBS = 1000


def test_a_thousand_jobs_are_completed(servers, programs):
    environment = {"NODE_PATH": node_modules()}
    program = programs.start("bullmq", ["node", HERE / "bullmq.cjs", JOBS, *servers.ports], environment)
    assert program.hear(WORK_LIMIT_S) == "half"
    servers.fail()
    program.say("")
    told = json.loads(program.hear(WORK_LIMIT_S))
    assert told["failures"] == []
    assert sorted(told["results"]) == [[n, n * n] for n in range(JOBS)]
    unfinished = {state: count for state, count in told["counts"].items() if state != "completed"}
    assert told["counts"]["completed"] == JOBS and not any(unfinished.values()), told["counts"]
    # Each was done, a third of them twice; more often if it was being done while the server was away.
    attempts = dict(told["attempts"])
    assert all(attempts[n] >= (2 if n % 3 == 0 else 1) for n in range(JOBS))
