#!/usr/bin/env python3
"""Makes pairs of sentences with the cosine that transformers finds, for `distild evaluate` to measure an encoder by.

  make_pairs.py CHECKPOINT SENTENCES.tsv >pairs.tsv

CHECKPOINT is a sentence encoder that pools by the mean, such as all-MiniLM-L6-v2; SENTENCES.tsv has a sentence in its first column
under a header, such as SST-2's validation set. Each sentence is paired with the three after it, in fp32. Needs torch and transformers.
"""

import argparse
import pathlib

import torch
import transformers

NEIGHBOURS = 3


@torch.no_grad()
def embed(model, tokenizer, text, window):
    inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=window)
    hidden = model(**inputs).last_hidden_state[0].mean(0)
    return hidden / hidden.norm()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("sentences", type=pathlib.Path)
    parser.add_argument("--window", type=int, default=256, help="most tokens of a sentence (%(default)s)")
    arguments = parser.parse_args()
    tokenizer = transformers.AutoTokenizer.from_pretrained(arguments.checkpoint)
    model = transformers.AutoModel.from_pretrained(arguments.checkpoint, dtype=torch.float32).eval()
    lines = arguments.sentences.read_text(encoding="utf-8").splitlines()[1:]
    sentences = [line.split("\t")[0] for line in lines if line]
    vectors = [embed(model, tokenizer, sentence, arguments.window) for sentence in sentences]
    print("sentence1\tsentence2\tscore")
    for i, sentence in enumerate(sentences):
        for k in range(i + 1, min(i + 1 + NEIGHBOURS, len(sentences))):
            print(f"{sentence}\t{sentences[k]}\t{float(vectors[i] @ vectors[k]):.7f}")


if __name__ == "__main__":
    main()
