"""Services that fail: what is asked again, what is a text's own fault, what is never a vector."""

import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from importlib import import_module

import numpy as np
import pytest

from tests.embed import providers
from tests.embed.providers import (
    GEMINI,
    VERTEX,
    body,
    changed,
    cut,
    drops,
    numbers,
    slow,
    status,
    unit_of,
)
from tests.embed.services import TEXTS, check, encode, every_api
from vecdb.embed.encoder import Role
from vecdb.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFinite,
    Overloaded,
    Unavailable,
)

pytest.importorskip("httpx", reason="needs the remote extra")
endpoint = import_module("vecdb.embed.endpoint")


# --- retries


@every_api
@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 529])
def test_what_may_pass_is_asked_again(make_service, provider, api, code):
    provider.faults += [status(code)] * 2
    check(encode(make_service(api), TEXTS), TEXTS)
    assert provider.texts == [TEXTS] * 3


@every_api
@pytest.mark.parametrize("at", [0, 40])
def test_a_connection_that_breaks_is_made_anew(make_service, provider, api, at):
    provider.faults += [cut(at)]
    check(encode(make_service(api), TEXTS), TEXTS)
    assert len(provider.seen) == 2


def test_retry_after_is_waited_for(make_service, provider):
    provider.faults += [status(429, Retry_After="1")]
    check(encode(make_service(), ["a"]), ["a"])
    first, second = provider.seen
    assert 1.0 <= second.at - first.at < 3.0


def test_who_would_not_wait_that_long_is_told_at_once(make_service, provider):
    provider.faults += [status(429, "slow down", Retry_After="30")]
    started = time.monotonic()
    with pytest.raises(Overloaded, match=f"{provider.host} answered HTTP 429: slow down") as caught:
        encode(make_service(), ["a"], within_s=20)
    assert caught.value.retry_after_s == 30
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("said", "low", "high"),
    [
        ("7", 7, 7),
        ("0.5", 0.5, 0.5),
        ("99999999", 600, 600),
        ("-3", 0, 0),
        ("nan", 0, 0),
        ("inf", 600, 600),
        ("soon", 0, 0),
        ("", 0, 0),
        ("Sun Nov  6 08:49:37 1994", 0, 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 600, 600),
    ],
)
def test_retry_after_is_seconds_or_a_date_within_bounds(said, low, high):
    assert low <= asked_to_wait_s(said) <= high


def test_retry_after_is_a_date_from_now():
    later = datetime.now(UTC) + timedelta(seconds=300)
    assert 200 < asked_to_wait_s(format_datetime(later, usegmt=True)) <= 300
    before = datetime.now(UTC) - timedelta(hours=1)
    assert asked_to_wait_s(format_datetime(before, usegmt=True)) == 0


def asked_to_wait_s(said):
    return endpoint.retry_after_s({"retry-after": said})


@pytest.mark.parametrize(
    ("code", "error"), [(429, Overloaded), (503, Unavailable), (408, Unavailable)]
)
def test_retries_end_with_the_deadline(make_service, provider, monkeypatch, code, error):
    monkeypatch.setattr(endpoint, "BACKOFF_S", 0.05)
    provider.faults += [status(code)] * 100
    with pytest.raises(error, match=f"HTTP {code}") as caught:
        encode(make_service(), ["a"], within_s=0.5)
    assert caught.value.retry_after_s >= 1
    # Each pause is up to twice the last: about .05, .1 and .2 s, shortened by chance.
    assert 3 <= len(provider.seen) <= 7


def test_a_query_is_given_up_sooner_than_a_document(make_service, provider, monkeypatch):
    monkeypatch.setattr("vecdb.embed.service.QUERY_RETRY_S", 0.3)
    provider.faults += [status(503, Retry_After="1")]
    with pytest.raises(Unavailable):
        encode(make_service(), ["a"], Role.QUERY)
    assert len(provider.seen) == 1
    provider.faults += [status(503, Retry_After="1")]
    check(encode(make_service(), ["a"]), ["a"])


def test_without_a_deadline_there_is_one_all_the_same(make_service, provider, monkeypatch):
    monkeypatch.setattr("vecdb.embed.service.DEFAULT_S", 0.3)
    provider.faults += [status(500)] * 1000
    encoder = make_service()
    with pytest.raises(Unavailable):
        encoder.encode([one.input for one in encoder.prepare(["a"], Role.DOCUMENT)])


@pytest.mark.parametrize("fault", [slow, drops], ids=["silent", "in drops"])
def test_a_slow_service_is_left_at_the_deadline(make_service, provider, fault):
    provider.faults += [fault] * 9
    started = time.monotonic()
    with pytest.raises(Unavailable, match=rf"{provider.host} did not answer within 0\.\d+ s"):
        encode(make_service(), ["a"], within_s=0.5)
    assert 0.4 < time.monotonic() - started < 3


def test_nobody_is_asked_after_the_deadline(make_service, provider):
    with pytest.raises(DeadlineExceeded):
        encode(make_service(), ["a"], within_s=-1)
    assert provider.seen == []


def test_close_ends_a_wait(make_service, provider):
    waits = threading.Semaphore(0)

    class Closed(threading.Event):
        def wait(self, timeout=None):
            waits.release()
            return super().wait(timeout)

    encoder = make_service()
    encoder._endpoint._closed = Closed()
    provider.faults += [status(429, Retry_After="25")]
    raised = []

    def call():
        with pytest.raises(Overloaded) as caught:
            encode(encoder, ["a"], within_s=60)
        raised.append(caught.value)

    thread = threading.Thread(target=call)
    thread.start()
    assert waits.acquire(timeout=30)
    encoder.close()
    thread.join(10)
    assert raised


def test_an_endpoint_where_nobody_listens_is_named(make_service, monkeypatch):
    monkeypatch.setattr(endpoint, "BACKOFF_S", 0.05)
    with providers.serving() as gone:
        host = gone.host
    encoder = make_service(endpoint=f"http://{host}/v1")
    with pytest.raises(Unavailable, match=f"{host} cannot be reached: .*refused") as caught:
        encode(encoder, ["a"], within_s=0.3)
    assert caught.value.retry_after_s > 0


# --- what is wrong with a text


@every_api
def test_a_bad_text_fails_alone(make_service, provider, api):
    texts = [f"text {n}" for n in range(20)]
    texts[7], texts[19] = "a BAD text", "word " * 100
    if api is GEMINI:  # which has no bound
        texts[19] = "BAD too"
    outputs = encode(make_service(api, {"max_tokens": 4096}), texts)
    for at, (text, output) in enumerate(zip(texts, outputs, strict=True)):
        if at in (7, 19):
            assert isinstance(output, InvalidArgument)
            assert f"{provider.host} refused the text: HTTP 400: a text is" in str(output)
        else:
            np.testing.assert_allclose(output, unit_of(text), atol=1e-6)
    assert len(provider.seen) <= 1 + 1 + 2 * 2 * 5


@every_api
def test_a_bad_text_alone_is_its_own_fault(make_service, api):
    (output,) = encode(make_service(api), ["BAD"])
    assert isinstance(output, InvalidArgument)


@pytest.mark.parametrize("code", [400, 413, 418, 422, 498])
def test_what_a_batch_is_refused_for_is_found(make_service, provider, code):
    """The first is asked in two, and halves are taken."""
    encoder = make_service()
    encode(encoder, ["a"])
    provider.faults += [status(code)]
    check(encode(encoder, TEXTS), TEXTS)
    assert provider.texts[1:] == [TEXTS, TEXTS[:2], TEXTS[2:]]


def test_a_request_that_is_wrong_for_every_text_is_the_entrys_fault(make_service, provider):
    provider.faults += [status(422, "no dimensions here")] * 100
    with pytest.raises(FailedPrecondition, match=r"refuses all .*: no dimensions here.*entry"):
        encode(make_service(), TEXTS)
    assert provider.texts == [TEXTS, ["a"]]


# --- replies that are not right: never a vector


def drop(entries):
    entries.pop()


def add(entries):
    entries.append(entries[0])


@every_api
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (changed(drop), "4 vectors for 5 texts"),
        (changed(add), r"(6 vectors for 5 texts|index '0' for 5 texts, or twice)"),
        (numbers(lambda row: row[:-1]), "a vector of 7 numbers, the entry says 8"),
        (numbers(lambda row: [*row, 0.0]), "a vector of 9 numbers, the entry says 8"),
        (numbers(lambda row: []), "."),
        (numbers(lambda row: [row]), "no list of numbers"),
        (numbers(lambda row: [None, *row[1:]]), "no list of numbers"),
        (numbers(lambda row: [str(one) for one in row]), "no list of numbers"),
        (numbers(lambda row: [True] * 8), "no list of numbers"),
        (numbers(lambda row: [10**400, *row[1:]]), "."),
        (numbers(lambda row: [row, row[:-1]]), "something else than the API's reply"),
        (numbers(lambda row: "AAAA"), "."),
        (numbers(lambda row: "?"), "."),
        (numbers(lambda row: 7), "."),
        (body(b'{"data": [{"index": 0, "embe'), "something else than the API's reply"),
        (body(b"<html>hello</html>"), "something else than the API's reply"),
        (body(b"[" * 100_000), "."),
        (body(b"[]"), "JSON that is no object"),
        (body(b"{}"), "something else than the API's reply"),
        (body(b'{"data":7,"embeddings":7,"predictions":7}'), "something else"),
        (body(b'{"data":[7],"embeddings":[7],"predictions":[7]}'), "something else"),
        (body(b"\xff\xfe\xfa"), "something else"),
        (body(b"1" * 300_000), "more than .* bytes"),
    ],
)
def test_a_wrong_reply_is_an_error(make_service, provider, api, fault, said):
    provider.faults += [fault]
    with pytest.raises(FailedPrecondition, match=said) as caught:
        encode(make_service(api), TEXTS)
    assert provider.host in str(caught.value)
    assert len(provider.seen) == 1


@every_api
@pytest.mark.parametrize(
    "change",
    [
        lambda row: [float("nan"), *row[1:]],
        lambda row: [float("-inf"), *row[1:]],
        lambda row: [0.0] * len(row),
        lambda row: [1e30, *row[1:]],
        lambda row: [1e300, *row[1:]],
    ],
    ids=["nan", "inf", "zero", "long", "longer"],
)
@pytest.mark.filterwarnings("error")
def test_a_vector_that_is_none_fails_alone(make_service, provider, api, change):
    provider.lists = True
    provider.faults += [numbers(change)]
    first, *rest = encode(make_service(api), TEXTS)
    assert isinstance(first, NotFinite)
    check(rest, TEXTS[1:])


def reverse(entries):
    entries.reverse()


def test_vectors_go_by_their_index(make_service, provider):
    provider.faults += [changed(reverse)]
    check(encode(make_service(), TEXTS), TEXTS)


@pytest.mark.parametrize("index", [0, 5, -1, 1.0, True, None, "1"])
def test_an_index_that_is_wrong_or_twice_is_refused(make_service, provider, index):
    def second(entries):
        entries[1]["index"] = index

    provider.faults += [changed(second)]
    with pytest.raises(FailedPrecondition, match="index"):
        encode(make_service(), TEXTS)


def test_a_reply_without_an_index_is_refused(make_service, provider):
    provider.faults += [changed(lambda entries: entries[1].pop("index"))]
    with pytest.raises(FailedPrecondition):
        encode(make_service(), TEXTS)


def test_a_text_that_vertex_cut_though_told_not_to(make_service, provider):
    def cut_one(entries):
        entries[2]["embeddings"]["statistics"]["truncated"] = True

    provider.faults += [changed(cut_one)]
    with pytest.raises(FailedPrecondition, match="the vector of a text that it cut"):
        encode(make_service(VERTEX), TEXTS)


def test_dimensions_that_the_service_ignores_are_noticed(make_service, provider):
    provider.asked_dim = False
    with pytest.raises(FailedPrecondition, match="a vector of 8 numbers, the entry says 5"):
        encode(make_service(entry={"dim": 5}, ask_dimensions=True), TEXTS)
