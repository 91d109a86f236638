"""Whether a model of the catalogue is what it should be: what `vecdb models check` asks.

Each check is one question with an answer for a person. Files are read whole and the model is
loaded; no server is needed, and none is asked. Of a service elsewhere only the key is looked for.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from vecdb.embed import catalog
from vecdb.embed.catalog import FileRef, ModelSpec
from vecdb.embed.encoder import Encoder, Execution, Pair, Role
from vecdb.embed.residents import load_model
from vecdb.errors import NoModel, VecdbError
from vecdb.types import F32, SparseVector

KNOWN_TOLERANCE = 1e-3
LENGTH_TOLERANCE = 1e-5
BATCH_TOLERANCE = 1e-5


class State(StrEnum):
    """How a check ended. SKIPPED: it could not be made, and says nothing against the model."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """A check of a model, and how it ended."""

    model: str
    check: str
    state: State
    detail: str


def inspect(spec: ModelSpec, *, asked_for: bool) -> Iterator[Finding]:
    """Yield what is found of a model, as it is found.

    asked_for: whether it was asked for by name: then what is not installed is a failure.
    """
    absent = State.FAILED if asked_for else State.SKIPPED
    answers = _service(spec, absent) if spec.of_kind.remote else _local(spec, absent)
    for answer in answers:
        yield Finding(spec.name, *answer)


_Answer = tuple[str, State, str]


def _service(spec: ModelSpec, absent: State) -> Iterator[_Answer]:
    if spec.retired:
        yield "available", absent, spec.retired
        return
    variable, file = spec.options.get("key_env", ""), spec.options.get("key_file", "")
    if file:
        there = os.access(file, os.R_OK)
        yield "key", State.OK if there else absent, file + " cannot be read" * (not there)
    elif variable:
        there = bool(os.environ.get(variable))
        yield "key", State.OK if there else absent, variable + " is not set" * (not there)
    else:
        yield "key", State.SKIPPED, "the entry names none"


def _local(spec: ModelSpec, absent: State) -> Iterator[_Answer]:
    if spec.unfetched:
        yield "files", absent, f"not fetched: vecdb models pull {spec.name}"
        return
    try:
        paths = catalog.resolve_files(spec)
    except NoModel as error:
        yield "files", absent, str(error)
        return
    for role, path in paths.items():
        wrong = _wrong(path, spec.files[role])
        yield (
            f"sha256 of {role}",
            _state(not wrong),
            wrong or f"{spec.files[role].sha256[:16]}, {path.stat().st_size:,} bytes",
        )
        if wrong:
            return
    if reason := catalog.missing(spec):
        yield "libraries", absent, reason
        return
    try:
        encoder = load_model(spec, Execution(os.cpu_count() or 1))
    except (VecdbError, ImportError) as error:
        yield "loads", State.FAILED, str(error)
        return
    yield "loads", State.OK, f"{spec.kind}, {catalog.fingerprint(spec)[:16]}"
    try:
        yield from _answers(spec, encoder)
    except VecdbError as error:
        yield "encodes", State.FAILED, str(error)
    finally:
        encoder.close()


def _wrong(path: Path, ref: FileRef) -> str:
    """Return what is wrong with a file, or ""."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"{path}: {error.strerror}"
    return "" if digest == ref.sha256 else f"{path} has sha256 {digest}, not {ref.sha256}"


def _answers(spec: ModelSpec, encoder: Encoder) -> Iterator[_Answer]:
    takes, gives = spec.of_kind.takes, spec.of_kind.gives
    if not takes & {"text", "pair"}:
        yield "encodes", State.SKIPPED, "it takes images, and the entry has none to try it by"
        return
    texts = ["a short text", "a longer text, which goes on for a while " * 4]
    items: list[Any] = [Pair("what is it", text) for text in texts] if "pair" in takes else texts
    if spec.pooling == "last":
        yield _end_token(spec, encoder)
    read = [one.input for one in encoder.prepare(items, Role.DOCUMENT)]
    if not all(map(len, read)):
        yield "encodes", State.SKIPPED, "it knows no word of the texts that it is tried by"
        return
    together = [_dense(one) for one in encoder.encode(read)]
    alone = [_dense(encoder.encode([one])[0]) for one in read]
    if gives == "sparse":
        yield "encodes", State.OK, f"{', '.join(str(len(one)) for one in alone)} weights"
        if spec.files:  # of rules alone there is nothing to know again
            yield _known(spec, encoder)
        return
    shape = together[0].shape
    yield "dim", _state(shape == (spec.dim,)), f"{shape[0]}, the entry says {spec.dim}"
    apart = max(float(np.abs(a - b).max()) for a, b in zip(together, alone, strict=True))
    yield "alone as in a batch", _state(apart <= BATCH_TOLERANCE), f"{apart:.1e} apart at most"
    if spec.normalize:
        lengths = [float(np.linalg.norm(one)) for one in alone]
        off = max(abs(length - 1) for length in lengths)
        yield "unit length", _state(off <= LENGTH_TOLERANCE), f"{off:.1e} off at most"
    yield _known(spec, encoder)


def _dense(output: F32 | SparseVector | VecdbError) -> F32:
    if isinstance(output, VecdbError):
        raise output
    return np.asarray(output.values if isinstance(output, SparseVector) else output, np.float32)


def _end_token(spec: ModelSpec, encoder: Encoder) -> _Answer:
    """Return whether the last token, of which the vector is, is the end token; once cut off too."""
    short, cut = encoder.prepare(["a", "a " * spec.max_tokens], Role.DOCUMENT)
    last = [int(_ids(one.input)[-1]) for one in (short, cut)]
    wanted = spec.options.get("end_id", last[0])
    alike = last == [wanted, wanted] and cut.truncated
    return "end token", _state(alike), f"{last[0]}, of a text cut off {last[1]}, expected {wanted}"


def _ids(read: Any) -> Any:  # noqa: ANN401 - what a kind prepares is its own
    return getattr(read, "ids", read)


def _known(spec: ModelSpec, encoder: Encoder) -> _Answer:
    what = {"dense": "vector", "sparse": "weights", "score": "score"}[spec.of_kind.gives]
    check, known = f"known {what}", spec.known
    if known is None or not spec.of_kind.takes & {"text", "pair"}:
        return check, State.SKIPPED, "the entry has none"
    numbers = numbers_of(spec, encoder, known.item, Role[known.role.upper()], len(known.start))
    apart = float(np.abs(numbers - np.array(known.start)).max())
    return check, _state(apart <= KNOWN_TOLERANCE), f"{apart:.1e} apart at most"


def numbers_of(spec: ModelSpec, encoder: Encoder, text: str, role: Role, most: int) -> F32:
    """Return the numbers of a text by which a model is known again, at most so many.

    The first of a vector; the greatest of sparse weights, greatest first, then zeros; the score of
    the text as its own query.
    """
    item = Pair(text, text) if "pair" in spec.of_kind.takes else text
    (read,) = encoder.prepare([item], role)
    numbers = _dense(encoder.encode([read.input])[0])
    if spec.of_kind.gives == "sparse":
        greatest = np.sort(numbers)[::-1][:most]
        return np.pad(greatest, (0, most - len(greatest)))
    return numbers[:most]


def _state(sound: bool) -> State:
    return State.OK if sound else State.FAILED
