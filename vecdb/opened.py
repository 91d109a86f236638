"""Which collections are open: each as long as it is used, then until others need its place.

One whose store cannot be read is quarantined: named with the reason, and no other is affected.
"""

from __future__ import annotations

import errno
import logging
import threading
from collections import OrderedDict
from collections.abc import Container, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from vecdb.clock import Clock, wall_clock
from vecdb.collection.build import Builders
from vecdb.collection.collection import Collection
from vecdb.collection.upkeep import BuildTotals
from vecdb.config import StorageConfig
from vecdb.errors import Corrupt, NotFound, StorageFull, Unavailable, VecdbError
from vecdb.folders import NEW
from vecdb.node_status import CollectionStatus
from vecdb.room import Room
from vecdb.storage.catalog import Catalog, CatalogEntry
from vecdb.storage.writer import Writer
from vecdb.types import Schema

log = logging.getLogger(__name__)

Sizes = Sequence[CollectionStatus]


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A collection by name. quarantined: why it cannot be used, or "".

    ttl_ms: how long points are there that are written without an expiry; 0 for ever. points_max:
    how many there may be; 0 for any number.
    """

    name: str
    schema: Schema
    created_at_ms: int
    quarantined: str = ""
    metadata: bytes = b""
    aliases: tuple[str, ...] = ()
    ttl_ms: int = 0
    points_max: int = 0


@dataclass(frozen=True, slots=True)
class DataHealth:
    """What is not well with the data, by collection: name to reason.

    quarantined: cannot be opened. segments: name and number of those whose files are not used.
    failing: why builds or checks fail. fullest_map, fullest_readers: the open collection with the
    largest share of its map, and of its slots for readers, in use.
    """

    quarantined: dict[str, str]
    segments: dict[str, str]
    failing: dict[str, str]
    fullest_map: tuple[str, float]
    fullest_readers: tuple[str, float]


class _Replaced(Exception):
    """The name stands for another folder by now: the collection was truncated, or made anew."""

    def __init__(self, now: CatalogEntry) -> None:
        super().__init__(now.name)
        self.now = now


class _Place:
    """A place in the table of open collections. users: guarded by the table's lock."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.users = 0
        self.opening = threading.Lock()  # guards collection, while it is None
        self.collection: Collection | None = None

    def close(self) -> None:
        """Close the collection; nobody uses it."""
        if self.collection is not None:
            self.collection.close()


def _is_of_the_times(error: Exception) -> bool:
    """Whether upkeep failed of what can happen to it: a full disk, or a builder that was killed."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or isinstance(error, (StorageFull, Unavailable, BrokenProcessPool))


class Use:
    """A block in which a collection is kept open. No generator: every call passes it."""

    def __init__(self, table: OpenCollections, entry: CatalogEntry) -> None:
        self._table = table
        self._entry = entry

    def __enter__(self) -> Collection:
        while True:
            try:
                self._place, collection = self._table._enter(self._entry)
                return collection
            except _Replaced as replaced:
                self._entry = replaced.now

    def __exit__(self, *raised: object) -> None:
        self._table._leave(self._entry.folder, self._place)


class OpenCollections:
    """The open collections of a data directory, by the name of their folders."""

    def __init__(
        self,
        path: Path,
        storage: StorageConfig,
        writer: Writer | None,
        catalog: Catalog,
        clock: Clock = wall_clock,
        room: Room | None = None,
    ) -> None:
        """Open none yet. path: the folder of their folders. writer: None to read alone."""
        self._path = path
        self._storage = storage
        self._writer = writer
        self._catalog = catalog
        self._clock = clock
        self._room = room
        self._lock = threading.Lock()  # guards the table
        self._table: OrderedDict[str, _Place] = OrderedDict()
        self._verified: set[tuple[str, int]] = set()
        self._built = BuildTotals()
        self.broken: dict[str, str] = {}
        """Why a collection is quarantined, by the name of its folder."""

    def close(self) -> None:
        """Close all; none may be in use."""
        with self._lock:
            for place in self._table.values():
                place.close()
            self._table.clear()

    def use(self, entry: CatalogEntry) -> Use:
        """Return a block's collection, open for as long as the block lasts.

        Raises, as the block begins, NotFound when it was dropped, and Corrupt.
        """
        return Use(self, entry)

    def _enter(self, entry: CatalogEntry) -> tuple[_Place, Collection]:
        key = entry.folder
        with self._lock:
            place = self._table.get(key)
            if place is None:
                place = self._table[key] = _Place(entry.name)
            self._table.move_to_end(key)
            place.users += 1
        try:
            with place.opening:  # of this one alone: the others go on
                if place.collection is None:
                    place.collection = self._open(entry)
                place.collection.tune(entry.schema, entry.ttl_ms)
                return place, place.collection
        except BaseException:
            self._leave(key, place)
            raise

    def _leave(self, key: str, place: _Place) -> None:
        with self._lock:
            place.users -= 1
            if place.collection is None and not place.users:
                self._table.pop(key, None)
            surplus = len(self._table) - self._storage.open_collections
            if surplus <= 0:
                return
            idle = [
                key
                for key, one in self._table.items()
                if not one.users and not (one.collection and one.collection.building)
            ][:surplus]
            for each in idle:
                self._table.pop(each).close()

    def _open(self, entry: CatalogEntry, *, again: bool = True) -> Collection:
        key = entry.folder
        try:
            collection = Collection(
                self._path / key,
                self._storage,
                self._writer,
                self._verified,
                self._built,
                self._clock,
                self._room,
            )
        except (Corrupt, NotFound) as error:
            now = self._catalog.get(entry.name)
            if now is not None and now.folder != key:
                raise _Replaced(now) from None
            coming = (self._path / (key + NEW)).exists()  # and not acknowledged yet
            if now is None or coming:
                raise NotFound(f"no collection {entry.name!r}", collection=entry.name) from None
            if again:  # it may have got its folder between the two looks at it
                return self._open(entry, again=False)
            reason = str(error)
            if self.broken.get(key) != reason:
                log.error("collection %s is quarantined: %s", entry.name, reason)
                self.broken[key] = reason
            raise Corrupt(
                f"collection {entry.name!r} is quarantined: {error.message}",
                hint=error.hint or "run vecdb check, or restore it from a backup",
                collection=entry.name,
            ) from error
        self.broken.pop(key, None)
        return collection

    def info(self, entry: CatalogEntry, aliases: Mapping[str, str]) -> CollectionInfo:
        """Return what is known of a collection. aliases: all there are, with their collections."""
        return CollectionInfo(
            entry.name,
            entry.schema.schema,
            entry.created_at_ms,
            self.broken.get(entry.folder, ""),
            entry.metadata,
            tuple(alias for alias, target in aliases.items() if target == entry.name),
            entry.ttl_ms,
            entry.schema.points_max,
        )

    def tell(self, entry: CatalogEntry) -> None:
        """Have a collection know its new schema now, and begin what that makes due."""
        try:
            with self.use(entry):
                pass
        except VecdbError as error:  # once it can be opened, whoever opens it tells it
            log.error("%s could not be told its schema: %s", entry.name, error)

    def end(self, key: str) -> bool:
        """Close a collection whose files are to go; return False while somebody uses it."""
        with self._lock:
            place = self._table.get(key)
            if place is not None:
                if place.users:
                    return False
                self._table.pop(key).close()
            self.broken.pop(key, None)
            return True

    def each(self) -> Iterator[Collection]:
        """Yield the collections that are open now, each kept open only while it is looked at."""
        with self._lock:
            keys = list(self._table)
        for key in keys:
            with self._lock:
                place = self._table.get(key)
                if place is None or place.collection is None:
                    continue
                place.users += 1
            try:
                yield place.collection
            finally:
                self._leave(key, place)

    def maintain(
        self, builders: Builders | None, dropped: Container[str], closing: threading.Event
    ) -> bool:
        """Do a piece of what is due in each but those dropped; return whether more may be.

        Of each in turn, so that one that is never done does not keep others waiting. builders: see
        Upkeep.maintain.
        """
        more = False
        for collection in self.each():
            if closing.is_set():
                return False
            if collection.folder.name in dropped:
                collection.abandon()
                continue
            try:
                more |= collection.maintain(builders)
            except Exception as error:
                if not closing.is_set():
                    # Hard times say so in a line; what is a bug of ours shows its traceback.
                    bug = None if _is_of_the_times(error) else error
                    name = collection.folder.name
                    log.error("upkeep of %s is tried again: %s", name, error, exc_info=bug)
        return more

    def sizes(self) -> list[CollectionStatus]:
        """Return how the open collections are, and those that cannot be opened."""
        found = [
            CollectionStatus(name, "quarantined", reason)
            for name, reason in self._broken_names().items()
        ]
        for name, collection in self._named():
            try:
                found.append(_status(name, collection))
            except VecdbError as error:  # of that one alone: the others are told
                log.error("sizes of %s: %s", name, error)
        return found

    def gauges(self, sizes: Sizes | None = None) -> dict[str, float]:
        """Return sums over the open collections, by metric name. sizes: those of sizes() now."""
        sizes = self.sizes() if sizes is None else sizes
        opened = [one for one in sizes if one.state != "quarantined"]
        return {
            "vecdb_collections_open": len(opened),
            "vecdb_collections_quarantined": len(sizes) - len(opened),
            "vecdb_points": sum(one.points for one in opened),
            "vecdb_tail_points": sum(one.tail_points for one in opened),
            "vecdb_segments": sum(one.segments for one in opened),
            "vecdb_segment_bytes": sum(one.segment_bytes for one in opened),
            "vecdb_segments_quarantined": sum(one.segments_quarantined for one in opened),
            "vecdb_builds": sum(one.builds for one in opened),
            "vecdb_built_segments_total": self._built.segments,
            "vecdb_built_rows_total": self._built.rows,
            "vecdb_build_seconds_total": self._built.seconds,
            "vecdb_build_failures_total": self._built.failures,
            "vecdb_store_bytes": sum(one.store_bytes for one in opened),
            "vecdb_store_map_bytes": sum(one.map_bytes for one in opened),
        }

    def health(self) -> DataHealth:
        """Return what is not well with the open collections, and with those that cannot be."""
        segments: dict[str, str] = {}
        failing: dict[str, str] = {}
        maps, readers = ("", 0.0), ("", 0.0)
        for name, collection in self._named():
            for number, reason in collection.broken_reasons().items():
                segments[f"{name}, segment {number}"] = reason
            if reason := collection.ailment:
                failing[name] = reason
            use = collection.use()
            maps = max(maps, (name, use.bytes / use.map_bytes), key=lambda one: one[1])
            readers = max(readers, (name, use.readers / use.readers_max), key=lambda one: one[1])
        return DataHealth(self._broken_names(), segments, failing, maps, readers)

    def _named(self) -> Iterator[tuple[str, Collection]]:
        with self._lock:
            names = {key: place.name for key, place in self._table.items()}
        for collection in self.each():
            yield names.get(collection.folder.name, collection.folder.name), collection

    def _broken_names(self) -> dict[str, str]:
        broken = dict(self.broken)
        if not broken:
            return {}
        entries = self._catalog.entries()
        return {one.name: broken[one.folder] for one in entries if one.folder in broken}

    def in_use(self) -> dict[str, list[int]]:
        """Return the collections that are open, or cannot be, with the segments not used."""
        with self._lock:
            places = list(self._table.values())
        found: dict[str, list[int]] = {name: [] for name in self._broken_names()}
        found |= {one.name: one.collection.broken_segments() for one in places if one.collection}
        return found

    def let_go(self) -> None:
        """Close what was deleted, and replaced segments: a reader must not keep their space."""
        with self._lock:
            for key in [key for key in self.broken if not (self._path / key).exists()]:
                self.broken.pop(key, None)
            for key in [key for key in self._table if not (self._path / key).exists()]:
                if not self._table[key].users:
                    self._table.pop(key).close()
        for collection in self.each():
            collection.let_go()


def _status(name: str, collection: Collection) -> CollectionStatus:
    stats, use = collection.stats(), collection.use()
    quarantined = [one for one in stats.segments if one.quarantined]
    reasons = [f"segment {one.number}: {one.quarantined}" for one in quarantined]
    reasons += [stats.upkeep_error] * bool(stats.upkeep_error)
    return CollectionStatus(
        name,
        "degraded" if reasons else "building" if stats.builds else "ok",
        "; ".join(reasons),
        points=stats.points,
        tail_points=stats.tail_points,
        segments=len(stats.segments),
        segments_quarantined=len(quarantined),
        builds=len(stats.builds),
        store_bytes=stats.store_bytes,
        map_bytes=stats.map_bytes,
        segment_bytes=sum(one.bytes for one in stats.segments),
        readers=use.readers,
        readers_max=use.readers_max,
        reader_lag_txns=use.lag_txns,
    )
