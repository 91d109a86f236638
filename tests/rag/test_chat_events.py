"""Bytes of a stream of events to the text of an answer, however they come."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rag.chat_server import events_of
from vecdb.rag.answer_stream import AnswerStream, BrokenOff
from vecdb.rag.event_stream import EventStream

TEXT = "Für 文档 🐘, see [1].\r\n\u2028End."


def cut_at(content, places):
    cuts = [0, *sorted(place % (len(content) + 1) for place in places), len(content)]
    return [content[a:b] for a, b in itertools.pairwise(cuts)]


def data_of(pieces):
    stream = EventStream()
    return [data for piece in pieces for data in stream.feed(piece)] + stream.end()


@pytest.mark.parametrize(
    ("content", "data"),
    [
        (b"data: a\n\ndata: b\n\n", ["a", "b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", ["a", "b"]),
        (b"data: a\r\rdata: b\r\r", ["a", "b"]),
        (b"data: a\n\r\ndata: b\r\r\n", ["a", "b"]),
        (b"\xef\xbb\xbfdata: a\n\n", ["a"]),
        (b"data:a\ndata:  b\n\n", ["a\n b"]),
        (b": note\n\ndata: a\n: note\nevent: x\nid: 7\nretry: 1\nother\n\n", ["a"]),
        (b"event: ping\n\n\n\n", []),
        (b"data\n\ndata:\n\n", ["", ""]),
        (b"data: a\n\ndata: [DONE]", ["a", "[DONE]"]),
        (b"data: a\n\ndata: b\r", ["a", "b"]),
        (b"data: \xff\n\n", ["\ufffd"]),
        (b"", []),
        (b"\xef\xbb", []),
    ],
)
def test_events(content, data):
    assert data_of([content]) == data
    assert data_of(content[at : at + 1] for at in range(len(content))) == data


@given(st.lists(st.sampled_from([b"data:", b" ", b"a", b"\n", b"\r", b"\xef\xbb\xbf", b": "])),
       st.lists(st.integers(0, 99), max_size=6))  # fmt: skip
def test_events_do_not_depend_on_how_bytes_are_cut(parts, places):
    content = b"".join(parts)
    assert data_of(cut_at(content, places)) == data_of([content])


def test_a_long_line_costs_no_more_than_its_bytes():
    stream = EventStream()
    assert stream.feed(b"data: ") == []
    for _ in range(2000):  # read again for each, it would be gigabytes
        assert stream.feed(b"x" * 16384) == []
    (data,) = stream.feed(b"\n\n")
    assert len(data) == 2000 * 16384


@given(st.lists(st.integers(0, 9999), max_size=12), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_an_answer_does_not_depend_on_how_bytes_are_cut(places, line):
    content = b"".join(events_of(TEXT)).replace(b"\n", line)
    answer = AnswerStream("text/event-stream; charset=utf-8")
    texts = [text for piece in cut_at(content, places) for text in answer.feed(piece)]
    texts += answer.finish()
    assert "".join(texts) == TEXT
    assert answer.done
    assert answer.end.finish_reason == "stop"
    assert answer.end.answer_tokens == len(texts)


@given(st.integers(1, 9999))
def test_an_answer_that_is_cut_says_so_or_is_whole(place):
    """Its end is known from the finish reason on; before that it broke off, wherever."""
    content = b"".join(events_of(TEXT))
    known = content.index(b'"stop"}]}') + len(b'"stop"}]}')
    place %= len(content)
    answer = AnswerStream("text/event-stream")
    texts = list(answer.feed(content[:place]))
    if place < known:
        with pytest.raises(BrokenOff):
            texts.extend(answer.finish())
        assert TEXT.startswith("".join(texts))
    else:
        texts += answer.finish()
        assert "".join(texts) == TEXT
