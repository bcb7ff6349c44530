"""distild fit, end to end: what it learns is the minimum that it should be, and what it writes is a model like any other."""

import array
import json
import math
import pathlib
import random
import tempfile
import unittest

from encoder import tiny_encoder
from harness import MODEL, json_lines, main, run
from serving import ServeCase

GOOD = ["good", "great", "love", "fun", "warm"]
BAD = ["bad", "terrible", "hate", "dull", "cold"]


def sentence(source, words):
    return " ".join(source.choices(words, k=source.randint(3, 6)))


def reviews(count, seed=1):
    """Texts with the label of the words in them, but for one in 15."""
    source = random.Random(seed)
    rows = []
    for _ in range(count):
        label = source.random() < 0.4
        text = sentence(source, GOOD if label else BAD)
        rows.append((text, int(label != (source.random() < 1 / 15))))
    return rows


def tensors(path):
    """The float32 tensors of a model file or a catalogue, by name, with their shapes, and the metadata."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    found = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            values = array.array("f")
            values.frombytes(data[start + entry["data_offsets"][0]:start + entry["data_offsets"][1]])
            found[name] = (entry["shape"], values)
    return found, header["__metadata__"]


class FitCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.model = self.folder / "fitted.distild"

    def encoder(self, pooling="mean", normalize=True):
        return tiny_encoder(self.folder / f"{pooling}-{normalize}", pooling, normalize)

    def write(self, rows, name="train.tsv", header="text\tlabel"):
        path = self.folder / name
        path.write_text("".join(f"{line}\n" for line in [header, *("\t".join(map(str, row)) for row in rows)] if line is not None), encoding="utf-8")
        return path

    def fit(self, data, *options, encoder=None, code=0):
        return run("fit", data, "--encoder", encoder or self.encoder(), "-o", self.model, "--precision", "fp32", *options, code=code)


class Learns(FitCase):
    def embeddings(self, encoder, rows):
        """As a catalogue holds them: of length 1."""
        items = self.folder / "items.tsv"
        items.write_text("id\ttext\n" + "".join(f"{i}\t{text}\n" for i, (text, _) in enumerate(rows)))
        run("catalogue", "build", items, "-o", self.folder / "items", "-m", encoder, "--dtype", "fp32", "--precision", "fp32")
        found, metadata = tensors(self.folder / "items")
        (_, stride), values = found["vectors"]
        width = int(metadata["distild.width"])
        return [values[i * stride:i * stride + width] for i in range(len(rows))]

    def head(self):
        found, metadata = tensors(self.model)
        (labels, width), weight = found["head.weight"]
        return [weight[k * width:(k + 1) * width] for k in range(labels)], list(found["head.bias"][1]), json.loads(metadata["distild.config"])

    def check_minimum(self, rows, labels, c):
        """The slope of C times the loss plus half the squares is nearly 0, for each weight and bias."""
        encoder = self.encoder()
        vectors = self.embeddings(encoder, rows)
        weight, bias, _ = self.head()
        slopes = [[0.0] * (len(vectors[0]) + 1) for _ in range(labels)]
        for vector, (_, label) in zip(vectors, rows):
            logits = [sum(a * b for a, b in zip(w, vector)) + b for w, b in zip(weight, bias)]
            total = sum(math.exp(z) for z in logits)
            for k in range(labels):
                wrong = math.exp(logits[k]) / total - (k == label)
                for i, x in enumerate(vector):
                    slopes[k][i] += c * wrong * x
                slopes[k][-1] += c * wrong
        # two labels share one weight vector, w and -w of them being half each, so that it counts twice as much
        factor = 2 if labels == 2 else 1
        for k in range(labels):
            for i, w in enumerate(weight[k]):
                self.assertAlmostEqual(slopes[k][i] + factor * w, 0, delta=2e-5 * c * len(rows))
            self.assertAlmostEqual(slopes[k][-1], 0, delta=2e-5 * c * len(rows))

    def test_two_labels(self):
        rows = reviews(240)
        out, _ = self.fit(self.write(rows), "--c", "5")
        self.assertIn("LABEL      ROWS\n0      ", out)
        self.check_minimum(rows, 2, 5)

    def test_three_labels(self):
        source = random.Random(4)
        rows = [(sentence(source, (GOOD, BAD, ["short", "but", "start", "music"])[k]), k) for k in source.choices(range(3), k=200)]
        self.fit(self.write(rows), "--c", "2")
        self.check_minimum(rows, 3, 2)

    def test_cross_validation(self):
        out, _ = self.fit(self.write(reviews(300)), "--json", "--folds", "4")
        result = json.loads(out)
        self.assertEqual(result["rows"], 300)
        self.assertEqual(sum(result["labels"].values()), 300)
        trials = result["cross_validation"]
        self.assertGreaterEqual(len(trials), 3)
        self.assertEqual(result["c"], min(trials, key=lambda trial: trial["loss"])["c"])
        best = next(trial for trial in trials if trial["c"] == result["c"])
        self.assertGreater(best["accuracy"], 0.85)
        self.assertTrue(all(a["c"] < b["c"] for a, b in zip(trials, trials[1:])))
        validation = self.write(reviews(300, seed=2), "validation.tsv")
        measured, _ = run("evaluate", validation, "--model", self.model, "-o", "-", "--json", "--precision", "fp32")
        self.assertGreater(json.loads(measured)["accuracy"], 0.85)

    def test_the_same_again(self):
        data = self.write(reviews(60))
        digests = set()
        for _ in range(2):
            out, _ = self.fit(data, "--json", "--threads", "2")
            digests.add(json.loads(out)["digest"])
        self.assertEqual(len(digests), 1)

    def test_what_is_served_is_what_was_learnt(self):
        rows = reviews(120)
        texts = [text for text, _ in rows[:20]]
        for pooling in ("mean", "cls", "max"):
            for dtype in ("fp32", "int8"):
                with self.subTest(pooling=pooling, dtype=dtype):
                    encoder = self.folder / f"{pooling}-{dtype}.distild"
                    run("convert", self.encoder(pooling), "-o", encoder, "--dtype", dtype)
                    self.fit(self.write(rows), "--c", "3", encoder=encoder)
                    vectors = self.embeddings(encoder, rows[:20])
                    weight, bias, config = self.head()
                    self.assertEqual((config["head_input"], config["pooling"], config["normalize"]), ("embedding", pooling, True))
                    out, _ = run("predict", "--model", self.model, "--precision", "fp32", "--json", "--raw-scores", *texts)
                    for found, vector in zip(json_lines(out), vectors):
                        for label in (0, 1):
                            logit = sum(a * b for a, b in zip(weight[label], vector)) + bias[label]
                            self.assertAlmostEqual(found["scores"][str(label)], logit, delta=1e-4)

    def test_embeddings_that_are_not_normalised(self):
        out, _ = self.fit(self.write(reviews(200)), "--json", encoder=self.encoder(normalize=False))
        self.assertFalse(self.head()[2]["normalize"])
        self.assertGreater(max(trial["accuracy"] for trial in json.loads(out)["cross_validation"]), 0.85)


class Labels(FitCase, ServeCase):
    def test_stars_and_a_server(self):
        source = random.Random(9)
        rows = [(sentence(source, GOOD if stars >= 4 else BAD), stars) for stars in source.choices([1, 2, 3, 4, 5], k=160)]
        path = self.write([(stars, i, text) for i, (text, stars) in enumerate(rows)], header="stars\tnumber\treview")
        out, _ = self.fit(path, "--positive-from", "4", "--text-column", "review", "--label-column", "stars", "--json")
        self.assertEqual(json.loads(out)["labels"], {"NEGATIVE": sum(s < 4 for _, s in rows), "POSITIVE": sum(s >= 4 for _, s in rows)})
        server = self.start("--model", str(self.model))
        status, _, answer = server.ask("POST", "/predict", {"text": "great love fun warm"})
        self.assertEqual((status, answer["sentiment"]), (200, "POSITIVE"))
        status, _, answer = server.ask("POST", "/predict", {"inputs": [["terrible dull bad"], ["great warm fun"]]})
        self.assertEqual(status, 200)
        self.assertEqual([one[0]["label"] for one in answer], ["NEGATIVE", "POSITIVE"])
        status, _, answer = server.ask("GET", "/models")
        self.assertEqual(answer["models"][0]["labels"], ["NEGATIVE", "POSITIVE"])
        self.assertEqual(server.stop(), 0)

    def test_names_and_their_order(self):
        rows = [(f"{word} film", label) for word in ("good", "bad", "long") for label in ("10", "9", "b", "a") for _ in range(3)]
        out, _ = self.fit(self.write(rows), "--json", "--c", "1")
        self.assertEqual(list(json.loads(out)["labels"]), ["9", "10", "a", "b"])
        out, _ = self.fit(self.write(rows), "--json", "--c", "1", "--labels", "nine", "--labels", "ten", "--labels", "A", "--labels", "B")
        self.assertEqual(list(json.loads(out)["labels"]), ["nine", "ten", "A", "B"])
        out, _ = run("inspect", self.model, "--json")
        self.assertEqual(json.loads(out)["labels"], ["nine", "ten", "A", "B"])

    def test_json_lines(self):
        path = self.folder / "train.jsonl"
        path.write_text("".join(json.dumps({"text": text, "label": "yes" if label else "no"}) + "\n" for text, label in reviews(40)))
        out, _ = self.fit(path, "--json", "--c", "1")
        self.assertEqual(list(json.loads(out)["labels"]), ["no", "yes"])

    def test_a_fitted_model_converts(self):
        self.fit(self.write(reviews(40)), "--c", "1")
        copy = self.folder / "copy.distild"
        run("convert", self.model, "-o", copy, "--dtype", "int8")
        run("inspect", copy, "--verify")
        out, _ = run("predict", "--model", copy, "--json", "great fun")
        self.assertEqual(json.loads(out)["label"], "1")


class Refused(FitCase):
    def refused(self, data, message, *options, encoder=None):
        out, err = self.fit(data, *options, encoder=encoder, code=1)
        self.assertIn(message, err)
        self.assertEqual(out, "")
        self.assertFalse(self.model.exists())

    def test_data(self):
        for rows, message in (
            ([("good", 1), ("bad", 1)], "train.tsv: expected at least two labels, found one: all 2 rows have '1'"),
            ([("good", 1), ("bad", 0), ("great", 1)], "train.tsv: label '0': expected at least two rows, to learn from and to check with, found 1"),
            ([], "train.tsv: no rows"),
            ([("good", 1), ("", 0)], "train.tsv, line 3: the text is empty"),
            ([("good", 1), ("fun", 1), ("bad", 0), ("  ", 0)], "train.tsv, line 5: the text is empty: it has nothing that becomes a token"),
            ([("good", 1), ("bad",)], "train.tsv, line 3: expected 2 columns with tabs between them, found 1"),
            ([("good", 1), ("bad", "")], "train.tsv, line 3: expected a label, found nothing"),
        ):
            with self.subTest(message=message):
                self.refused(self.write(rows), message)
        self.refused(self.write([("good", i) for i in range(1001)]), "over 1000 different labels: is that the right column?")
        self.refused(self.folder / "none.tsv", "No such file")

    def test_columns(self):
        data = self.write([("good", 5), ("bad", 1)] * 3, header="review\tstars")
        self.refused(data, "label 'stars': expected at least two rows")
        self.refused(data, "is it a header? then --text-column and --label-column name the columns")
        self.refused(data, "train.tsv, line 1: expected a number for a label, found 'stars' (a header names", "--positive-from", "4")
        self.refused(data, "train.tsv, line 1: no header with the columns 'text' and 'label'", "--text-column", "text")

    def test_options(self):
        data = self.write([("good", 1), ("bad", 0)] * 3)
        self.refused(data, "--labels: expected a name for each of the 2 labels of", "--labels", "one")
        self.refused(data, "--labels: 'one' is given twice", "--labels", "one", "--labels", "one")
        self.refused(data, "all 6 rows have 'POSITIVE'", "--positive-from", "0")
        self.refused(data, "expected an encoder, found a model with a head", encoder=MODEL)
        for options, message in (
            (["-o", self.model, "--positive-from", "many"], "--positive-from: expected a number"),
            ([], "--output FILE is missing"),
            (["-o", self.model, "--folds", "1"], "folds"),
        ):
            _, err = run("fit", data, "--encoder", self.encoder(), *options, code=2)
            self.assertIn(message, err)
        missing = self.model.parent / "none" / "x.distild"
        _, err = run("fit", data, "--encoder", self.encoder(), "-o", missing, code=1)
        self.assertEqual(err, f"distild fit: {missing}: cannot create: No such file or directory\n")
        _, err = run("convert", MODEL, "-o", missing, code=1)
        self.assertEqual(err, f"distild convert: {missing}: cannot create: No such file or directory\n")


if __name__ == "__main__":
    main()
