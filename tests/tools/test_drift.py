"""Drift as a user sees it: `distild drift` over files and over the server's log, GET /drift, the gauges and the page."""

import datetime
import html.parser
import json
import pathlib
import random
import tempfile
import unittest

from encoder import tiny_encoder
from harness import MODEL, json_lines, main, run, wait_until
from serving import ServeCase

BEGIN = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
DRIFTED = 5  # the exit status that says so


def prediction(source, at, shifted):
    """What a sentiment model might answer; feedback comes for every third."""
    right = source.random() < (0.4 if shifted else 0.62)
    sure = min(max(source.gauss(0.9, 0.08) - (0.12 if shifted else 0), 0.5), 0.999)
    guess = right if source.random() < sure else not right
    tokens = min(int(source.lognormvariate(3.3 if shifted else 2.9, 0.5)) + 3, 512)
    row = {
        "at": at.isoformat().replace("+00:00", "Z"),
        "model": "reviews",
        "label": "POSITIVE" if guess else "NEGATIVE",
        "score": round(sure, 6),
        "scores": {"NEGATIVE": round(1 - sure if guess else sure, 6), "POSITIVE": round(sure if guess else 1 - sure, 6)},
        "tokens": tokens,
        "unknown": sum(source.random() < (0.03 if shifted else 0.004) for _ in range(tokens)),
        "id": "passed over",
    }
    if source.random() < 0.33:
        row["feedback"] = "POSITIVE" if right else "NEGATIVE"
    return row


def predictions(seed, days, rows, shift_day=None, first=0):
    source = random.Random(seed)
    for day in range(first, first + days):
        for i in range(rows):
            at = BEGIN + datetime.timedelta(days=day, seconds=i * 86400 // rows)
            yield prediction(source, at, shift_day is not None and day >= shift_day)


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


class Page(html.parser.HTMLParser):
    """What a page holds: its tags, what it would load, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.loads, self.open, self.text = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.loads += [value for name, value in attributes if name in ("src", "href", "srcset", "data", "action")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


class Files(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = pathlib.Path(cls.folder.name)
        cls.reference = write(cls.path / "reference.jsonl", predictions(1, 5, 500))
        cls.shifted = write(cls.path / "shifted.jsonl", predictions(2, 8, 300, shift_day=9, first=5))
        cls.same = write(cls.path / "same.jsonl", predictions(3, 6, 300, first=5))

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def compare(self, current, *options, code=0, **variables):
        return run("drift", "--reference", self.reference, "--current", current, *options, code=code, **variables)

    def test_says_that_nothing_changed(self):
        report = json.loads(self.compare(self.same, "--json")[0])
        self.assertFalse(report["drifted"])
        self.assertTrue(report["same_model"])
        self.assertEqual(report["reference"]["rows"], 2500)
        self.assertEqual([day["drifted"] for day in report["days"]], [False] * 6)
        self.assertNotIn("first_drifted_day", report)

    def test_finds_what_changed_and_when(self):
        report = json.loads(self.compare(self.shifted, "--json", code=DRIFTED)[0])
        self.assertTrue(report["drifted"])
        self.assertEqual(report["first_drifted_day"], "2026-01-10")
        self.assertEqual([day["drifted"] for day in report["days"]], [False] * 4 + [True] * 4)
        columns = report["columns"]
        self.assertEqual(set(columns), {"label", "confidence", "entropy", "tokens", "unknown"})
        self.assertFalse(columns["entropy"]["counted"])  # of two labels it says what the confidence says
        self.assertEqual({name: c["test"] for name, c in columns.items()}, {
            "label": "jensenshannon", "confidence": "wasserstein", "entropy": "wasserstein", "tokens": "wasserstein",
            "unknown": "wasserstein"})
        self.assertTrue(columns["tokens"]["confirmed"])
        self.assertGreater(columns["tokens"]["current_mean"], columns["tokens"]["reference_mean"])
        shares = {share["label"]: share for share in report["labels"]}
        self.assertAlmostEqual(sum(share["current"] for share in shares.values()), 1)

    def test_judges_by_feedback(self):
        report = json.loads(self.compare(self.shifted, "--json", code=DRIFTED)[0])
        rows = [json.loads(line) for line in self.shifted.read_text().splitlines()]
        answered = [row for row in rows if "feedback" in row]
        right = sum(row["feedback"] == row["label"] for row in answered)
        found = report["current"]["feedback"]
        self.assertEqual(found["rows"], len(answered))
        self.assertAlmostEqual(found["accuracy"], right / len(answered), places=12)
        scores = []
        for label in ["NEGATIVE", "POSITIVE"]:
            hit = sum(row["label"] == row["feedback"] == label for row in answered)
            said, true = (sum(row[name] == label for row in answered) for name in ("label", "feedback"))
            scores.append((hit / said, hit / true, 2 * hit / (said + true)))
        for name, values in zip(["precision", "recall", "f1"], zip(*scores)):
            self.assertAlmostEqual(found[name], sum(values) / 2, places=12)
        self.assertEqual(sum(day["feedback"]["rows"] for day in report["days"]), len(answered))

    def test_prints_a_table_and_gauges(self):
        table, _ = self.compare(self.shifted, code=DRIFTED)
        self.assertIn("2026-01-10", table)
        self.assertRegex(table, r"(?m)^tokens +wasserstein +\d.*yes$")
        self.assertRegex(table, r"(?m)^drift: \d of 4 columns drifted$")
        gauges, _ = self.compare(self.shifted, "--prometheus", "--model-name", "reviews", code=DRIFTED)
        self.assertEqual(self.compare(self.shifted, "--prometheus", code=DRIFTED)[0], gauges)  # by the name in the rows
        unnamed = write(self.path / "unnamed.jsonl", [{k: v for k, v in json.loads(line).items() if k != "model"} for line in self.shifted.read_text().splitlines()])
        self.assertIn('distild_drift_detected{model="default"} 1\n', self.compare(unnamed, "--prometheus", code=DRIFTED)[0])
        self.assertIn('distild_drift_detected{model="reviews"} 1\n', gauges)
        self.assertRegex(gauges, r'distild_drift_score\{model="reviews",column="tokens"\} 0\.\d+\n')
        self.assertIn('distild_drift_score{model="reviews",column="embedding"} NaN\n', gauges)

    def test_writes_a_page_that_needs_nothing_else(self):
        path = self.path / "report.html"
        self.compare(self.shifted, "--html", path, code=DRIFTED)
        page = Page(path.read_text(encoding="utf-8"))
        self.assertEqual(page.open, [])
        self.assertEqual(page.loads, [])
        self.assertNotIn("script", page.tags)
        text = path.read_text(encoding="utf-8")
        self.assertNotIn("url(", text)
        style = text[text.index("<style>"):text.index("</style>")]
        self.assertEqual(style.count("{"), style.count("}"))
        self.assertRegex(style, r"}}body{")  # outside the rules for a dark screen and for paper
        self.assertGreaterEqual(page.tags.count("svg"), 10)
        self.assertIn("The predictions have drifted", page.text)
        self.assertIn("2026-01-10", page.text)

    def test_escapes_labels_in_the_page(self):
        rows = [{"label": f"<b>&\"{i % 3}", "score": 0.5 + i % 7 / 20} for i in range(300)]
        path = self.path / "labels.html"
        source = write(self.path / "labels.jsonl", rows)
        run("drift", "--reference", source, "--current", source, "--html", path)
        page = Page(path.read_text(encoding="utf-8"))
        self.assertNotIn("b", page.tags[page.tags.index("table"):])
        self.assertIn("<b>&\"1", page.text)

    def test_reads_columns_with_tabs(self):
        paths = []
        for name, shifted in [("a.tsv", None), ("b.tsv", 0)]:
            lines = ["label\tscore\tscore:NEGATIVE\tscore:POSITIVE\ttokens\ttext"]
            for row in predictions(4, 1, 400, shift_day=shifted):
                lines.append("\t".join(map(str, [row["label"], row["score"], *row["scores"].values(), row["tokens"], "a\\tb"])))
            (self.path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
            paths.append(self.path / name)
        report = json.loads(run("drift", "-r", paths[0], "-c", paths[1], "--json", code=DRIFTED)[0])
        self.assertEqual(set(report["columns"]), {"label", "confidence", "entropy", "tokens"})
        self.assertEqual(report["columns"]["confidence"]["test"], "ks")  # of at most 1000 rows
        self.assertEqual(report["days"], [])

    def test_reads_ranges_of_files(self):
        state = self.path / "state"
        state.mkdir()
        out, _ = run("drift", "reference", self.reference, "--state-dir", state, "--rows", 1250)
        self.assertIn("1250 of 2500 predictions", out)
        self.assertEqual((state / "drift-reference.jsonl").stat().st_mode & 0o777, 0o600)
        report = json.loads(run("drift", "-c", self.same, "--state-dir", state, "--json")[0])
        self.assertEqual(report["reference"]["rows"], 1250)
        self.assertTrue(report["same_model"])
        whole = json.loads(self.compare(self.same, "--json")[0])
        kept = report["columns"]["tokens"]["reference_mean"]
        self.assertAlmostEqual(kept, whole["columns"]["tokens"]["reference_mean"], delta=1)

    def test_embeds_texts(self):
        def rows(seed, words):
            source = random.Random(seed)
            for row in predictions(seed, 1, 250):
                yield {**row, "text": " ".join(source.choices(words, k=6))}

        films, food = "film plot cast scene story".split(), "soup bread rice cake salad".split()
        reference = write(self.path / "films.jsonl", rows(8, films))
        same, other = write(self.path / "more.jsonl", rows(9, films)), write(self.path / "food.jsonl", rows(10, food))
        state = self.path / "embedded"
        state.mkdir()
        computed = ["--embeddings", "--model", MODEL, "--precision", "fp32", "--state-dir", state]
        run("drift", "reference", reference, *computed)
        kept = json_lines((state / "drift-reference.jsonl").read_text())
        self.assertEqual(len(kept[0]["projection"]), 24)
        self.assertNotIn("text", kept[0])
        found = [json.loads(out)["columns"]["embedding"] for out in (
            run("drift", "-c", same, "--json", *computed)[0],
            run("drift", "-c", other, "--json", *computed)[0],
            run("drift", "-r", reference, "-c", other, "--json", *computed)[0])]
        self.assertFalse(found[0]["drifted"])
        self.assertTrue(found[1]["confirmed"])
        self.assertEqual(found[1], found[2])
        self.assertGreater(found[1]["mean_cosine_distance"], found[0]["mean_cosine_distance"])
        self.assertIn("has no texts to embed", run("drift", "-c", self.same, *computed, code=1)[1])
        # what a head read, which the server's log has, is not compared with embeddings
        heads = write(self.path / "heads.jsonl", ({**row, "projection": [0.5] * 16} for row in predictions(11, 1, 250)))
        self.assertNotIn("embedding", json.loads(run("drift", "-c", heads, "--json", "--state-dir", state)[0])["columns"])

    def test_says_what_is_missing(self):
        empty = self.path / "none"
        empty.mkdir()
        self.assertIn("no reference", run("drift", "-c", self.same, "--state-dir", empty, code=1)[1])
        few = write(self.path / "few.jsonl", predictions(5, 1, 20))
        self.assertIn("the current range has 20, at least 200", self.compare(few, code=1)[1])
        self.assertIn("no such file", run("drift", "-r", self.reference, "-c", "1d", "--state-dir", empty, code=1)[1])
        self.assertIn("No such file", self.compare(self.path / "missing.jsonl", code=1)[1])
        self.assertIn("is no range", run("drift", "-r", self.reference, "-c", "2026-01-09..2026-01-02", code=1)[1])
        self.assertIn("'2026-02-30' is no range of time", run("drift", "-r", "2026-02-30", "-c", self.same, "--state-dir", empty, code=1)[1])
        self.assertIn("'yesterday' is neither a file nor a range", run("drift", "-r", "yesterday", "-c", self.same, code=1)[1])
        self.assertIn("several models", run("drift", "-r", self.reference, "-c", write(
            self.path / "two.jsonl", [{**row, "model": "a" if i % 2 else "b"} for i, row in enumerate(predictions(6, 1, 300))]), code=1)[1])
        run("drift", "forget", code=2)

    def test_names_the_bad_line(self):
        for line, message in [
            ("[]", "line 2: expected a JSON object"),
            ("{", "line 2: invalid JSON"),
            ("{}", "line 2: `label`: is missing"),
            ('{"label": 1}', "line 2: `label`: must be a string"),
            ('{"label": "a", "score": "high"}', "line 2: `score`: must be a number"),
            ('{"label": "a", "tokens": 1e309}', "line 2: `tokens`: must be a number"),
            ('{"label": "a", "projection": [1e39]}', "line 2: `projection`: must be an array of"),
            ('{"label": "a", "at": "yesterday"}', "line 2: `at`: "),
            ('{"label": "a", "scores": {"a": true}}', "line 2: `scores`: "),
            ('{"label": "a", "projection": 1}', "line 2: `projection`: must be an array"),
        ]:
            path = self.path / "bad.jsonl"
            path.write_text('{"label": "a"}\n' + line + "\n", encoding="utf-8")
            self.assertIn(message, run("drift", "-r", path, "-c", path, code=1)[1])
        path = self.path / "bad.tsv"
        for text, message in [("text\tscore\nx\t1\n", "line 1: `label`"), ("label\tscore\na\n", "line 2: has not as many fields"),
                              ("label\tscore\na\thigh\n", "line 2: `score`: must be a number"), ("label\tscore\na\tinf\n", "line 2: `score`: must be a number")]:
            path.write_text(text, encoding="utf-8")
            self.assertIn(message, run("drift", "-r", path, "-c", path, code=1)[1])


class Served(ServeCase):
    """The whole way: predictions of a running server, its reference, other traffic, and what it says of that."""

    WORDS = "good bad film plot cast scene dull warm funny slow music ending story acting great poor".split()

    def talk(self, server, texts, **more):
        connection = server.connect()
        for text in texts:
            status, _, answer = server.ask("POST", "/predict", {"text": text, **more}, connection)
            self.assertEqual(status, 200, answer)
        connection.close()

    def drift(self, server, accept=None, query=""):
        connection = server.connect()
        connection.request("GET", "/drift" + query, headers={"Accept": accept} if accept else {})
        response = connection.getresponse()
        body = response.read().decode("utf-8")
        connection.close()
        return response.status, response.headers["Content-Type"], body

    def wait_for_rows(self, state, count):
        """The log is written behind the answers."""
        wait_until(lambda: len(json_lines(run("log", "export", "--state-dir", state)[0])) >= count)

    def test_every_classifier_has_a_reference_of_its_own(self):
        state = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "state"
        server = self.start("--state-dir", str(state), "--drift-min-rows", "100", "--drift-window", "1h", "--drift-interval", "0",
                            "--model", f"encoder={tiny_encoder(state.parent / 'encoder')}", "--model", f"one={MODEL}", "--model", f"two={MODEL.parent / 'bert-single'}")
        source = random.Random(7)

        def texts(words, least, most):
            return [" ".join(source.choices(words, k=source.randint(least, most))) for _ in range(120)]

        self.talk(server, texts(self.WORDS, 4, 12))
        self.talk(server, texts(self.WORDS, 4, 12), model="two")
        self.wait_for_rows(state, 240)
        for query, message in [("", "predictions of model one with"), ("?model=one", "--model-name one"), ("?model=two", "--model-name two")]:
            status, _, answer = self.drift(server, query=query)
            self.assertEqual(status, 409)
            self.assertIn(message, json.loads(answer)["error"])
        for query, status, field in [("?model=none", 404, "model"), ("?model=", 404, "model"), ("?model=encoder", 424, None)]:
            found, _, answer = self.drift(server, query=query)
            self.assertEqual((found, json.loads(answer).get("field")), (status, field), query)
        self.assertIn("several models", run("drift", "reference", "1h", "--state-dir", state, "--min-rows", 100, code=1)[1])
        self.assertIn("no such name", run("drift", "-c", "1h", "--state-dir", state, "--model-name", "../x", code=1)[1])
        out, _ = run("drift", "reference", "1h", "--state-dir", state, "--min-rows", 100, "--model-name", "two")
        self.assertIn("drift-reference.two.jsonl: 120 of 120 predictions", out)
        self.assertEqual(self.drift(server)[0], 409)  # of the other one there still is none
        run("drift", "reference", "1h", "--state-dir", state, "--min-rows", 100, "--model-name", "one")
        self.talk(server, texts(["\u2603", "zebra", "42", "dull", "\u4e2d"], 30, 60) * 5, model="two")
        self.wait_for_rows(state, 840)
        reports = {query: json.loads(self.drift(server, query=query)[2]) for query in ("", "?model=one", "?model=two")}
        self.assertEqual(reports[""], reports["?model=one"])
        self.assertEqual([(report["drifted"], report["current"]["rows"]) for report in list(reports.values())[1:]], [(False, 120), (True, 720)])
        self.assertIn("The predictions have drifted", Page(self.drift(server, "text/html", "?other=1&model=two")[2]).text)
        connection = server.connect()
        connection.request("GET", "/metrics")
        metrics = connection.getresponse().read().decode("utf-8")
        connection.close()
        self.assertIn('distild_drift_detected{model="one"} 0\ndistild_drift_detected{model="two"} 1\n', metrics)
        self.assertNotIn('distild_drift_detected{model="encoder"}', metrics)
        self.assertEqual(metrics.count("# TYPE distild_drift_score gauge"), 1)
        run("drift", "--current", "1h", "--state-dir", state, "--min-rows", 100, "--model-name", "two", code=DRIFTED)
        self.assertEqual(server.stop(), 0)
        self.assertTrue(any("GET /drift?model=two has the report" in line for line in server.log), server.log)

    def test_finds_other_traffic(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        state = pathlib.Path(folder.name) / "state"
        # no comparison but those asked for, which would be good for a minute
        options = ["--state-dir", str(state), "--drift-min-rows", "100", "--drift-window", "1h", "--drift-interval", "0"]
        server = self.start(*options)
        source = random.Random(7)
        status, _, answer = self.drift(server)
        self.assertEqual(status, 409)
        self.assertIn("distild drift reference", json.loads(answer)["error"])
        self.assertEqual(json.loads(answer)["error_type"], "Conflict")

        self.talk(server, (" ".join(source.choices(self.WORDS, k=source.randint(4, 12))) for _ in range(150)))
        self.wait_for_rows(state, 150)
        out, _ = run("drift", "reference", "1h", "--state-dir", state, "--min-rows", 100)
        self.assertIn("150 of 150 predictions", out)
        status, kind, answer = self.drift(server)
        self.assertEqual((status, kind), (200, "application/json"))
        self.assertFalse(json.loads(answer)["drifted"])
        run("drift", "--current", "1h", "--state-dir", state, "--min-rows", 100)
        self.assertEqual(server.stop(), 0)

        server = self.start(*options)  # another one, as what the first said is good for a minute
        self.talk(server, (" ".join(source.choices(["\u2603", "zebra", "42", "dull", "\u4e2d"], k=source.randint(30, 60)))
                           for _ in range(600)))
        self.wait_for_rows(state, 750)
        status, _, answer = self.drift(server)
        report = json.loads(answer)
        self.assertEqual(status, 200)
        self.assertTrue(report["drifted"], report)
        self.assertEqual(report["current"]["rows"], 750)
        self.assertTrue(report["columns"]["tokens"]["confirmed"])
        self.assertTrue(report["columns"]["unknown"]["confirmed"])
        status, kind, page = self.drift(server, "text/html,application/xhtml+xml")
        self.assertEqual((status, kind), (200, "text/html; charset=utf-8"))
        self.assertIn("The predictions have drifted", Page(page).text)
        connection = server.connect()
        connection.request("GET", "/metrics")
        metrics = connection.getresponse().read().decode("utf-8")
        connection.close()
        self.assertIn('distild_drift_detected{model="default"} 1\n', metrics)
        out, _ = run("drift", "--current", "1h", "--state-dir", state, "--min-rows", 100, "--json", code=DRIFTED)
        self.assertEqual(json.loads(out)["columns"]["tokens"]["score"], report["columns"]["tokens"]["score"])
        self.assertEqual(server.stop(), 0)
        self.assertTrue(any("have drifted" in line for line in server.log), server.log)


if __name__ == "__main__":
    main()
