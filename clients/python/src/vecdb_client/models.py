"""What a client asks of the server's models: which there are, vectors, scores, tokens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vecdb_client import replies, requests
from vecdb_client.arguments import count
from vecdb_client.descriptions import (
    Embeddings,
    ModelInfo,
    RankedText,
    Tokenized,
)
from vecdb_client.errors import FailedPrecondition, VecdbError
from vecdb_client.pb import models_pb2
from vecdb_client.protocol import EMBED, LIST_MODELS, LOAD_MODEL, RERANK, TOKENIZE, UNLOAD_MODEL
from vecdb_client.status import over_limit
from vecdb_client.transport import Transport
from vecdb_client.types import Role

ITEMS_PER_CALL: Final = 128
SIZE_PER_CALL: Final = 1 << 20
"""Characters of texts, bytes of images: what one call can take in its time."""
LOAD_S: Final = 600.0


class Models:
    """The part of a client that speaks of models."""

    _transport: Transport

    def list_models(self, *, timeout_s: float | None = None) -> list[ModelInfo]:
        """Return the models that the operator configured, ready or not."""
        reply = self._transport.call(LIST_MODELS, LIST_MODELS.request(), timeout_s=timeout_s)
        return [replies.model_info(message) for message in reply.models]

    def embed(
        self,
        texts: str | Iterable[str] = (),
        *,
        images: bytes | Iterable[bytes] = (),
        model: str = "",
        role: Role = "document",
        dim: int = 0,
        timeout_s: float | None = None,
    ) -> Embeddings:
        """Return one embedding per text, or per image, in their order.

        images: files as they are, JPEG, PNG, WebP, GIF or BMP. model: "" for the server's default.
        role: which of the model's prompts to use. dim: of shorter vectors, one of the model's
        `dims`; 0 for its own. Any number of items: they are sent in parts, each with a deadline of
        its own. Raises FailedPrecondition (NO_MODEL; MODEL_MISMATCH when the model changed between
        two parts), Overloaded.
        """
        items = requests.embed_items(texts, images)
        wanted = requests.embed_request(model, role, dim and count(dim, "dim"))
        found: list[models_pb2.EmbedResponse] = []
        for part in _parts(items):
            found += self._embed(part, wanted, timeout_s)
        if len({part.fingerprint for part in found}) > 1:
            raise FailedPrecondition(
                "the server changed the model while the texts were encoded; embed them again",
                reason="MODEL_MISMATCH",
                call=EMBED.name,
            )
        return Embeddings(
            model=found[0].model if found else model,
            fingerprint=found[0].fingerprint if found else "",
            embeddings=tuple(replies.embedding(one) for part in found for one in part.embeddings),
        )

    def rerank(
        self,
        query: str,
        texts: Iterable[str],
        *,
        k: int | None = None,
        model: str = "",
        timeout_s: float | None = None,
    ) -> list[RankedText]:
        """Return texts by how well they go together with a query, the best first.

        k: how many of the best, None for all. model: one that gives a score, "" for the server's
        first. Raises FailedPrecondition (NO_MODEL), InvalidArgument (LIMIT_EXCEEDED for more than
        the server's `limits.embed_texts` texts), Overloaded.
        """
        listed = requests.text_list(texts, "a text")
        request = RERANK.request(
            model=model,
            query=requests.checked_text(query, "query"),
            texts=listed,
            k=0 if k is None else count(k, "k"),
        )
        reply = self._transport.call(RERANK, request, timeout_s=timeout_s)
        return [replies.ranked_text(one, listed) for one in reply.ranked]

    def tokenize(
        self,
        texts: str | Iterable[str],
        *,
        model: str = "",
        role: Role = "document",
        timeout_s: float | None = None,
    ) -> list[Tokenized]:
        """Return what a model reads of texts, its prompt and special tokens included.

        Raises InvalidArgument (LIMIT_EXCEEDED for more than the server's `limits.embed_texts`).
        """
        request = TOKENIZE.request(
            model=model, texts=requests.text_list(texts, "a text"), role=requests.role_number(role)
        )
        reply = self._transport.call(TOKENIZE, request, timeout_s=timeout_s)
        return [Tokenized(tuple(one.ids), one.tokens, one.truncated) for one in reply.texts]

    def load_model(self, model: str = "", *, timeout_s: float = LOAD_S) -> float:
        """Return the seconds that it took to load a model, 0.0 when it was in memory.

        Models load by themselves when they are first asked. Raises FailedPrecondition (NO_MODEL)
        that says why it does not load.
        """
        reply = self._transport.call(
            LOAD_MODEL, LOAD_MODEL.request(model=model), timeout_s=timeout_s
        )
        return reply.took_s

    def unload_model(self, model: str = "", *, timeout_s: float | None = None) -> bool:
        """Return whether a model was in memory: it gives that back once nobody uses it."""
        request = UNLOAD_MODEL.request(model=model)
        return self._transport.call(UNLOAD_MODEL, request, timeout_s=timeout_s).unloaded

    def _embed(
        self,
        items: list[str] | list[bytes],
        wanted: models_pb2.EmbedRequest,
        timeout_s: float | None,
    ) -> list[models_pb2.EmbedResponse]:
        request = requests.with_items(wanted, items)
        try:
            return [self._transport.call(EMBED, request, timeout_s=timeout_s)]
        except VecdbError as error:
            if len(items) == 1 or not over_limit(error):
                raise
            half = len(items) // 2
            first = self._embed(items[:half], wanted, timeout_s)
            return [*first, *self._embed(items[half:], wanted, timeout_s)]


def _parts(items: list[str] | list[bytes]) -> Iterable[list[str] | list[bytes]]:
    """Yield the items in parts that one call can take in its time."""
    start = size = 0
    for at, item in enumerate(items):
        over = size + len(item) > SIZE_PER_CALL
        if at > start and (over or at - start == ITEMS_PER_CALL):
            yield items[start:at]
            start, size = at, 0
        size += len(item)
    if items:
        yield items[start:]
