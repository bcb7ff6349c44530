#!/usr/bin/env python3
"""Makes metrics.txt: what scikit-learn says of seeded labels, for the figures of `distild evaluate`.

  make_metrics.py        writes tests/golden/metrics.txt

Needs scikit-learn (1.9.1 made the file here). A case is

  case NAME LABELS ROWS
  expected LABEL...
  predicted LABEL...
  matrix COUNT...        row by row
  accuracy X
  label P R F1 SUPPORT   for each label
  micro P R F1
  macro P R F1
  weighted P R F1
"""

import pathlib

import numpy as np
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

HERE = pathlib.Path(__file__).resolve().parent
SEED = 20250103


def cases():
    random = np.random.default_rng(SEED)
    noisy = random.integers(0, 2, 200)
    yield "binary", 2, noisy, np.where(random.random(200) < 0.1, 1 - noisy, noisy)
    yield "one-row", 2, np.array([1]), np.array([0])
    yield "perfect", 3, np.array([0, 1, 2, 2, 1, 0, 0]), np.array([0, 1, 2, 2, 1, 0, 0])
    yield "all-wrong", 3, np.array([0, 1, 2, 0]), np.array([1, 2, 0, 2])
    yield "one-label-predicted", 4, random.integers(0, 4, 50), np.full(50, 2)
    yield "one-label-in-data", 4, np.full(50, 3), random.integers(0, 4, 50)
    yield "label-in-neither", 5, random.choice([0, 2, 4], 60), random.choice([0, 1, 2], 60)
    skewed = random.choice(77, 800, p=random.dirichlet(np.full(77, 0.3)))
    yield "skewed-77", 77, skewed, np.where(random.random(800) < 0.3, random.integers(0, 77, 800), skewed)


def figures(name, values):
    return " ".join([name, *(repr(float(value)) for value in values)])


def lines(name, labels, expected, predicted):
    every = list(range(labels))
    yield f"case {name} {labels} {len(expected)}"
    yield "expected " + " ".join(map(str, expected))
    yield "predicted " + " ".join(map(str, predicted))
    yield "matrix " + " ".join(map(str, confusion_matrix(expected, predicted, labels=every).ravel()))
    yield figures("accuracy", [accuracy_score(expected, predicted)])
    each = precision_recall_fscore_support(expected, predicted, labels=every, zero_division=0)
    for precision, recall, f1, support in zip(*each):
        yield figures("label", [precision, recall, f1]) + f" {int(support)}"
    for average in ["micro", "macro", "weighted"]:
        # As scikit-learn does by default: over the labels that stand in the data or in a prediction.
        yield figures(average, precision_recall_fscore_support(expected, predicted, average=average, zero_division=0)[:3])


def main():
    text = "".join(f"{line}\n" for case in cases() for line in lines(*case))
    (HERE / "metrics.txt").write_text(text, encoding="ascii")


if __name__ == "__main__":
    main()
