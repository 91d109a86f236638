"""API keys of a server: making, listing, replacing and ending them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from vecdb_client import requests
from vecdb_client.arguments import count
from vecdb_client.errors import InvalidArgument
from vecdb_client.pb import keys_pb2 as pb
from vecdb_client.protocol import CREATE_KEY, LIST_KEYS, REVOKE_KEY, ROTATE_KEY
from vecdb_client.transport import Transport

Action: TypeAlias = Literal["read", "write", "manage", "models", "admin", "metrics"]

_NUMBERS: Final[dict[str, pb.Action]] = {
    "read": pb.ACTION_READ,
    "write": pb.ACTION_WRITE,
    "manage": pb.ACTION_MANAGE,
    "models": pb.ACTION_MODELS,
    "admin": pb.ACTION_ADMIN,
    "metrics": pb.ACTION_METRICS,
}
_ACTIONS: Final = {number: action for action, number in _NUMBERS.items()}


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """An API key, without its secret.

    id: what logs call it. collections: names, or beginnings of names with "*" behind. Times are
    seconds since 1970; expires_at and revoked_at are None where it does not, and is not.
    calls_per_s and bytes_per_day: None for any number; bytes_today is counted where the latter is.
    """

    id: str
    name: str
    actions: tuple[str, ...]
    collections: tuple[str, ...]
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    calls_per_s: int | None
    bytes_per_day: int | None
    bytes_today: int


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was made. secret: what its holder passes as api_key; it is said only here."""

    info: KeyInfo
    secret: str

    def __repr__(self) -> str:
        return f"NewKey({self.info.id!r})"


class Keys:
    """The part of a client that speaks of API keys. All of it takes a key with the action admin."""

    _transport: Transport

    def create_key(
        self,
        name: str,
        actions: Iterable[Action],
        *,
        collections: Iterable[str] = ("*",),
        ttl_s: float | None = None,
        calls_per_s: int | None = None,
        bytes_per_day: int | None = None,
        timeout_s: float | None = None,
    ) -> NewKey:
        """Return a new API key.

        name: of its holder, for people. collections: that it is for, as calls name them, aliases
        too; "docs-*" stands for all that begin so. ttl_s: seconds until it expires, None for never.
        calls_per_s: the most calls a second; bytes_per_day: of requests, in a day (UTC).

        Raises PermissionDenied, InvalidArgument, and FailedPrecondition where the server takes
        calls without a key. Is not tried again after UNAVAILABLE: it may have been made.
        """
        request = CREATE_KEY.request(
            name=requests.checked_text(name, "a key's name"),
            actions=[_number(action) for action in _words(actions, "actions")],
            collections=_words(collections, "collections"),
            ttl_ms=0 if ttl_s is None else _milliseconds(ttl_s, "ttl_s"),
            calls_per_s=0 if calls_per_s is None else count(calls_per_s, "calls_per_s"),
            bytes_per_day=0 if bytes_per_day is None else count(bytes_per_day, "bytes_per_day"),
        )
        reply = self._transport.call(CREATE_KEY, request, timeout_s=timeout_s, retry=False)
        return NewKey(_info(reply.key), reply.secret)

    def list_keys(
        self, *, with_revoked: bool = False, timeout_s: float | None = None
    ) -> list[KeyInfo]:
        """Return the API keys in the order of their making, expired ones too."""
        request = LIST_KEYS.request(with_revoked=with_revoked)
        reply = self._transport.call(LIST_KEYS, request, timeout_s=timeout_s)
        return [_info(key) for key in reply.keys]

    def revoke_key(self, key_id: str, *, timeout_s: float | None = None) -> KeyInfo:
        """Return a key, which no call is taken with from now on.

        Raises NotFound, and FailedPrecondition for the last key that can make others.
        """
        request = REVOKE_KEY.request(id=requests.checked_text(key_id, "a key's id"))
        reply = self._transport.call(REVOKE_KEY, request, timeout_s=timeout_s)
        return _info(reply.key)

    def rotate_key(
        self, key_id: str, *, keep_s: float = 0.0, timeout_s: float | None = None
    ) -> NewKey:
        """Return a key that takes the place of another: the same but for its id and its secret.

        keep_s: seconds for which the old one goes on, so that its holder can change over. Raises
        NotFound, FailedPrecondition for one that has ended. Is not tried again after UNAVAILABLE.
        """
        request = ROTATE_KEY.request(
            id=requests.checked_text(key_id, "a key's id"),
            keep_ms=_milliseconds(keep_s, "keep_s") if keep_s else 0,
        )
        reply = self._transport.call(ROTATE_KEY, request, timeout_s=timeout_s, retry=False)
        return NewKey(_info(reply.key), reply.secret)


def _words(given: Iterable[str], name: str) -> list[str]:
    if isinstance(given, str):
        raise InvalidArgument(f"{name} is a list of strings, not one")
    return [requests.checked_text(word, name) for word in given]


def _number(action: str) -> pb.Action:
    if action not in _NUMBERS:
        raise InvalidArgument(f"action {action!r}: expected one of {', '.join(_NUMBERS)}")
    return _NUMBERS[action]


def _milliseconds(seconds: float, name: str) -> int:
    if not 0.001 <= seconds <= 1e10:
        raise InvalidArgument(f"{name} is {seconds!r}, expected 0.001 to 1e10 seconds")
    return round(seconds * 1000)


def _info(key: pb.ApiKey) -> KeyInfo:
    return KeyInfo(
        key.id,
        key.name,
        tuple(_ACTIONS.get(number, f"action {number}") for number in key.actions),
        tuple(key.collections),
        key.created_at_ms / 1000,
        key.expires_at_ms / 1000 if key.expires_at_ms else None,
        key.revoked_at_ms / 1000 if key.revoked_at_ms else None,
        key.calls_per_s or None,
        key.bytes_per_day or None,
        key.bytes_today,
    )
