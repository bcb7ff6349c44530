#!/usr/bin/env python3
"""deploy/compose.yaml: nginx in front of two replicas. Killing one under load loses no request."""

import json
import os
import pathlib
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

from podman import BINARY, CASES, IMAGE, NGINX, SOURCE, ask, call, free_port, healthy, inspect, main_process, podman, resident_mb, wait_for

COMPOSE = SOURCE / "deploy" / "compose.yaml"
CLIENT = SOURCE / "deploy" / "client.py"
TEXTS = SOURCE / "deploy" / "tests" / "sentiment.tsv"
REPLICAS = ["distild_distild-1_1", "distild_distild-2_1"]
HIDDEN = " 0 failed, 2 skipped: 2 as the server has its routes for operators hidden"  # /drift and /metrics.json, which nginx hides
SECONDS = float(os.environ.get("DISTILD_LOAD_SECONDS", "8"))


def load(port, connections=32, seconds=SECONDS, rate=0):
    """Starts perf_load on /predict; the report is what report() returns."""
    command = [BINARY / "perf" / "perf_load", "--port", port, "--connections", connections, "--seconds", seconds, "--warm-up", 1, "--tsv", TEXTS]
    command += ["--rate", rate] if rate else []
    return subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)


def report(process):
    return json.loads(process.communicate(timeout=300)[0])


class Stack(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(cls.folder.name)
        folder.chmod(0o755)
        call("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", folder / "cert.pem", "-keyout", folder / "key.pem")
        for path in folder.iterdir():
            path.chmod(0o644)
        cls.port, cls.tls_port = free_port(), free_port()
        os.environ.update(DISTILD_IMAGE=IMAGE, DISTILD_NGINX_IMAGE=NGINX, DISTILD_PORT=str(cls.port), DISTILD_TLS_PORT=str(cls.tls_port),
                          SESSION_PASSWORD="correct horse", TLS_CERTIFICATES=str(folder))
        cls.compose("--profile", "tls", "up", "--detach", "--no-build")
        healthy(cls.port)

    @classmethod
    def tearDownClass(cls):
        cls.compose("--profile", "tls", "down", "--volumes", "--timeout", "40")
        cls.folder.cleanup()

    @classmethod
    def compose(cls, *arguments):
        return call("podman-compose", "--file", COMPOSE, *arguments, timeout=120)

    def setUp(self):
        for name in REPLICAS:
            address = inspect(name, "range .NetworkSettings.Networks}}{{.IPAddress}}{{end")
            reached = ["nsenter", "--net", "--target", main_process("distild_nginx_1"), BINARY / "distild", "health", "--host", address, "--port", "8080"]
            wait_for(lambda command=reached: call(*command), f"{name} healthy, as nginx sees it")
        time.sleep(2.5)  # until nginx tries again one that had died

    def counted(self, name):
        """Requests to /predict that a replica says it answered."""
        page = podman("exec", name, "/bin/bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080; printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3")
        return sum(float(value) for value in re.findall(r'^distild_requests_total\{[^}]*route="/predict"[^}]*\} (\S+)', page, re.M))

    def test_the_cases_hold_through_nginx(self):
        self.assertIn(HIDDEN, call(CLIENT, CASES, "--url", f"http://127.0.0.1:{self.port}"))

    def test_the_cases_hold_through_tls(self):
        certificate = pathlib.Path(self.folder.name) / "cert.pem"
        self.assertIn(HIDDEN, call(CLIENT, CASES, "--url", f"https://127.0.0.1:{self.tls_port}", "--ca-cert", certificate))
        context = ssl.create_default_context(cafile=certificate)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with urllib.request.urlopen(f"https://127.0.0.1:{self.tls_port}/health", context=context, timeout=30) as answer:
            self.assertIn("max-age", answer.headers["Strict-Transport-Security"])
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with self.assertRaises(OSError):
            urllib.request.urlopen(f"https://127.0.0.1:{self.tls_port}/health", context=old, timeout=30)

    def test_what_is_not_for_clients_is_not_there(self):
        for path in ("/metrics", "/admin/models/reload", "/drift"):
            with self.assertRaises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30)
            self.assertEqual(refused.exception.code, 404)

    def test_both_replicas_share_the_load_within_their_limits(self):
        before = [self.counted(name) for name in REPLICAS]
        found = report(load(self.port))
        shares = [self.counted(name) - was for name, was in zip(REPLICAS, before)]
        self.assertEqual((found["failed"], list(found["by_status"])), (0, ["200"]))
        self.assertGreater(min(shares), sum(shares) / 4)
        resident = [resident_mb(name) for name in REPLICAS]
        print(f"stack: {found['per_second']:.0f} requests/s with 32 connections, median {found['p50_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms; "
              f"replicas {resident[0]:.0f} and {resident[1]:.0f} MB resident (the stack before: 10 to 20 requests/s in 2 to 3 GB)", flush=True)
        for name in [*REPLICAS, "distild_nginx_1"]:
            self.assertEqual(inspect(name, ".HostConfig.Memory"), str((128 if "nginx" in name else 512) << 20))
            self.assertEqual(inspect(name, ".HostConfig.NanoCpus"), "1000000000")
            self.assertEqual(inspect(name, ".HostConfig.RestartPolicy.Name"), "always")
            self.assertEqual(inspect(name, ".HostConfig.ReadonlyRootfs"), "true")

    def test_killing_a_replica_under_load_loses_no_request(self):
        for kill, comes_back in ((lambda name: os.kill(main_process(name), signal.SIGKILL), True), (lambda name: podman("kill", name), False)):
            old = main_process(REPLICAS[0])
            running = load(self.port)
            time.sleep(1 + SECONDS / 3)
            kill(REPLICAS[0])
            found = report(running)
            self.assertEqual((found["failed"], found["unanswered"], list(found["by_status"])), (0, 0, ["200"]), found)
            self.assertGreater(found["succeeded"], 20)
            print(f"stack, one replica killed: {found['sent']} requests, all answered, slowest {found['max_ms']:.0f} ms", flush=True)
            if not comes_back:  # the engine takes its own kill for a wish, and leaves the container as it is
                podman("start", REPLICAS[0])
            wait_for(lambda: main_process(REPLICAS[0]) not in (0, old), "restarted")
            wait_for(lambda: podman("exec", REPLICAS[0], "distild", "health"), "healthy again")

    def test_stopping_a_replica_under_load_loses_no_request(self):
        running = load(self.port)
        time.sleep(1 + SECONDS / 4)
        self.addCleanup(podman, "start", REPLICAS[1])
        podman("stop", "--time", "40", REPLICAS[1])
        found = report(running)
        self.assertEqual((found["failed"], found["unanswered"], list(found["by_status"])), (0, 0, ["200"]), found)
        self.assertEqual(inspect(REPLICAS[1], ".State.ExitCode"), "0")

    def test_the_state_of_a_client_stays_with_one_replica(self):
        token = ask(self.port, "POST", "/api/login", {"session_password": "correct horse"})[1]["access_token"]
        for _ in range(10):
            request = urllib.request.Request(f"http://127.0.0.1:{self.port}/protected", headers={"Authorization": f"Bearer {token}"})
            with urllib.request.urlopen(request, timeout=30) as answer:
                self.assertEqual(answer.status, 200)


if __name__ == "__main__":
    sys.exit(unittest.main())
