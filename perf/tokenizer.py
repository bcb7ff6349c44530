"""Tokens per CPU second of the tokenizer and of HuggingFace's `tokenizers`, on one thread, in one run.

    tokenizer.py DRIVER [--rounds N]

DRIVER is the build's tokenize_driver. The two take turns; the medians of their rounds are compared. Texts: the sentences of SST-2's
validation and training sets, and the paragraphs of XQuAD in English, from the data directory (DISTILD_SHARED).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "golden"))
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
import tokenizer_cases as cases  # noqa: E402

WINDOW = 512


def sst2(name):
    with open(cases.shared("data", "sst2", name), encoding="utf-8") as f:
        return [line.rsplit("\t", 1)[0] for line in f.read().split("\n")[1:] if line]


def xquad():
    with open(cases.shared("data", "xquad", "xquad.en.json"), encoding="utf-8") as f:
        return [p["context"] for article in json.load(f)["data"] for p in article["paragraphs"]]


def ours(driver, spec, texts, seconds):
    data = spec + b"".join(cases.record(WINDOW, cases.RIGHT, t.encode()) for t in texts)
    out = subprocess.run([driver, "--time", str(seconds)], input=data, stdout=subprocess.PIPE, check=True).stdout
    rounds = [line.split() for line in out.decode().splitlines()]
    return statistics.median(int(tokens) / float(seconds) for tokens, seconds in rounds), int(rounds[0][0])


def theirs(reference, texts, batch):
    start, tokens = time.process_time(), 0
    if batch:
        for e in reference.encode_batch(texts):
            tokens += len(e)
    else:
        for text in texts:
            tokens += len(reference.encode(text))
    return tokens / (time.process_time() - start), tokens


def cpu_model():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        return next((line.split(":")[1].strip() for line in f if line.startswith("model name")), "unknown CPU")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("driver")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if not os.path.exists(cases.shared("models", "sst2-minilm", "vocab.txt")):
        print("skipped: there is no vocabulary in " + cases.shared())
        return 77
    cases.with_tokenizers()
    vocabulary = cases.read_vocabulary(cases.shared("models", "sst2-minilm", "vocab.txt"))
    setting = cases.settings()[0]
    reference, spec = setting.reference(vocabulary), setting.pack(vocabulary)
    reference.enable_truncation(WINDOW)
    created = subprocess.run([options.driver, "--create"], input=spec, stdout=subprocess.PIPE, check=True).stdout
    times = [1000 * float(t) for t in created.split()]
    print("%s; created in %.2f ms (median of %d, first %.2f ms)"
          % (cpu_model(), statistics.median(times), len(times), times[0]))
    print("%-18s %9s %14s %14s %14s %7s" % ("texts", "tokens", "ours/s", "encode/s", "encode_batch/s", "ratio"))
    for name, texts in (("SST-2 validation", sst2("validation.tsv")), ("SST-2 train", sst2("train.tsv")[:20000]),
                        ("XQuAD paragraphs", xquad())):
        mine, one, batch = [], [], []
        for _ in range(options.rounds):
            rate, count = ours(options.driver, spec, texts, 0.2)
            mine.append(rate)
            for rates, is_batch in ((one, False), (batch, True)):
                rate, tokens = theirs(reference, texts, is_batch)
                rates.append(rate)
                if tokens != count:
                    sys.exit("%s: %d tokens, tokenizers has %d" % (name, count, tokens))
        mine, one, batch = map(statistics.median, (mine, one, batch))
        print("%-18s %9d %14.0f %14.0f %14.0f %6.1fx" % (name, count, mine, one, batch, mine / max(one, batch)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
