#!/usr/bin/env python3
"""Shows that check_structure.py finds what it is there to find, on a small tree with one fault of each kind."""

import pathlib
import tempfile
import unittest

import check_structure as check


class Faults(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.directory.name)

    def tearDown(self):
        self.directory.cleanup()

    def tree(self, **files):
        paths = []
        for name, text in files.items():
            path = pathlib.Path(name.replace("__", "/").replace("_dot_", "."))
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text(text, encoding="utf-8")
            paths.append(path)
        return paths

    def test_upward_include(self):
        files = self.tree(
            engine__model_dot_h="", kernels__scalar_dot_c='#include "engine/model.h"\n', engine__b_dot_c='#include "model.h"\n'
        )
        self.assertEqual(
            list(check.check_includes(self.root, files)),
            ["kernels/scalar.c: includes engine/model.h, a floor above its own"],
        )

    def test_upward_include_without_directory(self):
        files = self.tree(engine__distil_dot_h="", weights__a_dot_c="#include <distil.h>\n")
        self.assertIn("a floor above", next(check.check_includes(self.root, files)))

    def test_cblas_and_source_files(self):
        files = self.tree(
            kernels__a_dot_c="#include <cblas.h>\n", weights__b_dot_c="#include <cblas.h>\n", tests__t_dot_c='#include "kernels/a.c"\n'
        )
        found = list(check.check_includes(self.root, files))
        self.assertEqual(len(found), 2)
        self.assertIn("weights/b.c", found[0])
        self.assertIn("tests/t.c", found[1])

    def test_printing_and_exiting(self):
        files = self.tree(
            engine__a_dot_c='/* printf( */ void f(void)\n{\n    snprintf(b, 1, "exit(1)");\n    printf("x");\n}\n',
            weights__b_dot_c="void g(void)\n{\n    exit(1);\n}\n",
            tools__main_dot_c='int main(void)\n{\n    printf("x");\n}\n',
        )
        found = list(check.check_code(self.root, files))
        self.assertEqual(found, ["engine/a.c:4: library code uses printf", "weights/b.c:3: library code uses exit"])

    def test_long_file_and_alloca(self):
        files = self.tree(server__a_dot_c="\n" * (check.LONGEST_FILE + 1) + "void *p = alloca(n);\n")
        self.assertEqual(len(list(check.check_code(self.root, files))), 2)

    def test_notes_and_paths(self):
        files = self.tree(docs__a_dot_md="A TO" "DO here.\nIn /ro" "ot/x.\nIn ${x}/wo" "rk/y and a/wo" "rk/z.\n")
        self.assertEqual(len(list(check.check_text(self.root, files))), 2)

    def test_header_that_needs_another(self):
        files = self.tree(weights__distil_status_dot_h="", engine__distil_dot_h="size_t f(void);\n")
        found = list(check.check_headers(self.root, files, "cc", "c++"))
        self.assertTrue(any("c11" in problem for problem in found))
        self.assertTrue(any("c++17" in problem for problem in found))

    def test_writable_global(self):
        import subprocess

        folder = self.root / "kernels"
        folder.mkdir()
        (folder / "a.c").write_text("static int counter; const int table[2] = {1, 2}; int f(void) { return ++counter + table[0]; }\n")
        subprocess.run(["cc", "-c", "-fPIC", "a.c", "-o", "a.o"], cwd=folder, check=True)
        found = list(check.check_globals(self.root))
        self.assertEqual(found, ["kernels/a.o: 'counter' is writable global data (.bss)"])


if __name__ == "__main__":
    unittest.main()
