"""What `transformers` answers, in the form that tests/engine/test_parity.c reads.

A fixture is a safetensors file:
  ids      int32 (tokens)         the texts' token ids, one text after another
  offsets  int32 (texts + 1)      text i is ids[offsets[i]:offsets[i+1]]
  logits   float32 (texts, labels)
  rows     int32 (n)              tokens whose last hidden state is recorded, ascending
  hidden   float32 (n, hidden)    their last hidden states
Its metadata says what made it.
"""

import numpy as np
import safetensors.numpy
import torch
import transformers


def load(path):
    """The checkpoint's sequence classifier, in float32, ready to compute."""
    model = transformers.AutoModelForSequenceClassification.from_pretrained(path, dtype=torch.float32)
    return model.eval()


@torch.no_grad()
def answer(model, ids, types=None):
    """Logits (labels) and last hidden states (tokens, hidden) of one text."""
    inputs = {"input_ids": torch.tensor([ids])}
    if types is not None and any(types):
        inputs["token_type_ids"] = torch.tensor([types])
    hidden = model.base_model(**inputs).last_hidden_state[0]
    logits = model(**inputs).logits[0]
    return logits.numpy().astype(np.float32), hidden.numpy().astype(np.float32)


def record(path, model, texts, keep, about):
    """Writes the fixture for token lists. keep(text length) gives the tokens of a text whose hidden states are kept."""
    logits, rows, hidden, start = [], [], [], 0
    for ids in texts:
        text_logits, text_hidden = answer(model, ids)
        logits.append(text_logits)
        for token in keep(len(ids)):
            rows.append(start + token)
            hidden.append(text_hidden[token])
        start += len(ids)
    tensors = {
        "ids": np.concatenate([np.asarray(t, np.int32) for t in texts]),
        "offsets": np.cumsum([0] + [len(t) for t in texts]).astype(np.int32),
        "logits": np.stack(logits),
        "rows": np.asarray(rows, np.int32),
        "hidden": np.stack(hidden),
    }
    about = {**about, "torch": torch.__version__, "transformers": transformers.__version__}
    safetensors.numpy.save_file(tensors, str(path), metadata=about)
    print(f"{path}: {len(texts)} texts, {start} tokens, {len(rows)} hidden states, {path.stat().st_size} bytes")


def round_to_int8(model):
    """Rounds every matrix as a model file of --dtype int8 stores it: one scale per row, largest magnitude / 127; positions
    to half precision."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("position_embeddings.weight"):
                parameter.copy_(parameter.half().float())
            elif parameter.dim() == 2:
                scale = parameter.abs().amax(dim=1, keepdim=True) / 127
                scale[scale == 0] = 1
                parameter.copy_(torch.round(parameter / scale) * scale)
    return model
