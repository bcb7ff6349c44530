#!/usr/bin/env python3
"""`distild evaluate` on labelled texts, questions in SQuAD's format, and pairs of texts with a score; and star ratings."""

import json
import subprocess

from encoder import tiny_encoder
from harness import EXACT, MODEL, PROGRAM, SANITIZED, SHARED, SOURCE, TINY, TRAINED, Temporary, cases, environment, json_lines, main, run

ANSWERER = SOURCE / "weights" / "qa-minilm.distild"
BUNDLED = SOURCE / "weights" / "sst2-minilm.distild"
BELOW = 3
CONTEXT = "The pump was built by Ada Brunner in 1987. It stops when the upper tank is full."


class LabelledTexts(Temporary):
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


def squad(*questions):
    """A file in SQuAD's format: of each question its text, right answers, and whether it has none."""
    return {"data": [{"title": "pumps", "paragraphs": [{"context": CONTEXT, "qas": [
        {"id": str(i), "question": text, "answers": [{"text": answer, "answer_start": 0} for answer in right], **more}
        for i, (text, right, more) in enumerate(questions)]}]}]}


class QuestionsAndPairs(Temporary):
    def write(self, name, content):
        return super().write(name, content if isinstance(content, str) else json.dumps(content))

    def evaluate(self, data, *options, code=0):
        out = self.folder / "figures.json"
        run("evaluate", data, "--precision", "fp32", "-o", out, *options, code=code)
        return json.loads(out.read_text())

    def test_answers(self):
        right = ("Who built the pump?", ["the pump", "ada brunner!"], {})
        half = ("Who built the pump?", ["Ada"], {})
        data = self.write("squad.json", squad(right, half))
        figures = self.evaluate(data, "--model", ANSWERER)
        self.assertEqual((figures["rows"], figures["exact_match"]), (2, 0.5))
        self.assertAlmostEqual(figures["f1"], (1 + 2 / 3) / 2, delta=1e-12)
        self.assertEqual(figures["answerable"], {"questions": 2, "exact_match": figures["exact_match"], "f1": figures["f1"]})
        self.assertEqual(figures["impossible"]["questions"], 0)
        self.assertEqual((figures["data"], figures["precision"]), (str(data), "fp32"))
        out, _ = run("evaluate", data, "--model", ANSWERER, "--precision", "fp32", "-o", "-")
        self.assertIn("2 questions in ", out)
        self.assertIn("exact match 0.5000, F1 0.8333\n", out)
        self.assertEqual(self.evaluate(data, "--model", ANSWERER, "--min-accuracy", "0.6", code=BELOW)["rows"], 2)
        self.evaluate(data, "--model", ANSWERER, "--min-accuracy", "0.5")

    def test_questions_without_an_answer(self):
        data = self.write("squad.json", squad(("Who built the pump?", ["Ada Brunner"], {"is_impossible": False}),
                                              ("What is the boiling point of tungsten?", [], {"is_impossible": True})))
        out, _ = run("evaluate", data, "--model", ANSWERER, "--precision", "fp32", "--json", "-o", "-")
        figures = json.loads(out)
        self.assertEqual(figures["answerable"]["questions"], 1)
        self.assertEqual(figures["impossible"], {"questions": 1, "exact_match": 1})
        self.assertEqual((figures["exact_match"], figures["f1"]), (1, 1))
        self.assertIn("1 without: 1.0000 left unanswered", run("evaluate", data, "--model", ANSWERER, "--precision", "fp32", "-o", "-")[0])

    def test_bad_files_of_questions_are_named(self):
        good = squad(("Who?", ["Ada"], {}))
        for content, message in [
            ("{", "malformed JSON"), ({}, "data: a list of articles"), ({"data": []}, "no questions"), ({"data": [{}]}, "data[0]: a list `paragraphs`"),
            ({"data": [{"paragraphs": [{"qas": []}]}]}, "data[0].paragraphs[0]: `context`"), ({"data": [{"paragraphs": [{"context": "x"}]}]}, "a list `qas`"),
            (squad(("Who?", [], {})), "data[0].paragraphs[0].qas[0]: a list `answers`"), (squad((5, ["x"], {})), "`question`, a string"),
            (squad(("Who?", [5], {})), "`text` in each of `answers`"), (squad(("why " * 500, ["x"], {})), "is over the window"),
        ]:
            with self.subTest(message):
                self.assertIn(message, run("evaluate", self.write("bad.json", content), "--model", ANSWERER, "-o", "-", code=1)[1])
        self.assertIn("No such file", run("evaluate", self.folder / "none.json", "--model", ANSWERER, code=1)[1])
        self.assertTrue(good)

    def test_pairs(self):
        encoder = tiny_encoder(self.folder / "encoder")
        texts = ["the film was good", "a bad story", "the plot was dull", "warm and funny", "a great cast", "the end"]
        vectors = [line["embedding"] for line in json_lines(run("embed", "--model", encoder, "--precision", "fp32", *texts)[0])]
        pairs = [(i, k, sum(a * b for a, b in zip(vectors[i], vectors[k]))) for i in range(len(texts)) for k in range(i)]
        same = self.write("same.tsv", "score\tid\tsentence2\tsentence1\n" + "".join(f"{3 * score - 1}\t7\t{texts[k]}\t{texts[i]}\n" for i, k, score in pairs))
        figures = self.evaluate(same, "--model", encoder)
        self.assertEqual(figures["rows"], len(pairs))
        self.assertAlmostEqual(figures["pearson"], 1, delta=1e-5)
        self.assertGreater(figures["spearman"], 0.99)
        other = self.write("other.tsv", "\n" + "sentence1\tsentence2\tstars\n" + "".join(f"{texts[i]}\t{texts[k]}\t{-score}\n" for i, k, score in pairs))
        figures = self.evaluate(other, "--model", encoder, "--label-column", "stars", "--batch", "3")
        self.assertAlmostEqual(figures["pearson"], -1, delta=1e-5)
        self.evaluate(same, "--model", encoder, "--min-accuracy", "0.9")
        self.evaluate(other, "--model", encoder, "--label-column", "stars", "--min-accuracy", "0.1", code=BELOW)
        self.assertRegex(run("evaluate", same, "--model", encoder, "-o", "-")[0], r"15 pairs in .*\nSpearman [01]\.\d{4}, Pearson [01]\.\d{4}\n")
        for content, message in [("a\tb\t1\n", "no header with the column 'sentence1'"), ("sentence1\tsentence2\tscore\na\tb\tx\n", "line 2: expected a number in the column 'score', found 'x'"),
                                 ("sentence1\tsentence2\tscore\na\n", "line 2: expected a number"), ("score\tsentence1\tsentence2\n1\ta\t\n", "line 2: expected a text in the column 'sentence2'"),
                                 ("sentence1\tsentence2\tscore\na\tb\t1\n", "at least two pairs"), ("", "at least two pairs")]:
            with self.subTest(message):
                self.assertIn(message, run("evaluate", self.write("bad.tsv", content), "--model", encoder, "-o", "-", code=1)[1])

    def test_stars_become_labels(self):
        rows = [("A warm, funny film.", 5), ("A wonderful cast.", 4), ("Dull and far too long.", 3), ("Bitter and mean-spirited.", 0.5)]
        data = self.write("stars.tsv", "stars\ttext\n" + "".join(f"{stars}\t{text}\n" for text, stars in rows))
        figures = self.evaluate(data, "--model", BUNDLED, "--label-column", "stars", "--text-column", "text", "--positive-from", "4")
        self.assertEqual((figures["accuracy"], figures["labels"]["POSITIVE"]["support"]), (1, 2))
        lines = self.write("stars.jsonl", "".join(json.dumps({"text": text, "label": str(stars)}) + "\n" for text, stars in rows))
        self.assertEqual(self.evaluate(lines, "--model", BUNDLED, "--positive-from", "3")["accuracy"], 0.75)
        for content, options, message in [
            ("text\tlabel\nx\tgood\n", ["--model", BUNDLED], "line 2: expected a number for a label, found 'good'"),
            ("text\tlabel\nx\t5\n", ["--model", MODEL.parent / "bert-single"], "label 'POSITIVE' is neither"),
        ]:
            self.assertIn(message, run("evaluate", self.write("bad.tsv", content), "--positive-from", "4", "-o", "-", *options, code=1)[1])
        self.assertIn("expected a number", run("evaluate", data, "--positive-from", "four", code=2)[1])


if __name__ == "__main__":
    main()
