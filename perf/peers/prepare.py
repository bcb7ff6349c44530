"""Makes a random-weight DistilBERT-base classifier and each peer's form of it.

    prepare.py DIRECTORY VOCAB

The seed is 0. VOCAB is any file of 30,522 lines: the weights are random, and so are the tokens they are timed on.
Everything that exists already is kept.
"""

import os
import sys

import numpy as np

SEED = 0
CALIBRATION_LENGTHS = (16, 32, 64, 128)


def progress(text):
    print(text, file=sys.stderr, flush=True)


def missing(path):
    if os.path.exists(path):
        return False
    progress(f"making {path}")
    return True


def make_checkpoint(path, vocab):
    import json
    import shutil

    import torch
    from transformers import DistilBertConfig, DistilBertForSequenceClassification
    torch.manual_seed(SEED)
    model = DistilBertForSequenceClassification(DistilBertConfig(num_labels=2)).eval()
    model.save_pretrained(path)
    shutil.copy(vocab, os.path.join(path, "vocab.txt"))
    with open(os.path.join(path, "tokenizer_config.json"), "w", encoding="utf-8") as file:
        json.dump({"do_lower_case": True, "tokenizer_class": "BertTokenizer", "model_max_length": 512}, file)


def export_onnx(checkpoint, path):
    import torch
    from transformers import DistilBertForSequenceClassification
    model = DistilBertForSequenceClassification.from_pretrained(checkpoint, attn_implementation="eager").eval()

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, ids, mask):
            return self.model(input_ids=ids, attention_mask=mask).logits

    ids = torch.randint(1000, 30000, (2, 16))
    dynamic = {"input_ids": {0: "batch", 1: "tokens"}, "attention_mask": {0: "batch", 1: "tokens"},
               "logits": {0: "batch"}}
    torch.onnx.export(Logits(), (ids, torch.ones_like(ids)), path, input_names=["input_ids", "attention_mask"],
                      output_names=["logits"], dynamic_axes=dynamic, opset_version=17, dynamo=False)


def fuse_onnx(source, path):
    from onnxruntime.transformers import optimizer
    fused = optimizer.optimize_model(source, model_type="bert", num_heads=12, hidden_size=768, opt_level=0)
    fused.save_model_to_file(path)


def quantise_onnx(source, path):
    from onnxruntime.quantization import QuantType, quantize_dynamic
    quantize_dynamic(source, path, per_channel=True, reduce_range=False, weight_type=QuantType.QInt8,
                     extra_options={"DefaultTensorType": 1})


def quantise_openvino(source, path):
    import nncf
    import openvino
    rng = np.random.default_rng(1)
    items = [{"input_ids": rng.integers(1000, 30000, (1, n)).astype(np.int64),
              "attention_mask": np.ones((1, n), np.int64)} for n in CALIBRATION_LENGTHS * 8]
    model = nncf.quantize(openvino.Core().read_model(source), nncf.Dataset(items), subset_size=len(items),
                          model_type=nncf.ModelType.TRANSFORMER, preset=nncf.QuantizationPreset.MIXED)
    openvino.save_model(model, path)


def convert_ctranslate2(checkpoint, path, quantization):
    import ctranslate2
    ctranslate2.converters.TransformersConverter(checkpoint).convert(path, quantization=quantization)


def main():
    directory, vocab = sys.argv[1:3]
    os.makedirs(directory, exist_ok=True)
    at = lambda name: os.path.join(directory, name)
    if missing(at("hf")):
        make_checkpoint(at("hf"), vocab)
    if missing(at("model.onnx")):
        export_onnx(at("hf"), at("model.onnx"))
    if missing(at("fused.onnx")):
        fuse_onnx(at("model.onnx"), at("fused.onnx"))
    for name in ("model", "fused"):
        if missing(at(f"{name}-int8.onnx")):
            quantise_onnx(at(f"{name}.onnx"), at(f"{name}-int8.onnx"))
    if missing(at("openvino-int8.xml")):
        quantise_openvino(at("model.onnx"), at("openvino-int8.xml"))
    for name, quantization in (("ctranslate2-fp32", None), ("ctranslate2-int8", "int8")):
        if missing(at(name)):
            convert_ctranslate2(at("hf"), at(name), quantization)


if __name__ == "__main__":
    main()
