"""Catalogues, end to end: built from vectors that another encoder made, inspected, searched, and what is refused."""

import json
import math
import pathlib
import random
import struct
import tempfile
import unittest

from harness import json_lines, main, run

WIDTH = 24
NAMES = ["lamp", "chair", "table", "shelf", "rug", "vase", "bench", "stool", "clock", "mirror", "desk", "bed"]


def vectors(count, seed=3):
    source = random.Random(seed)
    return [[source.gauss(0, 1) for _ in range(WIDTH)] for _ in range(count)]


def unit(vector):
    length = math.sqrt(sum(x * x for x in vector))
    return [x / length for x in vector]


def cosine(a, b):
    return sum(x * y for x, y in zip(unit(a), unit(b)))


def npy(rows, kind="<f4", order="False", shape=None, version=1):
    """A NumPy file, as numpy.save writes it."""
    shape = shape if shape is not None else (len(rows), len(rows[0]))
    header = f"{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape!r}, }}".encode()
    prefix = 10 if version == 1 else 12
    header += b" " * (-(prefix + len(header) + 1) % 64) + b"\n"
    size = struct.pack("<H" if version == 1 else "<I", len(header))
    code = {"<f2": "e", "<f4": "f", "<f8": "d"}.get(kind, "f")
    data = b"".join(struct.pack(f"<{len(row)}{code}", *row) for row in rows)
    return b"\x93NUMPY" + bytes([version, 0]) + size + header + data


class CatalogueCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.file = self.folder / "items.catalogue"
        self.rows = vectors(len(NAMES))

    def write(self, name, content):
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def items(self, lines=None):
        return self.write("items.tsv", "\n".join(lines or ["id\ttext\tmaker", *(f"{n}\tA {n} of oak.\tOrm" for n in NAMES)]) + "\n")

    def build(self, *options, code=0, items=None):
        return run("catalogue", "build", items or self.items(), "-o", self.file, *options, code=code)

    def refused(self, message, *options, items=None):
        out, err = self.build(*options, code=1, items=items)
        self.assertIn(message, err)
        self.assertEqual(out, "")
        self.assertFalse(self.file.exists())


class Build(CatalogueCase):
    def check_search(self, tolerance):
        for which, name in enumerate(NAMES[:4]):
            out, _ = run("catalogue", "search", self.file, "--id", name, "--top-k", 5, "--json")
            found = json_lines(out)
            expected = sorted(((cosine(self.rows[which], row), i) for i, row in enumerate(self.rows) if i != which), reverse=True)
            self.assertEqual(len(found), 5)
            for item, (score, _) in zip(found, expected):
                self.assertAlmostEqual(item["score"], score, delta=tolerance)
                self.assertAlmostEqual(cosine(self.rows[which], self.rows[NAMES.index(item["id"])]), item["score"], delta=tolerance)
                self.assertEqual(item["text"], f"A {item['id']} of oak.")
                self.assertEqual(item["maker"], "Orm")

    def test_numpy_files_of_every_kind(self):
        for kind, version, tolerance in (("<f4", 1, 1e-6), ("<f8", 2, 1e-6), ("<f2", 3, 2e-3)):
            for dtype, more in (("fp32", 0), ("fp16", 1e-3), ("int8", 2e-2)):
                with self.subTest(kind=kind, dtype=dtype):
                    path = self.write("vectors.npy", npy(self.rows, kind, version=version))
                    self.build("--vectors", path, "--dtype", dtype)
                    self.check_search(tolerance + more)

    def test_vectors_as_tsv(self):
        lines = ["\t".join([name, *map(repr, row)]) for name, row in zip(NAMES, self.rows)]
        path = self.write("vectors.tsv", "\r\n".join(lines) + "\r\n\n")
        out, _ = self.build("--vectors", path, "--dtype", "fp32")
        self.assertRegex(out, r"12 items, 24 values each in fp32, .*\ndigest [0-9a-f]{64}\n")
        self.check_search(1e-6)

    def test_inspect(self):
        self.build("--vectors", self.write("v.npy", npy(self.rows)))
        out, _ = run("catalogue", "inspect", self.file, "--json", "--verify")
        facts = json.loads(out)
        self.assertEqual(
            {name: facts[name] for name in ("items", "width", "dtype", "columns", "encoder", "verified")},
            {"items": 12, "width": WIDTH, "dtype": "fp16", "columns": ["id", "text", "maker"], "encoder": None, "verified": True},
        )
        out, _ = run("catalogue", "inspect", self.file)
        self.assertIn("items    12\n", out)
        self.assertIn("columns  id text maker\n", out)
        damaged = bytearray(self.file.read_bytes())
        damaged[-3] ^= 1
        self.file.write_bytes(damaged)
        run("catalogue", "inspect", self.file)
        _, err = run("catalogue", "inspect", self.file, "--verify", code=1)
        self.assertIn("the file is damaged", err)

    def test_columns_in_any_order(self):
        lines = ["maker\tid\tyear", *(f"Orm\t{name}\t{1900 + i}" for i, name in enumerate(NAMES))]
        self.build("--vectors", self.write("v.npy", npy(self.rows)), items=self.items(lines))
        out, _ = run("catalogue", "search", self.file, "--id", "bed", "-k", "1", "--json")
        (found,) = json_lines(out)
        self.assertEqual(list(found), ["id", "maker", "year", "score"])
        self.assertEqual(found["year"], str(1900 + NAMES.index(found["id"])))
        out, _ = run("catalogue", "search", self.file, "--id", "bed", "-k", "1")
        self.assertEqual(out.split("\n")[0], " SCORE  ID")

    def test_all_of_them_and_no_more(self):
        self.build("--vectors", self.write("v.npy", npy(self.rows)))
        out, _ = run("catalogue", "search", self.file, "--id", "bed", "-k", "1000", "--json")
        self.assertEqual({item["id"] for item in json_lines(out)}, set(NAMES) - {"bed"})

    def test_the_same_bytes_again(self):
        path = self.write("v.npy", npy(self.rows))
        self.build("--vectors", path)
        first = self.file.read_bytes()
        self.build("--vectors", path)
        self.assertEqual(first, self.file.read_bytes())
        self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["items.catalogue", "items.tsv", "v.npy"])


class Refused(CatalogueCase):
    def test_items(self):
        good = self.write("v.npy", npy(self.rows))
        for lines, message in (
            (["name\ttext", "a\tb"], "items.tsv, line 1: expected a header with the columns id and text"),
            (["id\ttext\tid", "a\tb\tc"], "items.tsv, line 1: two columns are named 'id'"),
            (["id\t\tyear", "a\tb\tc"], "items.tsv, line 1: column 2 has no name"),
            (["id\ttext", "a\tb\tc"], "items.tsv, line 2: expected 2 columns as in the header, found 3"),
            (["id\ttext", "", "a"], "items.tsv, line 3: expected 2 columns as in the header, found 1"),
            (["id\ttext", "\tb"], "items.tsv, line 2: the id is empty"),
            (["id\ttext", "a\tb", "é" * 512 + "c\td"], "items.tsv, line 3: the id has 1025 bytes, at most 1024 may be"),
            (["id\ttext"], "items.tsv: no items"),
            (["id\ttext", "a\tb", "c\td", "a\te"], "items.tsv: items 1 and 3 have the same id 'a'"),
            (["\t".join(["id", *map(str, range(64))])], "items.tsv, line 1: expected at most 64 columns, found 65"),
        ):
            with self.subTest(message=message):
                self.refused(message, "--vectors", good, items=self.items(lines))
        self.refused("line 2: column text: expected UTF-8", "--vectors", good, items=self.write("items.tsv", b"id\ttext\na\t\xff\n"))
        self.refused("No such file", "--vectors", good, items=self.folder / "none.tsv")
        _, err = run("catalogue", "inspect", self.items(), code=1)
        self.assertIn("items.tsv: expected a safetensors file, such as a model or a catalogue, found something else", err)

    def test_numpy_files(self):
        whole = npy(self.rows)
        for content, message in (
            (npy(self.rows, ">f4"), "expected float16, float32 or float64, little-endian ('<f2', '<f4' or '<f8'), found '>f4'"),
            (npy(self.rows, "<i4"), "found '<i4'"),
            (npy(self.rows, order="True"), "expected an array in C order (numpy.ascontiguousarray makes one)"),
            (npy(self.rows, shape=(288,)), "expected an array of shape (items, values), up to 1073741824 and 65536, found (288,)"),
            (npy(self.rows, shape=(12, 24, 1)), "found (12, 24, 1)"),
            (npy(self.rows, shape=(-1, 24)), "found (-1, 24)"),
            (npy(self.rows, shape=(10**18, 10**18)), "expected an array of shape"),
            (npy(self.rows, shape=(10**19 - 1, 24)), "found (9999999999999999999, 24)"),
            (npy(self.rows, shape=(12, 25)), "expected 1200 bytes for (12, 25) of 4 bytes each, found 1152"),
            (npy(self.rows, shape=(1073741824, 65536)), "expected 281474976710656 bytes"),
            (npy(self.rows[:-1]), "expected a vector for each item, found 11: none for item 12, 'bed'"),
            (npy(self.rows + self.rows), "expected as many vectors as there are items, 12, found more"),
            (whole[:-1], "expected 1152 bytes for (12, 24) of 4 bytes each, found 1151"),
            (whole[:9], "only a part of one"),
            (whole[:8] + b"\xff\xff" + whole[10:60], "expected a NumPy header within the file, found one of 65535 bytes"),
            (b"\x93NUMPY\x09" + whole[7:], "expected a NumPy file of version 1 to 3"),
            (b"id\tnumbers\n", "another kind of file"),
            (b"", "the file is empty"),
            (npy([[float("nan")] * WIDTH] + self.rows[1:]), "item 1 ('lamp'): its vector has a value that is infinite or not a number"),
            (npy([[1e300] * WIDTH] + self.rows[1:], "<f8"), "item 1 ('lamp'): its vector has a value that is infinite or not a number"),
            (npy([[0.0] * WIDTH] + self.rows[1:]), "item 1 ('lamp'): its vector is all zeros"),
        ):
            with self.subTest(message=message):
                self.refused(message, "--vectors", self.write("v.npy", content))
        self.refused("No such file", "--vectors", self.folder / "none.npy")

    def test_tsv_vectors(self):
        good = ["\t".join([name, *map(str, row)]) for name, row in zip(NAMES, self.rows)]
        for lines, message in (
            ([], "line 1: expected an id and 1 to 65536 numbers with tabs between them, found 0 numbers"),
            (["lamp"], "found 0 numbers"),
            ([good[0], good[2]], "line 2: expected the vector of item 2, 'chair', found that of 'table'"),
            ([good[0], good[1] + "\t1"], "line 2: expected 24 numbers as in the first line, found 25"),
            (["lamp\t1\tx"], "line 1: expected a number in column 3, found 'x'"),
            (["lamp\t1\t"], "line 1: expected a number in column 3, found ''"),
            (["lamp\t1\t" + "9" * 100], "line 1: expected a number in column 3"),
            (["lamp\t1\tnan"], "item 1 ('lamp'): its vector has a value that is infinite or not a number"),
            (good[:-1], "expected a vector for each item, found 11: none for item 12, 'bed'"),
            (good + ["more" + good[0][4:]], "expected as many vectors as there are items, 12, found more"),
        ):
            with self.subTest(message=message):
                self.refused(message, "--vectors", self.write("vectors.tsv", "\n".join(lines) + "\n"))

    def test_usage(self):
        for arguments, message in (
            (["build", "x.tsv"], "--output FILE is missing"),
            (["weigh", "x"], "expected 'build ITEMS.tsv'"),
            (["build", "x", "y"], "expected 'build ITEMS.tsv'"),
            (["search", "x"], "give a TEXT or --id ID, one of the two"),
            (["search", "x", "y", "--id", "z"], "give a TEXT or --id ID, one of the two"),
            (["search", "x", "y", "--top-k", "0"], "top-k"),
        ):
            with self.subTest(arguments=arguments):
                _, err = run("catalogue", *arguments, code=2)
                self.assertIn(message, err)

    def test_search(self):
        self.build("--vectors", self.write("v.npy", npy(self.rows)))
        _, err = run("catalogue", "search", self.file, "--id", "sofa", code=1)
        self.assertIn("there is no item with the id 'sofa'", err)
        _, err = run("catalogue", "inspect", self.folder / "items.tsv", code=1)
        self.assertIn("items.tsv", err)

    def test_a_full_disk_leaves_what_was_there(self):
        self.build("--vectors", self.write("v.npy", npy(self.rows)))
        before = self.file.read_bytes()
        out = run("catalogue", "build", self.items(), "-o", "/dev/full", "--vectors", self.folder / "v.npy", code=1)
        self.assertIn("/dev/full: expected a regular file to replace", out[1])
        self.assertEqual(before, self.file.read_bytes())


if __name__ == "__main__":
    main()
