#!/usr/bin/env python3
"""What a running `distild serve` tells an operator: metrics, request ids, logs."""

import unittest

import exposition
from harness import SOURCE, main
from serving import ServeCase


class Metrics(ServeCase):
    def scrape(self, server):
        connection = server.connect()
        connection.request("GET", "/metrics")
        page = connection.getresponse().read().decode()
        connection.close()
        return page, exposition.parse(page)

    def test_the_page_is_well_formed_and_only_its_values_change(self):
        server = self.start()
        first = self.scrape(server)[1]
        for text in ("good", "bad", "", "so so " * 400):
            server.ask("POST", "/predict", {"text": text})
        server.ask("POST", "/predict", {"inputs": [["a"], ["b", "c"]]})
        server.ask("GET", "/" + "x" * 100)
        second = self.scrape(server)[1]
        self.assertEqual(list(first), list(second))
        predicted = [value for (name, _), value in second.items() if name == "distild_predictions_total"]
        self.assertEqual(sum(predicted), 5)
        counted = sum(value for (name, _), value in second.items() if name == "distild_requests_total")
        self.assertGreaterEqual(counted, 6)
        self.assertGreater(second["distild_model_load_seconds", (("model", "default"),)], 0)
        self.assertEqual(server.stop(), 0)

    def test_counters_never_fall(self):
        server = self.start("--http-threads", "3")
        before = {}
        for i in range(20):
            server.ask("POST", "/predict", {"text": f"text {i}"})
            now = self.scrape(server)[1]
            for key, value in now.items():
                if key[0].endswith(("_total", "_bucket", "_count", "_sum")):
                    self.assertGreaterEqual(value, before.get(key, 0), key)
            before = now
        self.assertEqual(server.stop(), 0)

    def test_every_metric_is_documented(self):
        server = self.start()
        families = {line.split(" ")[2] for line in self.scrape(server)[0].split("\n") if line.startswith("# TYPE ")}
        text = (SOURCE / "docs" / "operations.md").read_text(encoding="utf-8")
        self.assertEqual([name for name in sorted(families) if f"`{name}`" not in text], [])
        self.assertEqual(server.stop(), 0)


class Reader(unittest.TestCase):
    """The strict reader finds what it is there to find."""

    def test_faults(self):
        good = '# HELP a_total A.\n# TYPE a_total counter\na_total{x="\\"y\\\\"} 1\n'
        exposition.parse(good)
        for bad in (
            good[:-1], good + good, good + 'a_total{x="\\"y\\\\"} 2\n', good.replace("_total", "_ms_total"),
            good.replace("_total", ""), good.replace("# HELP a_total A.\n", ""), good.replace(" 1\n", " -1\n"),
            good.replace(" 1\n", "\n"), good.replace('{x="', '{x="\n'), good.replace("counter", "gauge"),
            "# HELP h H.\n# TYPE h histogram\n" + 'h_bucket{le="1"} 2\nh_bucket{le="+Inf"} 1\nh_sum 1\nh_count 1\n',
            "# HELP h H.\n# TYPE h histogram\n" + 'h_bucket{le="1"} 1\nh_sum 1\nh_count 1\n',
            "# HELP h H.\n# TYPE h histogram\n" + 'h_bucket{le="+Inf"} 1\nh_sum 1\nh_count 2\n',
        ):
            with self.assertRaises((exposition.Fault, ValueError), msg=bad):
                exposition.parse(bad)


if __name__ == "__main__":
    main()
