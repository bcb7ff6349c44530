#!/usr/bin/env python3
"""distild embed and POST /embed of the real program, and which models it serves."""

import ast
import json
import math
import os
import pathlib
import struct
import subprocess
import tempfile

from harness import MODEL, PROGRAM, SOURCE, environment, json_lines, main, run
from serving import ServeCase

OUTPUTS = SOURCE / "tests" / "golden" / "tiny-outputs"
ENCODER = OUTPUTS / "bert-mean"
EXACT = ("--model", ENCODER, "--precision", "fp32")
TOLERANCE = 1e-4


def read_npy(path):
    data = pathlib.Path(path).read_bytes()
    assert data[:8] == b"\x93NUMPY\x01\x00", data[:8]
    length = struct.unpack("<H", data[8:10])[0]
    assert (10 + length) % 64 == 0 and data[9 + length] == ord("\n")
    about = ast.literal_eval(data[10 : 10 + length].decode())
    rows, width = about["shape"]
    assert about == {"descr": "<f4", "fortran_order": False, "shape": (rows, width)}, about
    values = struct.unpack(f"<{rows * width}f", data[10 + length :])
    return [list(values[i * width : (i + 1) * width]) for i in range(rows)]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


class Embed(ServeCase):
    def setUp(self):
        super().setUp()
        self.cases = [case for case in json.loads((ENCODER / "cases.json").read_text()) if "\0" not in case["text"]]
        self.texts = [case["text"] for case in self.cases]
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="distild-embed-")))

    def assert_near(self, found, wanted):
        self.assertEqual(len(found), len(wanted))
        for one, other in zip(found, wanted):
            self.assertEqual(len(one), len(other))
            for a, b in zip(one, other):
                self.assertAlmostEqual(a, b, delta=TOLERANCE)

    def test_every_way_in_and_out(self):
        wanted = [case["outputs"] for case in self.cases]
        lines = "".join(text + "\n" for text in self.texts)
        file = self.folder / "texts"
        file.write_text(lines)
        found = json_lines(run("embed", *EXACT, *self.texts)[0])
        self.assert_near([each["embedding"] for each in found], wanted)
        self.assertEqual([each.get("truncated", False) for each in found], [case["ids"][-1:] != [3] or len(case["ids"]) == 24 for case in self.cases])
        self.assertEqual(json_lines(run("embed", *EXACT, input=lines)[0]), found)
        self.assertEqual(json_lines(run("embed", *EXACT, "--json", "-f", file, "--batch", "2")[0]), found)
        rows = [[float(number) for number in line.split("\t")] for line in run("embed", *EXACT, "--tsv", "-f", file)[0].splitlines()]
        self.assert_near(rows, wanted)
        out, _ = run("embed", *EXACT, "-f", file, "-o", self.folder / "x.npy")
        self.assertEqual(out, "")
        self.assertEqual(read_npy(self.folder / "x.npy"), [[struct.unpack("f", struct.pack("f", x))[0] for x in each["embedding"]] for each in found])
        self.assertEqual(sorted(each.name for each in self.folder.iterdir()), ["texts", "x.npy"])

    def test_pooling_and_length(self):
        def embed(*options):
            return [each["embedding"] for each in json_lines(run("embed", *EXACT, *options, *self.texts)[0])]

        own, raw = embed(), embed("--normalize", "no")
        lengths = [math.hypot(*vector) for vector in raw]
        self.assertTrue(all(abs(length - 1) > 0.1 for length in lengths))
        self.assert_near([[x / length for x in vector] for vector, length in zip(raw, lengths)], own)
        self.assertEqual(embed("--pooling", "mean", "--normalize", "yes"), own)
        for pooling in ("cls", "max"):
            self.assertNotEqual(embed("--pooling", pooling), own)
        few = embed("--dimensions", "5")
        self.assert_near(few, [[x / math.hypot(*vector[:5]) for x in vector[:5]] for vector in raw])
        self.assertEqual(embed("--dimensions", "5", "--normalize", "no"), [vector[:5] for vector in raw])
        self.assertIn("--dimensions: ", run("embed", *EXACT, "--dimensions", "33", "x", code=1)[1])
        self.assertIn("--pooling", run("embed", *EXACT, "--pooling", "median", "x", code=2)[1])

    def test_lines_that_hold_no_text(self):
        lines = '{"id": 1, "text": "good"}\n{"id": 2}\n{"id": 3.50, "inputs": "bad", "error": 7}\n'
        out, err = run("embed", *EXACT, "--jsonl", input=lines, code=1)
        found = json_lines(out)
        self.assertEqual([sorted(each) for each in found], [["embedding", "id", "text"], ["error"], ["embedding", "id", "inputs"]])
        self.assertIn('{"id":3.50,', out.replace(" ", ""))
        self.assertIn("line 2", err)
        run("embed", *EXACT, "--jsonl", "-o", self.folder / "x.npy", input=lines, code=1)
        rows = read_npy(self.folder / "x.npy")
        self.assertEqual([math.isnan(row[0]) for row in rows], [False, True, False])
        rows = run("embed", *EXACT, "--jsonl", "--tsv", input=lines, code=1)[0].splitlines()
        self.assertEqual(set(rows[1].split("\t")), {"nan"})

    def test_nothing_is_left_of_what_failed(self):
        self.assertIn("exclude each other", run("embed", "-o", "x.npy", "--tsv", "x", code=2)[1])
        self.assertIn("cannot create", run("embed", *EXACT, "-o", self.folder / "none" / "x.npy", "x", code=1)[1])
        (self.folder / "x.npy").write_text("before")
        done = subprocess.run(["sh", "-c", 'ulimit -f 1; exec "$@"', "sh", str(PROGRAM), "embed", *map(str, EXACT), "-o", str(self.folder / "x.npy")],
                              input=b"a\n" * 100, capture_output=True, env=environment(), preexec_fn=lambda: __import__("signal").signal(25, 1))
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(b"cannot write", done.stderr)
        self.assertEqual((self.folder / "x.npy").read_text(), "before")
        self.assertEqual(os.listdir(self.folder), ["x.npy"])

    def test_bundled_encoder_knows_what_is_alike(self):
        texts = ["How far is it to the moon?", "The distance from the earth to the moon", "Bake it for an hour."]
        moon, distance, baking = (each["embedding"] for each in json_lines(run("embed", *texts)[0]))
        self.assertEqual(len(moon), 384)
        self.assertAlmostEqual(math.hypot(*moon), 1, delta=1e-5)
        self.assertGreater(dot(moon, distance), 0.6)
        self.assertLess(dot(moon, baking), 0.3)

    def test_route_gives_what_the_command_gives(self):
        server = self.start("--model", str(ENCODER), "--precision", "fp32")
        status, headers, answer = server.ask("POST", "/embed", {"inputs": self.texts, "truncate": True})
        self.assertEqual(status, 200, answer)
        self.assert_near(answer, [case["outputs"] for case in self.cases])
        self.assertGreater(int(headers["x-compute-tokens"]), len(self.texts))
        ids = server.ask("POST", "/embed", {"inputs": [case["ids"] for case in self.cases]})[2]
        self.assertEqual(ids, answer)
        status, _, error = server.ask("POST", "/embed", {"inputs": self.texts})
        self.assertEqual((status, error["field"]), (422, "inputs"))
        self.assertEqual(server.ask("POST", "/predict", {"text": "x"})[0], 404)

    def names(self, *options, **variables):
        server = self.start(*options, **variables)
        models = server.ask("GET", "/models")[2]["models"]
        self.assertEqual(server.stop(), 0)
        return [(model["name"], model["task"], model["default"]) for model in models]

    def test_which_models_are_served(self):
        bundled = [("sst2-minilm", "sequence-classification", True), ("all-minilm-l6-v2", "embedding", True), ("qa-minilm", "question-answering", True)]
        self.assertEqual(self.names(DISTILD_MODEL=""), bundled)
        self.assertEqual(self.names("--model", f"mine={MODEL}"), [("mine", "sequence-classification", True)])
        self.assertEqual(self.names("--model", f"mine={MODEL}", "--bundled"), [("mine", "sequence-classification", True), *bundled[1:]])
        self.assertEqual(self.names("--model", f"mine={ENCODER}", "--bundled"), [("mine", "embedding", True), bundled[0], bundled[2]])


if __name__ == "__main__":
    main()
