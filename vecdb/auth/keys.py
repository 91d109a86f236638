"""API keys: how their secrets look, and making, ending and replacing them.

A secret is ``vecdb_<id>_<random>``: the id stands in lists and logs, the random part has 256 bits.
So a plain sha256 of it can be kept: there is nothing to guess, and nothing to slow down.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from vecdb.auth import scopes
from vecdb.auth.scopes import Grant, Principal
from vecdb.errors import FailedPrecondition, InvalidArgument, LimitExceeded, NotFound, ReadOnly
from vecdb.storage.catalog import Catalog
from vecdb.storage.keys import CreateKey, KeyRecord, RevokeKey

PREFIX = "vecdb"
NAME_BYTES = 256
_ID_CHARACTERS = "abcdefghjkmnpqrstuvwxyz23456789"
_ID_LENGTH = 10
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key, and its secret, which is nowhere else."""

    record: KeyRecord
    secret: str

    def __repr__(self) -> str:
        return f"NewKey({self.record.id!r})"


def digest_of(secret: str) -> bytes:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def principal_of(record: KeyRecord) -> Principal:
    """Return the caller that a key stands for."""
    return Principal(
        record.id,
        (Grant(record.actions, record.collections),),
        expires_at_s=record.expires_at_ms / 1000 if record.expires_at_ms else float("inf"),
        number=record.number,
        calls_per_s=record.calls_per_s,
        bytes_per_day=record.bytes_per_day,
    )


class Keys:
    """The keys of a catalog. Changed under a lock that the catalog's other changes hold too."""

    def __init__(
        self, catalog: Catalog, lock: threading.Lock, most: int, read_only: bool = False
    ) -> None:
        """Take a catalog. most: live keys that there may be."""
        self._catalog = catalog
        self._lock = lock
        self._most = most
        self._read_only = read_only

    def state(self) -> bytes:
        """Return what every change of a key changes; b"" where there never was one."""
        return self._catalog.keys_state()

    def all(self) -> list[KeyRecord]:
        """Return all keys in the order of their making, ended ones too."""
        return self._catalog.keys()

    def create(
        self,
        name: str,
        actions: Iterable[str],
        collections: Iterable[str] = (),
        *,
        ttl_ms: int = 0,
        calls_per_s: int = 0,
        bytes_per_day: int = 0,
    ) -> NewKey:
        """Return a new key. No collections stand for all.

        Raises InvalidArgument, LimitExceeded, ReadOnly.
        """
        _check_name(name)
        chosen = scopes.check_actions(actions, "actions")
        named = scopes.check_collections(collections, "collections") or ("*",)
        wanted = KeyRecord(
            "", 0, name, b"", chosen, named, 0, ttl_ms, 0, calls_per_s, bytes_per_day
        )
        with self._lock:
            return self._add(wanted)

    def rotate(self, key_id: str, keep_ms: int) -> NewKey:
        """Return a key that takes the place of another, which is good for keep_ms milliseconds yet.

        Raises NotFound, FailedPrecondition for one that has ended.
        """
        with self._lock:
            old = self._live(key_id)
            return self._add(old, old.id, keep_ms)

    def revoke(self, key_id: str, *, others: bool = False) -> KeyRecord:
        """Return a key, which opens nothing from now on.

        others: keys may be made without one, so that the last that makes keys may go. Raises
        NotFound, FailedPrecondition.
        """
        self._check_writes()
        now_ms = _now_ms()
        with self._lock:
            every = self.all()
            there = [one for one in every if one.id == key_id]
            if not there:
                raise NotFound(f"no key {key_id!r}", field="id", hint="see vecdb keys list")
            left = [one for one in every if one.id != key_id and one.is_live(now_ms)]
            if not others and _makes_keys(there[0], now_ms):
                # One that will expire is no way in for good.
                if not any(_makes_keys(one, now_ms) and not one.expires_at_ms for one in left):
                    raise FailedPrecondition(
                        f"key {key_id} is the last that can make others",
                        hint="make another first, or run vecdb keys revoke --data on the server's "
                        "machine while it is stopped",
                    )
            self._catalog.apply(RevokeKey(key_id, now_ms))
            return next(one for one in self.all() if one.id == key_id)

    def _add(self, wanted: KeyRecord, replaces: str = "", keep_ms: int = 0) -> NewKey:
        """Return a key like another, that is good for as long as that one was made for."""
        self._check_writes()
        now_ms = _now_ms()
        every = self.all()
        if sum(one.is_live(now_ms) for one in every) >= self._most:
            raise LimitExceeded(
                f"there are {self._most} keys already",
                hint="revoke some, or raise limits.keys",
            )
        key_id = "".join(secrets.choice(_ID_CHARACTERS) for _ in range(_ID_LENGTH))
        secret = f"{PREFIX}_{key_id}_{secrets.token_hex(_SECRET_BYTES)}"
        ttl_ms = wanted.expires_at_ms - wanted.created_at_ms
        record = replace(
            wanted,
            id=key_id,
            number=max((one.number for one in every), default=-1) + 1,
            digest=digest_of(secret),
            created_at_ms=now_ms,
            expires_at_ms=now_ms + ttl_ms if wanted.expires_at_ms else 0,
        )
        self._catalog.apply(CreateKey(record, replaces, now_ms + keep_ms if replaces else 0))
        return NewKey(record, secret)

    def _live(self, key_id: str) -> KeyRecord:
        for one in self.all():
            if one.id == key_id:
                if not one.is_live(_now_ms()):
                    raise FailedPrecondition(
                        f"key {key_id} has ended", hint="make a new one: vecdb keys create"
                    )
                return one
        raise NotFound(f"no key {key_id!r}", field="id", hint="see vecdb keys list")

    def _check_writes(self) -> None:
        if self._read_only:
            raise ReadOnly("this process opened the data directory to read")


class KeysOnDisk:
    """The keys of a data directory that another process writes: found once there is a catalog."""

    def __init__(self, data: Path) -> None:
        """Look at nothing yet."""
        self._path = data / "catalog"
        self._lock = threading.Lock()
        self._catalog: Catalog | None = None

    def __call__(self) -> Keys | None:
        """Return the keys, or None where nobody has written a catalog. Raises Corrupt."""
        with self._lock:
            if self._catalog is None:
                if not (self._path / "data.mdb").exists():
                    return None
                self._catalog = Catalog(self._path, read_only=True)
            return Keys(self._catalog, self._lock, 0, read_only=True)

    def close(self) -> None:
        """Close the catalog."""
        with self._lock:
            if self._catalog is not None:
                self._catalog.close()
                self._catalog = None


def _makes_keys(record: KeyRecord, now_ms: int) -> bool:
    return record.is_live(now_ms) and principal_of(record).may(scopes.ADMIN, "*")


def _check_name(name: str) -> None:
    if not 1 <= len(name.encode("utf-8", "replace")) <= NAME_BYTES or not name.isprintable():
        raise InvalidArgument(
            f"name: expected 1 to {NAME_BYTES} printable bytes, such as who holds the key",
            field="name",
        )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
