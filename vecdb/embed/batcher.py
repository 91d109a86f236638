"""Who is encoded next, and with whom. Knows no model and no wire: it is given an encode function.

Callers tokenize in their own threads, submit, and wait on a ticket. One thread runs inference: a
model uses all cores by itself, and a second batch beside it would only slow both.

Order: queries before documents, except that documents which waited too long get a share of the
time. Inside a lane short texts go first with those of about their length, except that a text which
waited too long goes first whatever its length. Batches are kept to a few dozen milliseconds, since
that is how long a query waits that arrives just after one began.
"""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np

from vecdb.embed.encoder import I64
from vecdb.errors import DeadlineExceeded, LimitExceeded, Overloaded, Unavailable, VecdbError
from vecdb.types import F32

log = logging.getLogger(__name__)

# A batch aims at this long. On two cores it is about 500 tokens of MiniLM, where throughput has
# reached its best already (and falls again beyond: activations leave the cache).
BATCH_TARGET_S = 0.05
BATCH_TOKENS_MIN = 256
# A batch may pad by this many tokens, or by this share of itself: less than what a run costs alone.
PADDING_TOKENS = 32
PADDING_SHARE = 1 / 8
# Once documents have waited too long, queries may run this long before a batch of documents does:
# four fifths of the time.
QUERY_RUN_S = 4 * BATCH_TARGET_S
# How many of a lane's oldest texts are looked at for a batch.
WINDOW_TEXTS = 1024
# The share of the queue that documents leave to queries: ingest must not lock searches out.
QUERY_RESERVE = 1 / 8


class Lane(IntEnum):
    """Which queue a text stands in; the smaller goes first."""

    QUERY = 0
    DOCUMENT = 1


@dataclass(frozen=True, slots=True)
class Counters:
    """What a batcher has done since it was made, and what waits now.

    dropped_texts: cancelled or too late before they ran. rejected_texts: found the queue full.
    running_s: how long the running batch has taken, 0 when idle.
    """

    texts: int = 0
    batches: int = 0
    tokens: int = 0
    padded_tokens: int = 0
    failed_texts: int = 0
    dropped_texts: int = 0
    rejected_texts: int = 0
    busy_s: float = 0.0
    queued_s: float = 0.0
    waiting_texts: int = 0
    running_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Result:
    """What a ticket yields: vectors (n, dim) float32, and where the time went."""

    vectors: F32
    queue_s: float
    inference_s: float


class Ticket:
    """A submitted request. Its fields are guarded by the batcher's lock until it is done."""

    def __init__(self, batcher: Batcher, texts: int, deadline: float | None) -> None:
        self._batcher = batcher
        self.deadline = deadline
        self.missing = texts
        self.vectors: F32 | None = None
        self.queue_s: float | None = None
        self.inference_s = 0.0
        self.error: VecdbError | None = None
        self.done = threading.Event()

    def result(self) -> Result:
        """Return the vectors, waiting for them until the deadline.

        Raises DeadlineExceeded, Unavailable when the batcher closes, or what the batch raised.
        """
        left = None if self.deadline is None else self.deadline - self._batcher.clock()
        if not self.done.wait(left if left is None else max(left, 0.0)):
            self._batcher.drop(self, DeadlineExceeded("the text was not encoded in time"))
        if self.error is not None:
            raise self.error
        assert self.vectors is not None
        assert self.queue_s is not None
        return Result(self.vectors, self.queue_s, self.inference_s)

    def cancel(self) -> None:
        """Give up: nobody waits for the result any more. A no-op once it is there."""
        self._batcher.drop(self, DeadlineExceeded("the caller has gone"))

    def over(self) -> bool:
        """Return whether there is nothing left to do for it."""
        return self.done.is_set()


@dataclass(eq=False, slots=True)
class _Text:
    ticket: Ticket
    model: str
    row: int
    ids: I64
    arrived: float


class Batcher:
    """A bounded queue in two lanes, and the thread that runs it.

    encode: takes a model's name and token ids, returns (n, dim) float32; called by one thread.
    clock: seconds, monotonic.
    """

    def __init__(
        self,
        encode: Callable[[str, Sequence[I64]], F32],
        *,
        queue_texts: int,
        batch_tokens: int,
        batch_age_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self._encode = encode
        self._queue_texts = queue_texts
        self._batch_tokens = batch_tokens
        self._batch_age_s = batch_age_s
        self._changed = threading.Condition()  # guards everything below
        self._lanes: dict[Lane, list[_Text]] = {lane: [] for lane in Lane}
        self._closed = False
        self._query_run_s = 0.0  # inference time of queries since the last batch of documents
        self._rates: dict[str, _Rate] = defaultdict(_Rate)  # by model
        self._running_since: float | None = None
        self._done = Counters()
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def submit(
        self, model: str, batch: Sequence[I64], lane: Lane, deadline: float | None = None
    ) -> Ticket:
        """Return the ticket of a request that now stands in the queue: all its texts, or none.

        batch: token ids of each text. deadline: on the clock. Raises Overloaded with
        retry_after_s, LimitExceeded for more texts than the queue holds, Unavailable when closed.
        """
        most = self._queue_texts
        if len(batch) > most:
            raise LimitExceeded(
                f"{len(batch)} texts in a call, the queue holds {most}", key="embed.queue_texts"
            )
        ticket = Ticket(self, len(batch), deadline)
        with self._changed:
            if self._closed:
                raise Unavailable("the embedding worker is stopping", retry_after_s=1.0)
            if lane is Lane.DOCUMENT:
                most = max(len(batch), most - int(most * QUERY_RESERVE))
            now = self.clock()
            if self._waiting() + len(batch) > most:
                self._purge(now)
            if (waiting := self._waiting()) + len(batch) > most:
                self._count(rejected_texts=len(batch))
                raise Overloaded(
                    f"{waiting} texts wait for the model already",
                    retry_after_s=self._drain_s(now),
                    key="embed.queue_texts",
                )
            self._lanes[lane] += [
                _Text(ticket, model, row, ids, now) for row, ids in enumerate(batch)
            ]
            self._changed.notify()
        return ticket

    def drop(self, ticket: Ticket, error: VecdbError) -> None:
        """End a ticket with an error, unless it is over; texts of it that wait never run."""
        with self._changed:
            if not ticket.over():
                ticket.error = error
                ticket.done.set()
                self._purge(self.clock())

    def counters(self) -> Counters:
        """Return what was done so far and what waits now."""
        with self._changed:
            since = self._running_since
            return replace(
                self._done,
                waiting_texts=self._waiting(),
                running_s=0.0 if since is None else self.clock() - since,
            )

    def close(self) -> None:
        """Fail what waits with Unavailable and stop; a batch that runs is finished first."""
        with self._changed:
            self._closed = True
            for text in (text for lane in self._lanes.values() for text in lane):
                if not text.ticket.over():
                    text.ticket.error = Unavailable(
                        "the embedding worker is stopping", retry_after_s=1.0
                    )
                    text.ticket.done.set()
            self._lanes = {lane: [] for lane in Lane}
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                taken = None
                while not self._closed and (taken := self._take(self.clock())) is None:
                    self._changed.wait()
                if self._closed or taken is None:
                    return
                lane, batch = taken
                self._running_since = started = self.clock()
            vectors, error = self._infer(batch)
            with self._changed:
                self._running_since = None
                self._deliver(lane, batch, vectors, error, started, self.clock())
            # Or the last batch's arrays would live until the next one is done.
            del taken, batch, vectors, error

    def _infer(self, batch: list[_Text]) -> tuple[F32 | None, VecdbError | None]:
        try:
            vectors = self._encode(batch[0].model, [text.ids for text in batch])
            if len(vectors) != len(batch):
                raise ValueError(f"{len(batch)} texts gave {len(vectors)} vectors")
        except VecdbError as error:
            return None, error
        except Exception:
            log.exception("inference of %d texts by %s failed", len(batch), batch[0].model)
            return None, VecdbError("inference failed; the embedding worker's log says why")
        return vectors, None

    def _deliver(
        self,
        lane: Lane,
        batch: list[_Text],
        vectors: F32 | None,
        error: VecdbError | None,
        started: float,
        ended: float,
    ) -> None:
        took = ended - started
        padded = len(batch) * max(len(text.ids) for text in batch)
        self._rates[batch[0].model].add(padded, took)
        self._query_run_s = self._query_run_s + took if lane is Lane.QUERY else 0.0
        for ticket in {text.ticket: None for text in batch}:
            ticket.inference_s += took
        for at, text in enumerate(batch):
            ticket = text.ticket
            if ticket.over():
                continue  # gone while its text ran
            if vectors is None:
                assert error is not None
                # Its own copy: each waiter raises it, and raising writes a traceback into it.
                ticket.error = copy.copy(error)
                ticket.done.set()
                continue
            if ticket.vectors is None:
                ticket.vectors = np.empty((ticket.missing, vectors.shape[1]), dtype=np.float32)
                ticket.queue_s = started - text.arrived
            ticket.vectors[text.row] = vectors[at]
            ticket.missing -= 1
            if ticket.missing == 0:
                ticket.done.set()
        self._count(
            texts=len(batch) if vectors is not None else 0,
            failed_texts=len(batch) if vectors is None else 0,
            batches=1,
            tokens=sum(len(text.ids) for text in batch),
            padded_tokens=padded,
            busy_s=took,
            queued_s=sum(started - text.arrived for text in batch),
        )

    def _take(self, now: float) -> tuple[Lane, list[_Text]] | None:
        """Remove and return the texts of the next batch, all of one model, or None."""
        self._purge(now)
        queries, documents = self._lanes[Lane.QUERY], self._lanes[Lane.DOCUMENT]
        if not queries and not documents:
            return None
        overdue = bool(documents) and now - documents[0].arrived >= self._batch_age_s
        if queries and not (overdue and self._query_run_s >= QUERY_RUN_S):
            lane = Lane.QUERY
        else:
            lane = Lane.DOCUMENT if documents else Lane.QUERY
        waiting = self._lanes[lane]
        oldest = waiting[0]
        window = [text for text in waiting[:WINDOW_TEXTS] if text.model == oldest.model]
        window.sort(key=lambda text: len(text.ids))
        aged = now - oldest.arrived >= self._batch_age_s
        aim = int(self._rates[oldest.model].per_s() * BATCH_TARGET_S)
        budget = min(self._batch_tokens, max(BATCH_TOKENS_MIN, aim))
        low, high = pack(
            [len(text.ids) for text in window], window.index(oldest) if aged else 0, budget
        )
        batch = window[low:high]
        taken = set(batch)
        self._lanes[lane] = [text for text in waiting if text not in taken]
        return lane, batch

    def _purge(self, now: float) -> None:
        """Forget texts that nobody waits for, and end those whose deadline has passed."""
        for lane, waiting in self._lanes.items():
            for text in waiting:
                deadline = text.ticket.deadline
                if deadline is not None and deadline <= now and not text.ticket.over():
                    text.ticket.error = DeadlineExceeded("the text was not encoded in time")
                    text.ticket.done.set()
            kept = [text for text in waiting if not text.ticket.over()]
            if len(kept) < len(waiting):
                self._count(dropped_texts=len(waiting) - len(kept))
                self._lanes[lane] = kept

    def _waiting(self) -> int:
        return sum(map(len, self._lanes.values()))

    def _drain_s(self, now: float) -> float:
        """Return in how many seconds what waits will have run, going by the rate seen so far."""
        tokens: Counter[str] = Counter()
        for text in (text for lane in self._lanes.values() for text in lane):
            tokens[text.model] += len(text.ids)
        rates = {model: self._rates[model].per_s() for model in tokens}
        if not all(rates.values()):
            return 1.0
        return min(60.0, max(0.1, sum(n / rates[model] for model, n in tokens.items())))

    def _count(self, **more: float) -> None:
        added: dict[str, Any] = {name: getattr(self._done, name) + n for name, n in more.items()}
        self._done = replace(self._done, **added)


def pack(lengths: Sequence[int], seed: int, budget: int) -> tuple[int, int]:
    """Return the range around seed of the texts to encode together.

    lengths: tokens of each text, ascending. The batch grows towards the neighbour that is nearer in
    length, while its padded tokens stay within budget and padding costs less than a second run.
    """
    low, high = seed, seed + 1
    real = lengths[seed]
    while True:
        longest = lengths[high - 1]
        shorter = longest - lengths[low - 1] if low > 0 else None
        longer = lengths[high] - longest if high < len(lengths) else None
        if longer is not None and (shorter is None or longer <= shorter):
            grown = (low, high + 1, lengths[high])
        elif shorter is not None:
            grown = (low - 1, high, lengths[low - 1])
        else:
            return low, high
        padded = (grown[1] - grown[0]) * lengths[grown[1] - 1]
        padding = padded - real - grown[2]
        if padded > budget or padding > max(PADDING_TOKENS, padded * PADDING_SHARE):
            return low, high
        low, high = grown[0], grown[1]
        real += grown[2]


class _Rate:
    """Padded tokens a second over about the last ten batches, weighed by how long they took."""

    def __init__(self) -> None:
        self._tokens = 0.0
        self._seconds = 0.0

    def add(self, tokens: int, seconds: float) -> None:
        self._tokens = self._tokens * 0.9 + tokens
        self._seconds = self._seconds * 0.9 + seconds

    def per_s(self) -> float:
        """Return the rate, 0.0 before anything ran."""
        return self._tokens / max(self._seconds, 1e-6) if self._tokens else 0.0
