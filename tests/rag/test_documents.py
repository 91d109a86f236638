"""Which operations turn one version of a document into the next."""

from __future__ import annotations

import json

import pytest

from vecdb.errors import BadPayload, Corrupt
from vecdb.rag import documents
from vecdb.rag.documents import Described, Plan, Stored, plan, stored_of
from vecdb.rag.texts import Chunk
from vecdb.types import Delete, Patch, Put

DESCRIBED = Described("doc", "Title", "text", b"", "aa", 100, "put-1", "2026-01-01T00:00:00Z")


def chunks(*texts: str) -> list[Chunk]:
    found, at = [], 0
    for text in texts:
        found.append(Chunk(text, at, at + len(text), (), len(text.split())))
        at += len(text) + 1
    return found


def stored(made: Plan, version: int = 1) -> Stored:
    own = made.ops[-1]
    assert isinstance(own, Put)
    assert own.id == "doc"
    found = stored_of("doc", version, own.payload)
    assert found is not None
    return found


def test_a_new_document_is_its_chunks_and_a_point_of_its_own():
    made = plan(DESCRIBED, chunks("one two", "three"), None, ["", "other"])
    assert (made.added, made.kept, made.removed, made.tokens) == (2, 0, 0, 3)
    first, second, own = made.ops
    assert isinstance(first, Put)
    assert first.texts == {"": "Title\none two", "other": "Title\none two"}
    payload = json.loads(first.payload)
    assert payload == {
        "document": "doc",
        "title": "Title",
        "section": "Title",
        "text": "one two",
        "chunk": 0,
        "start": 0,
        "end": 7,
    }
    assert isinstance(own, Put)
    assert own.if_version == 0
    assert not own.texts
    assert [one.id for one in stored(made).layout] == [first.id, second.id]


def test_what_is_unchanged_is_kept_and_what_is_gone_removed():
    before = plan(DESCRIBED, chunks("one", "two", "three"), None, [""])
    after = plan(DESCRIBED, chunks("one", "three", "four"), stored(before, 7), [""])
    assert (after.added, after.kept, after.removed) == (1, 2, 1)
    kinds = [type(op) for op in after.ops]
    # "one" stands where it stood: nothing to do. "three" has moved.
    assert kinds == [Patch, Put, Delete, Put]
    moved = after.ops[0]
    assert isinstance(moved, Patch)
    assert moved.id == before.ops[2].id
    assert json.loads(moved.edits.set) == {"chunk": 1, "start": 4, "end": 9}
    assert after.ops[2] == Delete(before.ops[1].id)
    assert after.ops[-1].if_version == 7


def test_equal_chunks_are_told_apart():
    made = plan(DESCRIBED, chunks("same", "same", "same"), None, [""])
    assert len({op.id for op in made.ops}) == 4
    again = plan(DESCRIBED, chunks("same", "same"), stored(made), [""])
    assert (again.added, again.kept, again.removed) == (0, 2, 1)


def test_metadata_goes_to_every_chunk_without_encoding_it_again():
    before = plan(DESCRIBED, chunks("one", "two"), None, [""])
    described = replace_metadata(b'{"author":"Ada"}')
    after = plan(described, chunks("one", "two"), stored(before), [""])
    assert (after.added, after.kept) == (0, 2)
    for op in after.ops[:-1]:
        assert isinstance(op, Patch)
        assert json.loads(op.edits.set)["metadata"] == {"author": "Ada"}
    gone = plan(DESCRIBED, chunks("one", "two"), stored(after), [""])
    assert all(op.edits.unset == ("metadata",) for op in gone.ops[:-1])


def replace_metadata(metadata: bytes) -> Described:
    return DESCRIBED._replace(metadata=metadata)


def test_another_title_or_space_is_encoded_again():
    before = stored(plan(DESCRIBED, chunks("one"), None, [""]))
    titled = plan(DESCRIBED._replace(title="Other"), chunks("one"), before, [""])
    assert (titled.added, titled.kept, titled.removed) == (1, 0, 1)
    spaced = plan(DESCRIBED, chunks("one"), before, ["", "second"])
    assert (spaced.added, spaced.kept, spaced.removed) == (1, 0, 1)


def test_anew_keeps_nothing_and_removes_what_is_gone():
    before = stored(plan(DESCRIBED, chunks("one", "two"), None, [""]))
    made = plan(DESCRIBED, chunks("one"), before, [""], anew=True)
    assert [type(op) for op in made.ops] == [Put, Delete, Put]


def test_the_whole_text_is_put_together_again():
    text = "First.  Second sentence.\n\nThird."
    parts = [
        Chunk("First.", 0, 6, (), 1),
        Chunk("Second sentence.", 8, 24, (), 2),
        Chunk("sentence.\n\nThird.", 15, 32, (), 2),
    ]
    made = plan(DESCRIBED, parts, None, [])
    texts = {op.id: json.loads(op.payload)["text"] for op in made.ops[:-1]}
    whole = documents.whole_text(stored(made).layout, texts)
    assert len(whole) == len(text)
    assert whole.split() == text.split()
    for part in parts:
        assert whole[part.start : part.end].split() == part.text.split()


def test_removal_removes_all_at_the_version_that_was_seen():
    before = stored(plan(DESCRIBED, chunks("one", "two"), None, [""]), 5)
    ops = documents.removal(before)
    assert [op.id for op in ops[:-1]] == [one.id for one in before.layout]
    assert ops[-1] == Delete("doc", if_version=5)


def test_other_points_are_no_documents():
    assert stored_of("doc", 1, b"") is None
    assert stored_of("doc", 1, b'{"document":"another","layout":"x:"}') is None
    with pytest.raises(Corrupt, match="layout"):
        stored_of("doc", 1, b'{"document":"doc","layout":"x:!!"}')


@pytest.mark.parametrize("bad", [b"[]", b"{", b'{"a": NaN}', b'{"a": "\\ud800"}', b"\xff", b"1"])
def test_bad_metadata_is_refused(bad: bytes):
    with pytest.raises(BadPayload, match="metadata is not a JSON object"):
        documents.checked_metadata(bad, "metadata")


def test_metadata_has_one_form():
    assert documents.checked_metadata(b' {"a" : 1} ', "m") == documents.checked_metadata(
        b'{"a":1}', "m"
    )
    assert documents.checked_metadata(b"{}", "m") == b""


def test_a_section_says_each_heading_once():
    assert documents.section_of("Guide", ("Guide", "Tea")) == "Guide > Tea"
    assert documents.section_of("Guide", ()) == "Guide"
    assert documents.section_of("", ("Tea",)) == "Tea"
