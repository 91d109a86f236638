"""The Gemini API's embeddings: generativelanguage.googleapis.com.

`endpoint` ends with the version, such as v1beta. The API cuts a text that is too long without a
word, and has no way to be asked not to: what is cut here before, by estimate, is all that is
reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vecdb.embed.encoder import Role
from vecdb.embed.service import RemoteText


class GeminiService(RemoteText):
    """An Encoder by POST .../models/{source}:batchEmbedContents.

    Options: query_task and document_task, the task types of either role; "" sends none.
    """

    items = 100
    tokens = 100 * 2_048
    key_header = ("x-goog-api-key", "")
    asks_dimensions = True

    def address(self, base: str) -> str:
        """Return the address of the model's method."""
        return f"{base}/models/{self.spec.source}:batchEmbedContents"

    def body(self, texts: Sequence[str], role: Role) -> dict[str, Any]:
        """Return the request: one for each text."""
        beside: dict[str, Any] = {"model": f"models/{self.spec.source}"}
        if task := task_type(self.spec.options, role):
            beside["taskType"] = task
        if self.dimensions:
            beside["outputDimensionality"] = self.dimensions
        return {"requests": [{**beside, "content": {"parts": [{"text": text}]}} for text in texts]}

    def numbers(self, answer: Mapping[str, Any], count: int) -> Sequence[Any]:
        """Return the vectors; those shorter than the model's own are not of unit length."""
        return [one["values"] for one in answer["embeddings"]]


def task_type(options: Mapping[str, Any], role: Role) -> str:
    """Return what Google's models are told that a text of the role is for."""
    if role is Role.QUERY:
        return str(options.get("query_task", "RETRIEVAL_QUERY"))
    return str(options.get("document_task", "RETRIEVAL_DOCUMENT"))
