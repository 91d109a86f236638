"""Weights into a folder of models, with an entry in its catalogue: what `vecdb models pull` does.

Files are copied and their digests taken, the model is loaded once, and what it makes of a sentence
is recorded; only then is the entry written. Nothing of a pull that fails stays behind.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vecdb.embed import catalog
from vecdb.embed.catalog import Known, ModelSpec
from vecdb.embed.encoder import Execution, Role
from vecdb.embed.entry_file import added, entry_text, replace, sync_folder
from vecdb.embed.hf_folder import FolderModel, complete, read_folder, weight_patterns
from vecdb.embed.inspection import numbers_of
from vecdb.embed.model_sources import SETTINGS, Source, fetch, open_source
from vecdb.embed.residents import load_model
from vecdb.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    StorageFull,
    Unavailable,
)

CATALOG = "catalog.toml"
SENTENCE = "The quick brown fox jumps over the lazy dog."
KNOWN_NUMBERS = 8

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_PARTIAL = ".pull-"
_CHUNK_BYTES = 8 << 20

Progress = Callable[[str, int, int], None]
"""What is copied, how much of it is there, and how much that will be, in bytes."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull did. unloaded: why the model was not loaded and nothing recorded, or ""."""

    spec: ModelSpec
    folder: Path
    catalog: Path
    unloaded: str = ""
    remarks: list[str] = field(default_factory=list)


def pull(name: str, where: str, into: Path, progress: Progress, load: bool = True) -> Pulled:
    """Return what was pulled: the weights of a model by name, from where they are.

    name: of an entry that has no files yet, or a new one. where: a folder, a wheel, or an id of the
    Hugging Face hub. into: the folder of models, which need not be there. load: whether the model
    is loaded, to see that it can be, and what it gives. Raises from vecdb.errors.
    """
    into.mkdir(parents=True, exist_ok=True)
    own = into / CATALOG
    with _alone(into):
        spec = _entry(name, own)
        name = spec.name if spec else name
        _check_name(name, into)
        with (
            _opened(where, spec, into) as source,
            tempfile.TemporaryDirectory(dir=into, prefix=_PARTIAL) as partial,
        ):
            found = _found(source, spec)
            if spec is None and not Path(where).exists():
                found.entry["source"] = where
            digests = _copy(source, found.files, Path(partial), progress)
            kept, unloaded = _kept(name, found, digests, Path(partial), load)
            Path(partial).chmod(0o755)
            Path(partial).rename(into / name)
            sync_folder(into)
            replace(own, added(own, entry_text(name, kept)))
    return Pulled(catalog.load_catalog(str(own))[name], into / name, own, unloaded, found.remarks)


@contextmanager
def _alone(into: Path) -> Iterator[None]:
    """Hold the folder of models, and clear what a pull that was killed left in it."""
    with (into / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable(f"another pull into {into} is under way") from None
        for left in into.glob(f"{_PARTIAL}*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        yield


def _check_name(name: str, into: Path) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidArgument(
            f"{name!r} is no name of a model: small letters, digits, '.', '_' and '-'",
            hint="vecdb models pull NAME --from SOURCE",
        )
    if (into / name).exists():
        raise AlreadyExists(
            f"{into / name} is there, without an entry in {CATALOG}",
            hint="remove it, or give another name",
        )


def _found(source: Source, spec: ModelSpec | None) -> FolderModel:
    return read_folder(source) if spec is None else FolderModel({}, complete(source, spec))


def _entry(name: str, own: Path) -> ModelSpec | None:
    """Return the entry that a pull completes, or None for a new one.

    Raises AlreadyExists for one that has its files.
    """
    entries = catalog.load_catalog(str(own) if own.exists() else "")
    found = [spec for spec in entries.values() if name in (spec.name, *spec.aliases)]
    if not found:
        return None
    (spec,) = found
    if spec.unfetched:
        if own.exists() and spec.name in tomllib.loads(own.read_text("utf-8")).get("models", {}):
            raise FailedPrecondition(
                f"{own} has an entry {spec.name} already, without files",
                hint="keep that one in a catalogue elsewhere, or pull into another folder",
            )
        return spec
    if spec.of_kind.remote:
        raise FailedPrecondition(f"{spec.name} is a service, which keeps its weights itself")
    packages = sorted({ref.package for ref in spec.files.values()} - {""})
    if packages:
        raise AlreadyExists(
            f"the weights of {spec.name} come as packages: {', '.join(packages)}",
            hint=spec.of_kind.install,
        )
    raise AlreadyExists(
        f"{spec.name} has its weights already",
        hint=f"to pull it anew, take its entry out of {own}; to have both, give another name",
    )


def default_source(name: str, into: Path) -> str:
    """Return where the weights of a model of the catalogue come from, or "" for an unknown one."""
    spec = _entry(name, into / CATALOG)
    return spec.source if spec else ""


@contextmanager
def _opened(where: str, spec: ModelSpec | None, into: Path) -> Iterator[Source]:
    """Yield what is at a place; what comes from the hub is kept for as long as it is copied."""
    if Path(where).exists() or not _HUB_ID.fullmatch(where):
        source = open_source(where)
        try:
            yield source
        finally:
            source.close()
        return
    with tempfile.TemporaryDirectory(dir=into, prefix=_PARTIAL) as fetched:
        fetch(where, SETTINGS, Path(fetched))
        fetch(where, weight_patterns(open_source(fetched), spec), Path(fetched))
        yield open_source(fetched)


def _copy(
    source: Source, files: Mapping[str, str], folder: Path, progress: Progress
) -> dict[str, str]:
    """Copy files into a folder, and return the digest of each by its role."""
    total = sum(source.sizes[path] for path in files.values())
    free = shutil.disk_usage(folder).free
    if total > free:
        raise StorageFull(
            f"{source.name} takes {total:,} bytes, {folder.parent} has {free:,}",
            hint="use another --into",
        )
    digests: dict[str, str] = {}
    done = 0
    for role, path in files.items():
        digest = hashlib.sha256()
        with source.open(path) as read, (folder / _file_name(path)).open("xb") as write:
            while chunk := read.read(_CHUNK_BYTES):
                digest.update(chunk)
                write.write(chunk)
                done += len(chunk)
                progress(_file_name(path), done, total)
            write.flush()
            os.fsync(write.fileno())
        digests[role] = digest.hexdigest()
    sync_folder(folder)
    return digests


def _file_name(path: str) -> str:
    return path.rpartition("/")[2]


def _kept(
    name: str, found: FolderModel, digests: Mapping[str, str], partial: Path, load: bool
) -> tuple[dict[str, Any], str]:
    """Return the entry to be kept, and why the model was not loaded, or ""."""

    def entry(folder: str) -> dict[str, Any]:
        refs = {
            role: {"path": f"{folder}/{_file_name(path)}", "sha256": digests[role]}
            for role, path in found.files.items()
        }
        return {**found.entry, "files": refs}

    spec = _tried(name, entry(partial.name), partial.parent)
    unloaded = catalog.missing(spec) if load else "it was not asked for"
    kept = entry(name)
    if not unloaded:
        known = known_of(spec)
        if known is not None:
            kept["known"] = dataclasses.asdict(known)
    return kept, unloaded


def _tried(name: str, entry: Mapping[str, Any], into: Path) -> ModelSpec:
    """Return an entry as it will be read, from a catalogue beside the one that it is for."""
    with tempfile.NamedTemporaryFile("w", dir=into, prefix=_PARTIAL, suffix=".toml") as file:
        file.write(added(into / CATALOG, entry_text(name, entry)))
        file.flush()
        return catalog.load_catalog(file.name)[name]


def known_of(spec: ModelSpec) -> Known | None:
    """Return what a model makes of a sentence, by which it is known again; None of other items.

    It is loaded for that, whatever it takes.
    """
    encoder = load_model(spec, Execution(os.cpu_count() or 1))
    try:
        if not spec.of_kind.takes & {"text", "pair"}:
            return None
        start = numbers_of(spec, encoder, SENTENCE, Role.DOCUMENT, KNOWN_NUMBERS)
    finally:
        encoder.close()
    return Known(SENTENCE, tuple(round(number, 6) for number in map(float, start)))
