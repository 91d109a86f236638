"""The thread that judges live queries, now and then, in every open collection of a database."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator

from vecdb.collection.collection import Collection
from vecdb.errors import VecdbError

log = logging.getLogger(__name__)

INTERVAL_S = 0.5
SHARE = 0.02
"""Seconds between judgements, and the most of the time that they may take."""
PATIENCE_S = 0.5
"""Seconds after which a judgement is given up: its filter may read every payload there is."""


Judged = Callable[[float], object]
"""Told of each query judged: the share of its true neighbours that was found."""


class RecallJudge:
    """Runs from its making to close(), seldom. See RecallMonitor.

    Of no lower priority than other threads: it would keep them from the interpreter for as long as
    it waits for its turn.
    """

    def __init__(self, each_open: Callable[[], Iterator[Collection]], judged: Judged) -> None:
        """each_open: yields the open collections, each kept open while it is looked at."""
        self._each_open = each_open
        self._judged = judged
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vecdb-recall", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Finish the judgement under way and end."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        pause_s = INTERVAL_S
        while not self._closing.wait(pause_s):
            started = time.monotonic()
            self._judge_all()
            pause_s = max(INTERVAL_S, (time.monotonic() - started) / SHARE)

    def _judge_all(self) -> None:
        """Judge the live query that waits in each collection; none is held when this ends."""
        for collection in self._each_open():
            if self._closing.is_set():
                break
            if not collection.recall.waiting:
                continue
            try:
                with collection.look(time.monotonic() + PATIENCE_S) as snapshot:
                    one = collection.recall.judge_one(snapshot)
                if one.wanted:
                    self._judged(one.found / one.wanted)
            except VecdbError as error:
                log.debug("a query was not judged: %s", error)
            except Exception:
                log.exception("judging a query failed; it goes on")
