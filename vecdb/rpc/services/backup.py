"""Backup and Restore on the wire: the same objects, in two directions."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from vecdb.backup.making import Backups, CopiedCollection, ObjectBegin
from vecdb.backup.manifest import Object
from vecdb.backup.restoring import Choice, Restoring
from vecdb.database import Database
from vecdb.errors import InvalidArgument, LimitExceeded
from vecdb.rpc.pb import backup_pb2 as pb

HELD_MAX = 1_000_000
SAID_BYTES = 8 << 20
"""How much is received between two words about it."""


def backup(
    backups: Backups, request: pb.BackupRequest, context: grpc.ServicerContext
) -> Iterator[pb.BackupResponse]:
    """Yield a backup, its manifest at the end."""
    if len(request.held) > HELD_MAX:
        raise LimitExceeded(
            f"held: {len(request.held)} objects, the limit is {HELD_MAX}", field="held"
        )
    held = {one.hex() for one in request.held}
    for part in backups.take(request.collections, held, context.is_active):
        if isinstance(part, bytes):
            yield pb.BackupResponse(chunk=part)
        elif isinstance(part, ObjectBegin):
            yield pb.BackupResponse(
                object=pb.BackupObject(
                    sha256=bytes.fromhex(part.object.sha256),
                    bytes=part.object.size,
                    manifest=part.manifest,
                )
            )
        else:
            yield pb.BackupResponse(collection=_copied(part))


def _copied(part: CopiedCollection) -> pb.BackupCollection:
    return pb.BackupCollection(
        name=part.name,
        number=part.number,
        count=part.count,
        bytes=part.bytes,
        sent_bytes=part.sent_bytes,
        left_out=part.left_out,
    )


def restore(
    database: Database, requests: Iterator[pb.RestoreRequest], context: grpc.ServicerContext
) -> Iterator[pb.RestoreResponse]:
    """Yield how far a restore is, then what was verified, then what is there."""
    first = next(requests, None)
    if first is None or first.WhichOneof("kind") != "begin":
        raise InvalidArgument("the first message of a restore is `begin`", field="begin")
    begin = first.begin
    choice = Choice(tuple(begin.collections), begin.new_name, begin.replace, begin.aliases)
    restoring = Restoring(database, choice, context.is_active)
    try:
        yield pb.RestoreResponse(received_bytes=0)
        yield from _received(restoring, requests)
        for each in restoring.verify():
            yield pb.RestoreResponse(
                verified=pb.VerifiedCollection(
                    name=each.name,
                    points=each.points,
                    rebuilt_segments=each.rebuilt,
                    findings=each.findings,
                )
            )
        for one in restoring.commit():
            yield pb.RestoreResponse(
                restored=pb.RestoredCollection(
                    name=one.name,
                    source=one.source,
                    points=one.restored.points,
                    commit_seq=one.restored.seq,
                    replaced=one.restored.replaced,
                )
            )
    finally:
        restoring.close()


def _received(
    restoring: Restoring, requests: Iterator[pb.RestoreRequest]
) -> Iterator[pb.RestoreResponse]:
    said = 0
    for request in requests:
        kind = request.WhichOneof("kind")
        if kind == "object":
            one = Object(request.object.sha256.hex(), request.object.bytes)
            restoring.begin(one, manifest=request.object.manifest)
        elif kind == "chunk":
            restoring.add(request.chunk)
        else:
            raise InvalidArgument("expected `object` or `chunk`", field=kind or "kind")
        if restoring.received_bytes - said >= SAID_BYTES:
            said = restoring.received_bytes
            yield pb.RestoreResponse(received_bytes=said)
    yield pb.RestoreResponse(received_bytes=restoring.received_bytes)
