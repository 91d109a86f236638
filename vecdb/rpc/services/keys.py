"""The part of Admin that makes and ends API keys."""

from __future__ import annotations

import grpc

from vecdb.auth.keys import Keys
from vecdb.auth.scopes import ACTIONS
from vecdb.auth.usage import Usage
from vecdb.errors import FailedPrecondition, InvalidArgument
from vecdb.rpc.guard import Guard
from vecdb.rpc.pb import keys_pb2 as pb
from vecdb.storage.keys import KeyRecord

TTL_MS_MAX = 100 * 366 * 86_400_000


class KeyCalls:
    """CreateKey, ListKeys, RevokeKey, RotateKey."""

    _keys: Keys
    _guard: Guard

    def CreateKey(
        self, request: pb.CreateKeyRequest, context: grpc.ServicerContext
    ) -> pb.CreateKeyResponse:
        """Make a key."""
        if not self._guard.is_required():
            raise FailedPrecondition(
                "this server takes calls without a key: the first is not made by anybody who calls",
                hint="name one in auth.key_file, or stop the server and run vecdb keys create "
                "--data DIR",
            )
        _check_ms(request.ttl_ms, "ttl_ms")
        made = self._keys.create(
            request.name,
            [_action(number, at) for at, number in enumerate(request.actions)],
            request.collections,
            ttl_ms=request.ttl_ms,
            calls_per_s=request.calls_per_s,
            bytes_per_day=request.bytes_per_day,
        )
        return pb.CreateKeyResponse(key=self._message(made.record), secret=made.secret)

    def ListKeys(
        self, request: pb.ListKeysRequest, context: grpc.ServicerContext
    ) -> pb.ListKeysResponse:
        """Return the keys."""
        keys = [
            self._message(one)
            for one in self._keys.all()
            if request.with_revoked or not one.revoked_at_ms
        ]
        return pb.ListKeysResponse(keys=keys)

    def RevokeKey(
        self, request: pb.RevokeKeyRequest, context: grpc.ServicerContext
    ) -> pb.RevokeKeyResponse:
        """End a key."""
        revoked = self._keys.revoke(request.id, others=self._guard.has_others())
        return pb.RevokeKeyResponse(key=self._message(revoked))

    def RotateKey(
        self, request: pb.RotateKeyRequest, context: grpc.ServicerContext
    ) -> pb.RotateKeyResponse:
        """Make a key in place of another."""
        _check_ms(request.keep_ms, "keep_ms")
        made = self._keys.rotate(request.id, request.keep_ms)
        return pb.RotateKeyResponse(key=self._message(made.record), secret=made.secret)

    def _message(self, record: KeyRecord) -> pb.ApiKey:
        usage: Usage | None = self._guard.usage
        used = usage.bytes_today(record.number) if usage and record.bytes_per_day else 0
        return pb.ApiKey(
            id=record.id,
            name=record.name,
            actions=[_number(action) for action in record.actions],
            collections=record.collections,
            created_at_ms=record.created_at_ms,
            expires_at_ms=record.expires_at_ms,
            revoked_at_ms=record.revoked_at_ms,
            calls_per_s=record.calls_per_s,
            bytes_per_day=record.bytes_per_day,
            bytes_today=used,
        )


def _number(action: str) -> pb.Action:
    number: pb.Action = pb.Action.Value(f"ACTION_{action.upper()}")  # type: ignore[assignment]
    return number


_NAMES = {_number(action): action for action in ACTIONS}


def _action(number: pb.Action, at: int) -> str:
    if number not in _NAMES:
        raise InvalidArgument(
            f"actions[{at}] is none that this server knows", field=f"actions[{at}]"
        )
    return _NAMES[number]


def _check_ms(value: int, field: str) -> None:
    if value > TTL_MS_MAX:
        raise InvalidArgument(
            f"{field} is {value}, expected at most {TTL_MS_MAX}: a hundred years", field=field
        )
