#!/usr/bin/env python3
"""`distild predict`, as a person or a script uses it: what it reads, what it answers, and what it says of what it cannot."""

import json
import pathlib
import subprocess
import threading

from harness import EXACT, MODEL, PROGRAM, TINY, Temporary, cases, environment, json_lines, main, overflowing, run

TOLERANCE = 1e-4


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


if __name__ == "__main__":
    main()
