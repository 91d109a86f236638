"""What a collection's name, metadata and schema may be."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vecdb.analysis import LANGUAGES
from vecdb.config import LimitsConfig
from vecdb.errors import (
    AlreadyExists,
    DimensionMismatch,
    FailedPrecondition,
    InvalidArgument,
    LimitExceeded,
    SchemaMismatch,
)
from vecdb.multi import MultiSpace
from vecdb.segment.fields import PATH_CHARACTERS_MAX
from vecdb.storage.numbered import SchemaChange
from vecdb.storage.shadows import twins, without_shadows
from vecdb.types import Schema, Space, TextField
from vecdb.write.payload import json_object

K1_MAX = 100.0

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


def is_name(name: str) -> bool:
    """Return whether a collection, or an alias, can be called that."""
    return _NAME.fullmatch(name) is not None


def check_name(name: str, what: str, field: str) -> None:
    """Raise InvalidArgument unless a collection, or an alias, can be called that."""
    if not is_name(name):
        raise InvalidArgument(
            f"{what} has 1 to 128 letters, digits, '_', '-' or '.', the first of them a letter or "
            f"digit; got {name!r}",
            field=field,
        )


def check_metadata(metadata: bytes, limits: LimitsConfig, field: str) -> None:
    """Raise LimitExceeded or BadPayload unless a collection may have this metadata; b"" is none."""
    if len(metadata) > limits.metadata_bytes:
        raise LimitExceeded(
            f"the metadata has {len(metadata)} bytes, the limit is {limits.metadata_bytes}",
            field=field,
            hint="raise limits.metadata_bytes, or keep it as a point",
        )
    if metadata:
        json_object(metadata, "the metadata", field)


def check_schema(
    schema: Schema,
    limits: LimitsConfig,
    spaces: str = "collection.spaces",
    text_fields: str = "collection.text_fields",
) -> None:
    """Raise InvalidArgument, LimitExceeded or DimensionMismatch unless a collection may have it.

    spaces, text_fields: the fields of the request that name them.
    """
    least = 0 if schema.text_fields else 1
    count = len(without_shadows(schema).all_spaces)
    if not least <= count <= limits.spaces:
        raise LimitExceeded(
            f"a collection has {least} to {limits.spaces} spaces, got {count}",
            field=spaces,
            hint="raise limits.spaces" if schema.all_spaces else "",
        )
    _check_text_fields(schema.text_fields, limits, text_fields)
    for one in schema.all_spaces:
        if len(one.name.encode()) > 128 or "\0" in one.name:
            raise InvalidArgument(
                f"space name {one.name!r}: at most 128 bytes without NUL",
                field=spaces,
            )
    numbers: tuple[Space | MultiSpace, ...] = (*schema.spaces, *schema.multi_spaces)
    for space in numbers:
        if not 1 <= space.dim <= limits.dim:
            kind = "dense" if isinstance(space, Space) else "multi_dense"
            wrong = DimensionMismatch if space.dim < 1 else LimitExceeded
            raise wrong(
                f"space {space.name!r}: dim is 1 to {limits.dim}, got {space.dim}",
                field=f"{spaces}[{space.name!r}].{kind}.dim",
                hint="" if space.dim < 1 else "raise limits.dim",
            )


def check_change(schema: Schema, change: SchemaChange) -> None:
    """Raise InvalidArgument or AlreadyExists unless a schema can be changed so."""
    spaces, paths = {one.name for one in schema.all_spaces}, {f.path for f in schema.text_fields}
    _check_drops(spaces, change.drop_spaces, "space", "drop_spaces")
    _check_drops(paths, change.drop_text_fields, "text field", "drop_text_fields")
    for name in (one.name for one in change.added):
        if name in spaces.difference(change.drop_spaces):
            raise _is_there(f"space {name!r}", f"add_spaces[{name!r}]")
    for at, path in enumerate([one.path for one in change.add_text_fields]):
        if path in paths.difference(change.drop_text_fields):
            raise _is_there(f"text field {path!r}", f"add_text_fields[{at}]")


def check_shadows_stay(schema: Schema, drops: Sequence[str]) -> None:
    """Raise FailedPrecondition for spaces that are being moved to another model, and shadows."""
    for at, name in enumerate(drops):
        if name in twins(schema):
            raise FailedPrecondition(
                f"space {name!r} and {twins(schema)[name]!r} are one being moved to another model",
                field=f"drop_spaces[{at}]",
                hint="end that by Models.Reembed: finish once it was switched, or cancel",
            )


def _check_drops(known: set[str], dropped: Sequence[str], what: str, field: str) -> None:
    for at, name in enumerate(dropped):
        if name not in known or name in dropped[:at]:
            there = ", ".join(map(repr, sorted(known))) or "none"
            why = "comes twice" if name in known else f"is not there: the collection has {there}"
            raise InvalidArgument(f"{what} {name!r} {why}", field=f"{field}[{at}]")


def _is_there(what: str, field: str) -> AlreadyExists:
    return AlreadyExists(
        f"{what} is there already",
        field=field,
        hint="drop it in the same call to begin anew",
    )


def _check_text_fields(fields: Sequence[TextField], limits: LimitsConfig, where: str) -> None:
    """Raise InvalidArgument or LimitExceeded unless a collection may have these text fields."""
    if len(fields) > limits.text_fields:
        raise LimitExceeded(
            f"a collection has up to {limits.text_fields} text fields, got {len(fields)}",
            field=where,
            hint="raise limits.text_fields, or make several collections",
        )
    paths = [field.path for field in fields]
    for at, field in enumerate(fields):
        if not 1 <= len(field.path) <= PATH_CHARACTERS_MAX or paths.index(field.path) != at:
            raise InvalidArgument(
                f"text field {field.path[:40]!r}: paths have 1 to {PATH_CHARACTERS_MAX} "
                "characters, and none comes twice",
                field=where,
            )
        if field.language and field.language not in LANGUAGES:
            raise InvalidArgument(
                f"text field {field.path!r}: no language {field.language!r}; there are "
                f"{', '.join(sorted(LANGUAGES))}, and '' for none",
                field=where,
            )
        if not (0 <= field.k1 <= K1_MAX and 0 <= field.b <= 1):
            raise InvalidArgument(
                f"text field {field.path!r}: k1 is 0 to {K1_MAX} and b 0 to 1, "
                f"got {field.k1} and {field.b}",
                field=where,
            )


def check_same(name: str, there: Schema, asked: Schema) -> None:
    """Raise SchemaMismatch unless a collection that is there has the schema asked for."""
    if without_shadows(there) == asked:
        return
    raise SchemaMismatch(
        f"collection {name!r} exists with another schema",
        hint="delete it first, or ask for the schema it has",
        expected=there,
        got=asked,
    )
