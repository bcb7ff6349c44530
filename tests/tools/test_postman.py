#!/usr/bin/env python3
"""The Postman collection of docs/examples, request by request against the real program, with its own tests in JavaScript."""

import http.client
import json
import pathlib
import re

import packages

packages.require("postman", "quickjs==1.19.4")

import quickjs  # noqa: E402

from harness import SOURCE, main  # noqa: E402
from serving import ServeCase  # noqa: E402

COLLECTION = SOURCE / "docs" / "examples" / "distild.postman_collection.json"


class Postman(ServeCase):
    def send(self, server, request, variables):
        def fill(text):
            return re.sub(r"{{(\w+)}}", lambda found: variables[found[1]], text)

        path = fill(request["url"]["raw"]).removeprefix(variables["base"])
        headers = {each["key"]: fill(each["value"]) for each in request["header"]}
        body = fill(request["body"]["raw"]).encode() if "body" in request else None
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request(request["method"], path, body, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return {"status": answer.status, "text": text}

    def test_collection(self):
        server = self.start(SESSION_PASSWORD="correct horse", DISTILD_MODEL="")
        collection = json.loads(COLLECTION.read_text(encoding="utf-8"))
        variables = {each["key"]: each["value"] for each in collection["variable"]}
        variables |= {"base": f"http://127.0.0.1:{server.port}", "password": "correct horse"}
        context = quickjs.Context()
        context.eval((pathlib.Path(__file__).parent / "postman.js").read_text(encoding="utf-8"))
        asked = set()
        for folder in collection["item"]:
            for item in folder["item"]:
                with self.subTest(f"{folder['name']}: {item['name']}"):
                    response = self.send(server, item["request"], variables)
                    script = "\n".join(line for event in item["event"] for line in event["script"]["exec"])
                    arguments = ", ".join(json.dumps(each) for each in (script, response, variables))
                    result = json.loads(context.eval(f"run({arguments})"))
                    self.assertGreater(result["tests"], 0)
                    self.assertEqual(result["failures"], [], response)
                    variables |= result["set"]
                    asked.add((item["request"]["method"], "/" + "/".join(item["request"]["url"]["path"])))
        routes = {(route["method"], route["path"]) for route in server.ask("GET", "/")[2]["routes"]}
        self.assertEqual(routes - asked - {("POST", "/admin/models/reload"), ("GET", "/docs")}, set())


if __name__ == "__main__":
    main()
