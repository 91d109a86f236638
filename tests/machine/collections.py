"""Rules about the collection itself: its schema, its names, what is said of it."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import precondition, rule

from tests.machine.coverage import exercises
from tests.machine.draw import NAMES, VECTORS
from tests.machine.reads import Reads
from vecdb_client import FailedPrecondition, Patch, Point, Space, SparseSpace, TextField


class Collections(Reads):
    """What changes or describes the collection."""

    def __init__(self) -> None:
        super().__init__()
        self.truncated = False
        self.cloned = False
        self.more = False  # whether there is another space, and a text field
        self.metadata: dict = {}
        self.aliases = 0

    @precondition(lambda self: self.model.points and not self.truncated)
    @rule()
    @exercises("Collections.Truncate")
    def truncate(self) -> None:
        self.truncated = True  # once in a run: it is about what has grown
        assert self.client.truncate_collection(self.name).points == len(self.model.points)
        self.model.points.clear()
        self.expired.clear()

    @precondition(lambda self: self.model.points and not self.cloned)
    @rule()
    @exercises("Collections.Clone", "Collections.Delete")
    def go_on_with_a_clone(self) -> None:
        self.cloned = self.recreated = True
        before, self.name = self.name, f"{self.name}-cloned"
        self.collection = self.client.clone_collection(before, self.name)
        if self.alias:
            with pytest.raises(FailedPrecondition):
                self.client.delete_collection(before)
            self.client.set_aliases({self.alias: self.name})
            self.collection = self.client.collection(self.alias)
        assert self.client.delete_collection(before)

    @rule(metadata=st.dictionaries(st.sampled_from("ab"), st.integers(0, 9), max_size=1))
    @exercises("Collections.Update")
    def change_schema(self, metadata: dict) -> None:
        self.more, self.metadata = not self.more, metadata
        if self.more:
            changed = {
                "add_spaces": {"more": Space(dim=2, metric="dot")},
                "add_text_fields": [TextField("c")],
            }
        else:
            changed = {"drop_spaces": ["more"], "drop_text_fields": ["c"]}
            self.model.drop_space("more")
        self.model.ttl = self.model.idf = self.more
        self.client.update_collection(
            self.name,
            **changed,
            metadata=metadata,
            ttl_s=86_400 if self.more else float("inf"),
            spaces={
                "": Space(target_recall=0.9 if self.more else 0.99),
                "sparse": SparseSpace(idf=self.more),
            },
        )

    @precondition(lambda self: self.model.points and self.more)
    @rule(data=st.data())
    @exercises("Points.Write", "Search.Query")
    def fill_another_space(self, data: st.DataObject) -> None:
        names = st.sampled_from(sorted(self.model.points))
        for name in data.draw(st.sets(names, min_size=1, max_size=3)):
            vectors = {"more": [len(name), 1.0]}
            report = self.collection.patch(name, vectors=vectors)
            self.model.apply(Patch(name, vectors=vectors), report.commit_seq)
        held = {name for _, name in self.model.near("more", [1, 1])}
        assert {hit.id for hit in self.collection.search([1, 1], space="more", k=500)} == held
        assert self.collection.search(keyword="nothing").matched == len(self.model.points)

    @precondition(lambda self: self.model.points)
    @rule(vector=VECTORS)
    @exercises("Collections.Update", "Points.Write")
    def fill_up(self, vector: list[float]) -> None:
        """Beyond its limit a collection takes no point that is not there; others are replaced."""
        self.client.update_collection(self.name, points_max=len(self.model.points))
        new = [name for name in NAMES if name not in {*self.model.points, *self.expired}]
        old = sorted(self.model.points)
        points = [Point(name, vectors={"": vector}) for name in (*old[:1], *new[:1])]
        report = self.collection.write(points, on_error="collect")
        refused = [(one.id, one.reason) for one in report.failures]
        assert refused == [(name, "COLLECTION_FULL") for name in new[:1]]
        for name in old[:1]:
            self.model.put(name, {"": vector}, {}, report.commit_seq)
        self.client.update_collection(self.name, points_max=0)

    @rule()
    @exercises("Collections.SetAliases", "Collections.ListAliases", "AliasAction.set")
    def rename(self) -> None:
        """Go on under another alias; the one before is gone at the same moment."""
        before, self.aliases = self.alias, self.aliases + 1
        self.alias = f"{self.name}-{self.aliases}"
        self.client.set_aliases({self.alias: self.name} | ({before: None} if before else {}))
        assert self.client.list_aliases(self.name) == {self.alias: self.name}
        self.collection = self.client.collection(self.alias)

    @precondition(lambda self: self.alias)
    @rule()
    @exercises("Collections.SetAliases", "Collections.ListAliases", "AliasAction.delete")
    def drop_alias(self) -> None:
        self.client.set_aliases({self.alias: None})
        assert self.client.list_aliases(self.name) == {}
        self.alias, self.collection = "", self.client.collection(self.name)

    @rule()
    @exercises("Collections.Compact", "Collections.Stats", "Collections.Get", "Collections.List")
    def describe(self) -> None:
        self.collection.compact(wait=False)
        assert self.collection.stats().points >= len(self.model.points)
        info = self.collection.info()
        assert info.name == self.name
        assert info.spaces.keys() == self.spaces.keys() | ({"more"} if self.more else set())
        assert info.metadata == self.metadata
        assert list(info.aliases) == [self.alias] * bool(self.alias)
        listed = {one.name: one for one in self.client.list_collections()}
        assert listed[self.name] == info
