"""Answers through a real server and a local language model that fails in every way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.conftest import MakeServer
from tests.live import LiveServer, wait_until
from tests.rag.chat_server import KEY, MODEL, ChatServer, chatting, cut, hangs, status
from tests.rpc.nodes import metrics
from vecdb_client import (
    Answer,
    Documents,
    FailedPrecondition,
    TextField,
    Unavailable,
    VecdbError,
)

FIELDS = [TextField("text", "english"), TextField("section", "english")]


@pytest.fixture
def model() -> Iterator[ChatServer]:
    with chatting() as made:
        yield made


@contextmanager
def answering(
    make_server: MakeServer, model: ChatServer, **settings: Any
) -> Iterator[tuple[LiveServer, Documents]]:
    # With its name the model is asked at once: every fault befalls an answer.
    named = {"answer__endpoint": model.url, "answer__model": MODEL, "answer__timeout_s": 2.0}
    server = make_server(**named, **settings)
    with server.client() as client:
        client.create_collection("c", text_fields=FIELDS)
        docs = client.documents("c")
        docs.put(
            [
                {"id": "sea", "title": "The sea", "content": "The sea is deep and salty."},
                {"id": "tea", "title": "Tea", "content": "Tea is brewed from leaves."},
            ]
        )
        yield server, docs


def asked(docs: Documents, question: str = "How deep is the sea?", **more: Any) -> Answer:
    *pieces, end = docs.answer(question, **{"min_relevance": 0.0, "passages": 1, **more})
    assert isinstance(end, Answer)
    assert end.text == "".join(map(str, pieces))
    return end


def test_an_answer_cites_what_there_is_and_nothing_else(make_server, model):
    model.answer = "It is deep [1], salty [1, 9] and warm [4]."
    with answering(make_server, model) as (server, docs):
        end = asked(docs)
        assert end.text == "It is deep [1], salty [1] and warm."
        assert [one.document for one in end.citations] == ["sea"]
        assert end.citations_removed == 2
        assert end.finish_reason == "stop"
        assert end.context.passages[0].text == "The sea is deep and salty."
        assert end.prompt_tokens > 0
        assert "> The sea is deep and salty." in model.chats[0].prompt
        assert "How deep is the sea?" in model.chats[0].prompt
        assert metrics(server)["vecdb_answer_citations_removed_total"] == 2


def test_a_chinese_question_has_chinese_instructions(make_server, model):
    with answering(make_server, model) as (_, docs):
        asked(docs, "海有多深?sea")
        assert "只根据" in model.chats[0].prompt
        asked(docs, "海有多深?sea", language="en")
        assert "numbered passages" in model.chats[1].prompt


def test_where_nothing_is_relevant_no_model_is_asked(make_server, model):
    with answering(make_server, model) as (_, docs):
        end = asked(docs, "Who won the election?", min_relevance=None)
        assert end.finish_reason == "nothing_relevant"
        assert end.text == "I found nothing about this in the documents."
        assert end.citations == ()
        assert model.chats == []


def test_what_was_said_before_is_condensed_by_the_model(make_server, model):
    model.answer = lambda messages: (
        "How deep is the sea?" if "Last question" in messages[-1]["content"] else "Deep [1]."
    )
    with answering(make_server, model) as (_, docs):
        end = asked(docs, "How deep is it?", history=[("user", "Tell me of the sea")])
        assert end.context.searched == "How deep is the sea?"
        found = docs.context(
            "How deep is it?", history=[("user", "the sea")], condense=False, min_relevance=0
        )
        assert found.searched == "the sea\nHow deep is it?"


def test_a_model_that_is_busy_is_asked_again(make_server, model):
    model.faults += [status(429, Retry_After="0"), status(500)]
    with answering(make_server, model) as (_, docs):
        assert asked(docs).finish_reason == "stop"


def test_an_answer_that_breaks_off_says_so_after_what_came(make_server, model):
    model.faults.append(cut(4))
    with answering(make_server, model) as (_, docs):
        stream = docs.answer("How deep is the sea?", min_relevance=0.0)
        pieces: list[object] = []
        with pytest.raises(Unavailable, match="broke off"):
            pieces += iter(stream)
        assert not any(isinstance(one, Answer) for one in pieces)
        assert asked(docs).finish_reason == "stop"


def test_a_model_that_hangs_does_not_hang_the_server(make_server, model):
    model.faults.append(hangs(4))
    with answering(make_server, model) as (_, docs):
        with pytest.raises(VecdbError):
            list(docs.answer("How deep is the sea?", min_relevance=0.0))
        assert docs.context("sea", min_relevance=0).passages


def test_who_hangs_up_ends_the_models_work(make_server, model):
    model.faults.append(hangs(4))
    with answering(make_server, model, answer__at_once=1) as (server, docs):
        stream = docs.answer("How deep is the sea?", min_relevance=0.0)
        next(stream)
        stream.close()
        wait_until(lambda: metrics(server).get('vecdb_answers_total{ended="cancelled"}') == 1)
        assert asked(docs).finish_reason == "stop"  # its turn was given back


def test_a_refused_key_is_said_and_not_shown(make_server, model, tmp_path):
    model.key = "another"
    file = tmp_path / "key"
    file.write_text(KEY)
    with answering(make_server, model, answer__key_file=str(file)) as (server, docs):
        with pytest.raises(FailedPrecondition, match="refused the key") as caught:
            asked(docs)
        assert KEY not in str(caught.value)
        assert KEY not in server.tail()


def test_every_worker_answers(make_server, model):
    with answering(make_server, model, server__workers=2) as (_, docs):
        assert asked(docs).finish_reason == "stop"
