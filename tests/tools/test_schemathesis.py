#!/usr/bin/env python3
"""Schemathesis against the real program: requests that fit and that break GET /openapi.json, and whether statuses and answers are as it says."""

import pathlib
import subprocess
import sys
import tempfile

import packages

packages.require("schemathesis", "schemathesis==4.32.5")

from harness import main  # noqa: E402
from serving import ServeCase  # noqa: E402

# Texts of which nothing becomes a token, such as " ", are refused: no schema can say which those are.
UNTRUE = "positive_data_acceptance"
# It ends a queue of its own requests, and what it does is tested elsewhere.
RELOAD = "/admin/models/reload"


class Schemathesis(ServeCase):
    def check(self, *options):
        server = self.start(SESSION_PASSWORD="correct horse", DISTILD_MODEL="")
        token = server.ask("POST", "/api/login", {"session_password": "correct horse"})[2]["access_token"]
        command = [str(pathlib.Path(sys.executable).parent / "schemathesis"), "run", f"http://127.0.0.1:{server.port}/openapi.json", "--seed", "1",
                   "--max-examples", "60", "--no-color", "--exclude-checks", UNTRUE, "--exclude-path", RELOAD,
                   "--header", f"Authorization: Bearer {token}", *options]
        # a deadline of a millisecond is accepted, and missed, or known to be missed (503)
        settings = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "schemathesis.toml"
        settings.write_text('[checks]\nnot_a_server_error.expected-statuses = ["2xx", "4xx", "503", "504"]\n'
                            'negative_data_rejection.expected-statuses = ["4xx"]\n', encoding="utf-8")
        command[1:1] = ["--config-file", str(settings)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=800)
        self.assertEqual(done.returncode, 0, done.stdout[-6000:] + done.stderr[-2000:])
        self.assertIn("generated", done.stdout)
        self.assertEqual(server.ask("GET", "/health")[0], 200)
        self.assertEqual(server.stop(), 0)

    def test_statuses_and_answers_are_as_described(self):
        self.check()


if __name__ == "__main__":
    main()
