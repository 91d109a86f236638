"""One change made to all points that a filter matches, in commands of bounded size.

Which points match is decided on a snapshot, outside the log; a command then names each with the
version that was looked at, so that it does the same on every node, and leaves alone what another
write has changed meanwhile. Whatever is done gets a newer version than `upto`: swept again with the
same one, only the rest is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from typing import TypeAlias

from vecdb.collection.collection import Collection
from vecdb.collection.matches import Match
from vecdb.config import LimitsConfig
from vecdb.errors import DeadlineExceeded, Overloaded, VersionMismatch
from vecdb.outcomes import ItemResult, WriteOutcome
from vecdb.storage.command import WriteCommand
from vecdb.types import Filter, Op, Schema
from vecdb.write.prepare import prepare

COMMAND_POINTS = 1_000
COMMAND_BYTES = 4 << 20
"""Of records that a command reads and of changes that it holds: other writes wait that long."""
SWEEP_S = 1.0
"""Seconds after which a sweep ends where it can, or as many more as its filter took."""
FAILED_MAX = 1_000
"""Points that could not be changed, after which it ends as well."""

OpOf: TypeAlias = Callable[[str, int], Op]
"""From id and version to what is done to that version of the point."""


@dataclass(slots=True)
class Swept:
    """What a sweep did.

    found: points that matched. changed, failed: those that were changed, and that could not be, by
    id. skipped: those that another write changed first. damaged: those whose record is. after: all
    up to this version is done. upto: no newer ones were looked at. complete: whether all is done.
    """

    found: int
    upto: int
    changed: int = 0
    failed: list[tuple[str, ItemResult]] = field(default_factory=list)
    skipped: int = 0
    damaged: int = 0
    after: int = 0
    complete: bool = False
    commit_seq: int = 0

    def count(self, matches: Sequence[Match], outcome: WriteOutcome) -> None:
        """Add what became of the points of a command."""
        self.commit_seq = outcome.commit_seq
        for match, result in zip(matches, outcome.results, strict=True):
            if not result.reason:
                self.changed += 1
            elif result.reason == VersionMismatch.reason:
                self.skipped += 1
            else:
                self.failed.append((match.id, result))


class Sweep:
    """Sweeps one collection for one caller. deadline: of time.monotonic.

    op_bytes: about what an operation takes in a command. is_wanted: whether the caller still waits.
    schema: by which the operations were made; the collection's where they name no space.
    """

    def __init__(
        self,
        collection: Collection,
        op_of: OpOf,
        op_bytes: int,
        limits: LimitsConfig,
        deadline: float,
        is_wanted: Callable[[], bool],
        schema: Schema | None = None,
    ) -> None:
        self._collection = collection
        self._op_of = op_of
        self._op_bytes = op_bytes
        self._limits = limits
        self._deadline = deadline
        self._is_wanted = is_wanted
        self._schema = schema

    def run(self, filter: Filter, after: int, upto: int | None) -> Swept:
        """Change the points whose version is past `after`, and not past `upto`, as far as it comes.

        upto: None for the collection as it is now. Raises DeadlineExceeded, and whatever a write
        does; what was done until then stays.
        """
        began = time.monotonic()
        matches = self._collection.matches(filter, after, upto, self._deadline)
        now = time.monotonic()
        until = now + min(max(SWEEP_S, now - began), (self._deadline - now) / 2)
        swept = Swept(len(matches), matches.upto, after=after)
        count = min(COMMAND_POINTS, self._limits.batch_items, COMMAND_BYTES // self._op_bytes)
        while not matches.done:
            if taken := matches.take(max(count, 1), COMMAND_BYTES):
                swept.count(taken, self._write(taken, swept))
            over = time.monotonic() > until or len(swept.failed) >= FAILED_MAX
            if over and matches.settled:
                break
        swept.complete = matches.done
        swept.skipped += matches.skipped
        swept.damaged = matches.damaged
        swept.after = matches.upto if swept.complete else matches.version
        return swept

    def _write(self, matches: Sequence[Match], swept: Swept) -> WriteOutcome:
        ops = [self._op_of(match.id, match.version) for match in matches]
        now_ms = self._collection.clock()
        schema = self._schema or self._collection.schema
        command = prepare(ops, schema, self._limits, now_ms=now_ms)
        written = self._submit(command)
        left = self._deadline - time.monotonic()
        try:
            return written.result(None if left > threading.TIMEOUT_MAX else max(left, 0.0))
        except FutureTimeout:
            raise DeadlineExceeded(
                f"the deadline passed with {swept.changed} of {swept.found} points changed",
                hint="send it again with the same max_version",
            ) from None

    def _submit(self, command: WriteCommand) -> Future[WriteOutcome]:
        while True:
            try:
                return self._collection.write(
                    command, is_wanted=self._is_wanted, schema=self._schema
                )
            except Overloaded as error:
                wait_s = error.retry_after_s or 0.0
                if time.monotonic() + wait_s > self._deadline or not self._is_wanted():
                    raise
                threading.Event().wait(wait_s)
