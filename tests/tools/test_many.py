#!/usr/bin/env python3
"""10,000 connections, idle or slow, beside traffic at full rate: what they cost in memory and in speed."""

import json
import resource
import socket
import subprocess
import sys

import exposition
from harness import BINARY, SANITIZED, SOURCE, main
from serving import ServeCase

IDLE, SLOW_HEADERS, SLOW_BODIES = 8000, 1000, 1000
SPARE = 200
MEGABYTE = 1 << 20
MOST_MEMORY = 300 * MEGABYTE
# What the load generator does beside them, of what it does alone: the two runs differ by more than the connections do.
LEAST_SHARE = 0.7

HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
BODY = b'{"text":"a slow but steady film"}'
HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY)


def answer(connection):
    text = b""
    while b"\r\n\r\n" not in text:
        piece = connection.recv(65536)
        assert piece, text
        text += piece
    return int(text[9:12])


class Many(ServeCase):
    def load(self, server):
        done = subprocess.run([str(BINARY / "perf" / "perf_load"), "--port", str(server.port), "--connections", "64",
                               "--words", "5-20", "--seconds", "4"], capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        result = json.loads(done.stdout)
        self.assertEqual((result["failed"], result["unanswered"], list(result["by_status"])), (0, 0, ["200"]), result)
        return result["per_second"]

    def memory(self, server):
        connection = server.connect()
        connection.request("GET", "/metrics")
        values = exposition.parse(connection.getresponse().read().decode())
        connection.close()
        return values["process_resident_memory_bytes", ()], values["distild_connections_open", ()]

    def open(self, server, count, text):
        made = []
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
            connection.sendall(text)
            made.append(connection)
        self.addCleanup(lambda: [connection.close() for connection in made])
        return made

    def test_many(self):
        server = self.start("--model", str(SOURCE / "weights" / "sst2-minilm.distild"), "--header-timeout", "600", "--body-timeout", "600", "--idle-timeout", "600", "--min-rate", "0",
                            "--max-queue", "10000", "--max-queue-tokens", "1000000")
        alone = self.load(server)
        before = self.memory(server)[0]
        idle = self.open(server, IDLE, HEALTH)
        for connection in idle:
            self.assertEqual(answer(connection), 200)
        headers = self.open(server, SLOW_HEADERS, HEAD[:-2] + b"X-Slow: ")
        bodies = self.open(server, SLOW_BODIES, HEAD + BODY[:9])
        beside = self.load(server)
        after, count = self.memory(server)
        print(f"{count:.0f} connections: {before / MEGABYTE:.0f} MB before, {after / MEGABYTE:.0f} MB with them, "
              f"{(after - before) / (IDLE + SLOW_HEADERS + SLOW_BODIES) / 1024:.1f} KB each; "
              f"{alone:.0f} requests/s alone, {beside:.0f} beside them")
        self.assertGreater(count, IDLE + SLOW_HEADERS + SLOW_BODIES)
        self.assertLess(after, MOST_MEMORY)
        self.assertGreater(beside, LEAST_SHARE * alone)
        # all of them are still served
        for connection in idle:
            connection.sendall(HEALTH)
        for connection in headers:
            connection.sendall(b"x\r\n\r\n" + BODY)
        for connection in bodies:
            connection.sendall(BODY[9:])
        for connection in idle + headers + bodies:
            self.assertEqual(answer(connection), 200)
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if SANITIZED or most < IDLE + SLOW_HEADERS + SLOW_BODIES + SPARE:
        print(f"needs {IDLE + SLOW_HEADERS + SLOW_BODIES + SPARE} open files, of {most}, and a program without sanitizers")
        sys.exit(77)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    main()
