"""ioredis with its default settings, while the leader is killed."""

import os
import pathlib
import queue
import subprocess
import threading
import time

import pytest
from conftest import FOLLOW_LIMIT_S, START_LIMIT_S, node_modules


class Program:
    """ioredis.cjs at work."""

    def __init__(self, kind, ports):
        script = pathlib.Path(__file__).with_name("ioredis.cjs")
        self.process = subprocess.Popen(
            ["node", str(script), kind, *map(str, ports)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "NODE_PATH": node_modules()},
        )
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()
        self.acknowledged, self.failures = [], []

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line)

    def run_until(self, count, limit_s):
        """Until so many more writes are acknowledged."""
        deadline = time.monotonic() + limit_s
        wanted = len(self.acknowledged) + count
        while len(self.acknowledged) < wanted:
            left = deadline - time.monotonic()
            assert left > 0, f"{count} writes take longer than {limit_s} s: {self.failures[-3:]}"
            try:
                word, n, *why = self.lines.get(timeout=left).split(maxsplit=2)
            except queue.Empty:
                continue
            if word == "acknowledged":
                self.acknowledged.append(int(n))
            else:
                self.failures.append(" ".join(why))

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.mark.parametrize("kind", ["plain", "cluster", "sentinel"])
def test_it_follows(cluster, kind):
    ports = cluster.followers() if kind == "plain" else cluster.ports
    program = Program(kind, ports)
    try:
        program.run_until(100, START_LIMIT_S)
        assert program.failures == []
        cluster.kill_leader()
        killed = time.monotonic()
        while not program.lines.empty():
            program.run_until(1, FOLLOW_LIMIT_S)
        program.run_until(1, FOLLOW_LIMIT_S)
        print(f"resumed after {time.monotonic() - killed:.2f} s; failures: {program.failures}")
        program.run_until(100, FOLLOW_LIMIT_S)
    finally:
        program.stop()
    values = cluster.client().mget([f"key:{n}" for n in program.acknowledged])
    assert values == [str(n) for n in program.acknowledged]
