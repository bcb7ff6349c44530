#!/usr/bin/env python3
"""GET /openapi.json, GET /docs, GET /metrics.json and POST /prediction of the real program: what is described is what is there."""

import json
import pathlib
import re
import tempfile
import time

from harness import SOURCE, main, run
from serving import ServeCase

BUNDLED = str(SOURCE / "weights" / "sst2-minilm.distild")


def resolve(node, document):
    while "$ref" in node:
        at = document
        for key in node["$ref"].removeprefix("#/").split("/"):
            at = at[key]
        node = at
    return node


def faults(value, schema, document, where="$"):
    """What of a value is not as its schema says, for the part of JSON Schema that the description uses."""
    schema = resolve(schema, document)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            tries = [faults(value, each, document, where) for each in schema[key]]
            return [] if [] in tries else min(tries, key=len)
    types = {"object": dict, "array": list, "string": str, "boolean": bool, "number": (int, float), "integer": int,
             "null": type(None)}
    if "type" in schema:
        allowed = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if not any(isinstance(value, types[each]) and (each == "boolean" or not isinstance(value, bool)) for each in allowed):
            return [f"{where}: {schema['type']} expected, found {value!r:.60}"]
    found = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{where}: {value!r} is none of {schema['enum']}")
    if isinstance(value, dict):
        found += [f"{where}: {name} is missing" for name in schema.get("required", []) if name not in value]
        for name, each in value.items():
            inner = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
            if isinstance(inner, dict):
                found += faults(each, inner, document, f"{where}.{name}")
    if isinstance(value, list) and "items" in schema:
        for i, each in enumerate(value):
            found += faults(each, schema["items"], document, f"{where}[{i}]")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if value < schema.get("minimum", value) or value > schema.get("maximum", value):
            found.append(f"{where}: {value} is out of range")
    return found


class OpenApi(ServeCase):
    def described(self, server):
        status, _, document = server.ask("GET", "/openapi.json")
        self.assertEqual((status, document["openapi"]), (200, "3.1.0"))
        return document

    def test_every_route_is_described_and_no_other(self):
        server = self.start("--model", BUNDLED)
        document = self.described(server)
        described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
        there = {(route["method"], re.sub(r":(\w+)", r"{\1}", route["path"])) for route in server.ask("GET", "/")[2]["routes"]}
        self.assertEqual(described, there)
        identifiers = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
        self.assertEqual(len(identifiers), len(set(identifiers)))
        self.assertEqual({tag["name"] for tag in document["tags"]},
                         {tag for methods in document["paths"].values() for operation in methods.values() for tag in operation["tags"]})

    def test_documents_name_every_route_and_no_other(self):
        server = self.start()
        there = {(route["method"], route["path"]) for route in server.ask("GET", "/")[2]["routes"]}
        guide = (SOURCE / "docs" / "api.md").read_text(encoding="utf-8")
        self.assertEqual(set(re.findall(r"^\| `(GET|POST) ([^ `]+)` \|", guide, re.MULTILINE)), there)
        headings = set(re.findall(r"(GET|POST) (/[\w./]*)", "\n".join(line for line in guide.splitlines() if line.startswith("## "))))
        self.assertEqual(there - headings, {("GET", "/metrics"), ("GET", "/openapi.json"), ("GET", "/docs")})  # which the table says enough of
        self.assertEqual(headings - there, set())
        collection = json.loads((SOURCE / "docs" / "examples" / "distild.postman_collection.json").read_text(encoding="utf-8"))
        asked = {(item["request"]["method"], "/" + "/".join(item["request"]["url"]["path"])) for folder in collection["item"] for item in folder["item"]}
        self.assertEqual(there - asked, {("GET", "/docs"), ("POST", "/admin/models/reload")})  # as docs/scale.md says

    def test_what_is_described_is_answered(self):
        """Every route without a body, and every example of a body: the status is one of those described, and what comes is of its schema."""
        server = self.start(SESSION_PASSWORD="correct horse", DISTILD_MODEL="")
        document = self.described(server)
        login = {"Content-Type": "application/json"}
        token = server.ask("POST", "/api/login", {"session_password": "correct horse"})[2]["access_token"]
        answered = 0
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                bodies = [None]
                if "requestBody" in operation:
                    content = operation["requestBody"]["content"]["application/json"]
                    bodies = [example["value"] for example in content["examples"].values()]
                secured = operation.get("security", []) == [{"bearer": []}]
                for body in bodies:
                    headers = {**login, **({"Authorization": f"Bearer {token}"} if secured else {})}
                    connection = server.connect()
                    connection.request(method.upper(), path, None if body is None else json.dumps(body), headers)
                    answer = connection.getresponse()
                    data = answer.read()
                    connection.close()
                    responses = operation["responses"]
                    self.assertIn(str(answer.status), responses, (method, path, data))
                    content = resolve(responses[str(answer.status)], document)["content"]
                    kind = answer.getheader("Content-Type").split(";")[0]
                    self.assertIn(kind, content, (method, path))
                    if kind == "application/json":
                        self.assertEqual(faults(json.loads(data), content[kind]["schema"], document), [], (method, path, body))
                    answered += answer.status == 200
        self.assertGreater(answered, 10)

    def statuses(self, server, document, headers=None):
        """Each route but health as (method, path) with the status that it answers with these headers, which must be one described."""
        found = {}
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if path == "/health":
                    continue
                connection = server.connect()
                connection.request(method.upper(), path, "{}" if "requestBody" in operation else None, headers or {})
                answer = connection.getresponse()
                data = answer.read()
                connection.close()
                self.assertIn(str(answer.status), operation["responses"], (method, path, data))
                found[method, path] = answer.status
        return found

    def test_what_any_route_may_answer_is_described(self):
        """Over a rate, without a credential, with a key of another scope, with a timeout that is none; and what is described of these is answered."""
        document = self.described(self.start())
        operations = {(method, path): operation for path, methods in document["paths"].items() for method, operation in methods.items()}
        described = {status: {route for route, operation in operations.items() if str(status) in operation["responses"]} for status in (401, 403, 429)}
        server = self.start("--rate-limit", "1/h", SESSION_PASSWORD="correct horse")
        server.ask("GET", "/")
        limited = self.statuses(server, document)
        self.assertEqual({route for route, status in limited.items() if status == 429}, described[429])
        keys = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "keys"
        predict, metrics, every = (run("keys", "new", scope.split(",")[-1], "--scope", scope, "--append", keys)[0].strip()
                                   for scope in ("predict", "metrics", "predict,metrics,admin"))
        server = self.start("--api-keys", str(keys), SESSION_PASSWORD="correct horse")
        token = server.ask("POST", "/api/login", {"session_password": "correct horse"})[2]["access_token"]
        refused = self.statuses(server, document)
        self.assertEqual({route for route, status in refused.items() if status == 401}, described[401] - {("post", "/api/login")})
        for key in (predict, metrics):
            refused = self.statuses(server, document, {"X-API-Key": key})
            self.assertLess({route for route, status in refused.items() if status == 403}, described[403])
        late = {"X-Request-Timeout-Ms": "soon"}
        refused = self.statuses(server, document, {"X-API-Key": every, **late})
        for route in [("get", "/drift"), ("get", "/models"), ("post", "/admin/models/reload"), ("post", "/predict")]:
            self.assertEqual(refused[route], 400, route)
        refused = self.statuses(server, document, {"Authorization": f"Bearer {token}", **late})
        self.assertEqual(refused["post", "/api/recommend"], 400)

    def test_page_needs_nothing_from_elsewhere(self):
        server = self.start()
        connection = server.connect()
        connection.request("GET", "/docs")
        answer = connection.getresponse()
        page = answer.read().decode()
        self.assertEqual((answer.status, answer.getheader("Content-Type")), (200, "text/html; charset=utf-8"))
        self.assertTrue(page.rstrip().endswith("</html>"))
        self.assertEqual(re.findall(r'(?:src|href)="(?!openapi\.json|data:)[^"]*"|https?://', page), [])

    def test_pages_are_held_to_themselves(self):
        connection = self.start().connect()
        for path, page in [("/docs", True), ("/", True), ("/models", False)]:
            connection.request("GET", path, headers={"Accept": "text/html"})
            answer = connection.getresponse()
            answer.read()
            rules = (answer.getheader("Content-Security-Policy") or "").split("; ")
            self.assertEqual(answer.getheader("X-Content-Type-Options"), "nosniff" if page else None, path)
            for rule in ("default-src 'none'", "connect-src 'self'", "base-uri 'none'", "frame-ancestors 'none'"):
                self.assertEqual(rule in rules, page, (path, rule))

    def get(self, server, path, accept):
        connection = server.connect()
        connection.request("GET", path, headers={"Accept": accept})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        self.assertEqual((answer.status, answer.getheader("Vary")), (200, "Accept"))
        return answer.getheader("Content-Type"), text

    def test_browsers_are_welcomed_by_a_page(self):
        server = self.start("--model", "mine=" + BUNDLED, "--bundled")
        kind, page = self.get(server, "/", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
        self.assertEqual(kind, "text/html; charset=utf-8")
        self.assertTrue(page.startswith("<!doctype html>") and page.rstrip().endswith("</html>"))
        self.assertIn("<code>mine</code> (default)</td><td>sequence-classification</td><td>NEGATIVE, POSITIVE, up to 512 tokens", page)
        self.assertIn("<code>all-minilm-l6-v2</code> (default)</td><td>embedding</td><td>384 dimensions, up to 256 tokens", page)
        links = re.findall(r'(?:src|href)="([^"]*)"', page)
        document = self.described(server)
        places = {operation["operationId"] for methods in document["paths"].values() for operation in methods.values()}
        self.assertEqual({link.removeprefix("docs#") for link in links if link.startswith("docs#")}, places)
        others = [link for link in links if not link.startswith(("docs#", "data:"))]
        self.assertLessEqual({"docs", "metrics", "health", "openapi.json", "./models"}, set(others))
        for link in others:
            connection = server.connect()
            connection.request("GET", "/" + link.removeprefix("./"))
            answer = connection.getresponse()
            answer.read()
            self.assertIn(answer.status, (200, 409), link)
            connection.close()

    def test_what_is_welcomed_by_a_page(self):
        server = self.start()
        for accept, html in [("text/html", True), ("TEXT/HTML;level=1", True), ("*/*", False), ("application/json", False), ("", False),
                             ("application/json, text/html", False), ("text/html, application/json", True), ("text/html;q=0.2, application/json", False),
                             ("application/json;q=0.5, text/html;q=0.501", True), ("text/html;q=0", False), ("text/html; q=0.5, */*", False),
                             ("text/html;q=0.5, application/*;q=0.4", True), ("text/htmlx", False), ("text/html;q=", False), (",;q,text/html", True)]:
            kind, text = self.get(server, "/", accept)
            self.assertEqual(kind.startswith("text/html"), html, accept)
            if not html:
                self.assertEqual(json.loads(text)["message"], "Welcome to distild")

    def test_unknown_fields_are_ignored_by_every_route(self):
        server = self.start(SESSION_PASSWORD="correct horse", DISTILD_MODEL="")
        document = self.described(server)
        token = server.ask("POST", "/api/login", {"session_password": "correct horse", "unheard_of": {"of": 1}})[2]["access_token"]
        compared = 0
        for path, methods in document["paths"].items():
            content = methods.get("post", {}).get("requestBody", {"content": {}})["content"].get("application/json", {"examples": {}})
            for example in content["examples"].values():
                statuses = []
                for more in ({}, {"unheard_of": {"of": 1}, "unheard_too": None}):
                    connection = server.connect()
                    connection.request("POST", path, json.dumps({**example["value"], **more}), {"Authorization": f"Bearer {token}"})
                    answer = connection.getresponse()
                    answer.read()
                    statuses.append(answer.status)
                    connection.close()
                self.assertEqual(statuses[0], statuses[1], (path, example["value"]))
                compared += 1
        self.assertGreater(compared, 12)
        for body, field in [({"inputs": "a", "parameters": {"top_k": 1}}, "parameters"), ({"inputs": "a", "parameters": {"function_to_apply": "none"}}, "parameters")]:
            status, _, error = server.ask("POST", "/predict", body)
            self.assertEqual((status, error["field"]), (422, field))
        self.assertEqual(server.ask("POST", "/predict", {"inputs": "a", "parameters": {"top_k": None}})[0], 200)
        self.assertEqual(server.ask("POST", "/embed", {"inputs": "a", "pooling": "cls"})[0], 422)
        self.assertEqual(server.ask("POST", "/embed", {"inputs": "a", "pooling": "mean"})[0], 200)

    def test_errors_and_texts_are_counted_in_the_last_minute(self):
        server, began = self.start("--model", BUNDLED), time.monotonic()
        status, _, answer = server.ask("POST", "/prediction", {"texts": ["a charming and often affecting journey", "unflinchingly bleak and desperate"]})
        self.assertEqual((status, [each["label"] for each in answer["predictions"]]), (200, ["POSITIVE", "NEGATIVE"]))
        single = server.ask("POST", "/predict", {"text": "unflinchingly bleak and desperate"})[2]
        self.assertEqual(answer["predictions"][1]["score"], single["score"])
        for body, status, field in [({}, 400, "texts"), ({"texts": "a"}, 400, "texts"), ({"texts": []}, 400, "texts"),
                                    ({"texts": ["a", 5]}, 400, "texts"), ({"texts": ["a", " "]}, 400, "texts"),
                                    ({"texts": ["a"] * 33}, 413, "texts"), ({"texts": ["a"], "model": 1}, 400, "model"),
                                    ({"texts": ["a"], "model": "other"}, 404, "model")]:
            found, _, error = server.ask("POST", "/prediction", body)
            self.assertEqual((found, error.get("field")), (status, field), body)
        server.ask("GET", "/health")
        _, _, figures = server.ask("GET", "/metrics.json")
        self.assertEqual((figures["requests"]["total"], figures["errors"]["total"]), (10, 8))
        if time.monotonic() - began < 55:  # not where the machine is that slow
            self.assertEqual((figures["requests"]["last_minute"], figures["errors"]["last_minute"]), (10, 8))
        self.assertGreater(figures["latency_ms"]["maximum"], 0)
        self.assertLessEqual(figures["latency_ms"]["mean"], figures["latency_ms"]["maximum"])
        self.assertGreater(figures["memory"]["resident_bytes"], 1 << 20)
        before = figures["uptime_seconds"]
        time.sleep(0.05)
        self.assertGreater(server.ask("GET", "/metrics.json")[2]["uptime_seconds"], before)


if __name__ == "__main__":
    main()
