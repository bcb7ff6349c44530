#!/usr/bin/env python3
"""`distild evaluate` on what is not a labelled text: questions in SQuAD's format, and pairs of texts with a score; and star ratings."""

import json
import pathlib
import tempfile
import unittest

from encoder import tiny_encoder
from harness import MODEL, SOURCE, json_lines, main, run

ANSWERER = SOURCE / "weights" / "qa-minilm.distild"
BUNDLED = SOURCE / "weights" / "sst2-minilm.distild"
BELOW = 3
CONTEXT = "The pump was built by Ada Brunner in 1987. It stops when the upper tank is full."


def squad(*questions):
    """A file in SQuAD's format: of each question its text, right answers, and whether it has none."""
    return {"data": [{"title": "pumps", "paragraphs": [{"context": CONTEXT, "qas": [
        {"id": str(i), "question": text, "answers": [{"text": answer, "answer_start": 0} for answer in right], **more}
        for i, (text, right, more) in enumerate(questions)]}]}]}


class Evaluate(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def write(self, name, content):
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

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
