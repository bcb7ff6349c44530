"""What the tests of the containers share: the engine, ports, requests, and waiting. They run inside tests/containers/room.sh --closed, so that
everything they start ends with them."""

import http.client
import json
import os
import pathlib
import socket
import subprocess
import time
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("DISTILD_BINARY_DIR", SOURCE / "build" / "release"))
IMAGE = os.environ.get("DISTILD_IMAGE", "localhost/distild:test")
OWN = os.environ.get("DISTILD_OWN_IMAGE", "localhost/distild:own")  # with the tiny model of tests/golden
NGINX = os.environ.get("DISTILD_NGINX_IMAGE", "localhost/distild-nginx:test")
CASES = SOURCE / "deploy" / "tests" / "cases.json"
MODEL = SOURCE / "weights" / "sst2-minilm.distild"
# As deploy/deploy.sh runs it.
GUARDED = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--memory", "512m", "--pids-limit", "256"]


def call(*command, code=0, timeout=120, **variables):
    """Runs a command; returns its standard output and standard error together. Fails unless it exits with `code`."""
    done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=timeout, env={**os.environ, **variables})
    if code is not None and done.returncode != code:
        raise AssertionError(f"{command}: exit status {done.returncode}, expected {code}\n{done.stdout[-4000:]}")
    return done.stdout


def podman(*arguments, **options):
    return call("podman", *arguments, **options).strip()


def inspect(name, template):
    return podman("container", "inspect", "--format", "{{" + template + "}}", name)


def main_process(name):
    return int(inspect(name, ".State.Pid"))


def resident_mb(name):
    """Memory that the container's main process holds, in MB."""
    for line in pathlib.Path(f"/proc/{main_process(name)}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port, method, path, body=None, timeout=30):
    """Returns (status, the JSON answered)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"} if body else {})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def wait_for(condition, what, seconds=60):
    until = time.monotonic() + seconds
    while True:
        try:
            found = condition()
        except (OSError, http.client.HTTPException, AssertionError):
            found = None
        if found:
            return found
        if time.monotonic() > until:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.1)


def healthy(port):
    return wait_for(lambda: ask(port, "GET", "/health")[0] == 200, f"port {port} healthy")


class Containers(unittest.TestCase):
    def run_container(self, *options, image=IMAGE, command=()):
        """Starts a container that the test's end removes; returns its name and the port that it answers on."""
        port, name = free_port(), f"test-{os.urandom(4).hex()}"
        self.addCleanup(podman, "rm", "--force", "--volumes", name, code=None)
        podman("run", "--detach", "--name", name, "--publish", f"127.0.0.1:{port}:8080", *options, image, *command)
        return name, port
