#!/usr/bin/env python3
"""Who may ask `distild serve` what, end to end: keys, tokens, logins, rates, origins, certificates."""

import base64
import concurrent.futures
import hashlib
import hmac
import json
import pathlib
import socket
import stat
import statistics
import subprocess
import tempfile
import threading
import time

from harness import MODEL, PATIENCE, main, run
from serving import ServeCase


class Access(ServeCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def ask(self, server, method, path, body=None, **headers):
        """Returns (status, headers, the JSON answered); header names have _ for -."""
        connection = server.connect()
        content = None if body is None else json.dumps(body).encode()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, content, sent)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        return response.status, response.headers, json.loads(answer) if answer else None

    def predict(self, server, **headers):
        return self.ask(server, "POST", "/predict", {"text": "fine"}, **headers)[0]

    def write(self, name, content, mode=0o600):
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return path


class Keys(Access):
    def new(self, *arguments, **options):
        return run("keys", "new", *arguments, **options)[0].strip()

    def test_keys_new_shows_the_key_once_and_writes_its_hash(self):
        file = self.folder / "keys"
        key = self.new("shop", "--append", file)
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        digest = hashlib.sha256(key.encode()).hexdigest()
        self.assertEqual(file.read_text(), f"shop sha256:{digest} scope=predict\n")
        run("keys", "new", "shop", "--append", file, code=1)
        self.assertEqual(file.read_text().count("\n"), 1)
        file.write_text(file.read_text() + "# no newline at the end")
        other = self.new("ops", "--scope", "metrics,admin", "--rate", "5/s:9", "--append", file)
        self.assertRegex(file.read_text(), r"\n# no newline at the end\nops sha256:[0-9a-f]{64} scope=metrics,admin rate=5/s:9\n$")
        self.assertNotEqual(key, other)
        out, err = run("keys", "new", "bare")
        self.assertIn(hashlib.sha256(out.strip().encode()).hexdigest(), err)
        self.assertNotIn(out.strip(), err)

    def test_keys_new_refuses_what_the_server_would(self):
        file = self.folder / "keys"
        for arguments in (["a b"], [""], ["a", "--scope", "all"], ["a", "--rate", "often"], []):
            self.assertEqual(run("keys", "new", *arguments, code=2)[0], "")
        for arguments, message in ((["a b"], "'a b' is no name: a name is 1 to 64 letters"), (["a", "--scope", "predict admin"], "keys: 'predict admin' is no scope"),
                                   (["a", "--rate", "often"], "keys: 'often' is no rate such as 50/s")):
            self.assertIn(message, run("keys", "new", *arguments, code=2)[1])
        run("keys", "old", "a", code=2)
        file.write_text("nonsense\n")
        self.assertIn("line 1", run("keys", "new", "a", "--append", file, code=1)[1])
        file.write_text("# none yet\n")
        file.chmod(0o666)
        self.assertIn("chmod go-w", run("keys", "new", "a", "--append", file, code=1)[1])
        file.chmod(0o600)
        self.new("a", "--append", file)

    def test_keys_are_served_and_reloaded(self):
        file = self.folder / "keys"
        first = self.new("first", "--append", file)
        server = self.start("--api-keys", str(file), "--log-level", "debug")
        self.assertEqual(self.predict(server), 401)
        self.assertEqual(self.predict(server, X_API_Key=first), 200)
        self.assertEqual(self.predict(server, Authorization="Bearer " + first), 200)
        self.assertEqual(self.ask(server, "GET", "/health")[0], 200)
        second = self.new("second", "--append", file)
        self.assertEqual(self.predict(server, X_API_Key=second), 401)
        connection = server.connect()
        connection.request("GET", "/health")
        connection.getresponse().read()
        server.reload("the keys were reloaded")
        connection.request("GET", "/health")  # on the connection of before
        self.assertEqual(connection.getresponse().status, 200)
        connection.close()
        self.assertEqual(self.predict(server, X_API_Key=second), 200)
        good = file.read_text()
        file.write_text(good + "third sha256:12 scope=predict\n")
        server.reload(f"the keys were not reloaded: {file}, line 3")
        self.assertEqual(self.predict(server, X_API_Key=second), 200)
        file.write_text("".join(good.splitlines(True)[1:]))
        server.reload("the keys were reloaded")
        self.assertEqual(self.predict(server, X_API_Key=first), 401)
        command_line = pathlib.Path(f"/proc/{server.process.pid}/cmdline").read_bytes()
        self.assertEqual(server.stop(), 0)
        for key in (first, second):
            self.assertNotIn(key, "".join(server.log))
            self.assertNotIn(key.encode(), command_line)

    def test_start_is_refused_where_everyone_could_call(self):
        for host in ("0.0.0.0", "::"):
            error = run("serve", "--port", "0", "--host", host, "--model", MODEL, code=1)[1]
            self.assertIn("--api-keys", error)
            self.assertIn("--allow-anonymous", error)
        server = self.start("--host", "0.0.0.0", "--allow-anonymous")
        self.assertEqual(self.predict(server), 200)
        self.assertEqual(server.stop(), 0)
        file = self.folder / "keys"
        self.new("a", "--append", file)
        server = self.start("--host", "0.0.0.0", "--api-keys", str(file))
        self.assertEqual(self.predict(server), 401)
        file.chmod(0o622)
        error = run("serve", "--port", "0", "--api-keys", file, "--model", MODEL, code=1)[1]
        self.assertIn(f"{file}: may be written by others", error)

    def test_rate_limit(self):
        server = self.start("--rate-limit", "3/h")
        self.assertEqual([self.predict(server) for _ in range(5)], [200, 200, 200, 429, 429])
        status, headers, answer = self.ask(server, "POST", "/predict", {"text": "x"})
        self.assertEqual((status, answer["error_type"]), (429, "RateLimited"))
        self.assertTrue(1 <= int(headers["Retry-After"]) <= 1200)
        self.assertEqual(self.ask(server, "GET", "/health")[0], 200)
        self.assertIn("rate-limit", run("serve", "--rate-limit", "often", "--port", "0", code=1)[1])


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Tokens(Access):
    def token(self, kid, algorithm, sign, **claims):
        claims = {"iss": "test", "aud": "distild", "exp": int(time.time()) + 3600, "scope": "predict", **claims}
        text = ".".join(encode(json.dumps(part).encode()) for part in ({"alg": algorithm, "kid": kid}, claims))
        return f"{text}.{encode(sign(text.encode()))}"

    def openssl(self, *arguments, input=None):
        done = subprocess.run(["openssl", *map(str, arguments)], input=input, capture_output=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def key_pair(self, name, *options):
        private, public = self.folder / f"{name}-private.pem", self.folder / f"{name}.pem"
        self.openssl("genpkey", *options, "-out", private)
        self.openssl("pkey", "-in", private, "-pubout", "-out", public)
        return lambda text: self.openssl("dgst", "-sha256", "-sign", private, input=text)

    def test_tokens_of_other_makers(self):
        rsa = self.key_pair("rsa", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
        ec = self.key_pair("ec", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")

        def raw_ec(text):
            """r and s of the DER that openssl writes."""
            der = ec(text)
            numbers, at = [], 2
            for _ in range(2):
                length = der[at + 1]
                numbers.append(int.from_bytes(der[at + 2:at + 2 + length], "big").to_bytes(32, "big"))
                at += 2 + length
            return b"".join(numbers)

        secret = bytes(range(32))
        self.write("secret", secret)
        file = self.write("tokens", "rsa RS256 rsa.pem iss=test aud=distild scope=predict\n"
                                    "ec ES256 ec.pem iss=test aud=distild scope=predict\n"
                                    "hs HS256 secret iss=test aud=distild scope=predict\n")
        server = self.start("--jwt-keys", str(file), "--host", "0.0.0.0", "--log-level", "debug")
        good = {
            "rsa": self.token("rsa", "RS256", rsa),
            "ec": self.token("ec", "ES256", raw_ec),
            "hs": self.token("hs", "HS256", lambda text: hmac.digest(secret, text, "sha256")),
        }
        self.assertEqual(self.predict(server), 401)
        for name, token in good.items():
            self.assertEqual(self.predict(server, Authorization=f"Bearer {token}"), 200, name)
            self.assertEqual(self.predict(server, Authorization=f"Bearer {token[:-8]}AAAAAAAA"), 401, name)
        late = self.token("rsa", "RS256", rsa, exp=int(time.time()) - 1)
        status, headers, answer = self.ask(server, "GET", "/", Authorization=f"Bearer {late}")
        self.assertEqual((status, answer["error"]), (401, "the token has expired"))
        self.assertIn("invalid_token", headers["WWW-Authenticate"])
        file.write_text(file.read_text().split("\n", 1)[1])
        server.reload("the keys were reloaded")
        self.assertEqual(self.predict(server, Authorization=f"Bearer {good['rsa']}"), 401)
        self.assertEqual(self.predict(server, Authorization=f"Bearer {good['ec']}"), 200)
        (self.folder / "ec.pem").unlink()
        server.reload(f"the keys were not reloaded: {file}, line 1: {self.folder}/ec.pem: No such file")
        self.assertEqual(self.predict(server, Authorization=f"Bearer {good['ec']}"), 200)
        self.assertEqual(server.stop(), 0)
        for token in good.values():
            self.assertNotIn(token, "".join(server.log))


class Logins(Access):
    PASSWORD = "correct horse \u00e9"

    def login(self, server, password, **more):
        return self.ask(server, "POST", "/api/login", {"session_password": password, **more})

    def protected(self, server, token, scheme="Bearer"):
        status, headers, answer = self.ask(server, "GET", "/protected", Authorization=f"{scheme} {token}")
        if status == 401:
            self.assertTrue(headers["WWW-Authenticate"].startswith("Bearer"))
        return status, answer

    def test_a_login_opens_what_is_protected_and_nothing_else(self):
        server = self.start("--log-level", "debug", SESSION_PASSWORD=self.PASSWORD)
        status, headers, answer = self.login(server, self.PASSWORD)
        self.assertEqual((status, list(answer)), (200, ["access_token"]))
        self.assertEqual(headers["Cache-Control"], "no-store")
        token = answer["access_token"]
        self.assertEqual(self.protected(server, token), (200, {"message": "Protected"}))
        self.assertEqual(self.protected(server, token + "A")[0], 401)
        self.assertEqual(self.protected(server, token, scheme="Basic")[0], 401)
        self.assertEqual(self.protected(server, token.rsplit(".", 1)[0] + ".")[0], 401)
        self.assertEqual(self.ask(server, "GET", "/protected")[0], 401)
        self.assertEqual(self.ask(server, "GET", "/protected", X_API_Key=token)[0], 401)
        for body, status in ((None, 400), ({}, 400), ([], 400), ({"session_password": None}, 400),
                             ({"session_password": 7}, 400), ({"session_password": ""}, 400),
                             ({"session_password": "wrong"}, 401), ({"session_password": "x" * 600}, 401),
                             ({"session_password": self.PASSWORD + " "}, 401)):
            found, _, answer = self.ask(server, "POST", "/api/login", body)
            self.assertEqual((found, bool(answer["error"])), (status, True), body)
        self.assertEqual(self.ask(server, "GET", "/api/login")[0], 405)
        environment_now = pathlib.Path(f"/proc/{server.process.pid}/environ").read_bytes()
        self.assertIn(b"SESSION_PASSWORD=", environment_now)
        self.assertNotIn(self.PASSWORD.encode(), environment_now)
        self.assertEqual(server.stop(), 0)
        log = "".join(server.log)
        self.assertNotIn(self.PASSWORD, log)
        self.assertNotIn(token, log)
        again = self.start(SESSION_PASSWORD=self.PASSWORD)  # with a key of its own
        self.assertEqual(self.protected(again, token)[0], 401)

    def test_without_a_password_nobody_logs_in(self):
        for variables in ({}, {"SESSION_PASSWORD": ""}):
            server = self.start(**variables)
            status, _, answer = self.login(server, "")
            self.assertEqual((status, answer["error_type"]), (503, "Unhealthy"))
            self.assertEqual(self.protected(server, "a.b.c")[0], 401)

    def test_replicas_share_a_key_and_tokens_expire(self):
        password = self.write("password", self.PASSWORD + "\n")
        key = self.write("key", bytes(range(32)))
        options = ("--session-password-file", str(password), "--session-key-file", str(key))
        first, second = self.start(*options), self.start(*options)
        token = self.login(first, self.PASSWORD)[2]["access_token"]
        self.assertEqual(self.protected(second, token)[0], 200)
        short = self.start(*options, "--session-seconds", "1")
        token = self.login(short, self.PASSWORD)[2]["access_token"]
        time.sleep(2)
        self.assertEqual(self.protected(short, token)[1]["error"], "the token has expired")
        key.write_bytes(b"short")
        self.assertIn("at least 32", run("serve", *options, "--port", "0", "--model", MODEL, code=1)[1])
        password.write_bytes("Grüße\n".encode("latin-1"))
        self.assertIn("session password is not UTF-8", run("serve", *options[:2], "--port", "0", "--model", MODEL, code=1)[1])
        password.chmod(0o664)
        self.assertIn("chmod", run("serve", *options, "--port", "0", "--model", MODEL, code=1)[1])

    def test_keys_and_logins_do_not_open_each_others_routes(self):
        file = self.folder / "keys"
        key = run("keys", "new", "a", "--scope", "predict,metrics,admin", "--append", file)[0].strip()
        server = self.start("--api-keys", str(file), SESSION_PASSWORD=self.PASSWORD)
        token = self.login(server, self.PASSWORD)[2]["access_token"]
        self.assertEqual(self.protected(server, token)[0], 200)
        self.assertEqual(self.protected(server, key)[0], 401)
        self.assertEqual(self.predict(server, Authorization=f"Bearer {key}"), 200)
        self.assertEqual(self.predict(server, Authorization=f"Bearer {token}"), 401)
        self.assertEqual(self.predict(server, Authorization=f"Bearer {token}", X_API_Key=key), 200)
        # a proxy or a client may need both
        connection = server.connect()
        connection.request("GET", "/protected", headers={"Authorization": f"Bearer {token}", "X-API-Key": key})
        self.assertEqual(connection.getresponse().status, 200)
        connection.close()

    def test_attempts_are_limited_and_hold_up_nobody(self):
        server = self.start("--http-threads", "1", SESSION_PASSWORD=self.PASSWORD)
        found, times, hashes = [], [], []
        for _ in range(15):  # those that are right do not count
            began = time.monotonic()
            self.assertEqual(self.login(server, self.PASSWORD)[0], 200)
            hashes.append(time.monotonic() - began)

        def guess():
            while not found or found[-1][0] != 429:
                found.append(self.login(server, "guess"))

        guessers = [threading.Thread(target=guess) for _ in range(8)]
        for guesser in guessers:
            guesser.start()
        connection, first = server.connect(), time.monotonic()
        while any(guesser.is_alive() for guesser in guessers):
            began = time.monotonic()
            connection.request("GET", "/health")
            connection.getresponse().read()
            times.append(time.monotonic() - began)
            time.sleep(0.002)
        connection.close()
        for guesser in guessers:
            guesser.join()
        statuses = [status for status, _, _ in found]
        self.assertGreaterEqual(statuses.count(401), 10)
        self.assertLessEqual(statuses.count(401), 11 + (time.monotonic() - first) // 6)  # one comes back every six seconds
        self.assertEqual(set(statuses), {401, 429})
        self.assertTrue(all(1 <= int(headers["Retry-After"]) <= 6 for status, headers, _ in found if status == 429))
        # had the one HTTP thread computed the hashes, most of these would have waited for several
        self.assertLess(statistics.median(times), statistics.median(hashes))
        for _ in range(20):
            if (status := self.login(server, self.PASSWORD)[0]) == 429:
                break
            self.login(server, "guess")  # takes the one that has come back
        self.assertEqual(status, 429)

    def test_the_end_does_not_wait_for_attempts(self):
        server = self.start(SESSION_PASSWORD=self.PASSWORD)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = [pool.submit(self.login, server, self.PASSWORD) for _ in range(8)]
            time.sleep(0.02)
            self.assertEqual(server.stop(), 0)
            for answer in answers:
                try:
                    self.assertIn(answer.result()[0], (200, 429, 503))
                except OSError:
                    pass  # refused: it came after the end


class Proxies(Access):
    def test_the_word_of_trusted_proxies_is_taken(self):
        server = self.start("--rate-limit", "1/h", "--trusted-proxies", "127.0.0.0/8,10.0.0.0/8", "--log-level", "debug")
        for header, status in (("203.0.113.1", 200), ("203.0.113.1", 429), ("203.0.113.2", 200),
                               ("203.0.113.9, 203.0.113.2", 429), ("203.0.113.9, 203.0.113.3, 10.1.2.3", 200),
                               ("2001:db8:1:2::1", 200), ("2001:db8:1:2:3::1", 429), ("nonsense", 200), ("", 429)):
            self.assertEqual(self.predict(server, X_Forwarded_For=header), status, header)
        self.assertEqual(self.predict(server, Forwarded="for=203.0.113.77"), 429)  # not the header they write
        self.assertEqual(server.stop(), 0)
        log = "".join(server.log)
        self.assertIn("client=203.0.113.3 ", log)
        self.assertIn("client=127.0.0.1 ", log)
        self.assertNotIn("client=203.0.113.9", log)

    def test_forwarded_where_they_write_that(self):
        server = self.start("--rate-limit", "1/h", "--trusted-proxies", "127.0.0.1", "--forwarded-header", "forwarded")
        for header, status in (('for="[2001:db8::1]:99";proto=https', 200), ("for=203.0.113.1", 200), ("for=203.0.113.1", 429)):
            self.assertEqual(self.predict(server, Forwarded=header), status, header)
        self.assertEqual(self.predict(server, X_Forwarded_For="203.0.113.5"), 200)  # the proxy itself, once
        self.assertEqual(self.predict(server, X_Forwarded_For="203.0.113.6"), 429)

    def test_who_comes_through_a_socket_of_the_file_system(self):
        for options, wanted in (("--trusted-proxies", "unix"), [200, 200, 429]), ((), [200, 429, 429]):
            path = str(self.folder / "socket")
            server = self.start("--uds", path, "--rate-limit", "1/h", *options)
            answers = []
            for client in ("203.0.113.1", "203.0.113.2", "203.0.113.2"):
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.settimeout(PATIENCE)
                    connection.connect(path)
                    connection.sendall(f"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {client}\r\n\r\n".encode())
                    answers.append(int(connection.recv(1000).split()[1]))
            self.assertEqual(answers, wanted)
            self.assertEqual(server.stop(), 0)

    def test_others_are_not_believed(self):
        for options in ((), ("--trusted-proxies", "192.0.2.0/24,unix")):
            server = self.start("--rate-limit", "2/h", *options)
            answers = [self.predict(server, X_Forwarded_For=f"203.0.113.{i}", Forwarded=f"for=203.0.113.{i}") for i in range(3)]
            self.assertEqual(answers, [200, 200, 429])
        error = run("serve", "--port", "0", "--trusted-proxies", "10.0.0.1/8", "--model", MODEL, code=1)[1]
        self.assertIn("trusted-proxies: '10.0.0.1/8' is no address or network", error)


class Origins(Access):
    PREFLIGHT = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "authorization,content-type"}

    def cors(self, headers):
        return {name: value for name, value in headers.items() if name.startswith("Access-Control") or name == "Vary"}

    def test_off_by_default(self):
        server = self.start()
        status, headers, _ = self.ask(server, "GET", "/health", Origin="https://a.example")
        self.assertEqual((status, self.cors(headers)), (200, {}))
        status, headers, _ = self.ask(server, "OPTIONS", "/predict", Origin="https://a.example", **self.PREFLIGHT)
        self.assertEqual((status, self.cors(headers)), (405, {}))

    def test_pages_of_listed_origins_may_ask(self):
        file = self.folder / "keys"
        key = run("keys", "new", "page", "--append", file)[0].strip()
        server = self.start("--cors-allow-origin", "https://a.example,http://localhost:3000", "--api-keys", str(file))
        for origin in ("https://a.example", "http://localhost:3000"):
            status, headers, answer = self.ask(server, "OPTIONS", "/predict", Origin=origin, **self.PREFLIGHT)
            self.assertEqual((status, answer), (204, None))
            self.assertEqual(headers["Access-Control-Allow-Origin"], origin)
            self.assertEqual(headers["Access-Control-Allow-Methods"], "POST")
            self.assertIn("Authorization", headers["Access-Control-Allow-Headers"])
            self.assertEqual((headers["Vary"], headers["Content-Type"]), ("Origin", None))
            for sent, wanted in (({"X_API_Key": key}, 200), ({}, 401)):  # a page can read errors too
                status, headers, _ = self.ask(server, "POST", "/predict", {"text": "x"}, Origin=origin, **sent)
                self.assertEqual((status, headers["Access-Control-Allow-Origin"]), (wanted, origin))
        for origin in ("https://b.example", "https://a.example.evil.example", "http://a.example", "null", "https://a.example:444"):
            status, headers, _ = self.ask(server, "POST", "/predict", {"text": "x"}, Origin=origin, X_API_Key=key)
            self.assertEqual((status, self.cors(headers)), (200, {"Vary": "Origin"}))
            status, headers, _ = self.ask(server, "OPTIONS", "/predict", Origin=origin, **self.PREFLIGHT)
            self.assertEqual((status, self.cors(headers)), (405, {"Vary": "Origin"}))
        self.assertEqual(self.ask(server, "OPTIONS", "/nothing", Origin="https://a.example", **self.PREFLIGHT)[0], 404)
        self.assertEqual(self.ask(server, "OPTIONS", "/predict", Origin="https://a.example")[0], 405)

    def test_any_origin_without_credentials(self):
        server = self.start("--cors-allow-origin", "*")
        _, headers, _ = self.ask(server, "GET", "/health", Origin="https://a.example")
        self.assertEqual(headers["Access-Control-Allow-Origin"], "*")
        self.assertNotIn("Access-Control-Allow-Credentials", headers)
        self.assertEqual(self.cors(self.ask(server, "GET", "/health")[1]), {})
        for origins in ("a.example", "https://a.example/", "*,https://a.example", "https://A.example", "https://a.example,", "ftp://x"):
            error = run("serve", "--port", "0", "--cors-allow-origin", origins, "--model", MODEL, code=1)[1]
            self.assertIn("cors-allow-origin:", error)


if __name__ == "__main__":
    main()
