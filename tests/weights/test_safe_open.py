#!/usr/bin/env python3
"""Reads model files with the safetensors package and compares them with their sources, tensor by tensor.

    test_safe_open.py DRIVER

The sources are the small checkpoints in tests/golden/tiny and, where it is there, the trained one in DISTILD_SHARED. The digest
is computed here too, by the rule in docs/model-file.md. Exits with 77 where numpy or safetensors is missing; DISTILD_PYTHON
names a Python that has them.
"""

import hashlib
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
try:
    import numpy as np
    from safetensors import safe_open
except ImportError as missing:
    python = os.environ.get("DISTILD_PYTHON")
    if python and not os.environ.get("DISTILD_PYTHON_TRIED"):
        os.environ["DISTILD_PYTHON_TRIED"] = "1"
        os.execv(python, [python, *sys.argv])
    print(f"skipped: {missing}")
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAYER = {
    "distilbert": ("transformer.layer", {
        "attention.query": "attention.q_lin", "attention.key": "attention.k_lin", "attention.value": "attention.v_lin",
        "attention.output": "attention.out_lin", "attention.norm": "sa_layer_norm", "ffn.up": "ffn.lin1",
        "ffn.down": "ffn.lin2", "ffn.norm": "output_layer_norm"}),
    "bert": ("encoder.layer", {
        "attention.query": "attention.self.query", "attention.key": "attention.self.key",
        "attention.value": "attention.self.value", "attention.output": "attention.output.dense",
        "attention.norm": "attention.output.LayerNorm", "ffn.up": "intermediate.dense",
        "ffn.down": "output.dense", "ffn.norm": "output.LayerNorm"}),
}


def read_source(path):
    """A checkpoint's tensors as float32. By hand, since numpy has no bfloat16."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, entry in json.loads(data[8:8 + length]).items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        raw = np.frombuffer(data[8 + length + begin:8 + length + end],
                            {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8"}[entry["dtype"]])
        if entry["dtype"] == "BF16":
            raw = (raw.astype(np.uint32) << 16).view(np.float32)
        tensors[name] = raw.astype(np.float32).reshape(entry["shape"])
    return tensors


def expected_tensors(source, architecture, layers):
    """Canonical names and float32 values, from a checkpoint's own."""
    prefix = architecture + "." if any(name.startswith(architecture + ".") for name in source) else ""
    get = source.__getitem__

    position = get(prefix + "embeddings.position_embeddings.weight")
    out = {"embeddings.word": get(prefix + "embeddings.word_embeddings.weight"), "embeddings.position": position}
    if architecture == "bert":
        types = get(prefix + "embeddings.token_type_embeddings.weight")
        out["embeddings.position"] = position + types[0]
        out["embeddings.token_type"] = types[1] - types[0]
    pairs = {"embeddings.norm": prefix + "embeddings.LayerNorm"}
    place, names = LAYER[architecture]
    for layer in range(layers):
        for ours, theirs in names.items():
            pairs[f"layers.{layer}.{ours}"] = f"{prefix}{place}.{layer}.{theirs}"
    if "classifier.weight" in source:
        pairs["head"] = "classifier"
        pairs["head.dense"] = "pre_classifier" if architecture == "distilbert" else prefix + "pooler.dense"
    for ours, theirs in pairs.items():
        for part in ("weight", "bias"):
            out[f"{ours}.{part}"] = get(f"{theirs}.{part}")
    return out


def check(path, checkpoint, dtype):
    config = json.loads((checkpoint / "config.json").read_text())
    architecture = config["model_type"]
    layers = config["n_layers" if architecture == "distilbert" else "num_hidden_layers"]
    expected = expected_tensors(read_source(checkpoint / "model.safetensors"), architecture, layers)
    with safe_open(path, "np") as file:
        metadata = file.metadata()
        found = {name: file.get_tensor(name) for name in file.keys()}
    for name, want in expected.items():
        have = found.pop(name)
        assert have.shape == want.shape, (name, have.shape, want.shape)
        if want.ndim == 1 or dtype == "fp32":
            assert have.dtype == np.float32 and np.array_equal(have, want), name
        elif dtype == "fp16" or name == "embeddings.position":
            assert have.dtype == np.float16 and np.array_equal(have, want.astype(np.float16)), name
        else:
            scale = found.pop(name + ".scale")
            assert have.dtype == np.int8 and np.array_equal(scale, np.abs(want).max(1) / np.float32(127)), name
            divisor = np.where(scale > 0, scale, 1)[:, None]
            assert np.array_equal(have, np.rint(want / divisor).astype(np.int8)), name
    assert not found, found.keys()

    data = path.read_bytes()
    digest = metadata["distild.digest"]
    header = struct.unpack("<Q", data[:8])[0]
    at = data.index(digest.encode(), 0, 8 + header)
    assert hashlib.sha256(data[:at] + b"0" * 64 + data[at + 64:]).hexdigest() == digest
    assert (8 + header) % 64 == 0
    assert metadata["distild.format_version"] == "1" and metadata["distild.dtype"] == dtype
    assert metadata["distild.architecture"] == architecture
    assert json.loads(metadata["distild.source"])["architecture"] == config["architectures"][0]
    vocabulary = metadata["distild.vocabulary"].split("\n")
    if (checkpoint / "tokenizer.json").exists():
        words = json.loads((checkpoint / "tokenizer.json").read_text())["model"]["vocab"]
    else:
        words = {token: i for i, token in enumerate((checkpoint / "vocab.txt").read_text().split("\n")) if token}
    assert {token: i for i, token in enumerate(vocabulary) if token} == words
    return len(expected)


def main():
    driver = sys.argv[1]
    checkpoints = sorted(path.parent for path in (ROOT / "tests/golden/tiny").glob("*/config.json"))
    shared = pathlib.Path(os.environ.get("DISTILD_SHARED", ROOT.parent / "shared")) / "models/sst2-minilm"
    checkpoints += [shared] if shared.exists() else []
    if not checkpoints:
        print("skipped: no checkpoint to convert")
        return 77
    with tempfile.TemporaryDirectory() as directory:
        for checkpoint in checkpoints:
            for dtype in ("fp32", "fp16", "int8"):
                path = pathlib.Path(directory) / "model.distild"
                subprocess.run([driver, checkpoint, path, dtype], check=True)
                print(f"{checkpoint.name} {dtype}: {check(path, checkpoint, dtype)} tensors equal")
    return 0


if __name__ == "__main__":
    sys.exit(main())
