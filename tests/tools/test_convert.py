#!/usr/bin/env python3
"""`distild convert` and `distild inspect`: the files that are made of models, and what is told of both."""

import json
import math
import resource
import shutil
import subprocess

from harness import EXACT, MODEL, PATIENCE, PROGRAM, SOURCE, TRAINED, Temporary, cases, environment, json_lines, main, run


class Models(Temporary):
    def convert(self, *options, source=MODEL):
        path = self.folder / "model.distild"
        out, _ = run("convert", source, "-o", path, "--json", *options)
        written = json.loads(out)
        self.assertEqual(written["bytes"], path.stat().st_size)
        return path, written

    def test_a_converted_model_answers_as_its_checkpoint(self):
        texts = [case["text"] for case in cases()]
        expected = json_lines(run("predict", *EXACT, "--json", "--raw-scores", *texts)[0])
        for options, dtype, bound in (((), "fp32", 0), (("--dtype", "fp32"), "fp32", 0), (("--dtype", "fp16"), "fp16", 0.01),
                                      (("--dtype", "int8"), "int8", 0.5)):
            path, written = self.convert(*options)
            self.assertEqual(written["dtype"], dtype)
            found = json_lines(run("predict", "--model", path, "--precision", "fp32", "--json", "--raw-scores", *texts)[0])
            for one, other in zip(expected, found):
                for label, logit in one["scores"].items():
                    self.assertLessEqual(abs(logit - other["scores"][label]), bound)
            about = json.loads(run("inspect", path, "--verify", "--json")[0])
            self.assertEqual((about["dtype"], about["digest"], about["verified"]), (dtype, written["digest"], True))
            again = self.folder / "again.distild"
            run("convert", path, "-o", again)
            self.assertEqual(json.loads(run("inspect", again, "--json")[0])["digest"], written["digest"])

    def test_inspect(self):
        about = json.loads(run("inspect", MODEL, "--json", "--tensors")[0])
        self.assertEqual((about["architecture"], about["task"], about["problem"]),
                         ("DistilBERT", "sequence-classification", "single-label"))
        config = json.loads((MODEL / "config.json").read_text())
        for name, key in (("hidden", "dim"), ("layers", "n_layers"), ("heads", "n_heads"), ("ffn", "hidden_dim"),
                          ("vocab", "vocab_size"), ("window", "max_position_embeddings")):
            self.assertEqual(about[name], config[key], name)
        self.assertEqual(about["labels"], ["negative", "neutral", "positive"])
        self.assertIsNone(about["digest"])
        self.assertEqual(len(about["tensor_table"]), about["tensors"])
        self.assertEqual(sum(math.prod(tensor["shape"]) for tensor in about["tensor_table"]), about["parameters"])
        header = (MODEL / "model.safetensors").read_bytes()
        names = set(json.loads(header[8:8 + int.from_bytes(header[:8], "little")])) - {"__metadata__"}
        self.assertEqual({tensor["name"] for tensor in about["tensor_table"]}, names)
        text = run("inspect", MODEL, "--tensors")[0]
        for word in ("DistilBERT, 2 layers of 32", "3: negative neutral positive", "fp32", *names):
            self.assertIn(word, text)
        self.assertIn("states no digest", run("inspect", MODEL, "--verify", code=1)[1])
        self.assertIn("no-such-file", run("inspect", "no-such-file", code=1)[1])

    def test_a_changed_byte_is_found(self):
        path, _ = self.convert("--dtype", "int8")
        content = bytearray(path.read_bytes())
        content[-40] ^= 1
        path.write_bytes(content)
        self.assertIn(str(path), run("inspect", path, "--verify", code=1)[1])

    def test_convert_spares_what_is_there(self):
        copy = self.folder / "copy"
        shutil.copytree(MODEL, copy)
        for name in ("model.safetensors", "vocab.txt"):
            self.assertIn("a file of the model being converted", run("convert", copy, "-o", copy / name, code=2)[1])
            self.assertEqual((copy / name).read_bytes(), (MODEL / name).read_bytes())
        path, _ = self.convert()
        before = path.read_bytes()
        self.assertIn("a file of the model being converted", run("convert", path, "-o", path, code=2)[1])
        self.assertIn("is a directory", run("convert", MODEL, "-o", self.folder, code=2)[1])
        run("convert", self.folder / "nothing", "-o", path, code=1)
        (copy / "config.json").write_text("{")
        run("convert", copy, "-o", path, code=1)
        self.assertEqual(path.read_bytes(), before)
        self.assertIn("no/where", run("convert", MODEL, "-o", "no/where/m.distild", code=1)[1])
        self.assertEqual({entry.name for entry in self.folder.iterdir()}, {"copy", "model.distild"})

    def test_convert_at_the_limit_on_file_size(self):
        path = self.folder / "model.distild"
        done = subprocess.run([str(PROGRAM), "convert", str(MODEL), "-o", str(path)], capture_output=True, text=True,
                              env=environment(), timeout=2 * PATIENCE,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)))
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("cannot write: File too large", done.stderr)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_the_trained_checkpoint(self):
        if not TRAINED.is_dir():
            self.skipTest(f"{TRAINED} is not there")
        path, written = self.convert("--dtype", "int8", source=TRAINED)
        self.assertLess(written["bytes"], 24_000_000)
        texts = ["a charming and often affecting journey", "unflinchingly bleak and desperate"]
        found = json_lines(run("predict", "--model", path, "--json", *texts)[0])
        self.assertEqual([result["label"] for result in found], ["POSITIVE", "NEGATIVE"])

    def test_the_bundled_model_needs_no_name(self):
        if not (SOURCE / "weights" / "sst2-minilm.distild").is_file():
            self.skipTest("there is no bundled model")
        found = json_lines(run("predict", "--json", "a charming and often affecting journey")[0])
        self.assertEqual(found[0]["label"], "POSITIVE")
        self.assertEqual(json.loads(run("inspect", "--json")[0])["labels"], ["NEGATIVE", "POSITIVE"])
        self.assertIn("sst2-minilm.distild", run("version")[0])


if __name__ == "__main__":
    main()
