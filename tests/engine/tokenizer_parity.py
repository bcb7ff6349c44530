"""Compares the tokenizer with the `tokenizers` package: ids, types, special tokens and offsets.

    tokenizer_parity.py DRIVER [--texts N] [--seed N] [--vocabulary FILE] [--no-sweep]

First N seeded texts and pairs, shared among all settings; then every code point, alone, in words and among combining marks. Exit
status 0 where all are equal, 1 on a difference, 77 where there is no vocabulary.
"""

import argparse
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden"))
import tokenizer_cases as cases  # noqa: E402


def compare(driver, setting, vocabulary, reference, records, show=5):
    """Number of records that differ."""
    expected = cases.reference_encode(reference, records)
    wrong = 0
    for r, want, (status, full, got) in zip(records, expected, cases.run_driver(driver, setting, vocabulary, records)):
        if status == 0 and got == want and (full == len(want) or r[1] != cases.NONE) and full >= len(want):
            continue
        wrong += 1
        if wrong <= show:
            print("%s: window %d truncation %d text %a pair %a\n  expected %s\n  found    %s (status %d, full count %d)"
                  % (setting.name, r[0], r[1], r[2].decode("utf-8", "replace"), r[3], want, got, status, full))
    return wrong


def sweep_vocabulary(first, last):
    """Every code point of a plane and what the settings make of it, as a word and as a continuation."""
    import unicodedata
    tokens = dict.fromkeys(cases.SPECIAL + ["the"])
    results = set("xy\u0301\u0323\u302e")
    for cp in range(first, last):
        if not 0xD800 <= cp < 0xE000:
            c = chr(cp)
            results.add(c)
            results.update(c.lower())
            decomposed = unicodedata.normalize("NFD", c)
            results.update(decomposed)
            results.update(decomposed.lower())
    for c in sorted(results):
        if not c.isspace() and c != "\0":
            tokens[c] = None
            tokens["##" + c] = None
    return list(tokens)


def sweep(driver, settings):
    wrong = compared = 0
    patterns = ["%s", "x%sy", "x\u0323%s\u0301y", "\u0323\u302e%s\u302e\u0301 "]
    for plane in range(17):
        first, last = plane * 0x10000, (plane + 1) * 0x10000
        # Planes without a character in them, nor ever to be soon: one setting says enough.
        assigned = plane < 4 or plane > 13
        tokens = sweep_vocabulary(first, last)
        points = [cp for cp in range(first, last) if not 0xD800 <= cp < 0xE000]
        tested = patterns if assigned else patterns[2:3]
        for setting in settings if assigned else settings[:1]:
            reference = setting.reference(tokens)
            records = []
            for pattern in tested if setting is settings[0] else tested[::2]:
                for i in range(0, len(points), 32):
                    text = " ".join(pattern % chr(cp) for cp in points[i:i + 32])
                    records.append((1 << 20, cases.NONE, text.encode(), None))
            wrong += compare(driver, setting, tokens, reference, records, 2)
            compared += len(records) * 32
    return compared, wrong


def single_word_sweep(driver):
    """\\w of every code point, which single_word asks."""
    tokens = cases.SPECIAL + ["x"]
    setting = cases.Setting("single-word", extra=[cases.added("x", single_word=True, rstrip=True)])
    points = [cp for cp in range(0x110000) if not 0xD800 <= cp < 0xE000]
    records = [(1 << 20, cases.NONE, " ".join("x%s %sx" % (chr(cp), chr(cp)) for cp in points[i:i + 64]).encode(), None)
               for i in range(0, len(points), 64)]
    return len(points), compare(driver, setting, tokens, setting.reference(tokens), records, 2)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("driver")
    parser.add_argument("--texts", type=int, default=120000)
    parser.add_argument("--seed", type=int, default=20240229)
    parser.add_argument("--vocabulary", default=cases.shared("models", "sst2-minilm", "vocab.txt"))
    parser.add_argument("--no-sweep", action="store_true")
    options = parser.parse_args()
    if not os.path.exists(options.vocabulary):
        print("skipped: there is no %s" % options.vocabulary)
        return 77
    cases.with_tokenizers()
    import tokenizers
    vocabulary = cases.read_vocabulary(options.vocabulary)
    settings = cases.settings() + cases.small_settings()
    wrong = 0
    start = time.time()
    for i, setting in enumerate(settings):
        tokens = setting.tokens or vocabulary
        texts = cases.Texts(tokens, options.seed + i)
        share = options.texts // 2 if i == 0 else options.texts // 2 // (len(settings) - 1) + 1
        records = [texts.record() for _ in range(share)]
        found = compare(options.driver, setting, tokens, setting.reference(tokens), records)
        print("%-18s %7d texts, %d differ (%.0f s)" % (setting.name, share, found, time.time() - start), flush=True)
        wrong += found
    if not options.no_sweep:
        compared, found = sweep(options.driver, settings[:6])
        print("code points: %d compared in their contexts, %d texts differ (%.0f s)"
              % (compared, found, time.time() - start), flush=True)
        points, words = single_word_sweep(options.driver)
        print("word characters: %d compared, %d texts differ (%.0f s)" % (points, words, time.time() - start))
        wrong += found + words
    print("tokenizers %s: %s" % (tokenizers.__version__, "%d differences" % wrong if wrong else "no difference"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
