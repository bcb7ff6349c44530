"""A small random encoder, made of the tiny classifier by leaving its head out."""

import json
import shutil

from harness import MODEL


def tiny_encoder(folder, pooling="mean", normalize=True):
    """Writes a DistilBERT checkpoint without a head to the folder, with modules.json as sentence-transformers has it. Returns the folder."""
    if folder.exists():
        return folder
    shutil.copytree(MODEL, folder)
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["DistilBertModel"]
    (folder / "config.json").write_text(json.dumps(config))
    content = (folder / "model.safetensors").read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header, kept, data = json.loads(content[8:start]), {}, b""
    for name, entry in header.items():
        if name == "__metadata__" or name.startswith(("pre_classifier.", "classifier.")):
            continue
        piece = content[start + entry["data_offsets"][0]:start + entry["data_offsets"][1]]
        kept[name] = {**entry, "data_offsets": [len(data), len(data) + len(piece)]}
        data += piece
    text = json.dumps(kept).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    modules = [("Transformer", ""), ("Pooling", "1_Pooling")] + [("Normalize", "2_Normalize")] * normalize
    (folder / "modules.json").write_text(
        json.dumps([{"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"} for i, (kind, path) in enumerate(modules)])
    )
    (folder / "1_Pooling").mkdir()
    modes = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token", "max": "pooling_mode_max_tokens"}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({mode: name == pooling for name, mode in modes.items()}))
    return folder
