"""What the end-to-end tests of the program share: running it in a clean environment, and models to run it with."""

import atexit
import functools
import json
import math
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE = pathlib.Path(os.environ.get("DISTILD_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
BINARY = pathlib.Path(os.environ.get("DISTILD_BINARY_DIR", SOURCE / "build" / "release"))
SHARED = pathlib.Path(os.environ.get("DISTILD_SHARED", SOURCE.parent / "shared"))
PROGRAM = BINARY / "distild"
SANITIZED = bool(os.environ.get("DISTILD_SANITIZE"))  # the program is many times slower then
# Seconds that something may take which takes next to none: more under sanitizers and emulation.
PATIENCE = 60 * int(os.environ.get("DISTILD_TEST_PATIENCE", 1))
TINY = SOURCE / "tests" / "golden" / "tiny"
MODEL = TINY / "distilbert-single"
EXACT = ("--model", MODEL, "--precision", "fp32")
TRAINED = SHARED / "models" / "sst2-minilm"
COMMANDS = [
    "serve",
    "predict",
    "ask",
    "evaluate",
    "convert",
    "inspect",
    "tokenize",
    "bench",
    "profile",
    "embed",
    "fit",
    "catalogue",
    "health",
    "keys",
    "log",
    "recommend",
    "drift",
    "telemetry",
    "version",
]


@functools.cache
def states():
    """A folder for the state of every program that a test starts, for as long as the test runs."""
    folder = tempfile.mkdtemp(prefix="distild-states-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def environment(**variables):
    """The test's own environment without any setting for the program, and with these. Servers that it starts keep their state
    apart from the user's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DISTILD_")}
    return {**kept, "LC_ALL": "C.UTF-8", "XDG_STATE_HOME": states(), **variables}


def run(*arguments, input=b"", code=0, **variables):
    """Runs the program; input is bytes or text. Fails unless it exits with `code`. Returns (stdout, stderr) as text."""
    if isinstance(input, str):
        input = input.encode("utf-8", "surrogatepass")
    done = subprocess.run(
        [str(PROGRAM), *map(str, arguments)], input=input, capture_output=True, env=environment(**variables), timeout=2 * PATIENCE
    )
    out, err = done.stdout.decode("utf-8"), done.stderr.decode("utf-8", "replace")
    if done.returncode != code:
        raise AssertionError(f"{arguments}: exit status {done.returncode}, expected {code}\n{out[-2000:]}\n{err[-2000:]}")
    return out, err


def wait_until(condition, describe=lambda: ""):
    """Waits until what the function returns is true, and returns it. Where it never is, the test fails with a description."""
    until = time.monotonic() + PATIENCE
    while not (found := condition()):
        if time.monotonic() > until:
            raise AssertionError(f"it never came to be: {describe()}")
        time.sleep(0.01)
    return found


def json_lines(text):
    def refuse_twice(pairs):
        if len({name for name, _ in pairs}) != len(pairs):
            raise AssertionError(f"a field stands twice in {pairs}")
        return dict(pairs)

    assert text == "" or text.endswith("\n")
    return [json.loads(line, object_pairs_hook=refuse_twice) for line in text.split("\n")[:-1]]


def cases(name="distilbert-single"):
    """Texts with transformers' answers, of a small random checkpoint; those that can stand in a line."""
    every = json.loads((TINY / name / "cases.json").read_text(encoding="utf-8"))
    return [case for case in every if case["pair"] is None and "\n" not in case["text"] and not case["text"].endswith("\r")]


def overflowing(folder, texts):
    """A copy of the tiny checkpoint whose finite weights overflow in one of the texts. Returns its path and which text."""
    path = pathlib.Path(folder) / "overflowing"
    shutil.copytree(MODEL, path)
    content = bytearray((path / "model.safetensors").read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    start, end = json.loads(content[8:header])["classifier.weight"]["data_offsets"]
    size = (end - start) // 3

    def set_first_row(value):
        content[header + start:header + start + size] = struct.pack("<f", value) * (size // 4)
        (path / "model.safetensors").write_bytes(content)

    set_first_row(1)  # the first logit is then the sum of what is never negative
    found = json_lines(run("predict", "--model", path, "--precision", "fp32", "--json", "--raw-scores", *texts)[0])
    sums = [result["scores"]["negative"] for result in found]
    second, most = sorted(sums)[-2:]
    set_first_row(3.4028235e38 / math.sqrt(second * most))
    return path, sums.index(most)


class Temporary(unittest.TestCase):
    """A folder for each test."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="distild-test-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def write(self, name, content):
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path


def main():
    if not PROGRAM.exists():
        print(f"{PROGRAM} has not been built", file=sys.stderr)
        sys.exit(1)
    unittest.main(verbosity=1)
