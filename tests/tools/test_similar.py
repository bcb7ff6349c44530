"""POST /api/similar, end to end: by text, vector and id, of a small catalogue and of a large one, and what is refused."""

import json
import math
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import threading
import time

from encoder import tiny_encoder
from harness import MODEL, SOURCE, main, run
from serving import ServeCase

GENRES = ["good film", "bad story", "cold actor", "warm scene", "dull plot", "great love", "short music", "long end"]
WIDTH = 32  # of the tiny encoder


def unit(vector):
    length = math.sqrt(sum(x * x for x in vector))
    return [x / length for x in vector]


class SimilarCase(ServeCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        cls.encoder = tiny_encoder(cls.folder / "encoder")
        cls.small = cls.folder / "small.catalogue"
        items = cls.folder / "items.tsv"
        items.write_text("id\ttext\tyear\n" + "".join(f"{text.split()[1]} {i}\tthe {text} was {word}\t{1990 + i}\n"
                         for i, (text, word) in enumerate((text, word) for text in GENRES for word in ("fun", "terrible", "in the end"))))
        run("catalogue", "build", items, "-o", cls.small, "-m", cls.encoder, "--dtype", "fp32", "--precision", "fp32")

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def serve(self, catalogue=None, *options):
        return self.start("--model", f"encoder={self.encoder}", "--model", f"sentiment={MODEL}", "--catalogue", str(catalogue or self.small), *options)

    def ask(self, server, body, status=200):
        got, _, answer = server.ask("POST", "/api/similar", body)
        self.assertEqual(got, status, answer)
        return answer


class Small(SimilarCase):
    def test_a_text(self):
        server = self.serve()
        found, _ = run("catalogue", "search", self.small, "the warm scene", "-m", self.encoder, "-k", "4", "--json", "--precision", "fp32")
        expected = [json.loads(line) for line in found.splitlines()]
        answer = self.ask(server, {"text": "the warm scene", "top_k": 4})
        self.assertEqual([item["id"] for item in answer["items"]], [item["id"] for item in expected])
        for item, other in zip(answer["items"], expected):
            self.assertEqual(list(item), ["id", "text", "fields", "score"])
            self.assertAlmostEqual(item["score"], other["score"], delta=1e-5)
            self.assertEqual((item["text"], item["fields"]), (other["text"], {"year": other["year"]}))
        self.assertEqual(len(self.ask(server, {"text": "the film"})["items"]), 10)
        self.assertTrue(self.ask(server, {"text": "film " * 100})["truncated"])
        self.assertEqual(self.ask(server, {"text": "the film", "model": "encoder"}), self.ask(server, {"text": "the film"}))

    def test_an_item_and_its_vector(self):
        server = self.serve()
        everything = self.ask(server, {"id": "scene 9", "top_k": 1000})["items"]
        self.assertEqual(len(everything), 23)
        self.assertNotIn("scene 9", [item["id"] for item in everything])
        self.assertEqual(sorted(everything, key=lambda item: -item["score"]), everything)
        status, _, (vector,) = server.ask("POST", "/embed", {"inputs": "the warm scene was fun"})
        self.assertEqual(status, 200)
        answer = self.ask(server, {"vector": vector, "top_k": 3})["items"]
        self.assertEqual(answer[0]["id"], "scene 9")
        self.assertAlmostEqual(answer[0]["score"], 1, delta=1e-4)
        self.assertEqual([item["id"] for item in answer[1:]], [item["id"] for item in everything[:2]])
        longer = self.ask(server, {"vector": [1000 * x for x in vector], "top_k": 3})["items"]
        self.assertEqual([item["id"] for item in longer], [item["id"] for item in answer])

    def test_what_is_wrong(self):
        server = self.serve()
        vector = [1.0] * WIDTH
        for body, status, kind, field, message in (
            ({}, 400, "Validation", "text", "expected one of `text`, `vector` and `id`"),
            ({"text": "a", "id": "b"}, 400, "Validation", "id", "give no more than one of"),
            ({"text": "a", "vector": vector}, 400, "Validation", "vector", "give no more than one of"),
            ({"text": 5}, 400, "Validation", "text", "`text` must be a string, not a number"),
            ({"text": ""}, 400, "Empty", "text", "`text` is empty"),
            ({"text": " \n"}, 400, "Empty", "text", "`text` is empty"),
            ({"text": "a", "model": "sentiment"}, None, None, None, None),
            ({"text": "a", "model": "other"}, 404, "NotFound", "model", "no model named"),
            ({"text": "a", "model": 1}, 400, "Validation", "model", "`model` must be a string"),
            ({"id": 7}, 400, "Validation", "id", "`id` must be a string"),
            ({"id": "sofa"}, 404, "NotFound", "id", 'there is no item with the id "sofa"'),
            ({"vector": "x"}, 400, "Validation", "vector", "`vector` must be an array of 32 numbers, not a string"),
            ({"vector": []}, 400, "Validation", "vector", "`vector` must have 32 numbers, as the items of the catalogue do. Given: 0"),
            ({"vector": vector + [1]}, 400, "Validation", "vector", "Given: 33"),
            ({"vector": vector[:-1] + ["1"]}, 400, "Validation", "vector", "`vector[31]` must be a number, not a string"),
            ({"vector": vector[:-1] + [None]}, 400, "Validation", "vector", "`vector[31]` must be a number, not null"),
            ({"vector": [1e39] + vector[1:]}, 400, "Validation", "vector", "`vector[0]` is beyond what a float holds"),
            ({"vector": [0] * WIDTH}, 400, "Validation", "vector", "all zeros"),
            *(({"id": "scene 9", "top_k": top_k}, 400, "Validation", "top_k", "`top_k` must be a whole number from 1 to 1000")
              for top_k in (0, -1, 1001, 1.5, "3", True, [])),
            ([], 400, "Validation", None, "must be a JSON object"),
            (b"{\"vector\":[NaN]}", 400, "Validation", None, "invalid JSON"),
        ):
            with self.subTest(body=str(body)[:60]):
                got, _, answer = server.ask("POST", "/api/similar", body)
                if status is None:  # a model of another kind
                    self.assertIn(got, (404, 424), answer)
                    continue
                self.assertEqual(got, status, answer)
                self.assertEqual(answer["error_type"], kind)
                self.assertEqual(answer.get("field"), field)
                self.assertIn(message, answer["error"])
        self.assertEqual(len(self.ask(server, {"id": "scene 9", "top_k": None})["items"]), 10)
        status, _, _ = server.ask("GET", "/api/similar")
        self.assertEqual(status, 405)

    def test_catalogues_of_another_width(self):
        other = self.folder / "other.catalogue"
        (self.folder / "two.tsv").write_text("id\na\nb\n")
        (self.folder / "vectors.tsv").write_text("a\t1\t0\nb\t1\t1\n")
        run("catalogue", "build", self.folder / "two.tsv", "-o", other, "--vectors", self.folder / "vectors.tsv")
        server = self.serve(other)
        self.assertEqual(self.ask(server, {"vector": [1, 0.9]})["items"][0]["id"], "b")
        self.assertEqual(list(self.ask(server, {"id": "a"})["items"][0]), ["id", "score"])
        answer = self.ask(server, {"text": "a"}, 424)
        self.assertIn("makes vectors of 32 values and the catalogue has 2: ask by `vector` or `id`", answer["error"])

    def test_a_catalogue_that_cannot_be_opened(self):
        for path, message in ((self.folder / "none", "none"), (self.encoder / "model.safetensors", "expected a catalogue")):
            out, err = run("serve", "--port", "0", "--model", MODEL, "--catalogue", path, code=1)
            self.assertIn(message, err)


class Sample(ServeCase):
    """What a server answers from with nothing configured."""

    def test_a_server_with_its_defaults(self):
        server = self.start(DISTILD_MODEL="")
        status, _, answer = server.ask("POST", "/api/similar", {"text": "a nurse in wartime", "top_k": 3})
        self.assertEqual(status, 200, answer)
        self.assertEqual(answer["items"][0]["id"], "The Paper Harbour")
        self.assertEqual(answer["items"][0]["fields"]["genre"], "war")
        status, _, answer = server.ask("POST", "/api/similar", {"id": "The Paper Harbour"})
        self.assertEqual((status, len(answer["items"])), (200, 10))
        self.assertNotIn("another encoder", "".join(server.log))
        self.assertEqual(server.stop(), 0)

    def test_the_files_belong_together(self):
        weights = SOURCE / "weights"
        table = (weights / "sample-catalogue.tsv").read_text()
        made = subprocess.run([sys.executable, "-B", str(weights / "make_sample_catalogue.py")], capture_output=True, check=True, text=True)
        self.assertEqual(made.stdout, table)
        facts = json.loads(run("catalogue", "inspect", weights / "sample.catalogue", "--json", "--verify")[0])
        encoder = json.loads(run("inspect", weights / "all-minilm-l6-v2.distild", "--json")[0])
        self.assertEqual((facts["items"], facts["encoder"]), (300, encoder["digest"]))
        found, _ = run("catalogue", "search", weights / "sample.catalogue", "--id", "The Paper Harbour", "-k", "1000", "--json")
        items = {item["id"]: item for item in map(json.loads, found.splitlines())}
        for line in table.splitlines()[1:]:
            title, text, genre, year = line.split("\t")
            if title != "The Paper Harbour":
                self.assertEqual((items[title]["text"], items[title]["genre"], items[title]["year"]), (text, genre, year))


class Large(SimilarCase):
    """A catalogue that is searched by a thread of its own."""

    ITEMS = 40000

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.large = cls.folder / "large.catalogue"
        source = random.Random(1)
        cls.rows = [[source.gauss(0, 1) for _ in range(WIDTH)] for _ in range(cls.ITEMS)]
        items, vectors = cls.folder / "many.tsv", cls.folder / "many.npy"
        items.write_text("id\n" + "".join(f"{i}\n" for i in range(cls.ITEMS)))
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({cls.ITEMS}, {WIDTH}), }}\n".encode()
        vectors.write_bytes(b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header + b"".join(struct.pack(f"<{WIDTH}f", *row) for row in cls.rows))
        run("catalogue", "build", items, "-o", cls.large, "--vectors", vectors, "--dtype", "fp32")

    def nearest(self, vector, count):
        wanted = unit(vector)
        scores = sorted(((sum(a * b for a, b in zip(wanted, row)) / math.sqrt(sum(x * x for x in row)), -i) for i, row in enumerate(self.rows)), reverse=True)
        return [str(-i) for _, i in scores[:count]]

    def test_answers_of_many_at_once(self):
        server = self.serve(self.large)
        source = random.Random(2)
        questions = [[source.gauss(0, 1) for _ in range(WIDTH)] for _ in range(3)]
        expected = [self.nearest(question, 5) for question in questions]
        wrong = []

        def ask(which):
            connection = server.connect()
            for _ in range(10):
                status, _, answer = server.ask("POST", "/api/similar", {"vector": questions[which], "top_k": 5}, connection)
                if status != 200 or [item["id"] for item in answer["items"]] != expected[which]:
                    wrong.append(answer)
            connection.close()

        threads = [threading.Thread(target=ask, args=(i % 3,)) for i in range(6)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            status, _, _ = server.ask("GET", "/health")
            self.assertEqual(status, 200)
            time.sleep(0.01)
        self.assertEqual(wrong, [])
        status, _, answer = server.ask("POST", "/api/similar", {"text": "the film was good"})
        self.assertEqual((status, len(answer["items"])), (200, 10))
        answer = self.ask(server, {"vector": [0] * WIDTH}, 400)
        self.assertIn("all zeros", answer["error"])
        self.assertEqual(server.stop(), 0)

    def test_a_drain_answers_what_was_asked(self):
        server = self.serve(self.large)
        vector = [1.0 + i for i in range(WIDTH)]
        bodies = [{"text": "the film was good", "top_k": 1000}, {"vector": vector, "top_k": 1000}, {"id": "7", "top_k": 1000}] * 4
        bodies.append({"vector": [float(f"1.{i:0200d}") for i in range(WIDTH)], "top_k": 1000})
        bodies[-1] = json.dumps(bodies[-1]) + " " * 5000  # large enough to be read by another thread
        connections = [server.connect() for _ in bodies]
        for connection, body in zip(connections, bodies):
            connection.request("POST", "/api/similar", body if isinstance(body, str) else json.dumps(body), {"Content-Type": "application/json"})
        time.sleep(0.1)  # it has them, and answers
        ended = threading.Thread(target=server.stop)
        ended.start()
        for connection in connections:
            response = connection.getresponse()
            self.assertEqual((response.status, len(json.loads(response.read())["items"])), (200, 1000))
            connection.close()
        ended.join()
        self.assertEqual(server.process.returncode, 0)


if __name__ == "__main__":
    main()
