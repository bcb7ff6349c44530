"""One peer, held in memory, timed on request.

    worker.py DIRECTORY PEER THREADS

Reads lines `CELL SECONDS` on standard input; answers each with a JSON line: the milliseconds of every repetition, at least 3,
or 1 where that took 4 times as long as was asked for.
"""

import json
import os
import sys
import time

DIRECTORY, PEER, THREADS = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.environ["OMP_NUM_THREADS"] = str(THREADS)

import numpy as np  # noqa: E402  (after the thread count is set)

from cells import batches  # noqa: E402


def path(name):
    return os.path.join(DIRECTORY, name)


def onnxruntime(name):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path(name), options, providers=["CPUExecutionProvider"])
    kind = np.int32 if "int32" in session.get_inputs()[0].type else np.int64
    return lambda ids, mask: session.run(None, {"input_ids": ids.astype(kind), "attention_mask": mask.astype(kind)})


def openvino(name, precision):
    import openvino
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": THREADS, "NUM_STREAMS": "1",
               "INFERENCE_PRECISION_HINT": precision}
    request = openvino.Core().compile_model(path(name), "CPU", options).create_infer_request()
    return lambda ids, mask: request.infer({"input_ids": ids, "attention_mask": mask})


def ctranslate2(name, kind):
    import ctranslate2
    encoder = ctranslate2.Encoder(path(name), device="cpu", compute_type=kind, intra_threads=THREADS, inter_threads=1)

    def run(ids, mask):
        texts = [row[:n].tolist() for row, n in zip(ids, mask.sum(1))]
        return np.array(encoder.forward_batch(texts).last_hidden_state)
    return run


def torch(kind):
    import torch
    from transformers import DistilBertForSequenceClassification
    torch.set_num_threads(THREADS)
    model = DistilBertForSequenceClassification.from_pretrained(path("hf"), attn_implementation="sdpa").eval()
    if kind == "int8":
        model = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)

    def run(ids, mask):
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=kind == "bf16"):
            return model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).logits.float().numpy()
    return run


PEERS = {
    "onnxruntime fp32": lambda: onnxruntime("model.onnx"),
    "onnxruntime fused fp32": lambda: onnxruntime("fused.onnx"),
    "onnxruntime int8": lambda: onnxruntime("model-int8.onnx"),
    "onnxruntime fused int8": lambda: onnxruntime("fused-int8.onnx"),
    "openvino fp32": lambda: openvino("model.onnx", "f32"),
    "openvino bf16": lambda: openvino("model.onnx", "bf16"),
    "openvino int8": lambda: openvino("openvino-int8.xml", "f32"),
    "ctranslate2 fp32": lambda: ctranslate2("ctranslate2-fp32", "float32"),
    "ctranslate2 bf16": lambda: ctranslate2("ctranslate2-fp32", "bfloat16"),
    "ctranslate2 int8": lambda: ctranslate2("ctranslate2-int8", "int8"),
    "torch fp32": lambda: torch("fp32"),
    "torch bf16": lambda: torch("bf16"),
    "torch int8": lambda: torch("int8"),
}


def timed(run, inputs, seconds):
    times = []
    begin = time.perf_counter()
    while time.perf_counter() - begin < (4 * seconds if len(times) < 3 else seconds):
        start = time.perf_counter()
        for ids, mask in inputs:
            run(ids, mask)
        times.append(1e3 * (time.perf_counter() - start))
    return times


def main():
    run = PEERS[PEER]()
    known = {}
    print("ready", flush=True)
    for line in sys.stdin:
        name, seconds = line.split()
        if name not in known:
            known[name] = batches(name)
            for ids, mask in known[name]:
                run(ids, mask)
        print(json.dumps(timed(run, known[name], float(seconds))), flush=True)


if __name__ == "__main__":
    main()
