"""Chunks are pieces of their text, all of it, none too long; sections say where they begin."""

from __future__ import annotations

import random
import re
import time
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.examples import examples
from vecdb.errors import LimitExceeded
from vecdb.rag.chunking import chunk
from vecdb.rag.sections import headings, sections, title_of
from vecdb.rag.texts import Chunk, Text
from vecdb.rag.token_counts import estimate

MOST = 10**6
WORDS = "the database keeps vectors on disk and finds near ones quickly 数据 存储 😀 naïve".split()

LINES = st.sampled_from(
    ["# One", "## Two *a*", "### Three ##", "Title", "===", "---", "```", "~~~", "- item", "",
     "  ", "A sentence. Another one! 数据库存储向量。然后查询。", "word " * 12, "数" * 40, "x" * 70,
     "👩\u200d👩\u200d👧 family", "\u3000indented", "| a | b |", "    code", "> quote",
     "#no", "\x1c"]
)  # fmt: skip
TEXTS = st.one_of(st.lists(LINES, max_size=40).map("\n".join), st.text(max_size=300))


def covered(text: str, chunks: list[Chunk]) -> None:
    """Assert what holds for any chunks of a text."""
    reached = 0
    for one in chunks:
        assert text[one.start : one.end] == one.text
        assert one.text.strip()
        assert not text[reached : one.start].strip()
        reached = max(reached, one.end)
    assert not text[reached:].strip()
    for before, after in pairwise(chunks):
        assert before.start < after.start
        assert before.end < after.end


@settings(max_examples=examples(300), deadline=None)
@given(TEXTS, st.booleans(), st.integers(1, 60), st.integers(0, 20))
@example("a\n\n# b\n\nc", True, 60, 0)
def test_chunks_are_all_of_the_text_and_none_is_too_long(text, markdown, tokens, overlap):
    chunks = chunk(Text(text, markdown), len, tokens, overlap, MOST)
    covered(text, chunks)
    for one in chunks:
        assert one.tokens == len(one.text)
        assert one.tokens <= tokens or len(one.text) == 1
    assert chunk(Text(text, markdown), len, tokens, overlap, MOST) == chunks


@settings(max_examples=examples(100), deadline=None)
@given(TEXTS, st.booleans())
@example("# One\n===\n" + "word " * 12 + "\n# One", False)
def test_an_estimate_cuts_as_well(text, markdown):
    chunks = chunk(Text(text, markdown), estimate, 16, 4, MOST)
    covered(text, chunks)
    assert all(one.tokens <= 16 for one in chunks)


# --- headings

COMMONMARK = MarkdownIt("commonmark")
BLOCKS = st.lists(
    st.sampled_from(
        ["# One", "## Two ##", "####### no", "#", "#no", "   ### in", "Text", "two words", "===",
         "-----", "-", "```", "~~~~", "```py", "    # code", "", "", "\\# not", "* * *", "a #",
         "``` no ` fence", "text\nmore"]
    ),
    max_size=14,
).map("\n".join)  # fmt: skip


@settings(max_examples=examples(300), deadline=None)
@given(BLOCKS)
@example("===\n===")
@example("``` no ` fence\n===")
def test_headings_are_those_of_commonmark(text):
    # Items of lists end sections here, if they are not indented: they are left to other tests.
    if re.search(r"^(-|\*)( |$)", text, re.MULTILINE) or text.startswith("---"):
        return
    expected = []
    for token in COMMONMARK.parse(text):
        if token.type == "heading_open":
            expected.append((int(token.tag[1]), token.map[0]))
    found = [(one.level, text.count("\n", 0, one.start)) for one in headings(text)]
    assert found == expected


def test_titles_are_as_they_are_read():
    text = "# A [link](http://a/b) and `code` *here* \\# ##\n\nTwo\nlines\n---\n"
    assert [one.title for one in headings(text)] == ["A link and code here #", "Two lines"]
    assert title_of(text) == "A link and code here #"


def test_no_headings_in_front_matter_comments_and_code_of_lists():
    text = "---\ntitle: x\n---\n<!-- \n# a\n-->\n- ```\n  # b\n  ```\n\n# Real\n"
    assert [one.title for one in headings(text)] == ["Real"]


def test_sections_have_paths():
    text = "Intro.\n# A\n## B\ntext\n### C\ntext\n## D\ntext\n# E\n"
    found = [(text[a:b], path) for a, b, path, _ in sections(text)]
    assert found == [
        ("Intro.\n", ()),
        ("# A\n## B\ntext\n", ("A", "B")),
        ("### C\ntext\n", ("A", "B", "C")),
        ("## D\ntext\n", ("A", "D")),
        ("# E\n", ("E",)),
    ]


# --- what goes together


def words(count: int) -> str:
    return " ".join(WORDS[at % 10] for at in range(count)) + "."


def count_words(text: str) -> int:
    return len(text.split())


def test_short_sections_of_a_parent_are_put_together():
    text = f"# Top\n## A\n{words(10)}\n## B\n{words(10)}\n## C\n{words(90)}\n# Other\n{words(60)}\n"
    chunks = chunk(Text(text, True), count_words, 100, 0, MOST)
    covered(text, chunks)
    assert [one.headings for one in chunks] == [("Top", "A"), ("Top", "C"), ("Other",)]
    assert "## B" in chunks[0].text


def test_a_long_section_is_cut_and_keeps_its_path():
    text = f"# Top\n\n## Long\n\n{words(60)}\n\n{words(60)}\n\n{words(60)}\n"
    chunks = chunk(Text(text, True), count_words, 100, 0, MOST)
    covered(text, chunks)
    assert len(chunks) == 3
    assert {one.headings for one in chunks} == {("Top", "Long")}
    assert chunks[0].text.startswith("# Top")


def test_the_rest_of_a_section_is_no_crumb():
    text = ". ".join(f"Sentence {at} has five" for at in range(26)) + "."
    chunks = chunk(Text(text), count_words, 100, 0, MOST)
    covered(text, chunks)
    assert [one.tokens for one in chunks] == [64, 40]


def test_chunks_overlap_inside_of_a_section():
    text = " ".join(f"Sentence number {at} is here." for at in range(40))
    chunks = chunk(Text(text), count_words, 50, 10, MOST)
    covered(text, chunks)
    for before, after in pairwise(chunks):
        repeated = count_words(text[after.start : before.end])
        assert 0 < repeated <= 10


def test_more_chunks_than_allowed():
    with pytest.raises(LimitExceeded, match=r"more than 3 chunks.*documents\.document_chunks"):
        chunk(Text(words(500)), count_words, 10, 0, 3)


# --- large and strange: each within a bound that a quadratic way would miss by far


def prose(characters: int) -> str:
    choice = random.Random(5)
    parts, size = [], 0
    while size < characters:
        parts.append(" ".join(choice.choices(WORDS, k=9)) + choice.choice([". ", ". ", ".\n\n"]))
        size += len(parts[-1])
    return "".join(parts)[:characters]


def letters(alphabet: str, count: int) -> str:
    return "".join(random.Random(6).choices(alphabet, k=count))


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        pytest.param(prose(2_000_000), True, id="prose"),
        pytest.param(prose(100_000).replace("\n", " "), True, id="line"),
        pytest.param(letters("abcdefghij", 1_000_000), True, id="unbroken"),
        pytest.param(letters("数据库存储向量", 200_000), False, id="han"),
        pytest.param("".join(f"# h{at}\n" for at in range(100_000)), True, id="headings"),
        pytest.param("a\n" * 100_000, False, id="lines"),
        pytest.param("> a\nb\n--\n" * 30_000, True, id="underlines"),
        pytest.param("<!-- \n" * 60_000, True, id="comments"),
        pytest.param("- ```\n" * 100_000, True, id="fences"),
        pytest.param("# " + "[" * 200_000 + " " * 200_000 + "#x", True, id="brackets"),
        pytest.param("a" + " " * 3_000_000 + "b", False, id="spaces"),
    ],
)
def test_time_grows_with_the_text(text, markdown):
    began = time.process_time()
    chunks = chunk(Text(text, markdown), estimate, 200, 25, MOST)
    assert time.process_time() - began < 45
    covered(text, chunks)
    assert max(one.tokens for one in chunks) <= 200
