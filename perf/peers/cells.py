"""The shapes that every program is timed on: batch x tokens, and 32 texts of mixed length."""

import numpy as np

CELLS = [(1, 16), (1, 32), (1, 64), (1, 128), (1, 256), (1, 512), (8, 16), (8, 64), (8, 128), (32, 32), (32, 128)]
MIX_LENGTHS = [8, 10, 12, 14, 16, 18, 20, 24, 28, 32, 36, 40, 44, 48, 56, 64, 72, 80, 88, 96, 104, 112, 128, 144, 160,
               176, 192, 224, 256, 320, 384, 512]
MIX = [int(n) for n in np.random.default_rng(0).permutation(MIX_LENGTHS)]
# How a peer may be given the mixed texts: padded to the longest, sorted by length in four batches of 8, one by one.
MIX_WAYS = ["mix32", "mix32-sorted8", "mix32-single"]
NAMES = [f"{batch}x{tokens}" for batch, tokens in CELLS] + ["mix32"]


def batches(name):
    """The padded batches of a cell: a list of (ids, mask), both (batch, tokens) int64."""
    rng = np.random.default_rng(1)
    if not name.startswith("mix32"):
        batch, tokens = map(int, name.split("x"))
        ids = rng.integers(1000, 30000, (batch, tokens)).astype(np.int64)
        return [(ids, np.ones_like(ids))]
    texts = [rng.integers(1000, 30000, n).astype(np.int64) for n in MIX]
    if name == "mix32":
        groups = [texts]
    elif name == "mix32-sorted8":
        ordered = sorted(texts, key=len)
        groups = [ordered[i:i + 8] for i in range(0, 32, 8)]
    else:
        groups = [[text] for text in texts]
    return [pad(group) for group in groups]


def pad(texts):
    longest = max(map(len, texts))
    ids = np.zeros((len(texts), longest), np.int64)
    mask = np.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, :len(text)] = text
        mask[row, :len(text)] = 1
    return ids, mask
