"""Which spaces of a collection take texts, by which models, and how those count tokens.

One counter a model, shared by all calls: it remembers the words that it has met.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial

from vecdb.embed.client import Encoders, ModelInfo
from vecdb.embed.encoder import Role
from vecdb.rag.token_counts import Learn, TokenCounter, estimate
from vecdb.rpc.services.encode import TEXT, SpaceEncoder
from vecdb.storage.shadows import without_shadows
from vecdb.types import Schema, Space, SparseSpace

TOKENIZE_S = 30.0


class TextModels:
    """The models of spaces. Safe for any number of threads."""

    def __init__(self, encoders: Encoders, encoder: SpaceEncoder) -> None:
        self._encoders = encoders
        self._encoder = encoder
        self._lock = threading.Lock()  # guards the next
        self._counters: dict[str, TokenCounter] = {}

    def spaces(self, schema: Schema) -> list[Space | SparseSpace]:
        """Return the spaces whose models read texts: dense ones first, the default before all."""
        known: list[Space | SparseSpace] = [*without_shadows(schema).spaces, *schema.sparse_spaces]
        chosen = [one for one in known if TEXT in self._encoder.takes(one)]
        return sorted(chosen, key=lambda one: (isinstance(one, SparseSpace), one.name != ""))

    def model_of(self, space: Space | SparseSpace) -> ModelInfo:
        """Return the model that a space is bound to. Raises NotFound where it is not here."""
        assert space.model is not None
        return self._encoders.resolve(space.model.name)

    def of(self, space: Space | SparseSpace | None) -> Learn:
        """Return what counts the tokens of a space's model; without a space, what estimates.

        Raises what the embedding worker does.
        """
        if space is None:
            return lambda text: estimate
        model = self.model_of(space)
        with self._lock:
            counter = self._counters.get(model.fingerprint)
        if counter is None:  # asks the worker: not under the lock
            made = TokenCounter(partial(self._tokens, model.name))
            with self._lock:
                counter = self._counters.setdefault(model.fingerprint, made)
        return counter.learn

    def _tokens(self, model: str, texts: Sequence[str]) -> list[int]:
        found = self._encoders.tokenize(model, list(texts), Role.DOCUMENT, TOKENIZE_S)
        return [one.tokens for one in found]
