"""Pages: which points one of a list has, and the tokens that the next ones go on with."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from vecdb.errors import Corrupt, DeadlineExceeded, InvalidArgument
from vecdb.query.order import OrderBy, Place, following
from vecdb.query.search import Candidates
from vecdb.query.sources import Source
from vecdb.segment.bitmaps import rows_in
from vecdb.storage.store import ReadTxn
from vecdb.types import U64, Filter

CHUNK = 1_000
ID_BYTES_MAX = 256
BINDING_BYTES = 8
OF_LIST = "list: collection, filter, order and slice must be the same"


@dataclass(frozen=True, slots=True)
class Slice:
    """The points whose ids fall to `index` when all are dealt to `count`."""

    index: int
    count: int

    def holds(self, name: bytes) -> bool:
        """Return whether an id falls to this slice."""
        return zlib.crc32(name) % self.count == self.index


@dataclass(frozen=True, slots=True)
class Listing:
    """What is listed, and in which order; by id when none is given. Slices go with ids alone."""

    filter: Filter | None = None
    order: OrderBy | None = None
    slice: Slice | None = None


class Spot(NamedTuple):
    """A point of a list. mark: what a token says of it; name: b"" where that is not known yet.

    slot: None where there is no point, and ids have been looked through so far.
    """

    mark: bytes
    name: bytes
    slot: int | Corrupt | None


class Tokens:
    """Page tokens: where a page ended, bound to what was asked. what: to ask the same, in words."""

    def __init__(self, asked: bytes, what: str) -> None:
        self._binding = hashlib.blake2b(asked, digest_size=BINDING_BYTES).digest()
        self._what = what

    def token(self, mark: bytes) -> str:
        """Return the token of a mark, which is not empty."""
        return base64.urlsafe_b64encode(self._binding + mark).decode()

    def mark(self, token: str) -> bytes:
        """Return the mark of a token. Raises InvalidArgument for one of something else."""
        try:
            raw = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        if len(raw) <= BINDING_BYTES or raw[:BINDING_BYTES] != self._binding:
            raise foreign(self._what)
        return raw[BINDING_BYTES:]


class Paging:
    """The pages of one listing. uuid: of the collection. deadline: of time.monotonic."""

    def __init__(self, uuid: str, txn: ReadTxn, listing: Listing, deadline: float) -> None:
        self._txn = txn
        self._listing = listing
        self._deadline = deadline
        self._tokens = Tokens(f"{uuid}{listing!r}".encode("utf-8", "surrogatepass"), OF_LIST)

    def token(self, last: Spot) -> str:
        """Return the token of what comes after a point."""
        return self._tokens.token(last.mark)

    def mark(self, token: str) -> bytes:
        """Return the mark that a token goes on from; b"" for none. Raises InvalidArgument."""
        return self._tokens.mark(token) if token else b""

    # --- by id

    def by_id(
        self,
        after: bytes,
        matching: Callable[[U64], U64] | None,
        without: U64,
        until: float = math.inf,
    ) -> Iterator[Spot]:
        """Yield the points past an id, but for some slots.

        matching: says which of some slots match, ascending as they are; None for all. without:
        ascending. until: of time.monotonic; later, ids without a match are told too, now and then.
        """
        if len(after) > ID_BYTES_MAX:
            raise foreign(OF_LIST)
        chosen = self._listing.slice
        ids = self._txn.ids(after)
        if matching is None and chosen is None and not len(without):
            yield from (Spot(name, name, slot) for name, slot in ids)
            return
        while chunk := list(islice(ids, CHUNK)):
            if time.monotonic() > self._deadline:
                raise DeadlineExceeded(
                    "the deadline passed while ids were looked through for those that match",
                    hint="allow more time, or a smaller page",
                )
            last = chunk[-1][0]
            if chosen is not None:
                chunk = [each for each in chunk if chosen.holds(each[0])]
            if len(without):
                chunk = list(_inside(chunk, without, invert=True))
            if matching is not None:
                slots = [slot for _, slot in chunk if not isinstance(slot, Corrupt)]
                chunk = list(_inside(chunk, matching(np.sort(np.array(slots, np.uint64)))))
            yield from (Spot(name, name, slot) for name, slot in chunk)
            if time.monotonic() > until:
                yield Spot(last, last, None)

    # --- in the order of a field

    def in_order(
        self, order: OrderBy, after: bytes, sources: list[Source], count: int
    ) -> Iterator[Spot]:
        """Yield the points past a mark in an order; looked for by `count`."""
        last = _decode(after) if after else None
        while found := following(sources, order, last, count):
            for last in found:
                yield Spot(_encode(last), b"", last.slot)
            if len(found) < count:
                return

    def name_of(self, spot: Spot) -> str | None:
        """Return the id of a point whose record is of no use; None when no id names its slot."""
        if spot.name:
            return spot.name.decode()
        found = (name for name, slot in self._txn.ids(b"") if slot == spot.slot)
        name = next(found, None)
        return None if name is None else name.decode()


def slots_of(candidates: list[Candidates]) -> U64:
    """Return the slots of rows that match, ascending."""
    slots = [np.empty(0, np.uint64)]
    slots += [
        candidate.part.slots
        if candidate.mask is None
        else candidate.part.slots[rows_in(candidate.mask, candidate.part.rows)]
        for candidate in candidates
    ]
    return np.sort(np.concatenate(slots))


def _inside(
    chunk: list[tuple[bytes, int | Corrupt]], allowed: U64, *, invert: bool = False
) -> Iterator[tuple[bytes, int | Corrupt]]:
    # Slots start at 0 and end far below 2**64 - 1, which therefore is in no part.
    none = (1 << 64) - 1
    slots = np.array([none if isinstance(s, Corrupt) else s for _, s in chunk], np.uint64)
    inside = np.isin(slots, allowed, invert=invert)
    for (name, slot), allow in zip(chunk, inside.tolist(), strict=True):
        if allow:
            yield name, slot


def _encode(place: Place) -> bytes:
    (kind, value), slot = place
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    return json.dumps([kind, text, slot]).encode()


def _decode(mark: bytes) -> Place:
    """Return the place of a mark. Raises InvalidArgument for one that nobody made here."""
    try:
        kind, value, slot = json.loads(mark)
        value = value.encode("latin-1") if isinstance(value, str) else value
        sound = [bool, (int, float), int, bytes][kind], int
    except (ValueError, TypeError, IndexError, RecursionError):
        raise foreign(OF_LIST) from None
    if not (isinstance(value, sound[0]) and isinstance(slot, sound[1])):
        raise foreign(OF_LIST)
    return Place((kind, value), slot)


def foreign(what: str) -> InvalidArgument:
    """Return the error of a token that is not of what was asked."""
    return InvalidArgument(f"the page token is not of this {what}", field="page_token")
