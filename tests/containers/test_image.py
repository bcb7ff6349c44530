#!/usr/bin/env python3
"""The image as an operator runs it: guarded, with a mounted model, healthy, and ending as it should."""

import json
import os
import pathlib
import re
import signal
import tempfile
import unittest

from podman import BINARY, GUARDED, IMAGE, OWN, SOURCE, Containers, ask, call, healthy, inspect, main_process, podman, resident_mb, wait_for


class Image(Containers):
    def test_what_the_image_says_of_itself(self):
        found = json.loads(podman("image", "inspect", IMAGE))[0]
        config = found["Config"]
        self.assertEqual(config["User"], "10001:10001")
        self.assertEqual(config["StopSignal"], "SIGTERM")
        self.assertEqual(list(config["Volumes"]), ["/var/lib/distild"])
        self.assertEqual(list(config["ExposedPorts"]), ["8080/tcp"])
        self.assertEqual(found["HealthCheck" if "HealthCheck" in found else "Healthcheck"]["Test"], ["CMD", "distild", "health"])
        version = re.search(r"project\(distild VERSION ([0-9.]+)", (SOURCE / "CMakeLists.txt").read_text()).group(1)
        labels = config["Labels"]
        self.assertEqual(labels["org.opencontainers.image.version"], version)
        self.assertEqual(labels["org.opencontainers.image.licenses"], "Apache-2.0")
        models = sum(path.stat().st_size for path in (SOURCE / "weights").glob("*.distild"))
        print(f"image: {found['Size'] / 1e6:.0f} MB, of which models {models / 1e6:.0f} MB", flush=True)
        self.assertLess(found["Size"] - models, 220e6)

    def test_there_is_no_compiler_and_no_source(self):
        found = podman("run", "--rm", "--entrypoint", "/bin/sh", IMAGE, "-c", "ls /src /stage /tmp/packages; command -v gcc cmake; true")
        self.assertEqual(len(re.findall("No such file", found)), 3, found)
        self.assertNotIn("gcc\n", found)

    def test_guarded_it_serves_and_ends_with_0(self):
        name, port = self.run_container(*GUARDED)
        healthy(port)
        self.assertEqual(podman("healthcheck", "run", name), "")
        self.assertEqual(ask(port, "POST", "/predict", {"text": "a gorgeous film"})[1]["sentiment"], "POSITIVE")
        status = pathlib.Path(f"/proc/{main_process(name)}/status").read_text()
        self.assertRegex(status, r"Uid:\s+10001\s+10001\s+10001\s+10001")
        self.assertRegex(status, r"Gid:\s+10001")
        self.assertRegex(status, r"CapEff:\s+0+\n")
        self.assertRegex(status, r"CapBnd:\s+0+\n")
        self.assertRegex(status, r"NoNewPrivs:\s+1\n")
        self.assertRegex(status, r"Seccomp:\s+2\n")
        self.assertIn("Read-only file system", podman("exec", name, "/bin/sh", "-c", "touch /usr/local/bin/x", code=1))
        podman("exec", name, "/bin/sh", "-c", "touch /var/lib/distild/x")
        print(f"one container, after a request: {resident_mb(name):.0f} MB resident", flush=True)
        podman("stop", "--time", "40", name)
        self.assertEqual(inspect(name, ".State.ExitCode"), "0")
        self.assertIn("drained, ended", podman("logs", name))

    def test_the_health_check_tells_a_server_that_has_stopped_answering(self):
        name, port = self.run_container(*GUARDED)
        healthy(port)
        os.kill(main_process(name), signal.SIGSTOP)
        podman("healthcheck", "run", name, code=1)
        os.kill(main_process(name), signal.SIGCONT)
        podman("healthcheck", "run", name)

    def test_threads_follow_the_cpu_quota(self):
        told = podman("run", "--rm", "--cpus", "1", IMAGE, "version", "--json")
        self.assertEqual(json.loads(told.splitlines()[-1])["cpus"], 1)

    def test_a_mounted_model(self):
        with tempfile.TemporaryDirectory() as folder:
            model = pathlib.Path(folder) / "mine.distild"
            tiny = SOURCE / "tests" / "golden" / "tiny" / "distilbert-single"
            call(BINARY / "distild", "convert", tiny, "-o", model)
            model.chmod(0o644)
            pathlib.Path(folder).chmod(0o755)
            name, port = self.run_container(*GUARDED, "--volume", f"{folder}:/models:ro", "--env", "ML_MODEL_PATH=/models/mine.distild")
            healthy(port)
            labels = ask(port, "GET", "/models")[1]["models"][0]["labels"]
            self.assertNotEqual(labels, ["NEGATIVE", "POSITIVE"])
            self.assertIn(ask(port, "POST", "/predict", {"text": "so so"})[1]["label"], labels)

    def test_a_model_that_was_built_in(self):
        name, port = self.run_container(*GUARDED, image=OWN)
        healthy(port)
        self.assertEqual(ask(port, "GET", "/models")[1]["models"][0]["labels"], ["negative", "neutral", "positive"])
        self.assertEqual(ask(port, "POST", "/predict", {"text": "no"})[1]["label"], "positive")

    def test_a_model_that_is_not_there_ends_it_with_a_message(self):
        name, _ = self.run_container("--env", "ML_MODEL_PATH=/models/none.distild")
        wait_for(lambda: inspect(name, ".State.Status") == "exited", "ended")
        self.assertEqual(inspect(name, ".State.ExitCode"), "1")
        self.assertIn("/models/none.distild", podman("logs", name))

    def test_without_anonymous_it_wants_a_credential(self):
        self.assertIn("credential", podman("run", "--rm", IMAGE, "serve", code=1))

    def test_accuracy_can_be_measured_in_the_running_container(self):
        name, port = self.run_container(*GUARDED, "--volume", f"{SOURCE / 'deploy/tests'}:/tests:ro")
        healthy(port)
        self.assertIn("accuracy", podman("exec", name, "distild", "evaluate", "/tests/sentiment.tsv", "--min-accuracy", "0.8", "--output", "-"))
        podman("exec", name, "distild", "evaluate", "/tests/sentiment.tsv", "--min-accuracy", "0.99", "--output", "-", code=3)

    def test_the_accuracy_gate_holds_in_the_running_container(self):
        name, port = self.run_container(*GUARDED, "--volume", f"{SOURCE}:/source:ro")
        healthy(port)
        self.assertIn("PASS", podman("exec", name, "distild", "evaluate", "--tests", "/source/deploy/tests/sentiment.json"))
        self.assertIn("FAIL", podman("exec", name, "distild", "evaluate", "--tests", "/source/tests/golden/gate/off.json", code=3))


if __name__ == "__main__":
    unittest.main()
