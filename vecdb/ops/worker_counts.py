"""What the embedding worker counts, beside what the server that started it does.

A worker is asked when somebody scrapes. One that was started again counts from nothing: what the
one before it last told stays in the sums, so that no counter goes back.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

from prometheus_client.core import Metric

from vecdb.embed.channel import Description
from vecdb.errors import VecdbError
from vecdb.ops.totals import Totals

log = logging.getLogger(__name__)


class WorkerCounts:
    """A collector for a registry. Threads may share it.

    describe: asks the present worker, for a second or so; what it last said holds while it is away.
    """

    def __init__(self, describe: Callable[[], Description]) -> None:
        self._describe = describe
        self._totals = Totals()
        self._asking = threading.Lock()  # guards the one below
        self._instance = ""

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not ask."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return the sums over all workers that there were."""
        with self._asking:
            try:
                found = self._describe()
            except VecdbError as error:
                log.debug("the embedding worker's counters are those of before: %s", error)
            else:
                if found.instance != self._instance:
                    self._totals.end(self._instance)
                    self._instance = found.instance
                self._totals.tell(self._instance, found.families)
        return self._totals.collect()
