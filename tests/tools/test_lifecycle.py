#!/usr/bin/env python3
"""`distild serve` from start to end: several models, models replaced while it answers, drain, and the service manager."""

import concurrent.futures
import json
import os
import pathlib
import queue
import shutil
import signal
import socket
import tempfile
import threading
import time

from harness import MODEL, PATIENCE, SANITIZED, SOURCE, TINY, cases, main, run
from serving import ServeCase

TOLERANCE = 1e-4


def put(path, content):
    """Gives a file other contents as it is to be done: by renaming."""
    temporary = path.with_suffix(".new")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def with_another_bit(content):
    """A model file or catalogue with the lowest bit of one value another: still well formed, and next to nothing comes out otherwise."""
    changed = bytearray(content)
    changed[8 + int.from_bytes(content[:8], "little") + 64] ^= 1
    return bytes(changed)


class Lifecycle(ServeCase):
    def test_several_models(self):
        server = self.start("--model", f"first={MODEL}", "--model", f"second={TINY / 'bert-multi'}")
        status, _, answer = server.ask("GET", "/models")
        self.assertEqual((status, [(model["name"], model["default"]) for model in answer["models"]]),
                         (200, [("first", True), ("second", False)]))
        for name, model in (("first", "distilbert-single"), ("second", "bert-multi"), (None, "distilbert-single")):
            case = next(case for case in cases(model) if case["text"].strip())
            status, _, answer = server.ask("POST", "/predict", {"text": case["text"], **({"model": name} if name else {})})
            self.assertEqual(status, 200, answer)
            for score, wanted in zip(answer["scores"].values(), case["scores"]):
                self.assertAlmostEqual(score, wanted, delta=TOLERANCE)
        status, _, answer = server.ask("POST", "/predict", {"text": "x", "model": "third"})
        self.assertEqual((status, answer["error_type"], answer["field"]), (404, "NotFound", "model"))
        self.assertEqual(server.stop(), 0)
        self.assertIn("1 more model", server.log[0])

    def test_models_of_the_environment(self):
        server = self.start(DISTILD_MODEL=f"a={MODEL},b={MODEL}")
        self.assertEqual([model["name"] for model in server.ask("GET", "/models")[2]["models"]], ["a", "b"])
        self.assertEqual(server.stop(), 0)
        self.assertIn("two models are named", run("serve", "--model", MODEL, "--model", MODEL, "--port", "0", code=1)[1])
        self.assertIn("is not a PATH", run("serve", "--model", "name=", "--port", "0", code=2)[1])

    def test_models_are_replaced_under_load(self):
        texts = [case["text"] for case in cases() if case["text"].strip() and "\0" not in case["text"]][:8]
        with tempfile.TemporaryDirectory(prefix="distild-lifecycle-") as folder:
            path, kinds = pathlib.Path(folder) / "model.distild", ["fp32", "int8"]
            for kind in kinds:
                run("convert", MODEL, "-o", pathlib.Path(folder) / kind, "--dtype", kind)

            contents = [(pathlib.Path(folder) / kind).read_bytes() for kind in kinds]
            put(path, contents[0])
            server = self.start("--model", str(path))
            expected, swaps, stop = [], 0, threading.Event()
            for content in contents:
                if content != contents[0]:
                    put(path, content)
                    server.process.send_signal(signal.SIGHUP)
                    swaps += 1
                    server.wait_for_log("was replaced", swaps)
                expected.append([server.ask("POST", "/predict", {"text": text})[2]["scores"] for text in texts])
            self.assertNotEqual(*expected)

            def client(number):
                connection, count = server.connect(), 0
                while not stop.is_set():
                    i = (number + count) % len(texts)
                    status, _, answer = server.ask("POST", "/predict", {"text": texts[i]}, connection)
                    self.assertEqual(status, 200)
                    self.assertIn(answer["scores"], [scores[i] for scores in expected])
                    count += 1
                connection.close()
                return count

            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                clients = [pool.submit(client, number) for number in range(8)]
                try:
                    for i in range(4 if SANITIZED else 12):
                        put(path, contents[i % 2])
                        server.process.send_signal(signal.SIGHUP)
                        swaps += 1
                        server.wait_for_log("was replaced", swaps)
                    put(path, with_another_bit(contents[0]))
                    server.process.send_signal(signal.SIGHUP)
                    server.wait_for_log("goes on as it was")
                finally:
                    stop.set()
                self.assertGreater(sum(done.result() for done in clients), 0)
            self.assertEqual(server.stop(), 0)

    def test_a_damaged_file(self):
        """One bit of a model or a catalogue: refused by --verify and by every reload, and served by a start that reads neither."""
        with tempfile.TemporaryDirectory(prefix="distild-lifecycle-") as folder:
            model, catalogue = pathlib.Path(folder) / "m.distild", pathlib.Path(folder) / "c.catalogue"
            run("convert", MODEL, "-o", model, "--dtype", "fp32")
            shutil.copy(SOURCE / "weights" / "sample.catalogue", catalogue)
            options = ("--model", str(model), "--catalogue", str(catalogue))
            for name, path, inspect in (("model default", model, ("inspect",)), ("the catalogue", catalogue, ("catalogue", "inspect"))):
                with self.subTest(name):
                    whole = path.read_bytes()
                    put(path, with_another_bit(whole))
                    refused = run(*inspect, path, "--verify", code=1)[1].split(": ", 1)[1]
                    self.assertRegex(refused, f"{path}: distild.digest: expected [0-9a-f]{{64}}, found [0-9a-f]{{64}}: the file is damaged")
                    for wish, variables in ((["--verify"], {}), ([], {"DISTILD_VERIFY": "yes"})):
                        error = run("serve", "--port", "0", *options, *wish, DISTILD_STATE_DIR=folder, code=1, **variables)[1]
                        self.assertIn(f"distild serve: {refused}", error)
                    server = self.start(*options)
                    server.reload(f"{name} was not replaced and goes on as it was: {refused}")
                    put(path, whole)
                    server.reload(f"{name} was replaced")  # by one that states the same digest
                    server.reload(f"{name} is unchanged")
                    self.assertEqual(server.stop(), 0)

                    server = self.start(*options, "--verify")
                    question = ("/predict", {"text": "good"}) if path == model else ("/api/similar", {"id": "The Amber Harbour", "top_k": 3})
                    before = server.ask("POST", *question)
                    put(path, with_another_bit(whole))
                    server.reload(f"{name} was not replaced and goes on as it was: {refused}")
                    after = server.ask("POST", *question)
                    self.assertEqual((before[0], after[0]), (200, 200), (before, after))
                    for answer in (before[2], after[2]):
                        answer.pop("id", None)
                    self.assertEqual(before[2], after[2])
                    put(path, whole)
                    self.assertEqual(server.stop(), 0)

    def test_the_admin_route(self):
        with tempfile.TemporaryDirectory(prefix="distild-lifecycle-") as folder:
            path, keys = pathlib.Path(folder) / "model.distild", pathlib.Path(folder) / "keys.txt"
            run("convert", MODEL, "-o", path)
            admin, caller = (run("keys", "new", name, "--scope", name, "--append", keys)[0].strip() for name in ("admin", "predict"))

            def reload(server, key=None):
                connection = server.connect()
                connection.request("POST", "/admin/models/reload", b"", {"X-API-Key": key} if key else {})
                response = connection.getresponse()
                answer = response.read()
                connection.close()
                return response.status, json.loads(answer)

            server = self.start("--model", str(path))
            self.assertEqual(reload(server)[0], 401)  # there is no key that would do
            self.assertEqual(server.stop(), 0)
            server = self.start("--model", str(path), "--api-keys", str(keys))
            self.assertEqual(reload(server)[0], 401)
            self.assertEqual(reload(server, caller)[0], 403)
            self.assertEqual(reload(server, admin), (200, {"replaced": 0, "unchanged": 1, "catalogue": "unchanged"}))
            run("convert", MODEL, "-o", path, "--dtype", "int8")
            self.assertEqual(reload(server, admin), (200, {"replaced": 1, "unchanged": 0, "catalogue": "unchanged"}))
            with concurrent.futures.ThreadPoolExecutor(8) as pool:  # at once: some share a reload
                self.assertEqual({done[0] for done in pool.map(lambda _: reload(server, admin), range(16))}, {200})
            put(path, with_another_bit(path.read_bytes()))
            status, answer = reload(server, admin)
            self.assertEqual((status, answer["error_type"]), (500, "Backend"))
            self.assertRegex(answer["error"], "1 of 1 models go on as they were: .*: the file is damaged")
            path.unlink()
            status, answer = reload(server, admin)
            self.assertEqual((status, answer["error_type"]), (500, "Backend"))
            self.assertIn("1 of 1 models go on as they were: ", answer["error"])
            self.assertIn("model.distild", answer["error"])
            self.assertEqual(server.stop(), 0)

    def test_drain_delay(self):
        server = self.start("--drain-delay", "2")
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        self.assertEqual(server.process.wait(PATIENCE), 0)
        self.assertGreater(time.monotonic() - began, 1.9)
        server = self.start("--drain-delay", "600")
        server.process.send_signal(signal.SIGTERM)
        server.wait_for_log("draining")
        self.assertEqual(server.ask("GET", "/health")[2]["status"], "draining")
        self.assertEqual(server.ask("POST", "/predict", {"text": "good"})[0], 200)  # on a connection made after the signal
        self.assertEqual(server.stop(), 1)  # at once

    def test_the_service_manager_is_told(self):
        with tempfile.TemporaryDirectory(prefix="distild-lifecycle-") as folder:
            for name in (os.path.join(folder, "notify"), f"@distild-test-{os.getpid()}"):
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                    manager.bind(name.replace("@", "\0"))
                    manager.settimeout(PATIENCE)
                    told = queue.Queue()

                    def receive():
                        while message := manager.recv(1000).decode():
                            told.put(message)

                    def next_change():
                        while (message := told.get(timeout=PATIENCE)) == "WATCHDOG=1":
                            pass
                        return message

                    reader = threading.Thread(target=receive)
                    reader.start()
                    server = self.start(NOTIFY_SOCKET=name, WATCHDOG_USEC="100000")
                    self.assertEqual(next_change(), "READY=1")
                    self.assertEqual(told.get(timeout=PATIENCE), "WATCHDOG=1")
                    server.process.send_signal(signal.SIGHUP)
                    self.assertRegex(next_change(), r"\ARELOADING=1\nMONOTONIC_USEC=\d+\Z")
                    self.assertEqual(next_change(), "READY=1")
                    self.assertEqual(server.stop(), 0)
                    self.assertEqual(next_change(), "STOPPING=1")
                    manager.sendto(b"", name.replace("@", "\0"))
                    reader.join(PATIENCE)
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:  # does not hold the server up for long
                    deaf.bind(name.replace("@", "\0") + "-deaf")
                    server = self.start(NOTIFY_SOCKET=name + "-deaf", WATCHDOG_USEC="2000")
                    time.sleep(1)
                    self.assertEqual(server.stop(), 0)
        server = self.start(NOTIFY_SOCKET="relative", WATCHDOG_USEC="nonsense", WATCHDOG_PID="1")
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    main()
