"""Scheduling alone: the encode function is a fake that can be held, and time is a number."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb.embed.batcher import Batcher, Lane
from vecdb.embed.encoder import Batching
from vecdb.embed.packing import PADDING_SHARE, PADDING_TOKENS, pack
from vecdb.errors import (
    DeadlineExceeded,
    LimitExceeded,
    NotFinite,
    Overloaded,
    Unavailable,
    VecdbError,
)


class Fake:
    """Encodes a text as its first id. Every batch waits at the gate once it is closed."""

    def __init__(self, takes_s=0.0):
        self.now = 100.0
        self.takes_s = takes_s
        self.batches = []
        self.began = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()
        self.error = None

    def clock(self):
        return self.now

    def encode(self, model, batch, deadline=None):
        self.batches.append((model, [len(ids) for ids in batch]))
        self.began.release()
        assert self.gate.wait(30)
        self.now += self.takes_s
        if self.error is not None and any(ids[0] == 13 for ids in batch):
            raise self.error
        return np.array([[ids[0], len(ids)] for ids in batch], dtype=np.float32)


def text(length, first=1):
    return np.full(length, first, dtype=np.int64)


@pytest.fixture
def make():
    made = []

    def build(fake, **options):
        settings = {
            "queue_texts": 100,
            "queue_tokens": 100_000,
            "batch_tokens": 256,
            "batch_age_s": 0.5,
        } | options
        batcher = Batcher(fake.encode, clock=fake.clock, **settings)
        made.append((batcher, fake))
        return batcher

    yield build
    for batcher, fake in made:
        fake.gate.set()
        batcher.close()


def held(fake, batcher, lane=Lane.QUERY):
    """Return the ticket of a text that is running and stays so until the gate opens.

    While it is a query, nothing else runs; beside a document, queries do.
    """
    fake.gate.clear()
    fake.began = threading.Semaphore(0)
    ticket = batcher.submit("m", [text(1)], lane)
    assert fake.began.acquire(timeout=30)
    fake.batches.clear()
    return ticket


def finish(fake, *tickets):
    fake.gate.set()
    return [ticket.result() for ticket in tickets]


def test_rows_come_back_in_the_order_of_the_texts(make):
    batcher = make(fake := Fake())
    lengths = [40, 3, 200, 7, 3, 90]
    ticket = batcher.submit("m", [text(n, first=n) for n in lengths], Lane.DOCUMENT)
    assert np.array(ticket.result().outputs).tolist() == [[n, n] for n in lengths]
    assert len(fake.batches) > 1


def test_queries_go_before_documents_that_came_first(make):
    batcher = make(fake := Fake())
    first = held(fake, batcher)
    document = batcher.submit("m", [text(20)], Lane.DOCUMENT)
    query = batcher.submit("m", [text(9)], Lane.QUERY)
    finish(fake, first, document, query)
    assert [lengths for _, lengths in fake.batches] == [[9], [20]]


def test_a_query_does_not_wait_for_the_documents_that_run(make):
    batcher = make(fake := Fake())
    first = held(fake, batcher, Lane.DOCUMENT)
    document = batcher.submit("m", [text(20)], Lane.DOCUMENT)
    query = batcher.submit("m", [text(9)], Lane.QUERY)
    assert fake.began.acquire(timeout=30)
    assert fake.batches == [("m", [9])]
    # But for the next query, which waits for this one, and the next documents, for those.
    late = batcher.submit("m", [text(8)], Lane.QUERY)
    assert batcher.counters().waiting_texts == 2
    finish(fake, first, document, query, late)
    assert sorted(lengths for _, lengths in fake.batches) == [[8], [9], [20]]


def test_models_that_wait_for_a_service_have_no_thread_beside(make):
    batcher = make(fake := Fake(), batching=Batching(at_once=1))
    first = held(fake, batcher, Lane.DOCUMENT)
    query = batcher.submit("m", [text(9)], Lane.QUERY)
    assert len(batcher._threads) == 1
    assert fake.batches == []
    finish(fake, first, query)


def test_overdue_documents_get_their_share_of_a_stream_of_queries(make):
    batcher = make(fake := Fake(takes_s=0.125), batch_tokens=64, batch_age_s=0.0)
    first = held(fake, batcher)
    document = batcher.submit("m", [text(50)], Lane.DOCUMENT)
    queries = [batcher.submit("m", [text(64)], Lane.QUERY) for _ in range(6)]
    finish(fake, first, document, *queries)
    # After two of queries, the first of them held; another one may begin beside it, and be first.
    assert [lengths[0] for _, lengths in fake.batches].index(50) in (1, 2)


def test_texts_of_about_one_length_run_together_and_short_ones_first(make):
    batcher = make(fake := Fake())
    first = held(fake, batcher)
    rest = batcher.submit("m", [text(n) for n in (100, 10, 101, 11, 12)], Lane.DOCUMENT)
    finish(fake, first, rest)
    assert [lengths for _, lengths in fake.batches] == [[10, 11, 12], [100, 101]]


def test_a_text_that_waited_too_long_goes_first_whatever_its_length(make):
    batcher = make(fake := Fake())
    first = held(fake, batcher)
    long = batcher.submit("m", [text(200)], Lane.DOCUMENT)
    fake.now += 0.6
    short = batcher.submit("m", [text(5)], Lane.DOCUMENT)
    finish(fake, first, long, short)
    assert [lengths for _, lengths in fake.batches] == [[200], [5]]


def test_models_do_not_share_a_batch(make):
    batcher = make(fake := Fake())
    first = held(fake, batcher)
    tickets = [batcher.submit(name, [text(5)], Lane.DOCUMENT) for name in "aba"]
    finish(fake, first, *tickets)
    assert fake.batches == [("a", [5, 5]), ("b", [5])]


def test_a_batch_stays_short_where_the_model_is_slow(make):
    batcher = make(fake := Fake(takes_s=1.0), batch_tokens=100_000)
    batcher.submit("m", [text(256)], Lane.DOCUMENT).result()
    batcher.submit("m", [text(64)] * 20, Lane.DOCUMENT).result()
    assert max(len(lengths) for _, lengths in fake.batches) == 4
    # However fast another one is.
    fake.takes_s = 0.001
    for _ in range(20):
        batcher.submit("fast", [text(4096)], Lane.DOCUMENT).result()
    fake.takes_s = 1.0
    fake.batches.clear()
    batcher.submit("m", [text(64)] * 20, Lane.DOCUMENT).result()
    assert max(len(lengths) for _, lengths in fake.batches) == 4


@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=60).map(sorted),
    st.data(),
    st.integers(64, 2_000),
)
def test_a_batch_holds_its_seed_within_budget_and_padding(lengths, data, budget):
    seed = data.draw(st.integers(0, len(lengths) - 1))
    low, high = pack(lengths, seed, budget)
    assert low <= seed < high
    padded = lengths[high - 1] * (high - low)
    assert high - low == 1 or padded <= budget
    assert padded - sum(lengths[low:high]) <= max(PADDING_TOKENS, padded * PADDING_SHARE)


def test_a_full_queue_refuses_and_says_when_to_come_back(make):
    batcher = make(fake := Fake(takes_s=0.5), queue_texts=8)
    first = held(fake, batcher)
    waiting = batcher.submit("m", [text(10)] * 7, Lane.DOCUMENT)
    with pytest.raises(Overloaded, match="7 texts wait") as caught:
        batcher.submit("m", [text(10)], Lane.DOCUMENT)
    assert caught.value.retry_after_s > 0
    query = batcher.submit("m", [text(10)], Lane.QUERY)  # ingest leaves room for searches
    with pytest.raises(Overloaded, match="8 texts wait"):
        batcher.submit("m", [text(10)], Lane.QUERY)
    finish(fake, first, waiting, query)
    # 10 tokens take half a second by now, and the estimate knows.
    second = held(fake, batcher)
    backlog = batcher.submit("m", [text(200)] * 7, Lane.DOCUMENT)
    with pytest.raises(Overloaded) as caught:
        batcher.submit("m", [text(10)], Lane.DOCUMENT)
    assert 5.0 < caught.value.retry_after_s <= 60.0
    finish(fake, second, backlog)
    assert batcher.counters().rejected_texts == 3


def test_more_texts_than_the_queue_holds_are_not_worth_a_retry(make):
    batcher = make(Fake(), queue_texts=4)
    with pytest.raises(LimitExceeded, match="5 texts in a call, the queue holds 4"):
        batcher.submit("m", [text(1)] * 5, Lane.QUERY)


def test_cancelled_texts_never_run_and_free_their_place(make):
    batcher = make(fake := Fake(), queue_texts=2)
    first = held(fake, batcher)
    gone = batcher.submit("m", [text(30)] * 2, Lane.QUERY)
    gone.cancel()
    stays = batcher.submit("m", [text(4)] * 2, Lane.QUERY)
    finish(fake, first, stays)
    with pytest.raises(DeadlineExceeded, match="the caller has gone"):
        gone.result()
    assert fake.batches == [("m", [4, 4])]
    assert batcher.counters().dropped_texts == 2
    stays.cancel()  # too late to matter
    assert len(stays.result().outputs) == 2


def test_expired_texts_never_run(make):
    batcher = make(fake := Fake())
    first = held(fake, batcher)
    late = batcher.submit("m", [text(30)], Lane.QUERY, deadline=fake.now + 1)
    fake.now += 2
    finish(fake, first)
    with pytest.raises(DeadlineExceeded):
        late.result()
    assert np.array(batcher.submit("m", [text(4)], Lane.QUERY).result().outputs).tolist() == [
        [1, 4]
    ]
    assert fake.batches == [("m", [4])]


def test_a_waiter_comes_back_at_its_deadline_though_a_batch_runs(make):
    batcher = make(fake := Fake())
    first = held(fake, batcher)
    late = batcher.submit("m", [text(30)], Lane.QUERY, deadline=fake.now + 0.02)
    with pytest.raises(DeadlineExceeded):
        late.result()
    finish(fake, first)
    assert fake.batches == []


def test_a_text_that_cannot_be_encoded_fails_alone(make):
    batcher = make(fake := Fake())
    fake.error = NotFinite("bad")
    first = held(fake, batcher)
    together = batcher.submit("m", [text(12), text(12, first=13)], Lane.DOCUMENT)
    beside = batcher.submit("m", [text(12, first=3)], Lane.DOCUMENT)
    finish(fake, first)
    sound, bad = together.result().outputs
    assert sound.tolist() == [1, 12]
    assert isinstance(bad, NotFinite)
    assert np.array(beside.result().outputs).tolist() == [[3, 12]]
    assert fake.batches == [("m", [12] * 3), *[("m", [12])] * 3]


def test_a_failing_batch_fails_its_own_texts_alone(make):
    batcher = make(fake := Fake())
    fake.error = RuntimeError("secret")
    first = held(fake, batcher)
    bad = batcher.submit("m", [text(13, first=13), text(200)], Lane.DOCUMENT)
    good = batcher.submit("m", [text(90)], Lane.DOCUMENT)
    finish(fake, first)
    with pytest.raises(VecdbError) as caught:
        bad.result()
    assert "secret" not in str(caught.value)
    assert np.array(good.result().outputs).tolist() == [[1, 90]]
    assert batcher.counters().failed_texts == 1


def test_close_fails_what_waits_and_finishes_what_runs(make):
    batcher = make(fake := Fake())
    running = held(fake, batcher)
    waiting = batcher.submit("m", [text(5)], Lane.DOCUMENT)
    closing = threading.Thread(target=batcher.close)
    closing.start()
    with pytest.raises(Unavailable):
        waiting.result()
    fake.gate.set()
    closing.join(30)
    assert np.array(running.result().outputs).tolist() == [[1, 1]]
    with pytest.raises(Unavailable):
        batcher.submit("m", [text(5)], Lane.QUERY)


def test_counters_add_up(make):
    batcher = make(fake := Fake(takes_s=0.25))
    batcher.submit("m", [text(10), text(12)], Lane.QUERY).result()
    counted = batcher.counters()
    assert (counted.texts, counted.batches, counted.tokens, counted.padded_tokens) == (2, 1, 22, 24)
    assert counted.busy_s == pytest.approx(0.25)
    first = held(fake, batcher)
    waiting = batcher.submit("m", [text(1)], Lane.QUERY)
    fake.now += 2
    assert batcher.counters().waiting_texts == 1
    assert batcher.counters().running_s == pytest.approx(2)
    finish(fake, first, waiting)
    assert batcher.counters().running_s == 0


def test_documents_that_wait_for_a_service_leave_a_way_for_queries(make):
    batcher = make(fake := Fake(), batching=Batching(items=1, at_once=3))
    fake.gate.clear()
    documents = batcher.submit("m", [text(5), text(6), text(7)], Lane.DOCUMENT)
    for _ in range(2):
        assert fake.began.acquire(timeout=30)
    query = batcher.submit("m", [text(8)], Lane.QUERY)
    assert fake.began.acquire(timeout=30)
    assert [lengths for _, lengths in fake.batches] == [[5], [6], [8]]
    fake.gate.set()
    assert len(query.result().outputs) == 1
    assert len(documents.result().outputs) == 3
