#!/usr/bin/env python3
"""Whole-server comparisons with other servers, in one run on one machine. `cargo xtask bench NAME` calls this.

    bench.py throughput [--rounds N] [CASE ...]   redis-benchmark, alternating; CASE = persistence/command:pipeline:clients
    bench.py memory                               bytes per key of strings, small hashes, a sorted set, a stream
    bench.py snapshot                             longest stall of a PING client and RSS while a snapshot runs under load
    bench.py load                                 start-up with 2 M keys, from snapshot and from log
    bench.py search                               200 000 products: indexing, queries while writes go on, right answers, recall
    bench.py cluster [--rounds N] [CLIENTS ...]   three nodes beside one node and beside three of etcd: see cluster.py

Figures are medians; the raw ones go to runs/NAME-COMMIT.json with the commit and the machine. Absolute figures drift with
the machine: compare ratios, and only within one run.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import cluster
from servers import CAIRN, REDIS, ROOT, Client, Server

HERE = Path(__file__).resolve().parent
SEARCH_LOAD = os.environ.get("SEARCH_LOAD_BIN", str(ROOT / "target" / "release" / "search-load"))
# Requests before memory is measured: enough to run through all code, too few to show.
WARM_UP = 150

THROUGHPUT_CASES = [
    "none/set:1:50", "none/get:1:50", "none/set:16:50", "none/get:16:50",
    "everysec/set:1:50", "everysec/get:1:50", "everysec/set:16:50", "everysec/get:16:50",
    "always/set:1:50", "always/set:1:500", "always/set:16:50",
]


def persistence_flags(name):
    if name == "none":
        return ["--save", "", "--appendonly", "no"]
    # Rewrites of the log in the middle of a round would be measured by chance.
    return ["--save", "", "--appendonly", "yes", "--appendfsync", name, "--auto-aof-rewrite-percentage", "0"]


def throughput_case(case, rounds):
    persistence, what = case.split("/")
    command, pipeline, clients = what.split(":")
    slow = persistence == "always"
    requests = {("1", False): 200_000, ("16", False): 1_500_000, ("1", True): 150_000, ("16", True): 1_000_000}[
        (pipeline, slow)]
    servers = {kind: Server(kind, persistence_flags(persistence)) for kind in ("cairn", "redis")}

    def run(kind):
        server = servers[kind]
        before = server.cpu_seconds()
        out = subprocess.run(
            ["redis-benchmark", "-p", str(server.port), "-t", command, "-n", str(requests), "-c", clients, "-P",
             pipeline, "-d", "64", "-r", "1000000", "--csv"], capture_output=True, text=True, check=True).stdout
        used = server.cpu_seconds() - before
        fields = [f.strip('"') for f in [l for l in out.splitlines() if l and "rps" not in l][-1].split(",")]
        return {"per_second": float(fields[1]), "p50_ms": float(fields[4]), "p99_ms": float(fields[6]),
                "cpu_us": used / requests * 1e6}

    # Both keyspaces are filled before anything is measured.
    for kind in servers:
        subprocess.run(["redis-benchmark", "-p", str(servers[kind].port), "-t", "set", "-n", "1500000" if not slow else
                        "200000", "-P", "64", "-c", "20", "-d", "64", "-r", "1000000", "-q"], capture_output=True)
    raw = {"cairn": [], "redis": []}
    for i in range(rounds):
        for kind in ("cairn", "redis") if i % 2 == 0 else ("redis", "cairn"):
            raw[kind].append(run(kind))
    for server in servers.values():
        server.stop()
    median = {kind: {field: statistics.median(r[field] for r in raw[kind]) for field in raw[kind][0]} for kind in raw}
    ratio = {"throughput": median["cairn"]["per_second"] / median["redis"]["per_second"],
             "cpu": median["cairn"]["cpu_us"] / max(median["redis"]["cpu_us"], 1e-9)}
    print(f"{case}: {median['cairn']['per_second']:.0f}/s against {median['redis']['per_second']:.0f}/s = "
          f"{ratio['throughput']:.2f}x; CPU {median['cairn']['cpu_us']:.2f} against {median['redis']['cpu_us']:.2f} us a "
          f"command = {ratio['cpu']:.2f}x; p99 {median['cairn']['p99_ms']:.2f} against "
          f"{median['redis']['p99_ms']:.2f} ms", flush=True)
    return {"case": case, "median": median, "ratio": ratio, "raw": raw}


def throughput(arguments):
    return [throughput_case(case, arguments.rounds) for case in arguments.cases or THROUGHPUT_CASES]


def memory(_):
    encode = Client.encode
    value = b"v" * 64
    data = {
        "1 M strings of 64 bytes": (1_000_000, lambda n: (
            encode("SET", b"key:%012d" % i, value) for i in range(n))),
        "1 M counters": (1_000_000, lambda n: (
            encode("SET", b"key:%012d" % i, b"%d" % (i * 7919)) for i in range(n))),
        "500 k hashes of 5 fields": (500_000, lambda n: (
            encode("HSET", b"user:%08d" % i, "name", b"user%d" % i, "age", i % 90, "mail", b"u%d@example.org" % i,
                   "city", "Paris", "score", i) for i in range(n))),
        "a sorted set of 1 M members": (1_000_000, lambda n: (
            encode("ZADD", "board", (i * 7919) % 1_000_003, b"player:%09d" % i) for i in range(n))),
        "a stream of 1 M entries": (1_000_000, lambda n: (
            encode("XADD", "events", "*", "kind", "click", "user", i % 5000, "at", 1_700_000_000 + i)
            for i in range(n))),
    }
    results = []
    for name, (count, requests) in data.items():
        figures = {}
        for kind in ("cairn", "redis"):
            server = Server(kind, persistence_flags("none"))
            client = server.client()
            # Code comes in when it first runs, and is not memory of an item: it is there before the base is taken.
            client.pipeline(requests(WARM_UP))
            client.call("FLUSHALL")
            time.sleep(1)
            used, rss = int(client.info("memory")["used_memory"]), server.rss()
            client.pipeline(requests(count))
            # Give the allocator and lazy work a moment before reading.
            time.sleep(1)
            figures[kind] = {"used_per_item": (int(client.info("memory")["used_memory"]) - used) / count,
                             "rss_per_item": (server.rss() - rss) / count}
            server.stop()
        ratio = {field: figures["cairn"][field] / figures["redis"][field] for field in figures["cairn"]}
        print(f"{name}: used_memory {figures['cairn']['used_per_item']:.1f} against "
              f"{figures['redis']['used_per_item']:.1f} bytes = {ratio['used_per_item']:.2f}x; RSS "
              f"{figures['cairn']['rss_per_item']:.1f} against {figures['redis']['rss_per_item']:.1f} = "
              f"{ratio['rss_per_item']:.2f}x", flush=True)
        results.append({"case": name, "figures": figures, "ratio": ratio})
    return results


def fill(server, keys):
    value = b"v" * 64
    server.client().pipeline(Client.encode("SET", b"key:%012d" % i, value) for i in range(keys))


def longest_ping(server, seconds, stop):
    """PINGs as fast as they are answered; returns the longest and the 99.9th percentile, in milliseconds."""
    client = server.client()
    times = []
    end = time.monotonic() + seconds
    while time.monotonic() < end and not stop.is_set():
        start = time.perf_counter()
        client.call("PING")
        times.append((time.perf_counter() - start) * 1000)
        time.sleep(0.0005)
    times.sort()
    return {"longest_ms": times[-1], "p999_ms": times[int(len(times) * 0.999)], "pings": len(times)}


def under_load(server, seconds, snapshot):
    """The load of the other figures: redis-benchmark with 50 clients that overwrite random keys."""
    load = subprocess.Popen(
        ["redis-benchmark", "-p", str(server.port), "-t", "set", "-n", "100000000", "-c", "50", "-P", "1", "-d", "64",
         "-r", "2000000", "-q"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1)
    stop = threading.Event()
    peak = [0]

    def watch():
        while not stop.is_set():
            peak[0] = max(peak[0], server.rss_of_family())
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    base = server.rss()
    watcher.start()
    done = {}
    if snapshot:
        def save():
            control = server.client()
            start = time.monotonic()
            control.call("BGSAVE")
            while control.info("persistence")["rdb_bgsave_in_progress"] == "1":
                time.sleep(0.02)
            done["seconds"] = time.monotonic() - start
            done["status"] = control.info("persistence")["rdb_last_bgsave_status"]

        saver = threading.Thread(target=save)
        saver.start()
    result = longest_ping(server, seconds, stop)
    if snapshot:
        saver.join()
    stop.set()
    watcher.join()
    load.kill()
    load.wait()
    return {**result, "rss_base": base, "rss_peak": peak[0], "rss_growth": peak[0] / base - 1, **done}


def snapshot(_):
    results = {}
    for kind in ("cairn", "redis"):
        server = Server(kind, persistence_flags("none"))
        fill(server, 2_000_000)
        quiet = under_load(server, 10, False)
        saving = under_load(server, 10, True)
        server.stop()
        results[kind] = {"without": quiet, "with": saving,
                         "added_stall_ms": saving["longest_ms"] - quiet["longest_ms"]}
        print(f"{kind}: longest PING {quiet['longest_ms']:.1f} ms without, {saving['longest_ms']:.1f} ms with a snapshot "
              f"of 2 M keys ({saving['seconds']:.1f} s, {saving['status']}); RSS +{saving['rss_growth'] * 100:.0f} %",
              flush=True)
    return results


def load(arguments):
    keys = 2_000_000
    results = {}
    for source in ("snapshot", "log"):
        figures = {}
        for kind in ("cairn", "redis"):
            times = []
            if source == "snapshot":
                flags = persistence_flags("none")
            else:
                flags = persistence_flags("no")
                if kind == "redis":
                    # Commands, as our log has them, not a base file in the dump format.
                    flags += ["--aof-use-rdb-preamble", "no"]
            server = Server(kind, flags)
            fill(server, keys)
            if source == "snapshot":
                server.client().call("SAVE")
            directory = server.directory
            time.sleep(2)
            server.kill()
            for _ in range(arguments.rounds):
                again = Server(kind, flags, directory)
                size = again.client().call("DBSIZE")
                if size != keys:
                    sys.exit(f"{kind} came back with {size} of {keys} keys from its {source}")
                times.append(again.ready_after)
                again.kill()
            shutil.rmtree(directory, ignore_errors=True)
            figures[kind] = {"seconds": statistics.median(times), "raw": times,
                             "keys_per_second": keys / statistics.median(times)}
        ratio = figures["cairn"]["keys_per_second"] / figures["redis"]["keys_per_second"]
        print(f"2 M keys from {source}: {figures['cairn']['keys_per_second'] / 1e6:.2f} against "
              f"{figures['redis']['keys_per_second'] / 1e6:.2f} M keys/s = {ratio:.2f}x", flush=True)
        results[source] = {**figures, "ratio": ratio}
    return results


def search(arguments):
    """search_load.rs measures; further arguments are its own: --documents=20000, --json."""
    server = Server("cairn", persistence_flags("everysec"))
    rss = server.rss()
    command = [SEARCH_LOAD, "--server", f"127.0.0.1:{server.port}", *arguments.cases]
    figures = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    figures["rss_per_document"] = (server.rss() - rss) / figures["documents"]
    server.stop()
    return figures


BENCHES = {"throughput": throughput, "memory": memory, "snapshot": snapshot, "load": load, "search": search,
           "cluster": cluster.run}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=BENCHES)
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-save", action="store_true", help="print only")
    parser.add_argument("--without-etcd", action="store_true", help="cluster: three nodes beside one only")
    arguments, more = parser.parse_known_intermixed_args()
    if more and arguments.name != "search":
        parser.error(f"no such argument: {more[0]}")
    arguments.cases += more
    if not os.path.exists(CAIRN):
        sys.exit("no release build: cargo build --release")
    result = BENCHES[arguments.name](arguments)
    if arguments.no_save:
        return
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=ROOT)
    version = subprocess.run([REDIS, "--version"], capture_output=True, text=True).stdout.strip()
    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    record = {"bench": arguments.name, "commit": commit.stdout.strip(), "date": time.strftime("%Y-%m-%d"),
              "machine": {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release()},
              "redis": version, "load_average": os.getloadavg()[0], "result": result}
    target = HERE / "runs" / f"{arguments.name}-{record['commit']}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(record, indent=1) + "\n")
    print(f"saved {target.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
