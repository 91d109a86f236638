"""Backups as a client sees them: objects, the manifest last, out of a server and into one.

What to keep of it and where is the caller's; `vecdb backup` writes folders, archives and buckets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from vecdb_client import requests
from vecdb_client.pb import backup_pb2 as pb
from vecdb_client.protocol import BACKUP, CHECK, RESTORE
from vecdb_client.transport import Transport
from vecdb_client.wire import next_of

_CHUNK_BYTES: Final = 48 << 10
"""Of a message to a server, which takes ones of 64 KiB whatever it is configured to."""


@dataclass(frozen=True, slots=True)
class BackupCollection:
    """A collection whose objects come next.

    number: from 1 to count. size: bytes of all its files, sent: of those that come.
    left_out: why it cannot be in the backup, or "".
    """

    name: str
    number: int
    count: int
    size: int
    sent: int
    left_out: str = ""


@dataclass(frozen=True, slots=True)
class BackupObject:
    """An object, whose bytes come next. sha256: in hexadecimal. manifest: the last one is."""

    sha256: str
    size: int
    manifest: bool = False


BackupPart: TypeAlias = BackupCollection | BackupObject | bytes


@dataclass(frozen=True, slots=True)
class VerifiedCollection:
    """A collection of a backup that can be restored; nothing has changed by then.

    rebuilt_segments: whose files are not what the store promises. findings: what was wrong with
    its records when it was backed up.
    """

    name: str
    points: int
    rebuilt_segments: int
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RestoredCollection:
    """A collection that is there again. source: its name in the backup."""

    name: str
    source: str
    points: int
    commit_seq: int
    replaced: bool


RestoreStep: TypeAlias = int | VerifiedCollection | RestoredCollection
"""Bytes that the server has received, or what it has done."""


@dataclass(frozen=True, slots=True)
class CheckFinding:
    """What does not hold together, in words."""

    collection: str
    text: str


@dataclass(frozen=True, slots=True)
class CheckProgress:
    """How far the check of a collection is, in points."""

    collection: str
    done: int
    points: int


@dataclass(frozen=True, slots=True)
class CheckedCollection:
    """A collection that was read through."""

    collection: str
    points: int
    findings: int


CheckStep: TypeAlias = CheckFinding | CheckProgress | CheckedCollection


class Backups:
    """The part of a client that backs up, restores and checks."""

    _transport: Transport

    def backup(
        self, collections: Iterable[str] = (), *, held: Iterable[str] = ()
    ) -> Iterator[BackupPart]:
        """Yield a backup: an object, its bytes in pieces, the next object; last the manifest.

        collections: names or aliases, none for all. held: objects of earlier backups by sha256,
        which are not sent again. Others read and write meanwhile; each collection is as it was at
        one moment. It is one attempt, and without the manifest there is no backup.
        Raises NotFound, DataLoss, Overloaded while another one is under way.
        """
        request = BACKUP.request(
            collections=requests.text_list(collections, "a collection's name"),
            held=[bytes.fromhex(one) for one in held],
        )
        for reply in self._transport.stream(BACKUP, request):
            yield _part(reply)

    def restore(
        self,
        parts: Iterable[BackupPart],
        collections: Iterable[str] = (),
        *,
        new_name: str = "",
        replace: bool = False,
        aliases: bool = False,
        progress: Callable[[RestoreStep], object] | None = None,
    ) -> list[RestoredCollection]:
        """Return the collections that are there again, once all of what backup() gave was sent.

        collections: of those in the backup, none for all; objects of others need not be sent.
        new_name: of the only one. replace: collections of these names, each at once for all who
        read and write; AlreadyExists otherwise. aliases: of the backup, where they are not there.
        progress: told of each step. Everything is verified before anything changes: DataLoss says
        what is damaged. Is not tried again after UNAVAILABLE: parts are read only once.
        """
        begin = pb.RestoreBegin(
            collections=requests.text_list(collections, "a collection's name"),
            new_name=requests.checked_text(new_name, "a collection's name"),
            replace=replace,
            aliases=aliases,
        )
        sender = _Sender(begin, parts)
        done: list[RestoredCollection] = []
        try:
            for reply in self._transport.duplex(RESTORE, sender.requests()):
                step = _step(reply)
                if isinstance(step, RestoredCollection):
                    done.append(step)
                if progress is not None:
                    progress(step)
        finally:
            if sender.failure is not None:
                raise sender.failure
        return done

    def check(self, collections: Iterable[str] = ()) -> Iterator[CheckStep]:
        """Yield what is wrong with collections, and how far the check is; none for all.

        The server reads everything and compares what stands twice, while others read and write;
        that may take long. It changes nothing: `vecdb check --repair` does, while it is stopped.
        """
        request = CHECK.request(collections=requests.text_list(collections, "a collection's name"))
        for reply in self._transport.stream(CHECK, request):
            yield _check_step(reply)


class _Sender:
    """What is sent, beside the caller. failure: what the caller's iterator raised."""

    def __init__(self, begin: pb.RestoreBegin, parts: Iterable[BackupPart]) -> None:
        self._requests = _requests_of(begin, parts)
        self.failure: BaseException | None = None

    def requests(self) -> Iterator[pb.RestoreRequest]:
        """Yield the parts as requests."""
        try:
            while (request := next_of(self._requests)) is not None:
                yield request
        except Exception as error:
            self.failure = error  # the server misses the manifest, and restores nothing


def _requests_of(
    begin: pb.RestoreBegin, parts: Iterable[BackupPart]
) -> Iterator[pb.RestoreRequest]:
    yield pb.RestoreRequest(begin=begin)
    for part in parts:
        if isinstance(part, BackupObject):
            sha256 = bytes.fromhex(part.sha256)
            one = pb.BackupObject(sha256=sha256, bytes=part.size, manifest=part.manifest)
            yield pb.RestoreRequest(object=one)
        elif not isinstance(part, BackupCollection):
            for at in range(0, len(part), _CHUNK_BYTES):
                yield pb.RestoreRequest(chunk=part[at : at + _CHUNK_BYTES])


def _part(reply: pb.BackupResponse) -> BackupPart:
    kind = reply.WhichOneof("kind")
    if kind == "chunk":
        return reply.chunk
    if kind == "object":
        one = reply.object
        return BackupObject(one.sha256.hex(), one.bytes, one.manifest)
    of = reply.collection
    return BackupCollection(of.name, of.number, of.count, of.bytes, of.sent_bytes, of.left_out)


def _step(reply: pb.RestoreResponse) -> RestoreStep:
    kind = reply.WhichOneof("kind")
    if kind == "verified":
        one = reply.verified
        return VerifiedCollection(one.name, one.points, one.rebuilt_segments, tuple(one.findings))
    if kind == "restored":
        back = reply.restored
        return RestoredCollection(
            back.name, back.source, back.points, back.commit_seq, back.replaced
        )
    return reply.received_bytes


def _check_step(reply: pb.CheckResponse) -> CheckStep:
    kind = reply.WhichOneof("kind")
    if kind == "finding":
        found = reply.finding
        return CheckFinding(found.collection, found.text)
    if kind == "checked":
        done = reply.checked
        return CheckedCollection(done.collection, done.points, done.findings)
    far = reply.progress
    return CheckProgress(far.collection, far.done_points, far.points)
