"""Vertex AI's text embeddings.

`endpoint` names project and region, which only the operator knows:
https://REGION-aiplatform.googleapis.com/v1/projects/PROJECT/locations/REGION. The key is an access
token, which lives for an hour: keep a file of it fresh and name that by key_file, which is read
anew when the token is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vecdb.embed.encoder import Role
from vecdb.embed.gemini_service import task_type
from vecdb.embed.service import Malformed, RemoteText


class VertexService(RemoteText):
    """An Encoder by POST .../publishers/google/models/{source}:predict.

    Options: query_task and document_task, the task types of either role; "" sends none. Of
    gemini-embedding-001, which takes one text a request there, batch_items is 1.
    """

    items = 250
    tokens = 20_000
    asks_dimensions = True

    def address(self, base: str) -> str:
        """Return the address of the model's method."""
        return f"{base}/publishers/google/models/{self.spec.source}:predict"

    def body(self, texts: Sequence[str], role: Role) -> dict[str, Any]:
        """Return the request; a text that is too long is to be refused, not cut."""
        task = task_type(self.spec.options, role)
        beside = {"task_type": task} if task else {}
        parameters: dict[str, Any] = {"autoTruncate": False}
        if self.dimensions:
            parameters["outputDimensionality"] = self.dimensions
        return {
            "instances": [{**beside, "content": text} for text in texts],
            "parameters": parameters,
        }

    def numbers(self, answer: Mapping[str, Any], count: int) -> Sequence[Any]:
        """Return the vectors. Raises Malformed where a text was cut though that was not asked."""
        found = [one["embeddings"] for one in answer["predictions"]]
        if any(one.get("statistics", {}).get("truncated") for one in found):
            raise Malformed("the vector of a text that it cut")
        return [one["values"] for one in found]
