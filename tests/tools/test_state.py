#!/usr/bin/env python3
"""The directory in which `distild serve` keeps what outlives it: where it lies, whose it is, and what happens without one."""

import os
import pathlib
import signal
import stat
import tempfile

from harness import MODEL, main, run
from serving import ServeCase


class State(ServeCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="distild-state-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def refused(self, path):
        return run("serve", "--model", MODEL, "--port", "0", "--state-dir", path, code=1)[1]

    def test_it_is_made_for_the_user_alone(self):
        path = self.folder / "a" / "b"
        before = os.umask(0)
        try:
            server = self.start("--state-dir", str(path))
        finally:
            os.umask(before)
        for made in (path.parent, path):
            self.assertEqual(stat.S_IMODE(made.stat().st_mode), 0o700)
        self.assertEqual([stat.S_IMODE(file.stat().st_mode) for file in path.iterdir() if stat.S_IMODE(file.stat().st_mode) != 0o600], [])
        self.assertEqual(server.stop(), 0)

    def test_where_it_lies_by_default(self):
        for variables, path in (({"XDG_STATE_HOME": str(self.folder / "xdg"), "HOME": "/nowhere"}, "xdg/distild"),
                                ({"XDG_STATE_HOME": "", "HOME": str(self.folder / "home")}, "home/.local/state/distild"),
                                ({"XDG_STATE_HOME": "relative", "HOME": str(self.folder / "other")}, "other/.local/state/distild")):
            server = self.start(DISTILD_STATE_DIR="", **variables)
            self.assertTrue((self.folder / path / "lock").exists(), path)
            self.assertEqual(server.stop(), 0)

    def test_one_that_was_asked_for_must_work(self):
        (self.folder / "file").write_text("")
        for path, message in ((self.folder / "file", "Not a directory"), (self.folder / "file" / "below", "cannot be made: Not a directory"),
                              ("/proc/distild", "cannot be made")):
            self.assertIn(message, self.refused(path))
        os.symlink(self.folder / "file", self.folder / "lock")  # nothing is written through a link
        self.assertIn("cannot be written", self.refused(self.folder))

    def test_the_default_one_is_done_without(self):
        for variables, message in (({"XDG_STATE_HOME": "/proc"}, "/proc/distild: the state directory cannot be made"),
                                   ({"XDG_STATE_HOME": "", "HOME": ""}, "nor HOME names a directory")):
            server = self.start(DISTILD_STATE_DIR="", **variables)
            self.assertEqual(server.ask("POST", "/predict", {"text": "good"})[0], 200)
            self.assertEqual(server.stop(), 0)
            said = [line for line in server.log if "nothing outlives this server" in line]
            self.assertEqual(len(said), 1, server.log)
            self.assertIn(message, said[0])

    def test_one_server_at_a_time_has_it(self):
        first = self.start("--state-dir", str(self.folder / "distild"))
        self.assertIn("another server keeps its state there", self.refused(self.folder / "distild"))
        beside = self.start(DISTILD_STATE_DIR="", XDG_STATE_HOME=str(self.folder))
        self.assertEqual(beside.stop(), 0)
        self.assertTrue(any("another server keeps its state there" in line for line in beside.log), beside.log)
        first.stop(signal.SIGKILL)
        self.assertEqual(self.start("--state-dir", str(self.folder / "distild")).stop(), 0)


if __name__ == "__main__":
    main()
