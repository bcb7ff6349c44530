#!/usr/bin/env python3
"""The estimator against the simple rules at the size of MovieLens-100K, over several generated worlds."""

import json
import tempfile
import unittest

import movielens_data
from harness import main, run


class Worlds(unittest.TestCase):
    def evaluate(self, **how):
        with tempfile.TemporaryDirectory(prefix="distild-recommend-") as folder:
            movielens_data.write(folder, **how)
            return json.loads(run("recommend", "evaluate", folder, "--json", "--encoder", "none")[0])["divisions"]["time"]["rules"]

    def test_with_structure(self):
        for seed in range(5):
            rules = self.evaluate(seed=seed)
            for rule in ("global_mean", "item_mean", "popularity"):
                self.assertLess(rules["estimator"]["rmse"], rules[rule]["rmse"], (seed, rule))
                self.assertGreater(rules["estimator"]["ndcg_at_10"], rules[rule]["ndcg_at_10"], (seed, rule))

    def test_without(self):
        for seed in range(5):
            for size in ({}, {"users": 200, "films": 300, "scores": 8000}):
                rules = self.evaluate(seed=seed, structure=False, **size)
                self.assertLessEqual(rules["estimator"]["rmse"], 1.01 * rules["item_mean"]["rmse"], (seed, size))


if __name__ == "__main__":
    main()
