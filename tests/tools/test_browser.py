#!/usr/bin/env python3
"""The pages that `distild serve` gives, in a real browser which reaches nothing but the server: they show what they are for, send requests,
and the browser has nothing to complain about."""

import json
import pathlib
import random
import shutil
import sys
import tempfile

import packages

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
if not CHROMIUM:
    print("skipped: needs a browser (chromium)")
    sys.exit(77)
packages.require("browser", "playwright==1.65.2")

from playwright.sync_api import Error, sync_playwright  # noqa: E402

from harness import main, run, wait_until  # noqa: E402
from serving import ServeCase  # noqa: E402

PATIENCE = 60000  # milliseconds that an answer may take, where others keep the machine busy


def rows(seed, count, shifted):
    """Predictions as `distild log export` writes them."""
    source = random.Random(seed)
    for i in range(count):
        right = source.random() < (0.3 if shifted else 0.6)
        sure = source.uniform(0.5, 0.8) if shifted else source.uniform(0.7, 1)
        yield {"at": f"2026-01-{1 + i * 20 // count:02d}T12:00:00Z", "model": "reviews", "label": "POSITIVE" if right else "NEGATIVE", "score": sure,
               "scores": {"NEGATIVE": 1 - sure if right else sure, "POSITIVE": sure if right else 1 - sure}, "tokens": source.randint(5, 40), "unknown": 0,
               "feedback": "POSITIVE"}


class Browser(ServeCase):
    @classmethod
    def setUpClass(cls):
        # whatever is not this machine has no address, and nobody listens where a proxy would
        options = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"]
        cls.playwright = cls.enterClassContext(sync_playwright())
        cls.browser = cls.enterClassContext(cls.playwright.chromium.launch(executable_path=CHROMIUM, args=options))

    def setUp(self):
        self.complaints, self.strangers = [], []

    def open(self, own, **options):
        """A page of a fresh browser. Whatever it asks for that does not begin with `own` is kept from it, and noted."""
        context = self.enterContext(self.browser.new_context(**options))
        context.set_default_timeout(PATIENCE)

        def meet(route):
            if route.request.url.startswith((own, "data:")):
                route.continue_()
            else:
                self.strangers.append(route.request.url)
                route.abort()

        context.route("**/*", meet)
        page = context.new_page()
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        return page

    def content(self):
        self.assertEqual((self.complaints, self.strangers), ([], []))

    def send(self, page, operation, **fields):
        """Sends a route's request, as it stands there or with other fields; returns the status and the text answered."""
        place = page.locator(f"#{operation}")
        if place.get_attribute("open") is None:
            place.locator("summary").first.click()
        if fields:
            area = place.locator("textarea")
            area.fill(json.dumps({**json.loads(area.input_value()), **fields}))
        place.get_by_role("button", name="Send", exact=True).click()
        status = place.locator("[aria-live] .status")
        status.wait_for()
        return int(status.inner_text().split()[0]), place.locator("[aria-live] > pre").last.inner_text()

    def test_docs_sends_requests_and_shows_the_answers(self):
        server = self.start(DISTILD_MODEL="", SESSION_PASSWORD="correct horse")
        own = f"http://127.0.0.1:{server.port}/"
        page = self.open(own)
        page.goto(own + "docs")
        page.locator("details.route").first.wait_for()
        described = server.ask("GET", "/openapi.json")[2]
        operations = [operation["operationId"] for methods in described["paths"].values() for operation in methods.values()]
        self.assertEqual(sorted(page.locator("details.route").evaluate_all("all => all.map(one => one.id)")), sorted(operations))
        status, answer = self.send(page, "post_predict", text="A warm, funny film with a wonderful cast.")
        self.assertEqual((status, json.loads(answer)["sentiment"]), (200, "POSITIVE"))
        # the token of a login is sent along from then on
        self.assertEqual(self.send(page, "post_api_login", session_password="correct horse")[0], 200)
        status, answer = self.send(page, "get_protected")
        self.assertEqual((status, json.loads(answer)), (200, {"message": "Protected"}))
        # every other route takes the example that stands there
        for operation in operations:
            if operation not in ("post_predict", "post_api_login", "post_admin_models_reload", "post_feedback", "post_api_recommend_score", "get_drift"):
                self.assertEqual(self.send(page, operation)[0], 200, operation)
        self.content()
        # what is refused is shown as well, which the browser's console reports like any answer of its kind
        status, answer = self.send(page, "post_predict", text="")
        self.assertEqual((status, json.loads(answer)["error_type"]), (400, "Empty"))
        self.assertEqual((len(self.complaints), self.strangers), (1, []))

    def test_welcome_leads_to_docs(self):
        server = self.start()
        own = f"http://127.0.0.1:{server.port}/"
        page = self.open(own)
        page.goto(own)
        self.assertIn("distild", page.title())
        page.locator("a[href='docs#post_predict']").click()
        page.locator("#post_predict[open]").wait_for()
        page.go_back()
        page.get_by_role("link", name="Try its routes").click()
        page.locator("#post_predict").wait_for()
        self.content()

    def test_keys_are_asked_for(self):
        keys = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "keys"
        key = run("keys", "new", "me", "--scope", "predict,metrics", "--append", keys)[0].strip()
        server = self.start("--api-keys", str(keys))
        own = f"http://127.0.0.1:{server.port}/"
        with self.assertRaisesRegex(Error, "ERR_INVALID_AUTH_CREDENTIALS"):  # it would have asked somebody
            self.open(own).goto(own + "docs")
        self.assertEqual(self.open(own, http_credentials={"username": "", "password": "distild-wrong"}).goto(own + "docs").status, 401)
        self.complaints.clear()
        page = self.open(own, http_credentials={"username": "", "password": key})
        self.assertEqual(page.goto(own + "docs").status, 200)
        page.locator("details.route").first.wait_for()
        self.assertEqual(self.send(page, "get_models")[0], 200)
        self.content()
        # what the browser sends by itself opens pages, and nothing that other sites could make it ask
        self.assertEqual(self.send(page, "post_predict")[0], 401)
        self.complaints.clear()
        page.locator("#credential").fill(key)
        self.assertEqual(self.send(page, "post_predict")[0], 200)
        self.content()

    def test_a_report_of_drift(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        files = {}
        for name, shifted in (("reference", False), ("current", True)):
            files[name] = folder / f"{name}.jsonl"
            files[name].write_text("".join(json.dumps(row) + "\n" for row in rows(1, 2000, shifted)))
        report = folder / "drift.html"
        run("drift", "--reference", files["reference"], "--current", files["current"], "--html", report, code=5)
        page = self.open(report.as_uri())
        page.goto(report.as_uri())
        self.assertIn("drifted", page.locator("body").inner_text())
        self.assertGreater(page.locator("svg").count(), 2)
        self.assertGreater(page.locator("svg").first.bounding_box()["width"], 100)
        self.content()

    def test_drift_as_the_server_tells_it(self):
        state = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "state"
        server = self.start("--state-dir", str(state), "--drift-min-rows", "20", "--drift-interval", "0")
        own = f"http://127.0.0.1:{server.port}/"
        for i in range(60):
            self.assertEqual(server.ask("POST", "/predict", {"text": f"a film, number {i}"})[0], 200)
        wait_until(lambda: server.metric("distild_prediction_log_rows_total") >= 60)
        run("drift", "reference", "1d", "--min-rows", 20, "--state-dir", state)
        page = self.open(own)
        self.assertEqual(page.goto(own + "drift").status, 200)
        self.assertGreater(page.locator("svg").count(), 2)
        self.content()


if __name__ == "__main__":
    main()
