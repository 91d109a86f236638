"""The call that a thread is working on: its method, its caller, and the id that logs give it."""

from __future__ import annotations

import contextvars
import itertools
import os
import re
from collections.abc import Callable, Iterable

from vecdb.auth.scopes import ANYBODY, Principal

REQUEST_ID = "vecdb-request-id"
"""Metadata by which a caller may name a call, and by which a call that failed is named."""

_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_PROCESS = os.urandom(6).hex()
_numbers = itertools.count(1)

Metadata = Iterable[tuple[str, str | bytes]]


def said(metadata: Metadata | None, name: str) -> str:
    """Return what metadata says under a name, "" for nothing."""
    for key, value in metadata or ():
        if key == name and isinstance(value, str):
            return value
    return ""


def new_request_id() -> str:
    """Return an id that no other call of any process has."""
    return f"{_PROCESS}-{next(_numbers):x}"


class Call:
    """A call. Cheap to make: what is seldom wanted is found when it is asked for."""

    __slots__ = ("_metadata", "_peer", "_request_id", "method", "principal")

    def __init__(
        self,
        method: str,
        principal: Principal = ANYBODY,
        metadata: Callable[[], Metadata | None] = tuple,
        peer: Callable[[], str] = str,
    ) -> None:
        """Take what is known of it. method: such as ``Points/Write``."""
        self.method = method
        self.principal = principal
        self._metadata = metadata
        self._peer = peer
        self._request_id = ""

    @property
    def request_id(self) -> str:
        """What logs call it: the caller's own word for it, where that is a short one."""
        if not self._request_id:
            theirs = said(self._metadata(), REQUEST_ID)
            self._request_id = theirs if _ID.fullmatch(theirs) else new_request_id()
        return self._request_id

    @property
    def peer(self) -> str:
        """The address that it came from."""
        return self._peer()


_current: contextvars.ContextVar[Call | None] = contextvars.ContextVar("call", default=None)

enter = _current.set
"""Begin to work on a call, in this thread; returns what `leave` takes."""

leave = _current.reset
"""Work on what was worked on before."""

current = _current.get
"""Return the call that this thread works on, or None."""


def caller() -> Principal:
    """Return who the current call is of; ANYBODY outside of one."""
    call = _current.get()
    return ANYBODY if call is None else call.principal


def request_id() -> str:
    """Return the id of the call that this thread works on, or ""."""
    call = _current.get()
    return "" if call is None else call.request_id
