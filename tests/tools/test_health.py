#!/usr/bin/env python3
"""`distild health`, against servers of all kinds."""

import socket
import threading
import unittest

from harness import PATIENCE, main, run


class Health(unittest.TestCase):
    def answer(self, reply, *options, code):
        """Runs `distild health` against a listener that gives one connection this reply (None: no reply at all)."""
        listener = socket.create_server(("127.0.0.1", 0))
        seen = []

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(PATIENCE)
                while b"\r\n\r\n" not in b"".join(seen) and (part := connection.recv(4096)):
                    seen.append(part)
                if reply is None:
                    connection.recv(1)
                else:
                    connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        port = listener.getsockname()[1]
        try:
            return run("health", "--port", port, *options, code=code), b"".join(seen)
        finally:
            thread.join()
            listener.close()

    def test_statuses(self):
        (out, _), request = self.answer(b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{"status":"healthy"}', code=0)
        self.assertEqual(out, '{"status":"healthy"}\n')
        self.assertTrue(request.startswith(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1:"))
        (_, err), _ = self.answer(b"HTTP/1.1 503 Service Unavailable\r\n\r\nloading", code=1)
        self.assertIn("status 503: loading", err)
        (_, err), _ = self.answer(b"SSH-2.0-x\r\n", code=1)
        self.assertIn("not HTTP", err)
        (_, err), _ = self.answer(b"", code=1)
        self.assertIn("not HTTP", err)
        (_, err), _ = self.answer(None, "--timeout", "0.2", code=1)
        self.assertIn("timed out", err)

    def test_urls(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.assertIn("Connection refused", run("health", "--port", port, code=1)[1])
        self.assertIn("Connection refused", run("health", "--url", f"http://127.0.0.1:{port}/ready", code=1)[1])
        for url in ("ftp://x", "https://", "http://", "http://:80", "http://h:0", "http://h:99999", "http://h:8x/", "http://[::1", "http://a b"):
            self.assertIn("--url", run("health", "--url", url, code=2)[1], url)


if __name__ == "__main__":
    main()
