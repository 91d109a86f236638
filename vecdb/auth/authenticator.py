"""Whose a call is: the bearer of an API key, of a key of the operator's file, or of a token.

Asked at every call, so an answer takes a hash, a lookup, and a read of what LMDB has in memory:
a key that was revoked by another process is refused from then on.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from vecdb.auth.keys import digest_of, principal_of
from vecdb.auth.scopes import ACTIONS, ANYBODY, Grant, Principal
from vecdb.auth.tokens import Tokens
from vecdb.config import AuthConfig
from vecdb.errors import InvalidArgument, Unauthenticated
from vecdb.kept_file import KeptFile, lines_of
from vecdb.storage.keys import KeyRecord

FILE_KEY_CHARACTERS = 20
"""The fewest that a key of the operator's own may have."""
TOKENS_KEPT = 4_096
OPERATOR = Principal("key-file", (Grant(ACTIONS, ("*",)),))
"""Who brings a key of the operator's file."""
_VISIBLE = re.compile(rb"[\x21-\x7e]+")


class KeyTable(Protocol):
    """The keys of a node, as this needs them: auth.keys.Keys."""

    def state(self) -> bytes:
        """Return what every change of a key changes; b"" where there never was one."""

    def all(self) -> list[KeyRecord]:
        """Return all keys, ended ones too."""


class Authenticator:
    """Says who the caller is. Threads share it."""

    def __init__(self, config: AuthConfig, keys: Callable[[], KeyTable | None]) -> None:
        """Read the files that are configured. Raises InvalidArgument that names one that is none.

        keys: returns the keys of the catalog, or None while there is no catalog.
        """
        self._keys = keys
        # The operator's own keys: with two lines for a while, no call is refused as one goes.
        self._file = (
            KeptFile("auth.key_file", Path(config.key_file), _digests) if config.key_file else None
        )
        self._tokens = Tokens(config) if Tokens.is_configured(config) else None
        self._lock = threading.Lock()  # guards the change of the next three
        self._state: bytes | None = None
        self._records: dict[bytes, KeyRecord] = {}
        self._principals: dict[bytes, Principal] = {}
        # Of tokens, by digest, with the generation of the keys that they were checked with.
        self._seen: OrderedDict[bytes, tuple[int, Principal]] = OrderedDict()

    @property
    def has_others(self) -> bool:
        """Whether there are ways in beside the keys of the catalog."""
        return self._file is not None

    def is_required(self) -> bool:
        """Return whether callers must say who they are."""
        return self._refreshed() or self._file is not None or self._tokens is not None

    def principal(self, authorization: str) -> Principal:
        """Return the caller, by what HTTP calls the Authorization header, "" for none.

        Raises Unauthenticated. A caller who need not say who they are is ANYBODY.
        """
        if not self.is_required():
            return ANYBODY
        scheme, _, secret = authorization.partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not secret:
            raise Unauthenticated(
                "this server takes calls with an API key or a token",
                hint="send it as the metadata, or header, authorization: Bearer <key>",
            )
        digest = digest_of(secret)
        # A lookup by a hash of 256 bits: how long it takes says nothing about a key.
        found = self._principals.get(digest)
        if found is None and self._file is not None and digest in self._file.now():
            found = OPERATOR
        if found is None and self._tokens is not None and secret.count(".") == 2:
            found = self._by_token(self._tokens, digest, secret)
        if found is None:
            raise Unauthenticated(
                "the API key is not known, or was revoked", hint="see vecdb keys list"
            )
        if found.expires_at_s < time.time():
            raise Unauthenticated(f"{found.id} has expired", hint="ask for a new one")
        return found

    def _by_token(self, tokens: Tokens, digest: bytes, secret: str) -> Principal:
        generation = tokens.generation()
        seen = self._seen.get(digest)
        if seen is not None and seen[0] == generation:
            return seen[1]
        found = tokens.principal(secret)
        with self._lock:
            self._seen[digest] = generation, found
            while len(self._seen) > TOKENS_KEPT:
                self._seen.popitem(last=False)
        return found

    def _refreshed(self) -> bool:
        """Return whether there are keys; have those that there are now."""
        keys = self._keys()
        if keys is None:
            return False
        state = keys.state()
        if state != self._state:
            with self._lock:
                records = {one.digest: one for one in keys.all() if not one.revoked_at_ms}
                # What did not change stays the same object: others hold things by it.
                self._principals = {
                    digest: self._principals[digest]
                    if self._records.get(digest) == record
                    else principal_of(record)
                    for digest, record in records.items()
                }
                self._records, self._state = records, state
        return bool(state)


def _digests(content: bytes) -> frozenset[bytes]:
    """Return the keys of the operator's file by what is kept of them. Raises InvalidArgument."""
    keys = lines_of(content)
    if not keys:
        raise InvalidArgument("holds no key", hint="one a line, such as openssl rand -hex 32 makes")
    for number, key in enumerate(keys, 1):
        if len(key) < FILE_KEY_CHARACTERS or not _VISIBLE.fullmatch(key):
            raise InvalidArgument(
                f"has a key, the {number}. of them, of {len(key)} characters: expected at least "
                f"{FILE_KEY_CHARACTERS} visible ones of ASCII, without spaces",
                hint="openssl rand -hex 32 makes a good one",
            )
    return frozenset(digest_of(key.decode("ascii")) for key in keys)
