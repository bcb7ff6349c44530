"""A running `distild serve` for the end-to-end tests."""

import http.client
import json
import re
import signal
import subprocess
import tempfile
import threading
import unittest

import exposition
from harness import MODEL, PATIENCE, PROGRAM, SANITIZED, environment, states, wait_until


class Server:
    """A running server; its standard error is kept in `log`."""

    def __init__(self, *options, **variables):
        model = [] if "--model" in options or "DISTILD_MODEL" in variables else ["--model", str(MODEL)]
        if "--state-dir" not in options:
            variables = {"DISTILD_STATE_DIR": tempfile.mkdtemp(dir=states()), **variables}
        if SANITIZED:  # a pass takes up to 50 times as long: nothing is refused for that
            variables = {"DISTILD_MAX_QUEUE_MS": "0", **variables}
        command = [str(PROGRAM), "serve", "--port", "0", *model, "--precision", "fp32", *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment(**variables), text=True)
        self.log = []
        self.port = None
        self.ready = threading.Event()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        if not self.ready.wait(PATIENCE) or self.port is None:
            self.process.kill()
            raise AssertionError("the server did not start: " + "".join(self.log))

    def read(self):
        for line in self.process.stderr:
            self.log.append(line)
            found = re.search(r"distild listening on (?:https?://[0-9.]+:(\d+)|unix:)", line)
            if found and self.port is None:
                self.port = int(found.group(1) or 0)
                self.ready.set()
        self.process.stderr.close()
        self.ready.set()

    def stop(self, number=signal.SIGTERM):
        """Ends the server as an operator would; returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self.reader.join(10)

    def wait_for_log(self, text, count=1, since=0):
        """Waits until the log says something so often, not counting its first lines."""
        wait_until(lambda: sum(text in line for line in self.log[since:]) >= count, lambda: f"{text!r} in the log: {''.join(self.log)}")

    def reload(self, text):
        """Sends SIGHUP and waits for what the log says of it."""
        had = len(self.log)
        self.process.send_signal(signal.SIGHUP)
        self.wait_for_log(text, since=had)

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def ask(self, method, path, body=None, connection=None):
        """Returns (status, headers, the JSON answered)."""
        own = connection or self.connect()
        content = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        own.request(method, path, content, {"Content-Type": "application/json"} if content is not None else {})
        response = own.getresponse()
        answer = response.read()
        if not connection:
            own.close()
        return response.status, response.headers, json.loads(answer)


    def metric(self, name, **labels):
        connection = self.connect()
        connection.request("GET", "/metrics")
        page = connection.getresponse().read().decode()
        connection.close()
        return exposition.parse(page)[name, tuple(sorted(labels.items()))]


class ServeCase(unittest.TestCase):
    def start(self, *options, **variables):
        server = Server(*options, **variables)
        self.addCleanup(lambda: server.process.poll() is None and server.stop(signal.SIGKILL))
        return server
