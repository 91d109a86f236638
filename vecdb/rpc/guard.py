"""Who may make which call: asked before its message is read, and again once it names collections.

In a node of several processes the one that answers a call asks. A query worker that passes a call
on has only looked at whose it is; the writer, behind its private socket, asks the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from vecdb.auth.audit import AuditLog
from vecdb.auth.authenticator import Authenticator
from vecdb.auth.call import Call, Metadata, said
from vecdb.auth.keys import Keys
from vecdb.auth.scopes import ANYBODY, Principal
from vecdb.auth.usage import Usage
from vecdb.config import Config
from vecdb.rpc.access import Access, access_of

AUTHORIZATION = "authorization"
PEER = "vecdb-peer"
"""Metadata by which a query worker tells the writer whose call it passes on."""

OURS = "/vecdb.v1."
_OPEN = "/grpc.health.v1.Health/"
"""Whether a server serves is no secret: probes have no key."""

_REFUSALS = ("UNAUTHENTICATED", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED")


class Context(Protocol):
    """What is asked of a call's context, grpc.ServicerContext."""

    def invocation_metadata(self) -> Metadata | None:
        """Return what the caller sent beside the message."""

    def peer(self) -> str:
        """Return where it comes from."""


class Admission:
    """What one caller needs for one method: asked with each request, and told what came of it."""

    def __init__(
        self, access: Access, principal: Principal, usage: Usage | None, audit: AuditLog | None
    ) -> None:
        self.collections = access.collections
        self._access = access
        self._principal = principal
        self._usage = usage if principal.is_limited else None
        self._audit = audit

    def check(self, request: Any) -> None:  # noqa: ANN401
        """Raise PermissionDenied, Overloaded or QuotaExceeded for what may not be done."""
        self._access.check(self._principal, request)
        if self._usage is not None:
            size = request.ByteSize() if self._principal.bytes_per_day else 0
            self._usage.take(self._principal, size)

    def checked(self, requests: Iterator[Any], seen: dict[str, None]) -> Iterator[Any]:
        """Yield requests that may be worked on. seen: takes the collections that they name."""
        for request in requests:
            seen.update(dict.fromkeys(self.collections(request)))
            self.check(request)
            yield request

    def tell(self, call: Call, collections: Callable[[], Iterable[str]], result: str) -> None:
        """Write down a call that changes something, or was refused. result: its status."""
        if self._audit is not None and (self._access.changes or result in _REFUSALS):
            self._audit.write(
                method=call.method,
                key=call.principal.id,
                peer=call.peer,
                collections=list(collections()),
                request_id=call.request_id,
                result=result,
            )


class Guard:
    """Asks who calls, and what they need.

    is_behind: whether calls come from processes of this node alone, which say whose they are.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        usage: Usage | None = None,
        audit: AuditLog | None = None,
        *,
        is_behind: bool = False,
    ) -> None:
        self.authenticator = authenticator
        self.usage = usage
        self.audit = audit
        self._is_behind = is_behind

    def is_required(self) -> bool:
        """Return whether callers must say who they are."""
        return self.authenticator.is_required()

    def has_others(self) -> bool:
        """Return whether there are ways in beside the keys of the catalog."""
        return self.authenticator.has_others

    def principal(self, path: str, metadata: Metadata | None) -> Principal:
        """Return who makes a call. Raises Unauthenticated."""
        if path.startswith(_OPEN):
            return ANYBODY
        return self.authenticator.principal(said(metadata, AUTHORIZATION))

    def call(self, path: str, principal: Principal, context: Context) -> Call:
        """Return a call as logs know it."""
        peer = partial(_told_peer, context) if self._is_behind else context.peer
        return Call(path.removeprefix(OURS), principal, context.invocation_metadata, peer)

    def admission(self, path: str, principal: Principal) -> Admission | None:
        """Return what a caller needs for a method; None where nothing is asked or told."""
        if not path.startswith(OURS):
            return None
        access = access_of(path.removeprefix(OURS))
        if principal is ANYBODY and (self.audit is None or not access.changes):
            return None
        return Admission(access, principal, self.usage, self.audit)

    def refused(self, call: Call) -> None:
        """Write down a call of somebody who is not known."""
        if self.audit is not None:
            self.audit.write(
                method=call.method,
                key="",
                peer=call.peer,
                collections=(),
                request_id=call.request_id,
                result="UNAUTHENTICATED",
                is_stranger=True,
            )


def guard_of(config: Config, keys: Keys, *, is_behind: bool = False) -> Guard:
    """Return the guard of a process. keys: of its catalog. Raises VecdbError with what to do."""
    return Guard(
        Authenticator(config.auth, lambda: keys),
        Usage(Path(config.server.data)),
        AuditLog(Path(config.audit.file)) if config.audit.file else None,
        is_behind=is_behind,
    )


def _told_peer(context: Context) -> str:
    return said(context.invocation_metadata(), PEER) or context.peer()
