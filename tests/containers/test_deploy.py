#!/usr/bin/env python3
"""deploy.sh: a version that is good takes over; one that fails its tests, does not start or never gets ready leaves the old one in service."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import unittest

from podman import CASES, IMAGE, MODEL, SOURCE, Containers, ask, call, free_port, healthy, inspect, main_process, podman, wait_for

NAME, VERSION = IMAGE.rsplit(":", 1)
DEPLOY = SOURCE / "deploy" / "deploy.sh"


class DeployCase(Containers):
    def setUp(self):
        self.port = free_port()
        self.name = f"deployed-{os.urandom(3).hex()}"
        for name in (self.name, f"{self.name}-previous"):
            self.addCleanup(podman, "rm", "--force", name, code=None)
        self.addCleanup(podman, "volume", "rm", f"{self.name}-state", code=None)
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.folder.chmod(0o755)

    def deploy(self, *options, model="bundled", tests=CASES, code=0, version=VERSION, **variables):
        return call(DEPLOY, NAME, version, model, tests, "--container-name", self.name, "--port-mapping", f"127.0.0.1:{self.port}:8080", *options,
                    code=code, SESSION_PASSWORD="correct horse", **variables)

    def cases(self, *cases):
        path = self.folder / "cases.json"
        path.write_text(json.dumps({"cases": list(cases)}))
        return path

    def serves(self):
        self.assertEqual(ask(self.port, "GET", "/health")[0], 200)
        return inspect(self.name, ".Id")


class Deploy(DeployCase):
    def test_a_good_version_replaces_another(self):
        told = self.deploy("--json-log", "--log-tag", "reviews")
        self.assertIn("PASS  protected with the token", told)
        self.assertIn("0 failed, 0 skipped", told)
        first = self.serves()
        self.assertIn("10001", podman("top", self.name, "huser"))
        mounted = self.folder / "mounted.distild"
        mounted.write_bytes(MODEL.read_bytes())
        mounted.chmod(0o644)
        self.deploy(model=mounted)
        self.assertNotEqual(self.serves(), first)
        self.assertIn("/models/mounted.distild", inspect(self.name, ".Config.Env"))
        self.assertNotIn(f"{self.name}-previous", podman("ps", "--all", "--format", "{{.Names}}").splitlines())

    def test_one_that_answers_wrongly_is_taken_back(self):
        self.deploy()
        first = self.serves()
        wrong = self.cases({"name": "wrong", "path": "/predict", "body": {"text": "a gorgeous film"}, "status": 200,
                            "expect": {"sentiment": "NEGATIVE"}})
        told = self.deploy(tests=wrong, code=1)
        self.assertIn('FAIL  wrong\n      answer.sentiment is "POSITIVE", expected "NEGATIVE"', told)
        self.assertIn("the previous container serves again", told)
        self.assertEqual(self.serves(), first)

    def test_a_case_that_could_have_been_asked_is_not_left_out(self):
        needy = {"name": "needy", "path": "/health", "status": 200, "needs": ["DISTILD_TEST_TOKEN"]}
        told = self.deploy(tests=self.cases(needy), code=1)
        self.assertIn("FAIL  needy\n      DISTILD_TEST_TOKEN is not in the environment", told)
        self.assertIn("1 passed, 0 failed", self.deploy(tests=self.cases(needy), DISTILD_TEST_TOKEN="x"))

    def test_one_that_does_not_start_is_taken_back(self):
        self.deploy()
        first = self.serves()
        broken = self.folder / "broken.distild"
        broken.write_bytes(MODEL.read_bytes()[:100000])
        broken.chmod(0o644)
        told = self.deploy(model=broken, code=1)
        self.assertIn("ended with status 1", told)
        self.assertIn("broken.distild", told)
        self.assertEqual(self.serves(), first)

    def test_the_first_one_that_fails_leaves_nothing(self):
        told = self.deploy(tests=self.cases({"name": "no", "path": "/health", "status": 500}), code=1)
        self.assertIn("FAIL  no\n      status 200, expected 500", told)
        self.assertNotIn(self.name, podman("ps", "--all", "--format", "{{.Names}}").splitlines())

    def test_an_interrupted_deployment_is_made_good(self):
        self.deploy()
        first = self.serves()
        running = subprocess.Popen([str(DEPLOY), NAME, VERSION, "bundled", str(CASES), "--container-name", self.name, "--port-mapping",
                                    f"127.0.0.1:{self.port}:8080"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: f"{self.name}-previous" in podman("ps", "--all", "--format", "{{.Names}}").splitlines(), "set aside")
        running.send_signal(signal.SIGTERM)
        self.assertEqual(running.wait(120), 1)
        self.assertEqual(self.serves(), first)

    def test_a_server_that_dies_is_restarted_five_times(self):
        self.deploy()
        for restarts in range(5):
            self.assertEqual(inspect(self.name, ".RestartCount"), str(restarts))
            old = main_process(self.name)
            os.kill(old, signal.SIGKILL)
            wait_for(lambda: main_process(self.name) not in (0, old), f"restarted after death {restarts + 1}")
        healthy(self.port)
        os.kill(main_process(self.name), signal.SIGKILL)
        wait_for(lambda: inspect(self.name, ".State.Status") == "exited", "left alone after death 6")
        self.assertEqual(inspect(self.name, ".State.ExitCode}} {{.RestartCount"), "137 5")
        self.deploy()  # a deployment puts one in its place
        self.serves()

    def test_what_is_wrong_is_said_before_anything_is_stopped(self):
        for arguments, message in [((NAME, VERSION, "bundled"), "expected IMAGE VERSION MODEL TESTS, got 3"),
                                   ((NAME, VERSION, "none.distild", CASES), "none.distild: no model is there"),
                                   ((NAME, VERSION, "bundled", "none.json"), "none.json: no file of cases"),
                                   ((NAME, VERSION, "bundled", DEPLOY), "expected an object with the list `cases`"),
                                   ((NAME, VERSION, "bundled", CASES, "--port-mapping", "x"), "'x' is not"),
                                   ((NAME, VERSION, "bundled", CASES, "--nonsense"), "unknown option")]:
            self.assertIn(message, call(DEPLOY, *arguments, code=2))
        self.assertIn("there is no image", call(DEPLOY, NAME, "none", "bundled", CASES, code=1))


class Journal(DeployCase):
    """The log in systemd's journal, with a journal of the test's own."""

    def test_priorities_reach_the_journal(self):
        for place in ("/run/systemd/journal", "/run/log/journal", "/var/log/journal"):
            pathlib.Path(place).mkdir(parents=True, exist_ok=True)
            call("mount", "-t", "tmpfs", "tmpfs", place)
        journal = subprocess.Popen(["/lib/systemd/systemd-journald"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(journal.wait, 30)
        self.addCleanup(journal.terminate)
        wait_for(lambda: pathlib.Path("/run/systemd/journal/stdout").is_socket(), "the journal's socket")
        self.deploy("--log-tag", "reviews")
        podman("stop", self.name)
        # what goes wrong later is an error there
        (self.folder / "mine.distild").write_bytes(MODEL.read_bytes())
        (self.folder / "mine.distild").chmod(0o644)
        socket_ = "/run/systemd/journal/stdout"
        name, port = self.run_container("--volume", f"{self.folder}:/models:ro", "--volume", f"{socket_}:{socket_}", "--env", f"DISTILD_LOG_JOURNAL={socket_}",
                                        "--env", "DISTILD_LOG_TAG=reviews", "--env", "ML_MODEL_PATH=/models/mine.distild")
        healthy(port)
        (self.folder / "mine.distild").unlink()
        podman("kill", "--signal", "HUP", name)

        def lines(*options):
            found = call("journalctl", "--quiet", "--output", "json", "--identifier", "reviews", *options)
            return [json.loads(line) for line in found.splitlines()]

        errors = wait_for(lambda: lines("--priority", "err"), "an error in the journal")
        self.assertTrue(all("was not replaced" in line["MESSAGE"] for line in errors), errors)
        every = lines()
        self.assertEqual({line["PRIORITY"] for line in every if "listening" in line["MESSAGE"] or "drained" in line["MESSAGE"]}, {"6"})
        self.assertEqual([line for line in every if line["MESSAGE"].startswith("<")], [])


if __name__ == "__main__":
    unittest.main()
