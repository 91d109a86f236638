"""A collection on a real server, and the same in a model: made, looked at after every step."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.filters import to_client
from tests.live import LiveServer
from tests.machine.coverage import Recorded
from tests.machine.draw import DIM
from tests.machine.model import ModelCollection, Ranking, Vectors
from tests.model import TEXT_FIELDS
from vecdb.types import Filter
from vecdb_client import (
    Client,
    Collection,
    Hit,
    MultiDenseSpace,
    Space,
    SparseSpace,
    StoredPoint,
    TextField,
)
from vecdb_client import Filter as ClientFilter

# In one run: Hypothesis leaves rules out by turns, and would else spend runs on restarts alone.
RESTARTS_MAX = 4


class Machine(RuleBasedStateMachine):
    """One collection of each metric in turn, on one server."""

    metric = "cosine"
    server: LiveServer
    runs = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).runs += 1
        self.name = f"c{type(self).runs}"
        self.alias = ""
        self.restarts = 0
        self.sent: set[str] = set()
        self.spaces = {
            "": Space(dim=DIM, metric=self.metric),
            "late": MultiDenseSpace(3, "dot" if self.metric == "dot" else "cosine"),
            "sparse": SparseSpace(),
        }
        metrics = {"": self.metric, "late": self.spaces["late"].metric, "more": "dot"}
        self.model = ModelCollection(metrics)
        self.expired: set[str] = set()  # that may still wait for their removal
        self.connect()

    def connect(self) -> None:
        self.client = Client(self.server.address)
        self.client._transport = Recorded(self.client._transport, self.sent)
        self.collection: Collection = self.client.collection(self.alias or self.name)

    def teardown(self) -> None:
        if self.alias:
            self.client.set_aliases({self.alias: None})
        self.client.delete_collection(self.name, if_exists=True)
        self.client.close()

    def create(self) -> None:
        fields = [TextField(path, language) for path, language in TEXT_FIELDS.items()]
        for again in (False, True):
            self.client.create_collection(
                self.name, spaces=self.spaces, text_fields=fields, if_not_exists=again
            )

    @rule(kill=st.booleans())
    def restart(self, kill: bool) -> None:
        if self.restarts == RESTARTS_MAX:
            return
        self.restarts += 1
        self.client.close()
        if kill:
            self.server.kill()
        else:
            assert self.server.stop() == 0
        self.server.start()
        self.connect()

    @invariant()
    def same_points(self) -> None:
        if not hasattr(self, "collection") or not self.model.points:
            return
        found = self.collection.get(list(self.model.points), with_vectors=True)
        assert not found.missing
        assert not found.damaged
        assert [point.id for point in found.points] == list(self.model.points)
        for point in found.points:
            self.check_point(point)
        assert self.collection.count() == len(self.model.points)

    def check_point(self, point: StoredPoint) -> None:
        stored = self.model.points[point.id]
        assert point.payload == stored.payload
        check_vectors(point, stored.vectors)
        assert point.version == stored.version
        assert (point.expires_at_ms > 0) == stored.expires


def wired(filter: Filter | None) -> ClientFilter | None:
    return None if filter is None else to_client(filter)


def check_vectors(point: StoredPoint, vectors: Vectors) -> None:
    """A point that was read has just these vectors."""
    assert point.vectors.keys() | point.sparse.keys() | point.multi.keys() == vectors.keys()
    for space, vector in vectors.items():
        if isinstance(vector, dict):
            held = point.sparse[space]
            assert dict(zip(held.indices, held.values, strict=True)) == vector
        else:
            held = point.multi[space] if vector.ndim == 2 else point.vectors[space]
            np.testing.assert_array_equal(np.asarray(held), vector)


def check_hits(
    hits: tuple[Hit, ...], expected: Ranking, k: int, offset: int = 0, least: float | None = None
) -> None:
    """Scores are the model's, best first. Which of two that are nearly equal is first is open."""
    tolerance = 1e-5 * (1 + max((abs(score) for score, _ in expected), default=0))
    sure = [score for score, _ in expected if least is None or score > least + tolerance]
    page = [score for score, _ in expected if least is None or score >= least - tolerance]
    assert len(sure[offset : offset + k]) <= len(hits) <= len(page[offset : offset + k])
    assert len({hit.id for hit in hits}) == len(hits)
    scores = {name: score for score, name in expected}
    for hit, score in zip(hits, page[offset:], strict=False):
        assert hit.score == pytest.approx(score, abs=tolerance)
        assert hit.score == pytest.approx(scores[hit.id], abs=tolerance)
