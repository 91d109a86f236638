"""Citations: which brackets are any, what is left of them, however the text was cut."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb.rag.citations import HELD_CHARS, Citations, without_citations

MARKERS = 8


def filtered(pieces, markers=MARKERS):
    citations = Citations(markers)
    text = "".join([citations.feed(piece) for piece in pieces] + [citations.end()])
    return text, citations.used, citations.removed


@pytest.mark.parametrize(
    ("said", "sent", "used", "removed"),
    [
        ("It is [1].", "It is [1].", [1], 0),
        ("So [3], so [1] [3].", "So [3], so [1] [3].", [3, 1], 0),
        ("So [2][1].", "So [2][1].", [2, 1], 0),
        ("So [1,2;3].", "So [1, 2, 3].", [1, 2, 3], 0),
        ("So [ 2 , 2 ].", "So [2].", [2], 0),
        ("So [2-4].", "So [2, 3, 4].", [2, 3, 4], 0),
        ("So [2–4, 7].", "So [2, 3, 4, 7].", [2, 3, 4, 7], 0),  # noqa: RUF001
        ("So [4-2].", "So [4, 2].", [4, 2], 0),
        ("因此【1】，另外［２、3］。", "因此[1]，另外[2, 3]。", [1, 2, 3], 0),  # noqa: RUF001
        ("So【2†source】.", "So[2].", [2], 0),
        ("So【9†L1-L7】.", "So.", [], 1),
        # What no passage has.
        ("So [9].", "So.", [], 1),
        ("So [9] it [10, 11] is.", "So it is.", [], 3),
        ("So [1, 9, 2].", "So [1, 2].", [1, 2], 1),
        ("So [7-99].", "So [7].", [7], 1),
        ("[9] [9]So", "So", [], 2),
        # What is no citation.
        ("[x] [ ] [] [1a] [a1] [1.] [-] [,] [1,,2]", None, [], 0),
        ("In [2024] it was [0] to [0-9] or [01].", None, [], 0),
        ("See [the page](http://host/) and [1, see].", None, [], 0),
        ("Use `argv[9]`, then [9].", "Use `argv[9]`, then.", [], 1),
        ("```sh\na[9]\nb[9] `x`\n```\nSo [1].", None, [1], 0),
        ("``a`[9]`` [9]b", "``a`[9]``b", [], 1),
        ("A ` alone [1]\nand [9].", "A ` alone [1]\nand.", [], 1),
        ("[" * 5 + "1]", None, [1], 0),
        ("[1[2]] [[9]9] [3[9]] [[x[9]9]]", "[1[2]] [3] [[x9]]", [2, 3], 4),
        ("[1", None, [], 0),
        ("[1\n]", None, [], 0),
        ("spaces  ", None, [], 0),
        ("", "", [], 0),
    ],
)
def test_what_comes_out(said, sent, used, removed):
    assert filtered([said]) == (said if sent is None else sent, used, removed)
    assert filtered(said) == (said if sent is None else sent, used, removed)


TEXTS = st.text(st.sampled_from("[]【】［］ 1290,-–†`\nab，"), max_size=60)  # noqa: RUF001


@given(TEXTS | st.text(max_size=60), st.lists(st.integers(0, 60), max_size=8))
def test_the_result_does_not_depend_on_how_the_text_is_cut(text, places):
    cuts = [0, *sorted(place for place in places if place < len(text)), len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(cuts)]
    whole = filtered([text])
    assert filtered(pieces) == whole
    assert filtered(text) == whole


@given(TEXTS)
def test_none_is_left_that_names_nothing(text):
    sent, used, _ = filtered([text])
    assert filtered([sent]) == (sent, used, 0)
    assert all(1 <= marker <= MARKERS for marker in used)
    assert len(set(used)) == len(used)


@given(st.text(st.characters(exclude_characters="[【［")))  # noqa: RUF001
def test_a_text_without_brackets_stays_as_it_is(text):
    assert filtered([text]) == (text, [], 0)


@pytest.mark.parametrize("inside", ["1," * 200, "1†" + "a" * 400, " " * 400])
def test_no_more_is_held_back_than_a_citation_has(inside):
    citations = Citations(MARKERS)
    held = most = 0
    for letter in "[" + inside:
        held += 1 - len(citations.feed(letter))
        most = max(most, held)
    # Spaces before what follows are held back as well, but any other letter lets them go.
    assert most <= max(HELD_CHARS, inside.count(" "))


def test_text_is_sent_at_once():
    citations = Citations(2)
    sent = [citations.feed(piece) for piece in ("It", " is", " so", " [", "1", "]", ".")]
    assert sent == ["It", " is", " so", "", "", " [1]", "."]


def test_without_citations():
    assert without_citations("It [1] is [2, 3] so【4】.") == "It is so."
