"""Tiny random checkpoints of Mistral, Qwen2 and Mixtral, as folders of Hugging Face.

Weights and tokenizers come from numpy and from code alone, so that they are the same everywhere.
What the reference implementations make of them is recorded where those are installed, by

    python -m tests.embed.checkpoints_decoders FOLDER > tests/embed/recorded/decoders.json

Each case goes by an entry of the catalogue, whose prompts, pooling and special tokens it proves.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.embed.checkpoints_bert import restored, safetensors_bytes, stored, write_json
from vecdb.embed import catalog
from vecdb.embed.catalog import FileRef, ModelSpec

TEXTS = (
    "The cat sat on the mat.",
    "数据库存储向量。",
    "x",
    "for i in range(10):\n\tprint(i)  # twice\n\n",
    "two  spaces, a </s> and an <|embed|>\nnaïve café ☕",
    "How do I reset my password? " * 3,
    "one two three four five six seven eight nine ten " * 12,
)
MOST = 160
DIM, LAYERS, HEADS, GROUPS, INNER, EXPERTS = 32, 2, 4, 2, 48, 4
WORDS = ("the", "cat", "mat", "Instruct", "Query", "Given", "query", "web", "search", "user", "two")
LETTERS = "abcdefghijklmnopqrstuvwxyzGHITQ0123456789.,:;?()#<>|"
END_OF_TEXT = "<|endoftext|>"


@dataclass(frozen=True)
class Case:
    """A checkpoint: the entry that it goes by, its family, and how its files are."""

    entry: str
    model_type: str
    seed: int
    prefix: str = ""
    dtype: str = "F32"
    parts: int = 1
    sliding_window: int | None = None
    head: bool = False

    @property
    def qwen(self) -> bool:
        return self.model_type == "qwen2"

    @property
    def gritlm(self) -> bool:
        return self.entry.startswith("gritlm")


CASES = {
    # The window is shorter than most texts.
    "e5-mistral": Case("e5-mistral-7b-instruct", "mistral", 1, sliding_window=12),
    "linq": Case("linq-embed-mistral", "mistral", 2, dtype="F16", parts=2),
    "sfr": Case("sfr-embedding-mistral", "mistral", 3, prefix="model.", head=True),
    "gte-7b": Case("gte-qwen2-7b-instruct", "qwen2", 4, prefix="model.", dtype="BF16", parts=3),
    "gte-1.5b": Case("gte-qwen2-1.5b-instruct", "qwen2", 5),
    "gritlm-7b": Case(
        "gritlm-7b", "mistral", 6, "model.", dtype="BF16", sliding_window=12, head=True
    ),
    "gritlm-8x7b": Case("gritlm-8x7b", "mixtral", 7, "model.", dtype="BF16", parts=2, head=True),
}


# --- tokenizers


def _chained(words: list[str]) -> list[tuple[str, str]]:
    """Return the merges that make each word of its characters, one after another."""
    merges = [(word[:at], word[at]) for word in words for at in range(1, len(word))]
    return list(dict.fromkeys(merges))


def _sentencepiece(end: bool):
    """Return a tokenizer like Mistral's: no words, and bytes of what it has no character for."""
    from tokenizers import Tokenizer, models, normalizers, processors

    special = ["<unk>", "<s>", "</s>"]
    merges = _chained([f"▁{word}" for word in WORDS])
    pieces = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *LETTERS]
    pieces += [left + right for left, right in merges]
    vocabulary = {piece: at for at, piece in enumerate(dict.fromkeys(pieces))}
    made = Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    made.add_special_tokens(special)
    made.post_processor = processors.TemplateProcessing(
        single=["<s>", "$A", *["</s>"] * end], special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return made


def _byte_level(end: bool):
    """Return a tokenizer like Qwen2's."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    merges = _chained([f"Ġ{word}" for word in WORDS])
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(a + b for a, b in merges)]
    made = Tokenizer(models.BPE({piece: at for at, piece in enumerate(pieces)}, merges))
    made.normalizer = normalizers.NFC()
    words = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.add_special_tokens([END_OF_TEXT, "<|im_start|>", "<|im_end|>"])
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    if end:
        made.post_processor = processors.TemplateProcessing(
            single=["$A", END_OF_TEXT],
            special_tokens=[(END_OF_TEXT, made.token_to_id(END_OF_TEXT))],
        )
    return made


def tokenizer_of(case: Case, *, end: bool = False):
    """Return a case's tokenizer; those of the models forget the end token, end puts it there."""
    return _byte_level(end) if case.qwen else _sentencepiece(end)


# --- weights


def config_of(case: Case, vocabulary: int) -> dict[str, object]:
    config: dict[str, object] = {
        "model_type": case.model_type,
        "architectures": [f"{case.model_type.capitalize()}ForCausalLM"],
        # Code that comes with a model is never run, nor looked for.
        "auto_map": {"AutoModel": "modeling_of_a_model.Model"},
        "vocab_size": vocabulary,
        "hidden_size": DIM,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": GROUPS,
        "hidden_act": "silu",
        "max_position_embeddings": 2 * MOST,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "sliding_window": case.sliding_window,
        "tie_word_embeddings": False,
        "torch_dtype": {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}[case.dtype],
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    if case.model_type == "mixtral":
        config |= {"num_local_experts": EXPERTS, "num_experts_per_tok": 2}
    if case.qwen:
        config |= {"use_sliding_window": False, "max_window_layers": LAYERS}
    return config


def shapes(case: Case, vocabulary: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of each weight, named as in the files of these models."""
    narrow = DIM // HEADS * GROUPS
    found: dict[str, tuple[int, ...]] = {"embed_tokens.weight": (vocabulary, DIM)}
    for layer in range(LAYERS):
        name = f"layers.{layer}."
        for part, rows in (("q", DIM), ("k", narrow), ("v", narrow)):
            found[f"{name}self_attn.{part}_proj.weight"] = (rows, DIM)
            if case.qwen:
                found[f"{name}self_attn.{part}_proj.bias"] = (rows,)
        found[f"{name}self_attn.o_proj.weight"] = (DIM, DIM)
        if case.model_type == "mixtral":
            found[f"{name}block_sparse_moe.gate.weight"] = (EXPERTS, DIM)
            for expert in range(EXPERTS):
                inner = f"{name}block_sparse_moe.experts.{expert}."
                found[f"{inner}w1.weight"] = found[f"{inner}w3.weight"] = (INNER, DIM)
                found[f"{inner}w2.weight"] = (DIM, INNER)
        else:
            found[f"{name}mlp.gate_proj.weight"] = (INNER, DIM)
            found[f"{name}mlp.up_proj.weight"] = (INNER, DIM)
            found[f"{name}mlp.down_proj.weight"] = (DIM, INNER)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            found[f"{name}{norm}.weight"] = (DIM,)
    found["norm.weight"] = (DIM,)
    return found


def random_weights(case: Case, vocabulary: int) -> dict[str, np.ndarray]:
    """Return weights; the stream of a RandomState is the same in every release of numpy."""
    random = np.random.RandomState(case.seed)
    found = {}
    for name, shape in shapes(case, vocabulary).items():
        scale = 0.3 if len(shape) == 1 else 1.0 if "embed" in name else 1.5 / shape[-1] ** 0.5
        found[name] = (random.standard_normal(shape) * scale + ("norm" in name)).astype("<f4")
    return found


# --- folders


def write(folder: Path, case: Case) -> ModelSpec:
    """Return the entry of a checkpoint that is written into the folder, as its model's is."""
    tokenizer = tokenizer_of(case)
    vocabulary = tokenizer.get_vocab_size()
    kept = {
        case.prefix + name: (case.dtype, stored(array, case.dtype))
        for name, array in random_weights(case, vocabulary).items()
    }
    if case.head:
        kept["lm_head.weight"] = (
            case.dtype,
            stored(np.zeros((vocabulary, DIM), "<f4"), case.dtype),
        )
    folder.mkdir(parents=True)
    files = {"config": "config.json", "tokenizer": "tokenizer.json"}
    write_json(folder / "config.json", config_of(case, vocabulary))
    tokenizer.save(str(folder / "tokenizer.json"))
    names = list(kept)
    for part in range(case.parts):
        role = f"weights-{part + 1:05}" if case.parts > 1 else "weights"
        files[role] = f"{role}.safetensors"
        mine = {name: kept[name] for name in names[part :: case.parts]}
        (folder / files[role]).write_bytes(safetensors_bytes(mine))
    return spec_of(folder, case, files)


def spec_of(folder: Path, case: Case, files: dict[str, str]) -> ModelSpec:
    entry = catalog.load_catalog()[case.entry]
    options = dict(entry.options)
    if case.qwen:  # whose real vocabulary has 151,646 tokens
        options["end_id"] = tokenizer_of(case).token_to_id(END_OF_TEXT)
    refs = {
        role: FileRef(str(folder / name), hashlib.sha256((folder / name).read_bytes()).hexdigest())
        for role, name in files.items()
    }
    return dataclasses.replace(entry, dim=DIM, max_tokens=MOST, files=refs, options=options)


def write_plain(folder: Path, case: Case) -> Path:
    """Return the folder, in which there is now the same checkpoint as transformers writes it.

    In single precision, with an end token where the model has one, and the attention that the code
    which comes with the model has.
    """
    spec = catalog.load_catalog()[case.entry]
    tokenizer = tokenizer_of(case, end="end_id" in spec.options)
    vocabulary = tokenizer.get_vocab_size()
    config = config_of(case, vocabulary) | {"torch_dtype": "float32"}
    del config["auto_map"]
    if spec.options.get("bidirectional"):
        # The code of GritLM sees everything in its default attention, whatever the window.
        config |= {"is_causal": False, "sliding_window": None}
    weights = {
        name: ("F32", restored(array, case.dtype))
        for name, array in random_weights(case, vocabulary).items()
    }
    folder.mkdir(parents=True)
    write_json(folder / "config.json", config)
    (folder / "model.safetensors").write_bytes(safetensors_bytes(weights))
    tokenizer.save(str(folder / "tokenizer.json"))
    special = (
        {"eos_token": END_OF_TEXT, "pad_token": END_OF_TEXT}
        if case.qwen
        else {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"}
    )
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": MOST, **special},
    )
    return folder


# --- the references


def sentence_transformers_of(folder: Path, case: Case, *, padding: str = "right"):
    """Return the model as sentence-transformers has it, put together as the model's own files say.

    GritLM has none; its mean without the prompt is sentence-transformers' include_prompt=False.
    """
    from sentence_transformers import SentenceTransformer

    try:
        from sentence_transformers.sentence_transformer import modules as models
    except ImportError:  # before release 6
        from sentence_transformers import models

    spec = catalog.load_catalog()[case.entry]
    transformer = models.Transformer(str(folder), max_seq_length=MOST)
    transformer.tokenizer.padding_side = padding
    pooling = models.Pooling(
        DIM,
        pooling_mode={"last": "lasttoken", "mean": "mean"}[spec.pooling],
        include_prompt=spec.options.get("prompt_pooled", True),
    )
    return SentenceTransformer(
        modules=[transformer, pooling, models.Normalize()],
        prompts={"query": spec.query_prompt, "document": spec.document_prompt},
        device="cpu",
    )


def gritlm_of(folder: Path):
    """Return the model as the package of its authors has it."""
    import contextlib
    import io

    from gritlm import GritLM

    with contextlib.redirect_stdout(io.StringIO()):
        return GritLM(str(folder), mode="embedding", device="cpu")


def vectors_of_reference(folder: Path, case: Case, texts: list[str], role: str) -> np.ndarray:
    """Return what the implementation that the model's authors name makes of texts."""
    spec = catalog.load_catalog()[case.entry]
    if case.gritlm:
        prompt = spec.query_prompt if role == "query" else spec.document_prompt
        return gritlm_of(folder).encode(texts, instruction=prompt, max_length=MOST, batch_size=3)
    model = sentence_transformers_of(folder, case)
    return model.encode(texts, prompt_name=role, batch_size=3)


def reference(folder: Path) -> dict[str, dict[str, list[list[float]]]]:
    """Return what the references make of every text, as a query and as a document."""
    return {
        name: {
            role: [
                [round(float(number), 6) for number in vector]
                for vector in vectors_of_reference(
                    write_plain(folder / name / role, case), case, list(TEXTS), role
                )
            ]
            for role in ("query", "document")
        }
        for name, case in CASES.items()
    }


if __name__ == "__main__":
    import logging

    logging.disable(logging.WARNING)
    found = reference(Path(sys.argv[1]))
    print(json.dumps(found).replace("]], ", "]],\n").replace("], [", "],\n["))
