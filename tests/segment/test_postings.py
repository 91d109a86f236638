"""Postings in memory and on disk answer alike, and damaged files give wrong answers at worst."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vecdb.errors import Corrupt
from vecdb.query.keyword import best_matches, sought
from vecdb.query.search import Candidates
from vecdb.query.sparse import nearest_sparse
from vecdb.segment import postings_arrays
from vecdb.segment.bitmaps import pack
from vecdb.segment.memory import MemoryRows, Row
from vecdb.segment.postings import word_key
from vecdb.segment.segment import Rows, Segment, write_segment
from vecdb.types import KeywordQuery, Match, Schema, SparseSpace, SparseVector, TextField

SCHEMA = Schema(
    (), (SparseSpace("s"),), (TextField("a", "english"), TextField("b"), TextField("c"))
)
NUMBERS = {"s": 0}


def rows(n: int, seed: int = 0) -> list[Row]:
    rng = np.random.default_rng(seed)
    words = [f"w{i}" for i in range(40)] + ["東京都", "The"]
    made: list[Row] = []
    for slot in range(n):
        payload = {
            "a": " ".join(rng.choice(words, rng.integers(0, 8))),
            "b": [" ".join(rng.choice(words, 2)) for _ in range(rng.integers(0, 3))],
        }
        held = {}
        if slot % 3:
            at = np.sort(rng.choice(20, 4, replace=False)).astype(np.uint32)
            held["s"] = SparseVector(at, rng.normal(size=4).astype(np.float32))
        made.append(Row(slot, json.dumps(payload).encode() if slot % 7 else b"", {}, held))
    return made


def write(folder: Path, made: list[Row], schema: Schema = SCHEMA) -> Segment:
    return Segment(folder, write_files(folder, made, schema), schema, NUMBERS)


def write_files(folder: Path, made: list[Row], schema: Schema = SCHEMA) -> int:
    folder.mkdir()
    collected = Rows(schema)
    collected.extend(made)
    return write_segment(folder, collected, NUMBERS, {"first": 0, "end": len(made)}).seal


KEYS = [word_key(f, w) for f in (0, 1, 2) for w in ("w1", "w17", "東京", "京都", "the", "nowhere")]
INDICES = np.array([3, 0, 19, 77, 2**32 - 1], np.uint32)


@pytest.mark.parametrize("n", [0, 1, 500])
def test_memory_and_segment_hold_the_same(tmp_path: Path, n: int) -> None:
    made = rows(n)
    segment = write(tmp_path / "1", made)
    # In pieces, and asked in between, as the tail is.
    memory = MemoryRows(SCHEMA)
    for first in range(0, n, 130):
        memory = memory.append(made[first : first + 130])
        memory.text().totals(None)
        memory.sparse("s").find(INDICES)
    alive = pack(np.arange(n) % 4 > 0)
    ours, theirs = segment.text(), memory.text()
    np.testing.assert_array_equal(ours.lengths, theirs.lengths)
    for mask in (None, alive):
        assert ours.totals(mask) == theirs.totals(mask)
    for a, b in (
        (ours.find(KEYS), theirs.find(KEYS)),
        (segment.sparse("s").find(INDICES), memory.sparse("s").find(INDICES)),
    ):
        for at in range(len(a.starts)):
            np.testing.assert_array_equal(a.rows_of(at), b.rows_of(at))
            of, other = (slice(int(x.starts[at]), int(x.stops[at])) for x in (a, b))
            np.testing.assert_array_equal(a.numbers[of], b.numbers[other])
    for key in KEYS:
        np.testing.assert_array_equal(ours.occurrences(key), theirs.occurrences(key))


def test_an_older_view_does_not_see_later_rows() -> None:
    made = rows(40)
    old = MemoryRows(SCHEMA).append(made[:30])
    new = old.append(made[30:31])
    assert new.text().rows == 31
    text = old.text()
    assert text.rows == text.lengths.shape[1] == 30
    assert all(text.find(KEYS).rows < 30)
    assert all(text.occurrences(KEYS[0]) >> np.uint64(32) < 30)
    assert all(old.sparse("s").find(INDICES).rows < 30)


def test_what_counts_as_text() -> None:
    payload = {"a": {"x": 1}, "b": ["one two", 3, None, ["three"], {"k": "no"}, "", "..."]}
    part = MemoryRows(SCHEMA).append([Row(0, json.dumps(payload).encode(), {})])
    text = part.text()
    assert text.lengths.tolist() == [[0], [3], [0]]
    places = [int(text.occurrences(word_key(1, word))[0]) for word in ("one", "two", "three")]
    assert places == [0, 1, 101]  # no phrase spans two strings
    assert len(text.occurrences(word_key(0, "one"))) == 0


def test_words_that_share_a_hash_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vecdb.segment.postings.word_hash", lambda key: len(key) % 2)
    monkeypatch.setattr(postings_arrays, "word_hash", lambda key: len(key) % 2)
    made = rows(200)
    ours, theirs = write(tmp_path / "1", made).text(), MemoryRows(SCHEMA).append(made).text()
    for key in KEYS:
        np.testing.assert_array_equal(ours.occurrences(key), theirs.occurrences(key))


def test_words_of_another_analyzer_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(postings_arrays, "ANALYZER", "0")
        seal = write_files(tmp_path / "1", rows(5))
    write(tmp_path / "2", rows(5))
    with pytest.raises(Corrupt, match="analyzed by 0"):
        Segment(tmp_path / "1", seal, SCHEMA, NUMBERS)


@pytest.mark.parametrize("seed", range(25))
def test_damaged_arrays_give_wrong_answers_at_worst(tmp_path: Path, seed: int) -> None:
    """Bytes of every array are changed behind an open segment's back, which nobody verified yet."""
    rng = np.random.default_rng(seed)
    n = 300
    segment = write(tmp_path / "1", rows(n))
    for path in sorted((tmp_path / "1").glob("*.npy")):
        if path.stem.startswith(("text-", "sparse-")):
            content = bytearray(path.read_bytes())
            head = 128  # numpy's header was read when the file was opened
            for _ in range(int(rng.integers(0, 12))):
                content[int(rng.integers(head, len(content)))] = int(rng.integers(0, 256))
            with path.open("r+b") as file:  # in place: the map sees it
                file.write(content)
    mask = rng.random(n) < 0.7
    for alive in (None, mask):
        bits = None if alive is None else pack(alive)
        candidates = [Candidates(segment, bits, n, bits)]
        for text in ("w1 w2 the", "東京都 w3", "w5"):
            for match in Match:
                asked = sought(KeywordQuery(text, 10, (), match), SCHEMA)
                slots = best_matches(candidates, asked, 10).slots
                assert len(set(slots)) == len(slots) <= 10
                assert set(slots) <= set(range(n))
                assert alive is None or all(alive[slots])
        query = SparseVector(np.arange(20, dtype=np.uint32), np.ones(20, np.float32))
        for idf in (False, True):
            slots = nearest_sparse(candidates, SparseSpace("s", idf), query, 10).slots
            assert len(set(slots)) == len(slots) <= 10
            assert set(slots) <= set(range(n))
