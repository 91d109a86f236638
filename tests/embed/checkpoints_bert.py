"""Tiny random checkpoints of the BERT and RoBERTa families, as folders of Hugging Face.

Weights and tokenizers come from numpy and from code alone, so that they are the same everywhere.
What sentence-transformers makes of them is recorded where torch is installed, by

    python tests/embed/checkpoints_bert.py FOLDER > tests/embed/recorded/bert.json
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

TEXTS = (
    "a cat sat on a mat",
    "数据库存储向量。",
    "x",
    "",
    "cats and dogs",
    "[SEP] a <pad> b </s>",
    "straße café ☕ 数据",
    "one two three four five six seven eight nine ten " * 3,
)
QUERY_PROMPT = "find: "
HIDDEN, HEADS, LAYERS, INNER, MOST = 16, 4, 2, 24, 32
LETTERS = "abcdefghijklmnopqrstuvwxyz:.ß数据库存储向量。é<>[]/"
WORDS = ("cat", "dog", "one", "and", "数据库")


@dataclass(frozen=True)
class Case:
    """A checkpoint: its family, and how its files are."""

    model_type: str
    pooling: str
    prefix: str = ""
    dtype: str = "F32"
    activation: str = "gelu"
    normalize: bool = True
    old_names: bool = False
    seed: int = 1

    @property
    def roberta(self) -> bool:
        return self.model_type != "bert"


CASES = {
    "bert": Case("bert", "mean"),
    "bert_half": Case(
        "bert", "cls", prefix="bert.", dtype="F16", activation="gelu_new", old_names=True, seed=2
    ),
    "xlm_roberta": Case("xlm-roberta", "mean", prefix="roberta.", seed=3),
    "bilingual": Case("bilingual", "mean", prefix="0.auto_model.", dtype="BF16", seed=4),
    "roberta": Case("roberta", "max", dtype="F16", activation="relu", normalize=False, seed=5),
}


# --- tokenizers


def tokenizer_json(case: Case) -> str:
    return (_unigram() if case.roberta else _wordpiece()).to_str()


def _wordpiece():
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*special, *LETTERS, *(f"##{letter}" for letter in LETTERS), *WORDS]
    vocabulary = {piece: at for at, piece in enumerate(dict.fromkeys(pieces))}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens(special)
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return made


def _unigram():
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    # All pieces differ in how likely they are, so that there is one best way to cut a text.
    pieces = dict.fromkeys(["▁", *LETTERS, *(f"▁{word}" for word in WORDS), *WORDS])
    scored = [(piece, -2.0 - at / 16) for at, piece in enumerate(pieces)]
    made = Tokenizer(models.Unigram([(one, 0.0) for one in special] + scored, unk_id=3))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.add_special_tokens([*special, "<mask>"])
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return made


# --- weights


def config_of(case: Case, vocabulary: int) -> dict[str, object]:
    return {
        "model_type": case.model_type,
        "architectures": ["XLMRobertaModel" if case.roberta else "BertModel"],
        "vocab_size": vocabulary,
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": INNER,
        "hidden_act": case.activation,
        "max_position_embeddings": MOST + (2 if case.roberta else 0),
        "type_vocab_size": 1 if case.roberta else 2,
        "layer_norm_eps": 1e-5 if case.roberta else 1e-12,
        "pad_token_id": 1 if case.roberta else 0,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }


def shapes(config: dict) -> dict[str, tuple[int, ...]]:
    """Return the shape of each weight, named as transformers does."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    found: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], hidden),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], hidden),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], hidden),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{layer}."
        square = ("attention.self.query", "attention.self.key", "attention.self.value")
        for part in (*square, "attention.output.dense"):
            found[f"{name}{part}.weight"] = (hidden, hidden)
        found[f"{name}intermediate.dense.weight"] = (inner, hidden)
        found[f"{name}output.dense.weight"] = (hidden, inner)
        norms += [f"{name}attention.output.LayerNorm", f"{name}output.LayerNorm"]
    biased = [name for name in found if name.startswith("encoder.")]
    found |= {name.replace(".weight", ".bias"): found[name][:1] for name in biased}
    for name in norms:
        found |= {f"{name}.weight": (hidden,), f"{name}.bias": (hidden,)}
    return found


def random_weights(config: dict, seed: int) -> dict[str, np.ndarray]:
    """Return weights; the stream of a RandomState is the same in every release of numpy."""
    random = np.random.RandomState(seed)
    return {
        name: (random.standard_normal(shape) * 0.5 + ("LayerNorm.weight" in name)).astype("<f4")
        for name, shape in shapes(config).items()
    }


def stored(array: np.ndarray, dtype: str) -> np.ndarray:
    """Return an array as a file of that type keeps it."""
    if dtype == "BF16":
        return (array.view("<u4") >> 16).astype("<u2")  # what is cut off is as good as rounded
    return array.astype({"F32": "<f4", "F16": "<f2"}[dtype])


def restored(array: np.ndarray, dtype: str) -> np.ndarray:
    kept = stored(array, dtype)
    if dtype == "BF16":
        return (kept.astype("<u4") << 16).view("<f4")
    return kept.astype("<f4")


def safetensors_bytes(arrays: dict[str, tuple[str, np.ndarray]], padding: int = 8) -> bytes:
    """Return a file of arrays and how their types are called. padding: of the header."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (dtype, array) in arrays.items():
        header[name] = {
            "dtype": dtype,
            "shape": list(array.shape),
            "data_offsets": [at, at + array.nbytes],
        }
        at += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % padding)
    return b"".join(
        [len(text).to_bytes(8, "little"), text, *(one.tobytes() for _, one in arrays.values())]
    )


def file_name(case: Case, name: str) -> str:
    if case.old_names and "LayerNorm" in name:
        name = name.replace(".weight", ".gamma").replace(".bias", ".beta")
    return case.prefix + name


# --- folders


def write(folder: Path, case: Case, *, plain: bool = False) -> Path:
    """Return the folder, in which there is now a checkpoint.

    plain: written as transformers itself would, in single precision.
    """
    tokenizer = tokenizer_json(case)
    vocabulary = 1 + max(one["id"] for one in json.loads(tokenizer)["added_tokens"])
    vocabulary = max(vocabulary, len(json.loads(tokenizer)["model"]["vocab"]))
    config = config_of(case, vocabulary)
    weights = random_weights(config, case.seed)
    if plain:
        kept = {name: ("F32", restored(array, case.dtype)) for name, array in weights.items()}
        if case.roberta:
            config["model_type"] = "xlm-roberta"
    else:
        kept = {
            file_name(case, name): (case.dtype, stored(array, case.dtype))
            for name, array in weights.items()
        }
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(safetensors_bytes(kept))
    (folder / "tokenizer.json").write_text(tokenizer)
    write_json(folder / "config.json", config)
    write_settings(folder, case)
    return folder


def write_settings(folder: Path, case: Case) -> None:
    """Write what sentence-transformers has beside a model of transformers."""
    names = ["pad_token", "unk_token", "cls_token", "sep_token"]
    values = ["<pad>", "<unk>", "<s>", "</s>"] if case.roberta else ["[PAD]", "[UNK]", "[CLS]"]
    tokens = dict(zip(names, [*values, "[SEP]"], strict=False))
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512, **tokens},
    )
    parts = ["Transformer", "Pooling", *["Normalize"] * case.normalize]
    write_json(
        folder / "modules.json",
        [
            {
                "idx": at,
                "name": str(at),
                "path": f"{at}_{part}" if at else "",
                "type": f"sentence_transformers.models.{part}",
            }
            for at, part in enumerate(parts)
        ],
    )
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": MOST})
    write_json(
        folder / "config_sentence_transformers.json",
        {"prompts": {"query": QUERY_PROMPT, "document": ""}},
    )
    modes = {"mean": "mean_tokens", "cls": "cls_token", "max": "max_tokens"}
    (folder / "1_Pooling").mkdir()
    write_json(
        folder / "1_Pooling" / "config.json",
        {
            "word_embedding_dimension": HIDDEN,
            **{f"pooling_mode_{mode}": mode == modes[case.pooling] for mode in modes.values()},
        },
    )


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False))


# --- the reference


def reference(folder: Path) -> dict[str, dict[str, list[list[float]]]]:
    """Return what sentence-transformers makes of every text, as a query and as a document."""
    from sentence_transformers import SentenceTransformer

    found = {}
    for name, case in CASES.items():
        model = SentenceTransformer(str(write(folder / name, case, plain=True)), device="cpu")
        found[name] = {
            role: [
                [round(float(number), 6) for number in vector]
                for vector in model.encode(list(TEXTS), prompt_name=role)
            ]
            for role in ("query", "document")
        }
    return found


if __name__ == "__main__":
    import logging

    logging.disable(logging.WARNING)
    for line in json.dumps(reference(Path(sys.argv[1]))).replace("]], ", "]],\n").split("\n"):
        print(line)
