#!/usr/bin/env python3
"""What a team that watches its reviews does: predict with metadata, say what was right, export; and what the log of predictions
keeps when the server is killed, its database locked, or it is told to keep less."""

import calendar
import csv
import io
import json
import pathlib
import re
import signal
import sqlite3
import tempfile
import time

from harness import PATIENCE, json_lines, main, run, wait_until
from serving import ServeCase

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")
REVIEW = {"text": "A warm, funny film.", "product_id": "B00-42", "timestamp": "2026-03-01T12:30:00+01:00"}


class ReviewsCase(ServeCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="distild-reviews-")
        self.addCleanup(folder.cleanup)
        self.state = pathlib.Path(folder.name) / "state"

    def serve(self, *options, **variables):
        return self.start("--state-dir", str(self.state), *options, **variables)

    def export(self, *options):
        return json_lines(run("log", "export", "--state-dir", self.state, *options)[0])

    def written(self, server, count):
        wait_until(lambda: server.metric("distild_prediction_log_rows_total") >= count)


class Reviews(ReviewsCase):
    def test_the_life_of_a_review(self):
        server = self.serve()
        status, headers, answer = server.ask("POST", "/predict", REVIEW)
        self.assertEqual(status, 200, answer)
        self.assertEqual({name: answer[name] for name in REVIEW}, REVIEW)
        self.assertRegex(answer["id"], UUID)
        self.assertEqual(headers["X-Prediction-Id"], answer["id"])
        labels = list(answer["scores"])
        right = next(label for label in labels if label != answer["label"])

        status, _, said = server.ask("POST", "/feedback", {"id": answer["id"], "label": right})  # at once: the row may be on its way
        self.assertEqual((status, said), (200, {"id": answer["id"], "label": right, "predicted": answer["label"]}))
        status, _, said = server.ask("POST", "/feedback", {"id": answer["id"], "label": right})
        self.assertEqual((status, said["previous"]), (200, right))
        status, _, said = server.ask("POST", "/feedback", {"id": answer["id"], "label": "splendid"})
        self.assertEqual((status, said["field"]), (400, "label"))
        self.assertIn(", ".join(labels), said["error"])
        status, _, said = server.ask("POST", "/feedback", {"id": answer["id"][:-1] + "x", "label": right})
        self.assertEqual((status, said["field"], said["error_type"]), (404, "id", "NotFound"))

        row, = self.export()  # while the server runs
        self.assertEqual({name: row[name] for name in (*REVIEW, "id", "label", "feedback")},
                         {**REVIEW, "id": answer["id"], "label": answer["label"], "feedback": right})
        self.assertEqual(list(row["scores"]), labels)
        self.assertAlmostEqual(row["score"], answer["score"], places=6)
        self.assertLess(abs(time.time() - calendar.timegm(time.strptime(row["at"][:19], "%Y-%m-%dT%H:%M:%S"))), 3600)
        self.assertGreater(row["tokens"], 4)
        self.assertEqual((row["truncated"], row["model"], row["pair"], row["text_hash"]), (False, "default", None, None))

        ids = [server.ask("POST", "/predict", {**REVIEW, "text": f"review {i}"})[2]["id"] for i in range(20)]
        self.written(server, 21)
        server.stop(signal.SIGKILL)
        self.assertEqual([row["id"] for row in self.export()], [answer["id"], *ids])  # what was written is there
        server = self.serve()
        self.assertEqual(server.ask("POST", "/feedback", {"id": ids[3], "label": right})[0], 200)
        last = server.ask("POST", "/predict", REVIEW)[2]["id"]
        self.assertEqual(server.stop(), 0)  # what was answered is written before it ends
        self.assertEqual([row["id"] for row in self.export()], [answer["id"], *ids, last])
        self.assertEqual([row["id"] for row in self.export("--labelled")], [answer["id"], ids[3]])
        summary = json.loads(run("log", "stats", "--json", "--state-dir", self.state)[0])
        self.assertEqual((summary["predictions"], summary["feedback"]), (22, 2))

    def test_every_error_names_its_field(self):
        server = self.serve()
        for change, field, part in (
                ({"product_id": None}, "product_id", "must be a string, not null"), ({"product_id": 42}, "product_id", "not a number"),
                ({"product_id": ""}, "product_id", "1 to 256 characters, not 0"), ({"product_id": "é" * 257}, "product_id", "not 257"),
                ({"product_id": "a\tb"}, "product_id", "control"), ({"product_id": "a\u0085b"}, "product_id", "control"),
                ({"timestamp": None}, "timestamp", "must be a string, not null"), ({"timestamp": 1772368200}, "timestamp", "not a number"),
                ({"timestamp": "2026-02-29T00:00:00Z"}, "timestamp", "no such day"), ({"timestamp": "2026-03-01"}, "timestamp", "'T'"),
                ({"timestamp": "2026-03-01T12:30:00"}, "timestamp", "offset"), ({"timestamp": ""}, "timestamp", "a year"),
                ({"text": None}, "text", "must be a string"), ({"text": ""}, "text", "is empty"), ({"text": [1]}, "text", "not an array")):
            status, _, answer = server.ask("POST", "/predict", {**REVIEW, **change})
            self.assertEqual((status, answer["field"]), (400, field), change)
            self.assertIn(part, answer["error"])
        for missing in REVIEW:
            status, _, answer = server.ask("POST", "/predict", {name: value for name, value in REVIEW.items() if name != missing})
            self.assertEqual((status, answer["field"]), (400, missing))
            self.assertIn(f"`{missing}` is missing", answer["error"])
        self.assertIn("field `product_id`", server.ask("POST", "/predict", {**REVIEW, "product_id": "a\0b"})[2]["error"])
        self.assertEqual(server.ask("POST", "/predict", {**REVIEW, "product_id": "é" * 256, "timestamp": "2016-12-31T23:59:60Z"})[0], 200)
        for body, field in (({"label": "x"}, "id"), ({"id": "x"}, "label"), ({"id": 1, "label": "x"}, "id"), ({"id": "", "label": "x"}, "id"),
                            ({"id": "x", "label": None}, "label"), ({"id": "x" * 64, "label": "x"}, "id"), ({"id": "x", "label": "y" * 257}, "label")):
            status, _, answer = server.ask("POST", "/feedback", body)
            self.assertEqual((status, answer["field"]), (400, field), body)
        self.assertEqual([server.ask("POST", "/feedback", body)[0] for body in (b"", b"{", [1])], [400, 400, 400])
        self.assertEqual(server.stop(), 0)

    def test_every_form_is_logged(self):
        server = self.serve()
        ids = []
        for body, count in (({"text": "plain"}, 1), ({"inputs": "one"}, 1), ({"inputs": ["a", "pair"]}, 1), ({"inputs": [["only"]]}, 1),
                            ({"inputs": [["first"], ["second", "pair"]], "raw_scores": True}, 2), ({"inputs": "long " * 600, "truncate": True}, 1)):
            status, headers, answer = server.ask("POST", "/predict", body)
            self.assertEqual(status, 200, answer)
            self.assertRegex(headers["X-Prediction-Id"], UUID)
            ids += [headers["X-Prediction-Id"] + (f"-{i}" if count > 1 else "") for i in range(count)]
        status, headers, answer = server.ask("POST", "/prediction", {"texts": ["many", "texts"]})
        self.assertEqual(status, 200, answer)
        ids += [f"{headers['X-Prediction-Id']}-{i}" for i in range(2)]
        self.assertNotIn("id", server.ask("POST", "/predict", {"text": "plain"})[2])
        self.assertIsNone(server.ask("POST", "/predict", {"text": ""})[1]["X-Prediction-Id"])
        self.assertEqual(server.ask("POST", "/feedback", {"id": ids[5], "label": "nonsense"})[0], 400)
        self.assertEqual(server.stop(), 0)
        rows = self.export()
        self.assertEqual([row["id"] for row in rows][:-1], ids)
        self.assertEqual([(row["text"], row["pair"]) for row in rows][:6],
                         [("plain", None), ("one", None), ("a", "pair"), ("only", None), ("first", None), ("second", "pair")])
        for row in rows:
            self.assertAlmostEqual(sum(row["scores"].values()), 1, places=5)
            self.assertEqual(row["score"], max(row["scores"].values()))
            self.assertEqual(row["score"], row["scores"][row["label"]])
            self.assertTrue(0 <= row["unknown"] <= row["tokens"] - 2)
        self.assertEqual([row["truncated"] for row in rows], [False] * 6 + [True] + [False] * 3)
        self.assertEqual([row["text"] for row in rows[7:9]], ["many", "texts"])
        self.assertEqual(rows[6]["text"], "long " * 600)
        database = sqlite3.connect(self.state / "predictions.db")
        projections = dict(database.execute("SELECT id, projection FROM prediction"))
        database.close()
        self.assertEqual({len(value) for value in projections.values()}, {64})
        self.assertEqual(projections[rows[0]["id"]], projections[rows[-1]["id"]])  # of the same text
        self.assertEqual(len(set(projections.values())), len(rows) - 1)

    def test_export_formats(self):
        texts = ["plain", 'with "quotes", commas', "lines\r\nand\ttabs \\", "ünïcode ☃", ",", '"']
        server = self.serve()
        for text in texts:
            self.assertEqual(server.ask("POST", "/predict", {"text": text})[0], 200)
        self.assertEqual(server.stop(), 0)
        rows = self.export()
        self.assertEqual([row["text"] for row in rows], texts)
        out = run("log", "export", "--format", "csv", "--state-dir", self.state)[0]
        parsed = list(csv.DictReader(io.StringIO(out, newline="")))
        self.assertEqual([row["text"] for row in parsed], texts)
        self.assertEqual([json.loads(row["scores"]) for row in parsed], [row["scores"] for row in rows])
        self.assertEqual(list(parsed[0]), list(rows[0]))
        lines = run("log", "export", "--format", "tsv", "--state-dir", self.state)[0].split("\n")
        self.assertEqual(lines[0].split("\t"), list(rows[0]))
        self.assertEqual(len(lines), len(texts) + 2)
        self.assertEqual(lines[3].split("\t")[4], r"lines\r\nand\ttabs \\")
        at = [row["at"] for row in rows]
        self.assertEqual([row["at"] for row in self.export("--since", at[2])], at[2:])
        self.assertEqual([row["at"] for row in self.export("--until", at[2])], at[:2])
        self.assertEqual(self.export("--since", "2099-01-01"), [])
        self.assertEqual(self.export("--model-name", "other"), [])
        self.assertIn("is no date", run("log", "export", "--since", "yesterday", "--state-dir", self.state, code=2)[1])
        self.assertIn("only 'log export'", run("log", "import", code=2)[1])
        self.assertIn("no such file", run("log", "export", "--state-dir", self.state / "none", code=1)[1])
        table = run("log", "stats", "--state-dir", self.state)[0]
        self.assertIn("6 predictions from ", table)
        self.assertIn("no predictions", run("log", "stats", "--since", "2099-01-01", "--state-dir", self.state)[0])

    def test_less_is_kept_where_less_is_asked_for(self):
        for mode, text, hashes in (("hash", None, 1), ("none", None, 0), ("full", "secret", 0)):
            server = self.serve("--log-text", mode)
            server.ask("POST", "/predict", {"text": "secret"})
            self.assertEqual(server.stop(), 0)
            row = self.export()[-1]
            self.assertEqual((row["text"], row["text_hash"] is not None), (text, bool(hashes)))
            if mode != "full":
                self.assertFalse(any(b"secret" in file.read_bytes() for file in self.state.iterdir()))
        server = self.serve("--prediction-log=no")
        status, headers, answer = server.ask("POST", "/predict", REVIEW)
        self.assertEqual((status, answer["product_id"]), (200, REVIEW["product_id"]))
        self.assertRegex(answer["id"], UUID)
        self.assertIsNone(server.ask("POST", "/predict", {"text": "x"})[1]["X-Prediction-Id"])
        status, _, said = server.ask("POST", "/feedback", {"id": answer["id"], "label": "x"})
        self.assertEqual(status, 503)
        self.assertIn("--prediction-log", said["error"])
        self.assertEqual(server.metric("distild_prediction_log_writable"), 0)
        self.assertEqual(server.stop(), 0)
        self.assertEqual(len(self.export()), 3)
        server = self.start(DISTILD_STATE_DIR="", XDG_STATE_HOME="/proc")
        status, _, said = server.ask("POST", "/feedback", {"id": answer["id"], "label": "x"})
        self.assertEqual(status, 503)
        self.assertIn("--state-dir", said["error"])
        self.assertNotIn("/proc", said["error"])
        self.assertEqual(server.stop(), 0)

    def test_a_locked_database_holds_no_answer_up(self):
        server = self.serve()
        first = server.ask("POST", "/predict", REVIEW)[2]
        self.written(server, 1)
        other = sqlite3.connect(self.state / "predictions.db", isolation_level=None, timeout=30)
        other.execute("BEGIN EXCLUSIVE")
        connection, began = server.connect(), time.monotonic()
        for i in range(50):
            self.assertEqual(server.ask("POST", "/predict", {"text": f"text {i}"}, connection)[0], 200)
        self.assertLess(time.monotonic() - began, PATIENCE)
        connection.close()
        status, headers, answer = server.ask("POST", "/feedback", {"id": first["id"], "label": first["label"]})
        self.assertEqual((status, answer["error_type"]), (503, "Overloaded"))
        self.assertIsNotNone(headers["Retry-After"])
        self.assertEqual(server.metric("distild_prediction_log_queue_rows"), 50)
        self.assertEqual(server.metric("distild_prediction_log_writable"), 0)
        server.wait_for_log("predictions are not written")
        other.execute("ROLLBACK")
        other.close()
        self.written(server, 51)
        self.assertEqual(server.metric("distild_prediction_log_queue_rows"), 0)
        self.assertEqual(server.ask("POST", "/feedback", {"id": first["id"], "label": first["label"]})[0], 200)
        self.assertEqual(server.stop(), 0)
        self.assertEqual(len(self.export()), 51)


if __name__ == "__main__":
    main()
