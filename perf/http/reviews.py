#!/usr/bin/env python3
"""Measures what the log of predictions does to answers: POST /predict with reviews, with the log off, on, and in trouble.

    reviews.py BUILD [--scenarios off,on,slow,full,locked] [--seconds 5] [--rate R] [--share 0.5] [--rounds 1] [--output FILE.json]

Needs the targets distild, perf_load and perf_slow_disk of BUILD. An open loop asks at --rate requests a second, or at --share of what the
server does with the log off, and counts latencies from when a request was due. Server and load share the machine. With several rounds the
scenarios take turns, and each row is the best of its rounds by the 99th percentile: what else runs on a machine only adds to latencies.

  off     --prediction-log=no
  on      as by default
  slow    each write to a file takes 5 ms longer, and each flush 200 ms
  full    no file can grow over 64 KB: a full disk
  locked  another process holds the database locked all the while
"""

import argparse
import json
import os
import pathlib
import re
import resource
import sqlite3
import subprocess
import tempfile
import threading
import time
import urllib.request

SCENARIOS = ("off", "on", "slow", "full", "locked")
FIELDS = '"product_id":"B00-42","timestamp":"2026-03-01T12:30:00Z"'
COUNTERS = {"written": "distild_prediction_log_rows_total", "waiting": "distild_prediction_log_queue_rows",
            "dropped": 'distild_prediction_log_dropped_total{reason="queue_full"}'}


def limit_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, 64 << 10))


class Server:
    def __init__(self, build, scenario):
        self.state = tempfile.TemporaryDirectory(prefix="distild-reviews-")
        variables = {"LD_PRELOAD": str(build / "perf" / "libperf_slow_disk.so"), "SLOW_DISK": "5,200"} if scenario == "slow" else {}
        self.process = subprocess.Popen(
            [str(build / "distild"), "serve", "--port", "0", "--state-dir", self.state.name,
             *(["--prediction-log=no"] if scenario == "off" else [])],
            stderr=subprocess.PIPE, text=True, env={**os.environ, **variables}, preexec_fn=limit_files if scenario == "full" else None)
        line = ""
        for line in self.process.stderr:
            found = re.search(r"listening on http://127\.0\.0\.1:(\d+) ", line)
            if found:
                self.port = int(found.group(1))
                threading.Thread(target=lambda: [None for _ in self.process.stderr], daemon=True).start()
                return
        raise SystemExit("the server did not start: " + line)

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as page:
            text = page.read().decode()
        return {name: int(re.search(rf"^{re.escape(series)} (\S+)$", text, re.M).group(1)) for name, series in COUNTERS.items()}

    def stop(self):
        self.process.terminate()
        self.process.wait(60)
        self.state.cleanup()


def load(build, port, *options):
    done = subprocess.run([str(build / "perf" / "perf_load"), "--port", str(port), "--words", "5-40", "--fields", FIELDS,
                           *map(str, options)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def measure(build, scenario, rate, seconds):
    server, other = Server(build, scenario), None
    # in every scenario alike: it is what the scheduler learns from first
    load(build, server.port, "--connections", 1, "--seconds", 0.3, "--warm-up", 0)
    time.sleep(0.3)
    if scenario == "locked":
        other = sqlite3.connect(pathlib.Path(server.state.name) / "predictions.db", isolation_level=None, timeout=30)
        other.execute("BEGIN EXCLUSIVE")
    row = load(build, server.port, "--connections", 256, "--rate", rate, "--seconds", seconds, "--warm-up", 1)
    row.update(scenario=scenario, **server.metrics())
    if other:
        other.close()
    server.stop()
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--scenarios", default=",".join(SCENARIOS))
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--output", type=pathlib.Path)
    options = parser.parse_args()
    rate = options.rate
    if not rate:
        server = Server(options.build, "off")
        rate = options.share * load(options.build, server.port, "--connections", 64, "--seconds", options.seconds)["per_second"]
        server.stop()
    scenarios, taken = options.scenarios.split(","), {}
    for _ in range(options.rounds):
        for scenario in scenarios:
            taken.setdefault(scenario, []).append(measure(options.build, scenario, rate, options.seconds))
    rows = []
    print(f"{'log':8} {'req/s':>8} {'p50 ms':>8} {'p95 ms':>8} {'p99 ms':>8} {'max ms':>8} {'failed':>7} {'written':>8} {'waiting':>8} "
          f"{'dropped':>8}", flush=True)
    for scenario in scenarios:
        row = min(taken[scenario], key=lambda each: each["p99_ms"])
        rows.append(row)
        print(f"{scenario:8} {row['per_second']:8.0f} {row['p50_ms']:8.2f} {row['p95_ms']:8.2f} {row['p99_ms']:8.2f} {row['max_ms']:8.2f} "
              f"{row['failed'] + row['answered'] - row['succeeded']:7.0f} {row['written']:8.0f} {row['waiting']:8.0f} {row['dropped']:8.0f}", flush=True)
    if options.output:
        options.output.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
