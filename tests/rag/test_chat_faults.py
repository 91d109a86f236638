"""The language model's client where its server fails: what is tried again, and what is said."""

import logging
import socket
import time

import pytest

from tests.rag.chat_server import (
    KEY,
    MODEL,
    chatting,
    cut,
    ends,
    event,
    hangs,
    sends,
    silent,
    slow,
    status,
)
from tests.rag.test_chat import ANSWER, ENVIRON, MESSAGES, ask, wanted
from vecdb.config import AnswerConfig
from vecdb.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    Overloaded,
    Unavailable,
    VecdbError,
)
from vecdb.rag.chat import LanguageModel

completions = pytest.importorskip("vecdb.rag.completions", reason="needs the documents extra")


@pytest.fixture
def chat():
    with chatting() as running:
        running.answer = ANSWER
        yield running


@pytest.fixture
def make_model(chat, monkeypatch):
    monkeypatch.setattr(completions, "BACKOFF_S", 0.001)
    made = []

    def make(**settings):
        config = AnswerConfig(**{"endpoint": chat.url, "model": MODEL, **settings})
        made.append(LanguageModel(config, ENVIRON))
        return made[-1]

    yield make
    for model in made:
        model.close()


def read(model, timeout_s=30.0):
    """Return what came of an answer before it failed, and why it did."""
    came = []
    with pytest.raises(VecdbError) as caught:
        came.extend(model.stream(MESSAGES, 64, timeout_s, wanted))
    assert all(type(piece) is str for piece in came)
    return "".join(came), caught.value


# --- what is tried again

TEXT_BEGINS = 1  # the first event has no text


@pytest.mark.parametrize(
    "fault",
    [
        status(408),
        status(429),
        status(500),
        status(502, "bad gateway"),
        status(503, Retry_After="0"),
        cut(0),
        cut(TEXT_BEGINS),
        ends(0),
        ends(TEXT_BEGINS),
        sends(event({"error": {"message": "out of memory"}})),
    ],
    ids=["408", "429", "500", "502", "503", "cut", "cut later", "ends", "ends later", "failed"],
)
def test_what_may_pass_is_tried_again(chat, make_model, fault):
    chat.faults += [fault] * 2
    assert ask(make_model())[0] == ANSWER
    assert len(chat.seen) == 3


def test_the_list_of_models_is_asked_again_too(chat, make_model):
    chat.faults += [status(503)]
    assert ask(make_model(model=""))[0] == ANSWER
    assert [one.path[-6:] for one in chat.seen] == ["models", "models", "etions"]


def test_retry_after_is_obeyed(chat, make_model):
    chat.faults += [status(429, "too fast", Retry_After="1")]
    assert ask(make_model())[0] == ANSWER
    assert chat.seen[1].at - chat.seen[0].at >= 0.9


def test_nobody_waits_longer_than_until_an_answer_must_begin(chat, make_model):
    chat.faults += [status(429, "too fast", Retry_After="30")] * 2
    for model, timeout_s in ((make_model(timeout_s=5.0), 60.0), (make_model(), 5.0)):
        started = time.monotonic()
        text, error = read(model, timeout_s)
        assert time.monotonic() - started < 4
        assert text == ""
        assert isinstance(error, Overloaded)
        assert error.retry_after_s == 30
        assert "too fast" in str(error)


@pytest.mark.parametrize(("code", "kind"), [(429, Overloaded), (500, Unavailable)])
def test_tries_have_an_end(chat, make_model, code, kind):
    chat.faults += [status(code, "no more")] * 99
    _, error = read(make_model())
    assert type(error) is kind
    assert f"{chat.host} answered HTTP {code}: no more" in str(error)
    assert error.retry_after_s >= 1
    assert len(chat.seen) == completions.TRIES


# --- what is not


@pytest.mark.parametrize("settings", [{}, {"key_env": "CHAT_KEY"}])
def test_a_refused_key(chat, make_model, settings):
    chat.key = "sk-another"
    _, error = read(make_model(**settings))
    assert isinstance(error, FailedPrecondition)
    named = "answer.key_env, the environment variable CHAT_KEY" if settings else "neither is set"
    assert f"{chat.host} refused the key" in str(error)
    assert named in str(error)
    assert len(chat.seen) == 1


def test_a_context_that_is_too_long(chat, make_model):
    said = "This model's maximum context length is 2048 tokens. " + "Be brief. " * 99
    chat.faults += [status(400, said)]
    _, error = read(make_model())
    assert isinstance(error, FailedPrecondition)
    assert "maximum context length is 2048" in str(error)
    assert "budget_tokens" in str(error)
    assert len(str(error)) < 500
    assert len(chat.seen) == 1


@pytest.mark.parametrize("code", [301, 307, 402, 404, 405])
def test_an_address_that_is_wrong(chat, make_model, code):
    chat.faults += [status(code, "not here", Location=f"{chat.url}/elsewhere")]
    _, error = read(make_model())
    assert isinstance(error, FailedPrecondition)
    assert "answer.endpoint" in str(error)
    assert len(chat.seen) == 1  # nor is a redirect followed


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ([b"data: {not json}\n\n"], "not JSON"),
        ([b"data: [1]\n\n"], "no object"),
        ([b"data: {}\n\n"], "without choices"),
        ([event({"choices": [3]})], "a choice that is no object"),
        ([event({"choices": [{"delta": {"content": 3}}]})], "no string"),
        ([b"data: " + b"[" * 100_000 + b"\n\n"], "not JSON"),
    ],
)
def test_what_is_no_chat_completion(chat, make_model, pieces, said):
    chat.faults += [sends(*pieces)]
    text, error = read(make_model())
    assert text == ""
    assert isinstance(error, Unavailable)
    assert said in str(error)
    assert chat.host in str(error)
    assert len(chat.seen) == 1


@pytest.mark.parametrize("page", [b"<html>Welcome</html>", b"", b"welcome\n\n"])
def test_a_page_of_something_else(chat, make_model, page):
    chat.faults += [sends(page, content_type="text/html")]
    _, error = read(make_model())
    assert isinstance(error, Unavailable)
    assert "no chat completion (text/html)" in str(error)


def test_a_server_that_is_not_there(make_model):
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        port = bound.getsockname()[1]
        _, error = read(make_model(endpoint=f"http://127.0.0.1:{port}/v1"))
    assert isinstance(error, Unavailable)
    assert f"127.0.0.1:{port} cannot be reached" in str(error)


# --- in the middle of an answer


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (cut(4), "broke off in mid-answer"),
        (ends(4), "broke off in mid-answer: ended without"),
        (sends(event({"choices": [{"delta": {"content": "Because of this"}}]}), b'data: {"cho'),
         "broke off in mid-answer"),
        (sends(event({"choices": [{"delta": {"content": "Because of this"}}]}), b"data: ?\n\n"),
         "not JSON"),
        (sends(event({"choices": [{"delta": {"content": "Because of this"}}]}),
               event({"error": {"message": "out of memory"}})),
         "failed in mid-answer: out of memory"),
        (hangs(4), "stopped in mid-answer, for 0.5 s"),
    ],
    ids=["cut", "ends", "half an event", "no JSON", "failed", "hangs"],
)  # fmt: skip
def test_what_came_is_kept_and_nothing_is_tried_again(chat, make_model, fault, said):
    chat.faults += [fault]
    text, error = read(make_model(timeout_s=0.5))
    assert text == "Because of this"
    assert isinstance(error, Unavailable)
    assert said in str(error)
    assert len(chat.seen) == 1


@pytest.mark.parametrize("fault", [silent, hangs(0), hangs(TEXT_BEGINS)])
def test_a_server_that_does_not_begin(chat, make_model, fault):
    chat.faults += [fault]
    started = time.monotonic()
    text, error = read(make_model(timeout_s=0.5))
    assert (text, type(error)) == ("", Unavailable)
    assert "did not begin to answer, for 0.5 s" in str(error)
    assert time.monotonic() - started < 5
    assert chat.left.acquire(timeout=10)


def test_a_slow_answer_may_take_longer_than_its_pauses(chat, make_model):
    chat.faults += [slow(0.15)]
    started = time.monotonic()
    assert ask(make_model(timeout_s=1.0))[0] == ANSWER
    assert time.monotonic() - started > 1.2


def test_comments_are_no_sign_that_it_goes_on(chat, make_model):
    def fault(reply, server):
        reply.pieces, reply.pause_s = [b": wait\n\n"] * 1000, 0.02

    chat.faults += [fault]
    _, error = read(make_model(timeout_s=0.5))
    assert "did not begin" in str(error)


def test_the_callers_deadline_ends_it(chat, make_model):
    chat.faults += [slow(0.1)]
    text, error = read(make_model(), timeout_s=0.6)
    assert isinstance(error, DeadlineExceeded)
    assert ANSWER.startswith(text)
    assert chat.left.acquire(timeout=10)
    _, error = read(make_model(), timeout_s=-1.0)
    assert isinstance(error, DeadlineExceeded)


@pytest.mark.parametrize("piece", [b"x" * 65536, event({"choices": [{"delta": {}}]}) * 1000])
@pytest.mark.parametrize("content_type", ["text/event-stream", "application/json"])
def test_an_answer_has_a_bound(chat, make_model, piece, content_type):
    chat.faults += [sends(*[piece] * 100, content_type=content_type)]
    started = time.monotonic()
    _, error = read(make_model())
    assert isinstance(error, FailedPrecondition)
    assert "more than 1,310,720 bytes" in str(error)  # 1 MiB, and 4 KiB for each of 64 tokens
    assert time.monotonic() - started < 10


def test_a_long_refusal_has_one_too(chat, make_model):
    chat.faults += [sends(*[b"x" * 65536] * 100)]
    fault = chat.faults.pop()

    def refused(reply, server):
        fault(reply, server)
        reply.status = 400

    chat.faults += [refused]
    _, error = read(make_model())
    assert isinstance(error, FailedPrecondition)
    assert len(str(error)) < 300


# --- settings and secrets


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"endpoint": "host/v1"}, r"no address of http.*answer\.endpoint"),
        ({"endpoint": "http://me:word@host/v1"}, "holds a name or password"),
        ({"key_env": "NO_SUCH_VARIABLE"}, r"key is missing.*set answer\.key_env.*NO_SUCH_VARIABLE"),
        ({"key_file": "/nowhere/key"}, r"no key can be read.*answer\.key_file, /nowhere/key"),
        ({"ca_file": "/nowhere/ca.pem"}, r"answer\.ca_file, /nowhere/ca\.pem"),
    ],
)
def test_a_wrong_setting_is_named(make_model, settings, said):
    with pytest.raises(FailedPrecondition, match=said):
        make_model(**settings)


def test_the_key_is_in_no_message_and_no_log(chat, make_model, caplog):
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    chat.key = KEY
    model = make_model(key_env="CHAT_KEY", timeout_s=0.5)
    ask(model)
    said = [repr(model), repr(vars(model)), repr(vars(model._completions))]
    failed = {"error": {"message": f"oh {KEY}"}}
    for fault in (
        status(401, f"bad key {KEY}"),
        status(429, f"too fast, {KEY}"),
        status(400, f"{KEY} is not welcome\n\x1b[31m"),
        status(404, KEY),
        sends(event(failed)),
        sends(KEY.encode(), content_type="text/plain"),
        cut(3),
        silent,
    ):
        chat.faults += [fault] * completions.TRIES
        _, error = read(model, timeout_s=1.0)
        chat.faults.clear()
        said += [str(error), repr(error), repr(vars(error))]
    said += [record.getMessage() for record in caplog.records]
    assert [text for text in said if KEY in text or "\x1b" in text] == []
