#!/usr/bin/env python3
"""The commands, end to end, as a person or a script uses them."""

import fcntl
import json
import math
import os
import pathlib
import pty
import re
import resource
import shutil
import struct
import subprocess
import tempfile
import termios
import threading
import unittest

from harness import (
    COMMANDS, MODEL, PATIENCE, PROGRAM, SANITIZED, SHARED, SOURCE, TINY, TRAINED, cases, environment, json_lines, main, overflowing, run,
)

EXACT = ("--model", MODEL, "--precision", "fp32")
TOLERANCE = 1e-4


class Temporary(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="distild-cli-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def write(self, name, content):
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path


class Help(unittest.TestCase):
    def test_every_command_explains_itself(self):
        overview, _ = run("--help")
        for command in COMMANDS:
            self.assertIn(f"\n  {command} ", overview)
            text, err = run(command, "--help")
            self.assertEqual(err, "")
            self.assertTrue(text.startswith(f"Usage: distild {command} [OPTIONS]"))
            self.assertIn("Exit status: 0 success, 1 failure, 2 wrong usage", text)
            self.assertEqual(run("help", command)[0], text)
            self.assertEqual(run(command, "-h")[0], text)

    def test_the_manual_has_every_command_and_option(self):
        manual = (SOURCE / "docs" / "distild.1").read_text().replace("\\-", "-")
        documented = (SOURCE / "docs" / "commands.md").read_text()
        for command in COMMANDS:
            self.assertIn(f".Ss {command}", manual)
            options = re.findall(r"^  (?:-., |    )--([a-z-]+)", run(command, "--help")[0], re.M)
            self.assertIn("help", options)
            for option in options:
                self.assertTrue(re.search(rf"Fl Fl {option}(?![a-z-])", manual), f"distild.1 lacks --{option}")
                self.assertTrue(re.search(rf"--{option}(?![a-z-])", documented), f"docs/commands.md lacks --{option}")

    def test_wrong_usage(self):
        self.assertIn("Usage: distild COMMAND", run(code=2)[1])
        self.assertIn("unknown command 'perdict'; did you mean 'predict'?", run("perdict", code=2)[1])
        self.assertIn("unknown command 'xyzzyxyzzy'\n", run("xyzzyxyzzy", code=2)[1])
        self.assertIn("unknown command", run("help", "perdict", code=2)[1])
        for command in COMMANDS:
            self.assertIn(f"distild {command}: unknown option '--no-such'", run(command, "--no-such", code=2)[1])
            self.assertIn(f"Try 'distild {command} --help'", run(command, "--no-such", code=2)[1])
        self.assertIn("--threads: -1 is not from 0 to 1024", run("predict", "--threads", "-1", "x", code=2)[1])
        self.assertIn("--precision: 'fp64' is not one of fp32|bf16|int8", run("predict", "--precision", "fp64", "x", code=2)[1])
        self.assertIn("DISTILD_PORT: 80800 is not from 0 to 65535",
                      run("serve", code=2, DISTILD_PORT="80800")[1])
        self.assertIn("exclude each other", run("predict", "--file", "f", "x", code=2)[1])
        self.assertIn("--output FILE is missing", run("convert", MODEL, code=2)[1])
        for shapes, message in (("0x5", "found '0x5'"), ("1x8,", "found ''"), ("1x8,mix33", "found 'mix33'"),
                                ("1x8,1x65", "shape 1x65: 65 tokens are more than the model's window of 64")):
            out, err = run("bench", "--model", MODEL, "-s", shapes, code=2)
            self.assertEqual(out, "")
            self.assertIn(message, err)


class Predict(Temporary):
    def check(self, case, found, raw=False):
        expected = case["logits" if raw else "scores"]
        self.assertEqual(list(found["scores"]), ["negative", "neutral", "positive"])
        for score, wanted in zip(found["scores"].values(), expected):
            self.assertAlmostEqual(score, wanted, delta=TOLERANCE, msg=case["text"])
        best = max(found["scores"], key=found["scores"].get)
        self.assertEqual(found["label"], best)
        self.assertEqual(found["score"], found["scores"][best])

    def test_answers_of_transformers_line_by_line(self):
        texts = cases()
        self.assertGreater(len(texts), 3)
        lines = "".join(case["text"] + "\n" for case in texts)
        for raw in (False, True):
            for batch in ("1", "3", "1024"):
                out, _ = run("predict", *EXACT, "--json", "--batch", batch, *(["--raw-scores"] if raw else []), input=lines)
                found = json_lines(out)
                self.assertEqual(len(found), len(texts))
                for case, result in zip(texts, found):
                    self.assertLessEqual(set(result), {"label", "score", "scores", "truncated"})
                    self.check(case, result, raw)

    def test_every_text_has_its_line(self):
        lines = b"good\n\n \nbad\r\nnul\0text\n\xff\xfe broken \xed\xa0\x80\n\xe2\x80\xa8\nlast"
        found = json_lines(run("predict", *EXACT, "--json", input=lines)[0])
        self.assertEqual(len(found), 8)
        self.assertEqual(found[1], found[2])
        self.assertEqual(found[3], json_lines(run("predict", *EXACT, "--json", "bad")[0])[0])
        self.assertEqual(run("predict", *EXACT, "--json", input=b"")[0], "")
        self.assertEqual(len(json_lines(run("predict", *EXACT, "--json", input=b"\n")[0])), 1)

    def test_arguments_file_and_input_agree(self):
        texts = ["the film was good", "the plot is dull"]
        lines = "".join(text + "\n" for text in texts)
        expected = run("predict", *EXACT, "--json", *texts)[0]
        self.assertEqual(run("predict", *EXACT, "--json", input=lines)[0], expected)
        self.assertEqual(run("predict", *EXACT, "--json", "--file", self.write("texts", lines))[0], expected)
        self.assertEqual(run("predict", *EXACT, "--json", "--file", "-", input=lines)[0], expected)
        self.assertEqual(run("predict", "--json", input=lines, DISTILD_MODEL=str(MODEL), DISTILD_PRECISION="fp32")[0], expected)
        self.assertEqual(run("predict", *EXACT, input=lines, DISTILD_JSON="1")[0], expected)
        self.assertEqual(run("predict", *EXACT, "--json", "--threads", "1", input=lines, DISTILD_THREADS="2")[0], expected)

    def test_tsv_and_table(self):
        out, _ = run("predict", *EXACT, "--tsv", "a\tb\\c", "good")
        rows = [line.split("\t") for line in out.split("\n")[:-1]]
        self.assertEqual(rows[0], ["label", "score", "score:negative", "score:neutral", "score:positive", "truncated", "text"])
        self.assertEqual(rows[1][5:], ["no", "a\\tb\\\\c"])
        for row in rows[1:]:
            self.assertEqual(len(row), 7)
            self.assertEqual(float(row[1]), max(map(float, row[2:5])))
            self.assertAlmostEqual(sum(map(float, row[2:5])), 1, delta=1e-6)
        table = run("predict", *EXACT, "good\033[2J film")[0].split("\n")
        self.assertEqual(table[0].split(), ["LABEL", "SCORE", "TEXT"])
        self.assertTrue(table[1].endswith("good [2J film"))

    def test_a_long_text_is_cut_and_says_so(self):
        long = "good " * 500
        found = json_lines(run("predict", *EXACT, "--json", long, "good")[0])
        self.assertIs(found[0]["truncated"], True)
        self.assertNotIn("truncated", found[1])
        self.assertIn("1 text was cut at the model's window of 64 tokens", run("predict", *EXACT, long, "good")[1])
        self.assertIn("\tyes\tgood", run("predict", *EXACT, "--tsv", long)[0])
        self.assertEqual(len(json_lines(run("predict", *EXACT, "--json", input=b"x" * 3_000_000)[0])), 1)

    def test_json_lines_pass_fields_on(self):
        lines = [
            '{"id": 12345678901234567890, "text": "good \\u00e9\\ud83d\\ude00", "n": {"a": [1, "}"]}, "label": "gold", "score": 7}',
            '{"inputs": "bad"}',
            "nonsense",
            '{"id": 4}',
            '{"text": null}',
            '{"text": ""}',
        ]
        out, err = run("predict", *EXACT, "--jsonl", "--json", input="\n".join(lines), code=1)
        found = json_lines(out)
        self.assertEqual(len(found), 6)
        self.assertEqual(found[0]["id"], 12345678901234567890)
        self.assertEqual(found[0]["n"], {"a": [1, "}"]})
        self.assertEqual(found[0]["text"], "good é😀")
        self.assertIn(found[0]["label"], ["negative", "neutral", "positive"])
        self.assertEqual(found[1]["inputs"], "bad")
        marked = "\ufeff" + lines[1]
        self.assertEqual(json_lines(run("predict", *EXACT, "--jsonl", "--json", input=marked)[0])[0]["scores"], found[1]["scores"])
        plain = json_lines(run("predict", *EXACT, "--json", "good é😀", "bad", "")[0])
        for i, j in ((0, 0), (1, 1), (5, 2)):
            self.assertEqual(found[i]["scores"], plain[j]["scores"])
        for i, word in ((2, "invalid JSON"), (3, 'no field "text"'), (4, "is not a string")):
            self.assertEqual(list(found[i]), ["error"])
            self.assertIn(word, found[i]["error"])
            self.assertIn(f"line {i + 1}: ", found[i]["error"])
            self.assertIn(found[i]["error"], err)

    def test_answers_before_the_input_ends(self):
        for command in ("predict", "tokenize"):
            child = subprocess.Popen([str(PROGRAM), command, "--model", str(MODEL), "--json"], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, env=environment())
            killer = threading.Timer(60, child.kill)
            killer.start()
            for text in (b"one\n", b"two\n"):
                child.stdin.write(text)
                child.stdin.flush()
                self.assertTrue(child.stdout.readline().endswith(b"}\n"), command)
            child.stdin.close()
            self.assertEqual(child.stdout.read(), b"")
            self.assertEqual(child.wait(), 0)
            killer.cancel()
            child.stdout.close()

    def test_multi_label_and_regression(self):
        for name in ("distilbert-multi", "distilbert-regression"):
            texts = cases(name)
            out, _ = run("predict", "--model", TINY / name, "--precision", "fp32", "--json",
                         input="".join(case["text"] + "\n" for case in texts))
            for case, found in zip(texts, json_lines(out)):
                for score, wanted in zip(found["scores"].values(), case["scores"]):
                    self.assertAlmostEqual(score, wanted, delta=TOLERANCE)

    def test_failures_say_what_and_where(self):
        self.assertIn("no/such/file: No such file", run("predict", *EXACT, "--file", "no/such/file", code=1)[1])
        self.assertIn("no/such/model", run("predict", "--model", "no/such/model", "x", code=1)[1])
        self.assertIn(str(self.folder), run("predict", "--model", self.folder, "x", code=1)[1])
        broken = self.write("broken.distild", b"\xff" * 100)
        self.assertIn(str(broken), run("predict", "--model", broken, "x", code=1)[1])
        full = pathlib.Path("/dev/full")
        if full.exists():
            with full.open("wb") as out:
                done = subprocess.run([str(PROGRAM), "predict", *map(str, EXACT), "x"], stdout=out, stderr=subprocess.PIPE,
                                      env=environment())
            self.assertEqual(done.returncode, 1)
            self.assertIn(b"standard output: No space left on device", done.stderr)

    def test_what_is_not_a_number_is_no_answer(self):
        texts = ["the film", "good", "the good film was bad"]
        path, worst = overflowing(self.folder, texts)
        model = ("--model", path, "--precision", "fp32")
        message = f"text {worst + 1}: the model computed a value that is not a number"
        for options, lines in (((), texts), (("--jsonl",), [json.dumps({"text": text}) for text in texts]),
                               (("--jsonl",), [json.dumps({"text": text}) for text in texts] + ['{"text":7}'])):
            out, err = run("predict", *model, "--json", *options, input="".join(line + "\n" for line in lines), code=1)
            found = json_lines(out)
            self.assertEqual(["error" in result for result in found], [i in (worst, 3) for i in range(len(lines))])
            self.assertIn(message, found[worst]["error"])
            self.assertIn(message, err)
            for i in {0, 1, 2} - {worst}:
                alone = json_lines(run("predict", *model, "--json", texts[i])[0])[0]
                for label, score in alone["scores"].items():
                    self.assertAlmostEqual(found[i]["scores"][label], score, delta=TOLERANCE)
        tsv = run("predict", *model, "--tsv", *texts, code=1)[0].splitlines()[1:]
        self.assertEqual([line.startswith("error\t") for line in tsv], [i == worst for i in range(3)])
        data = self.write("data.tsv", f"{texts[worst]}\t1\n")
        self.assertIn("expected finite logits", run("evaluate", *model, data, "--output", "-", code=1)[1])
        self.assertIn("expected finite logits", run("profile", *model, texts[worst], code=1)[1])

    def test_levels_agree(self):
        levels = json.loads(run("version", "--json", "--model", MODEL)[0])["levels"]
        self.assertIn("scalar", levels)
        for level in levels:
            found = json_lines(run("predict", *EXACT, "--json", "--cpu", level, *[case["text"] for case in cases()])[0])
            for case, result in zip(cases(), found):
                self.check(case, result)
        self.assertEqual(json.loads(run("version", "--json", DISTILD_CPU="scalar", DISTILD_MODEL=str(MODEL))[0])["cpu"], "scalar")


class Terminal(Temporary):
    """What is shown where a person looks on: standard error, and then standard output too, is a terminal."""

    def on_terminal(self, arguments, out_too=False, columns=40):
        """Runs the program; returns what the terminal saw, and standard output where that is a pipe."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        child = subprocess.Popen([str(PROGRAM), *map(str, arguments)], stdin=subprocess.DEVNULL, stderr=theirs,
                                 stdout=theirs if out_too else subprocess.PIPE, env=environment())
        os.close(theirs)
        seen = []
        reader = threading.Thread(target=lambda: seen.extend(self.chunks(ours)))
        reader.start()
        out = b"" if out_too else child.stdout.read()
        self.assertEqual(child.wait(100), 0)
        reader.join()
        os.close(ours)
        if not out_too:
            child.stdout.close()
        return b"".join(seen), out

    @staticmethod
    def chunks(terminal):
        """Reads until the other side has gone, which Linux reports as an error."""
        try:
            while chunk := os.read(terminal, 65536):
                yield chunk
        except OSError:
            pass

    def test_progress_and_results_apart(self):
        count = 3000 if SANITIZED else 24000  # well over the fifth of a second before progress is shown
        texts = self.write("texts", "the film was good and the plot is dull\n" * count)
        options = ("--cpu", "scalar", "--json", "--file", texts, *EXACT)
        shown, out = self.on_terminal(["predict", *options])
        self.assertRegex(shown, rb"\rpredicting +\d+%  \d+ texts, \d+/s\033\[K")
        self.assertTrue(shown.endswith(b"\r\033[K"), shown[-100:])
        self.assertEqual(len(json_lines(out.decode())), count)
        self.assertEqual(self.on_terminal(["predict", *options], out_too=True)[0].count(b"predicting"), 0)

    def test_texts_fit_the_terminal(self):
        shown, _ = self.on_terminal(["predict", *EXACT, "é" * 100, "short"], out_too=True)
        lines = shown.decode().replace("\r\n", "\n").split("\n")
        self.assertEqual(len(lines[1]), 40)
        self.assertTrue(lines[1].endswith("é..."))
        self.assertTrue(lines[2].endswith("  short"))


class Tokenize(Temporary):
    def test_ids_of_transformers(self):
        texts = cases()
        found = json_lines(run("tokenize", "--model", MODEL, "--json", input="".join(c["text"] + "\n" for c in texts))[0])
        self.assertEqual(len(found), len(texts))
        vocabulary = (MODEL / "vocab.txt").read_text().split("\n")
        for case, result in zip(texts, found):
            self.assertEqual(result["ids"], case["ids"])
            self.assertEqual(result["tokens"], [vocabulary[i] for i in case["ids"]])
            self.assertEqual(len(result["offsets"]), len(case["ids"]))

    def test_form(self):
        out, _ = run("tokenize", "--model", MODEL, "--json", "The film, café")
        self.assertEqual(json_lines(out)[0]["offsets"], [[0, 0], [0, 3], [4, 8], [8, 9], *json_lines(out)[0]["offsets"][4:-1], [0, 0]])
        self.assertEqual(json_lines(out)[0]["tokens"][:4], ["[CLS]", "the", "film", ","])
        self.assertEqual(json_lines(run("tokenize", "--model", MODEL, "--json", "")[0]),
                         [{"ids": [2, 3], "tokens": ["[CLS]", "[SEP]"], "offsets": [[0, 0], [0, 0]]}])
        long = json_lines(run("tokenize", "--model", MODEL, "--json", "good " * 100)[0])[0]
        self.assertEqual((len(long["ids"]), long["truncated"]), (64, True))
        table = run("tokenize", "--model", MODEL, "film", "good " * 100)[0]
        self.assertIn("    ID  START    END  TOKEN\n     2      0      0  [CLS]\n", table)
        self.assertIn("(the first 64 of 102 tokens)", table)


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


class Evaluate(Temporary):
    LABELS = ["negative", "neutral", "positive"]

    def rows(self):
        """Texts with the label that transformers gives them."""
        return [(case["text"], max(range(3), key=case["logits"].__getitem__)) for case in cases()]

    def evaluate(self, content, *options, name="data.tsv", code=0):
        out = self.folder / "figures.json"
        run("evaluate", self.write(name, content), *EXACT, "-o", out, *options, code=code)
        return json.loads(out.read_text())

    def test_figures(self):
        rows = self.rows()
        wrong = [(text, (label + 1) % 3 if i % 3 == 0 else label) for i, (text, label) in enumerate(rows)]
        figures = self.evaluate("sentence\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in wrong))
        matrix = figures["confusion_matrix"]["matrix"]
        expected = [[0] * 3 for _ in range(3)]
        for (_, truth), (_, predicted) in zip(wrong, rows):
            expected[truth][predicted] += 1
        self.assertEqual(matrix, expected)
        self.assertEqual(figures["rows"], len(rows))
        hits = sum(matrix[i][i] for i in range(3))
        for name, figure in (("accuracy", figures["accuracy"]), ("micro", figures["micro"]["f1"])):
            self.assertAlmostEqual(figure, hits / len(rows), delta=1e-12, msg=name)
        each = []
        for i, label in enumerate(self.LABELS):
            support, predicted = sum(matrix[i]), sum(row[i] for row in matrix)
            each.append((support, predicted, 2 * matrix[i][i] / max(1, support + predicted)))
            self.assertEqual(figures["labels"][label]["support"], support)
            self.assertAlmostEqual(figures["labels"][label]["f1"], each[-1][2], delta=1e-12)
        present = [f1 for support, predicted, f1 in each if support or predicted]
        self.assertAlmostEqual(figures["macro"]["f1"], sum(present) / len(present), delta=1e-12)
        self.assertAlmostEqual(figures["weighted"]["f1"], sum(s * f1 for s, _, f1 in each) / len(rows), delta=1e-12)
        self.assertGreater(figures["texts_per_second"], 0)
        self.assertEqual((figures["precision"], figures["confusion_matrix"]["labels"]), ("fp32", self.LABELS))

    def test_forms_of_data(self):
        rows = self.rows()
        forms = {
            "no-header.tsv": "".join(f"{text}\t{label}\n" for text, label in rows),
            "names.tsv": "\ufeffid\tlabel\ttext\r\n" + "".join(f"7\t{self.LABELS[label].upper()}\t{text}\r\n" for text, label in rows),
            "rows.jsonl": "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows),
            "names.jsonl": "".join(json.dumps({"label": self.LABELS[label], "sentence": text}) + "\n\n" for text, label in rows),
        }
        for name, content in forms.items():
            figures = self.evaluate(content, name=name)
            self.assertEqual((figures["accuracy"], figures["rows"]), (1.0, len(rows)), name)
        columns = ("--text-column", "review", "--label-column", "stars")
        content = "stars\treview\n" + "".join(f"{label}\t{text}\n" for text, label in rows)
        self.assertEqual(self.evaluate(content, *columns)["accuracy"], 1.0)
        self.assertIn("no header with the columns", run("evaluate", self.write("x", "a\t1\n"), *EXACT, *columns, code=1)[1])

    def test_least_accuracy(self):
        text, label = self.rows()[0]
        content = f"{text}\t{label}\n{text}\t{(label + 1) % 3}\n"
        self.assertEqual(self.evaluate(content, "--min-accuracy", "0.5")["accuracy"], 0.5)
        self.assertEqual(self.evaluate(content, "--min-accuracy", "0.51", code=3)["accuracy"], 0.5)

    def test_bad_rows_are_named(self):
        for content, message in (
            ("sentence\tlabel\ngood\t1\nbad\n", "line 3: expected 2 columns with tabs between them, found 1"),
            ("sentence\tlabel\ngood\t3\n", "line 2: label '3' is neither a number from 0 to 2 nor one of negative, neutral"),
            ("sentence\tlabel\ngood\t-1\n", "line 2: label '-1'"),
            ("sentence\tlabel\n", "no rows"),
            ("", "no rows"),
            ("just one column\n", "line 1: expected 2 columns"),
            ("review\tstars\ngood\t1\n", "line 1: neither a header"),
        ):
            path = self.write("bad.tsv", content)
            err = run("evaluate", path, *EXACT, code=1)[1]
            self.assertIn(message, err)
            self.assertIn(str(path), err)
        for content, message in (('{"text":"x"}\n', "line 1: expected a text"), ('{"text":"x","label":9}\n', "label '9'"),
                                 ("{\n", "line 1: invalid JSON")):
            self.assertIn(message, run("evaluate", self.write("bad.jsonl", content), *EXACT, code=1)[1])
        self.assertFalse((self.folder / "figures.json").exists())
        run("evaluate", "no-such-file", *EXACT, code=1)
        regression = TINY / "distilbert-regression"
        self.assertIn("gives a number", run("evaluate", self.write("r.tsv", "x\t0\n"), "--model", regression, code=1)[1])

    def test_writes_evaluation_json_here(self):
        text, label = self.rows()[0]
        path = self.write("one.tsv", f"{text}\t{label}\n")
        done = subprocess.run([str(PROGRAM), "evaluate", str(path), *map(str, EXACT)], cwd=self.folder, capture_output=True,
                              text=True, env=environment())
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("accuracy 1.0000", done.stdout)
        self.assertEqual(json.loads((self.folder / "evaluation.json").read_text())["accuracy"], 1.0)
        out = run("evaluate", path, *EXACT, "--json", "-o", "-")[0]
        self.assertEqual(json.loads(out)["accuracy"], 1.0)
        self.assertEqual({entry.name for entry in self.folder.iterdir()}, {"one.tsv", "evaluation.json"})

    def test_accuracy_of_the_trained_checkpoint(self):
        data = SHARED / "data" / "sst2" / "validation.tsv"
        if SANITIZED:
            self.skipTest("872 texts take minutes with sanitizers")
        if not TRAINED.is_dir() or not data.is_file():
            self.skipTest(f"{TRAINED} or {data} is not there")
        out = self.folder / "sst2.json"
        run("evaluate", data, "--model", TRAINED, "--precision", "fp32", "-o", out)
        figures = json.loads(out.read_text())
        # What scikit-learn says of the labels that transformers gives.
        self.assertEqual(figures["rows"], 872)
        self.assertAlmostEqual(figures["accuracy"], 775 / 872, delta=1e-12)

    def test_reduced_precisions_keep_the_labels(self):
        bundled = SOURCE / "weights" / "sst2-minilm.distild"
        data = SHARED / "data" / "sst2" / "validation.tsv"
        if SANITIZED:
            self.skipTest("872 texts take minutes with sanitizers")
        if not TRAINED.is_dir() or not data.is_file() or not bundled.is_file():
            self.skipTest(f"{TRAINED}, {data} or {bundled} is not there")
        rows = [line.rstrip("\n").split("\t") for line in data.read_text().splitlines()[1:]]
        texts = self.write("texts", "".join(row[0] + "\n" for row in rows))
        truth = ["POSITIVE" if row[1] == "1" else "NEGATIVE" for row in rows]

        def labels(model, *options):
            return [x["label"] for x in json_lines(run("predict", "-f", texts, "--json", "--model", model, *options)[0])]

        def share(a, b):
            return sum(x == y for x, y in zip(a, b, strict=True)) / len(b)

        exact = labels(TRAINED, "--precision", "fp32")
        about = json.loads(run("version", "--json", "--model", MODEL)[0])
        for cpu in {about["cpu"], "avx2"} & set(about["levels"]):
            for precision in ("bf16", "int8"):
                found = labels(bundled, "--precision", precision, "--cpu", cpu)
                with self.subTest(cpu=cpu, precision=precision):
                    self.assertGreaterEqual(share(found, exact), 0.99)
                    self.assertGreaterEqual(share(found, truth), share(exact, truth) - 0.005)


class Version(unittest.TestCase):
    def test_version(self):
        about = json.loads(run("version", "--json", "--model", MODEL)[0])
        self.assertRegex(about["version"], r"^\d+\.\d+\.\d+$")
        self.assertIn(about["cpu"], about["levels"])
        self.assertIn(about["precision"], ["fp32", "bf16", "int8"])
        self.assertEqual(about["model"], str(MODEL))
        self.assertEqual(run("--version", DISTILD_MODEL=str(MODEL))[0], run("version", DISTILD_MODEL=str(MODEL))[0])
        self.assertIn("no-such-model", run("version", "--model", "no-such-model", code=1)[1])


if __name__ == "__main__":
    main()
