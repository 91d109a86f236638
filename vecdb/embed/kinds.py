"""Of which kinds models are, and what each asks of an entry of the catalogue. Imports no library.

A kind is a file of this room with one class behind the Protocol of encoder.py; this table says
which, so that all that can be known of a model without loading it needs none of its libraries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vecdb.analysis import rules_of

Files = tuple[frozenset[str], ...]
"""Sets of roles, of which an entry's files are one."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of model is.

    loader: the module of this room, and the class in it, that loads one. takes: of "text", "image",
    "pair" (a query and a text). gives: "dense", "sparse" or "score". extra: of vecdb, what brings
    its libraries and the packages that hold its weights. poolings: for each that it knows, the
    sets of files of which an entry names one. options: what an entry may say beside, and its type;
    those in unbound change no vector, and so are not part of the fingerprint. remote: whether the
    work is done by a service elsewhere: then `source` is what that one calls the model. rules: from
    options to what else vectors depend on, which is then part of the fingerprint. memory_per_byte:
    about how much memory a loaded model takes for each byte of its files.
    """

    loader: tuple[str, str]
    takes: frozenset[str]
    gives: str
    extra: str
    libraries: tuple[str, ...]
    poolings: Mapping[str, Files]
    options: Mapping[str, type] = field(default_factory=dict)
    unbound: frozenset[str] = frozenset()
    remote: bool = False
    memory_per_byte: float = 1.0
    rules: Callable[[Mapping[str, Any]], str] | None = None

    @property
    def install(self) -> str:
        """Return the command that installs what it needs."""
        return f"pip install 'vecdb[{self.extra}]'"


def _files(*names: str) -> Files:
    return (frozenset(names),)


_TEXT = frozenset({"text"})
_WORD_FILES = (
    *_files("glove"),
    *_files("word2vec"),
    *_files("word2vec_binary"),
    *_files("npy", "vocabulary"),
)
_GRAPH_FILES = (*_files("model", "tokenizer"), *_files("model", "model_data", "tokenizer"))
_ONNX = ("onnxruntime", "tokenizers")
_POOLINGS = ("mean", "cls", "last", "max")

# Where a service is, and how many texts it takes at once, makes no other vector.
_SERVICE_OPTIONS: Mapping[str, type] = {
    "endpoint": str,
    "key_env": str,
    "key_file": str,
    "proxy": str,
    "ca_file": str,
    "batch_items": int,
    "batch_tokens": int,
    "at_once": int,
}

# ask_dimensions: whether requests name dim. bytes_per_token: of ASCII, by which texts are cut.
_SERVICE_ASKED: Mapping[str, type] = {"ask_dimensions": bool, "bytes_per_token": float}


def _service(loader: tuple[str, str], **options: type) -> Kind:
    return Kind(
        loader,
        _TEXT,
        "dense",
        "remote",
        ("httpx",),
        {"service": _files()},
        {**_SERVICE_OPTIONS, **_SERVICE_ASKED, **options},
        unbound=frozenset(_SERVICE_OPTIONS),
        remote=True,
    )


KINDS: Mapping[str, Kind] = {
    # A graph that yields a vector per token, and a tokenizer.
    "onnx-text": Kind(
        ("onnx_text", "OnnxText"),
        _TEXT,
        "dense",
        "embed",
        _ONNX,
        dict.fromkeys(_POOLINGS, _GRAPH_FILES),
        {"output": str},
    ),
    # Weights of an encoder of the BERT and XLM-R families, of which the graph is made here.
    "bert-text": Kind(
        ("bert_text", "BertText"),
        _TEXT,
        "dense",
        "embed",
        (*_ONNX, "onnx"),
        dict.fromkeys(_POOLINGS, _files("weights", "config", "tokenizer")),
    ),
    # Decoders: Mistral, Qwen2, GritLM, Mixtral. `weights`, or its parts `weights-00001` and so on.
    "torch-text": Kind(
        ("torch_text", "TorchText"),
        _TEXT,
        "dense",
        "torch",
        ("torch", "transformers", "tokenizers"),
        dict.fromkeys(("last", "mean"), _files("weights", "config", "tokenizer")),
        {"bidirectional": bool, "begin_id": int, "end_id": int, "prompt_pooled": bool},
        memory_per_byte=2.0,  # files are in bfloat16, and computed with in float32
    ),
    "static-words": Kind(
        ("static_words", "StaticWords"),
        _TEXT,
        "dense",
        "words",
        (),
        {"sif": _WORD_FILES, "idf": tuple(one | {"idf"} for one in _WORD_FILES)},
    ),
    # Weights by BM25, of words by hash; how rare a word is, a space with `idf` knows.
    "bm25": Kind(
        ("bm25", "Bm25"),
        _TEXT,
        "sparse",
        "embed",
        (),
        {"bm25": _files()},
        {"language": str, "k1": float, "b": float, "average_words": float},
        rules=lambda options: rules_of(str(options.get("language", ""))),
    ),
    # A masked language model whose logits become a weight per word of the vocabulary: SPLADE.
    "onnx-sparse": Kind(
        ("onnx_sparse", "OnnxSparse"),
        _TEXT,
        "sparse",
        "embed",
        _ONNX,
        {"max": _GRAPH_FILES},
        {"output": str},
    ),
    # A cross-encoder: a query and a text in, how well they go together out.
    "onnx-rerank": Kind(
        ("onnx_rerank", "OnnxRerank"),
        frozenset({"pair"}),
        "score",
        "embed",
        _ONNX,
        {"score": _GRAPH_FILES},
        {"output": str, "sigmoid": bool},
    ),
    # Both of weights, of the families of bert-text.
    "bert-sparse": Kind(
        ("bert_heads", "BertSparse"),
        _TEXT,
        "sparse",
        "embed",
        (*_ONNX, "onnx"),
        {"max": _files("weights", "config", "tokenizer")},
    ),
    "bert-rerank": Kind(
        ("bert_heads", "BertRerank"),
        frozenset({"pair"}),
        "score",
        "embed",
        (*_ONNX, "onnx"),
        {"score": _files("weights", "config", "tokenizer")},
        {"sigmoid": bool},
    ),
    # A convolutional network, tapped before its head.
    "onnx-image": Kind(
        ("onnx_image", "OnnxImage"),
        frozenset({"image"}),
        "dense",
        "image",
        ("onnxruntime", "onnx", "PIL"),
        {"tap": _files("model")},
        {"output": str, "pixels": dict},
    ),
    # Two towers, for texts and for images, into one space.
    "onnx-clip": Kind(
        ("onnx_clip", "OnnxClip"),
        frozenset({"text", "image"}),
        "dense",
        "image",
        (*_ONNX, "PIL"),
        {"projection": _files("text_model", "vision_model", "tokenizer")},
        {"pixels": dict, "end_id": int, "pad_id": int},
    ),
    "openai": _service(("openai_service", "OpenaiService"), query_body=dict, document_body=dict),
    "gemini": _service(("gemini_service", "GeminiService"), query_task=str, document_task=str),
    "vertex": _service(("vertex_service", "VertexService"), query_task=str, document_task=str),
    "cohere": _service(("cohere_service", "CohereService"), query_task=str, document_task=str),
}
