"""Highlights against texts whose words are known, one by one, and what fragments promise."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from vecdb.query.highlight import (
    CHARACTERS_READ,
    Fragment,
    Shape,
    asked_texts,
    highlighted,
    marks_of,
)
from vecdb.types import (
    And,
    Equals,
    Match,
    MatchesText,
    MinShould,
    Not,
    Or,
    TextField,
)

FIELD = TextField("doc.text", "english")
WHOLE = Shape(1, CHARACTERS_READ)
# What is written, and the word that it counts as.
WRITTEN = {
    "running": "run",
    "Runs": "run",
    "run": "run",
    "SHOE": "shoe",
    "shoes": "shoe",
    "of": "of",
    "Caf\u00e9": "café",
    "cafe\u0301": "café",
    "ｃａｆé": "café",
    "ﬁne": "fine",
    "fine": "fine",
    "so\u00adft": "soft",
    "🙂soft": "soft",
    "x": "x",
}
TOKENS = st.lists(st.sampled_from(sorted(WRITTEN)), max_size=60)
GAPS = st.lists(st.sampled_from([" ", ", ", " - ", "\n", " 🙂 "]), min_size=60, max_size=60)
ASKED = st.lists(
    st.tuples(
        st.lists(st.sampled_from(sorted(WRITTEN)), min_size=1, max_size=3).map(" ".join),
        st.sampled_from(Match),
    ),
    min_size=1,
    max_size=3,
)


def marked(text: str, asked: list[tuple[str, Match]], shape: Shape = WHOLE) -> list[Fragment]:
    return highlighted({"doc": {"text": text}}, marks_of(FIELD, asked), shape)


def shown(fragment: Fragment) -> str:
    text, at, parts = fragment.text, 0, []
    for start, end in fragment.words:
        parts += [text[at:start], "[", text[start:end], "]"]
        at = end
    return "".join([*parts, text[at:]])


def known_ranges(tokens: list[str], gaps: list[str], asked: list) -> tuple[str, set]:
    """Return a text, and the range of every word of it that is asked for, from its words."""
    text, ranges = "", []
    for token, gap in zip(tokens, gaps, strict=False):
        start = len(text) + token.startswith("🙂")
        text += token
        ranges.append((start, len(text)))
        text += gap
    words = [WRITTEN[token] for token in tokens]
    found = set()
    for asked_text, match in asked:
        phrase = [WRITTEN[token] for token in asked_text.split(" ")]
        if match is not Match.PHRASE:
            found |= {at for at, word in enumerate(words) if word in phrase}
            continue
        for at in range(len(words) - len(phrase) + 1):
            if words[at : at + len(phrase)] == phrase:
                found |= set(range(at, at + len(phrase)))
    return text, {ranges[at] for at in found}


@given(tokens=TOKENS, gaps=GAPS, asked=ASKED)
def test_exactly_the_words_asked_for_are_marked(tokens: list, gaps: list, asked: list) -> None:
    text, ranges = known_ranges(tokens, gaps, asked)
    found = marked(text, asked)
    assert len(found) == bool(ranges)
    if ranges:
        (one,) = found
        assert {(one.start + a, one.start + b) for a, b in one.words} == ranges


@given(tokens=TOKENS, gaps=GAPS, asked=ASKED, fragments=st.integers(1, 5), size=st.integers(20, 90))
def test_fragments_keep_what_they_promise(
    tokens: list, gaps: list, asked: list, fragments: int, size: int
) -> None:
    text, ranges = known_ranges(tokens, gaps, asked)
    found = marked(text, asked, Shape(fragments, size))
    assert len(found) <= fragments
    assert bool(found) == bool(ranges)
    end = 0
    covered: set[int] = set()
    for one in found:
        assert (one.value, one.text) == (0, text[one.start : one.start + len(one.text)])
        assert len(one.text) <= size
        assert one.start >= end
        end = one.start + len(one.text)
        assert one.words
        assert one.words == sorted(one.words)
        for start, stop in one.words:
            assert 0 <= start < stop <= len(one.text)
        # No word is cut: sizes are larger than the longest.
        assert {(one.start + a, one.start + b) for a, b in one.words} <= ranges
        covered.update(range(one.start, end))
    if len(found) < fragments:
        assert {start for start, _ in ranges} <= covered


def test_pairs_of_characters_are_marked_as_what_they_make_together() -> None:
    (one,) = marked("私は東京都庁に行く。京都", [("東京都", Match.ANY)])
    assert shown(one) == "私は[東京都]庁に行く。[京都]"
    (one,) = marked("私は東京都庁に行く。京都", [("東京都", Match.PHRASE)])
    assert shown(one) == "私は[東京都]庁に行く。京都"
    # One character that stands for several words is marked as a whole.
    (one,) = marked("a ㍿ b", [("株式", Match.ANY)])
    assert shown(one) == "a [㍿] b"


def test_places_are_code_points() -> None:
    (one,) = marked("🙂🙂 shoe \ud800", [("shoes", Match.ALL)], Shape(1, 20))
    assert one == Fragment("🙂🙂 shoe \ufffd", 0, 0, [(3, 7)])


def test_the_best_fragments_are_those_with_most_words() -> None:
    rest = " and so on and on" * 20
    text = f"a run{rest} a run, a shoe{rest} a run, a run{rest}"
    asked = [("run shoe", Match.ANY)]
    (best,) = marked(text, asked, Shape(1, 40))
    assert best.text[best.words[0][0] :].startswith("run, a shoe")
    two = marked(text, asked, Shape(2, 40))
    assert [len(one.words) for one in two] == [2, 2]
    assert two[0].start < two[1].start
    # Words of the texts around begin and end them.
    for one in marked(text, asked, Shape(3, 40)):
        assert f" {one.text} " in f" {text} "


def test_a_word_counts_the_more_the_rarer_it_is_in_its_text() -> None:
    rest = " and of the" * 20
    text = f"of the, in the of{rest} a shoe{rest} of the in"
    (best,) = marked(text, [("the shoe of in", Match.ANY)], Shape(1, 20))
    assert "shoe" in best.text


def test_strings_of_arrays_and_objects_are_counted_through() -> None:
    payload = {"doc": [{"text": ["x", 5, "a run"]}, {"text": "no"}, {"text": [["runs"]]}]}
    marks = marks_of(FIELD, [("run", Match.ANY)])
    found = highlighted(payload, marks, Shape(3, 20))
    assert found == [Fragment("a run", 2, 0, [(2, 5)]), Fragment("runs", 4, 0, [(0, 4)])]
    assert highlighted(payload, marks, Shape(1, 20)) == found[:1]
    # No phrase spans two strings.
    payload = {"doc": {"text": ["a run", "of shoes"]}}
    assert highlighted(payload, marks_of(FIELD, [("run of", Match.PHRASE)]), Shape(3, 20)) == []


def test_what_stands_behind_the_part_that_is_read_is_not_marked() -> None:
    marks = marks_of(FIELD, [("run", Match.ANY)])
    at_the_end = "." * (CHARACTERS_READ - 3)
    for text, count in (
        (at_the_end + "run", 1),
        (f"{at_the_end}runs", 0),
        (f".{at_the_end}run", 0),
    ):
        assert len(highlighted({"doc": {"text": text}}, marks, Shape(1, 20))) == count
    payload = {"doc": {"text": [at_the_end, "run", "run"]}}
    assert [one.value for one in highlighted(payload, marks, Shape(3, 20))] == [1]


@pytest.mark.parametrize("payload", [{}, [], None, {"doc": None}, {"doc": {"text": [1, None]}}])
def test_payloads_without_texts(payload: object) -> None:
    assert highlighted(payload, marks_of(FIELD, [("run", Match.ANY)]), Shape(3, 20)) == []


def test_a_word_that_is_longer_than_its_fragment_is_cut() -> None:
    (one,) = marked("東京" * 50, [("東京" * 50, Match.PHRASE)], Shape(1, 20))
    assert (len(one.text), one.words) == (20, [(0, 20)])


def test_conditions_that_a_match_can_be_owed_to() -> None:
    a, b, c, d = (MatchesText("t", word, Match.ANY) for word in "abcd")
    assert asked_texts(a) == [a]
    assert asked_texts(And((a, Or((b, Equals("x", 1))), MinShould(1, (c,)), Not(d)))) == [a, b, c]
