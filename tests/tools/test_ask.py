#!/usr/bin/env python3
"""`distild ask`, end to end: documents in a folder, the bundled encoder and answerer, answers with their places."""

import os
import pathlib
import tempfile
import unittest

from harness import SANITIZED, SOURCE, json_lines, main, run

MANUAL = """# Handbook

## Water

The pump was built by Ada Brunner in 1987. It stops when the upper tank is full.

| part | colour |
|---|---|
| main valve | red |
| drain | blue |

## Visitors

Visitors sign the book at the gate and wear a yellow helmet.
"""
NOTES = "Staff\n=====\n\nThe site manager is Theodora Quist.\nShe lives in Husum.\n\nThe dog is called Bruno.\n"


class Ask(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="distild-ask-")
        cls.docs = pathlib.Path(cls.temporary.name)
        (cls.docs / "sub").mkdir()
        (cls.docs / "manual.md").write_text(MANUAL)
        (cls.docs / "sub" / "notes.txt").write_text(NOTES)
        (cls.docs / "program.c").write_text("int main(void);\n")

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def ask(self, *arguments, **options):
        return run("ask", "--docs", self.docs, "--precision", "fp32", *arguments, **options)

    def test_answers_have_their_place(self):
        questions = ["Who built the pump?", "Who is the site manager?", "What do visitors wear?"]
        found = json_lines(self.ask("--json", *questions)[0])
        self.assertEqual([answer["question"] for answer in found], questions)
        pump, manager, helmet = [answer["answers"][0] for answer in found]
        self.assertEqual(pump["answer"], "Ada Brunner")
        self.assertEqual((pump["file"], pump["line"], pump["section"]), (f"{self.docs}/manual.md", 5, "Handbook > Water"))
        self.assertEqual(pump["quotation"], "The pump was built by Ada Brunner in 1987.")
        self.assertEqual(manager["answer"], "Theodora Quist")
        self.assertEqual((manager["file"], manager["line"], manager["section"]), (f"{self.docs}/sub/notes.txt", 4, "Staff"))
        self.assertIn("helmet", helmet["answer"])
        self.assertEqual((helmet["line"], helmet["section"]), (14, "Handbook > Visitors"))
        for answer in (pump, manager, helmet):
            self.assertTrue(0.1 <= answer["score"] <= answer["relevance"] <= 1)
            self.assertTrue(0.1 <= answer["similarity"] <= 1)
            self.assertIn(answer["answer"], answer["quotation"])

    @unittest.skipIf(SANITIZED, "takes long, and computes what the others do")
    def test_the_table_for_people(self):
        text, _ = self.ask("Who is the site manager?")
        answer, place, quotation = text.splitlines()
        self.assertRegex(answer, r"^Theodora Quist  \(0\.\d\d\)$")
        self.assertEqual(place, f"    {self.docs}/sub/notes.txt:4  Staff")
        self.assertEqual(quotation, '    "The site manager is Theodora Quist."')
        text, _ = self.ask("Who is the site manager?", "What is the dog called?")
        self.assertIn("\n\n? What is the dog called?\nBruno  (", text)

    def test_no_answer(self):
        question = "What is the boiling point of tungsten?"
        text, _ = self.ask("--threshold", "0.5", question, code=4)
        self.assertEqual(text, "There is no answer.\n")
        found = json_lines(self.ask("--json", "--threshold", "0.5", question, "Who is the site manager?", code=4)[0])
        self.assertEqual(found[0], {"question": question, "answers": []})
        self.ask("--threshold", "0", question)

    @unittest.skipIf(SANITIZED, "takes long, and computes what the others do")
    def test_several_answers_and_questions_from_a_file(self):
        lines = "Who is the site manager?\n\n  \nWho built the pump?\n"
        out, _ = self.ask("--json", "-k", "3", "--threshold", "0", "-f", "-", input=lines)
        found = json_lines(out)
        self.assertEqual(len(found), 2)
        for answers in (one["answers"] for one in found):
            scores = [answer["score"] for answer in answers]
            self.assertEqual(len(scores), 3)
            self.assertEqual(scores, sorted(scores, reverse=True))
        self.assertEqual(self.ask("--json", "-k", "3", "--threshold", "0", input=lines)[0], out)

    def test_what_cannot_be_read_is_told(self):
        with tempfile.TemporaryDirectory(prefix="distild-ask-") as name:
            folder = pathlib.Path(name)
            (folder / "good.md").write_text("The dog is called Bruno.\n")
            (folder / "latin.txt").write_bytes(b"The caf\xe9 is in Kiel.\n")
            (folder / "binary.md").write_bytes(b"\0\1\2")
            (folder / "link.md").symlink_to(folder / "good.md")
            (folder / "up").symlink_to("..")
            (folder / "closed.md").write_text("Nobody reads this.")
            (folder / "closed.md").chmod(0)
            out, err = run("ask", "-d", folder, "--json", "What is the dog called?")
            self.assertEqual(json_lines(out)[0]["answers"][0]["file"], f"{folder}/good.md")
            self.assertIn(f"{folder}/latin.txt: 1 place has malformed UTF-8, the first one at byte 7", err)
            self.assertIn(f"{folder}/binary.md: holds bytes that no text has", err)
            self.assertIn("2 symbolic links were not followed", err)
            if os.geteuid() != 0:
                self.assertIn(f"{folder}/closed.md: Permission denied", err)

    def test_wrong_usage(self):
        self.assertIn("--docs is missing", run("ask", "x", code=2)[1])
        self.assertIn("exclude each other", self.ask("-f", "x", "y", code=2)[1])
        for empty in ("", " \t", "\n"):
            out, err = self.ask("--json", "Who built the pump?", empty, code=2)
            self.assertEqual((out, "a question is empty" in err), ("", True))
        self.assertIn("No such file or directory", run("ask", "-d", self.docs / "none", "x", code=1)[1])
        with tempfile.TemporaryDirectory() as empty:
            self.assertIn("no text was found in 0 documents", run("ask", "-d", empty, "x", code=1)[1])

    def test_long_questions_are_refused_alone(self):
        out, err = self.ask("--json", "why " * 500, "Who built the pump?", code=1)
        refused, answered = json_lines(out)
        self.assertIn("the question has 500 tokens", refused["error"])
        self.assertEqual(answered["answers"][0]["answer"], "Ada Brunner")
        self.assertIn("question 1: the question has 500 tokens", err)

    def test_wrong_models(self):
        self.assertIn("no question answering head", self.ask("x", "--answerer", SOURCE / "weights/sst2-minilm.distild", code=1)[1])
        self.assertIn("an encoder without one is expected", self.ask("x", "--encoder", SOURCE / "weights/sst2-minilm.distild", code=1)[1])


if __name__ == "__main__":
    main()
