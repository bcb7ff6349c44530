#!/usr/bin/env python3
"""POST /answer of the real program: what the question-answering pipeline of transformers answers, in both forms of the request."""

import json
import threading

from harness import SANITIZED, SOURCE, main
from serving import ServeCase

MODEL = SOURCE / "weights" / "qa-minilm.distild"
TOLERANCE = 1e-4


class Answer(ServeCase):
    def setUp(self):
        self.server = self.start("--model", f"qa={MODEL}", "--max-windows", "24", "--precision", "fp32")
        self.cases = json.loads((SOURCE / "tests/golden/answers.json").read_text(encoding="utf-8"))["cases"]
        self.cases = [case for case in self.cases if len(case["context"]) < 1000]  # the engine is tested with long ones
        if SANITIZED:
            self.cases = self.cases[::5]

    def check(self, case, status, found):
        self.assertEqual(status, 200, found)
        expected = case["answers"]
        if case["parameters"].get("top_k", 1) == 1:
            self.assertIsInstance(found, dict)
            found = [found]
        self.assertEqual([(a["answer"], a["start"], a["end"]) for a in found], [(a["answer"], a["start"], a["end"]) for a in expected])
        for a, b in zip(found, expected):
            self.assertAlmostEqual(a["score"], b["score"], delta=TOLERANCE)

    def test_answers_are_those_of_the_pipeline(self):
        for case in self.cases:
            texts = {name: case[name] for name in ("question", "context")}
            status, headers, found = self.server.ask("POST", "/answer", {**texts, **case["parameters"]})
            self.check(case, status, found)
            self.assertEqual(int(headers["x-compute-characters"]), sum(map(len, texts.values())))
            if case["parameters"].get("top_k", 1) > 4:
                continue
            status, _, enveloped = self.server.ask("POST", "/answer", {"inputs": texts, "parameters": case["parameters"]})
            self.check(case, status, enveloped)

    def test_many_at_once(self):
        wrong = []

        def ask(first):
            for case in self.cases[first::4]:
                status, _, found = self.server.ask("POST", "/answer", {"question": case["question"], "context": case["context"], **case["parameters"]})
                try:
                    self.check(case, status, found)
                except AssertionError as error:
                    wrong.append(error)

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    def test_limits(self):
        question, window = "Who is it?", {"max_seq_len": 64, "doc_stride": 16}
        for body, status, field, message in [
            ({"question": "why " * 400, "context": "Because. " * 300}, 400, "question", "the question has 400 tokens"),
            ({"question": "why " * 125, "context": "x " * 400, "doc_stride": 256}, 400, "question", "room for 124"),
            ({"question": question, "context": "word " * 1200, **window}, 413, "context", "at most 24 are allowed"),
            ({"question": question, "context": "\u200d \u0000"}, 400, None, "u0000"),
            ({"question": question, "context": " \u200d\n"}, 400, "context", "holds nothing that becomes a token"),
            ({"inputs": {"question": question, "context": "Ada."}, "parameters": {"max_seq_len": 513}}, 422, "max_seq_len", "from 4 to 512"),
        ]:
            found, _, error = self.server.ask("POST", "/answer", body)
            self.assertEqual((found, error.get("field")), (status, field), error)
            self.assertIn(message, error["error"])
        status, _, found = self.server.ask("POST", "/answer", {"question": question, "context": "word " * 400 + "It is Ada Brunner. " + "word " * 100, **window})
        self.assertEqual((status, found["answer"]), (200, "Ada Brunner"))
        self.assertEqual(found["start"], 2006)


if __name__ == "__main__":
    main()
