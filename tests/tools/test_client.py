#!/usr/bin/env python3
"""deploy/client.py: what it says of answers that are as expected, that are not, and of files that it cannot use."""

import json
import pathlib
import subprocess
import sys
import tempfile

from harness import PATIENCE, SOURCE, environment, main, run
from serving import ServeCase

CLIENT, CASES = SOURCE / "deploy" / "client.py", SOURCE / "deploy" / "tests" / "cases.json"
BUNDLED = SOURCE / "weights" / "sst2-minilm.distild"


class Client(ServeCase):
    def client(self, cases, *options, code=0, **variables):
        """Runs the client on cases, a file or a list; returns standard output and standard error."""
        if not isinstance(cases, pathlib.Path):
            file = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "cases.json"
            file.write_text(cases if isinstance(cases, str) else json.dumps({"cases": cases}))
            cases = file
        done = subprocess.run([sys.executable, "-B", str(CLIENT), str(cases), *options], capture_output=True, text=True, timeout=2 * PATIENCE,
                              env=environment(**variables))
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout, done.stderr

    def ask(self, server, *cases, **options):
        return self.client(list(cases), "--url", f"http://127.0.0.1:{server.port}", **options)[0]

    def test_the_bundled_models_pass_the_cases_that_come_along(self):
        server = self.start(DISTILD_MODEL=str(BUNDLED), SESSION_PASSWORD="correct horse")
        url = f"http://127.0.0.1:{server.port}"
        known = {"SESSION_PASSWORD": "correct horse"}
        told = self.client(CASES, "--url", url, "--wait", "30", "--strict", **known)[0]
        self.assertIn("SKIP  vectors of two texts\n      the server has no model for embedding\n", told)
        # of /embed, /answer, and of /api/similar what begins with a text
        self.assertRegex(told.splitlines()[-1], r"^\d\d passed, 0 failed, 6 skipped: 4 as the server has no model for embedding, 2 as .*question-answering$")
        without = self.client(CASES, "--url", url, SESSION_PASSWORD="")[0]
        self.assertIn("SKIP  login\n      SESSION_PASSWORD is not in the environment\n", without)
        self.assertRegex(without.splitlines()[-1], r" 0 failed, 13 skipped: .*7 as SESSION_PASSWORD is not in the environment")
        strict = self.client(CASES, "--url", url, "--strict", code=1, SESSION_PASSWORD="")[0]
        self.assertIn("FAIL  login\n      SESSION_PASSWORD is not in the environment\n", strict)
        self.assertIn("FAIL  protected with the token\n      SESSION_PASSWORD is not in the environment\n", strict)
        self.assertRegex(strict.splitlines()[-1], r" 7 failed, 6 skipped: ")

    def test_a_server_without_a_password_needs_none(self):
        server = self.start(DISTILD_MODEL=str(BUNDLED), SESSION_PASSWORD="")
        told = self.client(CASES, "--url", f"http://127.0.0.1:{server.port}", "--strict", SESSION_PASSWORD="")[0]
        self.assertIn("SKIP  login\n      the server has no session password\n", told)
        self.assertRegex(told.splitlines()[-1], r" 0 failed, 13 skipped: .*7 as the server has no session password")

    def test_a_server_with_keys_is_asked_with_one(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        keys = folder / "keys.txt"
        key = run("keys", "new", "ops", "--scope", "predict,metrics", "--append", keys)[0].strip()
        server = self.start("--api-keys", str(keys), SESSION_PASSWORD="correct horse", DISTILD_MODEL=str(BUNDLED))
        known = {"SESSION_PASSWORD": "correct horse"}
        url = f"http://127.0.0.1:{server.port}"
        self.assertIn(" 0 failed, 6 skipped", self.client(CASES, "--url", url, "--strict", DISTILD_API_KEY=key, **known)[0])
        told = self.client([{"name": "n", "path": "/health", "status": 200, "needs": ["catalogue"]}], "--url", url, "--strict", code=1, **known)[0]
        self.assertIn("FAIL  n\n      GET /models answered 401\n", told)

    def test_everything_that_is_bundled_passes(self):
        server = self.start(DISTILD_MODEL="", SESSION_PASSWORD="correct horse")
        told = self.client(CASES, "--url", f"http://127.0.0.1:{server.port}", "--wait", "30", "--strict", SESSION_PASSWORD="correct horse")[0]
        self.assertRegex(told.splitlines()[-1], r"^\d\d passed, 0 failed, 0 skipped$")
        routes = {(route["method"], route["path"]) for route in server.ask("GET", "/")[2]["routes"]}
        asked = {(case.get("method", "POST" if {"body", "raw"} & case.keys() else "GET"), case["path"]) for case in json.loads(CASES.read_text())["cases"]}
        self.assertEqual(routes - asked, {("GET", "/metrics"), ("GET", "/docs"), ("POST", "/admin/models/reload")})  # which answer no JSON, or need a key

    def test_every_difference_is_named(self):
        server = self.start()
        for expect, message in [
            ({"status": "ill"}, 'answer.status is "healthy", expected "ill"'),
            ({"other": 1}, 'answer lacks "other"'),
            ({"model_loaded": 1}, "answer.model_loaded is true, expected 1"),
            ({"status": {"$matches": "^x"}}, 'answer.status is "healthy", expected matches "^x"'),
            ({"status": {"$length": 3}}, 'answer.status is "healthy", expected length 3'),
            ({"status": {"$between": [0, 1]}}, 'answer.status is "healthy", expected between [0, 1]'),
            ([1], "answer is {"),
        ]:
            told = self.ask(server, {"name": "n", "path": "/health", "status": 200, "expect": expect}, code=1)
            self.assertIn(f"FAIL  n\n      {message}", told)
            self.assertIn("0 passed, 1 failed, 0 skipped", told)
        predict = {"name": "n", "path": "/predict", "body": {"inputs": [["a"], ["b"]]}, "status": 200}
        self.assertIn("answer has 2 elements, expected 1", self.ask(server, {**predict, "expect": [[]]}, code=1))
        self.assertIn("answer[0][0].score is", self.ask(server, {**predict, "expect": [[{"score": 7}, {}, {}], [{}, {}, {}]]}, code=1))
        self.ask(server, {**predict, "expect": [[{"score": 0.5}, {}, {"score": 0.5}], [{}, {}, {}]], "tolerance": 0.5})
        self.assertIn("status 200, expected 201: [[", self.ask(server, {**predict, "status": 201}, code=1))
        self.assertIn("status 200, expected 201 or 202: [[", self.ask(server, {**predict, "status": [201, 202]}, code=1))
        self.ask(server, {**predict, "status": [201, 200]})
        self.assertRegex(self.ask(server, {**predict, "within_ms": 0}, code=1), r"took \d+ ms, expected at most 0")
        self.assertIn("the answer is not JSON", self.ask(server, {"name": "n", "path": "/metrics", "status": 200, "expect": {}}, code=1))
        self.assertIn("the answer has no text in device_", self.ask(server, {"name": "n", "path": "/health", "status": 200, "save": {"d": "device_"}}, code=1))

    def test_what_one_answer_gives_the_next_request_sends(self):
        server = self.start()
        first = {"name": "first", "path": "/health", "status": 200, "save": {"word": "status"}}
        second = {"name": "second", "path": "/predict", "headers": {"X-Request-Id": "${word}"}, "body": {"text": "so ${word}"}, "status": 200,
                  "expect": {"text": "so healthy"}, "needs": ["word"]}
        self.assertIn("2 passed, 0 failed, 0 skipped", self.ask(server, first, second))
        deep = {"name": "deep", "path": "/predict", "body": {"inputs": [["a"]]}, "status": 200, "save": {"word": "0.0.label"}}
        self.assertIn("1 passed", self.ask(server, deep))
        self.assertIn("the answer has no text in 0.9.label", self.ask(server, {**deep, "save": {"word": "0.9.label"}}, code=1))
        self.assertIn("SKIP  second", self.ask(server, second))
        del second["needs"]
        third = {"name": "third", "path": "/health", "status": 200}
        told = self.ask(server, {**first, "status": 404}, second, third, code=1)
        self.assertIn("SKIP  second\n      word was not saved: 'first' failed\nPASS  third", told)
        self.assertIn("1 passed, 1 failed, 1 skipped", told)

    def test_a_server_that_is_not_there_fails_every_case(self):
        case = {"name": "n", "path": "/health", "status": 200}
        self.assertIn("FAIL  n\n      no answer: ", self.client([case], "--url", "http://127.0.0.1:9", code=1)[0])
        self.assertIn("did not answer 200 within 0.3 s", self.client([case], "--url", "http://127.0.0.1:9", "--wait", "0.3", code=1)[0])

    def test_files_that_cannot_be_used(self):
        good = {"name": "n", "path": "/health", "status": 200}
        for cases, message in [("[", "expected an object with the list `cases`"), ('{"cases": []}', "at least one case"), ("[]", "expected an object"),
                               ([{"name": "n", "path": "/"}], "case 1: needs name, path and status"),
                               ([{**good, "boddy": {}}], "case 1: unknown field boddy"),
                               ([{**good, "body": {}, "raw": ""}], "case 1: there are both body and raw"),
                               ([{**good, "path": "/${nothing}"}], "nothing is known as ${nothing}"),
                               ([good, {**good, "status": "200"}], "case 2: `status` must be a number or a list"), ([{**good, "status": []}], "`status` must be"),
                               ([{**good, "status": True}], "`status` must be"), ([{**good, "path": "health"}], "`path` must begin with /"),
                               ([{**good, "needs": "token"}], "`needs` must be a list"), ([{**good, "save": {"a": 1}}], "`save` must hold strings"),
                               ([{**good, "expect": [{"a": {"$matches": "("}}]}], "$matches: \"(\" is no regular expression"),
                               ([{**good, "expect": {"$between": [1]}}], "$between: [1] is not a list of two numbers"),
                               ([{**good, "expect": {"$least": 1}}], "unknown rule $least"),
                               ([{**good, "headers": {"X-A": "a\nb"}}], "is no header of HTTP"), ([{**good, "headers": {"X A": "b"}}], "is no header"),
                               ([{**good, "raw": "\ud800"}], "half of a surrogate pair"), ([{**good, "method": "GÉT"}], "`method` must be a token"),
                               ([{**good, "path": "/a b"}], "visible ASCII")]:
            if "${nothing}" not in message:  # which the server might have had
                self.assertIn(message, self.client(cases, "--check", code=2)[1])
            self.assertIn(message, self.client(cases, code=2)[1])
        self.assertIn(": 1 case\n", self.client([good], "--check", "--url", "http://127.0.0.1:9")[0])
        for levels, message in (70, "over 64 levels deep"), (100000, "recursion"):
            deep = '{"cases": [{"name": "n", "path": "/", "status": 200, "expect": ' + levels * "[" + levels * "]" + "}]}"
            self.assertIn(message, self.client(deep, code=2)[1])
        for url in "localhost:8080", "http://h:port", "http://[h":
            self.assertIn("is not http://HOST:PORT", self.client([good], "--url", url, code=2)[1])
        self.assertIn("the end of a line", self.client([good], code=2, DISTILD_API_KEY="k\n")[1])
        self.assertIn("No such file", self.client(pathlib.Path("none.json"), code=2)[1])


if __name__ == "__main__":
    main()
