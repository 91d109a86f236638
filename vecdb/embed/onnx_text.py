"""Text models that are an ONNX graph and a tokenizer file: BERT and its kin, on the CPU.

The only file that knows onnxruntime and tokenizers. Leaves scheduling to batcher.py.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
from tokenizers import Encoding, Tokenizer

from vecdb.embed.catalog import ModelSpec, read_verified
from vecdb.embed.encoder import I64, Role, Tokens
from vecdb.errors import Corrupt, FailedPrecondition, NotFinite
from vecdb.types import F32

OUTPUT = "last_hidden_state"
# English has four to five characters a token, so the first look at a long text mostly fills the
# model.
FIRST_LOOK_CHARS_PER_TOKEN = 8
# Beyond this, one text at a time: a tokenizer needs up to a kilobyte for each character.
LONG_LOOK_CHARS = 1 << 16


class OnnxText:
    """A TextEncoder over an ONNX graph that yields a vector per token.

    Raises Corrupt when a file is not the one of the catalogue, FailedPrecondition when the graph
    or the tokenizer does not fit the entry.
    """

    def __init__(self, spec: ModelSpec, paths: Mapping[str, Path], threads: int) -> None:
        self._spec = spec
        self._prompts = {Role.QUERY: spec.query_prompt, Role.DOCUMENT: spec.document_prompt}
        tokenizer = read_verified(paths["tokenizer"], spec.files["tokenizer"])
        graph = read_verified(paths["model"], spec.files["model"])
        self._tokenizer = _tokenizer(tokenizer, paths["tokenizer"])
        # Special tokens that a user types are matched before words are, across any boundary.
        added = self._tokenizer.get_added_tokens_decoder().values()
        self._margin = max((len(token.content) for token in added), default=0)
        self._end = self._end_tokens()
        self._first_look = spec.max_tokens * FIRST_LOOK_CHARS_PER_TOKEN
        self._long_look = threading.Lock()
        self._session = _session(graph, paths["model"], threads)
        self._inputs = frozenset(node.name for node in self._session.get_inputs())
        self._check_graph()

    def tokenize(self, texts: Sequence[str], role: Role) -> list[Tokens]:
        """Return the tokens of each text, the role's prompt in front, cut to max_tokens."""
        prompt = self._prompts[role]
        prompted = [prompt + text for text in texts] if prompt else texts
        short = [text for text in prompted if len(text) <= self._first_look]
        # encode_batch leaves the GIL to other callers; encode does not.
        encodings = iter(self._tokenizer.encode_batch_fast(short))
        return [
            self._cut(next(encodings).ids) if len(text) <= self._first_look else self._long(text)
            for text in prompted
        ]

    def encode(self, batch: Sequence[I64]) -> F32:
        """Return the vectors of texts that tokenize() made, (n, dim) float32. Raises NotFinite."""
        lengths = np.fromiter(map(len, batch), dtype=np.int64, count=len(batch))
        longest = int(lengths.max())
        ids = np.zeros((len(batch), longest), dtype=np.int64)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = tokens
        mask = (np.arange(longest) < lengths[:, None]).astype(np.int64)
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden: F32 = self._session.run(
            [OUTPUT], {name: array for name, array in feed.items() if name in self._inputs}
        )[0]
        if hidden.shape != (*ids.shape, self._spec.dim):
            raise FailedPrecondition(
                f"model {self._spec.name}: {OUTPUT} is {hidden.shape}, "
                f"expected {(*ids.shape, self._spec.dim)}"
            )
        vectors: F32 = np.einsum("ntd,nt->nd", hidden, mask.astype(np.float32))
        vectors /= lengths[:, None].astype(np.float32)
        if self._spec.normalize:
            with np.errstate(invalid="ignore"):  # a zero vector becomes NaN, and is refused below
                vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(vectors).all():
            raise NotFinite(f"model {self._spec.name} returned a vector that is not finite")
        return vectors

    def _long(self, text: str) -> Tokens:
        """Return the tokens of a text whose beginning fills the model, without reading it all.

        The text is looked at from its start, twice as far each time, until the words that cannot
        change any more fill the model; so the tokens are those of the whole text whatever it
        holds, and a megabyte of prose costs what its first page does. Not settled are the last
        word that was seen, because it may go on, and what a special token could begin in.
        """
        size = self._first_look
        while size < len(text):
            encoding = self._look(text[:size])
            kept = self._spec.max_tokens - len(self._end)
            if _settled(encoding, size - self._margin) >= kept:
                return self._cut(encoding.ids, at_least=self._spec.max_tokens + 1)
            size *= 2
        return self._cut(self._look(text).ids)

    def _look(self, text: str) -> Encoding:
        if len(text) <= LONG_LOOK_CHARS:
            return self._tokenizer.encode_batch([text])[0]
        with self._long_look:
            return self._tokenizer.encode_batch([text])[0]

    def _cut(self, ids: list[int], at_least: int = 0) -> Tokens:
        """Return ids within max_tokens. at_least: how many the text has, where ids are fewer."""
        most = self._spec.max_tokens
        truncated = max(len(ids), at_least) > most
        if truncated:
            # The model was trained to see its end token, so what goes is the text before it.
            ids = ids[: most - len(self._end)] + self._end
        return Tokens(np.array(ids, dtype=np.int64), truncated)

    def _end_tokens(self) -> list[int]:
        """Return the special tokens that close a text, such as [SEP]."""
        encoding = self._tokenizer.encode("a")
        end: list[int] = []
        for token, special in zip(
            reversed(encoding.ids), reversed(encoding.special_tokens_mask), strict=True
        ):
            if not special:
                break
            end.insert(0, token)
        return end

    def _check_graph(self) -> None:
        outputs = {node.name for node in self._session.get_outputs()}
        unknown = self._inputs - {"input_ids", "attention_mask", "token_type_ids"}
        if unknown or OUTPUT not in outputs:
            raise FailedPrecondition(
                f"model {self._spec.name}: the graph takes {', '.join(sorted(self._inputs))} and "
                f"gives {', '.join(sorted(outputs))}; expected input_ids, attention_mask, "
                f"token_type_ids and {OUTPUT}"
            )


def _settled(encoding: Encoding, limit: int) -> int:
    """Return how many leading tokens stay as they are, however the text goes on.

    limit: characters up to which that can be said at all.
    """
    last = next((word for word in reversed(encoding.word_ids) if word is not None), None)
    count = 0
    for word, (_, end) in zip(encoding.word_ids, encoding.offsets, strict=True):
        if (word is not None and word == last) or end > limit:
            break
        count += 1
    return count


def _tokenizer(content: bytes, path: Path) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except Exception as error:
        raise Corrupt(f"{path} is not a tokenizer: {error}", path=path) from None
    # The file carries its exporter's settings, which cut at 128 without a word.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _session(graph: bytes, path: Path, threads: int) -> ort.InferenceSession:
    if b"DynamicQuantize" in graph:
        # Its scales come from the whole batch: the same text would differ with its neighbours.
        raise FailedPrecondition(
            f"{path} quantises activations at run time, so vectors would depend on the batch",
            hint="use a float32 graph or one whose weights alone are int8",
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Patterns are kept per shape, and hardly two batches share one.
    options.enable_mem_pattern = False
    # The fused attention of the higher levels is slower: 512 tokens as (8, 64) took 45 ms at this
    # level and 50 ms above it on two cores, 4,096 as (16, 256) 805 and 1,212 ms.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    try:
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise Corrupt(f"{path} is not a graph that can run: {error}", path=path) from None
