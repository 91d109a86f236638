"""An LMDB environment: opened with care, its map grown, its full disk told. Knows LMDB.

Any number of reading threads and one writing thread share it. A transaction of either kind holds
the gate shared; growing the map, which LMDB allows only while no transaction of the process is
open, holds it alone.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import lmdb

from vecdb import heap
from vecdb.errors import Corrupt, NotFound, ReadOnly, StorageFull, Unavailable, VecdbError
from vecdb.storage.scrub import Scrubbed, is_whole, scrub, separators

T = TypeVar("T")

_GROW_AT = 0.8
_MAP_MAX = 1 << 46
_FULL_BYTES = 1 << 20
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_OF_THE_MACHINE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
"""What keeps a store from being opened now, and says nothing of its files."""
MAX_READERS = 4096
"""Read transactions at once, over all processes: some tens each, with those kept for reuse."""

_LOCK_BYTES = 16 << 10
"""Of a lock file: room for the first 250 of them, which are used first."""

READERS_POLL_S = 0.002


@dataclass(frozen=True, slots=True)
class StoreUse:
    """What of an environment's bounds is in use.

    readers: slots for readers taken by now, over all processes, of readers_max. lag_txns: how many
    transactions behind the last one the oldest read under way is; pages since are not reused.
    """

    bytes: int
    map_bytes: int
    readers: int
    readers_max: int
    lag_txns: int


class MapFull(Exception):
    """The map is full: abort, grow, and apply again. A signal to the writer, never shown."""


class Gate:
    """Shared by transactions, held alone to grow the map. Guards nothing else."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # taken by every read: a bare one, which is C
        self._changed = threading.Condition(self._lock)
        self._inside = 0
        self._closed = False

    def enter(self) -> None:
        """Wait until nobody holds the gate alone, and share it."""
        with self._lock:
            while self._closed:
                self._changed.wait()
            self._inside += 1

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Share the gate for a block, in which no transaction is begun or open."""
        self.enter()
        try:
            yield
        finally:
            self.leave()

    def leave(self) -> None:
        """Stop sharing."""
        with self._lock:
            self._inside -= 1
            if self._closed and not self._inside:
                self._changed.notify_all()

    @contextmanager
    def alone(self, timeout_s: float | None = None) -> Iterator[None]:
        """Hold the gate with nobody inside. Raises TimeoutError; None waits for ever."""
        with self._changed:
            while self._closed:
                self._changed.wait()
            self._closed = True
            if not self._changed.wait_for(lambda: not self._inside, timeout_s):
                self._closed = False
                self._changed.notify_all()
                raise TimeoutError
        try:
            yield
        finally:
            with self._changed:
                self._closed = False
                self._changed.notify_all()


class Environment:
    """An LMDB environment with named databases, opened to read or to write."""

    def __init__(
        self,
        path: Path,
        databases: Sequence[bytes],
        *,
        read_only: bool,
        map_bytes: int,
        create: bool = False,
    ) -> None:
        """Open an environment; create makes what is missing, which otherwise is an error."""
        self.path = path
        self.read_only = read_only
        self.gate = Gate()
        data = path / "data.mdb"
        if create:
            # Here, since LMDB would give the folder the mode of its files.
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        elif not data.exists():
            raise NotFound(f"no store at {path}")
        # A map must at least hold the file; one that grew keeps its size over a restart.
        size = data.stat().st_size if data.exists() else 0
        while map_bytes * _GROW_AT < size:
            map_bytes *= 2
        self._open(databases, map_bytes, create=create)

    def _open(self, databases: Sequence[bytes], map_bytes: int, *, create: bool) -> None:
        """Open the environment; nobody uses it yet. Raises Corrupt, StorageFull."""
        path = self.path
        try:
            _reserve(path / "lock.mdb")
            with heap.mapped_blocks():
                self.env = lmdb.open(
                    str(path),
                    map_size=map_bytes,
                    max_dbs=len(databases),
                    max_readers=MAX_READERS,
                    max_spare_txns=64,
                    readonly=self.read_only,
                    readahead=False,
                    create=create,
                    mode=0o600,
                )
            try:
                # Before any page but the first two is read.
                self._check_length(path / "data.mdb")
                self.databases = {name: self.env.open_db(name, create=create) for name in databases}
            except BaseException:
                self.env.close()  # or nobody in this process could open it again
                raise
        except lmdb.NotFoundError:
            raise Corrupt(f"{path} lacks a database of its format", hint="see FORMAT.md") from None
        except (lmdb.Error, OSError) as error:
            raise _full_or(error, _unopened(path, error), path.parent) from None
        self.env.reader_check()

    def _check_length(self, data: Path) -> None:
        """Raise Corrupt when pages are missing: reading one would end the process with SIGBUS."""
        needed, there = self._used_bytes(), data.stat().st_size
        if there < needed and not is_whole(data, self.env.info()["last_txnid"]):
            raise Corrupt(
                f"{data} was cut: it has {there} bytes, and pages up to {needed}",
                hint="restore it from a backup",
            )

    def forget_dead_readers(self) -> None:
        """Free the reader slots of processes that were killed."""
        with self.gate.inside():
            self.env.reader_check()

    def close(self) -> None:
        """Close the environment; no transaction may be open."""
        with self.gate.alone():
            self.env.close()

    @contextmanager
    def begin(self, *, write: bool = False) -> Iterator[lmdb.Transaction]:
        """Yield a transaction; commit at the end of the block, abort when it raises."""
        if not write:
            txn = self.begin_read()
            try:
                yield txn
            finally:
                self.end_read(txn)
            return
        if self.read_only:
            raise ReadOnly(f"{self.path} was opened to read")
        txn = self._enter(write=True)
        try:
            yield txn
            with told_when_full(self.path):
                txn.commit()
        except BaseException:
            txn.abort()
            raise
        finally:
            self.gate.leave()

    def begin_read(self) -> lmdb.Transaction:
        """Return a read transaction for end_read, without the price of a block's machinery."""
        return self._enter(write=False)

    def end_read(self, txn: lmdb.Transaction) -> None:
        """End a read transaction; what was read in place is not to be touched any more."""
        txn.abort()
        self.gate.leave()

    def _enter(self, *, write: bool) -> lmdb.Transaction:
        while True:
            self.gate.enter()
            try:
                return self.env.begin(write=write, buffers=True)
            except lmdb.MapResizedError:
                # The writer, in another process, grew the map: take its size over.
                self.gate.leave()
                with self.gate.alone():
                    self.env.set_mapsize(0)
            except BaseException:
                self.gate.leave()
                raise

    def copy(self, txn: lmdb.Transaction, path: Path) -> None:
        """Write what a read transaction sees into a new environment, without free pages. Durable.

        Raises StorageFull.
        """
        path.mkdir(mode=0o700)
        with told_when_full(path):
            self.env.copy(str(path), compact=True, txn=txn)
        data = path / "data.mdb"
        data.chmod(0o600)
        with data.open("rb") as file:
            os.fsync(file.fileno())

    def scrub(self, patience_s: float) -> Scrubbed | None:
        """Return what was overwritten, once the file holds nothing but what is in the store.

        Before it, two transactions must have committed since the last delete that is to leave no
        trace. None where somebody, in this process or another, went on reading an older tree for
        patience_s, in which nobody can write. Raises Corrupt where the file is not as it should be.

        No other thread may commit before this returns.
        """
        if self.read_only:
            raise ReadOnly(f"{self.path} was opened to read")
        with self.begin(write=True):  # nobody commits meanwhile
            last = self.env.info()["last_txnid"]
            if not self._has_readers_since(last - 1, patience_s):
                return None
            try:
                done = scrub(self.path / "data.mdb", last)
            except OSError as error:
                raise _full_or(error, error, self.path) from None
        # LMDB keeps the memory that it made pages in, to make others in it, and fills those no
        # more than needed: what was deleted would come back in their gaps.
        try:
            with self.gate.alone(patience_s):
                map_bytes, databases = self._map_bytes(), list(self.databases)
                self.env.close()
                self._open(databases, map_bytes, create=False)
        except TimeoutError:
            return None
        return done

    def renew(self, txn: lmdb.Transaction, database: bytes) -> bool:
        """Write a database anew where deleted keys still lead to others in it; return whether.

        txn: to write in. Nothing of it is committed yet, and so not looked at.
        """
        db = self.databases[database]
        leading = separators(self.path / "data.mdb", self.env.info()["last_txnid"], database)
        if all(txn.get(key, db=db) is not None for key in leading):
            return False
        with told_when_full(self.path):
            found = [(bytes(key), bytes(value)) for key, value in txn.cursor(db=db)]
            txn.drop(db, delete=False)
            with txn.cursor(db=db) as cursor:
                cursor.putmulti(found, append=True)
        return True

    def _has_readers_since(self, txn: int, patience_s: float) -> bool:
        """Return whether nobody reads an older transaction, at the latest after patience_s."""
        deadline, pause = time.monotonic() + patience_s, threading.Event()
        self.env.reader_check()
        while any(seen < txn for seen in self._read_txns()):
            if time.monotonic() >= deadline:
                return False
            pause.wait(READERS_POLL_S)
        return True

    def _read_txns(self) -> list[int]:
        """Return which transaction each reader of any process sees."""
        table = [line.split() for line in self.env.readers().splitlines()]
        return [int(line[2]) for line in table if len(line) == 3 and line[2].isdecimal()]

    def use(self) -> StoreUse:
        """Return what is in use. Of no thread with a transaction open."""
        with self.gate.inside():
            info = self.env.info()
            page, last = self.env.stat()["psize"], info["last_txnid"]
            oldest = min(self._read_txns(), default=last)
        return StoreUse(
            (info["last_pgno"] + 1) * page,
            info["map_size"],
            info["num_readers"],
            info["max_readers"],
            max(0, last - oldest),
        )

    def used_bytes(self) -> int:
        """Return the bytes of the file that hold pages. Of no thread with a transaction open."""
        with self.gate.inside():
            return self._used_bytes()

    def _used_bytes(self) -> int:
        used: int = (self.env.info()["last_pgno"] + 1) * self.env.stat()["psize"]
        return used

    def map_bytes(self) -> int:
        """Return the bytes of address space mapped. Of no thread with a transaction open."""
        with self.gate.inside():
            return self._map_bytes()

    def _map_bytes(self) -> int:
        size: int = self.env.info()["map_size"]
        return size

    def growing(self, work: Callable[[], T]) -> T:
        """Return what a change returns; it is made again in a larger map when it finds it full."""
        while True:
            try:
                return work()
            except MapFull:
                self.grow(force=True)

    def grow(self, *, force: bool = False) -> None:
        """Double the map when it is 80 % full, or at once. Waits for open transactions to end."""
        size = self.map_bytes()
        if not force and self.used_bytes() < size * _GROW_AT:
            return
        if size * 2 > _MAP_MAX:
            raise StorageFull(f"{self.path}: the map has reached {size} bytes")
        with self.gate.alone():
            self.env.set_mapsize(size * 2)


def free_bytes(path: Path) -> int:
    """Return the free space of a path's file system."""
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize


def _reserve(lock: Path) -> None:
    """Have the first pages of a lock file on the disk. Raises OSError where they find no room.

    LMDB writes them through a map: a page that is not there yet, on a full disk, is SIGBUS, which
    ends the process.
    """
    if lock.exists() and lock.stat().st_blocks * 512 >= _LOCK_BYTES:
        return
    try:
        file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return  # LMDB reads without it, or says what it may not do
        raise
    try:
        os.posix_fallocate(file, 0, _LOCK_BYTES)
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise
    finally:
        os.close(file)  # before LMDB locks it: this process has no lock on it to lose


def _unopened(path: Path, error: lmdb.Error | OSError) -> VecdbError:
    """Return what to raise for a store that could not be opened."""
    code = getattr(error, "errno", None) or getattr(error, "code", 0)
    if code in _OF_THE_MACHINE or isinstance(error, lmdb.ReadersFullError):
        return Unavailable(
            f"a store cannot be opened now: {error}",
            hint="raise the limit of open files (ulimit -n), or lower storage.open_collections",
            retry_after_s=1.0,
        )
    if not (path / "data.mdb").exists():
        return NotFound(f"no store at {path}")  # deleted since we looked
    return Corrupt(f"{path} cannot be opened: {error}", hint="restore it from a backup")


def disk_full() -> StorageFull:
    """Return the error of a write that found no space."""
    return StorageFull(
        "the disk is full: nothing of this write was kept, reads and deletes go on",
        hint="free space on the data directory's file system",
        retry_after_s=5.0,
    )


def _full_or(error: Exception, otherwise: Exception, path: Path) -> Exception:
    """Return what to raise for an error that may be a full map or a full disk."""
    if isinstance(error, lmdb.MapFullError):
        return MapFull()
    if isinstance(error, lmdb.DiskError) or getattr(error, "errno", 0) in _NO_SPACE:
        return disk_full()
    # LMDB calls a write that the disk took half of an input/output error.
    if "Input/output error" in str(error) and free_bytes(path) < _FULL_BYTES:
        return disk_full()
    return otherwise


@contextmanager
def told_when_full(path: Path) -> Iterator[None]:
    """Raise MapFull or StorageFull for what LMDB raises when there is no space."""
    try:
        yield
    except lmdb.Error as error:
        raise _full_or(error, error, path) from None
