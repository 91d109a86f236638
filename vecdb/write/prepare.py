"""From a client's operations to a complete command; what is wrong is refused here, by name.

After this, applying cannot fail for what the client sent: vectors are finite, of their space's
length, and short enough that float32 can hold every product of two of them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import numpy as np

from vecdb.config import LimitsConfig
from vecdb.errors import (
    DimensionMismatch,
    InvalidArgument,
    LimitExceeded,
    NotFinite,
    VecdbError,
    ZeroVector,
)
from vecdb.storage.command import (
    Column,
    Deletes,
    Expected,
    PatchedVector,
    Patches,
    Puts,
    Refused,
    Run,
    WriteCommand,
)
from vecdb.storage.numbered import numbers_of
from vecdb.storage.shadows import twins
from vecdb.storage.sparse import encode_sparse
from vecdb.types import F32, Delete, Metric, Op, Patch, PayloadEdits, Put, Schema, Space
from vecdb.write.expiry import expiry_of
from vecdb.write.multi import checked_multi, multi_columns
from vecdb.write.payload import check_edits, check_payload
from vecdb.write.sparse import LENGTH_MAX, checked_sparse, sparse_columns

ID_BYTES_MAX = 256

KINDS: dict[type[Op], str] = {Put: "put", Delete: "delete", Patch: "patch"}
"""What requests and metrics call an operation."""


def prepare(
    ops: Sequence[Op],
    schema: Schema,
    limits: LimitsConfig,
    *,
    refused: dict[int, VecdbError] | None = None,
    truncated: dict[int, list[str]] | None = None,
    atomic: bool = False,
    idempotency_key: str = "",
    request_digest: bytes = b"",
    now_ms: int = 0,
    ttl_ms: int = 0,
    in_step: bool = True,
) -> WriteCommand:
    """Return the command of a write: its good operations, and what was refused and why.

    refused: operations known to be wrong already, by position. truncated: those whose text was
    cut, with the spaces. now_ms: the time, by which points expire. ttl_ms: of puts that say
    nothing, 0 for ever. in_step: a patch of a vector removes that of the space's shadow, which is
    of another text by then, unless it names that too. Raises LimitExceeded for the request as a
    whole, and when atomic the first operation's error, its field naming the row.
    """
    check_batch(len(ops), limits)
    if len(idempotency_key.encode("utf-8", "surrogatepass")) > ID_BYTES_MAX:
        raise LimitExceeded(
            f"an idempotency key has at most {ID_BYTES_MAX} bytes", field="idempotency_key"
        )
    wrong: dict[int, VecdbError] = dict(refused or {})
    matrices, expiries = _judged(ops, schema, limits, wrong, now_ms)
    assert now_ms or not ttl_ms, "a ttl counts from some time"
    if atomic and wrong:
        first = min(wrong)
        raise wrong[first].of_operation(first)
    return WriteCommand(
        tuple(
            _runs(
                ops,
                wrong,
                matrices,
                numbers_of(schema),
                twins(schema) if in_step else {},
                limits,
                expiries,
                now_ms + ttl_ms if ttl_ms else 0,
            )
        ),
        tuple(Refused(at, error.reason, str(error)) for at, error in sorted(wrong.items())),
        tuple((at, tuple(cut)) for at, cut in sorted((truncated or {}).items()) if at not in wrong),
        idempotency_key,
        request_digest,
        atomic,
        now_ms,
    )


def check_op(op: Op, schema: Schema, limits: LimitsConfig, now_ms: int) -> None:
    """Raise what is wrong with an operation, as prepare would find it."""
    wrong: dict[int, VecdbError] = {}
    _judged([op], schema, limits, wrong, now_ms)
    if wrong:
        raise wrong[0]


def _judged(
    ops: Sequence[Op],
    schema: Schema,
    limits: LimitsConfig,
    wrong: dict[int, VecdbError],
    now_ms: int,
) -> tuple[dict[str, _Rows], dict[int, int]]:
    """Return the vectors of all good operations, and the expiry of each that says one.

    Adds to `wrong` what the others are.
    """
    expiries: dict[int, int] = {}  # by position
    for position, op in enumerate(ops):
        if position in wrong:
            continue
        try:
            check_id(op.id, f"{KINDS[type(op)]}.id")
            if not isinstance(op, Delete):
                _check_content(op, schema, limits)
                expiry = expiry_of(op, now_ms, KINDS[type(op)])
                if expiry is not None:
                    expiries[position] = expiry
        except VecdbError as error:
            wrong[position] = error
    return _matrices(ops, schema, wrong), expiries


def check_batch(count: int, limits: LimitsConfig, field: str = "ops") -> None:
    """Raise unless a request has at least one item, and not too many."""
    if not count:
        raise InvalidArgument(f"{field} is empty: expected at least one", field=field)
    if count > limits.batch_items:
        raise LimitExceeded(
            f"{field} has {count} items, the limit is {limits.batch_items}",
            field=field,
            hint="send several requests, or raise limits.batch_items",
        )


def check_id(name: str, field: str = "id") -> None:
    """Raise InvalidArgument unless it is a point id: 1 to 256 bytes of UTF-8 without NUL."""
    try:
        size = len(name) if name.isascii() else len(name.encode())
    except UnicodeEncodeError:
        raise InvalidArgument(f"the id {name!r} is not valid Unicode", field=field) from None
    if not 1 <= size <= ID_BYTES_MAX:
        raise InvalidArgument(
            f"the id has {size} bytes, expected 1 to {ID_BYTES_MAX}", field=field, got=size
        )
    if "\0" in name:
        raise InvalidArgument(f"the id {name!r} holds a NUL character", field=field)


def check_vector(vector: F32, space: Space, field: str = "vector") -> None:
    """Raise unless a vector may be compared in its space."""
    if vector.shape != (space.dim,):
        raise _dimension_mismatch(space, vector.size, field)
    for _, error in _wrong_rows(vector.reshape(1, -1), space):
        error.field = field
        raise error


def _check_content(op: Put | Patch, schema: Schema, limits: LimitsConfig) -> None:
    _check_vectors(op, schema, limits)
    if isinstance(op, Patch):
        _check_patch(op, schema)
    elif op.payload:
        check_payload(op.payload, limits.payload_bytes, "put.payload")


def _check_vectors(op: Put | Patch, schema: Schema, limits: LimitsConfig) -> None:
    kind = KINDS[type(op)]
    for name, vector in op.vectors.items():
        space = schema.space(name)
        if space is None:
            raise unknown_space(name, schema, f"{kind}.vectors[{name!r}]")
        if len(vector) != 4 * space.dim:
            raise _dimension_mismatch(space, len(vector) / 4, f"{kind}.vectors[{name!r}]")
    for name, sparse in op.sparse.items():
        if schema.sparse_space(name) is None:
            raise unknown_space(name, schema, f"{kind}.vectors[{name!r}]", sparse=True)
        op.sparse[name] = checked_sparse(sparse, name, limits, f"{kind}.vectors[{name!r}].sparse")
    for name, multi in op.multi.items():
        multi_space = schema.multi_space(name)
        if multi_space is None:
            raise unknown_space(name, schema, f"{kind}.vectors[{name!r}]", multi=True)
        checked_multi(multi, multi_space, limits, f"{kind}.vectors[{name!r}].multi")


def _check_patch(patch: Patch, schema: Schema) -> None:
    expiry = patch.ttl_ms is not None or patch.expires_at_ms is not None
    replaced = {*patch.vectors, *patch.sparse, *patch.multi}
    if patch.edits == PayloadEdits() and not (replaced or patch.unset_vectors or expiry):
        raise InvalidArgument("the patch changes nothing: expected set, unset, vectors ...")
    if patch.if_version == 0:
        raise InvalidArgument(
            "if_version 0 means that no point has the id, and a patch needs one",
            field="if_version",
            hint="put the point instead",
        )
    check_edits(patch.edits)
    for name in patch.unset_vectors:
        if name not in {space.name for space in schema.all_spaces}:
            raise unknown_space(name, schema, "patch.unset_vectors")
        if name in replaced:
            raise InvalidArgument(
                f"space {name!r} is in vectors and in unset_vectors", field="patch.unset_vectors"
            )


def unknown_space(
    name: str, schema: Schema, field: str, *, sparse: bool = False, multi: bool = False
) -> InvalidArgument:
    """Return the error for a space that a collection does not have, or has of another kind."""
    dense, several = schema.space(name), schema.multi_space(name)
    if dense is not None and (sparse or multi):
        given = "indices" if sparse else "several vectors"
        return InvalidArgument(
            f"space {name!r} is dense: it takes {dense.dim} numbers, not {given}", field=field
        )
    if several is not None:
        return InvalidArgument(
            f"space {name!r} is multi-dense: it takes vectors (n, {several.dim})", field=field
        )
    if schema.sparse_space(name) is not None:
        return InvalidArgument(
            f"space {name!r} is sparse: it takes indices and values", field=field
        )
    known = ", ".join(repr(space.name) for space in schema.all_spaces)
    return InvalidArgument(
        f"unknown space {name!r}: the collection has {known}", field=field, expected=known, got=name
    )


def _dimension_mismatch(space: Space, got: float, field: str) -> DimensionMismatch:
    model = f" (set by model {space.model.name})" if space.model else ""
    return DimensionMismatch(
        f"space {space.name!r} expects {space.dim} dimensions{model}, got {got:g}",
        field=field,
        expected=space.dim,
        got=f"{got:g}",
    )


_Rows = tuple[list[int], F32]
"""Positions of the operations that have a vector in a space, ascending, and the vectors."""


def _matrices(ops: Sequence[Op], schema: Schema, wrong: dict[int, VecdbError]) -> dict[str, _Rows]:
    """Return per space the vectors of all good operations, once their numbers are checked."""
    found: dict[str, _Rows] = {}
    for space in schema.spaces:
        rows = [
            at
            for at, op in enumerate(ops)
            if at not in wrong and not isinstance(op, Delete) and space.name in op.vectors
        ]
        joined = b"".join([ops[at].vectors[space.name] for at in rows])  # type: ignore[union-attr]
        matrix = np.frombuffer(joined, "<f4").reshape(len(rows), space.dim)
        for row, error in _wrong_rows(matrix, space):
            error.field = f"{KINDS[type(ops[rows[row]])]}.vectors[{space.name!r}]"
            wrong[rows[row]] = error
        found[space.name] = rows, matrix.astype(np.float32, copy=False)
    return found


def _wrong_rows(matrix: F32, space: Space) -> Iterator[tuple[int, VecdbError]]:
    """Yield the rows that may not be stored, each with its error."""
    # float64 sums: the square of a float32 can neither overflow nor vanish in them.
    squares = np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64)
    good = squares <= LENGTH_MAX**2
    if space.metric is Metric.COSINE:
        good &= squares > 0
    for row in np.flatnonzero(~good):
        values = matrix[row]
        if squares[row] == 0:
            yield (
                int(row),
                ZeroVector(
                    f"a zero vector has no direction: space {space.name!r} compares by cosine"
                ),
            )
            continue
        at = int(np.flatnonzero(~np.isfinite(values))[0]) if not np.isfinite(values).all() else -1
        what = f"position {at} is {values[at]}" if at >= 0 else f"its length exceeds {LENGTH_MAX:g}"
        yield int(row), NotFinite(f"the vector for space {space.name!r} is not finite: {what}")


def _runs(
    ops: Sequence[Op],
    wrong: dict[int, VecdbError],
    matrices: dict[str, _Rows],
    numbers: Mapping[str, int],
    pairs: Mapping[str, str],
    limits: LimitsConfig,
    expiries: dict[int, int],
    otherwise: int,
) -> Iterator[Run]:
    """Yield the good operations, in their order. otherwise: the expiry of puts that have none.

    pairs: spaces and their shadows, see twins().
    """
    good = [at for at in range(len(ops)) if at not in wrong]
    for kind, group in groupby(good, key=lambda at: type(ops[at])):
        positions = tuple(group)
        ids = tuple([ops[at].id for at in positions])
        expected: Expected = tuple(
            (row, version)
            for row, at in enumerate(positions)
            if (version := ops[at].if_version) is not None
        )
        if kind is Put:
            puts: list[Put] = [ops[at] for at in positions]  # type: ignore[misc]
            payloads = tuple([put.payload for put in puts])
            columns = tuple(_columns(puts, positions, matrices, numbers))
            cells = (*sparse_columns(puts, numbers), *multi_columns(puts, numbers))
            expires: tuple[int, ...] = ()
            if expiries or otherwise:
                expires = tuple([expiries.get(at, otherwise) for at in positions])
            if not any(expires):
                expires = ()
            yield Puts(positions, ids, payloads, columns, cells, expected, expires)
        elif kind is Patch:
            patches: list[Patch] = [ops[at] for at in positions]  # type: ignore[misc]
            yield Patches(
                positions,
                ids,
                tuple([patch.edits for patch in patches]),
                tuple([tuple(_patched_vectors(patch, numbers, pairs)) for patch in patches]),
                tuple(sorted(numbers.values())),
                limits.payload_bytes,
                limits.message_bytes,
                expected,
                tuple([expiries.get(at) for at in positions]) if expiries else (),
            )
        else:
            yield Deletes(positions, ids, expected)


def _patched_vectors(
    patch: Patch, numbers: Mapping[str, int], pairs: Mapping[str, str]
) -> Iterator[PatchedVector]:
    for space in sorted({*patch.vectors, *patch.sparse, *patch.multi}):
        if space in patch.vectors:
            text = patch.texts.get(space, "")
            yield PatchedVector(numbers[space], patch.vectors[space], text)
        elif space in patch.multi:
            yield PatchedVector(numbers[space], patch.multi[space].f32)
        else:
            text = patch.texts.get(space, "")
            yield PatchedVector(numbers[space], encode_sparse(patch.sparse[space]), text)
    unset = set(patch.unset_vectors)
    unset |= {pairs[space] for space in unset.union(patch.vectors) if space in pairs}
    for space in sorted(unset.difference(patch.vectors)):
        yield PatchedVector(numbers[space], b"")


def _columns(
    puts: list[Put],
    positions: tuple[int, ...],
    matrices: dict[str, _Rows],
    numbers: Mapping[str, int],
) -> Iterator[Column]:
    row_of = {at: row for row, at in enumerate(positions)}
    for space, (members, matrix) in matrices.items():
        # Both ascend: what belongs to this run lies side by side.
        start = bisect_left(members, positions[0])
        stop = bisect_right(members, positions[-1])
        chosen = [(at, members[at]) for at in range(start, stop) if members[at] in row_of]
        if not chosen:
            continue
        rows = tuple([row_of[place] for _, place in chosen])
        vectors = matrix if len(chosen) == len(members) else matrix[[at for at, _ in chosen]]
        texts = tuple([puts[row].texts.get(space, "") for row in rows])
        yield Column(
            numbers[space],
            vectors,
            None if len(rows) == len(puts) else rows,
            texts if any(texts) else (),
        )
