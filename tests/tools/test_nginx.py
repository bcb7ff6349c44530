#!/usr/bin/env python3
"""Behind nginx, what is ambiguous in HTTP stays harmless: whatever bytes a client sends, the requests that nginx says it passed on
are the ones that distild says it got. Skipped where there is no nginx."""

import collections
import json
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.parse

from harness import PATIENCE, main, wait_until
from serving import ServeCase

BODY = b'{"text":"x"}'
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
WHOLE = b"c\r\n" + BODY + b"\r\n0\r\n\r\n"
# Each ends with a request that one reader might see and the next might not.
ATTACKS = [
    POST + b"Content-Length: 12\r\nContent-Length: %d\r\n\r\n" % (12 + len(HIDDEN)) + BODY + HIDDEN,
    POST + b"Content-Length: 12\r\nTransfer-Encoding: chunked\r\n\r\n" + WHOLE + HIDDEN,
    POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + WHOLE + HIDDEN,
    POST + b"Transfer-Encoding: xchunked\r\n\r\n" + WHOLE + HIDDEN,
    POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + WHOLE + HIDDEN,
    POST + b"Transfer-Encoding : chunked\r\nContent-Length: 12\r\n\r\n" + BODY + HIDDEN,
    POST + b"Transfer-Encoding: \x0bchunked\r\nContent-Length: 12\r\n\r\n" + BODY + HIDDEN,
    POST + b"X: y\r\n Content-Length: 50\r\nContent-Length: 12\r\n\r\n" + BODY + HIDDEN,
    POST + b"X: y\rContent-Length: 50\r\nContent-Length: 12\r\n\r\n" + BODY + HIDDEN,
    POST + b"X: y\nContent-Length: 12\n\n" + BODY + HIDDEN,
    POST + b"Content-Length: +12\r\n\r\n" + BODY + HIDDEN,
    POST + b"Content-Length: 12,12\r\n\r\n" + BODY + HIDDEN,
    POST + b"Content-Length: -1\r\n\r\n" + BODY + HIDDEN,
    POST + b"Content-Length: 18446744073709551628\r\n\r\n" + BODY + HIDDEN,
    POST + b"Content_Length: 50\r\nContent-Length: 12\r\n\r\n" + BODY + HIDDEN,
    POST + b"\r\n" + BODY + HIDDEN,
    CHUNKED + WHOLE + HIDDEN,
    CHUNKED + b"c\n" + BODY + b"\n0\n\n" + HIDDEN,
    CHUNKED + b"c;\n" + BODY + b"\r\n0\r\n\r\n" + HIDDEN,
    CHUNKED + b"c;x\nyy\r\n" + BODY + b"\r\n0\r\n\r\n" + HIDDEN,
    CHUNKED + b"c;x\r" + BODY + b"\r\n0\r\n\r\n" + HIDDEN,
    CHUNKED + b"c \r\n" + BODY + b"\r\n0\r\n\r\n" + HIDDEN,
    CHUNKED + b"0xc\r\n" + BODY + b"\r\n0\r\n\r\n" + HIDDEN,
    CHUNKED + b"1000000000000000c\r\n" + BODY + b"\r\n0\r\n\r\n" + HIDDEN,
    CHUNKED + b"000000000000000000000000c\r\n" + BODY + b"\r\n0\r\n\r\n" + HIDDEN,
    CHUNKED + b"c\r\n" + BODY + b"\r\n0\r\nContent-Length: 50\r\n\r\n" + HIDDEN,
    CHUNKED + b"c\r\n" + BODY + b"\r\n0\r\nX\r\n\r\n" + HIDDEN,
    CHUNKED + b"c\r\n" + BODY + b"\r\n0\r\n" + HIDDEN,
    CHUNKED + b"b\r\n" + BODY + b"\r\n0\r\n\r\n" + HIDDEN,
    b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    b"GET /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(HIDDEN) + HIDDEN + b"\r\n0\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n" + HIDDEN,
    b"GET /health\0 HTTP/1.1\r\nHost: x\r\n\r\n" + HIDDEN,
    b"GET /health HTTP/1.1\r\nHost: x\r\nX\0: a\r\n\r\n" + HIDDEN,
    b"GET /health%0d%0aX:%20y HTTP/1.1\r\nHost: x\r\n\r\n" + HIDDEN,
    b"GET /health%20HTTP/1.1%0d%0aHost:%20x%0d%0a%0d%0aGET%20/hidden HTTP/1.1\r\nHost: x\r\n\r\n" + HIDDEN,
    b"GET /health /hidden HTTP/1.1\r\nHost: x\r\n\r\n" + HIDDEN,
    b"GET http://x/health HTTP/1.1\r\nHost: y\r\n\r\n" + HIDDEN,
    b"POST /predict HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + WHOLE + HIDDEN,
    b"GET /health HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 12\r\n\r\n" + BODY + HIDDEN,
    b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close, X-Request-Id\r\n\r\n" + HIDDEN,
    b"GET /health HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n" + HIDDEN,
    b"BREW /health HTTP/1.1\r\nHost: x\r\n\r\n" + HIDDEN,
]

PAUSE = 0.2  # in which an answer comes, if one does
CONFIGURATION = """
daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log {folder}/errors;
events {{ worker_connections 64; }}
http {{
  log_format passed escape=json '{{"request":"$request","uri":"$request_uri","upstream":"$upstream_status"}}';
  access_log {folder}/passed passed;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream distild {{ server 127.0.0.1:{upstream}; keepalive 4; }}
  server {{
    listen 127.0.0.1:{port};
    proxy_ignore_client_abort on;  # what was passed on is answered, and logged, on both sides
    location / {{ proxy_pass http://distild; proxy_http_version 1.1; proxy_set_header Connection ""; {more} }}
  }}
}}
"""


class Nginx(ServeCase):
    def start_nginx(self, upstream, more):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="distild-nginx-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        (folder / "conf").write_text(CONFIGURATION.format(folder=folder, upstream=upstream, port=port, more=more))
        process = subprocess.Popen(["nginx", "-p", str(folder), "-c", str(folder / "conf"), "-e", str(folder / "errors")],
                                   stderr=subprocess.DEVNULL)
        self.addCleanup(lambda: process.poll() is None and (process.kill(), process.wait()))
        wait_until(lambda: self.accepts(port), lambda: (folder / "errors").read_text())
        return folder, port, process

    def accepts(self, port):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            return False
        return True

    def send(self, port, text):
        with socket.create_connection(("127.0.0.1", port), timeout=PAUSE) as connection:
            connection.sendall(text)
            try:
                while connection.recv(65536):
                    pass
            except OSError:
                pass

    def check(self, more):
        server = self.start("--access-log", "--log-json")
        folder, port, process = self.start_nginx(server.port, more)
        for attack in ATTACKS:
            self.send(port, attack)
            self.send(port, b"GET /marker HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        process.send_signal(signal.SIGQUIT)  # answers what it has begun
        process.wait(PATIENCE)
        self.assertEqual(server.stop(), 0)
        passed = [json.loads(line) for line in (folder / "passed").read_text().splitlines()]
        passed = [(line["request"].split(" ")[0], urllib.parse.unquote(line["uri"])) for line in passed
                  if line["upstream"].strip("- ,")]
        got = [json.loads(line) for line in server.log if '"request"' in line]
        got = [(line["method"], line["path"]) for line in got]
        self.assertGreater(len(got), len(ATTACKS))
        # of each request that was passed on there is one line on either side; where a machine is slow, the next request is
        # answered before one that computes
        self.assertEqual(collections.Counter(passed), collections.Counter(got))

    def test_buffered_bodies(self):
        self.check("")

    def test_bodies_passed_on_as_they_come(self):
        self.check("proxy_request_buffering off;")


if __name__ == "__main__":
    if not shutil.which("nginx"):
        print("nginx is not installed")
        sys.exit(77)
    main()
