"""Spaces and text fields that come and go under points, segments and writes that are there."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vecdb.collection import upkeep
from vecdb.collection.asked import Asked, GroupBy
from vecdb.collection.build import BuildJob, Built, build
from vecdb.collection.collection import Collection
from vecdb.collection.reader import Reader
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.errors import AlreadyExists, InvalidArgument, LimitExceeded, Unavailable
from vecdb.outcomes import QueryResult
from vecdb.segment.segment import Segment
from vecdb.storage.codec import to_json
from vecdb.storage.numbered import NUMBERS, NumberedSchema, SchemaChange
from vecdb.storage.store import Store
from vecdb.storage.writer import Writer
from vecdb.types import (
    KeywordQuery,
    Match,
    MatchesText,
    Metric,
    Not,
    Op,
    Patch,
    PayloadEdits,
    Put,
    Query,
    Schema,
    Space,
    SparseQuery,
    SparseSpace,
    SparseVector,
    TextField,
    Wanted,
)
from vecdb.write.prepare import prepare
from vecdb.write.schema import check_change

LIMITS = LimitsConfig()
CONFIG = StorageConfig(map_bytes=1 << 20, tail_points=100, graph_points=300, segment_points=1_024)
SCHEMA = Schema((Space("", 4, Metric.DOT),), (), (TextField("title"),))
ALL = Wanted(vectors=True, texts=True)
IDS = Wanted(payload=False)
NAMES = ("title", "body")
TITLE, BODY = TextField("title"), TextField("body", "english")


@pytest.fixture
def writer() -> Iterator[Writer]:
    made = Writer(queue_jobs_max=8)
    yield made
    made.close()


def collection_at(folder: Path, writer: Writer | None, schema: Schema = SCHEMA) -> Collection:
    if not folder.exists():
        Store.create(folder / "store", NumberedSchema.of(schema), map_bytes=1 << 20)
    return Collection(folder, CONFIG, writer, set())


@pytest.fixture
def collection(tmp_path: Path, writer: Writer) -> Iterator[Collection]:
    made = collection_at(tmp_path / "c", writer)
    yield made
    made.close()


def change(collection: Collection, **wanted: object) -> NumberedSchema:
    """Change a collection's schema as Update does, and return it."""
    schema = collection._store.schema.changed(SchemaChange(**wanted))  # type: ignore[arg-type]
    schema = replace(schema, epoch=schema.epoch + 1)
    collection.tune(schema, 0)
    return schema


def write(collection: Collection, ops: list[Op]) -> None:
    outcome = collection.write(prepare(ops, collection.schema, LIMITS)).result()
    assert not [result for result in outcome.results if result.reason]


def points(first: int, end: int) -> list[Op]:
    rng = np.random.default_rng(first)
    words = [f"w{n}" for n in range(12)]
    return [
        Put(
            f"p{n}",
            to_json(
                {
                    field: " ".join(rng.choice(words, rng.integers(0, 5)))
                    for field in "title body".split()
                }
            ),
            {"": rng.normal(size=4).astype("<f4").tobytes()},
        )
        for n in range(first, end)
    ]


def settle(collection: Collection) -> None:
    while collection.maintain(None):
        pass


def ask(collection: Collection, query: object, wanted: Wanted = IDS) -> QueryResult:
    with collection.snapshot() as snapshot:
        return snapshot.query(query, wanted, 1 << 20)  # type: ignore[arg-type]


def by_words(collection: Collection, match: Match = Match.ANY, *fields: str) -> QueryResult:
    return ask(collection, KeywordQuery("w1 w2 w7", 50, fields, match))


# --- text fields


def test_an_added_text_field_is_known_once_segments_are_built_again(
    collection: Collection, tmp_path: Path, writer: Writer
) -> None:
    write(collection, points(0, 250))
    settle(collection)
    write(collection, [*points(250, 280), *points(0, 9)])
    change(collection, add_text_fields=(BODY,))
    partial = by_words(collection, Match.ANY, "body")
    assert not partial.complete
    assert partial.found
    (warning,) = partial.warnings
    assert "'body'" in warning
    assert "250 points" in warning
    leg = KeywordQuery("w1 w2 w7", 50, ("body",))
    grouped = ask(collection, Asked([leg], 5, group=GroupBy("title", 1, 50)))
    assert (grouped.complete, grouped.warnings) == (False, partial.warnings)
    assert by_words(collection, Match.ANY, "title").complete
    assert collection.stats().text_pending_points == 241
    settle(collection)
    assert collection.stats().text_pending_points == 0
    made_so = collection_at(tmp_path / "d", writer, Schema(SCHEMA.spaces, (), (TITLE, BODY)))
    write(made_so, points(0, 250))
    write(made_so, [*points(250, 280), *points(0, 9)])
    for match in Match:
        for fields in ((), ("title",), ("body",)):
            found, expected = (
                by_words(collection, match, *fields),
                by_words(made_so, match, *fields),
            )
            assert found.complete
            assert found.hits == expected.hits
    made_so.close()


def test_words_in_filters_are_known_at_once(collection: Collection) -> None:
    """What segments do not know yet is read: a filter has no warning to give."""
    ops = points(0, 280)
    write(collection, ops[:250])
    settle(collection)
    write(collection, ops[250:])
    change(collection, add_text_fields=(BODY,))
    bodies = [json.loads(op.payload)["body"] for op in ops if isinstance(op, Put)]
    one, other = next(body.split()[:2] for body in bodies if len({*body.split()[:2]}) == 2)
    expected = {
        Match.ANY: sum(not {one, other}.isdisjoint(body.split()) for body in bodies),
        Match.ALL: sum({one, other} <= set(body.split()) for body in bodies),
        Match.PHRASE: sum(f"{one} {other} " in f"{body} " for body in bodies),
    }
    assert expected[Match.ANY] > expected[Match.ALL] > expected[Match.PHRASE] > 0
    for pending in (250, 0):
        assert collection.stats().text_pending_points == pending
        with collection.snapshot() as snapshot:
            for match, count in expected.items():
                chosen = MatchesText("body", f"{one.upper()}, {other}", match)
                assert snapshot.count(chosen) == count
                assert snapshot.count(Not(chosen)) == 280 - count
        settle(collection)


def test_a_dropped_text_field_is_refused_and_the_others_stay(collection: Collection) -> None:
    change(collection, add_text_fields=(BODY,))
    write(collection, points(0, 250))
    settle(collection)
    write(collection, points(250, 260))
    before = by_words(collection, Match.ANY, "body")
    change(collection, drop_text_fields=("title",))
    assert by_words(collection, Match.ANY, "body")[:2] == before[:2]
    with pytest.raises(InvalidArgument, match="no text field 'title': the collection has 'body'"):
        by_words(collection, Match.ANY, "title")
    # The same path again is another field: it may be of another language.
    change(collection, add_text_fields=(replace(TITLE, language="english"),))
    assert list(collection.schema.texts) == [1, 2]
    assert not by_words(collection).complete
    settle(collection)
    assert by_words(collection).complete
    change(collection, drop_text_fields=("title", "body"))
    with pytest.raises(InvalidArgument, match="no text fields"):
        by_words(collection)


def test_a_graph_is_taken_over_when_only_texts_are_new(collection: Collection) -> None:
    write(collection, points(0, 400))
    settle(collection)
    (before,) = collection.stats().segments
    assert before.graph

    def links() -> bytes:
        (segment,) = collection.stats().segments
        return (collection.folder / "segments" / str(segment.number) / "links0-0.npy").read_bytes()

    held, query = links(), Query(np.ones(4, "f4"), 10)
    found = ask(collection, query)
    change(collection, add_text_fields=(BODY,))
    settle(collection)
    (after,) = collection.stats().segments
    assert after.graph
    assert after.number > before.number
    assert links() == held
    assert ask(collection, query)[:3] == found[:3]


# --- spaces


def test_an_added_space_is_empty_and_filled_by_puts_and_patches(collection: Collection) -> None:
    write(collection, points(0, 250))
    settle(collection)
    change(
        collection, add_spaces=(Space("b", 2, Metric.DOT),), add_sparse_spaces=(SparseSpace("s"),)
    )
    two = Query(np.ones(2, "f4"), 5, "b")
    words = SparseQuery(SparseVector(np.array([3], "u4"), np.array([1], "f4")), 5, "s")
    assert (ask(collection, two).found, ask(collection, words).found) == (0, 0)
    patches: list[Op] = [
        Patch(f"p{n}", PayloadEdits(), {"b": np.array([n, 1], "<f4").tobytes()}) for n in range(8)
    ]
    patches.append(Put("new", b"", {}, sparse={"s": words.vector}))
    write(collection, patches)
    for _ in range(2):
        result = ask(collection, two, ALL)
        assert (result.found, result.complete) == (5, True)
        assert ask(collection, words).found == 1
        assert ask(collection, Query(np.ones(4, "f4"), 500)).found == 250
        collection.compact()
        settle(collection)
    (segment,) = collection.stats().segments
    assert segment.rows == 251


def test_a_dropped_space_is_gone_and_its_number_is_never_given_again(
    collection: Collection,
) -> None:
    change(collection, add_spaces=(Space("b", 2, Metric.DOT),))
    old = collection.schema
    write(collection, [Put(f"p{n}", b"", {"b": np.ones(2, "<f4").tobytes()}) for n in range(250)])
    settle(collection)
    change(collection, drop_spaces=("b",))
    with pytest.raises(InvalidArgument, match="unknown space 'b'"):
        ask(collection, Query(np.ones(2, "f4"), 5, "b"))
    # A write that was under way as the space was dropped came before that.
    late = [Put("late", b"", {"": np.ones(4, "<f4").tobytes(), "b": np.ones(2, "<f4").tobytes()})]
    collection.write(prepare(late, old, LIMITS)).result()
    change(collection, add_spaces=(Space("b", 3, Metric.COSINE),))
    assert collection.schema.numbers == (0, 2)
    assert ask(collection, Query(np.ones(3, "f4"), 5, "b")).found == 0
    with collection.snapshot() as snapshot:
        (point,) = snapshot.get(["late"], ALL, 1 << 20).points
    assert sorted(point.vectors) == [""]
    hits = ask(collection, Query(np.ones(4, "f4"), 5), ALL)
    assert (hits.found, hits.complete) == (1, True)
    # A patch writes the point again, without what was dropped.
    write(collection, [Patch("late", PayloadEdits(set=b'{"a": 1}'))])
    with collection._store.read() as txn:
        (slot,) = txn.slots_of([b"late"]).values()
        record = txn.record(slot)
    assert record is not None
    assert list(record.vector_bytes()) == [0]


def test_a_build_under_an_older_schema_is_sound(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph may take minutes, and the schema change meanwhile."""
    write(collection, points(0, 250))

    def slow(job: BuildJob, store: Store) -> Built:
        monkeypatch.undo()
        change(collection, add_spaces=(Space("b", 2, Metric.DOT),), add_text_fields=(BODY,))
        write(collection, [Put("x", b"", {"b": np.ones(2, "<f4").tobytes()})])
        change(collection, drop_spaces=("",))
        return build(job, store)

    monkeypatch.setattr(upkeep, "build", slow)
    collection.maintain(None)
    assert ask(collection, Query(np.ones(2, "f4"), 5, "b")).found == 1
    assert collection.stats().text_pending_points == 250
    settle(collection)
    assert collection.stats().text_pending_points == 0
    assert ask(collection, Query(np.ones(2, "f4"), 5, "b")).found == 1
    with collection.snapshot() as snapshot:
        assert snapshot.count(None) == 251


def test_a_reader_with_an_older_schema_is_told_to_ask_again(collection: Collection) -> None:
    """In another process: it began with a schema whose space was dropped, then merged away."""
    write(collection, points(0, 250))
    settle(collection)
    store = copy.copy(collection._store)  # as LMDB lets no process open an environment twice
    reader = Reader(collection.folder / "segments", collection.uuid, store)
    change(collection, drop_spaces=("",), drop_text_fields=("title",), add_text_fields=(BODY,))

    def find(query: object) -> QueryResult:
        with reader.snapshot() as snapshot:
            return snapshot.query(query, IDS, 1 << 20)  # type: ignore[arg-type]

    query = Query(np.ones(4, "f4"), 5)
    assert find(query).found == 5
    settle(collection)
    with pytest.raises(Unavailable, match="schema has changed"):
        find(query)
    reader.let_go()
    assert reader.view is None
    store.schema = collection._store.schema
    assert find(KeywordQuery("w1", 5)).complete
    with pytest.raises(InvalidArgument, match="unknown space ''"):
        find(query)


def test_an_older_schema_does_not_come_back(collection: Collection) -> None:
    before = collection._store.schema
    after = change(collection, add_text_fields=(BODY,))
    collection.tune(before, 0)
    assert collection._store.schema is after


# --- what is refused


@pytest.mark.parametrize(
    ("wanted", "error", "field"),
    [
        ({"drop_spaces": ("b",)}, InvalidArgument, "drop_spaces[0]"),
        ({"drop_spaces": ("", "")}, InvalidArgument, "drop_spaces[1]"),
        ({"drop_text_fields": ("body",)}, InvalidArgument, "drop_text_fields[0]"),
        ({"add_spaces": (Space("", 3, Metric.DOT),)}, AlreadyExists, "add_spaces['']"),
        ({"add_sparse_spaces": (SparseSpace(""),)}, AlreadyExists, "add_spaces['']"),
        ({"add_text_fields": (BODY, TITLE)}, AlreadyExists, "add_text_fields[1]"),
    ],
)
def test_what_does_not_fit_is_named(wanted: dict, error: type, field: str) -> None:
    with pytest.raises(error) as raised:
        check_change(SCHEMA, SchemaChange(**wanted))
    assert raised.value.field == field
    anew = SchemaChange(("",), ("title",), (Space("", 3, Metric.DOT),), (), (TITLE,))
    check_change(SCHEMA, anew)


def test_numbers_end_some_day() -> None:
    schema = replace(NumberedSchema.of(SCHEMA), next_space=NUMBERS - 1)
    change = SchemaChange(add_spaces=(Space("b", 3, Metric.DOT),))
    schema = schema.changed(change)
    assert schema.numbers == {"": 0, "b": NUMBERS - 1}
    with pytest.raises(LimitExceeded, match="65,536"):
        schema.changed(SchemaChange(add_sparse_spaces=(SparseSpace("c"),)))


def test_a_schema_is_stored_as_it_is() -> None:
    schema = NumberedSchema.of(SCHEMA).changed(
        SchemaChange((), ("title",), (Space("a", 3, Metric.EUCLID),), (SparseSpace("s"),), (BODY,))
    )
    again = NumberedSchema.from_plain(schema.to_plain())
    assert again == schema
    assert again.numbering == schema.numbering
    assert again.numbers == {"": 0, "a": 1, "s": 2}


def test_a_segment_lists_the_text_fields_it_knows(collection: Collection) -> None:
    write(collection, points(0, 250))
    settle(collection)
    schema = change(collection, drop_text_fields=("title",), add_text_fields=(BODY,))
    with collection._store.read() as txn:
        entries = txn.segments()
    assert {entry.texts for entry in entries} == {(0,)}
    entry = entries[0]
    folder = collection.folder / "segments" / str(entry.number)
    segment = Segment(folder, entry.seal, schema.schema, schema.numbers)
    assert segment.text().fields == (0,)
