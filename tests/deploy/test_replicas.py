#!/usr/bin/env python3
"""One replica against two, each on a core of its own, behind nginx as deploy/nginx sets it up: two answer nearly twice as much. nginx and the
load generator run on the replicas' cores, as many as these are."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from harness import BINARY, PROGRAM, SOURCE, environment, main  # noqa: E402

MODEL = SOURCE / "weights" / "sst2-minilm.distild"
TEXTS = SOURCE / "deploy" / "tests" / "sentiment.tsv"
SECONDS = os.environ.get("DISTILD_LOAD_SECONDS", "8")
CONNECTIONS = "64"
LEAST = 1.5  # times what one answers


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def wait_for(url):
    until = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


class Replicas(unittest.TestCase):
    def start(self, *command):
        process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)

    def start_nginx(self, ports, pinned):
        """nginx as it is in its image, but with these replicas. Returns its port."""
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="distild-replicas-")))
        port = free_port()
        for name in ("nginx.conf", "distild.conf", "routes.conf"):
            text = (SOURCE / "deploy" / "nginx" / name).read_text(encoding="utf-8")
            text = text.replace("/tmp/", f"{folder}/").replace("listen 8080", f"listen 127.0.0.1:{port}")
            text = text.replace("/etc/nginx/distild.conf", f"{folder}/distild.conf").replace("/etc/nginx/routes.conf", f"{folder}/routes.conf")
            for number in (1, 2):
                text = text.replace(f"distild-{number}:8080", f"127.0.0.1:{ports[min(number, len(ports)) - 1]}")
            (folder / name).write_text(text, encoding="utf-8")
        self.start(*pinned, "nginx", "-e", "stderr", "-c", folder / "nginx.conf", "-g", "daemon off;")
        wait_for(f"http://127.0.0.1:{port}/nginx-health")
        return port

    def answered(self, cores):
        """Requests a second that replicas on these cores answer, and how long half of them took."""
        ports = [free_port() for _ in cores]
        for port, core in zip(ports, cores):
            state = self.enterContext(tempfile.TemporaryDirectory(prefix="distild-replicas-"))
            self.start("taskset", "--cpu-list", core, PROGRAM, "serve", "--model", MODEL, "--port", port, "--state-dir", state)
        for port in ports:
            wait_for(f"http://127.0.0.1:{port}/health")
        pinned = ["taskset", "--cpu-list", ",".join(map(str, cores))]
        command = [*pinned, BINARY / "perf" / "perf_load", "--port", self.start_nginx(ports, pinned), "--connections", CONNECTIONS,
                   "--seconds", SECONDS, "--tsv", TEXTS]
        found = json.loads(subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, check=True).stdout)
        self.assertEqual((found["failed"], list(found["by_status"])), (0, ["200"]))
        print(f"{len(cores)} replicas: {found['per_second']:.0f} requests/s, median {found['p50_ms']:.0f} ms, p99 {found['p99_ms']:.0f} ms", flush=True)
        self.doCleanups()
        return found["per_second"]

    def test_two_answer_nearly_twice_as_much(self):
        cores = sorted(os.sched_getaffinity(0))[:2]
        one, two = self.answered(cores[:1]), self.answered(cores)
        print(f"two answer {two / one:.2f} times what one does")
        self.assertGreater(two, LEAST * one)


if __name__ == "__main__":
    missing = [name for name in ("nginx", "taskset") if not shutil.which(name)]
    if missing or len(os.sched_getaffinity(0)) < 2:
        print(f"skipped: needs {' and '.join(missing) or 'two cores'}")
        sys.exit(77)
    main()
