#!/usr/bin/env python3
"""deploy/kubernetes under podman, which plays what it knows of the manifests: the deployment's pod and its settings. Nothing else of a cluster
is here."""

import json
import pathlib
import tempfile
import unittest

from podman import IMAGE, SOURCE, ask, call, healthy, inspect, main_process, podman

PORT = 8080  # podman publishes a containerPort as it is


class Pod(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        rendered = call("kubectl", "kustomize", SOURCE / "deploy" / "kubernetes")
        path = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory())) / "all.yaml"
        path.write_text(rendered.replace("localhost/distild:0.1.0", IMAGE))
        cls.addClassCleanup(podman, "kube", "down", path, code=None)
        podman("play", "kube", path)
        cls.pod = podman("pod", "ps", "--format", "{{.Name}}", "--filter", "name=distild-pod")
        cls.container = f"{cls.pod}-distild"
        healthy(PORT)

    def test_the_pod_serves_guarded_and_ends_with_0(self):
        status, answer = ask(PORT, "POST", "/predict", {"text": "a charming and often affecting journey"})
        self.assertEqual((status, answer["sentiment"]), (200, "POSITIVE"))
        status = pathlib.Path(f"/proc/{main_process(self.container)}/status").read_text()
        self.assertRegex(status, r"Uid:\s+10001\s")
        self.assertRegex(status, r"CapEff:\s+0+\n")
        self.assertRegex(status, r"NoNewPrivs:\s+1\n")
        self.assertRegex(status, r"Seccomp:\s+2\n")
        self.assertIn("Read-only file system", podman("exec", self.container, "/bin/sh", "-c", "touch /usr/local/bin/x", code=1))
        podman("exec", self.container, "/bin/sh", "-c", "touch /var/lib/distild/x")
        self.assertEqual(inspect(self.container, ".HostConfig.Memory"), str(512 << 20))
        self.assertEqual(json.loads(podman("exec", self.container, "distild", "version", "--json"))["cpus"], 1)
        podman("pod", "stop", "--time", "45", self.pod, timeout=90)
        self.assertEqual(inspect(self.container, ".State.ExitCode"), "0")
        lines = podman("logs", self.container).splitlines()
        self.assertIn("drained, ended", json.loads(lines[-1])["message"])  # JSON, as the ConfigMap has it


if __name__ == "__main__":
    unittest.main()
