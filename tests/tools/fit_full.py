"""What `distild fit` makes of SST-2, beside scikit-learn on the same vectors. Needs the data of DISTILD_SHARED, scikit-learn and a bundled sentence
encoder; exits with 77 without.

  fit_full.py [ROWS]    on the first ROWS rows of the training set; all without
"""

import json
import os
import pathlib
import sys
import tempfile
import time

from harness import SHARED, SOURCE

SKIP = 77
DATA = SHARED / "data" / "sst2"
ENCODER = pathlib.Path(os.environ.get("DISTILD_ENCODER", SOURCE / "weights" / "all-minilm-l6-v2.distild"))
ALLOWED = 0.005  # by which the accuracy may be under scikit-learn's: four of the 872 texts


def embeddings(folder, data, numpy):
    """The vectors that the encoder makes of the texts, from a catalogue of them, and the labels."""
    rows = [line.split("\t") for line in data.read_text(encoding="utf-8").splitlines()[1:]]
    items = folder / "items.tsv"
    items.write_text("id\ttext\n" + "".join(f"{i}\t{text}\n" for i, (text, _) in enumerate(rows)), encoding="utf-8")
    run_long("catalogue", "build", items, "-o", folder / "items", "-m", ENCODER, "--dtype", "fp32")
    content = (folder / "items").read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    begin, end = header["vectors"]["data_offsets"]
    width = int(header["__metadata__"]["distild.width"])
    vectors = numpy.frombuffer(content[start + begin:start + end], "<f4").reshape(header["vectors"]["shape"])[:, :width]
    return vectors, [int(label) for _, label in rows]


def run_long(*arguments):
    """harness.run without its limit on time."""
    import subprocess

    from harness import PROGRAM, environment

    return subprocess.run([str(PROGRAM), *map(str, arguments)], capture_output=True, env=environment(), check=True, text=True).stdout


def main():
    try:
        import numpy
        from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
    except ImportError as missing:
        print(missing)
        return SKIP
    if not DATA.is_dir() or not ENCODER.is_file():
        print(f"{DATA} or {ENCODER} is missing")
        return SKIP
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        lines = (DATA / "train.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
        train = folder / "train.tsv"
        train.write_text("".join(lines[:1 + int(sys.argv[1])] if len(sys.argv) > 1 else lines), encoding="utf-8")
        model = folder / "fitted.distild"
        result = json.loads(run_long("fit", train, "--encoder", ENCODER, "-o", model, "--json"))
        measured = json.loads(run_long("evaluate", DATA / "validation.tsv", "--model", model, "-o", "-", "--json"))
        vectors, labels = embeddings(folder, train, numpy)
        held_vectors, held_labels = embeddings(folder, DATA / "validation.tsv", numpy)
    ours = measured["accuracy"]
    print(f"{result['rows']} rows: embedded in {result['embedding_seconds']:.1f} s, trained in {result['training_seconds']:.1f} s")
    print(f"distild fit: C {result['c']:g}, accuracy {ours:.4f}")
    best = 0
    for title, learner in (
        (f"LogisticRegression(C={result['c']:g})", LogisticRegression(C=result["c"], max_iter=1000)),
        ("LogisticRegressionCV()", LogisticRegressionCV(max_iter=1000)),
    ):
        start = time.monotonic()
        learner.fit(vectors, labels)
        score = learner.score(held_vectors, held_labels)
        best = max(best, score)
        print(f"scikit-learn's {title}: accuracy {score:.4f}, trained in {time.monotonic() - start:.1f} s")
    print(f"{'ok' if ours >= best - ALLOWED else 'FAILED'}: at least {best - ALLOWED:.4f} expected")
    return 0 if ours >= best - ALLOWED else 1


if __name__ == "__main__":
    sys.exit(main())
