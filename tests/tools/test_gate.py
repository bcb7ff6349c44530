#!/usr/bin/env python3
"""`distild evaluate --tests`, the accuracy gate: it lets through a model that scores as it should, and no other."""

import json
import math
import pathlib
import tempfile
import unittest

from harness import SOURCE, TINY, cases, json_lines, main, run

BUNDLED = SOURCE / "weights" / "sst2-minilm.distild"
BELOW = 3


class Gate(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def written(self, content):
        path = self.folder / "tests.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    def gate(self, content, *options, code=0, **variables):
        out, err = run("evaluate", "--tests", self.written(content), *options, code=code, **variables)
        return out + err

    def labelled(self):
        """Texts of a tiny checkpoint, and the label of each by transformers' logits; one is wrong on purpose."""
        every = [case for case in cases("distilbert-single") if case["text"].strip()]
        names = list(json_lines(run("predict", "--model", TINY / "distilbert-single", "--json", "a")[0])[0]["scores"])
        targets = [names[max(range(len(case["logits"])), key=case["logits"].__getitem__)] for case in every]
        targets[0] = next(name for name in names if name != targets[0])
        return {"data": [case["text"] for case in every], "target": targets, "expected_score": (len(every) - 1) / len(every)}

    def test_classification(self):
        tests = self.labelled()
        model = ("--model", TINY / "distilbert-single")
        self.assertIn("PASS: accuracy", self.gate(tests, *model))
        found = json.loads(self.gate(tests, *model, "--json"))
        self.assertEqual((found["passed"], found["measure"], found["precision"], found["error_tolerance"]), (True, "accuracy", "fp32", 1e-5))
        self.assertEqual(found["score"], tests["expected_score"])
        self.assertIn("FAIL", self.gate({**tests, "expected_score": tests["expected_score"] + 2e-5}, *model, code=BELOW))
        self.assertIn("PASS", self.gate({**tests, "expected_score": tests["expected_score"] + 2e-5}, *model, "--error-tolerance", "3e-5"))
        self.gate({**tests, "expected_score": 1}, *model, code=BELOW)
        rounded = json.loads(self.gate(tests, *model, "--precision", "int8", "--json"))["error_tolerance"]
        self.assertAlmostEqual(rounded, 0.005 + 3 * math.sqrt(0.01 / len(tests["data"])), delta=1e-12)
        output = self.folder / "verdict.json"
        told = self.gate({**tests, "expected_score": 0.1}, *model, "--output", output, "--json", code=BELOW)
        self.assertEqual(json.loads(output.read_text()), json.loads(told))
        self.assertFalse(json.loads(told)["passed"])
        output.unlink()
        self.gate(tests, *model, "--output", "-")
        self.assertEqual([path.name for path in self.folder.iterdir()], ["tests.json"])
        # labels by number, texts in objects, the model by its variable
        numbers = {"data": [{"text": text} for text in ("a joy", "a bore", "a delight")], "target": [1, 0, 0], "expected_score": 2 / 3}
        self.assertIn("of 3 rows in fp32 0.666666667", self.gate(numbers, DISTILD_MODEL=str(BUNDLED)))

    def test_regression_is_r_squared(self):
        every = [case for case in cases("bert-regression") if case["text"].strip()]
        predicted = [case["logits"][0] for case in every]
        targets = [value + (0.01 if i % 2 else -0.02) for i, value in enumerate(predicted)]
        mean = sum(targets) / len(targets)
        missed = sum((wanted - found) ** 2 for wanted, found in zip(targets, predicted))
        score = 1 - missed / sum((wanted - mean) ** 2 for wanted in targets)
        tests = {"data": [case["text"] for case in every], "target": targets, "expected_score": score}
        self.assertIn("PASS: R^2", self.gate(tests, "--model", TINY / "bert-regression", "--error-tolerance", "1e-3"))
        self.gate({**tests, "expected_score": score - 0.1}, "--model", TINY / "bert-regression", "--error-tolerance", "1e-3", code=BELOW)

    def test_recommendation(self):
        """Two tastes that scores alone tell apart: the estimator that has learned from them expects the others."""
        items = self.folder / "items.tsv"
        items.write_text("id\ttext\n" + "".join(f"film{i}\ta film\n" for i in range(8)), encoding="utf-8")
        vectors = self.folder / "vectors.tsv"
        vectors.write_text("".join(f"film{i}\t{math.cos(i)}\t{math.sin(i)}\t{i % 3}\t1\n" for i in range(8)), encoding="utf-8")
        catalogue = self.folder / "films.catalogue"
        run("catalogue", "build", items, "--vectors", vectors, "-o", catalogue)
        people = [{"age": age, "gender": gender, "occupation": job} for age, gender, job in
                  [(20, "M", "student"), (22, "M", "student"), (60, "F", "doctor"), (58, "F", "doctor")]]
        rows = [{**person, "movie": f"film{i}"} for person in people for i in range(8)]
        scores = [5 if (row["gender"] == "M") == (int(row["movie"][4:]) < 4) else 1 for row in rows]
        tests = {"learn": {"data": rows * 8, "target": scores * 8}, "data": rows, "target": scores, "expected_score": 0}
        found = json.loads(self.gate(tests, "--catalogue", catalogue, "--json", code=BELOW))
        self.assertGreater(found["score"], 0.8)
        self.assertEqual((found["measure"], found["rows"]), ("R^2", 32))
        self.assertIn("PASS", self.gate({**tests, "expected_score": found["score"]}, "--catalogue", catalogue))
        for change, message in [({"learn": None}, "`learn`"), ({"data": [{**rows[0], "age": 131}], "target": [1]}, "`data[0].age`: "),
                                ({"data": [{**rows[0], "movie": "none"}], "target": [1]}, "`data[0].movie`: "),
                                ({"data": rows[:1], "target": [6]}, "`target[0]`"),
                                ({"learn": {"data": [{**rows[0], "gender": "X"}], "target": [1]}}, "`learn.data[0].gender`: M, F or O is expected")]:
            with self.subTest(message):
                self.assertIn(message, self.gate({**tests, **change}, "--catalogue", catalogue, code=1))

    def test_faults_are_named(self):
        good = {"data": ["a"], "target": ["POSITIVE"], "expected_score": 1}
        for content, message in [
            ("{", "invalid JSON at byte 1"), ("[]", "an object is expected"), ({**good, "data": "a"}, "`data`: an array"),
            ({**good, "target": None}, "`target`: an array"), ({**good, "target": []}, "`data` has 1 rows and `target` 0"),
            ({**good, "data": [], "target": []}, "at least one"), ({**good, "expected_score": "1"}, "`expected_score`"),
            ({**good, "data": [5]}, "`data[0]`"), ({**good, "target": ["GOOD"]}, "`target[0]`"), ({**good, "target": [2]}, "`target[0]`"),
            ({**good, "target": [0.5]}, "`target[0]`"), ({**good, "data": [{"movie": "a"}]}, "--catalogue"),
        ]:
            with self.subTest(message):
                told = self.gate(content, "--model", BUNDLED, code=1)
                self.assertIn(message, told)
                if message != "--catalogue":
                    self.assertIn("tests.json: ", told)
        for tolerance in ("-1", "-0.001", "nan", "1.5", "inf", "x"):
            self.assertIn("--error-tolerance: expected a number from 0 to 1", self.gate(good, "--model", BUNDLED, "--error-tolerance", tolerance, code=2))
        run("evaluate", "--tests", self.folder / "none.json", code=1)
        run("evaluate", "--tests", self.written(good), "data.tsv", code=2)
        run("evaluate", code=2)


if __name__ == "__main__":
    main()
