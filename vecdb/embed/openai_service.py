"""OpenAI's embeddings API, as spoken by OpenAI, vLLM, TEI, llama.cpp, Ollama and many more.

`endpoint` is what clients of OpenAI call base_url: it ends with the version, and /embeddings is
added. One that ends with /embeddings itself, before a query string or not, stays as it is.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vecdb.embed.encoder import Role
from vecdb.embed.service import Malformed, RemoteText


class OpenaiService(RemoteText):
    """An Encoder by POST .../embeddings.

    Options: ask_dimensions asks for vectors of dim numbers, where the model has more. query_body,
    document_body: what to send beside, of services that tell roles apart by a key of their own.
    """

    # OpenAI takes 2,048 texts and 300,000 tokens; others say less, and take their time for more.
    items = 64
    tokens = 32_768
    hard = False

    def address(self, base: str) -> str:
        """Return the endpoint's /embeddings."""
        path, mark, query = base.partition("?")
        path = path.rstrip("/")
        return f"{path}{'' if path.endswith('/embeddings') else '/embeddings'}{mark}{query}"

    def body(self, texts: Sequence[str], role: Role) -> dict[str, Any]:
        """Return the request. A vector as base64 is a quarter of the characters."""
        asked: dict[str, Any] = {
            "model": self.spec.source,
            "input": list(texts),
            "encoding_format": "base64",
        }
        if self.dimensions:
            asked["dimensions"] = self.dimensions
        name = "query_body" if role is Role.QUERY else "document_body"
        return {**self.spec.options.get(name, {}), **asked}

    def numbers(self, answer: Mapping[str, Any], count: int) -> Sequence[Any]:
        """Return the vectors by the index that each has. Some services know lists alone."""
        placed: dict[int, Any] = {}
        for entry in answer["data"]:
            index = entry["index"]
            if type(index) is not int or not 0 <= index < count or index in placed:
                raise Malformed(f"index {str(index)[:20]!r} for {count} texts, or twice")
            placed[index] = _floats(entry["embedding"])
        if len(placed) != count:
            raise Malformed(f"{len(placed)} vectors for {count} texts")
        return [placed[index] for index in range(count)]


def _floats(embedding: object) -> object:
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4")
    return embedding
