#!/usr/bin/env python3
"""The recommender end to end, as its users would: log in, ask, score, and find that it was learned, whatever ends the server."""

import concurrent.futures
import contextlib
import http.client
import json
import pathlib
import resource
import signal
import sqlite3
import tempfile
import unittest

from harness import MODEL, SANITIZED, SOURCE, main, run, wait_until
from serving import ServeCase

PASSWORD = "correct horse"
OCCUPATIONS = ("administrator artist doctor educator engineer entertainment executive healthcare homemaker lawyer librarian "
               "marketing none other programmer retired salesman scientist student technician writer").split()


class Client:
    """A user who has logged in."""

    def __init__(self, server):
        self.server = server
        self.connection = server.connect()
        status, answer = self.ask("/api/login", {"session_password": PASSWORD}, token=None)
        assert status == 200, answer
        self.token = answer["access_token"]

    def ask(self, path, body, token=True):
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = "Bearer " + (self.token if token is True else token)
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.connection.request("POST", path, content, headers)
        response = self.connection.getresponse()
        answer = response.read()
        return response.status, json.loads(answer)

    def recommend(self, age=30, gender="F", occupation="artist", **more):
        status, answer = self.ask("/api/recommend", {"age": age, "gender": gender, "occupation": occupation, **more})
        assert status == 200, answer
        assert list(answer) == ["recommendations", "id"], answer
        return answer["recommendations"], answer["id"]

    def score(self, id, movie, score):
        return self.ask("/api/recommend/score", {"id": id, "movie": movie, "score": score})

    def close(self):
        self.connection.close()


def write_films(path):
    """Films of every mixture of kind, place and time, as items of a catalogue."""
    rows = [(f"The {kind} of {place}, {time}", f"A {kind} set in {place}, in {time}.")
            for kind in ("comedy", "war story", "musical", "western", "horror tale", "children's film")
            for place in ("a harbour town", "the mountains", "a big city", "a village", "outer space")
            for time in ("spring", "the past", "the future", "wartime")]
    path.write_text("id\ttext\n" + "".join("\t".join(row) + "\n" for row in rows))


class Recommender(ServeCase):
    @classmethod
    def setUpClass(cls):
        cls.items = tempfile.TemporaryDirectory(prefix="distild-recommender-")
        cls.addClassCleanup(cls.items.cleanup)
        cls.catalogue = pathlib.Path(cls.items.name) / "films.catalogue"
        films = cls.catalogue.with_suffix(".tsv")
        write_films(films)
        cls.encoder = SOURCE / "weights" / "all-minilm-l6-v2.distild"
        if SANITIZED:  # a small one, as the program is many times slower then
            cls.encoder = cls.catalogue.with_suffix(".distild")
            run("convert", SOURCE / "tests" / "golden" / "tiny-outputs" / "bert-mean", "-o", cls.encoder)
        run("catalogue", "build", films, "-o", cls.catalogue, "--model", cls.encoder)

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="distild-recommender-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.state = self.folder / "state"
        self.clients = []
        self.addCleanup(lambda: [client.close() for client in self.clients])

    def serve(self, *options):
        return self.start("--state-dir", str(self.state), "--model", f"reviews={MODEL}", "--model", f"encoder={self.encoder}",
                          "--catalogue", str(self.catalogue), *options, SESSION_PASSWORD=PASSWORD)

    def log_in(self, server):
        client = Client(server)
        self.clients.append(client)
        return client

    def ok(self, answer):
        self.assertEqual(answer, (200, "Ok"))

    def test_another_catalogue_comes_while_people_ask_and_score(self):
        catalogue = self.folder / "films.catalogue"
        catalogue.write_bytes(self.catalogue.read_bytes())
        server = self.start("--state-dir", str(self.state), "--model", f"reviews={MODEL}", "--model", f"encoder={self.encoder}",
                            "--catalogue", str(catalogue), SESSION_PASSWORD=PASSWORD)

        def reload(outcome):
            server.reload(outcome)

        def use(user, ends):
            """Asks and scores until told to end; says what was scored best last, and how often all went well."""
            rounds = 0
            while not ends() or rounds == 0:
                movies, id = user.recommend(max_recs=5)
                status, answer = user.score(id, movies[0], 5)
                if status == 400:  # a film that has gone since
                    self.assertIn("no longer in the catalogue", answer["error"])
                else:
                    self.ok((status, answer))
                self.assertEqual(user.ask("/api/similar", {"text": "a war story in the mountains"})[0], 200)
                rounds += 1
            return rounds

        user = self.log_in(server)
        movies, id = user.recommend(max_recs=100)
        kept = movies[40]
        for film, score in ((kept, 5), (movies[0], 0)):
            self.ok(user.score(id, film, score))
        changed = self.folder / "changed.tsv"
        write_films(changed)
        lines = changed.read_text().splitlines()
        changed.write_text("\n".join([lines[0], *(line for line in lines[1:] if "outer space" not in line or line.startswith(kept)), "The New One\tA film that came late."]) + "\n")
        stop = []
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            clients = [pool.submit(use, self.log_in(server), lambda: stop) for _ in range(4)]
            try:
                run("catalogue", "build", changed, "-o", catalogue, "--model", self.encoder)
                reload("the catalogue was replaced by")
                movies, id = user.recommend(max_recs=100)
                catalogue.with_suffix(".bad").write_bytes(catalogue.read_bytes()[:-1] + b"x")
                catalogue.with_suffix(".bad").replace(catalogue)
                reload("the catalogue was not replaced and goes on as it was")
            finally:
                stop.append(True)
            self.assertGreater(sum(client.result() for client in clients), 0)
        found = user.ask("/api/similar", {"id": "The New One", "top_k": 1000})[1]["items"]
        names = {item["id"] for item in found}
        self.assertEqual({name for name in names if "outer space" in name} - {kept}, set())
        self.assertLess(movies.index(kept), 40)  # what was scored before counts still
        self.ok(user.score(id, kept, 4))
        metrics = user.server.connect()
        metrics.request("GET", "/metrics")
        text = metrics.getresponse().read().decode()
        metrics.close()
        self.assertIn('distild_reloads_total{what="catalogue",outcome="success"} 1\n', text)
        self.assertIn('distild_reloads_total{what="catalogue",outcome="failure"} 1\n', text)
        self.assertEqual(server.stop(), 0)

    def test_what_is_scored_is_learned_and_survives_kill_9(self):
        server = self.serve()
        user = self.log_in(server)
        before, id = user.recommend(max_recs=100)
        self.assertEqual(len(set(before)), 100)
        loved, hated = before[60], before[0]
        for end in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
            for _ in range(3):
                movies, again = user.recommend(max_recs=100)
                for movie, score in ((loved, 5), (hated, 0)):
                    if movie in movies:
                        self.ok(user.score(again, movie, score))
            server.stop(end)
            server = self.serve()
            user = self.log_in(server)
            movies, _ = user.recommend(max_recs=100)
            self.assertEqual(movies[0], loved)
            self.assertNotIn(hated, movies[:20])
            self.ok(user.score(id, loved, 5))  # the id of a server that is no more

    @unittest.skipIf(SANITIZED, "the small encoder knows no words")
    def test_who_somebody_is_matters_before_anything_is_scored(self):
        user = self.log_in(self.serve())
        young, _ = user.recommend(age=9, gender="M", occupation="student")
        old, _ = user.recommend(age=90, gender="F", occupation="retired")
        self.assertEqual(user.recommend(age=9, gender="M", occupation="student")[0][:9], young[:9])
        self.assertNotEqual(young[:9], old[:9])

    def test_nothing_that_was_answered_ok_is_lost(self):
        """Killed again and again in the middle of scores; the database is asked afterwards."""
        kept = []

        def score_on(user, id, movies):
            for place, movie in enumerate(movies):
                try:
                    answer = user.score(id, movie, place % 6)
                except (OSError, http.client.HTTPException, ValueError):
                    return
                self.ok(answer)
                kept.append((movie, place % 6))

        for turn in range(1, 5):
            server = self.serve()
            user = self.log_in(server)
            movies, id = user.recommend(max_recs=90)
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                scoring = pool.submit(score_on, user, id, movies)
                wait_until(lambda: len(kept) >= 8 * turn)
                server.stop(signal.SIGKILL)
                scoring.result()
        self.assertEqual(self.serve().stop(), 0)
        with contextlib.closing(sqlite3.connect(self.state / "recommender.db")) as database:
            rows = database.execute("SELECT item, score FROM score").fetchall()
        self.assertGreaterEqual(len(kept), 32)
        # of each turn one score may have been kept and not answered
        self.assertLessEqual(len(kept), len(rows))
        self.assertLessEqual(len(rows), len(kept) + 4)
        for row in kept:
            self.assertIn(row, rows)

    def test_profiles_are_checked(self):
        user = self.log_in(self.serve())
        good = {"age": 24, "gender": "M", "occupation": "technician"}
        for age in (0, 130, 24.0):
            self.assertEqual(user.ask("/api/recommend", {**good, "age": age})[0], 200)
        for gender in "MFO":
            self.assertEqual(user.ask("/api/recommend", {**good, "gender": gender})[0], 200)
        for occupation in OCCUPATIONS:
            self.assertEqual(user.ask("/api/recommend", {**good, "occupation": occupation})[0], 200)
        for most in (1, 7, 100):
            self.assertEqual(len(user.ask("/api/recommend", {**good, "max_recs": most})[1]["recommendations"]), most)
        self.assertEqual(len(user.ask("/api/recommend", {**good, "max_recs": None})[1]["recommendations"]), 10)
        wrong = {"age": (-1, 131, 24.5, "24", True, None, [24], 1e300), "gender": ("m", "", "X", 1, None, ["M"]),
                 "occupation": ("Artist", "", "wizard", 3, None, {}), "max_recs": (0, 101, -5, 2.5, "10", False, [])}
        for field, values in wrong.items():
            for value in values:
                status, answer = user.ask("/api/recommend", {**good, field: value})
                self.assertEqual((status, answer.get("field"), answer["error_type"]), (400, field, "Validation"), (field, value))
        for age, told in (("130.0000000001", "130.0000000001"), ("131.0", "131"), ("1e300", "1e+300"), ("1e999", "a number too large"),
                          ("-1e999", "a number too far below 0")):
            error = user.ask("/api/recommend", f'{{"age":{age},"gender":"M","occupation":"none"}}'.encode())[1]["error"]
            self.assertEqual(error, f"`age` must be a whole number from 0 to 130, not {told}")
        for field in good:
            status, answer = user.ask("/api/recommend", {name: value for name, value in good.items() if name != field})
            self.assertEqual((status, answer["field"]), (400, field))
            self.assertIn("missing", answer["error"])
        for body in (b"", b"[]", b"null", b"{", b'{"age":1e999,"gender":"M","occupation":"none"}', b'{"age":1,"age":2}',
                     b'{"age":NaN,"gender":"M","occupation":"none"}'):
            self.assertEqual(user.ask("/api/recommend", body)[0], 400, body)
        self.assertIn("librarian", user.ask("/api/recommend", {**good, "occupation": "x"})[1]["error"])

    def test_scores_are_checked(self):
        user = self.log_in(self.serve())
        movies, id = user.recommend(max_recs=5)
        others, _ = user.recommend(max_recs=100)
        other = next(movie for movie in others if movie not in movies)
        for score in (0, 5, 2.5, 4):
            self.ok(user.score(id, movies[0], score))
        for score in (-0.1, 5.1, "5", None, True, [], 1e300):
            status, answer = user.score(id, movies[0], score)
            self.assertEqual((status, answer["field"]), (400, "score"), score)
        self.assertEqual(user.ask("/api/recommend/score", json.dumps({"id": id, "movie": movies[0]}).encode()[:-1] + b',"score":1e999}')[0], 400)
        for movie in (other, "no such film", "", None, 7):
            status, answer = user.score(id, movie, 3)
            self.assertEqual((status, answer["field"]), (400, "movie"), movie)
        tampered = id[:30] + ("A" if id[30] != "A" else "B") + id[31:]
        for wrong in (tampered, id[:-1], id + "A", "", "x" * 2000, None, 5):
            status, answer = user.score(wrong, movies[0], 3)
            self.assertEqual((status, answer["field"]), (400, "id"), wrong)
        for field in ("id", "movie", "score"):
            body = {"id": tampered, "movie": other, "score": 3}
            del body[field]
            status, answer = user.ask("/api/recommend/score", body)
            self.assertEqual((status, answer["field"]), (400, field))
        for body in (b"", b"[]", b"{}"):
            self.assertEqual(user.ask("/api/recommend/score", body)[0], 400)

    def test_only_who_has_logged_in_may_ask(self):
        server = self.serve()
        user = self.log_in(server)
        movies, id = user.recommend()
        for path, body in (("/api/recommend", {"age": 1, "gender": "M", "occupation": "none"}),
                           ("/api/recommend/score", {"id": id, "movie": movies[0], "score": 1})):
            for token in (None, "a.b.c", user.token + "A"):
                self.assertEqual(user.ask(path, body, token=token)[0], 401)
            self.assertEqual(server.ask("GET", path)[0], 405)
        again = self.start("--state-dir", str(self.folder / "other"), "--catalogue", str(self.catalogue))  # without a password
        self.assertEqual(again.ask("POST", "/api/recommend", {"age": 1, "gender": "M", "occupation": "none"})[0], 401)

    def test_without_a_catalogue_the_sample_is_recommended(self):
        server = self.start(SESSION_PASSWORD=PASSWORD)
        status, answer = self.log_in(server).ask("/api/recommend", {"age": 1, "gender": "M", "occupation": "none", "max_recs": 100})
        self.assertEqual((status, len(set(answer["recommendations"]))), (200, 100))
        sample = (SOURCE / "weights" / "sample-catalogue.tsv").read_text(encoding="utf-8").splitlines()[1:]
        self.assertLessEqual(set(answer["recommendations"]), {line.split("\t")[0] for line in sample})

    def test_without_an_encoder_traits_and_scores_are_enough(self):
        server = self.start("--state-dir", str(self.state), "--catalogue", str(self.catalogue), SESSION_PASSWORD=PASSWORD)
        user = self.log_in(server)
        movies, id = user.recommend(max_recs=100)
        loved = movies[50]
        for _ in range(3):
            self.ok(user.score(user.recommend(max_recs=100)[1] if loved not in movies else id, loved, 5))
        self.assertEqual(user.recommend(max_recs=100)[0][0], loved)

    def test_what_was_done_is_counted(self):
        server = self.serve()
        user = self.log_in(server)
        movies, id = user.recommend()
        self.ok(user.score(id, movies[0], 1))
        self.ok(user.score(id, movies[0], 2))
        self.ok(user.score(id, movies[1], 3))
        connection = server.connect()
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        for line in ("distild_recommendations_total 1", 'distild_recommender_scores_total{outcome="kept"} 3',
                     'distild_recommender_scores_total{outcome="lost"} 0', "distild_recommender_scores_learned 2"):
            self.assertIn(f"\n{line}\n", text)

    def test_many_clients_at_once(self):
        server = self.serve()
        first = self.log_in(server)

        def visit(number):
            client = Client.__new__(Client)
            client.server, client.connection, client.token = server, server.connect(), first.token
            try:
                for turn in range(2 if SANITIZED else 5):
                    movies, id = client.recommend(age=number * 3, occupation=OCCUPATIONS[number % 21], max_recs=10)
                    assert len(set(movies)) == 10
                    for place in range(3):
                        answer = client.score(id, movies[place], (number + turn + place) % 6)
                        assert answer == (200, "Ok"), answer
            finally:
                client.close()
            return number

        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            self.assertEqual(sorted(pool.map(visit, range(32))), list(range(32)))
        self.assertEqual(server.stop(), 0)

    def test_a_full_disk_is_answered_and_survived(self):
        server = self.serve()
        user = self.log_in(server)
        movies, id = user.recommend(max_recs=100)
        for movie in movies[:5]:
            self.ok(user.score(id, movie, 3))
        limit = (self.state / "recommender.db-wal").stat().st_size
        before = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        answers = [user.score(id, movie, 1) for movie in movies[:10]]
        full = [answer for status, answer in answers if status == 503]
        self.assertTrue(full)
        self.assertTrue(all("could not be written" in answer["error"] and str(self.state) not in answer["error"] for answer in full))
        self.assertEqual({status for status, _ in answers} - {200}, {503})
        self.assertEqual(user.ask("/api/recommend", {"age": 1, "gender": "M", "occupation": "none"})[0], 200)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, before)
        self.ok(user.score(id, movies[0], 2))
        server.stop(signal.SIGKILL)
        self.log_in(self.serve()).recommend()

    def test_what_it_cannot_start_with_is_said(self):
        server = self.serve()
        self.assertEqual(server.stop(), 0)
        file = self.state / "recommender.db"
        good = file.read_bytes()
        file.write_bytes(good[:4096] + bytes(len(good) - 4096))
        options = ("serve", "--port", "0", "--model", MODEL, "--catalogue", self.catalogue, "--state-dir", self.state)
        error = run(*options, code=1)[1]
        self.assertIn(str(file), error)
        self.assertIn("damaged", error)
        file.write_bytes(good)
        template = self.folder / "template"
        template.write_text("for {nobody}\n")
        self.assertIn("{age}, {gender} and {occupation}", run(*options, "--profile-template", template, code=1)[1])
        template.write_text("A {gender} of {age}, {occupation}, wants\n")
        self.log_in(self.serve("--profile-template", str(template))).recommend()


if __name__ == "__main__":
    main()
