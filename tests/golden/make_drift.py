#!/usr/bin/env python3
"""Makes drift.txt: what Evidently says of seeded samples, for the statistics of `distild drift`.

  make_drift.py        writes tests/golden/drift.txt

Needs evidently (0.7.23 made the file here). A case is

  case NAME KIND REFERENCE CURRENT     kind: numbers, integers or categories; then rows of each
  rows VALUE...                        of the reference, then of the current sample; categories are numbers
  rows VALUE...
  default TEST                         which test Evidently chooses
  score TEST VALUE DRIFTED             for each test that applies

Rows of large samples are not written but follow a rule that the test follows too:

  rule STEP SCALE SHIFT                row i is fmod(i * STEP, 1) * SCALE + SHIFT

Kinds and names are those of the columns of `table`, which Evidently's preset judges as a whole:

  table CASE...
  share VALUE DRIFTED

Distributions behind the p-values, from scipy:

  kstwo ROWS DISTANCE P
  chi2 DEGREES VALUE P
"""

import os
import pathlib
import sys
import warnings

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.legacy.calculations import stattests
from evidently.legacy.core import ColumnType
from evidently.presets import DataDriftPreset
from scipy import stats

HERE = pathlib.Path(__file__).resolve().parent
SEED = 20250612
TESTS = ["ks", "chisquare", "z", "wasserstein", "jensenshannon", "psi"]
MOST_CATEGORIES = 100


def numbers(values, digits=4):
    return np.round(np.asarray(values, dtype=float), digits)


def small_cases(random):
    """Up to 1000 rows of reference: p-values decide."""
    for rows, current in [(200, 180), (1000, 700), (250, 250), (31, 977)]:
        name = f"{rows}-{current}"
        yield f"normal-{name}", "numbers", numbers(random.normal(0, 1, rows)), numbers(random.normal(0, 1, current))
        yield f"moved-{name}", "numbers", numbers(random.normal(0, 1, rows)), numbers(random.normal(0.25, 1.2, current))
        yield f"confidence-{name}", "numbers", numbers(random.beta(8, 1, rows)), numbers(random.beta(6, 1, current))
        yield f"length-{name}", "integers", random.poisson(20, rows), random.poisson(22, current)
        yield f"label-{name}", "categories", random.choice(2, rows, p=[0.4, 0.6]), random.choice(2, current, p=[0.46, 0.54])
        yield f"labels-{name}", "categories", random.choice(7, rows), random.choice(7, current, p=[0.2, 0.1, 0.2, 0.1, 0.1, 0.2, 0.1])
    yield "same-values", "numbers", numbers(random.choice(4, 300) / 4), numbers(random.choice(4, 200, p=[0.1, 0.2, 0.3, 0.4]) / 4)
    yield "two-values", "numbers", numbers(random.choice(2, 300)), numbers(random.choice(2, 200, p=[0.4, 0.6]))
    yield "one-value", "categories", np.zeros(100, int), np.zeros(50, int)
    yield "other-value", "categories", np.zeros(100, int), np.ones(50, int)
    yield "new-value", "categories", random.choice(3, 100), random.choice(4, 90)
    yield "apart", "numbers", numbers(random.normal(0, 1, 60)), numbers(random.normal(50, 1, 45))
    yield "many-labels", "categories", random.choice(40, 800), random.choice(40, 500)
    yield "single-row", "numbers", numbers([0.5]), numbers(random.random(40))


def large_cases(random):
    """More rows of reference: distances decide."""
    for rows, current in [(1001, 400), (1800, 1500)]:
        name = f"{rows}-{current}"
        yield f"normal-{name}", "numbers", numbers(random.normal(0, 1, rows)), numbers(random.normal(0, 1, current))
        yield f"moved-{name}", "numbers", numbers(random.normal(0, 1, rows)), numbers(random.normal(0.3, 1.1, current))
        yield f"length-{name}", "integers", random.poisson(20, rows), random.poisson(24, current)
        yield f"wide-{name}", "integers", random.poisson(4000, rows), random.poisson(4030, current)
        yield f"label-{name}", "categories", random.choice(2, rows, p=[0.4, 0.6]), random.choice(2, current, p=[0.55, 0.45])
        yield f"labels-{name}", "categories", random.choice(5, rows), random.choice(5, current)
    few = random.choice(3, 1200) / 2
    yield "few-values", "numbers", numbers(few), numbers(random.choice(3, 500, p=[0.5, 0.25, 0.25]) / 2)
    yield "rare-share", "numbers", numbers(np.where(random.random(1500) < 0.05, random.random(1500), 0), 2), numbers(
        np.where(random.random(800) < 0.2, random.random(800), 0), 2)
    yield "constant", "numbers", numbers(np.full(1200, 0.25)), numbers(random.normal(0.25, 0.01, 300))


RULES = [  # rows, step, scale, shift, of both samples
    ("long-same", (12000, 0.6180339887498949, 1, 0), (9000, 0.41421356237309515, 1, 0)),
    ("long-moved", (12000, 0.6180339887498949, 1, 0), (9000, 0.41421356237309515, 1.02, 0)),
    ("long-little", (20000, 0.6180339887498949, 1, 0), (15000, 0.41421356237309515, 1, 0.008)),
    ("long-short", (12000, 0.6180339887498949, 1, 0), (50, 0.41421356237309515, 1, 0.1)),
    ("long-equal", (15000, 0.6180339887498949, 1, 0), (15000, 0.41421356237309515, 1, 0.01)),
    ("exact-equal", (10000, 0.6180339887498949, 1, 0), (10000, 0.41421356237309515, 1, 0.01)),
    ("exact-other", (10000, 0.6180339887498949, 1, 0), (7001, 0.41421356237309515, 1, 0.012)),
]


def rule_cases():
    for name, *samples in RULES:
        yield name, [np.fmod(np.arange(rows) * step, 1) * scale + shift for rows, step, scale, shift in samples], samples


def series(kind, values):
    if kind == "categories":
        return pd.Series([f"label {value}" for value in values])
    return pd.Series(values, dtype=float if kind == "numbers" else int)


def applies(test, kind, distinct):
    if test in ("ks", "wasserstein"):
        return kind != "categories"
    return {"z": distinct <= 2, "chisquare": 2 <= distinct <= MOST_CATEGORIES}.get(test, True)


def judged(name, kind, reference, current):
    reference, current = series(kind, reference), series(kind, current)
    of = ColumnType.Categorical if kind == "categories" else ColumnType.Numerical
    distinct = pd.concat([reference, current]).nunique()
    yield "default " + stattests.get_stattest(reference, current, of, None).name
    for test in TESTS:
        if not applies(test, kind, distinct):
            continue
        found = getattr(stattests, {"chisquare": "chi", }.get(test, test) + "_stat_test")(reference, current, of, None)
        yield f"score {test} {float(found.drift_score)!r} {int(found.drifted)}"


def table(names, cases):
    """What the preset says of the named cases as columns of one table."""
    frames, kinds = [{}, {}], {}
    for name, kind, *samples in cases:
        if name in names:
            kinds[name] = kind
            for frame, sample in zip(frames, samples):
                frame[name] = series(kind, sample)
    definition = DataDefinition(
        numerical_columns=[name for name in names if kinds[name] != "categories"],
        categorical_columns=[name for name in names if kinds[name] == "categories"],
    )
    reference, current = (Dataset.from_pandas(pd.DataFrame(frame), data_definition=definition) for frame in frames)
    found = Report([DataDriftPreset()]).run(current, reference).dict()["metrics"][0]["value"]
    yield "table " + " ".join(names)
    yield f"share {float(found['share'])!r} {int(found['share'] >= 0.5)}"


def rows(values):
    return "rows " + " ".join(f"{value:g}" if float(f"{value:g}") == value else repr(float(value)) for value in values)


def distributions():
    for n in [5, 30, 140, 141, 900, 5000, 40000, 200000]:
        for z in [0.25, 0.4, 0.5, 0.7, 0.9, 1.2, 1.45, 1.6, 2.05, 3.5]:
            if z < n**0.5:
                yield f"kstwo {n} {z / n**0.5!r} {float(stats.kstwo.sf(z / n**0.5, n))!r}"
    for degrees in [1, 2, 3, 10, 41, 900]:
        for x in [0.1, 1.0, 4.5, 30.0, 800.0]:
            yield f"chi2 {degrees} {x!r} {float(stats.chi2.sf(x, degrees))!r}"


def lines():
    random = np.random.default_rng(SEED)
    cases = [*small_cases(random), *large_cases(random)]
    for name, kind, reference, current in cases:
        yield f"case {name} {kind} {len(reference)} {len(current)}"
        yield rows(reference)
        yield rows(current)
        yield from judged(name, kind, reference, current)
    for name, values, samples in rule_cases():
        yield f"case {name} numbers {samples[0][0]} {samples[1][0]}"
        for sample in samples:
            yield "rule " + " ".join(repr(float(part)) for part in sample[1:])
        yield from judged(name, "numbers", *values)
    for size in ["200-180", "1000-700", "250-250", "31-977"]:
        yield from table([f"{name}-{size}" for name in ["normal", "moved", "confidence", "length", "label", "labels"]], cases)
    for size in ["1001-400", "1800-1500"]:
        yield from table([f"{name}-{size}" for name in ["normal", "moved", "length", "wide", "label", "labels"]], cases)
    yield from distributions()


def main():
    if os.environ.get("PYTHONHASHSEED") != "0":  # Evidently adds up in the order of sets
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "PYTHONHASHSEED": "0"})
    warnings.simplefilter("ignore")
    (HERE / "drift.txt").write_text("".join(f"{line}\n" for line in lines()), encoding="ascii")


if __name__ == "__main__":
    main()
