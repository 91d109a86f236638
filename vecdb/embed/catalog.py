"""Which models the server knows, as read from catalog.toml, and where their files are.

Answers everything that can be said of a model without loading it: the server lists models, and
binds spaces to their fingerprints, while no worker runs and even where no weights are installed.
The code of a package that holds weights is never imported; its files are found by path.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import mmap
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

from vecdb.errors import Corrupt, InvalidArgument, NoModel, NotFound
from vecdb.types import Metric


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of model asks of its entries.

    extra: of vecdb, what brings its libraries and the packages that hold its weights. poolings: for
    each that it knows, the sets of files of which an entry names one.
    """

    extra: str
    libraries: tuple[str, ...]
    poolings: Mapping[str, tuple[frozenset[str], ...]]

    @property
    def install(self) -> str:
        """Return the command that installs what it needs."""
        return f"pip install 'vecdb[{self.extra}]'"


_WORD_FILES = (
    frozenset({"glove"}),
    frozenset({"word2vec"}),
    frozenset({"word2vec_binary"}),
    frozenset({"npy", "vocabulary"}),
)
KINDS: Mapping[str, Kind] = {
    "onnx-text": Kind(
        "embed",
        ("onnxruntime", "tokenizers"),
        {"mean": (frozenset({"model", "tokenizer"}),)},
    ),
    "static-words": Kind(
        "words", (), {"sif": _WORD_FILES, "idf": tuple(one | {"idf"} for one in _WORD_FILES)}
    ),
}


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
    tokens. files: by what they are to the kind, such as ``model`` and ``tokenizer``. casefold:
    whether static-words takes upper and lower case for one; a tokenizer file says that itself.
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
    casefold: bool = False


def load_catalog(own: str = "") -> dict[str, ModelSpec]:
    """Return every entry by name: those that come with vecdb, and those of an operator's own file.

    Raises InvalidArgument that names file, model and key.
    """
    catalog: dict[str, ModelSpec] = {}
    names: dict[str, str] = {}
    _load(Path(__file__).with_name("catalog.toml"), catalog, names)
    if own:
        _load(Path(own), catalog, names)
    return catalog


def _load(path: Path, catalog: dict[str, ModelSpec], names: dict[str, str]) -> None:
    """Add a file's entries. names: every name and alias there is, and whose it is."""
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"cannot read the model catalogue {path}: {error}") from None
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
    said: dict[str, object] = {
        "files": {role: ref.sha256 for role, ref in spec.files.items()},
        "prompts": [spec.query_prompt, spec.document_prompt],
        "pooling": spec.pooling,
        "normalize": spec.normalize,
        "dim": spec.dim,
        "max_tokens": spec.max_tokens,
    }
    if spec.casefold:
        said["casefold"] = True
    canonical = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def missing(spec: ModelSpec) -> str:
    """Return why the model cannot run in this installation and what to do, or "".

    Imports nothing, reads no file: a file's bytes are checked when the worker loads it.
    """
    kind = KINDS[spec.kind]
    parquet = any(ref.path.endswith(".parquet") for ref in spec.files.values())
    for library in (*kind.libraries, *["pyarrow"] * parquet):
        if importlib.util.find_spec(library) is None:
            return f"{library} is not installed: {kind.install}"
    try:
        resolve_files(spec)
    except NoModel as error:
        return str(error)
    return ""


def resolve_files(spec: ModelSpec) -> dict[str, Path]:
    """Return where each file of the model lies. Raises NoModel that says what to install."""
    return {role: _located(spec, ref) for role, ref in spec.files.items()}


def read_verified(path: Path, ref: FileRef) -> bytes:
    """Return the file's bytes, which are those that the catalogue means.

    The caller uses these bytes and not the path, so nothing can change between check and use.
    Raises Corrupt that names both digests.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Corrupt(f"cannot read {path}: {error.strerror}", path=path) from None
    _check_digest(path, ref, hashlib.sha256(content).hexdigest())
    return content


def map_verified(path: Path, ref: FileRef) -> mmap.mmap:
    """Return the file mapped to read, whose bytes are those that the catalogue means.

    For files too large to be read whole. Whoever replaces the file leaves the mapping as it is;
    whoever writes into it is seen, and must be the user that vecdb runs as, or root.
    Raises Corrupt that names both digests.
    """
    try:
        with path.open("rb") as file:
            _check_digest(path, ref, hashlib.file_digest(file, "sha256").hexdigest())
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise Corrupt(f"cannot read {path}: {error.strerror}", path=path) from None
    except ValueError:  # there is no mapping of nothing
        raise Corrupt(f"{path} is empty", path=path) from None


def _check_digest(path: Path, ref: FileRef, found: str) -> None:
    if found != ref.sha256:
        version = f"=={ref.version}" if ref.version else ""
        raise Corrupt(
            f"{path} has sha256 {found}, the catalogue expects {ref.sha256}",
            hint=f"pip install --force-reinstall '{ref.package}{version}'" if ref.package else "",
            path=path,
        )


def _located(spec: ModelSpec, ref: FileRef) -> Path:
    if not ref.package:
        path = Path(ref.path)
        if not path.is_file():
            raise NoModel(f"model {spec.name}: no file {path}")
        return path
    install = KINDS[spec.kind].install
    try:
        distribution = metadata.distribution(ref.package)
    except metadata.PackageNotFoundError:
        raise NoModel(f"package {ref.package} is not installed: {install}") from None
    wanted = PurePosixPath(ref.path)
    for file in distribution.files or ():
        if file == wanted:
            return Path(str(distribution.locate_file(file)))
    raise NoModel(
        f"package {ref.package} {distribution.version} holds no {ref.path}, "
        f"version {ref.version or 'unknown'} does: {install}"
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
    poolings = KINDS[spec.kind].poolings
    if spec.pooling not in poolings:
        raise ValueError(f"pooling is {spec.pooling!r}, known are {', '.join(sorted(poolings))}")
    if set(spec.files) not in poolings[spec.pooling]:
        sets = (", ".join(sorted(files)) for files in poolings[spec.pooling])
        raise ValueError(f"files must be {'; or '.join(sets)}")
    if type(spec.casefold) is not bool or (spec.casefold and spec.kind != "static-words"):
        raise ValueError("casefold is true or false, and for static-words alone")
    if spec.dim < 1 or spec.max_tokens < 4:
        raise ValueError("dim must be at least 1 and max_tokens at least 4")
    return spec


def _file(entry: Mapping[str, str], folder: Path) -> FileRef:
    ref = FileRef(**entry)
    if ref.package:
        return ref
    return FileRef(path=str(folder / ref.path), sha256=ref.sha256)
