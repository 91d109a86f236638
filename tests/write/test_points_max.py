"""How many points a collection may hold: exact, item by item, the same on every replica."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.stores import LIMITS, SCHEMA, contents, run, store_at
from vecdb.errors import CollectionFull
from vecdb.storage.command import WriteCommand
from vecdb.storage.store import Store
from vecdb.types import Delete, Op, Patch, PayloadEdits, Put
from vecdb.write.prepare import prepare


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = store_at(tmp_path / "store")
    yield made
    made.close()


def command(ops: list[Op], points_max: int, *, atomic: bool = False) -> WriteCommand:
    return replace(prepare(ops, SCHEMA, LIMITS, atomic=atomic), points_max=points_max)


def op(kind: str, name: str) -> Op:
    if kind == "put":
        return Put(name, b"", {})
    return Delete(name) if kind == "delete" else Patch(name, PayloadEdits(b'{"n": 1}'))


OPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put", "delete", "patch"]), st.sampled_from("abcdefgh")
    ),
    min_size=1,
    max_size=12,
)


@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.tuples(OPS, st.integers(0, 6)), min_size=1, max_size=5))
def test_a_put_is_refused_where_a_dict_would_grow_too_large(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[list[tuple[str, str]], int]]
) -> None:
    folder = tmp_path_factory.mktemp("stores")
    stores = [store_at(folder / name) for name in ("one", "other")]
    held: set[str] = set()
    for chosen, points_max in writes:
        made = command([op(*one) for one in chosen], points_max)
        outcome, again = (
            run(stores[0], made),
            run(stores[1], WriteCommand.decode(made.encode())),
        )
        assert outcome == again
        for (kind, name), result in zip(chosen, outcome.results, strict=True):
            full = kind == "put" and name not in held and 0 < points_max <= len(held)
            assert (result.reason == "COLLECTION_FULL") == full
            if kind == "put" and not full:
                held.add(name)
            elif kind == "delete":
                held.discard(name)
        with stores[0].read() as txn:
            assert txn.state.points == len(held)
    assert contents(stores[0]) == contents(stores[1])
    for store in stores:
        store.close()


def test_an_atomic_write_beyond_it_changes_nothing(store: Store) -> None:
    run(store, command([op("put", "a"), op("put", "b")], 2))
    before = contents(store)
    ops = [op("delete", "a"), op("put", "c"), op("put", "d")]
    with pytest.raises(CollectionFull, match="allow: 2") as raised:
        run(store, command(ops, 2, atomic=True))
    assert raised.value.field == "ops[2].put.id"
    assert contents(store) == before
