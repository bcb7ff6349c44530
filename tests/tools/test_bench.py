"""The commands that measure: what `distild bench` and `distild profile` print, and the trace that profile writes."""

import json
import pathlib
import tempfile
import unittest

from harness import MODEL, SANITIZED, SOURCE, json_lines, main, run

SETTINGS = ["--model", MODEL, "--threads", "2", "--precision", "fp32"]
FIELDS = ["shape", "threads", "precision", "cpu", "median_ms", "min_ms", "tokens_per_s", "gops", "share_of_peak"]
OPERATORS = ["embed", "query, key, value", "attention", "output", "feed-forward up", "feed-forward down",
             "add and normalise", "quantise or round", "pool", "head", "wait for threads", "rest"]  # fmt: skip


class Bench(unittest.TestCase):
    def check_tokens(self, line, tokens):
        """The rate is in whole tokens a second."""
        seconds = line["median_ms"] / 1000
        self.assertAlmostEqual(line["tokens_per_s"] * seconds, tokens, delta=seconds + 0.01 * tokens)

    def test_one_object_a_shape(self):
        shapes = {"1x16": 16, "3x64": 192}
        found = json_lines(run("bench", *SETTINGS, "--seconds", "0", "--json", "--shapes", ",".join(shapes))[0])
        self.assertEqual([line["shape"] for line in found], list(shapes))
        for line in found:
            self.assertEqual(list(line), FIELDS)
            self.assertEqual((line["threads"], line["precision"]), (2, "fp32"))
            self.assertTrue(0 < line["min_ms"] <= line["median_ms"])
            self.check_tokens(line, shapes[line["shape"]])

    @unittest.skipIf(SANITIZED, "3,518 tokens of the bundled model take minutes")
    def test_mixed_texts_are_3518_tokens(self):
        bundled = SOURCE / "weights" / "sst2-minilm.distild"
        (line,) = json_lines(run("bench", "--model", bundled, "--seconds", "0", "--json", "--shapes", "mix32")[0])
        self.check_tokens(line, 3518)

    def test_shapes_are_digits_around_an_x(self):
        for shape in (" 1x8", "1x 8", "+1x8", "1x+8", "1x-8", "1x8x8", "\n1x8", "1x", "x8", "1X8"):
            for arguments in (["bench", "--shapes", shape], ["profile", "--shape", shape]):
                err = run(*arguments, "--model", MODEL, code=2 if arguments[0] == "bench" else 1)[1]
                self.assertIn("expected BATCHxTOKENS (as 8x128) or mix32", err)

    def test_shapes_have_bounds(self):
        for shape, message in (("4097x8", "shape 4097x8: more than 4096 texts"),
                               ("9" * 25 + "x8", "more than 4096 texts"),
                               ("1x65", "65 tokens are more than the model's window of 64")):  # fmt: skip
            self.assertIn(message, run("bench", "--shapes", shape, "--model", MODEL, code=2)[1])


class Profile(unittest.TestCase):
    def profile(self, *arguments):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "trace.json")
            out = run("profile", *SETTINGS, "--json", "--trace", path, *arguments)[0]
            return json_lines(out), json.loads(path.read_text())

    def check(self, operators, trace):
        self.assertEqual([line["operator"] for line in operators], OPERATORS)
        self.assertAlmostEqual(sum(line["share"] for line in operators), 1, delta=0.002)
        self.assertTrue(all(line["ms"] >= 0 for line in operators[:-1]), operators)
        for thread in (0, 1):
            events = [event for event in trace["traceEvents"] if event["tid"] == thread]
            self.assertTrue({event["name"] for event in events} <= set(OPERATORS))
            self.assertGreater(len(events), 20)
            self.assertTrue(all(event["ph"] == "X" and event["dur"] >= 0 for event in events))
            for one, next in zip(events, events[1:]):  # 0.002 us: two times of three decimals each
                self.assertLessEqual(one["ts"] + one["dur"], next["ts"] + 0.002)

    def test_operators_add_up_to_the_pass(self):
        operators, trace = self.profile("the film was good")
        self.check(operators, trace)
        self.assertEqual(trace["otherData"]["droppedSpans"], 0)

    def test_a_trace_that_is_full_costs_the_table_nothing(self):
        # 48,640 spans, over the 20,000 of each of two threads however they share them
        operators, trace = self.profile("--shape", "4096x64", "--repeat", "1")
        self.check(operators, trace)
        self.assertGreater(trace["otherData"]["droppedSpans"], 0)
        self.assertLess(operators[-1]["share"], 0.5)

    def test_a_trace_that_cannot_be_written(self):
        err = run("profile", *SETTINGS, "good", "--trace", "/no-such-folder/trace", code=1)[1]
        self.assertIn("/no-such-folder/trace: cannot be written: No such file or directory", err)


if __name__ == "__main__":
    main()
