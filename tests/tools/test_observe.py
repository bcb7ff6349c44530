#!/usr/bin/env python3
"""What a running `distild serve` tells an operator: metrics, request ids, logs."""

import json
import os
import re
import socket
import subprocess
import tempfile
import time
import unittest

import exposition
from harness import MODEL, PATIENCE, PROGRAM, SOURCE, environment, main, run
from serving import ServeCase

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Metrics(ServeCase):
    def scrape(self, server):
        connection = server.connect()
        connection.request("GET", "/metrics")
        page = connection.getresponse().read().decode()
        connection.close()
        return page, exposition.parse(page)

    def test_the_page_is_well_formed_and_only_its_values_change(self):
        server = self.start()
        first = self.scrape(server)[1]
        for text in ("good", "bad", "", "so so " * 400):
            server.ask("POST", "/predict", {"text": text})
        server.ask("POST", "/predict", {"inputs": [["a"], ["b", "c"]]})
        server.ask("GET", "/" + "x" * 100)
        second = self.scrape(server)[1]
        self.assertEqual(list(first), list(second))
        predicted = [value for (name, _), value in second.items() if name == "distild_predictions_total"]
        self.assertEqual(sum(predicted), 5)
        counted = sum(value for (name, _), value in second.items() if name == "distild_requests_total")
        self.assertGreaterEqual(counted, 6)
        self.assertGreater(second["distild_model_load_seconds", (("model", "default"),)], 0)
        self.assertEqual(server.stop(), 0)

    def test_counters_never_fall(self):
        server = self.start("--http-threads", "3")
        before = {}
        for i in range(20):
            server.ask("POST", "/predict", {"text": f"text {i}"})
            now = self.scrape(server)[1]
            for key, value in now.items():
                if key[0].endswith(("_total", "_bucket", "_count", "_sum")):
                    self.assertGreaterEqual(value, before.get(key, 0), key)
            before = now
        self.assertEqual(server.stop(), 0)

    def test_every_metric_is_documented(self):
        server = self.start()
        families = {line.split(" ")[2] for line in self.scrape(server)[0].split("\n") if line.startswith("# TYPE ")}
        text = (SOURCE / "docs" / "operations.md").read_text(encoding="utf-8")
        self.assertEqual([name for name in sorted(families) if f"`{name}`" not in text], [])
        self.assertEqual(server.stop(), 0)


class Requests(ServeCase):
    """Request ids, traces, and the line for each request."""

    def ask(self, server, headers, path="/predict", body=b'{"text":"good"}'):
        connection = server.connect()
        connection.request("POST" if body else "GET", path, body, {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        response.read()
        connection.close()
        return response

    def test_a_start_that_fails_is_logged_like_the_rest(self):
        told = json.loads(run("serve", "--log-json", "--model", "none", code=1)[1])
        self.assertEqual((told["level"], told["message"]), ("error", "none: cannot open: No such file or directory"))

    def test_a_line_for_each_request(self):
        server = self.start("--access-log", "--log-json", "--log-level", "error")
        response = self.ask(server, {"X-Request-Id": "abc-123", "traceparent": f"00-{TRACE}-{PARENT}-01"})
        self.assertEqual(response.headers["X-Request-Id"], "abc-123")
        found = re.fullmatch(f"00-{TRACE}-([0-9a-f]{{16}})-01", response.headers["traceresponse"])
        self.assertNotEqual(found.group(1), PARENT)
        own = self.ask(server, {"X-Request-Id": "has space", "traceparent": "00-nonsense"})
        self.assertRegex(own.headers["X-Request-Id"], r"^[0-9a-f]{16}$")
        self.assertNotIn("traceresponse", own.headers)
        health = self.ask(server, {}, "/health", None)
        nowhere = self.ask(server, {}, "/nowhere", None)
        self.assertEqual(server.stop(), 0)
        # a line is written when its answer is sent, which a busy machine does later for one connection than for the next
        order = [asked.headers["X-Request-Id"] for asked in (response, own, health, nowhere)]
        lines = sorted((json.loads(line) for line in server.log if '"request"' in line), key=lambda line: order.index(line["id"]))
        self.assertEqual([(line["method"], line["route"], line["status"]) for line in lines],
                         [("POST", "/predict", 200), ("POST", "/predict", 200), ("GET", "/health", 200), ("GET", "-", 404)])
        first, second, third, fourth = lines
        self.assertEqual((first["id"], first["trace_id"], first["parent_id"], first["span_id"]),
                         ("abc-123", TRACE, PARENT, found.group(1)))
        self.assertEqual((first["client"], first["bytes_in"], first["texts"]), ("127.0.0.1", 15, 1))
        self.assertEqual(first["bytes_out"], int(response.headers["Content-Length"]))
        self.assertEqual(first["tokens"], int(response.headers["x-compute-tokens"]))
        self.assertGreater(first["inference_ms"], 0)
        self.assertGreaterEqual(first["total_ms"], first["inference_ms"] + first["queue_ms"])
        self.assertEqual((second["id"], third["id"]), (own.headers["X-Request-Id"], health.headers["X-Request-Id"]))
        self.assertNotIn("trace_id", second)
        self.assertEqual(fourth["path"], "/nowhere")

    def test_silent_by_default(self):
        server = self.start()
        self.ask(server, {})
        self.assertEqual(server.stop(), 0)
        self.assertEqual([line for line in server.log if "/predict" in line], [])

    def test_two_traceparents_are_none(self):
        server = self.start()
        connection = server.connect()
        connection.putrequest("GET", "/health")
        for span in (PARENT, "1" * 16):
            connection.putheader("traceparent", f"00-{TRACE}-{span}-01")
        connection.endheaders()
        response = connection.getresponse()
        self.assertEqual((response.status, response.headers["traceresponse"]), (200, None))
        connection.close()
        self.assertEqual(server.stop(), 0)

    def test_the_journal_gets_priorities(self):
        reading, writing = os.pipe()
        place = os.fstat(writing)
        process = subprocess.Popen([str(PROGRAM), "serve", "--port", "0", "--model", str(MODEL), "--access-log"], stderr=writing,
                                   env=environment(JOURNAL_STREAM=f"{place.st_dev}:{place.st_ino}"))
        os.close(writing)
        log = os.fdopen(reading, encoding="utf-8")
        self.assertRegex(log.readline(), r"^<6>distild listening on ")
        process.terminate()
        rest = log.read()
        self.assertEqual(process.wait(PATIENCE), 0)
        log.close()
        self.assertEqual([line for line in rest.splitlines() if not re.match(r"<[3467]>\d{4}-", line)], [])

    def test_the_journal_is_reached_through_its_socket(self):
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
            path = f"{folder}/stdout"
            listener.bind(path)
            listener.listen()
            listener.settimeout(PATIENCE)
            command = [str(PROGRAM), "serve", "--port", "0", "--model", str(MODEL), "--log-journal", path, "--log-tag", "reviews"]
            process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment())
            with listener.accept()[0] as connection, connection.makefile(encoding="utf-8") as log:
                connection.settimeout(PATIENCE)
                self.assertEqual([log.readline().rstrip("\n") for _ in range(7)], ["reviews", "", "6", "1", "0", "0", "0"])
                self.assertRegex(log.readline(), r"^<6>distild listening on ")
                process.terminate()
                rest = log.read().splitlines()
            self.assertEqual((process.communicate(timeout=PATIENCE)[1], process.returncode), (b"", 0))
            self.assertTrue(rest and all(re.match(r"<[3467]>\d{4}-", line) for line in rest), rest)
        for arguments, code, message in [(["--log-journal", f"{path}/none"], 1, "--log-journal: .*: No such file"),
                                         (["--log-journal", "x" * 200], 2, "--log-journal: the path is longer"),
                                         (["--log-journal", path, "--log-tag", "two\nlines"], 2, "--log-tag: 'two")]:
            self.assertRegex(run("serve", "--port", "0", "--model", MODEL, *arguments, code=code)[1], message)

    def test_a_log_that_nobody_reads_holds_up_no_request(self):
        reading, writing = os.pipe()
        process = subprocess.Popen([str(PROGRAM), "serve", "--port", "0", "--model", str(MODEL), "--access-log"], stderr=writing,
                                   env=environment())
        os.close(writing)
        announced = os.read(reading, 4096).decode()
        server = type("Running", (), {"port": int(re.search(r"127\.0\.0\.1:(\d+)", announced).group(1))})
        server.connect = lambda: __import__("http.client").client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        connection = server.connect()
        began = time.monotonic()
        for i in range(7000):  # some 1.7 MB of log, more than pipe and ring hold
            connection.request("GET", f"/health?{'x' * 40}{i}")
            self.assertEqual(connection.getresponse().read()[:9], b'{"status"')
        connection.request("GET", "/metrics")
        values = exposition.parse(connection.getresponse().read().decode())
        connection.close()
        self.assertLess(time.monotonic() - began, 2 * PATIENCE)
        self.assertGreater(values["distild_log_lines_dropped_total", ()], 0)
        process.terminate()
        self.assertEqual(process.wait(PATIENCE), 0)
        os.close(reading)


class Reader(unittest.TestCase):
    """The strict reader finds what it is there to find."""

    def test_faults(self):
        good = '# HELP a_total A.\n# TYPE a_total counter\na_total{x="\\"y\\\\"} 1\n'
        exposition.parse(good)
        for bad in (
            good[:-1], good + good, good + 'a_total{x="\\"y\\\\"} 2\n', good.replace("_total", "_ms_total"),
            good.replace("_total", ""), good.replace("# HELP a_total A.\n", ""), good.replace(" 1\n", " -1\n"),
            good.replace(" 1\n", "\n"), good.replace('{x="', '{x="\n'), good.replace("counter", "gauge"),
            "# HELP h H.\n# TYPE h histogram\n" + 'h_bucket{le="1"} 2\nh_bucket{le="+Inf"} 1\nh_sum 1\nh_count 1\n',
            "# HELP h H.\n# TYPE h histogram\n" + 'h_bucket{le="1"} 1\nh_sum 1\nh_count 1\n',
            "# HELP h H.\n# TYPE h histogram\n" + 'h_bucket{le="+Inf"} 1\nh_sum 1\nh_count 2\n',
        ):
            with self.assertRaises((exposition.Fault, ValueError), msg=bad):
                exposition.parse(bad)


if __name__ == "__main__":
    main()
