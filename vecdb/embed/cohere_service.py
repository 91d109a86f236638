"""Cohere's embed API, version 2. `endpoint` ends with the version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vecdb.embed.encoder import Role
from vecdb.embed.service import RemoteText


class CohereService(RemoteText):
    """An Encoder by POST .../embed.

    Options: query_task and document_task, the input_type of either role; ask_dimensions for models
    that can be asked for shorter vectors.
    """

    items = 96
    tokens = 96 * 512

    def address(self, base: str) -> str:
        """Return the endpoint's /embed."""
        return f"{base}/embed"

    def body(self, texts: Sequence[str], role: Role) -> dict[str, Any]:
        """Return the request; a text that is too long is to be refused, not cut."""
        options = self.spec.options
        asked = {
            "model": self.spec.source,
            "input_type": options.get("query_task", "search_query")
            if role is Role.QUERY
            else options.get("document_task", "search_document"),
            "texts": list(texts),
            "embedding_types": ["float"],
            "truncate": "NONE",
        }
        return {**asked, "output_dimension": self.dimensions} if self.dimensions else asked

    def numbers(self, answer: Mapping[str, Any], count: int) -> Sequence[Any]:
        """Return the vectors, in the order of texts."""
        numbers: Sequence[Any] = answer["embeddings"]["float"]
        return numbers
