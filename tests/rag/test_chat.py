"""The language model's client against a server on loopback: what is asked, and what comes back."""

import threading
import time

import pytest

from tests.rag.chat_server import (
    KEY,
    MODEL,
    PROMPT_TOKENS,
    at_once,
    chatting,
    ends,
    event,
    events_of,
    hangs,
    refuses,
    sends,
    slow,
    status,
)
from vecdb.config import AnswerConfig
from vecdb.errors import FailedPrecondition, NoLanguageModel, Overloaded, Unavailable
from vecdb.rag.chat import End, LanguageModel

pytest.importorskip("httpx", reason="needs the documents extra")

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why? 为何"}]
ANSWER = "Because of this [1], 因为 🐘 that.\n"
ENVIRON = {"CHAT_KEY": f" {KEY}\n"}


@pytest.fixture
def chat():
    with chatting() as running:
        running.answer = ANSWER
        yield running


@pytest.fixture
def make_model(chat):
    made = []

    def make(**settings):
        config = AnswerConfig(**{"endpoint": chat.url, "model": MODEL, **settings})
        made.append(LanguageModel(config, ENVIRON))
        return made[-1]

    yield make
    for model in made:
        model.close()


def wanted():
    return True


def ask(model, timeout_s=30.0, is_wanted=wanted, max_tokens=64):
    """Return the text of an answer, and its end."""
    *texts, end = model.stream(MESSAGES, max_tokens, timeout_s, is_wanted)
    assert all(type(text) is str and text for text in texts)
    assert isinstance(end, End)
    return "".join(texts), end


def test_an_answer_streams(chat, make_model):
    pieces = list(make_model().stream(MESSAGES, 64, 30.0, wanted))
    assert "".join(pieces[:-1]) == ANSWER
    assert len(pieces) - 1 == len(ANSWER.split()) + 1  # a word each, and the last line's end
    assert pieces[-1] == End("stop", PROMPT_TOKENS, len(ANSWER.split()) + 1, MODEL)
    (seen,) = chat.seen
    assert seen.body == {
        "model": MODEL,
        "messages": MESSAGES,
        "max_tokens": 64,
        "temperature": 0.1,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert "authorization" not in seen.headers


def test_pieces_come_as_they_are_written(chat, make_model):
    chat.faults += [hangs(4)]
    pieces = make_model().stream(MESSAGES, 64, 30.0, wanted)
    assert [next(pieces) for _ in range(3)] == ["Because", " of", " this"]
    pieces.close()
    assert chat.left.acquire(timeout=10)


def test_the_key_is_sent(chat, make_model, tmp_path):
    chat.key = KEY
    assert ask(make_model(key_env="CHAT_KEY"))[0] == ANSWER
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    model = make_model(key_file=str(file))
    assert ask(model)[0] == ANSWER
    # A key that was changed in its file is read again when the old one is refused.
    chat.key = "sk-another"
    with pytest.raises(FailedPrecondition):
        ask(model)
    file.write_text("sk-another")
    assert ask(model)[0] == ANSWER
    assert "authorization" in chat.seen[-1].headers


def test_without_a_name_the_first_model_is_asked(chat, make_model):
    chat.model = "the-one-it-has"
    model = make_model(model="")
    assert ask(model)[1].model == "the-one-it-has"
    ask(model)
    assert [one.path for one in chat.seen] == ["/v1/models", *["/v1/chat/completions"] * 2]
    # Its server has another one now: that is seen at the next question.
    chat.model = "another"
    with pytest.raises(FailedPrecondition, match="does not exist"):
        ask(model)
    assert ask(model)[1].model == "another"


@pytest.mark.parametrize("listed", [b"{}", b'{"data": []}', b'{"data": [{"id": 3}]}', b"[", b"[1]"])
def test_a_server_that_names_no_model(chat, make_model, listed):
    chat.faults += [sends(listed, content_type="application/json")]
    with pytest.raises(FailedPrecondition, match=r"set answer\.model"):
        ask(make_model(model=""))


@pytest.mark.parametrize("options", [("stream_options",), ("temperature", "stream_options")])
@pytest.mark.parametrize("code", [400, 422])
def test_a_refused_option_is_left_out(chat, make_model, options, code):
    chat.faults += [refuses(*options, code=code)] * 9
    model = make_model()
    text, end = ask(model)
    assert text == ANSWER
    assert (end.prompt_tokens, end.answer_tokens) == (0, 0)
    assert len(chat.seen) == 1 + len(options)
    assert ask(model)[0] == ANSWER  # and not tried again
    assert len(chat.seen) == 2 + len(options)
    assert not set(options) & set(chat.seen[-1].body)


def test_models_that_call_max_tokens_otherwise(chat, make_model):
    said = "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    chat.faults += [status(400, said)]
    assert ask(make_model(), max_tokens=7)[0] == ANSWER
    assert chat.seen[-1].body["max_completion_tokens"] == 7
    assert "max_tokens" not in chat.seen[-1].body


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", ""])
def test_a_server_that_does_not_stream(chat, make_model, content_type):
    def fault(reply, server):
        at_once(reply, server)
        reply.content_type = content_type

    chat.faults += [fault]
    assert ask(make_model()) == (ANSWER, End("stop", PROMPT_TOKENS, len(ANSWER.split()), MODEL))


def test_a_stream_that_is_called_something_else(chat, make_model):
    chat.faults += [sends(*events_of(ANSWER), content_type="text/plain")]
    assert ask(make_model())[0] == ANSWER


def test_a_server_that_leaves_out_the_mark_of_the_end(chat, make_model):
    chat.faults += [ends(-1)]
    text, end = ask(make_model())
    assert (text, end.finish_reason) == (ANSWER, "stop")
    assert end.answer_tokens > 0


def test_what_is_no_text_is_passed_over(chat, make_model):
    chat.faults += [
        sends(
            b": thinking\n\n",
            event({"choices": [{"delta": {"reasoning_content": "hm"}}]}),
            event({"choices": [{"delta": None}]}),
            event({"choices": [{"delta": {"content": None}}]}),
            event({"choices": [{"delta": {"content": "yes"}, "finish_reason": "length"}]}),
            event({"choices": [], "usage": {"prompt_tokens": "many", "completion_tokens": -1}}),
            b"data: [DONE]\n\n",
        )
    ]
    assert ask(make_model()) == ("yes", End("length", 0, 0, ""))


def test_an_empty_answer(chat, make_model):
    chat.answer = ""
    text, end = ask(make_model())
    assert (text, end.finish_reason) == ("", "stop")


def test_without_an_endpoint_it_says_what_to_set():
    model = LanguageModel(AnswerConfig(), {})
    assert not model.configured
    with pytest.raises(NoLanguageModel, match=r"set answer\.endpoint"):
        model.stream(MESSAGES, 1, 1.0, wanted)
    model.close()


# --- many at a time, and going away


def test_more_wait_for_their_turn(chat, make_model):
    chat.faults += [slow(0.01)] * 8
    model = make_model(at_once=2)
    texts = []
    threads = [threading.Thread(target=lambda: texts.append(ask(model)[0])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert texts == [ANSWER] * 8
    assert chat.most == 2


def test_who_waits_too_long_for_a_turn_is_told(chat, make_model):
    chat.faults += [hangs(2)]
    model = make_model(at_once=1, timeout_s=0.3)
    held = model.stream(MESSAGES, 64, 30.0, wanted)
    next(held)
    with pytest.raises(Overloaded, match=r"answer\.at_once") as caught:
        ask(model)
    assert caught.value.retry_after_s
    held.close()
    assert chat.left.acquire(timeout=10)
    assert ask(model)[0] == ANSWER  # the turn was given back


@pytest.mark.parametrize("fault", [hangs(0), hangs(3)], ids=["before text", "in text"])
def test_who_goes_away_ends_the_request(chat, make_model, fault):
    chat.faults += [fault]
    gone = threading.Event()
    started = time.monotonic()
    pieces = make_model().stream(MESSAGES, 64, 30.0, lambda: not gone.is_set())
    read = []
    reader = threading.Thread(target=lambda: read.extend(pieces))
    reader.start()
    assert chat.arrived.acquire(timeout=10)
    gone.set()
    assert chat.left.acquire(timeout=10)
    reader.join(10)
    assert not [one for one in read if isinstance(one, End)]
    assert time.monotonic() - started < 5


def test_close_ends_what_is_under_way(chat, make_model):
    chat.faults += [hangs(3)]
    model = make_model()
    pieces = model.stream(MESSAGES, 64, 30.0, wanted)
    next(pieces)
    model.close()
    with pytest.raises(Unavailable, match="about to stop"):
        list(pieces)
    with pytest.raises(Unavailable, match="about to stop"):
        list(model.stream(MESSAGES, 64, 30.0, wanted))
    model.close()
    assert chat.left.acquire(timeout=10)
