#!/usr/bin/env python3
"""The log of predictions in trouble, with the real program: the disk full, read-only, slow or hanging, the database locked at the end,
the server killed again and again. Answers go on all the while."""

import http.client
import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from harness import BINARY, MODEL, SANITIZED, SOURCE, main, run, wait_until
from test_reviews import REVIEW, ReviewsCase

SLOW_DISK = BINARY / "perf" / "libperf_slow_disk.so"


class Trouble(ReviewsCase):
    def mount(self, size):
        """A file system of its own, as root; None where that cannot be had."""
        folder = tempfile.mkdtemp(prefix="distild-disk-")
        self.addCleanup(os.rmdir, folder)
        if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], stderr=subprocess.DEVNULL).returncode:
            self.skipTest("no file system can be mounted here")
        self.addCleanup(subprocess.run, ["umount", "-l", folder], check=True)
        return pathlib.Path(folder)

    def ask_many(self, server, count, text="a review"):
        """Predicts, and returns how long the longest answer took."""
        connection, longest = server.connect(), 0
        for i in range(count):
            began = time.monotonic()
            self.assertEqual(server.ask("POST", "/predict", {**REVIEW, "text": f"{text} {i}"}, connection)[0], 200)
            longest = max(longest, time.monotonic() - began)
        connection.close()
        return longest

    def test_the_disk_is_full(self):
        disk = self.mount("1m")
        self.state = disk / "state"
        server = self.serve()
        self.ask_many(server, 10)
        self.written(server, 10)
        filler = disk / "filler"
        with self.assertRaises(OSError), open(filler, "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        self.ask_many(server, 200, "x" * 1000)
        wait_until(lambda: server.metric("distild_prediction_log_failures_total", cause="disk_full") > 0)
        self.assertEqual(server.metric("distild_prediction_log_writable"), 0)
        self.assertEqual(server.ask("POST", "/feedback", {"id": "x", "label": "y"})[0], 503)
        filler.unlink()
        self.written(server, 210)
        self.assertEqual(server.stop(), 0)
        self.assertEqual(len(self.export()), 210)

    def test_the_disk_is_read_only(self):
        disk = self.mount("1m")
        self.state = disk / "state"
        self.assertEqual(self.serve().stop(), 0)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        self.assertIn("Read-only file system", run("serve", "--model", MODEL, "--port", "0", "--state-dir", self.state, code=1)[1])
        self.assertIn("Read-only file system", run("serve", "--model", MODEL, "--port", "0", "--state-dir", disk / "a" / "b", code=1)[1])
        server = self.start(DISTILD_STATE_DIR="", XDG_STATE_HOME=str(disk))
        self.ask_many(server, 3)
        self.assertEqual(server.ask("POST", "/feedback", {"id": "x", "label": "y"})[0], 503)
        self.assertEqual(server.stop(), 0)
        self.assertTrue(any("Read-only file system" in line for line in server.log), server.log)

    @unittest.skipIf(SANITIZED, "a sanitizer's library must be the first")
    def test_the_disk_is_slow(self):
        server = self.serve(LD_PRELOAD=str(SLOW_DISK), SLOW_DISK="50,500")
        self.assertLess(self.ask_many(server, 300), 1)
        self.assertGreater(server.metric("distild_prediction_log_queue_rows"), 0)
        self.written(server, 300)
        self.assertEqual(server.stop(), 0)
        self.assertEqual(len(self.export()), 300)

    @unittest.skipIf(SANITIZED, "a sanitizer's library must be the first")
    def test_the_disk_hangs(self):
        self.assertEqual(self.serve().stop(), 0)
        server = self.serve(LD_PRELOAD=str(SLOW_DISK), SLOW_DISK="0,3600000")
        self.assertLess(self.ask_many(server, 3000), 5)  # more than is written without a flush
        began = time.monotonic()
        self.assertEqual(server.ask("POST", "/feedback", {"id": "x", "label": "y"})[0], 503)
        self.assertLess(time.monotonic() - began, 10)
        self.assertEqual(server.stop(), 0)
        self.assertLess(time.monotonic() - began, 40)
        self.assertTrue(any("the file system does not answer" in line for line in server.log), server.log[-5:])
        self.assertEqual(self.serve().stop(), 0)

    def test_it_ends_while_the_database_is_locked(self):
        server = self.serve()
        server.ask("POST", "/predict", REVIEW)
        self.written(server, 1)
        other = sqlite3.connect(self.state / "predictions.db", isolation_level=None, timeout=30)
        other.execute("BEGIN EXCLUSIVE")
        self.ask_many(server, 3)
        said = []
        waiting = threading.Thread(target=lambda: said.append(server.ask("POST", "/feedback", {"id": "x", "label": "y"})[0]))
        waiting.start()
        time.sleep(0.5)
        began = time.monotonic()
        self.assertEqual(server.stop(), 0)
        self.assertLess(time.monotonic() - began, 20)
        waiting.join(10)
        self.assertEqual(said, [503])
        self.assertTrue(any("3 predictions were not written" in line for line in server.log), server.log)
        other.close()
        self.assertEqual(len(self.export()), 1)

    def test_it_is_killed_again_and_again(self):
        known, total = 0, 0
        for _ in range(6):
            server = self.serve()
            stop = threading.Event()

            def client():
                connection = server.connect()
                while not stop.is_set():
                    try:
                        server.ask("POST", "/predict", REVIEW, connection)
                    except (OSError, http.client.HTTPException):
                        break
                connection.close()

            clients = [threading.Thread(target=client) for _ in range(4)]
            for thread in clients:
                thread.start()
            time.sleep(1)
            known = total + server.metric("distild_prediction_log_rows_total")
            server.stop(signal.SIGKILL)
            stop.set()
            for thread in clients:
                thread.join(30)
            rows = self.export()
            self.assertGreaterEqual(len(rows), known)
            self.assertEqual(len({row["id"] for row in rows}), len(rows))
            total = len(rows)
        self.assertGreater(total, 100)
        check = sqlite3.connect(self.state / "predictions.db")
        self.assertEqual(check.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
        check.close()

    @unittest.skipIf(SANITIZED, "latencies of a sanitized program say nothing")
    def test_latencies(self):
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            subprocess.run([sys.executable, str(SOURCE / "perf" / "http" / "reviews.py"), str(BINARY), "--seconds", "3", "--share", "0.3", "--rounds", "3",
                            "--output", file.name], check=True, timeout=280)
            rows = {row["scenario"]: row for row in json.load(file)}
        for name, row in rows.items():
            self.assertEqual((row["failed"], row["answered"]), (0, row["succeeded"]), name)
            self.assertLess(row["p95_ms"], 130, name)
        self.assertEqual(rows["off"]["written"], 0)
        self.assertGreater(rows["on"]["written"], 100)
        self.assertGreater(rows["locked"]["waiting"], 100)


if __name__ == "__main__":
    main()
