#!/usr/bin/env python3
"""The wide comparison with `transformers`, on this machine's best level and every other it has.

  parity_full.py BUILD_DIR [--shared DIR] [--cache DIR] [--cpu LEVEL ...]

1. The trained checkpoint on the 872 validation sentences of SST-2: logits and all last hidden states in mixed batches of
   32, labels and accuracy, in fp32 and int8, from the checkpoint and from the int8-stored bundled file.
2. A random DistilBERT-base (made in --cache by tests/golden/make_parity.py): texts of 1 to 512 tokens, as stored and
   converted to fp16.

Exits with 77 where torch and transformers (tests/golden/requirements.txt) are missing; DISTILD_PYTHON names a Python
that has them.
"""

import argparse
import ctypes
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "golden"))
sys.dont_write_bytecode = True

try:
    import numpy as np
    import reference
except ImportError as missing:
    python = os.environ.get("DISTILD_PYTHON")
    if python and not os.environ.get("DISTILD_PYTHON_TRIED"):
        os.environ["DISTILD_PYTHON_TRIED"] = "1"
        os.execv(python, [python, *sys.argv])
    print(f"skipped: {missing}; see tests/golden/requirements.txt")
    sys.exit(77)

BATCH = 32
SKIPPED = 77


class Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("message", ctypes.c_char * 1000)]


class Options(ctypes.Structure):
    _fields_ = [("precision", ctypes.c_char_p), ("cpu", ctypes.c_char_p)]


class Distil:
    """A model and a session of libdistil, through ctypes."""

    def __init__(self, library, path, precision, cpu, hidden, labels):
        self.library, self.hidden, self.labels = library, hidden, labels
        self.model, self.session = ctypes.c_void_p(), ctypes.c_void_p()
        options = Options(precision.encode(), cpu.encode())
        self.call("distil_model_open", str(path).encode(), ctypes.byref(options), ctypes.byref(self.model))
        self.call("distil_session_create", self.model, 0, ctypes.byref(self.session))

    def call(self, name, *arguments):
        error = Error()
        if getattr(self.library, name)(*arguments, ctypes.byref(error)):
            raise RuntimeError(f"{name}: {error.message.decode()}")

    def compute(self, texts):
        """Logits (texts, labels) and last hidden states (all tokens, hidden) of token lists, in one batch."""
        tokens = (ctypes.c_void_p * len(texts))()
        for i, ids in enumerate(texts):
            one = ctypes.c_void_p()
            self.call("distil_tokens_from_ids", self.model, (ctypes.c_int32 * len(ids))(*ids), len(ids), ctypes.byref(one))
            tokens[i] = one
        logits = np.full((len(texts), self.labels), np.nan, np.float32)
        hidden = np.full((sum(map(len, texts)), self.hidden), np.nan, np.float32)
        as_floats = ctypes.POINTER(ctypes.c_float)
        self.call("distil_logits", self.session, tokens, len(texts), logits.ctypes.data_as(as_floats))
        self.call("distil_hidden_states", self.session, tokens, len(texts), hidden.ctypes.data_as(as_floats))
        for one in tokens:
            self.library.distil_tokens_free(ctypes.c_void_p(one))
        return logits, hidden

    def close(self):
        self.library.distil_session_free(self.session)
        self.library.distil_model_free(self.model)


def sentences_of(shared, checkpoint):
    from tokenizers import Tokenizer

    rows = (shared / "data/sst2/validation.tsv").read_text(encoding="utf-8").strip().split("\n")
    rows = [row.rsplit("\t", 1) for row in rows]
    if not rows[0][1].strip().isdigit():
        rows = rows[1:]
    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return [tokenizer.encode(text).ids[:512] for text, _ in rows], np.array([int(label) for _, label in rows])


def expected_of(checkpoint, texts, rounded=False):
    model = reference.load(checkpoint)
    if rounded:
        reference.round_to_int8(model)
    answers = [reference.answer(model, ids) for ids in texts]
    return np.stack([logits for logits, _ in answers]), [hidden for _, hidden in answers]


def compare(distil, texts, labels, expected):
    """Largest differences of logits and hidden states, agreement of labels, accuracy."""
    logits_expected, hidden_expected = expected
    worst_hidden, parts = 0.0, []
    for first in range(0, len(texts), BATCH):
        logits, hidden = distil.compute(texts[first : first + BATCH])
        parts.append(logits)
        worst_hidden = max(worst_hidden, float(np.abs(hidden - np.concatenate(hidden_expected[first : first + BATCH])).max()))
    logits = np.concatenate(parts)
    agreement = float((logits.argmax(1) == logits_expected.argmax(1)).mean())
    return float(np.abs(logits - logits_expected).max()), worst_hidden, agreement, float((logits.argmax(1) == labels).mean())


def compare_trained(build, shared, levels):
    """The sentences at every level and precision; the number of bounds that do not hold."""
    checkpoint, failures = shared / "models/sst2-minilm", 0
    library = ctypes.CDLL(str(next(build.glob("**/libdistil.so"))))
    texts, labels = sentences_of(shared, checkpoint)
    as_stored = expected_of(checkpoint, texts)
    rounded = expected_of(checkpoint, texts, rounded=True)
    accuracy_expected = float((as_stored[0].argmax(1) == labels).mean())
    print(f"{len(texts)} sentences, {sum(map(len, texts))} tokens; transformers fp32: accuracy {accuracy_expected:.4f}")
    runs = [("checkpoint", checkpoint, "fp32", as_stored), ("checkpoint", checkpoint, "int8", as_stored)]
    bundled = [path for path in ROOT.glob("*/**/sst2-minilm.distild") if "build" not in path.parts]
    if bundled:
        runs += [("bundled", bundled[0], "fp32", rounded), ("bundled", bundled[0], "int8", as_stored)]
    for level in levels:
        for name, path, precision, expected in runs:
            try:
                distil = Distil(library, path, precision, level, 384, 2)
            except RuntimeError as error:
                print(f"{name} {precision} {level}: skipped: {error}")
                continue
            logits, hidden, agreement, accuracy = compare(distil, texts, labels, expected)
            distil.close()
            # Seven-bit activations are at the edge of the bounds; eight-bit ones are within them.
            within = agreement >= 0.99 and abs(accuracy - accuracy_expected) <= 0.005
            fine = max(logits, hidden) <= 1e-4 if precision == "fp32" else within
            failures += not fine
            print(
                f"{name:10} {precision} {level:8} largest difference: logits {logits:.2e}, hidden {hidden:.2e}; "
                f"same label {agreement:.4f}, accuracy {accuracy:.4f}{'' if fine else '  <- out of bounds'}",
                flush=True,
            )
    return failures


def compare_base(build, cache):
    """test_parity on the random base checkpoint, as stored and converted to fp16; the number of failures."""
    checkpoint = cache / "base"
    if not (checkpoint / "parity.safetensors").exists():
        subprocess.run([sys.executable, str(ROOT / "tests/golden/make_parity.py"), "base", str(cache)], check=True)
    program = str(next(path for path in build.glob("**/test_parity") if path.is_file()))
    failures = 0
    for options in ([], ["--store", "fp16", "--tolerance", "5e-3"]):
        print("DistilBERT-base, random", *options, flush=True)
        failures += subprocess.run([program, str(checkpoint), str(checkpoint / "parity.safetensors"), *options]).returncode != 0
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--shared", type=pathlib.Path, default=os.environ.get("DISTILD_SHARED", ROOT.parent / "shared"))
    parser.add_argument("--cache", type=pathlib.Path, default=pathlib.Path.home() / ".cache/distild-tests")
    parser.add_argument("--cpu", nargs="*", default=["openblas", "avx2", "avx512", "vnni"])
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    failures = 0
    if (arguments.shared / "data/sst2/validation.tsv").exists():
        failures += compare_trained(arguments.build, arguments.shared, arguments.cpu)
    else:
        print(f"{arguments.shared}: not there, so the trained checkpoint is left out (DISTILD_SHARED names it)")
    failures += compare_base(arguments.build, arguments.cache)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
