#!/usr/bin/env python3
"""`distild serve`, end to end: the real program on a free port, asked by a real HTTP client."""

import concurrent.futures
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time

from harness import MODEL, PATIENCE, PROGRAM, SANITIZED, cases, environment, main, run, wait_until
from serving import ServeCase

TOLERANCE = 1e-4
CONNECTIONS = 32


class Serve(ServeCase):
    def check(self, case, answer):
        for score, wanted in zip(answer["scores"].values(), case["scores"]):
            self.assertAlmostEqual(score, wanted, delta=TOLERANCE, msg=case["text"])
        self.assertEqual(answer["label"], max(answer["scores"], key=answer["scores"].get))
        self.assertEqual(answer["text"], case["text"])

    def test_parallel_connections_get_their_own_answers(self):
        server = self.start()
        texts = [case for case in cases() if case["text"].strip() and "\0" not in case["text"]]
        self.assertGreater(len(texts), 3)

        def client(number):
            connection = server.connect()
            for i in range(20):
                case = texts[(number + i) % len(texts)]
                status, _, answer = server.ask("POST", "/predict", {"text": case["text"]}, connection)
                self.assertEqual(status, 200)
                self.check(case, answer)
            connection.close()
            return 20

        with concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as pool:
            self.assertEqual(sum(pool.map(client, range(CONNECTIONS))), 20 * CONNECTIONS)
        self.assertEqual(server.stop(), 0)

    def test_health_command_sees_it_come_and_go(self):
        server = self.start()
        status, headers, answer = server.ask("GET", "/health")
        self.assertEqual((status, answer), (200, {"status": "healthy", "model_loaded": True, "device": "cpu"}))
        self.assertTrue(headers["Content-Type"].startswith("application/json"))
        self.assertIn('"healthy"', run("health", "--port", server.port)[0])
        run("health", "--url", f"http://127.0.0.1:{server.port}", DISTILD_PORT="1")
        run("health", DISTILD_PORT=str(server.port))
        self.assertEqual(server.stop(signal.SIGINT), 0)
        run("health", "--port", server.port, code=1)

    def test_errors_are_json_and_say_what(self):
        server = self.start("--max-body", "2000")
        for method, path, body, expected in (
            ("GET", "/nowhere", None, 404), ("GET", "/predict", None, 405), ("POST", "/predict", b"{", 400),
            ("POST", "/predict", {"text": ""}, 400), ("POST", "/predict", {"text": 7}, 400), ("POST", "/predict", {}, 400),
            ("POST", "/predict", {"text": "x" * 3000}, 413),
        ):
            status, headers, answer = server.ask(method, path, body)
            self.assertEqual(status, expected, (method, path, answer))
            self.assertTrue(headers["Content-Type"].startswith("application/json"))
            self.assertIn("error", answer)
        status, _, answer = server.ask("POST", "/predict", {"text": "good " * 100})
        self.assertEqual((status, answer["truncated"]), (200, True))
        self.assertEqual(server.stop(), 0)

    def test_drains_what_it_accepted(self):
        server = self.start("--cpu", "scalar", "--threads", "1", "--max-client-batch", "1000", "--max-queue", "10000",
                            "--max-queue-tokens", "1000000", "--max-queue-ms", "0", "--drain-timeout", "600")
        texts = [["the film was good and " + "long " * 50]] * (50 if SANITIZED else 500)
        ends = []

        def client():
            status, _, answer = server.ask("POST", "/predict", {"inputs": texts, "truncate": True})
            ends.append((time.monotonic(), status, len(answer)))

        clients = [threading.Thread(target=client) for _ in range(8)]
        for thread in clients:
            thread.start()
        wait_until(lambda: len(ends) + server.metric("distild_requests_in_flight") - 1 >= len(clients))
        told = time.monotonic()
        self.assertEqual(server.stop(), 0)
        for thread in clients:
            thread.join(PATIENCE)
        self.assertEqual([(status, count) for _, status, count in ends], [(200, len(texts))] * 8)
        self.assertGreater(max(end for end, _, _ in ends), told, "nothing was left to drain")
        with self.assertRaises(OSError):
            server.ask("GET", "/health")

    def test_refuses_to_start(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            err = run("serve", "--model", MODEL, "--port", taken.getsockname()[1], code=1)[1]
            self.assertIn(str(taken.getsockname()[1]), err)
        self.assertIn("no-such-model", run("serve", "--model", "no-such-model", "--port", "0", code=1)[1])
        self.assertIn("192.0.2.1", run("serve", "--model", MODEL, "--host", "192.0.2.1", "--port", "0", code=1)[1])

    def test_a_model_cut_while_it_serves(self):
        with tempfile.TemporaryDirectory(prefix="distild-serve-") as folder:
            path = pathlib.Path(folder) / "model.distild"
            run("convert", MODEL, "-o", path)
            server = self.start("--model", str(path))
            self.assertEqual(server.ask("POST", "/predict", {"text": "good"})[0], 200)
            os.truncate(path, 0)
            with self.assertRaises((OSError, http.client.HTTPException)):
                server.ask("POST", "/predict", {"text": "good"})
            self.assertEqual(server.process.wait(PATIENCE), 1)
            server.reader.join(10)
            self.assertEqual([line for line in server.log if "mapped" in line],
                             ["distild: a mapped model file was cut or can no longer be read; replace models by renaming\n"])

    def test_logs(self):
        server = self.start("--log-level", "debug", DISTILD_LOG_JSON="yes")
        self.assertEqual(server.ask("GET", "/health")[0], 200)
        server.ask("POST", "/predict", {"text": "good"})
        self.assertEqual(server.stop(), 0)
        lines = [json.loads(line) for line in server.log if line.startswith("{")]
        self.assertGreater(len(lines), 1)
        self.assertTrue(any("/predict" in json.dumps(line) for line in lines), server.log)

    def test_a_unix_socket(self):
        with tempfile.TemporaryDirectory(prefix="distild-uds-") as folder:
            path = f"{folder}/socket"
            server = self.start("--uds", path, "--uds-mode", "600")
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
            self.assertIn('"healthy"', run("health", "--uds", path)[0])
            self.assertIn('"healthy"', run("health", DISTILD_UDS=path)[0])
            self.assertIn(path, run("serve", "--uds", path, "--model", MODEL, code=1)[1])
            self.assertEqual(server.stop(), 0)
            self.assertFalse(os.path.exists(path))
            self.assertIn("No such file", run("health", "--uds", path, code=1)[1])
        self.assertIn("longer than", run("health", "--uds", "x" * 200, code=2)[1])
        self.assertIn("1 to 107 bytes", run("serve", "--uds", "x" * 200, "--model", MODEL, code=1)[1])

    def test_a_client_that_goes_away_does_not_end_it(self):
        server = self.start()
        raw = socket.create_connection(("127.0.0.1", server.port))
        raw.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n"
                    b'{"text":"good"}')
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        raw.close()
        self.assertEqual(server.ask("GET", "/health")[0], 200)
        self.assertEqual(server.stop(), 0)

    def test_a_signal_while_it_starts_is_not_lost(self):
        # Libraries may have threads that block no signal: the kernel gives them those that the main thread is not waiting for.
        wanted = sum(1 << (number - 1) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
        for _ in range(5):
            process = subprocess.Popen([str(PROGRAM), "serve", "--port", "0", "--model", str(MODEL)],
                                       stderr=subprocess.PIPE, env=environment(), text=True)
            status = pathlib.Path(f"/proc/{process.pid}/status")
            missed = time.monotonic() + PATIENCE
            while process.poll() is None and time.monotonic() < missed:
                caught = re.search(r"SigCgt:\s*(\w+)", status.read_text())
                if caught and int(caught.group(1), 16) & wanted == wanted:
                    break
            process.send_signal(signal.SIGTERM)
            log = process.communicate(timeout=PATIENCE)[1]
            self.assertEqual(process.returncode, 0, log)
            self.assertRegex(log, "drained|ended while models were being loaded")


if __name__ == "__main__":
    main()
