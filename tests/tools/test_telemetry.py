#!/usr/bin/env python3
"""`distild telemetry`: bundles of a server's predictions, what is in them and what is not, and whether a changed or missing one shows."""

import json
import pathlib
import re
import tempfile
import time

from harness import SOURCE, main, run, wait_until
from serving import ServeCase

BUNDLED = str(SOURCE / "weights" / "sst2-minilm.distild")
FIELDS = {"format", "installation", "number", "previous", "made", "distild", "cpus", "public_key", "predictions", "feedback", "signature"}
GROUP = {"day", "model", "digest", "label", "count", "mean_score", "least_score", "tokens", "most_tokens", "unknown_tokens", "truncated", "scores"}
FEEDBACK = {"day", "model", "digest", "predicted", "given", "count"}
SECRETS = ["zanzibar", "product-7731", "127.0.0.1"]


class Telemetry(ServeCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.state = self.folder / "state"

    def telemetry(self, *arguments, code=0):
        return run("telemetry", *arguments, "--state-dir", self.state, code=code)

    def export(self, name):
        path = self.folder / name
        self.telemetry("export", "-o", path)
        return path, json.loads(path.read_text(encoding="utf-8"))

    def predict(self, server, texts):
        """Predicts reviews, and returns their ids once they are in the database."""
        ids = []
        for text in texts:
            review = {"text": text, "product_id": "product-7731", "timestamp": "2026-03-01T12:30:00Z"}
            status, _, answer = server.ask("POST", "/predict", review)
            self.assertEqual(status, 200)
            ids.append(answer["id"])
        wait_until(lambda: set(ids) <= {json.loads(line)["id"] for line in run("log", "export", "--state-dir", self.state)[0].splitlines()})
        return ids

    def test_bundles_follow_one_another_and_tell_no_more_than_they_should(self):
        server = self.start("--model", BUNDLED, "--state-dir", str(self.state))
        ids = self.predict(server, ["a charming journey to zanzibar", "an affecting zanzibar", "unflinchingly bleak and desperate zanzibar"])
        self.assertEqual(server.ask("POST", "/feedback", {"id": ids[0], "label": "NEGATIVE"})[0], 200)
        first, bundle = self.export("1.json")
        self.assertEqual(set(bundle), FIELDS)
        self.assertEqual((bundle["format"], bundle["number"], bundle["previous"]), ("distild telemetry 1", 1, ""))
        counts = {group["label"]: group["count"] for group in bundle["predictions"]}
        self.assertEqual(counts, {"POSITIVE": 2, "NEGATIVE": 1})
        for group in bundle["predictions"]:
            self.assertEqual(set(group), GROUP)
            self.assertEqual(sum(group["scores"]), group["count"])
            self.assertTrue(0.5 <= group["least_score"] <= group["mean_score"] <= 1)
            self.assertGreater(group["tokens"], group["count"] * 3)
            self.assertRegex(group["day"], r"^\d{4}-\d\d-\d\d$")
        # readable, and nothing of what was asked in it
        text = first.read_text(encoding="utf-8")
        self.assertGreater(len(text.splitlines()), 12)
        for secret in [*SECRETS, *ids]:
            self.assertNotIn(secret, text)

        self.predict(server, ["a delight"])
        time.sleep(5.1)  # feedback is told of when it is five seconds old
        second, bundle = self.export("2.json")
        self.assertEqual({group["label"]: group["count"] for group in bundle["predictions"]}, {"POSITIVE": 1})
        self.assertEqual([set(group) for group in bundle["feedback"]], [FEEDBACK])
        self.assertEqual([(group["predicted"], group["given"], group["count"]) for group in bundle["feedback"]], [("POSITIVE", "NEGATIVE", 1)])
        third, bundle = self.export("3.json")
        self.assertEqual((bundle["number"], bundle["predictions"], bundle["feedback"]), (3, [], []))

        key = self.folder / "key.pem"
        key.write_text(self.telemetry("key")[0], encoding="utf-8")
        out = run("telemetry", "verify", "--key", key, first, second, third)[0]
        self.assertEqual(len(re.findall(r"^\S+: good: number [123] of [0-9a-f]{16}, made ", out, re.MULTILINE)), 3)
        self.assertIn("3 predictions, 0 with feedback", out)
        self.assertIn("Whose that is, --key says", run("telemetry", "verify", first)[1])
        self.assertEqual(oct((self.state / "telemetry.key").stat().st_mode & 0o777), "0o600")

        self.assertIn("bundles are missing", run("telemetry", "verify", "--key", key, first, third, code=1)[1])
        other = self.folder / "other"
        forged = self.folder / "forged.json"
        content = second.read_text(encoding="utf-8")
        for changed in (content.replace('"count": 1', '"count": 2', 1), content.replace("POSITIVE", "NEGATIVE", 1), content + " ",
                        content[:-3] + "}\n}\n", content.replace('"number": 2', '"number": 3'), content[:200]):
            self.assertNotEqual(changed, content)
            forged.write_text(changed, encoding="utf-8")
            run("telemetry", "verify", "--key", key, forged, code=1)
            run("telemetry", "verify", forged, code=1)
        # signed by another installation's key, which is in it
        self.state = other
        server.stop()
        server = self.start("--model", BUNDLED, "--state-dir", str(other))
        self.predict(server, ["a delight"])
        foreign, _ = self.export("4.json")
        run("telemetry", "verify", foreign)
        self.assertIn("signed by another", run("telemetry", "verify", "--key", key, foreign, code=1)[1])
        self.assertIn("another installation", run("telemetry", "verify", first, foreign, code=1)[1])

    def test_a_file_that_cannot_be_read_is_named_once(self):
        for path, problem in ("/dev/zero", "over 67108864 bytes"), ("/nonexistent", "No such file"):
            self.assertRegex(run("telemetry", "verify", path, code=1)[1], f"^distild telemetry: {path}: {problem}")

    def test_nothing_is_replaced_and_nothing_guessed(self):
        self.state.mkdir()
        self.assertIn("predictions.db", self.telemetry("export", "-o", self.folder / "a.json", code=1)[1])
        server = self.start("--model", BUNDLED, "--state-dir", str(self.state))
        self.predict(server, ["a delight"])
        there = self.folder / "there.json"
        there.write_text("mine", encoding="utf-8")
        self.telemetry("export", "-o", there, code=1)
        self.assertEqual(there.read_text(encoding="utf-8"), "mine")
        self.assertEqual(self.export("1.json")[1]["number"], 1)  # what failed took no number
        (self.state / "telemetry.json").write_text("{}", encoding="utf-8")
        self.assertIn("damaged", self.telemetry("export", "-o", self.folder / "2.json", code=1)[1])
        self.assertFalse((self.folder / "2.json").exists())
        for arguments in (["export", "x"], ["verify"], ["send"], []):
            run("telemetry", *arguments, code=2)
        run("telemetry", "verify", self.folder / "none.json", code=1)
        self.assertEqual(list(self.folder.glob("*.tmp")), [])


if __name__ == "__main__":
    main()
