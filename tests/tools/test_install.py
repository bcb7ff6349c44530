#!/usr/bin/env python3
"""What `cmake --install` gives: a program and a library that work from a prefix of their own.

DISTILD_CC is the compiler; DISTILD_CMAKE is cmake."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

from harness import BINARY, MODEL, PATIENCE, SOURCE, environment, main

CC = os.environ.get("DISTILD_CC", "cc").split()
CMAKE = os.environ.get("DISTILD_CMAKE", "cmake")
EXAMPLE = SOURCE / "docs" / "examples" / "classify.c"


def call(*command, **variables):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=environment(**variables), timeout=2 * PATIENCE)
    if done.returncode != 0:
        raise AssertionError(f"{command}: exit status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="distild-install-"))
        cls.prefix = cls.folder / "prefix"
        call(CMAKE, "--install", BINARY, "--prefix", cls.prefix)
        cls.libraries = next(path.parent for path in cls.prefix.rglob("libdistil.so"))
        cls.packages = {"PKG_CONFIG_PATH": str(cls.libraries / "pkgconfig")}

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def flags(self, *options):
        return call("pkg-config", *options, "distil", **self.packages).split()

    def test_files(self):
        for name in ("bin/distild", "include/distil.h", "include/distil_answer.h", "include/distil_catalogue.h", "include/distil_status.h", "share/man/man1/distild.1"):
            self.assertTrue((self.prefix / name).is_file(), name)
        for source in (SOURCE / "LICENSE", SOURCE / "docs" / "third-party-notices.md"):
            self.assertEqual((self.prefix / "share/doc/distild" / source.name).read_bytes(), source.read_bytes())
        self.assertTrue((self.libraries / "libdistil.a").is_file())
        self.assertEqual(os.readlink(self.libraries / "libdistil.so"), "libdistil.so.0")
        self.assertNotIn("engine/", (self.prefix / "include/distil.h").read_text())

    def test_program_and_its_model(self):
        bundled = SOURCE / "weights" / "sst2-minilm.distild"
        self.assertIn("distild ", call(self.prefix / "bin/distild", "version"))
        if bundled.is_file():
            self.assertEqual((self.prefix / "share/distild" / bundled.name).stat().st_size, bundled.stat().st_size)
            self.assertIn(str(self.prefix), call(self.prefix / "bin/distild", "version"))

    def check_example(self, program):
        lines = call(program, "the film was good", "dull", DISTILD_MODEL=str(MODEL), LD_LIBRARY_PATH=str(self.libraries)).splitlines()
        self.assertEqual(len(lines), 2)
        label, score, text = lines[0].split("\t")
        self.assertIn(label, ["negative", "neutral", "positive"])
        self.assertEqual(text, "the film was good")
        self.assertTrue(1 / 3 < float(score) <= 1)
        found = call(self.prefix / "bin/distild", "predict", "--tsv", text, DISTILD_MODEL=str(MODEL)).splitlines()[1].split("\t")
        self.assertEqual(found[0], label)
        self.assertAlmostEqual(float(found[1]), float(score), delta=1e-4)

    def test_example_with_the_shared_library(self):
        program = self.folder / "shared"
        call(*CC, "-std=c11", "-Wall", "-Wextra", "-Werror", EXAMPLE, "-o", program, *self.flags("--cflags", "--libs"))
        self.check_example(program)
        failed = subprocess.run([program, "x"], env=environment(DISTILD_MODEL="no-such-model", LD_LIBRARY_PATH=str(self.libraries)),
                                capture_output=True, text=True)
        self.assertEqual(failed.returncode, 1)
        self.assertIn("no-such-model", failed.stderr)

    def test_example_with_the_static_library(self):
        program = self.folder / "static"
        flags = [flag if flag != "-ldistil" else "-l:libdistil.a" for flag in self.flags("--static", "--cflags", "--libs")]
        call(*CC, "-std=c11", EXAMPLE, "-o", program, *flags)
        self.assertNotIn("libdistil", call("ldd", program))
        self.check_example(program)

    def test_the_shared_library_shows_its_interface_alone(self):
        names = [line.split()[-1] for line in call("nm", "-D", "--defined-only", self.libraries / "libdistil.so").splitlines()]
        self.assertIn("distil_predict", names)
        self.assertEqual([name for name in names if not name.startswith("distil_")], [])

    def test_in_the_build_tree(self):
        program = BINARY / "classify"
        self.assertTrue(program.is_file())
        self.check_example(program)

    def test_manual_page(self):
        if not shutil.which("groff"):
            self.skipTest("groff is not there")
        done = subprocess.run(["groff", "-mdoc", "-ww", "-Tutf8", "-z", str(self.prefix / "share/man/man1/distild.1")],
                              capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))


if __name__ == "__main__":
    if os.environ.get("DISTILD_SANITIZE"):
        print("a library built with sanitizers needs programs built with them", file=sys.stderr)
        sys.exit(77)
    main()
