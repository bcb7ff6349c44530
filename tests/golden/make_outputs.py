#!/usr/bin/env python3
"""Makes the fixtures that hold embeddings and the logits of answers' spans to `transformers`.

  make_outputs.py tiny                    tests/golden/tiny-outputs/: small random encoders and answerers with what they give
  make_outputs.py encoder CHECKPOINT      tests/golden/all-minilm-l6-v2-{fp32,int8}.safetensors, of the trained encoder and of
                                          the same with its matrices rounded to int8
  make_outputs.py answerer CHECKPOINT     tests/golden/qa-minilm-{fp32,int8}.safetensors, the same of the trained answerer

A fixture is a safetensors file; what its model does not have is not there:
  ids      int32 (tokens)           the texts' token ids, one text after another
  offsets  int32 (texts + 1)        text i is ids[offsets[i]:offsets[i+1]]
  mean, cls, max   float32 (texts, hidden)   embeddings by each pooling, not normalised
  spans    float32 (tokens, 2)      start and end logits of every token
cases.json beside a tiny checkpoint has texts, and pairs of them, with their ids, their token types and what the whole model
gives. Needs the packages of requirements.txt. Run again, it writes the same numbers to within float32 rounding.
"""

import argparse
import json
import pathlib
import shutil

import numpy as np
import safetensors.numpy
import torch
import transformers

import make_parity
import reference

HERE = pathlib.Path(__file__).resolve().parent
SEED = 20250103
CLS, SEP = 101, 102  # of the uncased BERT vocabulary
LENGTHS = [3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 100, 127, 128, 200, 255, 256, 300, 511, 512]


def load(path):
    """The checkpoint as the class that its config.json names, in float32."""
    name = json.loads((pathlib.Path(path) / "config.json").read_text())["architectures"][0]
    return getattr(transformers, name).from_pretrained(path, dtype=torch.float32).eval()


@torch.no_grad()
def outputs(model, ids, types=None):
    """What a fixture records of one text."""
    inputs = {"input_ids": torch.tensor([ids])}
    if types is not None and any(types):
        inputs["token_type_ids"] = torch.tensor([types])
    answer = model(**inputs)
    if hasattr(answer, "start_logits"):
        return {"spans": torch.stack([answer.start_logits[0], answer.end_logits[0]], 1).numpy()}
    hidden = answer.last_hidden_state[0]
    return {"mean": hidden.mean(0).numpy(), "cls": hidden[0].numpy(), "max": hidden.max(0).values.numpy()}


def record(path, model, texts, about):
    found = [outputs(model, ids) for ids in texts]
    tensors = {
        "ids": np.concatenate([np.asarray(ids, np.int32) for ids in texts]),
        "offsets": np.cumsum([0] + [len(ids) for ids in texts]).astype(np.int32),
    }
    for name in found[0]:
        join = np.concatenate if name == "spans" else np.stack
        tensors[name] = join([text[name] for text in found]).astype(np.float32)
    about = {**about, "torch": torch.__version__, "transformers": transformers.__version__}
    safetensors.numpy.save_file(tensors, str(path), metadata=about)
    print(f"{path}: {len(texts)} texts, {len(tensors['ids'])} tokens, {path.stat().st_size} bytes")


def trained_texts(checkpoint, window):
    """Running text cut to every length that the window has, and whole sentences."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    sentences = [s for s in (HERE / "sentences.txt").read_text(encoding="utf-8").split("\n") if s]
    words = tokenizer.encode(" ".join(sentences), add_special_tokens=False).ids
    texts = [[CLS]]
    for i, length in enumerate(n for n in LENGTHS if n <= window):
        texts.append([CLS, *(words + words)[37 * i : 37 * i + length - 2], SEP])
    return texts + [tokenizer.encode(sentence).ids for sentence in sentences[:10]]


def round_to_int8(model):
    """As a model file of --dtype int8 stores it: BERT's token type 0 first becomes part of the positions."""
    types = getattr(model.base_model.embeddings, "token_type_embeddings", None)
    if types is None:
        return reference.round_to_int8(model)
    with torch.no_grad():
        first = types.weight[0].clone()
        model.base_model.embeddings.position_embeddings.weight.add_(first)
        types.weight.sub_(first)
        kept = types.weight.clone()
        reference.round_to_int8(model)
        types.weight.copy_(kept)
    return model


def make_trained(checkpoint, name, window):
    texts = trained_texts(checkpoint, window)
    model = load(checkpoint)
    about = {"checkpoint": name, "lengths": ", ".join(str(len(ids)) for ids in texts)}
    record(HERE / f"{name}-fp32.safetensors", model, texts, {**about, "weights": "as stored"})
    round_to_int8(model)
    about["weights"] = "matrices rounded to int8, one scale per row, positions to fp16"
    record(HERE / f"{name}-int8.safetensors", model, texts, about)


# name: class, stored type, shape (hidden, heads, ffn, layers, positions), pooling, normalised, max_seq_length
TINY = {
    "bert-mean": ("BertModel", torch.float32, (32, 4, 64, 2, 64), "mean", True, 24),
    "distilbert-cls": ("DistilBertModel", torch.float16, (48, 3, 96, 2, 40), "cls", False, None),
    "distilbert-max": ("DistilBertModel", torch.bfloat16, (40, 4, 72, 3, 48), "max", True, 48),
    "bert-spans": ("BertForQuestionAnswering", torch.float32, (32, 2, 64, 2, 64), None, False, None),
    "distilbert-spans": ("DistilBertForQuestionAnswering", torch.float16, (48, 4, 80, 2, 40), None, False, None),
}


def tiny_model(name, shape, vocabulary):
    hidden, heads, ffn, layers, positions = shape
    common = {"vocab_size": len(vocabulary), "max_position_embeddings": positions, "pad_token_id": 0}
    if name.startswith("Distil"):
        config = transformers.DistilBertConfig(dim=hidden, n_heads=heads, hidden_dim=ffn, n_layers=layers, **common)
    else:
        config = transformers.BertConfig(
            hidden_size=hidden, num_attention_heads=heads, intermediate_size=ffn, num_hidden_layers=layers, **common
        )
    model = getattr(transformers, name)(config)
    make_parity.randomise(model)
    return model.eval()


def write_modules(target, hidden, pooling, normalise, longest):
    """What sentence-transformers keeps beside a checkpoint."""
    kinds = ["Transformer", "Pooling"] + ["Normalize"] * normalise
    paths = ["", "1_Pooling", "2_Normalize"]
    modules = [
        {"idx": i, "name": str(i), "path": paths[i], "type": f"sentence_transformers.models.{kind}"} for i, kind in enumerate(kinds)
    ]
    (target / "modules.json").write_text(json.dumps(modules, indent=2) + "\n")
    (target / "1_Pooling").mkdir()
    settings = {
        "word_embedding_dimension": hidden,
        "pooling_mode_cls_token": pooling == "cls",
        "pooling_mode_mean_tokens": pooling == "mean",
        "pooling_mode_max_tokens": pooling == "max",
        "pooling_mode_mean_sqrt_len_tokens": False,
    }
    (target / "1_Pooling" / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
    settings = {"max_seq_length": longest, "do_lower_case": False}
    (target / "sentence_bert_config.json").write_text(json.dumps(settings, indent=2) + "\n")


def write_cases(target, model, window, pooling, normalise):
    tokenizer = transformers.AutoTokenizer.from_pretrained(target)
    texts = [(text, None) for text in make_parity.TINY_TEXTS]
    cases = []
    for text, pair in texts + ([] if pooling else make_parity.TINY_PAIRS):
        encoded = tokenizer(text, pair, truncation=True, max_length=window, return_token_type_ids=True)
        ids, types = encoded["input_ids"], encoded["token_type_ids"]
        found = outputs(model, ids, types if model.config.model_type == "bert" else None)
        values = found[pooling] if pooling else found["spans"].reshape(-1)
        if normalise:
            values = torch.nn.functional.normalize(torch.tensor(values), dim=0).numpy()
        cases.append({"text": text, "pair": pair, "ids": ids, "types": types, "outputs": values.tolist()})
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    (target / "cases.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def make_tiny():
    vocabulary = make_parity.tiny_vocabulary()
    for i, (name, (kind, dtype, shape, pooling, normalise, longest)) in enumerate(TINY.items()):
        target = HERE / "tiny-outputs" / name
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        torch.manual_seed(SEED + i)
        window = longest or shape[4]
        tiny_model(kind, shape, vocabulary).to(dtype).save_pretrained(target)
        make_parity.write_tokenizer(target, vocabulary, window)
        if pooling:
            write_modules(target, shape[0], pooling, normalise, longest)
        model = load(target)
        generator = np.random.default_rng(SEED + i)
        lengths = [n for n in [1, 2, 3, 5, 8, 13, 16, 17, 31, 33, shape[4]] if n <= window]
        texts = [[2, *generator.integers(5, len(vocabulary), n - 2).tolist(), 3] if n > 1 else [2] for n in lengths]
        record(target / "outputs.safetensors", model, texts, {"checkpoint": name, "seed": str(SEED + i)})
        write_cases(target, model, window, pooling, normalise)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("tiny")
    for command in ("encoder", "answerer"):
        commands.add_parser(command).add_argument("checkpoint", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.command == "tiny":
        make_tiny()
    elif arguments.command == "encoder":
        make_trained(arguments.checkpoint, "all-minilm-l6-v2", 256)
    else:
        make_trained(arguments.checkpoint, "qa-minilm", 512)


if __name__ == "__main__":
    main()
