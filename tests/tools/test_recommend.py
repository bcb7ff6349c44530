#!/usr/bin/env python3
"""`distild recommend evaluate` end to end, on scores in MovieLens' format that are generated here."""

import json
import math
import pathlib
import random
import tempfile
import unittest

import movielens_data
from harness import MODEL, main, run


class Evaluate(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="distild-recommend-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def evaluate(self, *options):
        return json.loads(run("recommend", "evaluate", self.folder, "--json", *(options or ("--encoder", "none")))[0])

    def assert_beats_the_rules(self, rules):
        for rule in ("global_mean", "item_mean", "popularity"):
            self.assertLess(rules["estimator"]["rmse"], rules[rule]["rmse"], rule)
            self.assertGreater(rules["estimator"]["ndcg_at_10"], rules[rule]["ndcg_at_10"], rule)

    def test_it_beats_the_rules_where_taste_has_a_structure(self):
        movielens_data.write(self.folder, seed=3, users=250, films=300, scores=14000, folds=True)
        by_time = self.evaluate("--split", "time", "--encoder", "none")
        self.assertEqual((by_time["users"], by_time["films"]), (250, 300))
        self.assert_beats_the_rules(by_time["divisions"]["time"]["rules"])
        by_fold = self.evaluate()["divisions"]["folds"]
        self.assertEqual(by_fold["parts"], 5)
        self.assert_beats_the_rules(by_fold["rules"])

    def test_it_loses_little_where_there_is_none(self):
        movielens_data.write(self.folder, seed=4, users=300, films=400, scores=20000, structure=False)
        rules = self.evaluate()["divisions"]["time"]["rules"]
        self.assertLessEqual(rules["estimator"]["rmse"], 1.01 * rules["item_mean"]["rmse"])

    def test_the_figures_are_what_they_say(self):
        """RMSE and NDCG@10 of the rules, computed here from the files."""
        movielens_data.write(self.folder, seed=5, users=80, films=60, scores=2000)
        rows = [tuple(map(int, line.split("\t"))) for line in (self.folder / "u.data").read_text().splitlines()]
        rows.sort(key=lambda row: (row[3], row[0], row[1]))
        train, test = rows[:len(rows) - len(rows) // 5], rows[len(rows) - len(rows) // 5:]
        mean = sum(row[2] for row in train) / len(train)
        of_item = {}
        for _, item, score, _ in train:
            of_item.setdefault(item, []).append(score)
        means = {item: sum(scores) / len(scores) for item, scores in of_item.items()}
        found = self.evaluate("--split=time", "--encoder=none")["divisions"]["time"]
        self.assertEqual((found["learned"], found["predicted"]), (len(train), len(test)))
        for rule, predict in (("global_mean", lambda row: mean), ("item_mean", lambda row: means.get(row[1], mean))):
            rmse = math.sqrt(sum((predict(row) - row[2]) ** 2 for row in test) / len(test))
            self.assertAlmostEqual(found["rules"][rule]["rmse"], rmse, 6)
        table = run("recommend", "evaluate", self.folder, "--encoder", "none")[0]
        self.assertRegex(table, rf"(?m)^item mean +{found['rules']['item_mean']['rmse']:.4f} +[0-9.]{{6}}$")
        rng = random.Random(1)
        users = {}
        for row in test:
            users.setdefault(row[0], []).append((means.get(row[1], mean), row[2]))
        users = [pairs for pairs in users.values() if len({score for _, score in pairs}) > 1]

        def gain(scores):
            return sum((2 ** score - 1) / math.log2(place + 2) for place, score in enumerate(scores[:10]))

        def ranked(pairs):
            """The mean over orders of those predicted alike."""
            total = 0
            for _ in range(200):
                total += gain([score for _, _, score in sorted((-p, rng.random(), score) for p, score in pairs)])
            return total / 200 / gain(sorted((score for _, score in pairs), reverse=True))

        self.assertEqual(found["rules"]["item_mean"]["users_ranked"], len(users))
        expected = sum(map(ranked, users)) / len(users)
        self.assertAlmostEqual(found["rules"]["item_mean"]["ndcg_at_10"], expected, 2)

    def test_texts_say_who_likes_films_that_nobody_scored(self):
        movielens_data.write(self.folder, seed=7, users=150, films=200, scores=7000)
        rules = self.evaluate("--split", "time")["divisions"]["cold_start"]["rules"]
        with_texts, without = rules["estimator_with_texts"], rules["estimator"]
        self.assertLess(with_texts["rmse"], without["rmse"])
        self.assertGreater(with_texts["ndcg_at_10"], without["ndcg_at_10"] + 0.02)
        self.assertIn("has a head", run("recommend", "evaluate", self.folder, "--encoder", MODEL, code=1)[1])

    def test_what_is_wrong_is_named(self):
        movielens_data.write(self.folder, seed=6, users=20, films=30, scores=300)
        good = {path.name: path.read_bytes() for path in self.folder.iterdir()}
        item = good["u.item"].splitlines(True)[0]
        for name, content, message in (
                ("u.user", b"", "u.user is empty"),
                ("u.user", b"1|24|M|technician\n", "u.user, line 1: expected user|age|gender|occupation|zip code"),
                ("u.user", b"1|24|M|technician|1\n2|131|M|technician|1\n", "u.user, line 2, field 2: expected an age from 0 to 130, not '131'"),
                ("u.user", b"1|24|m|technician|1\n", "line 1, field 3: expected M, F or O, not 'm'"),
                ("u.user", b"1|24|M|wizard|1\n", "line 1, field 4: expected one of MovieLens' 21 occupations, not 'wizard'"),
                ("u.user", b"1|24|M|other|1\n1|24|M|other|1\n", "u.user: the number 1 is there twice"),
                ("u.user", b"0|24|M|other|1\n", "field 1: expected the number of a user, not '0'"),
                ("u.user", b"99999999999999999999|24|M|other|1\n", "field 1: expected the number of a user"),
                ("u.item", item.rsplit(b"|", 1)[0] + b"\n", "u.item, line 1: expected film|title|"),
                ("u.item", item.rsplit(b"|", 1)[0] + b"|2\n", "u.item, line 1, field 24: expected 0 or 1, not '2'"),
                ("u.item", b"1|A\0B|" + item.split(b"|", 2)[2], "u.item, line 1: expected text, and no NUL in it"),
                ("u.item", b"1||" + item.split(b"|", 2)[2], "field 2: expected a title"),
                ("u.data", b"1\t2\t3\n", "u.data, line 1: expected user, film, score and time"),
                ("u.data", b"1\t2\t3\t4\n\n1\t31\t3\t4\n", "u.data, line 3, field 2: expected the number of a film in u.item, not '31'"),
                ("u.data", b"21\t1\t3\t4\n", "field 1: expected the number of a user in u.user"),
                ("u.data", b"1\t2\t6\t4\n", "field 3: expected a score from 0 to 5, not '6'"),
                ("u.data", b"1\t2\t3\t-4\n", "field 4: expected a time in seconds since 1970"),
                ("u.data", b"\n", "there are no scores"),
                ("u.data", b"1\t2\t3\t4\n", "too few scores to divide")):
            (self.folder / name).write_bytes(content)
            self.assertIn(message, run("recommend", "evaluate", self.folder, code=1)[1])
            (self.folder / name).write_bytes(good[name])
        (self.folder / "u.item").unlink()
        self.assertIn("u.item: No such file", run("recommend", "evaluate", self.folder, code=1)[1])
        self.assertIn("u1.base: No such file", run("recommend", "evaluate", self.restored(good), "--split", "folds", code=1)[1])
        run("recommend", "measure", self.folder, code=2)
        run("recommend", "evaluate", code=2)

    def restored(self, files):
        for name, content in files.items():
            (self.folder / name).write_bytes(content)
        return self.folder


if __name__ == "__main__":
    main()
