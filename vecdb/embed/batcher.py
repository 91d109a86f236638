"""Who is encoded next, and with whom. Knows no model and no wire: it is given an encode function.

Callers prepare in their own threads, submit, and wait on a ticket. One thread runs inference: a
model uses all cores by itself, and a second batch beside it would only slow both. But a query need
not wait for the documents that run when it comes: a second thread runs it beside them. For models
that wait for a service elsewhere there is a batcher each, of as many threads as that one takes
calls; where these are several, documents have all but one, as a service may keep those waiting.

Order: queries before documents, except that documents which waited too long get a share of the
time. Inside a lane short texts go first with those of about their length, except that a text which
waited too long goes first whatever its length. Batches are kept to a few dozen milliseconds, since
that is how long a query waits that arrives just after one of queries began.
"""

from __future__ import annotations

import copy
import logging
import math
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, TypeAlias

from vecdb.embed.encoder import HERE, Batching, Output, Outputs
from vecdb.embed.packing import BATCH_TARGET_S, Rate, fitting, pack
from vecdb.errors import (
    DeadlineExceeded,
    InvalidArgument,
    LimitExceeded,
    Overloaded,
    Unavailable,
    VecdbError,
)

Encode = Callable[[Any, Sequence[Any], float | None], Outputs]
"""A model, its inputs, and when the last of their callers will have gone, to outputs. Texts of
equal models share batches; str() of a model is its name."""

log = logging.getLogger(__name__)

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
    running_s: how long the oldest running batch has taken, 0 when idle.
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
    waiting_tokens: int = 0
    running_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Result:
    """What a ticket yields: what became of each input, and where the time went."""

    outputs: list[Output]
    queue_s: float
    inference_s: float


class Ticket:
    """A submitted request. Its fields are guarded by the batcher's lock until it is done."""

    def __init__(self, batcher: Batcher, texts: int, deadline: float | None) -> None:
        self._batcher = batcher
        self.deadline = deadline
        self.missing = texts
        self.outputs: list[Output | None] = [None] * texts
        self.queue_s: float | None = None
        self.inference_s = 0.0
        self.error: VecdbError | None = None
        self.done = threading.Event()

    def result(self) -> Result:
        """Return the outputs, waiting for them until the deadline.

        Raises DeadlineExceeded, Unavailable when the batcher closes, or what the batch raised.
        """
        left = None if self.deadline is None else self.deadline - self._batcher.clock()
        if not self.done.wait(left if left is None else max(left, 0.0)):
            self._batcher.drop(self, DeadlineExceeded("the text was not encoded in time"))
        if self.error is not None:
            raise self.error
        assert self.queue_s is not None
        outputs = [output for output in self.outputs if output is not None]
        return Result(outputs, self.queue_s, self.inference_s)

    def cancel(self) -> None:
        """Give up: nobody waits for the result any more. A no-op once it is there."""
        self._batcher.drop(self, DeadlineExceeded("the caller has gone"))

    def over(self) -> bool:
        """Return whether there is nothing left to do for it."""
        return self.done.is_set()


@dataclass(eq=False, slots=True)
class _Text:
    ticket: Ticket
    model: Hashable
    row: int
    input: Any
    arrived: float


_Taken: TypeAlias = tuple[Lane, list[_Text]]


class Batcher:
    """A bounded queue in two lanes, and the threads that run it.

    encode: called by them. queue_texts, queue_tokens: how much may wait. batch_tokens: most padded
    tokens of a batch. batch_age_s: see the head of this file. batching: how batches are made.
    ran: told of each batch, with its model, how many inputs and tokens it had, and its seconds.
    clock: seconds, monotonic.
    """

    def __init__(
        self,
        encode: Encode,
        *,
        queue_texts: int,
        queue_tokens: int,
        batch_tokens: int,
        batch_age_s: float,
        batching: Batching = HERE,
        ran: Callable[[str, int, int, float], object] = lambda model, texts, tokens, took_s: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self._encode = encode
        self._ran = ran
        self._queue_texts = queue_texts
        self._queue_tokens = queue_tokens
        self._batch_tokens = batch_tokens
        self._batch_age_s = batch_age_s
        self._batching = batching
        self._changed = threading.Condition()  # guards everything below
        self._lanes: dict[Lane, list[_Text]] = {lane: [] for lane in Lane}
        self._closed = False
        self._query_run_s = 0.0  # inference time of queries since the last batch of documents
        self._rates: dict[str, Rate] = defaultdict(Rate)  # by model
        self._running: dict[int, float] = {}  # since when, by thread
        self._documents_run = 0  # batches of them that run
        # Of one call at a time none can be kept for queries.
        self._documents_most = max(1, batching.at_once - 1)
        self._waiting_tokens = 0
        self._soonest = math.inf  # no deadline of what waits is before, and none of it is over
        self._done = Counters()
        takers = [self._take] * batching.at_once or [self._take, self._take_beside]
        self._threads = [
            threading.Thread(target=self._run, args=(take,), name=f"inference {at}", daemon=True)
            for at, take in enumerate(takers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self, model: Hashable, batch: Sequence[Any], lane: Lane, deadline: float | None = None
    ) -> Ticket:
        """Return the ticket of a request that now stands in the queue: all its texts, or none.

        batch: inputs as the model prepared them, at least one. deadline: on the clock. Raises
        Overloaded with retry_after_s, LimitExceeded for more than the queue holds, Unavailable when
        closed.
        """
        tokens = sum(map(len, batch))
        for what, asked, most in (
            ("texts", len(batch), self._queue_texts),
            ("tokens", tokens, self._queue_tokens),
        ):
            if asked > most:
                raise LimitExceeded(
                    f"{asked} {what} in a call, the queue holds {most}", key=f"embed.queue_{what}"
                )
        ticket = Ticket(self, len(batch), deadline)
        with self._changed:
            if self._closed:
                raise Unavailable("the embedding worker is stopping", retry_after_s=1.0)
            now = self.clock()
            if self._is_full(lane, len(batch), tokens):
                self._purge(now)
            if self._is_full(lane, len(batch), tokens):
                self._count(rejected_texts=len(batch))
                raise Overloaded(
                    f"{self._waiting()} texts wait for the model already",
                    retry_after_s=self._drain_s(now),
                    key="embed.queue_texts",
                )
            self._lanes[lane] += [
                _Text(ticket, model, row, one, now) for row, one in enumerate(batch)
            ]
            self._waiting_tokens += tokens
            self._soonest = min(self._soonest, math.inf if deadline is None else deadline)
            self._changed.notify(2)  # of the two that compute here, one may have no use for it
            return ticket

    def _is_full(self, lane: Lane, texts: int, tokens: int) -> bool:
        """Return whether a request finds no room; documents leave some of it to queries."""
        for asked, waiting, most in (
            (texts, self._waiting(), self._queue_texts),
            (tokens, self._waiting_tokens, self._queue_tokens),
        ):
            if lane is Lane.DOCUMENT:
                most = max(asked, most - int(most * QUERY_RESERVE))
            if waiting + asked > most:
                return True
        return False

    def drop(self, ticket: Ticket, error: VecdbError) -> None:
        """End a ticket with an error, unless it is over; texts of it that wait never run."""
        with self._changed:
            if not ticket.over():
                ticket.error = error
                ticket.done.set()
                self._soonest = -math.inf
                self._purge(self.clock())

    def counters(self) -> Counters:
        """Return what was done so far and what waits now."""
        with self._changed:
            since = min(self._running.values(), default=None)
            return replace(
                self._done,
                waiting_texts=self._waiting(),
                waiting_tokens=self._waiting_tokens,
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
            self._waiting_tokens = 0
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self, take: Callable[[float], _Taken | None]) -> None:
        while True:
            with self._changed:
                taken = None
                while not self._closed and (taken := take(self.clock())) is None:
                    self._changed.wait()
                if self._closed or taken is None:
                    return
                lane, batch = taken
                # A thread looks after what one batch leaves; another may be there for it.
                self._changed.notify(2)
                self._running[threading.get_ident()] = started = self.clock()
                self._documents_run += lane is Lane.DOCUMENT
            outputs = self._infer(batch)
            with self._changed:
                del self._running[threading.get_ident()]
                self._documents_run -= lane is Lane.DOCUMENT
                self._deliver(lane, batch, outputs, started, self.clock())
            del taken, batch, outputs  # or its arrays would live until the next one is done

    def _infer(self, batch: list[_Text]) -> Outputs | VecdbError:
        """Return what became of each text, or why of none."""
        ends = [text.ticket.deadline for text in batch]
        deadline = None if None in ends else max(end for end in ends if end is not None)
        model = batch[0].model
        try:
            outputs = self._encode(model, [text.input for text in batch], deadline)
            if len(outputs) != len(batch):
                raise ValueError(f"{len(batch)} texts gave {len(outputs)} vectors")
        except InvalidArgument as error:
            if len(batch) == 1:
                return [error]
            # One of them is at fault, and the others are other callers'.
            found = [self._infer([text]) for text in batch]
            return [one if isinstance(one, VecdbError) else one[0] for one in found]
        except VecdbError as error:
            return error
        except Exception:
            log.exception("inference of %d texts by %s failed", len(batch), model)
            return VecdbError("inference failed; the embedding worker's log says why")
        return outputs

    def _deliver(
        self,
        lane: Lane,
        batch: list[_Text],
        outputs: Outputs | VecdbError,
        started: float,
        ended: float,
    ) -> None:
        took = ended - started
        tokens = [len(text.input) for text in batch]
        padded = len(batch) * max(tokens)
        self._rates[str(batch[0].model)].add(padded, took)
        self._query_run_s = self._query_run_s + took if lane is Lane.QUERY else 0.0
        for ticket in {text.ticket: None for text in batch}:
            ticket.inference_s += took
        for at, text in enumerate(batch):
            ticket = text.ticket
            if ticket.over():
                continue  # gone while its text ran
            if isinstance(outputs, VecdbError):
                # Its own copy: each waiter raises it, and raising writes a traceback into it.
                ticket.error = copy.copy(outputs)
                ticket.done.set()
                self._soonest = -math.inf
                continue
            if ticket.queue_s is None:
                ticket.queue_s = started - text.arrived
            output = outputs[at]
            ticket.outputs[text.row] = (
                copy.copy(output) if isinstance(output, VecdbError) else output
            )
            ticket.missing -= 1
            if ticket.missing == 0:
                ticket.done.set()
        failed = len(batch) if isinstance(outputs, VecdbError) else 0
        self._count(
            batches=1,
            texts=len(batch) - failed,
            failed_texts=failed,
            tokens=sum(tokens),
            padded_tokens=padded,
            busy_s=took,
            queued_s=sum(started - text.arrived for text in batch),
        )
        self._ran(str(batch[0].model), len(batch), sum(tokens), took)

    def _take_beside(self, now: float) -> _Taken | None:
        """Remove and return the queries that are to run beside documents, or None."""
        if not self._documents_run:
            return None
        self._purge(now)
        return self._taken(Lane.QUERY, now) if self._lanes[Lane.QUERY] else None

    def _take(self, now: float) -> _Taken | None:
        """Remove and return the texts of the next batch, all of one model, or None."""
        self._purge(now)
        queries, documents = self._lanes[Lane.QUERY], self._lanes[Lane.DOCUMENT]
        if self._documents_run >= self._documents_most:
            documents = []
        if not queries and not documents:
            return None
        overdue = bool(documents) and now - documents[0].arrived >= self._batch_age_s
        if queries and not (overdue and self._query_run_s >= QUERY_RUN_S):
            lane = Lane.QUERY
        else:
            lane = Lane.DOCUMENT if documents else Lane.QUERY
        return self._taken(lane, now)

    def _taken(self, lane: Lane, now: float) -> _Taken:
        waiting = self._lanes[lane]
        window = [text for text in waiting[:WINDOW_TEXTS] if text.model == waiting[0].model]
        batch = self._oldest(window) if self._batching.at_once else self._alike(window, now)
        taken = set(batch)
        self._lanes[lane] = [text for text in waiting if text not in taken]
        self._waiting_tokens -= sum(len(text.input) for text in batch)
        return lane, batch

    def _alike(self, window: list[_Text], now: float) -> list[_Text]:
        """Return texts of about one length, to be padded to the longest; window: oldest first."""
        oldest = window[0]
        window.sort(key=lambda text: len(text.input))
        aged = now - oldest.arrived >= self._batch_age_s
        budget = min(self._batch_tokens, self._rates[str(oldest.model)].batch_tokens())
        seed = window.index(oldest) if aged else 0
        low, high = pack([len(text.input) for text in window], seed, budget)
        return window[low:high]

    def _oldest(self, window: list[_Text]) -> list[_Text]:
        most = self._batching
        return window[: fitting([len(text.input) for text in window], most.items, most.tokens)]

    def _purge(self, now: float) -> None:
        """Forget texts that nobody waits for, and end those whose deadline has passed."""
        if now < self._soonest:
            return
        self._soonest = math.inf
        for lane, waiting in self._lanes.items():
            kept: list[_Text] = []
            for text in waiting:
                ticket = text.ticket
                end = math.inf if ticket.deadline is None else ticket.deadline
                if end <= now and not ticket.over():
                    ticket.error = DeadlineExceeded("the text was not encoded in time")
                    ticket.done.set()
                if ticket.over():
                    self._waiting_tokens -= len(text.input)
                else:
                    self._soonest = min(self._soonest, end)
                    kept.append(text)
            self._count(dropped_texts=len(waiting) - len(kept))
            self._lanes[lane] = kept

    def _waiting(self) -> int:
        return sum(map(len, self._lanes.values()))

    def _drain_s(self, now: float) -> float:
        """Return in how many seconds what waits will have run, going by the rate seen so far."""
        tokens: Counter[str] = Counter()
        for text in (text for lane in self._lanes.values() for text in lane):
            tokens[str(text.model)] += len(text.input)
        rates = {model: self._rates[model].per_s() for model in tokens}
        if not all(rates.values()):
            return 1.0
        return min(60.0, max(0.1, sum(n / rates[model] for model, n in tokens.items())))

    def _count(self, **more: float) -> None:
        added: dict[str, Any] = {name: getattr(self._done, name) + n for name, n in more.items()}
        self._done = replace(self._done, **added)
