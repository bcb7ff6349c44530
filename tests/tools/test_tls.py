#!/usr/bin/env python3
"""`distild serve` by TLS, end to end: what is spoken, and certificates that change while it runs."""

import http.client
import json
import os
import pathlib
import socket
import ssl
import subprocess
import tempfile
import threading
import time

import exposition
from harness import MODEL, PATIENCE, main, run
from serving import ServeCase


class Tls(ServeCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.certificate, self.key = self.folder / "cert.pem", self.folder / "key.pem"

    def make(self, name, algorithm="ec"):
        """A new certificate in the place of the last, with its key."""
        options = {"ec": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["rsa:2048"]}[algorithm]
        new = self.folder / "new.pem", self.folder / "new-key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-nodes", "-newkey", *options, "-days", "2", "-subj", f"/CN={name}",
             "-addext", "subjectAltName=IP:127.0.0.1", "-out", new[0], "-keyout", new[1]],
            check=True, capture_output=True, timeout=PATIENCE,
        )
        new[1].chmod(0o600)
        os.replace(new[0], self.certificate)
        os.replace(new[1], self.key)

    def make_expired(self):
        """The same of one that was good for the year 2020 alone, which `openssl req` does not make."""
        authority = {
            "authority": "[ca]\ndefault_ca=own\n[own]\ndatabase=index\nnew_certs_dir=.\nserial=serial\ndefault_md=sha256\npolicy=any\n"
                         "[any]\ncommonName=supplied\n",
            "index": "",
            "serial": "01\n",
        }
        for name, content in authority.items():
            (self.folder / name).write_text(content)
        for command in (
            ["req", "-new", "-key", self.key, "-subj", "/CN=expired", "-out", "request.pem"],
            ["ca", "-config", "authority", "-batch", "-notext", "-selfsign", "-keyfile", self.key, "-in", "request.pem",
             "-out", self.certificate, "-startdate", "20200101000000Z", "-enddate", "20210101000000Z"],
        ):
            subprocess.run(["openssl", *command], cwd=self.folder, check=True, capture_output=True, timeout=PATIENCE)

    def serve(self, *options, algorithm="ec", **variables):
        self.make("first", algorithm)
        return self.start("--tls-cert", str(self.certificate), "--tls-key", str(self.key), *options, **variables)

    def context(self, verify=False):
        if verify:
            return ssl.create_default_context(cafile=self.certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context

    def open(self, server, context=None):
        """An open HTTP connection."""
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context or self.context(), timeout=PATIENCE)
        self.addCleanup(connection.close)
        connection.connect()
        return connection

    def name(self, server):
        """The name on the certificate that a new connection is shown."""
        connection = self.open(server)
        shown = connection.sock.getpeercert(binary_form=True)
        connection.close()
        text = subprocess.run(["openssl", "x509", "-inform", "der", "-noout", "-subject"], input=shown, capture_output=True, check=True)
        return text.stdout.decode().strip().replace(" ", "").removeprefix("subject=CN=")

    def predict(self, connection, text="fine"):
        connection.request("POST", "/predict", json.dumps({"text": text}), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())

    def test_requests_of_all_sizes(self):
        for algorithm in ("ec", "rsa"):
            server = self.serve("--max-body", "300000", algorithm=algorithm)
            connection = self.open(server, self.context(verify=True))
            self.assertEqual(connection.sock.version(), "TLSv1.3")
            for text in ("fine", "word " * 50000):
                status, answer = self.predict(connection, text)
                self.assertEqual((status, answer["text"]), (200, text))
            self.assertEqual(self.predict(connection, "word " * 70000)[0], 413)
            self.assertEqual(self.predict(self.open(server))[0], 200)
            self.assertEqual(server.stop(), 0)

    def test_only_modern_versions_and_ciphers(self):
        server = self.serve(algorithm="rsa")

        def attempt(version, ciphers):
            context = self.context()
            context.set_ciphers(ciphers)
            context.minimum_version = context.maximum_version = version
            with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as plain:
                with context.wrap_socket(plain) as secure:
                    return secure.cipher()[0]

        old = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"
        self.assertIn("ECDHE", attempt(ssl.TLSVersion.TLSv1_2, old))
        self.assertIn("GCM", attempt(ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES128-GCM-SHA256"))
        for ciphers in ("AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA", "DHE-RSA-AES128-GCM-SHA256", "ADH-AES128-SHA256:@SECLEVEL=0"):
            with self.assertRaises(OSError, msg=ciphers):
                attempt(ssl.TLSVersion.TLSv1_2, ciphers)
        for version in (ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1):
            with self.assertRaises(OSError, msg=version):
                attempt(version, old)
        self.assertEqual(self.predict(self.open(server))[0], 200)

    def test_plain_http_is_closed(self):
        server = self.serve()
        for data in (b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00garbage" * 50, b"\0" * 100):
            with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as plain:
                plain.sendall(data)
                received = b""
                try:
                    while part := plain.recv(1000):
                        received += part
                except ConnectionResetError:
                    pass
                self.assertNotIn(b"HTTP/", received)
        self.assertEqual(self.predict(self.open(server))[0], 200)
        self.assertEqual(server.stop(), 0)

    def test_a_new_certificate_is_shown_from_the_next_connection_on(self):
        server = self.serve()
        kept = self.open(server)
        self.assertEqual(self.predict(kept)[0], 200)
        self.assertEqual(self.name(server), "first")
        self.make("second", "rsa")
        self.assertEqual(self.name(server), "first")
        server.reload("the certificate was reloaded")
        self.assertEqual(self.name(server), "second")
        self.assertEqual(self.predict(kept)[0], 200)
        good = self.key.read_bytes()
        self.make("third")
        self.key.write_bytes(good)  # of another certificate
        server.reload("the certificate was not reloaded")
        self.assertEqual(self.name(server), "second")
        self.certificate.write_text("nonsense")
        server.reload("the certificate was not reloaded")
        self.assertEqual(self.name(server), "second")
        self.assertEqual(self.predict(kept)[0], 200)
        self.assertEqual(server.stop(), 0)

    def test_a_certificate_out_of_its_time(self):
        server = self.serve()
        expiration = "distild_certificate_expiration_timestamp_seconds"

        def metric():
            connection = self.open(server)
            connection.request("GET", "/metrics")
            return exposition.parse(connection.getresponse().read().decode())[expiration, ()]

        self.assertLess(abs(metric() - (time.time() + 2 * 86400)), PATIENCE + 60)
        self.assertNotIn("certificate", "".join(server.log))
        self.make_expired()
        server.reload("the certificate was reloaded")
        self.assertIn(f"warn the certificate {self.certificate}, or one of its chain, expired at 2021-01-01T00:00:00Z\n", "".join(server.log))
        self.assertEqual((metric(), self.name(server)), (1609459200, "expired"))
        self.assertEqual(server.stop(), 0)
        self.assertEqual(self.start().metric(expiration), 0)

    def test_reloading_loses_no_request(self):
        server = self.serve("--http-threads", "2")
        done, answered, failed = threading.Event(), [], []

        def client():
            while not done.is_set():
                try:
                    connection = self.open(server)
                    answered.extend(self.predict(connection)[0] for _ in range(5))
                    connection.close()
                except (OSError, http.client.HTTPException) as error:
                    failed.append(error)

        clients = [threading.Thread(target=client) for _ in range(4)]
        for each in clients:
            each.start()
        for i in range(10):
            if i % 2:
                self.make(f"number{i}")
            server.reload("the certificate was reloaded")
        done.set()
        for each in clients:
            each.join()
        self.assertEqual(failed, [])
        self.assertEqual(set(answered), {200})
        self.assertEqual(server.stop(), 0)

    def test_sessions_are_resumed(self):
        server = self.serve()
        context = self.context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2

        def connect(session=None):
            with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as plain:
                with context.wrap_socket(plain, session=session) as secure:
                    secure.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
                    self.assertIn(b"200 OK", secure.recv(1000))
                    return secure.session, secure.session_reused

        session, reused = connect()
        self.assertFalse(reused)
        self.assertTrue(connect(session)[1])

    def test_bad_files_are_explained(self):
        self.make("first")
        start = ("serve", "--port", "0", "--model", MODEL)
        both = ("--tls-cert", self.certificate, "--tls-key", self.key)
        self.assertIn("both", run(*start, *both[:2], code=1)[1])
        self.assertIn("both", run(*start, *both[2:], code=1)[1])
        self.assertIn("No such file", run(*start, "--tls-cert", self.folder / "none", *both[2:], code=1)[1])
        self.assertIn("cannot be used", run(*start, "--tls-cert", self.key, "--tls-key", self.certificate, code=1)[1])
        other = self.key.read_bytes()
        self.make("second")
        self.key.write_bytes(other)
        self.assertIn("cannot be used", run(*start, *both, code=1)[1])
        self.key.chmod(0o660)
        self.assertIn("chmod go-w", run(*start, *both, code=1)[1])
        self.make("third")
        self.key.chmod(0o644)
        server = self.start("--tls-cert", str(self.certificate), "--tls-key", str(self.key))
        self.assertIn(f"warn {self.key} holds a secret and may be read by everyone", "".join(server.log))

    def test_health_by_tls(self):
        server = self.serve()
        self.assertIn('"healthy"', run("health", "--port", server.port, "--tls-cert", self.certificate)[0])
        run("health", DISTILD_PORT=str(server.port), DISTILD_TLS_CERT=str(self.certificate))
        run("health", "--url", f"https://127.0.0.1:{server.port}")
        run("health", "--url", f"https://localhost:{server.port}/health")
        self.assertIn("status 404", run("health", "--url", f"https://127.0.0.1:{server.port}/nothing", code=1)[1])
        self.assertIn("speak TLS?", run("health", "--port", server.port, code=1)[1])
        plain = self.start()
        self.assertIn("TLS", run("health", "--url", f"https://127.0.0.1:{plain.port}", code=1)[1])
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            self.assertIn("timed out", run("health", "--url", f"https://127.0.0.1:{port}", "--timeout", "0.3", code=1)[1])


if __name__ == "__main__":
    main()
