"""Three nodes beside one node with the same policy, and beside three nodes of etcd: all with every write synced.

The writes are the same everywhere: 64 bytes under one of a million keys, each client waiting for its answer before the next.
Cairn is loaded by redis-benchmark, etcd by etcd_load.rs over gRPC, both at the leader. Rounds alternate, so
that what else the machine does meets all alike; the figures are medians of rounds. A generator that uses a whole core would
be what is measured: its CPU is shown.
"""

import json
import os
import random
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

from servers import ROOT, START_LIMIT_S, Server, cpu_seconds, free_port

ETCD = os.environ.get("ETCD_BIN", "etcd")
ETCD_LOAD = os.environ.get("ETCD_LOAD_BIN", str(ROOT / "target" / "release" / "etcd-load"))
NODES = 3
CLIENTS = [50, 500]
ROUND_S = 6
VALUE_BYTES = 64
KEYS = 1_000_000
# Peers listen this far above clients.
PEER_PORT_OFFSET = 10_000
# A first run, to learn how many requests a round takes, and to make the files and the caches warm.
FIRST_REQUESTS = {"three": 20_000, "one": 20_000, "etcd": 4_000}
FLAGS = ["--save", "", "--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"]


def redis_benchmark(port, clients, requests):
    command = ["redis-benchmark", "-p", str(port), "-t", "set", "-n", str(requests), "-c", str(clients),
               "-d", str(VALUE_BYTES), "-r", str(KEYS), "--csv"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    fields = [f.strip('"') for f in [l for l in out.splitlines() if l and "rps" not in l][-1].split(",")]
    return {"per_second": float(fields[1]), "p50_ms": float(fields[4]), "p99_ms": float(fields[6])}


class One:
    """One node."""

    def __init__(self):
        self.server = Server("cairn", FLAGS)
        self.control = self.server.client()

    def pids(self):
        return [self.server.process.pid]

    def syncs(self):
        return int(self.control.info("persistence")["log_syncs"])

    def load(self, clients, requests):
        return redis_benchmark(self.server.port, clients, requests)

    def stop(self):
        self.server.stop()


class Three:
    """Three nodes, started with the same line."""

    def __init__(self):
        ports = group_ports()
        peers = ",".join(f"127.0.0.1:{port}" for port in ports)
        flags = [*FLAGS, "--cluster-enabled", "yes", "--cluster-peers", peers]
        self.servers = [Server("cairn", flags, port=port, wait=False) for port in ports]
        for server in self.servers:
            server.wait_until_ready()
        self.controls = [server.client() for server in self.servers]
        self.leader = wait_for(self.find_leader, "a leader")

    def find_leader(self):
        for server, control in zip(self.servers, self.controls):
            if control.call("ROLE")[0] == b"master":
                return server
        return None

    def pids(self):
        return [server.process.pid for server in self.servers]

    def syncs(self):
        # The figures of a node of a group are renewed once a second.
        time.sleep(1.1)
        return sum(int(control.info("persistence")["log_syncs"]) for control in self.controls)

    def load(self, clients, requests):
        figures = redis_benchmark(self.leader.port, clients, requests)
        if self.find_leader() is not self.leader:
            sys.exit("the leader has changed under load, the round is void")
        return figures

    def stop(self):
        for server in self.servers:
            server.stop()


class Etcd:
    """Three nodes of etcd."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="bench-etcd-")
        clients, peers = [free_port() for _ in range(NODES)], [free_port() for _ in range(NODES)]
        group = ",".join(f"n{i}=http://127.0.0.1:{port}" for i, port in enumerate(peers))
        self.ports, self.processes = clients, []
        for i in range(NODES):
            client, peer = f"http://127.0.0.1:{clients[i]}", f"http://127.0.0.1:{peers[i]}"
            command = [ETCD, "--name", f"n{i}", "--data-dir", f"{self.directory}/n{i}", "--listen-client-urls", client,
                       "--advertise-client-urls", client, "--listen-peer-urls", peer,
                       "--initial-advertise-peer-urls", peer, "--initial-cluster", group,
                       "--initial-cluster-state", "new", "--logger", "zap", "--log-level", "error"]
            with open(f"{self.directory}/n{i}.txt", "wb") as out:
                self.processes.append(subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT))
        self.leader = wait_for(self.find_leader, "a leader of etcd's")

    def find_leader(self):
        for port in self.ports:
            try:
                status = post(port, "/v3/maintenance/status")
            except OSError:
                continue
            if status.get("leader", "0") == status["header"]["member_id"]:
                return port
        return None

    def pids(self):
        return [process.pid for process in self.processes]

    def syncs(self):
        return sum(int(metric(port, "etcd_disk_wal_fsync_duration_seconds_count")) for port in self.ports)

    def load(self, clients, requests):
        # etcd's own advice for many clients: ten share a connection; with one each it is slower.
        connections = max(1, clients // 10)
        command = [ETCD_LOAD, "--server", f"127.0.0.1:{self.leader}", "--connections", str(connections), "--clients",
                   str(clients), "--requests", str(requests), "--value-bytes", str(VALUE_BYTES), "--keys", str(KEYS)]
        figures = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        if self.find_leader() != self.leader:
            sys.exit("etcd's leader has changed under load, the round is void")
        return figures

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def group_ports():
    """Ports in a row, free here and where the peers listen; below those that the system gives out."""
    while True:
        first = random.randrange(12_000, 20_000)
        ports = list(range(first, first + NODES))
        try:
            for port in [*ports, *(port + PEER_PORT_OFFSET for port in ports)]:
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return ports
        except OSError:
            continue


def wait_for(find, what):
    limit = time.monotonic() + START_LIMIT_S
    while time.monotonic() < limit:
        found = find()
        if found is not None:
            return found
        time.sleep(0.05)
    sys.exit(f"{what} has not come up")


def post(port, path):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=b"{}", method="POST")
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)


def metric(port, name):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
    sys.exit(f"etcd has no metric {name}")


def etcd_version():
    try:
        return subprocess.run([ETCD, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except OSError:
        return None


def measure(system, clients, requests):
    """One round: what its generator says, and what it cost."""
    syncs, cpu = system.syncs(), [cpu_seconds(pid) for pid in system.pids()]
    before, generator = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    figures = system.load(clients, requests)
    elapsed, after = time.monotonic() - before, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = [cpu_seconds(pid) - was for pid, was in zip(system.pids(), cpu)]
    generator_cpu = after.ru_utime + after.ru_stime - generator.ru_utime - generator.ru_stime
    return {**figures, "requests": requests, "seconds": elapsed, "cpu_us": sum(cpu) / requests * 1e6,
            "busiest_cpu_us": max(cpu) / requests * 1e6, "generator_cores": generator_cpu / elapsed,
            "syncs_per_second": (system.syncs() - syncs) / elapsed}


def case(systems, clients, rounds):
    requests = {name: int(ROUND_S * measure(system, clients, FIRST_REQUESTS[name])["per_second"])
                for name, system in systems.items()}
    raw = {name: [] for name in systems}
    names = list(systems)
    for i in range(rounds):
        for name in names[i % len(names):] + names[:i % len(names)]:
            raw[name].append(measure(systems[name], clients, requests[name]))
    median = {name: {field: statistics.median(r[field] for r in raw[name]) for field in raw[name][0]} for name in raw}
    for name, m in median.items():
        print(f"{clients} clients, {name}: {m['per_second']:.0f}/s, p50 {m['p50_ms']:.2f} ms, p99 {m['p99_ms']:.2f} ms; CPU "
              f"{m['cpu_us']:.1f} us a write ({m['busiest_cpu_us']:.1f} the busiest node); {m['syncs_per_second']:.0f} "
              f"syncs/s; the generator used {m['generator_cores']:.2f} cores", flush=True)
    three = median["three"]
    ratio = {name: {"throughput": three["per_second"] / m["per_second"], "cpu": three["cpu_us"] / m["cpu_us"],
                    "p99": three["p99_ms"] / m["p99_ms"]} for name, m in median.items() if name != "three"}
    for name, r in ratio.items():
        print(f"{clients} clients, three beside {name}: {r['throughput']:.2f}x; CPU a write {r['cpu']:.2f}x; p99 "
              f"{r['p99']:.2f}x", flush=True)
    return {"clients": clients, "median": median, "ratio": ratio, "raw": raw}


def run(arguments):
    if arguments.without_etcd:
        kinds = {"three": Three, "one": One}
    elif etcd_version() is None:
        sys.exit("etcd is missing: apt-get install etcd-server, or --without-etcd")
    else:
        kinds = {"three": Three, "one": One, "etcd": Etcd}
    systems = {}
    try:
        for name, kind in kinds.items():
            systems[name] = kind()
        cases = [int(clients) for clients in arguments.cases] or CLIENTS
        return {"etcd": etcd_version(), "cases": [case(systems, clients, arguments.rounds) for clients in cases]}
    finally:
        for system in systems.values():
            system.stop()
