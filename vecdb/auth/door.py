"""The doors of HTTP: who comes, and whether they may, as rpc/guard.py asks it for gRPC."""

from __future__ import annotations

from vecdb.auth.audit import AuditLog
from vecdb.auth.authenticator import Authenticator
from vecdb.auth.call import Call
from vecdb.auth.scopes import Principal
from vecdb.auth.usage import Usage
from vecdb.errors import PermissionDenied, Unauthenticated, VecdbError


class Door:
    """Lets in whoever may do one kind of action. Threads share it."""

    def __init__(
        self,
        authenticator: Authenticator,
        action: str,
        usage: Usage | None = None,
        audit: AuditLog | None = None,
    ) -> None:
        self._authenticator = authenticator
        self._action = action
        self._usage = usage
        self._audit = audit

    def check(self, method: str, authorization: str, peer: str, size: int = 0) -> Principal:
        """Return who comes, with the header Authorization.

        method: what the audit log calls it. size: bytes of the request. Raises Unauthenticated,
        PermissionDenied, Overloaded, QuotaExceeded.
        """
        found: Principal | None = None
        try:
            found = self._authenticator.principal(authorization)
            found.check(self._action, None)
            if self._usage is not None and found.is_limited:
                self._usage.take(found, size)
        except VecdbError as error:
            self._write(error, found, method, peer)
            raise
        return found

    def _write(self, error: VecdbError, found: Principal | None, method: str, peer: str) -> None:
        if self._audit is None:
            return
        self._audit.write(
            method=method,
            key=found.id if found else "",
            peer=peer,
            collections=(),
            request_id=Call(method).request_id,
            result=_RESULTS.get(type(error), "RESOURCE_EXHAUSTED"),
            is_stranger=found is None,
        )


_RESULTS: dict[type[VecdbError], str] = {
    Unauthenticated: "UNAUTHENTICATED",
    PermissionDenied: "PERMISSION_DENIED",
}
