"""The one thread that commits. Writes that wait together share a transaction, and so one fsync.

A VecdbError that a job raises before it changed anything fails that job alone. Any other exception,
one after a change, a full map or a full disk undoes the group; the jobs then run one by one.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from vecdb.errors import Overloaded, Unavailable, VecdbError
from vecdb.storage.store import Store, WriteTxn

T = TypeVar("T")

log = logging.getLogger(__name__)

GROUP_JOBS_MAX = 64
GROUP_BYTES_MAX = 64 << 20
QUEUE_BYTES_MAX = 256 << 20

NO_WRITER = {
    "vecdb_writes_waiting": 0.0,
    "vecdb_commits_total": 0.0,
    "vecdb_commit_seconds_total": 0.0,
}
"""What counts() returns, where there is no writer."""


@dataclass(slots=True)
class _Job(Generic[T]):
    """run: in a transaction of the store; or, without a store, between two of them."""

    store: Store | None
    run: Callable[[WriteTxn], T] | Callable[[], T]
    done: Future[T]
    size: int = 0
    is_wanted: Callable[[], bool] | None = None


class Writer:
    """Takes jobs from any thread, runs them in order on its own."""

    def __init__(self, *, queue_jobs_max: int) -> None:
        self._queue: queue.SimpleQueue[_Job[object] | None] = queue.SimpleQueue()
        self._jobs_max = queue_jobs_max
        self._lock = threading.Lock()  # guards the three below
        self._jobs = 0
        self._bytes = 0
        self._closed = False
        self.commits = 0
        self.commit_s = 0.0
        self._thread = threading.Thread(target=self._main, name="vecdb-writer", daemon=True)
        self._thread.start()

    def submit(
        self,
        store: Store,
        run: Callable[[WriteTxn], T],
        *,
        size: int = 0,
        is_wanted: Callable[[], bool] | None = None,
    ) -> Future[T]:
        """Return the future of a job; it is done when the job's transaction is durable.

        size: bytes that the job keeps in memory. is_wanted: asked just before it runs; a job that
        nobody waits for any more is dropped. Raises Overloaded when too much waits already.
        """
        return self._queued(_Job(store, run, Future(), size, is_wanted))

    def between(self, work: Callable[[], T]) -> Future[T]:
        """Return the future of work that is done while nothing is written to any store.

        Raises as submit does.
        """
        return self._queued(_Job(None, work, Future()))

    def _queued(self, job: _Job[T]) -> Future[T]:
        size = job.size
        with self._lock:
            if self._closed:
                raise Unavailable("the server is stopping", retry_after_s=1.0)
            waiting = self._jobs and self._bytes + size > QUEUE_BYTES_MAX
            if self._jobs >= self._jobs_max or waiting:
                raise Overloaded(
                    f"{self._jobs} writes of {self._bytes} bytes wait for the disk already",
                    hint="send again in a moment, fewer at a time, or raise limits.queued_writes",
                    retry_after_s=0.2,
                )
            self._jobs += 1
            self._bytes += size
            self._queue.put(job)  # type: ignore[arg-type]
        return job.done

    @property
    def waiting(self) -> int:
        """Jobs submitted and not yet done."""
        return self._jobs

    def counts(self) -> dict[str, float]:
        """Return what waits and what was committed, by metric name."""
        return {
            "vecdb_writes_waiting": self.waiting,
            "vecdb_commits_total": self.commits,
            "vecdb_commit_seconds_total": self.commit_s,
        }

    @property
    def load(self) -> float:
        """How full the queue is, from 0 to 1, by jobs or by bytes."""
        return min(1.0, max(self._jobs / self._jobs_max, self._bytes / QUEUE_BYTES_MAX))

    @property
    def alive(self) -> bool:
        """Whether jobs are still run."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Finish what was submitted, then stop. Further jobs are refused."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    def _main(self) -> None:
        while self._run_next():
            pass

    def _run_next(self) -> bool:
        """Wait for jobs and run them, as a group; return whether more may come.

        Nothing of a group is kept by waiting for the next.
        """
        group, closing = self._next_group()
        for store in {id(job.store): job.store for job in group}.values():
            jobs = [job for job in group if job.store is store]
            try:
                if store is None:
                    self._run_between(jobs)
                else:
                    self._run(store, jobs)
            except BaseException as error:
                # Nothing may end this thread: what it could not do is told to those who wait.
                log.exception("the writer could not run a group of %d", len(jobs))
                for failed in jobs:
                    self._finish(failed, error=error)
        return not closing

    def _next_group(self) -> tuple[list[_Job[object]], bool]:
        """Return what waits, or else the next job that comes, and whether it is the last group."""
        group: list[_Job[object]] = []
        job = self._queue.get()
        size = 0
        while job is not None:
            group.append(job)
            size += job.size
            if len(group) >= GROUP_JOBS_MAX or size >= GROUP_BYTES_MAX:
                return group, False
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

    def _run_between(self, jobs: list[_Job[object]]) -> None:
        for job in jobs:
            try:
                self._finish(job, cast("Callable[[], object]", job.run)())
            except Exception as error:
                self._finish(job, error=error)

    def _run(self, store: Store, jobs: list[_Job[object]]) -> None:
        wanted: list[_Job[object]] = []
        for job in jobs:
            if job.is_wanted is None or job.is_wanted():
                wanted.append(job)
            else:
                self._finish(job, error=Unavailable("the caller is gone"))
        if not wanted:
            return
        try:
            outcomes = self._commit_growing(store, wanted)
        except Exception as error:
            if len(wanted) > 1:
                # One of them spoils the group, or all are too much at once: try each alone.
                for job in wanted:
                    self._run(store, [job])
                return
            if not isinstance(error, VecdbError):
                log.exception("a write failed")
            self._finish(wanted[0], error=error)
            return
        for job, outcome in zip(wanted, outcomes, strict=True):
            if isinstance(outcome, VecdbError):
                self._finish(job, error=outcome)
            else:
                self._finish(job, outcome)

    def _commit_growing(self, store: Store, jobs: list[_Job[object]]) -> list[object]:
        # Now, while whoever waits for these jobs keeps the store open.
        store.environment.grow()
        return store.environment.growing(lambda: self._commit(store, jobs))

    def _commit(self, store: Store, jobs: list[_Job[object]]) -> list[object]:
        outcomes: list[object] = []
        begun = time.monotonic()
        with store.write() as txn:
            for job in jobs:
                txn.changed = False
                try:
                    outcomes.append(cast("Callable[[WriteTxn], object]", job.run)(txn))
                except VecdbError as error:
                    if txn.changed:  # half done: nothing of this transaction may stand
                        raise
                    outcomes.append(error)
        self.commits += 1
        self.commit_s += time.monotonic() - begun
        return outcomes

    def _finish(
        self, job: _Job[object], outcome: object = None, error: BaseException | None = None
    ) -> None:
        if job.done.done():
            return
        with self._lock:
            self._jobs -= 1
            self._bytes -= job.size
        if error is not None:
            job.done.set_exception(error)
        else:
            job.done.set_result(outcome)
