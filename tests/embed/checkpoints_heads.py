"""Tiny random checkpoints of SPLADE models and cross-encoders, as folders of Hugging Face.

The encoders are those of checkpoints_bert.py, with a head. What sentence-transformers makes of them
is recorded where torch is installed, by

    python -m tests.embed.checkpoints_heads FOLDER > tests/embed/recorded/heads.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from tests.embed import checkpoints_bert as encoders

TEXTS = encoders.TEXTS
QUERY = "cats and 数据库"
PAIRS = [(QUERY, text) for text in TEXTS] + [("one two three four five six seven eight", TEXTS[-1])]
CASES = {
    "bert": encoders.Case("bert", "mean", prefix="bert.", seed=11),
    "bert_half": encoders.Case("bert", "cls", prefix="bert.", dtype="F16", old_names=True, seed=12),
    "xlm_roberta": encoders.Case("xlm-roberta", "mean", prefix="roberta.", seed=13),
}
CLASSES = {
    ("bert", "sparse"): "BertForMaskedLM",
    ("bert", "score"): "BertForSequenceClassification",
    ("xlm-roberta", "sparse"): "XLMRobertaForMaskedLM",
    ("xlm-roberta", "score"): "XLMRobertaForSequenceClassification",
}


def head_shapes(case: encoders.Case, gives: str, config: dict) -> dict[str, tuple[int, ...]]:
    """Return the shape of each weight of a head, named as transformers does."""
    hidden, words = config["hidden_size"], config["vocab_size"]
    if gives == "score":
        dense, last = (
            ("classifier.dense", "classifier.out_proj")
            if case.roberta
            else ("bert.pooler.dense", "classifier")
        )
        return {
            f"{dense}.weight": (hidden, hidden),
            f"{dense}.bias": (hidden,),
            f"{last}.weight": (1, hidden),
            f"{last}.bias": (1,),
        }
    dense, norm, bias = (
        ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias")
        if case.roberta
        else (
            "cls.predictions.transform.dense",
            "cls.predictions.transform.LayerNorm",
            "cls.predictions.bias",
        )
    )
    return {
        f"{dense}.weight": (hidden, hidden),
        f"{dense}.bias": (hidden,),
        f"{norm}.weight": (hidden,),
        f"{norm}.bias": (hidden,),
        bias: (words,),
    }


def write(folder: Path, case: encoders.Case, gives: str, *, plain: bool = False) -> Path:
    """Return the folder, in which there is now a checkpoint with a head. plain: as there."""
    encoders.write(folder, case, plain=plain)
    config = json.loads((folder / "config.json").read_text())
    random = np.random.RandomState(case.seed + 100)
    head = {
        name: (random.standard_normal(shape) * 0.5 + (len(shape) == 1 and "norm" in name.lower()))
        for name, shape in head_shapes(case, gives, config).items()
    }
    kept = {
        name: ("F32", encoders.restored(array, case.dtype))
        for name, array in encoders.random_weights(config, case.seed).items()
    }
    prefix = "roberta." if case.roberta else "bert."
    arrays = {prefix + name: array for name, (_, array) in kept.items()}
    arrays |= {
        name: encoders.restored(array.astype("<f4"), case.dtype) for name, array in head.items()
    }
    if plain:
        files = {name: ("F32", array) for name, array in arrays.items()}
    else:
        files = {
            old(case, name): (case.dtype, encoders.stored(array, case.dtype))
            for name, array in arrays.items()
        }
    (folder / "model.safetensors").write_bytes(encoders.safetensors_bytes(files))
    config["architectures"] = [CLASSES[case.model_type, gives]]
    config["tie_word_embeddings"] = True
    if gives == "score":
        config |= {"num_labels": 1, "id2label": {"0": "score"}, "label2id": {"score": 0}}
    encoders.write_json(folder / "config.json", config)
    # As the tokenizer class of each family has them.
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    names = ["input_ids", "attention_mask", *["token_type_ids"] * (not case.roberta)]
    encoders.write_json(folder / "tokenizer_config.json", {**settings, "model_input_names": names})
    for name in ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"):
        (folder / name).unlink()
    return folder


def old(case: encoders.Case, name: str) -> str:
    if case.old_names and "LayerNorm" in name:
        return name.replace(".weight", ".gamma").replace(".bias", ".beta")
    return name


# --- the reference


def reference(folder: Path) -> dict[str, dict[str, list]]:
    """Return what sentence-transformers makes of every text, and of every pair."""
    import torch
    from sentence_transformers import CrossEncoder, SparseEncoder

    found: dict[str, dict[str, list]] = {}
    for name, case in CASES.items():
        path = str(write(folder / f"{name}_sparse", case, "sparse", plain=True))
        sparse = SparseEncoder(path, device="cpu", model_kwargs={"dtype": torch.float32})
        sparse.max_seq_length = encoders.MOST
        vectors = sparse.encode(list(TEXTS), convert_to_sparse_tensor=False)
        path = str(write(folder / f"{name}_score", case, "score", plain=True))
        cross = CrossEncoder(path, device="cpu", max_length=encoders.MOST)
        raw, bounded = (
            cross.predict(PAIRS, activation_fn=activation)
            for activation in (torch.nn.Identity(), torch.nn.Sigmoid())
        )
        found[name] = {
            "sparse": [
                {str(at): round(float(row[at]), 6) for at in np.flatnonzero(row)}
                for row in np.asarray(vectors)
            ],
            "score": [round(float(one), 6) for one in raw],
            "sigmoid": [round(float(one), 6) for one in bounded],
        }
    return found


if __name__ == "__main__":
    import logging

    logging.disable(logging.WARNING)
    for line in json.dumps(reference(Path(sys.argv[1]))).replace("}, {", "},\n{").split("\n"):
        print(line)
