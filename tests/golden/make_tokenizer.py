"""Writes tokenizer.tsv: texts and what the `tokenizers` package makes of them.

    make_tokenizer.py [--vocabulary FILE] [--texts N] [--seed N]

A line "S name flags added" begins a setting: flags as tokenize_driver has them, added tokens as flags:content, separated by
spaces. A line "T window truncation text pair first tokens" is a text: pair is "-" for none, first the number of tokens of type 0,
tokens are id:gap:length, gap being the characters since the end of the token before. Fields are separated by tabs; bytes other
than printable ASCII, backslashes and, in added tokens, spaces are written \\xHH.
"""

import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tokenizer_cases as cases  # noqa: E402

LONGEST_TEXT = 160


def escape(data, keep_space=True):
    plain = lambda b: 0x20 < b < 0x7F and b != 0x5C or b == 0x20 and keep_space
    return "".join(chr(b) if plain(b) else "\\x%02X" % b for b in data)


def escape_text(data):
    # "-" alone stands for no text.
    return "\\x2D" if data == b"-" else escape(data)


def added_flags(t):
    return t["single_word"] | t["lstrip"] << 1 | t["rstrip"] << 2 | t["normalized"] << 3 | t["special"] << 4


def fixed(vocabulary):
    """What every setting is asked, whatever the seed."""
    texts = ["", " ", "\n\t ", "it 's a charming and often affecting journey .", "unflinchingly bleak and desperate",
             "[CLS] [SEP][MASK] [sep]", "a" * 100, "a" * 101, "中" * 30] + cases.TRICKY
    return [(1 << 20, cases.NONE, t.encode(), None) for t in texts] + [
        (8, cases.RIGHT, b"one two three four five six seven", None),
        (8, cases.LEFT, b"one two three four five six seven", None),
        (9, cases.RIGHT, b"one two three four", b"five six seven eight"),
        (10, cases.RIGHT, b"one two three four five", b"six seven eight nine ten"),
        (10, cases.LEFT, b"one", b"two three four five six seven eight nine"),
        (10, cases.RIGHT, b"two three four five six seven eight nine", b"one"),
        (512, cases.RIGHT, b" ".join([b"word"] * 511), None), (512, cases.RIGHT, b" ".join([b"word"] * 510), None)]


def tokens_of(encoded):
    out, end = [], 0
    for token, _, _, start, stop in encoded:
        out.append("%d:%d:%d" % (token, start - end, stop - start))
        end = stop
    return " ".join(out)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--vocabulary", default=cases.shared("models", "sst2-minilm", "vocab.txt"))
    parser.add_argument("--texts", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    cases.with_tokenizers()
    vocabulary = cases.read_vocabulary(options.vocabulary)
    settings = cases.settings()
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tokenizer.tsv")
    with open(path, "w", encoding="ascii", newline="\n") as f:
        for i, setting in enumerate(settings):
            added = " ".join("%d:%s" % (added_flags(t), escape(t["content"].encode(), False)) for t in setting.added)
            f.write("S\t%s\t%d\t%s\n" % (setting.name, setting.flags(), added))
            texts = cases.Texts(vocabulary, options.seed + i)
            records = fixed(vocabulary)
            wanted = len(records) + (options.texts // 2 if i == 0 else options.texts // 2 // (len(settings) - 1))
            while len(records) < wanted:
                r = texts.record()
                if len(r[2]) <= LONGEST_TEXT and len(r[3] or b"") <= LONGEST_TEXT:
                    records.append(r)
            for r, encoded in zip(records, cases.reference_encode(setting.reference(vocabulary), records)):
                pair = "-" if r[3] is None else escape_text(r[3])
                f.write("T\t%d\t%d\t%s\t%s\t%d\t%s\n" % (r[0], r[1], escape_text(r[2]), pair,
                                                    sum(t[1] == 0 for t in encoded), tokens_of(encoded)))
    print("%s: %d bytes" % (path, os.path.getsize(path)))


if __name__ == "__main__":
    main()
