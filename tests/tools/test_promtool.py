#!/usr/bin/env python3
"""`promtool check metrics` has nothing to say of the page that `distild serve` gives. Skipped where there is no promtool."""

import shutil
import subprocess
import sys

from harness import PATIENCE, main
from serving import ServeCase


class Promtool(ServeCase):
    def test_silent(self):
        server = self.start()
        for text in ("good", "", "so so " * 400):
            server.ask("POST", "/predict", {"text": text})
        connection = server.connect()
        connection.request("GET", "/metrics")
        page = connection.getresponse().read()
        checked = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, timeout=2 * PATIENCE)
        self.assertEqual((checked.returncode, checked.stdout, checked.stderr), (0, b"", b""))
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    if not shutil.which("promtool"):
        print("promtool is not installed")
        sys.exit(77)
    main()
