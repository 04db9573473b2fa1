"""RQ: a worker that forks for each job goes on after its Redis was away, and does each job once."""

import sys

import rq
import rq_jobs
from conftest import START_LIMIT_S, WORK_LIMIT_S, poll

JOBS = 200
# Every so many fails at first.
FAILS_AT_FIRST = 10
HELD = JOBS // 2 + 1


def test_each_job_is_done_once(servers, programs, tmp_path):
    environment = {"CAIRN_TEST_PORTS": ",".join(map(str, servers.ports))}
    worker = programs.start(
        "worker", [sys.executable, "-m", "rq.cli", "worker", "--config", "rq_jobs", "default"], environment
    )
    queue = rq.Queue(connection=servers.connect(retry=rq_jobs.RETRY))
    record, gate = tmp_path / "record", tmp_path / "gate"

    def enqueue(n):
        if n % FAILS_AT_FIRST:
            return queue.enqueue(rq_jobs.square, n, str(record))
        return queue.enqueue(rq_jobs.fails_at_first, n, str(record), retry=rq.Retry(max=1))

    jobs = [enqueue(n) for n in range(HELD)]
    jobs.append(queue.enqueue(rq_jobs.square, HELD, str(record), str(gate)))
    # The worker waits for its child, and asks for no other job.
    poll(lambda: jobs[-1].get_status() == "started", WORK_LIMIT_S, "the last job to begin")
    servers.fail()
    jobs += [enqueue(n) for n in range(HELD + 1, JOBS)]
    gate.touch()
    poll(lambda: queue.finished_job_registry.count == JOBS, WORK_LIMIT_S, "all jobs to be done")

    assert [job.return_value(refresh=True) for job in jobs] == [n * n for n in range(JOBS)]
    attempts = sorted(int(line) for line in record.read_text().split())
    assert attempts == sorted([*range(JOBS), *range(0, JOBS, FAILS_AT_FIRST)])
    assert (queue.count, queue.failed_job_registry.count, queue.started_job_registry.count) == (0, 0, 0)
    assert worker.is_running()
