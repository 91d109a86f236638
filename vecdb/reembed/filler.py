"""The thread that gives points the vectors that they lack in a space or in its shadow.

One invariant is all there is to it: a point that has a text in one of the two has a vector in both.
Puts come with one vector where the other could not be had, and patches take the other away;
whatever the reason, a point that lacks one is found by what it lacks, and patched at the version
that was looked at. So a fill that was interrupted needs no place to go on from.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from vecdb.collection.collection import Collection
from vecdb.collection.matches import Matches
from vecdb.config import LimitsConfig
from vecdb.database import Database
from vecdb.embed.encoder import Role
from vecdb.errors import (
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    Overloaded,
    PointNotFound,
    VecdbError,
    VersionMismatch,
)
from vecdb.outcomes import WriteOutcome
from vecdb.reembed.models import SpaceModels
from vecdb.reembed.overlap import overlap
from vecdb.reembed.progress import Known, State, Status, lacking
from vecdb.storage.codec import RecordView
from vecdb.storage.numbered import numbers_of
from vecdb.storage.shadows import is_switched, shadow_of
from vecdb.types import Op, Patch, PayloadEdits, Schema, Space
from vecdb.write.prepare import prepare

log = logging.getLogger(__name__)

PAGE_POINTS_MAX = 512
PAGE_BYTES = 4 << 20
"""Of records that a page has: what one command reads, and other writes wait for."""
PAGE_S = 1.0
"""Seconds that a page should take about: its points follow from how long the last one took."""
TURN_S = 2.0
"""Seconds after which the next collection has its turn."""
INTERVAL_S = 0.25
"""Seconds between two looks for what was written since."""
RETRY_S, RETRY_S_MAX = 0.5, 30.0
"""Seconds until a fill that failed is tried again: doubled each time, up to this."""

Switch = Callable[[str, str], None]
"""Told of collection and space once a move that is to switch by itself is ready."""


class Filler:
    """Fills all shadows of a database, from start() to close()."""

    def __init__(
        self, database: Database, models: SpaceModels, limits: LimitsConfig, switch: Switch
    ) -> None:
        self._database = database
        self._models = models
        self._limits = limits
        self._switch = switch
        self._lock = threading.Lock()  # guards _known
        self._known: dict[tuple[str, int], Known] = {}
        self._names_state = b""
        self._shadowed: list[tuple[str, str]] = []
        self._spared_until: dict[str, float] = {}  # collections that cannot be opened
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="vecdb-reembed", daemon=True)

    def start(self) -> None:
        """Begin, also what another process had begun."""
        self._thread.start()

    def close(self) -> None:
        """Give up what is under way, and end."""
        self._closing = True
        self._models.close()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def wake(self) -> None:
        """Look at once for what is to be done."""
        self._wake.set()

    def known(self, collection: Collection, shadow: Space) -> Known:
        """Return what was found out of a move."""
        numbers = numbers_of(collection.schema)
        assert shadow.shadow is not None
        newer = max(numbers[shadow.name], numbers[shadow.shadow.of])
        with self._lock:
            return self._known.setdefault((collection.folder.name, newer), Known())

    def status(self, name: str, collection: Collection, shadow: Space) -> Status:
        """Return how far a move is."""
        assert shadow.shadow is not None
        known, schema = self.known(collection, shadow), collection.schema
        with collection.snapshot() as snapshot:
            counts = known.count(snapshot, shadow.shadow.of, shadow.name)
        return Status.of(name, schema, shadow, counts, known)

    def measure(self, collection: Collection, shadow: Space) -> None:
        """Find out how much the two models agree. Raises DeadlineExceeded, Corrupt."""
        assert shadow.shadow is not None
        schema, known = collection.schema, self.known(collection, shadow)
        space = schema.space(shadow.shadow.of)
        assert space is not None
        old, new = (shadow, space) if is_switched(schema, shadow) else (space, shadow)
        found = overlap(
            collection, old, new, lambda of, texts: self._models.encode(of, texts, Role.QUERY)
        )
        with known.lock:
            known.overlap, known.measured = found, True

    def _run(self) -> None:
        more = False
        while not self._closing:
            if not more:
                self._wake.wait(INTERVAL_S)
                self._wake.clear()
            more = False
            try:
                for name, space in self._jobs():
                    if not self._closing:
                        more |= self._work(name, space)
            except Exception:
                if not self._closing:
                    log.exception("filling shadows failed; it goes on")

    def _jobs(self) -> list[tuple[str, str]]:
        """Return collection and space of each move under way."""
        state = self._database.names_state()
        if state != self._names_state:
            self._shadowed = [
                (info.name, space.shadow.of)
                for info in self._database.infos()
                for space in info.schema.spaces
                if space.shadow is not None and not info.quarantined
            ]
            self._names_state = state
            if not self._shadowed:
                with self._lock:
                    self._known.clear()
        return self._shadowed

    def _work(self, name: str, space_name: str) -> bool:
        """Do a piece of a move; return whether more can be done at once."""
        if time.monotonic() < self._spared_until.get(name, 0.0):
            return False
        try:
            with self._database.collection(name) as collection:
                schema = collection.schema
                shadow = shadow_of(schema, space_name)
                if shadow is None:
                    return False
                return self._turn(name, collection, schema, shadow)
        except NotFound:
            return False  # deleted meanwhile
        except VecdbError as error:
            log.error("the shadows of collection %s: %s", name, error)
            self._spared_until[name] = time.monotonic() + RETRY_S_MAX
            return False

    def _turn(self, name: str, collection: Collection, schema: Schema, shadow: Space) -> bool:
        known, now = self.known(collection, shadow), time.monotonic()
        with known.lock:
            if now < known.retry_at:
                return False
            if known.failed and now >= known.failed_retry_at:
                known.failed.clear()
                known.after.clear()
                known.seen_seq = -1
        try:
            with collection.look() as snapshot:
                seq = snapshot.seq
            if seq == known.seen_seq:
                return False
            turn = _Turn(collection, schema, shadow, known, self._models, self._limits)
            if not turn.run(now + TURN_S, lambda: self._closing):
                return True
            known.seen_seq = seq
            self._settled(name, collection, shadow, known)
        except VecdbError as error:
            ended = shadow_of(collection.schema, shadow.shadow.of if shadow.shadow else "") is None
            if not (self._closing or ended):
                self._put_off(name, known, error)
            return False
        with known.lock:
            known.retry_at, known.retry_s = 0.0, 0.0
        return True

    def _put_off(self, name: str, known: Known, error: VecdbError) -> None:
        """Try again later, ever less often."""
        with known.lock:
            if not known.retry_s:
                log.warning("filling a shadow of %s is tried again: %s", name, error)
            known.error = str(error)
            known.seen_seq = -1
            known.retry_s = min(max(RETRY_S, 2 * known.retry_s), RETRY_S_MAX)
            known.retry_at = time.monotonic() + max(error.retry_after_s or 0.0, known.retry_s)

    def _settled(self, name: str, collection: Collection, shadow: Space, known: Known) -> None:
        """See what is to be done once all that was seen is filled."""
        status = self.status(name, collection, shadow)
        if not (status.counts.left or known.measured or status.state is State.SWITCHED):
            self.measure(collection, shadow)
            status = self.status(name, collection, shadow)
        assert shadow.shadow is not None
        if status.state is State.READY and shadow.shadow.switch_when_ready:
            self._switch(name, shadow.shadow.of)


class _Turn:
    """A turn of one move: as many pages as there is time for."""

    def __init__(
        self,
        collection: Collection,
        schema: Schema,
        shadow: Space,
        known: Known,
        models: SpaceModels,
        limits: LimitsConfig,
    ) -> None:
        assert shadow.shadow is not None
        space = schema.space(shadow.shadow.of)
        assert space is not None
        self._collection = collection
        self._schema = schema
        self._pair = space, shadow
        self._known = known
        self._models = models
        self._limits = limits

    def run(self, until: float, is_over: Callable[[], bool]) -> bool:
        """Fill what is to be filled; return whether that is done. Raises VecdbError."""
        space, shadow = self._pair
        filters = lacking(space.name, shadow.name)
        for filter, have, lack in zip(filters, (space, shadow), (shadow, space), strict=True):
            number = numbers_of(self._schema)[lack.name]
            after = self._known.after.get(number, 0)
            matches = self._collection.matches(filter, after, None)
            while not matches.done:
                if time.monotonic() > until or is_over():
                    return False
                self._fill_page(matches, have, lack)
                # Only now: after an error its points are to be found again.
                if not matches.done:
                    self._known.after[number] = matches.version - (not matches.settled)
            self._known.after[number] = matches.upto
        return True

    def _fill_page(self, matches: Matches, have: Space, lack: Space) -> None:
        known, began = self._known, time.monotonic()
        try:
            page = matches.take_records(known.page_points, PAGE_BYTES)
            filled = self._fill(page, have, lack)
        except DeadlineExceeded:
            known.page_points = max(1, known.page_points // 4)
            raise
        took = time.monotonic() - began
        known.filled(filled, took)
        if took > 2 * PAGE_S:
            known.page_points = max(1, known.page_points // 2)
        elif took < PAGE_S / 2 and len(page) == known.page_points:
            known.page_points = min(PAGE_POINTS_MAX, 2 * known.page_points)

    def _fill(self, page: list[tuple[int, RecordView]], have: Space, lack: Space) -> int:
        """Give points their vectors; return how many got one."""
        number = numbers_of(self._schema)[have.name]
        texts = {slot: record.texts().get(number, "") for slot, record in page}
        self._known.lacks_text([slot for slot, text in texts.items() if not text])
        rest = [(slot, record) for slot, record in page if texts[slot]]
        while rest:
            try:
                encoded = self._models.encode(
                    lack, [texts[slot] for slot, _ in rest], Role.DOCUMENT
                )
                break
            except InvalidArgument as error:
                rest = self._without_wrong(rest, error)
        if not rest:
            return 0
        ops: list[Op] = []
        for row, (slot, record) in enumerate(rest):
            if row in encoded.refused:
                self._known.fails(slot, str(encoded.refused[row]))
                continue
            cell = encoded.vectors[row].astype("<f4", copy=False).tobytes()
            vectors, text = {lack.name: cell}, {lack.name: texts[slot]}
            ops.append(Patch(record.id, PayloadEdits(), vectors, text, if_version=record.version))
        slots = [slot for row, (slot, _) in enumerate(rest) if row not in encoded.refused]
        return self._write(ops, slots) if ops else 0

    def _without_wrong(
        self, rest: list[tuple[int, RecordView]], error: InvalidArgument
    ) -> list[tuple[int, RecordView]]:
        """Return the points but the one whose text an error names. Raises it when it names none."""
        name, _, row = error.field.rstrip("]").partition("[")
        if name not in ("texts", "items") or not row.isdecimal() or int(row) >= len(rest):
            raise error
        self._known.fails(rest[int(row)][0], str(error))
        return [one for at, one in enumerate(rest) if at != int(row)]

    def _write(self, ops: list[Op], slots: list[int]) -> int:
        collection = self._collection
        command = prepare(ops, self._schema, self._limits, now_ms=collection.clock(), in_step=False)
        for refused in command.refused:
            self._known.fails(slots[refused.position], refused.message)
        if not command.runs:
            return 0
        outcome = self._submitted(lambda: collection.write(command)).result()
        filled = 0
        for slot, result in zip(slots, outcome.results, strict=True):
            if not result.reason:
                filled += 1
            elif result.reason not in (VersionMismatch.reason, PointNotFound.reason):
                self._known.fails(slot, result.message)
        return filled

    def _submitted(self, write: Callable[[], Future[WriteOutcome]]) -> Future[WriteOutcome]:
        while True:
            try:
                return write()
            except Overloaded as error:  # whoever writes comes first
                threading.Event().wait(error.retry_after_s or RETRY_S)
