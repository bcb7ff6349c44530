#!/usr/bin/env python3
"""Makes the fixtures that hold distild's forward pass to `transformers` (see reference.py for their form).

  make_parity.py tiny                   tests/golden/tiny/: small random checkpoints with their expected answers
  make_parity.py trained CHECKPOINT     tests/golden/sst2-minilm-{fp32,int8}.safetensors, of the trained checkpoint and
                                        of the same with its matrices rounded to int8, and sst2-minilm-hardest.safetensors
  make_parity.py base DIRECTORY         DIRECTORY/base: a random DistilBERT-base (265 MB) and its fixture; not committed

Needs the packages of requirements.txt. Run again, it writes the same numbers to within float32 rounding.
"""

import argparse
import json
import pathlib
import shutil

import numpy as np
import torch
import transformers

import reference

HERE = pathlib.Path(__file__).resolve().parent
LENGTHS = [3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 100, 127, 128, 200, 255, 256, 300, 511, 512]
SEED_TINY = 20250101
SEED_BASE = 20250102
# Of SST-2's validation set, those that split bf16 products have moved most.
HARDEST = [
    "if director michael dowse only superficially understands his characters , he does n't hold them in contempt . ",
    "you do n't have to know about music to appreciate the film 's easygoing blend of comedy and romance . ",
]
CLS, SEP, FIRST = 101, 102, 1996  # of the uncased BERT vocabulary; ids from FIRST on are words


def some_tokens(length):
    """Every token of a short text; the first, the last and some 20 between of a longer one."""
    if length <= 33:
        return range(length)
    return sorted({0, 1, length - 2, length - 1, *np.linspace(0, length - 1, 20).astype(int).tolist()})


def trained_texts(checkpoint):
    """Ids of running text cut to every length, each from another start, between [CLS] and [SEP]; and [CLS] alone."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    sentences = (HERE / "sentences.txt").read_text(encoding="utf-8").split("\n")
    words = tokenizer.encode(" ".join(sentences), add_special_tokens=False).ids
    texts = [[CLS]]
    for i, length in enumerate(LENGTHS):
        start = 37 * i
        texts.append([CLS, *(words + words)[start : start + length - 2], SEP])
    # Whole sentences, as a server sees them.
    texts += [tokenizer.encode(sentence).ids for sentence in sentences if sentence]
    return texts


def make_trained(checkpoint):
    texts = trained_texts(checkpoint)
    model = reference.load(checkpoint)
    about = {"checkpoint": "sst2-minilm", "lengths": "1, " + ", ".join(map(str, LENGTHS)) + ", sentences.txt"}

    def keep(length):
        return some_tokens(length) if length in LENGTHS + [1] else [0]

    reference.record(HERE / "sst2-minilm-fp32.safetensors", model, texts, keep, {**about, "weights": "as stored"})
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    hardest = [tokenizer.encode(sentence).ids for sentence in HARDEST]
    reference.record(HERE / "sst2-minilm-hardest.safetensors", model, hardest, range, {"checkpoint": "sst2-minilm"})
    reference.round_to_int8(model)
    about["weights"] = "matrices rounded to int8, one scale per row"
    reference.record(HERE / "sst2-minilm-int8.safetensors", model, texts, keep, about)


def make_base(directory):
    target = directory / "base"
    torch.manual_seed(SEED_BASE)
    config = transformers.DistilBertConfig(num_labels=2)
    model = transformers.DistilBertForSequenceClassification(config).eval()
    with torch.no_grad():  # biases and norms off their neutral values, so that each one counts
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(target)
    vocabulary = ["[PAD]"] + [f"[unused{i}]" for i in range(99)] + ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary += [f"word{i}" for i in range(len(vocabulary), config.vocab_size)]
    write_tokenizer(target, vocabulary, window=512)
    generator = np.random.default_rng(SEED_BASE)
    texts = [[CLS]]
    for length in LENGTHS:
        texts.append([CLS, *generator.integers(FIRST, config.vocab_size, length - 2).tolist(), SEP])
    about = {"checkpoint": "DistilBERT-base, random", "seed": str(SEED_BASE)}
    reference.record(target / "parity.safetensors", reference.load(target), texts, some_tokens, about)


def write_tokenizer(target, vocabulary, window, fast=False):
    """The tokenizer files of a checkpoint: vocab.txt with tokenizer_config.json, and with fast tokenizer.json instead."""
    (target / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    settings = {
        "do_lower_case": True,
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
        "tokenize_chinese_chars": True,
        "strip_accents": None,
        "tokenizer_class": "BertTokenizer",
        "model_max_length": window,
    }
    (target / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    if fast:
        from tokenizers.implementations import BertWordPieceTokenizer

        BertWordPieceTokenizer(str(target / "vocab.txt"), lowercase=True).save(str(target / "tokenizer.json"), pretty=False)
        (target / "vocab.txt").unlink()


# name: architecture, problem_type, labels, stored type, shape, tokenizer.json instead of vocab.txt. Head sizes are on and
# off multiples of 8 and 16, and label counts are 1, 2 and more.
TINY = {
    "distilbert-single": ("distilbert", None, ["negative", "neutral", "positive"], torch.float32, (32, 4, 64, 2, 64), False),
    "distilbert-multi": ("distilbert", "multi_label_classification", ["a", "b", "c", "d", "e"], torch.float16, (48, 3, 96, 2, 40), True),
    "distilbert-regression": ("distilbert", "regression", ["score"], torch.bfloat16, (40, 4, 72, 3, 48), False),
    "bert-single": ("bert", "single_label_classification", ["no", "yes"], torch.float32, (32, 2, 64, 2, 64), True),
    "bert-multi": ("bert", "multi_label_classification", ["x", "y", "z"], torch.bfloat16, (48, 4, 80, 2, 40), False),
    "bert-regression": ("bert", None, ["LABEL_0"], torch.float16, (36, 2, 68, 2, 48), True),
}
TINY_WORDS = """the film was is not a good bad very great terrible story actor scene love hate it and but of in to long
short fun dull warm cold plot music end start""".split()
TINY_PIECES = "##ed ##ing ##ly ##er ##est ##ness ##ful".split()
TINY_TEXTS = [
    "The film was good.",
    "the plot is dull, and the ending terrible",
    "Not a great story; but the music was lovely!",
    "A.",
    "Ça, c'était très bon",
    "goodness 電影 xyz42 \u2603",
    "long " * 100,
]
TINY_PAIRS = [("the film was good", "is it fun?"), ("long " * 60, "short story")]


def tiny_vocabulary():
    letters = [chr(c) for c in range(33, 127) if not chr(c).isupper()]
    pieces = ["##" + c for c in letters if c.isalnum()]
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *pieces, *[w for w in TINY_WORDS if len(w) > 1], *TINY_PIECES]


def randomise(model):
    """Wide enough that GELU, softmax and every bias matter: a trained model's activations are not small either."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2:
                scale = 1.0 if "embeddings" in name else 1.5 / parameter.shape[1] ** 0.5
                parameter.copy_(scale * torch.randn_like(parameter))
            else:
                is_gamma = "norm" in name.lower() and name.endswith("weight")
                parameter.copy_(float(is_gamma) + 0.3 * torch.randn_like(parameter))


def tiny_model(architecture, problem, labels, shape, vocabulary):
    hidden, heads, ffn, layers, window = shape
    common = {
        "vocab_size": len(vocabulary),
        "max_position_embeddings": window,
        "id2label": dict(enumerate(labels)),
        "label2id": {label: i for i, label in enumerate(labels)},
        "problem_type": problem,
        "pad_token_id": 0,
    }
    if architecture == "distilbert":
        config = transformers.DistilBertConfig(dim=hidden, n_heads=heads, hidden_dim=ffn, n_layers=layers, **common)
        model = transformers.DistilBertForSequenceClassification(config)
    else:
        config = transformers.BertConfig(
            hidden_size=hidden, num_attention_heads=heads, intermediate_size=ffn, num_hidden_layers=layers, **common
        )
        model = transformers.BertForSequenceClassification(config)
    randomise(model)
    return model.eval()


def make_tiny():
    vocabulary = tiny_vocabulary()
    for i, (name, (architecture, problem, labels, dtype, shape, fast)) in enumerate(TINY.items()):
        target = HERE / "tiny" / name
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        torch.manual_seed(SEED_TINY + i)
        window = shape[4]
        tiny_model(architecture, problem, labels, shape, vocabulary).to(dtype).save_pretrained(target)
        write_tokenizer(target, vocabulary, window, fast)
        model = reference.load(target)
        generator = np.random.default_rng(SEED_TINY + i)
        lengths = [1, 2, 3, 5, 8, 13, 16, 17, 31, 33, window - 1, window]
        texts = [[2, *generator.integers(5, len(vocabulary), n - 2).tolist(), 3] if n > 1 else [2] for n in lengths]
        about = {"checkpoint": name, "seed": str(SEED_TINY + i)}
        reference.record(target / "parity.safetensors", model, texts, range, about)
        write_cases(target, model, window)


def write_cases(target, model, window):
    """cases.json: texts and pairs with their ids, token types, logits and scores, from the text to the answer."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(target)
    cases = []
    for text, pair in [(text, None) for text in TINY_TEXTS] + TINY_PAIRS:
        encoded = tokenizer(text, pair, truncation=True, max_length=window, return_token_type_ids=True)
        ids, types = encoded["input_ids"], encoded["token_type_ids"]
        has_types = model.config.model_type == "bert"
        logits, _ = reference.answer(model, ids, types if has_types else None)
        cases.append({"text": text, "pair": pair, "ids": ids, "types": types, "logits": logits.tolist(),
                      "scores": scores(model.config, logits)})
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    (target / "cases.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def scores(config, logits):
    """As problem_type asks; where config.json names none, regression for one label as transformers trains it."""
    values = torch.tensor(logits)
    if config.problem_type == "multi_label_classification":
        return torch.sigmoid(values).tolist()
    if config.problem_type == "single_label_classification" or config.num_labels > 1:
        return torch.softmax(values, 0).tolist()
    return values.tolist()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("tiny")
    commands.add_parser("trained").add_argument("checkpoint", type=pathlib.Path)
    commands.add_parser("base").add_argument("directory", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.command == "tiny":
        make_tiny()
    elif arguments.command == "trained":
        make_trained(arguments.checkpoint)
    else:
        make_base(arguments.directory)


if __name__ == "__main__":
    main()
