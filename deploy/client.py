#!/usr/bin/env python3
"""Asks a running server what a file of cases says, and compares the answers. Needs nothing but Python.

  deploy/client.py deploy/tests/cases.json
  deploy/client.py CASES.json --url https://127.0.0.1:8443 --ca-cert cert.pem --wait 30

Prints PASS, FAIL or SKIP for each case, with what was wrong, and how many there were. SKIP is a case that needs what the server does not
have, or what the environment does not say; with --strict the latter fails. DISTILD_API_KEY in the environment is sent along as X-API-Key. Exit
status: 0 none failed, 1 some did, 2 the file or the command line is wrong. docs/containers.md describes the file.
"""

import argparse
import http.client
import json
import os
import re
import ssl
import sys
import time
import urllib.parse

# What a case may need of a server, and how its absence is called.
ABILITIES = {"sequence-classification": "no model for sequence-classification", "embedding": "no model for embedding",
             "question-answering": "no model for question-answering", "catalogue": "no catalogue", "login": "no session password",
             "operator": "its routes for operators hidden"}
# What a case may hold, of which type; None: anything.
FIELDS = {"name": str, "method": str, "path": str, "headers": dict, "body": None, "raw": str, "status": (int, list), "expect": None, "tolerance": (int, float),
          "within_ms": (int, float), "save": dict, "needs": list}
# What HTTP takes for a method or a header's name, and for a header's value.
TOKEN, HEADER_VALUE = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", r"[\t -~\xa0-\xff]*"
DEEPEST = 64
TYPES = {str: "a string", dict: "an object", list: "a list", (int, float): "a number", (int, list): "a number or a list of these"}


class BadCases(Exception):
    """The file of cases cannot be used."""


def number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def differences(found, expected, tolerance, where="answer"):
    """What in `found` is not as `expected` says, as sentences. Objects may have more fields than expected."""
    if isinstance(expected, dict) and len(expected) == 1 and next(iter(expected)).startswith("$"):
        (rule, argument), = expected.items()
        if rule == "$matches":
            good = isinstance(found, str) and re.search(argument, found)
        elif rule == "$between":
            good = number(found) and argument[0] <= found <= argument[1]
        else:
            good = isinstance(found, (list, str, dict)) and len(found) == argument
        return [] if good else [f"{where} is {json.dumps(found)[:200]}, expected {rule[1:]} {json.dumps(argument)}"]
    if isinstance(expected, dict) and isinstance(found, dict):
        missing = [f"{where} lacks {json.dumps(key)}" for key in expected if key not in found]
        return missing + [line for key in expected if key in found
                          for line in differences(found[key], expected[key], tolerance, f"{where}.{key}")]
    if isinstance(expected, list) and isinstance(found, list):
        if len(found) != len(expected):
            return [f"{where} has {len(found)} elements, expected {len(expected)}"]
        return [line for i, pair in enumerate(zip(found, expected)) for line in differences(*pair, tolerance, f"{where}[{i}]")]
    if number(expected) and number(found):
        good = abs(found - expected) <= tolerance
    else:
        good = type(found) is type(expected) and found == expected
    return [] if good else [f"{where} is {json.dumps(found)[:200]}, expected {json.dumps(expected)[:200]}"]


def statuses(case):
    """The statuses that an answer may have."""
    return case["status"] if isinstance(case["status"], list) else [case["status"]]


def look_up(answer, path):
    """What an answer has under a path such as `items.0.id`; None where it has nothing."""
    for key in path.split("."):
        if isinstance(answer, list) and key.isdecimal() and int(key) < len(answer):
            answer = answer[int(key)]
        elif isinstance(answer, dict):
            answer = answer.get(key)
        else:
            return None
    return answer


def fill(value, variables):
    """`value` with each ${NAME} in its strings replaced."""
    if isinstance(value, str):
        def replace(match):
            if match.group(1) not in variables:
                raise BadCases(f"nothing is known as ${{{match.group(1)}}}")
            return variables[match.group(1)]
        return re.sub(r"\$\{(\w+)\}", replace, value)
    if isinstance(value, list):
        return [fill(item, variables) for item in value]
    if isinstance(value, dict):
        return {key: fill(item, variables) for key, item in value.items()}
    return value


def check_rules(expected, depth=0):
    """Raises BadCases where a rule in what is expected can hold of nothing."""
    if depth > DEEPEST:
        raise BadCases(f"`expect` is over {DEEPEST} levels deep, which no answer is")
    for value in expected.values() if isinstance(expected, dict) else expected if isinstance(expected, list) else []:
        check_rules(value, depth + 1)
    if not (isinstance(expected, dict) and len(expected) == 1 and next(iter(expected)).startswith("$")):
        return
    (rule, argument), = expected.items()
    if rule == "$matches":
        try:
            re.compile(argument)
        except (re.error, TypeError) as problem:
            raise BadCases(f"$matches: {json.dumps(argument)} is no regular expression: {problem}") from None
    elif rule == "$between":
        if not (isinstance(argument, list) and len(argument) == 2 and all(map(number, argument))):
            raise BadCases(f"$between: {json.dumps(argument)} is not a list of two numbers")
    elif rule == "$length":
        if not number(argument):
            raise BadCases(f"$length: {json.dumps(argument)} is no number")
    else:
        raise BadCases(f"unknown rule {rule}: expected $matches, $between or $length")


def check_case(case):
    """Raises BadCases, without saying of which case, where it cannot be asked."""
    if not isinstance(case, dict) or not {"name", "path", "status"} <= case.keys():
        raise BadCases("needs name, path and status")
    for name, value in case.items():
        if name not in FIELDS:
            raise BadCases(f"unknown field {name}")
        wanted = FIELDS[name]
        if wanted and (not isinstance(value, wanted) or isinstance(value, bool)):
            raise BadCases(f"`{name}` must be {TYPES[wanted]}")
    if not statuses(case) or not all(number(status) for status in statuses(case)):
        raise BadCases("`status` must be a number or a list of these")
    for name in "headers", "save", "needs":
        values = case.get(name, [])
        if not all(isinstance(value, str) for value in (values.values() if isinstance(values, dict) else values)):
            raise BadCases(f"`{name}` must hold strings")
    if not re.fullmatch(r"/[!-~]*", case["path"]):
        raise BadCases("`path` must begin with / and be of visible ASCII characters")
    if not re.fullmatch(TOKEN, case.get("method", "GET")):
        raise BadCases("`method` must be a token of HTTP")
    for name, value in case.get("headers", {}).items():
        if not re.fullmatch(TOKEN, name) or not re.fullmatch(HEADER_VALUE, value):
            raise BadCases(f"`headers`: {json.dumps(name)}: {json.dumps(value)} is no header of HTTP")
    if re.search("[\ud800-\udfff]", case.get("raw", "")):
        raise BadCases("`raw` holds half of a surrogate pair, which UTF-8 has no bytes for")
    if "body" in case and "raw" in case:
        raise BadCases("there are both body and raw")
    check_rules(case.get("expect"))


def read_cases(path):
    try:
        with open(path, encoding="utf-8") as file:
            cases = json.load(file)["cases"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as problem:
        raise BadCases(f"{path}: expected an object with the list `cases`: {problem}") from None
    if not isinstance(cases, list) or not cases:
        raise BadCases(f"{path}: `cases` must be a list with at least one case")
    for number_, case in enumerate(cases, 1):
        try:
            check_case(case)
        except BadCases as problem:
            raise BadCases(f"{path}: case {number_}: {problem}") from None
    return cases


class Client:
    def __init__(self, url, timeout, ca_cert, api_key=None):
        try:
            target = urllib.parse.urlsplit(url)
            self.host, self.port, self.timeout = target.hostname, target.port, timeout
        except ValueError:
            target = None
        if not target or target.scheme not in ("http", "https") or not target.hostname:
            raise BadCases(f"--url: '{url}' is not http://HOST:PORT or https://HOST:PORT")
        if api_key and not re.fullmatch(HEADER_VALUE, api_key):
            raise BadCases("DISTILD_API_KEY holds what a header of HTTP cannot, such as the end of a line")
        self.tls = ssl.create_default_context(cafile=ca_cert) if target.scheme == "https" else None
        self.prefix = target.path.rstrip("/")
        self.headers = {"X-API-Key": api_key} if api_key else {}

    def ask(self, method, path, body=None, headers=None):
        """Returns (status, body as text, milliseconds)."""
        began = time.monotonic()
        if self.tls:
            connection = http.client.HTTPSConnection(self.host, self.port, timeout=self.timeout, context=self.tls)
        else:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
        try:
            connection.request(method, self.prefix + path, body, {**self.headers, **(headers or {})})
            response = connection.getresponse()
            return response.status, response.read().decode("utf-8", "replace"), (time.monotonic() - began) * 1000
        finally:
            connection.close()

    def wait(self, seconds):
        """Whether /health answers 200 within that time."""
        until = time.monotonic() + seconds
        while True:
            try:
                if self.ask("GET", "/health")[0] == 200:
                    return True
            except OSError:
                pass
            if time.monotonic() >= until:
                return False
            time.sleep(0.1)


def what_it_has(client):
    """Which ABILITIES the server has, each under its name, a model's with the model's; and None, or why that could not be found out. `login`
    is a session password, `operator` that routes for those who run it are not hidden, as deploy/nginx does."""
    json_type = {"Content-Type": "application/json"}
    found = {}
    try:
        status, text, _ = client.ask("GET", "/models")
        if status != 200:
            return found, f"GET /models answered {status}"
        for model in json.loads(text)["models"]:
            found.setdefault(model["task"], model["name"])
        for ability, path in ("catalogue", "/api/similar"), ("login", "/api/login"):
            if client.ask("POST", path, b"{}", json_type)[0] != 503:  # which says that there is none
                found[ability] = ability
        if client.ask("GET", "/metrics.json")[0] != 404:
            found["operator"] = "operator"
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as problem:
        return found, f"what the server has could not be found out: {problem}"
    return found, None


def run_case(client, case, variables):
    """Problems with one case, and how many milliseconds its answer took."""
    case = {**case, **{key: fill(case[key], variables) for key in ("path", "headers", "body", "raw") if key in case}}
    method = case.get("method", "POST" if "raw" in case or "body" in case else "GET")
    try:
        body = case["raw"].encode() if "raw" in case else json.dumps(case["body"]).encode() if "body" in case else None
        headers = {"Content-Type": "application/json"} if body is not None else {}
        status, text, took = client.ask(method, case["path"], body, {**headers, **case.get("headers", {})})
    except (OSError, http.client.HTTPException) as problem:
        return [f"no answer: {problem}"], 0.0
    except ValueError as problem:  # what variables hold
        return [f"cannot be asked: {problem}"], 0.0
    problems = []
    if status not in statuses(case):
        problems.append(f"status {status}, expected {' or '.join(map(str, statuses(case)))}: {text[:200]}")
    elif "expect" in case or "save" in case:
        try:
            answer = json.loads(text)
        except ValueError:
            return [f"the answer is not JSON: {text[:200]}"], took
        if "expect" in case:
            problems += differences(answer, fill(case["expect"], variables), case.get("tolerance", 1e-3))
        for name, field in case.get("save", {}).items():
            if isinstance(look_up(answer, field), str):
                variables[name] = look_up(answer, field)
            else:
                problems.append(f"the answer has no text in {field}")
    if took > case.get("within_ms", float("inf")):
        problems.append(f"took {took:.0f} ms, expected at most {case['within_ms']}")
    return problems, took


def why_not(name, untold, lost):
    """Why a case has to do without what it needs by that name, and whether that is the server's nature: no case could have it there."""
    if name in lost:
        return lost[name]
    if name in ABILITIES:
        return (untold, False) if untold else (f"the server has {ABILITIES[name]}", True)
    return f"{name} is not in the environment", False


def run_cases(client, cases, strict):
    variables, untold = what_it_has(client)
    count, skipped, lost = {"PASS": 0, "FAIL": 0, "SKIP": 0}, {}, {}
    for case in cases:
        needs = case.get("needs", [])
        for name in needs:
            if os.environ.get(name):
                variables[name] = os.environ[name]
        # what an earlier case would have saved, had it passed
        used = [name for name in re.findall(r"\$\{(\w+)\}", json.dumps(case)) if name in lost]
        absent = [name for name in dict.fromkeys([*needs, *used]) if name not in variables]
        reasons = [why_not(name, untold, lost) for name in absent]
        # one thing that the server lacks is enough for a case not to be meant for it
        reason = next((each for each in reasons if each[1]), reasons[0] if reasons else None)
        problems, took = ([], 0.0) if reason else run_case(client, case, variables)
        if reason:
            outcome, problems = "FAIL" if strict and not reason[1] else "SKIP", [reason[0]]
        else:
            outcome = "FAIL" if problems else "PASS"
        if outcome == "SKIP":
            skipped[reason[0]] = skipped.get(reason[0], 0) + 1
        for name in case.get("save", {}):
            if name not in variables:
                lost[name] = reason or (f"{name} was not saved: '{case['name']}' failed", False)
        count[outcome] += 1
        print(f"{outcome}  {case['name']}" + (f" ({took:.0f} ms)" if outcome == "PASS" else ""))
        for line in problems:
            print(f"      {line}")
    why = ", ".join(f"{number_} as {reason}" for reason, number_ in skipped.items())
    print(f"{count['PASS']} passed, {count['FAIL']} failed, {count['SKIP']} skipped" + (f": {why}" if why else ""))
    return 1 if count["FAIL"] else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", help="JSON file of cases")
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="server to ask (%(default)s)")
    parser.add_argument("--timeout", type=float, default=30, metavar="SECONDS", help="that an answer may take (%(default)s)")
    parser.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="for /health to answer 200 first (%(default)s)")
    parser.add_argument("--strict", action="store_true", help="a case that only the environment keeps from being asked fails")
    parser.add_argument("--check", action="store_true", help="only see whether the cases could be asked")
    parser.add_argument("--ca-cert", metavar="FILE", help="certificates to trust with https, in PEM")
    arguments = parser.parse_args()
    try:
        cases = read_cases(arguments.cases)
        if arguments.check:
            print(f"{arguments.cases}: {len(cases)} case{'' if len(cases) == 1 else 's'}")
            return 0
        client = Client(arguments.url, arguments.timeout, arguments.ca_cert, os.environ.get("DISTILD_API_KEY"))
        if arguments.wait and not client.wait(arguments.wait):
            print(f"FAIL  {arguments.url}/health did not answer 200 within {arguments.wait:g} s")
            return 1
        return run_cases(client, cases, arguments.strict)
    except (BadCases, OSError, ssl.SSLError) as problem:
        print(f"client.py: {problem}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
