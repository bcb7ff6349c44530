#!/usr/bin/env python3
"""The program as a whole, as a person uses it: help, wrong usage, terminals, and its small commands."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
import threading
import unittest

from harness import COMMANDS, EXACT, MODEL, PROGRAM, SANITIZED, SOURCE, Temporary, cases, environment, json_lines, main, run


class Help(unittest.TestCase):
    def test_every_command_explains_itself(self):
        overview, _ = run("--help")
        for command in COMMANDS:
            self.assertIn(f"\n  {command} ", overview)
            text, err = run(command, "--help")
            self.assertEqual(err, "")
            self.assertTrue(text.startswith(f"Usage: distild {command} [OPTIONS]"))
            self.assertIn("Exit status: 0 success, 1 failure, 2 wrong usage", text)
            self.assertEqual(run("help", command)[0], text)
            self.assertEqual(run(command, "-h")[0], text)

    def test_the_manual_has_every_command_and_option(self):
        manual = (SOURCE / "docs" / "distild.1").read_text().replace("\\-", "-")
        documented = (SOURCE / "docs" / "commands.md").read_text()
        for command in COMMANDS:
            self.assertIn(f".Ss {command}", manual)
            options = re.findall(r"^  (?:-., |    )--([a-z-]+)", run(command, "--help")[0], re.M)
            self.assertIn("help", options)
            for option in options:
                self.assertTrue(re.search(rf"Fl Fl {option}(?![a-z-])", manual), f"distild.1 lacks --{option}")
                self.assertTrue(re.search(rf"--{option}(?![a-z-])", documented), f"docs/commands.md lacks --{option}")

    def test_wrong_usage(self):
        self.assertIn("Usage: distild COMMAND", run(code=2)[1])
        self.assertIn("unknown command 'perdict'; did you mean 'predict'?", run("perdict", code=2)[1])
        self.assertIn("unknown command 'xyzzyxyzzy'\n", run("xyzzyxyzzy", code=2)[1])
        self.assertIn("unknown command", run("help", "perdict", code=2)[1])
        for command in COMMANDS:
            self.assertIn(f"distild {command}: unknown option '--no-such'", run(command, "--no-such", code=2)[1])
            self.assertIn(f"Try 'distild {command} --help'", run(command, "--no-such", code=2)[1])
        self.assertIn("--threads: -1 is not from 0 to 1024", run("predict", "--threads", "-1", "x", code=2)[1])
        self.assertIn("--precision: 'fp64' is not one of fp32|bf16|int8", run("predict", "--precision", "fp64", "x", code=2)[1])
        self.assertIn("DISTILD_PORT: 80800 is not from 0 to 65535",
                      run("serve", code=2, DISTILD_PORT="80800")[1])
        self.assertIn("exclude each other", run("predict", "--file", "f", "x", code=2)[1])
        self.assertIn("--output FILE is missing", run("convert", MODEL, code=2)[1])
        for shapes, message in (("0x5", "found '0x5'"), ("1x8,", "found ''"), ("1x8,mix33", "found 'mix33'"),
                                ("1x8,1x65", "shape 1x65: 65 tokens are more than the model's window of 64")):
            out, err = run("bench", "--model", MODEL, "-s", shapes, code=2)
            self.assertEqual(out, "")
            self.assertIn(message, err)


class Terminal(Temporary):
    """What is shown where a person looks on: standard error, and then standard output too, is a terminal."""

    def on_terminal(self, arguments, out_too=False, columns=40):
        """Runs the program; returns what the terminal saw, and standard output where that is a pipe."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        child = subprocess.Popen([str(PROGRAM), *map(str, arguments)], stdin=subprocess.DEVNULL, stderr=theirs,
                                 stdout=theirs if out_too else subprocess.PIPE, env=environment())
        os.close(theirs)
        seen = []
        reader = threading.Thread(target=lambda: seen.extend(self.chunks(ours)))
        reader.start()
        out = b"" if out_too else child.stdout.read()
        self.assertEqual(child.wait(100), 0)
        reader.join()
        os.close(ours)
        if not out_too:
            child.stdout.close()
        return b"".join(seen), out

    @staticmethod
    def chunks(terminal):
        """Reads until the other side has gone, which Linux reports as an error."""
        try:
            while chunk := os.read(terminal, 65536):
                yield chunk
        except OSError:
            pass

    def test_progress_and_results_apart(self):
        count = 3000 if SANITIZED else 24000  # well over the fifth of a second before progress is shown
        texts = self.write("texts", "the film was good and the plot is dull\n" * count)
        options = ("--cpu", "scalar", "--json", "--file", texts, *EXACT)
        shown, out = self.on_terminal(["predict", *options])
        self.assertRegex(shown, rb"\rpredicting +\d+%  \d+ texts, \d+/s\033\[K")
        self.assertTrue(shown.endswith(b"\r\033[K"), shown[-100:])
        self.assertEqual(len(json_lines(out.decode())), count)
        self.assertEqual(self.on_terminal(["predict", *options], out_too=True)[0].count(b"predicting"), 0)

    def test_texts_fit_the_terminal(self):
        shown, _ = self.on_terminal(["predict", *EXACT, "é" * 100, "short"], out_too=True)
        lines = shown.decode().replace("\r\n", "\n").split("\n")
        self.assertEqual(len(lines[1]), 40)
        self.assertTrue(lines[1].endswith("é..."))
        self.assertTrue(lines[2].endswith("  short"))


class Tokenize(Temporary):
    def test_ids_of_transformers(self):
        texts = cases()
        found = json_lines(run("tokenize", "--model", MODEL, "--json", input="".join(c["text"] + "\n" for c in texts))[0])
        self.assertEqual(len(found), len(texts))
        vocabulary = (MODEL / "vocab.txt").read_text().split("\n")
        for case, result in zip(texts, found):
            self.assertEqual(result["ids"], case["ids"])
            self.assertEqual(result["tokens"], [vocabulary[i] for i in case["ids"]])
            self.assertEqual(len(result["offsets"]), len(case["ids"]))

    def test_form(self):
        out, _ = run("tokenize", "--model", MODEL, "--json", "The film, café")
        self.assertEqual(json_lines(out)[0]["offsets"], [[0, 0], [0, 3], [4, 8], [8, 9], *json_lines(out)[0]["offsets"][4:-1], [0, 0]])
        self.assertEqual(json_lines(out)[0]["tokens"][:4], ["[CLS]", "the", "film", ","])
        self.assertEqual(json_lines(run("tokenize", "--model", MODEL, "--json", "")[0]),
                         [{"ids": [2, 3], "tokens": ["[CLS]", "[SEP]"], "offsets": [[0, 0], [0, 0]]}])
        long = json_lines(run("tokenize", "--model", MODEL, "--json", "good " * 100)[0])[0]
        self.assertEqual((len(long["ids"]), long["truncated"]), (64, True))
        table = run("tokenize", "--model", MODEL, "film", "good " * 100)[0]
        self.assertIn("    ID  START    END  TOKEN\n     2      0      0  [CLS]\n", table)
        self.assertIn("(the first 64 of 102 tokens)", table)


class Version(unittest.TestCase):
    def test_version(self):
        about = json.loads(run("version", "--json", "--model", MODEL)[0])
        self.assertRegex(about["version"], r"^\d+\.\d+\.\d+$")
        self.assertIn(about["cpu"], about["levels"])
        self.assertIn(about["precision"], ["fp32", "bf16", "int8"])
        self.assertEqual(about["model"], str(MODEL))
        self.assertEqual(run("--version", DISTILD_MODEL=str(MODEL))[0], run("version", DISTILD_MODEL=str(MODEL))[0])
        self.assertIn("no-such-model", run("version", "--model", "no-such-model", code=1)[1])


if __name__ == "__main__":
    main()
