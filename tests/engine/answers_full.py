#!/usr/bin/env python3
"""Every question of XQuAD English, against what the question-answering pipeline of transformers 4 answered.

  answers_full.py BUILD_DIR [--shared DIR] [--levels LEVEL...] [--quality]

Compares with tests/golden/answers-xquad.tsv (made by tests/golden/make_answers.py): each answer's place, and its score to
1e-4, computed in fp32 from the checkpoint, with the defaults, with the three best and "no answer" among them, and in
windows of 128 tokens. Where two answers are within 1e-4 of one another either may come first.

--quality instead prints exact match and F1, as SQuAD counts them, of the checkpoint and of the bundled file, in fp32 and
in the precision that it is computed in by default.

Exits with 77 where the checkpoint and the questions are not beside the source (--shared, DISTILD_SHARED).
"""

import argparse
import collections
import ctypes
import json
import os
import pathlib
import re
import string
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOLERANCE = 1e-4
SKIPPED = 77


class Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("message", ctypes.c_char * 1000)]


class Options(ctypes.Structure):
    """distil_options; what stands behind these two is left to the model."""

    _fields_ = [("precision", ctypes.c_char_p), ("cpu", ctypes.c_char_p), ("rest", ctypes.c_char * 64)]


class AnswerOptions(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in ("max_seq_len", "doc_stride", "max_answer_len", "handle_impossible_answer")]
    _fields_ += [("threshold", ctypes.c_float)]


class Answer(ctypes.Structure):
    _fields_ = [("text", ctypes.c_void_p), ("length", ctypes.c_size_t), ("start", ctypes.c_int), ("end", ctypes.c_int)]
    _fields_ += [("score", ctypes.c_float), ("none", ctypes.c_float)]


class Distil:
    """A model and a session of libdistil, through ctypes."""

    def __init__(self, build, path, precision=None, cpu=None):
        self.library = ctypes.CDLL(str(next(build.glob("**/libdistil.so"))))
        self.model, self.session = ctypes.c_void_p(), ctypes.c_void_p()
        options = Options(precision and precision.encode(), cpu and cpu.encode())
        self.call("distil_model_open", str(path).encode(), ctypes.byref(options), ctypes.byref(self.model))
        self.call("distil_session_create", self.model, 0, ctypes.byref(self.session))

    def call(self, name, *arguments):
        error = Error()
        if getattr(self.library, name)(*arguments, ctypes.byref(error)):
            raise RuntimeError(f"{name}: {error.message.decode()}")

    def answer(self, question, context, top_k=1, **parameters):
        """Start, end and score of each answer."""
        question, context = question.encode(), context.encode()
        options = AnswerOptions(doc_stride=-1)
        for name, value in parameters.items():
            setattr(options, name, value)
        answers, count = (Answer * top_k)(), ctypes.c_int(top_k)
        self.call("distil_answers", self.session, question, ctypes.c_size_t(len(question)), context,
                  ctypes.c_size_t(len(context)), ctypes.byref(options), answers, ctypes.byref(count))
        return [(a.start, a.end, a.score) for a in answers[: count.value]]

    def close(self):
        self.library.distil_session_free(self.session)
        self.library.distil_model_free(self.model)


def questions_of(shared):
    for article in json.loads((shared / "data/xquad/xquad.en.json").read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                right = [answer["text"] for answer in question["answers"]]
                yield question["id"], question["question"], paragraph["context"], right


def read_golden():
    """What each run was asked for, and its answers by question."""
    header, *lines = (ROOT / "tests/golden/answers-xquad.tsv").read_text(encoding="utf-8").splitlines()
    runs = [json.loads(column) for column in header.split("\t")[1:]]
    expected = {}
    for line in lines:
        identity, *columns = line.split("\t")
        expected[identity] = [[tuple(map(float, answer.split(":"))) for answer in column.split()] for column in columns]
    return runs, expected


def same(found, expected):
    """Whether answers agree: rank by rank in score, and in place but for those that are as good as one another."""
    if len(found) != len(expected) or any(abs(f[2] - e[2]) > TOLERANCE for f, e in zip(found, expected)):
        return False
    for i, answer in enumerate(found):
        ties = [e for e in expected if abs(e[2] - answer[2]) <= TOLERANCE]
        if answer[:2] != expected[i][:2] and (len(ties) == 1 and i + 1 < len(found) or not ties):
            return False
    return True


def compare(distil, shared, name):
    runs, golden = read_golden()
    wrong, tied, worst, count = 0, 0, 0.0, 0
    for identity, question, context, _ in questions_of(shared):
        for parameters, expected in zip(runs, golden[identity]):
            found = distil.answer(question, context, **parameters)
            count += 1
            worst = max([worst, *(abs(f[2] - e[2]) for f, e in zip(found, expected))])
            if [f[:2] for f in found] != [e[:2] for e in expected]:
                tied += 1
            if not same(found, expected):
                wrong += 1
                print(f"{identity} {parameters}: expected {expected}, found {found}")
            elif [f[:2] for f in found] != [e[:2] for e in expected]:
                print(f"{identity} {parameters}: in another order: expected {expected}, found {found}")
    print(f"{name}: {count} answers to {len(golden)} questions, {wrong} wrong, {tied} in another order or place, "
          f"largest difference of a score {worst:.1e}", flush=True)
    return wrong == 0 and count == len(runs) * len(golden)


def normal(text):
    """A text as SQuAD compares it: without case, punctuation, articles and repeated spaces."""
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def f1(found, right):
    found, right = normal(found).split(), normal(right).split()
    common = sum((collections.Counter(found) & collections.Counter(right)).values())
    return 2 * common / (len(found) + len(right)) if common else 0.0


def quality(distil, shared, name):
    exact, overlap, count = 0, 0.0, 0
    for _, question, context, right in questions_of(shared):
        start, end, _ = distil.answer(question, context)[0]
        found = context[start:end]
        exact += any(normal(found) == normal(text) for text in right)
        overlap += max(f1(found, text) for text in right)
        count += 1
    print(f"{name}: exact match {exact / count:.4f}, F1 {overlap / count:.4f}, {count} questions", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--shared", type=pathlib.Path, default=os.environ.get("DISTILD_SHARED", ROOT.parent / "shared"))
    parser.add_argument("--levels", nargs="*", default=[None])
    parser.add_argument("--quality", action="store_true")
    arguments = parser.parse_args()
    checkpoint = arguments.shared / "models/qa-minilm"
    if not checkpoint.exists() or not (arguments.shared / "data/xquad/xquad.en.json").exists():
        print(f"skipped: {arguments.shared} has no models/qa-minilm and data/xquad")
        return SKIPPED
    bundled = ROOT / "weights/qa-minilm.distild"
    if arguments.quality:
        for path, precision in [(checkpoint, "fp32"), (bundled, "fp32"), (bundled, None)]:
            for level in arguments.levels:
                distil = Distil(arguments.build, path, precision, level)
                quality(distil, arguments.shared, f"{path.name}, {precision or 'default precision'}, {level or 'best level'}")
                distil.close()
        return 0
    fine = True
    for level in arguments.levels:
        distil = Distil(arguments.build, checkpoint, "fp32", level)
        fine = compare(distil, arguments.shared, level or "best level") and fine
        distil.close()
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
