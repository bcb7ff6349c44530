#!/usr/bin/env python3
"""deploy/monitoring with the real programs: an error in distild's log becomes an e-mail, a warning where that was asked for."""

import json
import os
import pathlib
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from harness import MODEL, SOURCE, main, wait_until  # noqa: E402
from serving import Server  # noqa: E402

MONITORING = SOURCE / "deploy" / "monitoring"
PROGRAMS = ["promtool", "prometheus", "prometheus-alertmanager", "amtool"]


class Mailbox(socketserver.ThreadingTCPServer):
    """A mail server that keeps what it is sent."""

    daemon_threads = True

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            self.wfile.write(b"220 mailbox\r\n")
            for line in self.rfile:
                command = line.strip().upper()
                if command == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    text = b""
                    while not text.endswith(b"\r\n.\r\n"):
                        text += self.rfile.readline()
                    self.server.mails.append(text.decode())
                    self.wfile.write(b"250 kept\r\n")
                elif command.startswith(b"EHLO"):
                    self.wfile.write(b"250 mailbox\r\n")
                elif command == b"QUIT":
                    self.wfile.write(b"221 bye\r\n")
                    return
                else:
                    self.wfile.write(b"250 ok\r\n")

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.Handler)
        self.mails = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.read()
    except OSError:
        return None


class Monitoring(unittest.TestCase):
    def start(self, folder, *command):
        with open(folder / f"{pathlib.Path(command[0]).name}.log", "w", encoding="utf-8") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)

    def watch(self, folder, server, *options):
        """Prometheus and Alertmanager as shipped, but looking every second instead of every fifteen. Returns the mailbox and Prometheus' address."""
        mailbox = Mailbox()
        self.addCleanup(mailbox.server_close)
        self.addCleanup(mailbox.shutdown)
        alerts, prometheus = free_port(), free_port()
        settings = (MONITORING / "prometheus.yml").read_text(encoding="utf-8")
        settings = settings.replace("15s", "1s").replace("alertmanager:9093", f"127.0.0.1:{alerts}")
        (folder / "prometheus.yml").write_text(settings, encoding="utf-8")
        (folder / "targets.yml").write_text(f'- targets: ["127.0.0.1:{server.port}"]\n', encoding="utf-8")
        shutil.copy(MONITORING / "rules.yml", folder)
        mail = subprocess.run(
            [MONITORING / "alertmanager.sh", "--to", "ops@example.org", "--smtp", f"127.0.0.1:{mailbox.server_address[1]}", "--no-tls",
             "--wait", "1s", *options], check=True, capture_output=True, text=True).stdout
        (folder / "alertmanager.yml").write_text(mail, encoding="utf-8")
        subprocess.run(["amtool", "check-config", folder / "alertmanager.yml"], check=True, capture_output=True)
        subprocess.run(["promtool", "check", "config", folder / "prometheus.yml"], check=True, capture_output=True)
        self.start(folder, "prometheus-alertmanager", "--config.file=alertmanager.yml", f"--storage.path={folder / 'alerts'}",
                   f"--web.listen-address=127.0.0.1:{alerts}", "--cluster.listen-address=")
        self.start(folder, "prometheus", "--config.file=prometheus.yml", f"--storage.tsdb.path={folder / 'data'}",
                   f"--web.listen-address=127.0.0.1:{prometheus}")
        wait_until(lambda: answers(f"http://127.0.0.1:{alerts}/-/ready"))
        address = f"http://127.0.0.1:{prometheus}"
        wait_until(lambda: (found := answers(f"{address}/api/v1/query?query=distild_log_messages_total")) and json.loads(found)["data"]["result"])
        time.sleep(2)  # an increase is seen from the second scrape on
        return mailbox, address

    def firing(self, address):
        found = json.loads(answers(f"{address}/api/v1/alerts") or '{"data": {"alerts": []}}')
        return {alert["labels"]["alertname"] for alert in found["data"]["alerts"] if alert["state"] == "firing"}

    def served(self, folder, *options):
        model = folder / "model"
        shutil.copytree(MODEL, model)
        server = Server("--model", str(model), *options)
        self.addCleanup(lambda: server.process.poll() is None and server.stop(signal.SIGKILL))
        return server, model

    def test_rules(self):
        for command in (["check", "rules", "rules.yml"], ["test", "rules", "rules.test.yml"]):
            done = subprocess.run(["promtool", *command], cwd=MONITORING, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_an_error_is_mailed(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        server, model = self.served(folder)
        mailbox, address = self.watch(folder, server)
        self.assertEqual((self.firing(address), mailbox.mails), (set(), []))
        (model / "config.json").write_text("{", encoding="utf-8")
        server.process.send_signal(signal.SIGHUP)
        mail = wait_until(lambda: mailbox.mails)[0]
        self.assertIn(f"127.0.0.1:{server.port} logged an ERROR", mail)
        self.assertIn("To: ops@example.org", mail)
        self.assertIn("DistildReloadFailed", wait_until(lambda: self.firing(address)))  # a warning, which nobody asked to have mailed
        time.sleep(3)
        self.assertFalse([text for text in mailbox.mails if "DistildReloadFailed" in text])

    def test_a_warning_is_mailed_when_asked_for(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        server, model = self.served(folder)
        mailbox, _ = self.watch(folder, server, "--warnings")
        (model / "config.json").write_text("{", encoding="utf-8")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: [text for text in mailbox.mails if "could not read its models again" in text])

    def test_bad_settings_are_refused(self):
        for options, message in ([["--to", "nobody", "--smtp", "a:25"], "--to"], [["--to", "a@b", "--smtp", "a"], "--smtp"],
                                 [["--to", "a@b", "--smtp", "a:25", "--wait", "soon"], "--wait"], [["--what"], "unknown option"],
                                 [["--to", "a@b", "--smtp", "a:25", "--from", "it's"], "quotes"]):
            done = subprocess.run([MONITORING / "alertmanager.sh", *options], capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stdout), (2, ""), options)
            self.assertIn(message, done.stderr)


if __name__ == "__main__":
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        print(f"skipped: {', '.join(missing)} not installed")
        sys.exit(77)
    os.environ.pop("HTTP_PROXY", None)
    main()
