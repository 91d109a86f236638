"""What a backup consists of, as its manifest says it: read with distrust, written in one form.

A manifest may come from anywhere: every name in it is of an allow-list, every number is bounded,
and no path is ever taken from it.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
import uuid
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar, cast

from vecdb import __version__
from vecdb.errors import Corrupt, FormatTooNew, NotFound
from vecdb.storage.catalog import CatalogEntry
from vecdb.storage.codec import FORMAT_VERSION as DATA_FORMAT
from vecdb.storage.codec import to_json
from vecdb.storage.numbered import NumberedSchema
from vecdb.write.schema import is_name

FORMAT_VERSION = 1
MANIFEST_BYTES_MAX = 256 << 20
"""Some 20,000 collections with 10 segments each."""
_OBJECT_BYTES_MAX = 1 << 46
_SHOWN = 10
_SEGMENT_FILE = re.compile(r"manifest\.json|[a-z0-9-]{1,64}\.npy")
_ID = re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{3}Z-[0-9a-f]{8}")
ID_CHARS = 29
_SHA256 = re.compile(r"[0-9a-f]{64}")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Object:
    """A file of a backup, by what is in it. sha256: in hexadecimal."""

    sha256: str
    size: int

    @classmethod
    def of(cls, content: bytes) -> Object:
        """Return the object of some bytes."""
        return cls(hashlib.sha256(content).hexdigest(), len(content))


@dataclass(frozen=True, slots=True)
class SegmentCopy:
    """A segment's files by name."""

    number: int
    files: dict[str, Object]


@dataclass(frozen=True, slots=True)
class CollectionCopy:
    """A collection, as it was at a seq of its log.

    schema: as the catalog keeps it. chain: hash over the log up to seq. metadata: JSON or "".
    """

    name: str
    uuid: str
    created_at_ms: int
    schema: dict[str, Any]
    metadata: str
    ttl_ms: int
    seq: int
    chain: str
    points: int
    store: Object
    segments: tuple[SegmentCopy, ...] = ()

    def objects(self) -> list[Object]:
        """Return all files, some maybe twice."""
        return [self.store, *(one for each in self.segments for one in each.files.values())]

    def entry(self) -> CatalogEntry:
        """Return the collection as a catalog has it. Raises Corrupt."""
        try:
            schema = NumberedSchema.from_plain(self.schema)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise _bad(
                f"collections: the schema of {self.name!r} cannot be read: {error!r}"
            ) from None
        return CatalogEntry(
            self.name,
            self.uuid,
            self.created_at_ms,
            schema,
            self.metadata.encode(),
            ttl_ms=self.ttl_ms,
        )


@dataclass(frozen=True, slots=True)
class Manifest:
    """A backup. catalog: its own file, where all collections were to be in it.

    aliases: of collections in it. left_out: collections that could not be read, and why.
    """

    id: str
    created_at_ms: int
    collections: tuple[CollectionCopy, ...]
    aliases: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    catalog: Object | None = None
    vecdb: str = __version__
    format: int = FORMAT_VERSION
    data_format: int = DATA_FORMAT

    def objects(self) -> dict[str, Object]:
        """Return all files by sha256."""
        found = {one.sha256: one for each in self.collections for one in each.objects()}
        if self.catalog is not None:
            found[self.catalog.sha256] = self.catalog
        return found

    @property
    def size(self) -> int:
        """How many bytes it has, each object counted once."""
        return sum(one.size for one in self.objects().values())

    def encode(self) -> bytes:
        """Return the manifest as JSON, in the one form that it has."""
        return to_json(asdict(self))

    def chosen(self, names: list[str]) -> tuple[CollectionCopy, ...]:
        """Return the collections of some names, all of them for none. Raises NotFound."""
        if not names:
            return self.collections
        by_name = {one.name: one for one in self.collections}
        found: dict[str, CollectionCopy] = {}
        for name in names:
            one = by_name.get(self.aliases.get(name, name))
            if one is None:
                why = self.left_out.get(name, "")
                raise NotFound(
                    f"the backup has no collection {name!r}{': ' if why else ''}{why}",
                    hint=f"it has {', '.join(list(by_name)[:_SHOWN]) or 'none'}",
                )
            found[one.name] = one
        return tuple(found.values())


def new_id() -> str:
    """Return the id of a backup that begins now: they sort by time, to the millisecond."""
    now_s, ms = divmod(time.time_ns() // 1_000_000, 1_000)
    moment = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now_s))
    return f"{moment}.{ms:03}Z-{uuid.uuid4().hex[:8]}"


def is_segment_file(name: str) -> bool:
    """Return whether a file of a segment can be called that."""
    return _SEGMENT_FILE.fullmatch(name) is not None


def is_id(text: str) -> bool:
    """Return whether a text can be a backup's id."""
    return _ID.fullmatch(text) is not None


def is_sha256(text: str) -> bool:
    """Return whether a text can be an object's name."""
    return _SHA256.fullmatch(text) is not None


def digest_of(encoded: bytes) -> bytes:
    """Return what names a manifest in a catalog's log."""
    return hashlib.sha256(encoded).digest()


def decode_manifest(encoded: bytes) -> Manifest:
    """Return the manifest of its JSON. Raises Corrupt that says what is wrong, and FormatTooNew."""
    try:
        plain = json.loads(encoded)
    except (ValueError, RecursionError):
        raise _bad("no JSON") from None
    version = _get(plain, "format", int, "")
    for name, given, known in (
        ("format", version, FORMAT_VERSION),
        ("data_format", _get(plain, "data_format", int, ""), DATA_FORMAT),
    ):
        if given > known:
            raise FormatTooNew(
                f"the backup's {name} is {given}, this vecdb reads up to {known}",
                hint=f"restore it with vecdb {_get(plain, 'vecdb', str, '')}, or a later one",
            )
    listed = _get(plain, "collections", list, "")
    collections = tuple(_collection(one, f"collections[{at}]") for at, one in enumerate(listed))
    names = {one.name for one in collections}
    if len(names) < len(collections):
        raise _bad("collections: a name stands twice")
    aliases = _get(plain, "aliases", dict, "")
    for alias, target in aliases.items():
        if not (is_name(alias) and target in names and alias not in names):
            raise _bad(f"aliases: {alias!r} cannot be")
    identity = _get(plain, "id", str, "")
    if not is_id(identity):
        raise _bad(f"id: {identity[:64]!r} is none")
    catalog = plain.get("catalog")
    made = Manifest(
        identity,
        _count(plain, "created_at_ms", ""),
        collections,
        aliases,
        _get(plain, "left_out", dict, ""),
        None if catalog is None else _object(catalog, "catalog"),
        _get(plain, "vecdb", str, "")[:64],
        version,
        plain["data_format"],
    )
    _check_sizes(made)
    return made


def _check_sizes(made: Manifest) -> None:
    sizes: dict[str, int] = {}
    for one in made.collections:
        for each in one.objects():
            if sizes.setdefault(each.sha256, each.size) != each.size:
                raise _bad(f"object {each.sha256} has two sizes")


def _collection(plain: object, where: str) -> CollectionCopy:
    name, uuid_ = _get(plain, "name", str, where), _get(plain, "uuid", str, where)
    if not is_name(name):
        raise _bad(f"{where}: {name[:64]!r} is no collection's name")
    if re.fullmatch(r"[0-9a-f]{32}", uuid_) is None:
        raise _bad(f"{where}: the uuid is none")
    listed = _get(plain, "segments", list, where)
    segments = tuple(_segment(one, f"{where}.segments[{n}]") for n, one in enumerate(listed))
    if len({one.number for one in segments}) < len(segments):
        raise _bad(f"{where}: a segment stands twice")
    made = CollectionCopy(
        name,
        uuid_,
        _count(plain, "created_at_ms", where),
        _get(plain, "schema", dict, where),
        _get(plain, "metadata", str, where),
        _count(plain, "ttl_ms", where),
        _count(plain, "seq", where),
        _get(plain, "chain", str, where),
        _count(plain, "points", where),
        _object(cast(dict[str, Any], plain).get("store"), f"{where}.store"),
        segments,
    )
    made.entry()
    return made


def _segment(plain: object, where: str) -> SegmentCopy:
    files = _get(plain, "files", dict, where)
    for name in files:
        if not is_segment_file(name):
            raise _bad(f"{where}: {name[:64]!r} is no file of a segment")
    number = _count(plain, "number", where)
    return SegmentCopy(number, {n: _object(one, f"{where}.{n}") for n, one in files.items()})


def _object(plain: object, where: str) -> Object:
    sha256, size = _get(plain, "sha256", str, where), _count(plain, "size", where)
    if not is_sha256(sha256):
        raise _bad(f"{where}: the sha256 is none")
    if size > _OBJECT_BYTES_MAX:
        raise _bad(f"{where}: {size} bytes are more than there can be")
    return Object(sha256, size)


def _count(plain: object, key: str, where: str) -> int:
    value = _get(plain, key, int, where)
    if not 0 <= value < 1 << 64:
        raise _bad(f"{where}.{key}: {value} is out of bounds")
    return value


def _get(plain: object, key: str, kind: type[T], where: str) -> T:
    value = plain.get(key) if isinstance(plain, dict) else None
    if type(value) is not kind:
        raise _bad(f"{where}{'.' if where else ''}{key}: expected {kind.__name__}")
    return value


def _bad(what: str) -> Corrupt:
    return Corrupt(f"the backup's manifest.json is damaged: {what}", hint="restore another backup")
