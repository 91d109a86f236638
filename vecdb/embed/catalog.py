"""Which models the server knows, as read from catalog.toml, and where their files are.

Answers everything that can be said of a model without loading it: the server lists models, and
binds spaces to their fingerprints, while no worker runs and even where no weights are installed.
The code of a package that holds weights is never imported; its files are found by path.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

from vecdb.errors import Corrupt, InvalidArgument, NoModel, NotFound
from vecdb.types import Metric

INSTALL = "pip install 'vecdb[embed]'"

# Per kind of model: the libraries that it needs, and the files that an entry must name.
KINDS: Mapping[str, tuple[tuple[str, ...], frozenset[str]]] = {
    "onnx-text": (("onnxruntime", "tokenizers"), frozenset({"model", "tokenizer"})),
}
POOLINGS = frozenset({"mean"})


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file of a model.

    path: inside the installed package, or without a package a path of its own, relative to the
    catalogue. version: the package's, for the message when the file is not the one expected; what
    decides is sha256.
    """

    path: str
    sha256: str
    package: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """An entry of the catalogue.

    query_prompt and document_prompt go in front of a text; max_tokens counts them, and the special
    tokens. files: by what they are to the kind, such as ``model`` and ``tokenizer``.
    """

    name: str
    kind: str
    dim: int
    metric: Metric
    max_tokens: int
    pooling: str
    normalize: bool
    license: str
    files: Mapping[str, FileRef]
    query_prompt: str = ""
    document_prompt: str = ""
    aliases: tuple[str, ...] = ()


def load_catalog(path: Path | None = None) -> dict[str, ModelSpec]:
    """Return every entry by name. Without a path: the catalogue that comes with vecdb.

    Raises InvalidArgument that names file, model and key.
    """
    path = Path(__file__).with_name("catalog.toml") if path is None else path
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"cannot read the model catalogue {path}: {error}") from None
    catalog: dict[str, ModelSpec] = {}
    names: dict[str, str] = {}
    for name, entry in tree.get("models", {}).items():
        try:
            spec = _spec(name, entry, path.parent)
        except (TypeError, KeyError, ValueError) as error:
            raise InvalidArgument(f"{path}: model {name!r}: {error}") from None
        for known_as in (name, *spec.aliases):
            if known_as in names:
                raise InvalidArgument(
                    f"{path}: model {name!r}: {known_as!r} is also a name of {names[known_as]!r}"
                )
            names[known_as] = name
        catalog[name] = spec
    return catalog


def select(catalog: Mapping[str, ModelSpec], models: str, default: str) -> tuple[ModelSpec, ...]:
    """Return the models that an operator configured, the default first.

    models: comma-separated names or aliases. Raises NotFound that lists what there is.
    """
    names = [default, *(part.strip() for part in models.split(",") if part.strip())]
    chosen = [find(catalog.values(), name) for name in names]
    return tuple({spec.name: spec for spec in chosen}.values())


def find(specs: Iterable[ModelSpec], name: str) -> ModelSpec:
    """Return the model of that name or alias among specs. Raises NotFound that lists them."""
    known = list(specs)
    for spec in known:
        if name == spec.name or name in spec.aliases:
            return spec
    raise NotFound(
        f"no model {name!r}",
        field="model",
        hint=f"there is {', '.join(spec.name for spec in known) or 'none'}",
    )


def fingerprint(spec: ModelSpec) -> str:
    """Return the hex digest of all that a vector depends on. Needs no file of the model.

    Names, aliases, paths and the licence are left out: renaming a model keeps its vectors.
    """
    said = {
        "files": {role: ref.sha256 for role, ref in spec.files.items()},
        "prompts": [spec.query_prompt, spec.document_prompt],
        "pooling": spec.pooling,
        "normalize": spec.normalize,
        "dim": spec.dim,
        "max_tokens": spec.max_tokens,
    }
    canonical = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def missing(spec: ModelSpec) -> str:
    """Return why the model cannot run in this installation and what to do, or "".

    Imports nothing, reads no file: a file's bytes are checked when the worker loads it.
    """
    for library in KINDS[spec.kind][0]:
        if importlib.util.find_spec(library) is None:
            return f"{library} is not installed: {INSTALL}"
    try:
        resolve_files(spec)
    except NoModel as error:
        return str(error)
    return ""


def resolve_files(spec: ModelSpec) -> dict[str, Path]:
    """Return where each file of the model lies. Raises NoModel that says what to install."""
    return {role: _located(spec.name, ref) for role, ref in spec.files.items()}


def read_verified(path: Path, ref: FileRef) -> bytes:
    """Return the file's bytes, which are those that the catalogue means.

    The caller uses these bytes and not the path, so nothing can change between check and use.
    Raises Corrupt that names both digests.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Corrupt(f"cannot read {path}: {error.strerror}", hint=INSTALL) from None
    found = hashlib.sha256(content).hexdigest()
    if found != ref.sha256:
        version = f"=={ref.version}" if ref.version else ""
        raise Corrupt(
            f"{path} has sha256 {found}, the catalogue expects {ref.sha256}",
            hint=f"pip install --force-reinstall '{ref.package}{version}'" if ref.package else "",
            path=path,
        )
    return content


def _located(model: str, ref: FileRef) -> Path:
    if not ref.package:
        path = Path(ref.path)
        if not path.is_file():
            raise NoModel(f"model {model}: no file {path}")
        return path
    try:
        distribution = metadata.distribution(ref.package)
    except metadata.PackageNotFoundError:
        raise NoModel(f"package {ref.package} is not installed: {INSTALL}") from None
    wanted = PurePosixPath(ref.path)
    for file in distribution.files or ():
        if file == wanted:
            return Path(str(distribution.locate_file(file)))
    raise NoModel(
        f"package {ref.package} {distribution.version} holds no {ref.path}, "
        f"version {ref.version or 'unknown'} does: {INSTALL}"
    )


def _spec(name: str, entry: Mapping[str, Any], folder: Path) -> ModelSpec:
    known = {item.name for item in fields(ModelSpec)} - {"name"}
    if unknown := sorted(set(entry) - known):
        raise ValueError(f"unknown key {unknown[0]!r}; known are {', '.join(sorted(known))}")
    spec = ModelSpec(
        **{
            **entry,
            "name": name,
            "metric": Metric[entry["metric"].upper()],
            "aliases": tuple(entry.get("aliases", ())),
            "files": {role: _file(ref, folder) for role, ref in entry["files"].items()},
        }
    )
    if spec.kind not in KINDS:
        raise ValueError(f"kind is {spec.kind!r}, known are {', '.join(sorted(KINDS))}")
    if spec.pooling not in POOLINGS:
        raise ValueError(f"pooling is {spec.pooling!r}, known are {', '.join(sorted(POOLINGS))}")
    if set(spec.files) != KINDS[spec.kind][1]:
        raise ValueError(f"files must be {', '.join(sorted(KINDS[spec.kind][1]))}")
    if spec.dim < 1 or spec.max_tokens < 4:
        raise ValueError("dim must be at least 1 and max_tokens at least 4")
    return spec


def _file(entry: Mapping[str, str], folder: Path) -> FileRef:
    ref = FileRef(**entry)
    if ref.package:
        return ref
    return FileRef(path=str(folder / ref.path), sha256=ref.sha256)
